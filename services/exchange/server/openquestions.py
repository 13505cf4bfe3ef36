"""What the venue's documentation leaves open, and the switch that decides it here."""

from __future__ import annotations

import msgspec


class Question(msgspec.Struct, frozen=True):
    """`switches` are fields of `Switches`; `note` says what is decided otherwise, or with what a part comes."""

    number: int
    text: str
    switches: tuple[str, ...] = ()
    note: str = ""


QUESTIONS: tuple[Question, ...] = (
    Question(
        1,
        "codes and HTTP status per failure; status of a refused WebSocket; WebSocket errors and close codes",
        (
            "signature_code",
            "permission_code",
            "missing_right",
            "handshake_status",
            "socket_error",
            "rfq_body",
            "rfq_list_without_access",
        ),
        "Other failures have the codes of the venue's table: unknown key 10560, expired 10557, missing parameter "
        "10570, wrong one 10573, unknown option 10574, unknown index 10579.",
    ),
    Question(
        2,
        "signed text without X-REQ-TS-DIFF; window of the WebSocket's time stamp; signatures in lower case",
        ("absent_window", "socket_ts_window_ms", "lower_case_signature"),
    ),
    Question(
        3,
        "client order ids: scope, lifetime, values that are no number, what an order without one reports",
        ("client_order_id_scope", "client_order_id_text", "report_client_order_id"),
        "The scope is the account.",
    ),
    Question(
        4,
        "market orders and slippage; how IOC and FOK end; post-only that would trade",
        ("market_orders", "unfilled_state", "post_only_cross"),
        "With market orders, `slippage` is the worst price in per cent past the best one.",
    ),
    Question(
        5,
        "first image on private channels; unchanged books; order of the frames of a fill",
        ("private_snapshot", "repeat_books", "event_order"),
        "`private_snapshot` holds for the channels of requests and quotes too: what is open. The frames of an "
        "accepted quote are the fills, then 22 and 23, the request, the quote, the other quotes.",
    ),
    Question(
        6,
        "open quotes when their request ends; how expired ones are pushed",
        ("open_quotes", "expired_quote_state", "expired_request_push", "traded_away"),
    ),
    Question(
        7,
        "one quote per request or per side; re-quoting; rate of quotes",
        ("one_quote_per", "requote_delay_ms"),
        "A quote's own cancel ends it at once. The rate has no documented limit: 200 a second.",
    ),
    Question(
        8,
        "limits of a request: legs, sizes, prices, margin; accepting what is gone",
        (
            "rfq_legs_max",
            "rfq_underlyings",
            "rfq_min_notional_usd",
            "rfq_sell_only",
            "quote_price_band_pct",
            "taker_margin_check",
            "maker_margin_check",
            "gone_quote_code",
        ),
        "Sizes have the limits of orders. Of a maker who cannot afford its quote the acceptance answers 50014.",
    ),
    Question(
        9,
        "which account pays which fee; sign of the fee in the trade channel; fees of block trades",
        ("fee_rate_sign", "block_fee_legs"),
        "Both sides of a trade pay their own rate (`exchange.fees`, those of block trades with `block_`).",
    ),
    Question(
        10,
        "names, signs and scales of structures; types of their ids",
        (
            "strategy_names",
            "sold_strategy_price",
            "description_day",
            "rfq_scale",
            "rfq_ids",
            "quote_create_ids",
        ),
        "A request whose legs are all SELL is a structure that is sold; any other is bought.",
    ),
    Question(
        11,
        "Greeks of positions; formulas of margin; liquidation price of options",
        ("position_greeks", "option_liquidation_price"),
        "The rates of the margin are configuration (`exchange.margin`).",
    ),
    Question(
        12,
        "market-maker protection; what a countdown ends and how it is reset",
        ("countdown_scope", "countdown_reset", "mmp_limit_unit", "mmp_frozen_code"),
        "A fired countdown refuses closing orders too; it is no longer listed. A protection counts the fills of "
        "orders with `mmp` in one index over the interval before each; when it fires, those of the index are "
        "cancelled and nothing else is.",
    ),
    Question(
        13,
        "dated futures",
        ("dated_contract_code",),
        "Symbols `BTCUSD-26JUN26`; month and quarter ends; settled at the mean index of the last half hour, with the "
        "delivery fee of options; trading stops 15 minutes before; they stand among the perpetuals in 14.3.",
    ),
    Question(
        14,
        "stop orders",
        ("stop_trigger", "pending_stops", "triggered_stop_id", "amended_future_id"),
        "State -2 until the trigger is reached, at a step of the market. A reducing stop is cut to the position when "
        "triggered; one that may not trade then ends INVALID.",
    ),
    Question(
        15,
        "chain without expiry; overview and instruments without symbol; last trades; k-lines of empty intervals",
        ("chain_without_end", "last_trades_order", "last_trades_count", "empty_klines"),
        "Overview of spot without symbol: a map; instruments: an array.",
    ),
    Question(
        16,
        "answer, scope and recovery of rate limits",
        ("rate_limit_answer", "rate_limit_scope", "rate_limit_penalty_ms"),
        "The rates are configuration (`exchange.rate_limits`).",
    ),
    Question(
        17,
        "spot: acknowledgements and market orders",
        ("spot_ack", "spot_ping_ms", "spot_market_buy_quantity", "spot_market_order_price"),
        '`{"unsub": topic}` ends a subscription. Market orders trade at most `price_band_pct` from the index.',
    ),
    Question(
        18,
        "default self-trade prevention; across sub-accounts and in block trades",
        ("default_stp", "block_with_oneself"),
        "There are no sub-accounts.",
    ),
    Question(
        19, "what a disconnect does to orders and quotes", ("cancel_on_disconnect", "cancel_quotes_on_disconnect")
    ),
    Question(
        20,
        "pushes around 08:00 UTC; code in the last 15 minutes; limits on an order's volatility",
        ("expiry_pushes", "suspended_code", "order_iv_min", "order_iv_max"),
        "Settlement and funding happen in the first step at or after their time. Funding is pushed as a change of "
        "position and balance.",
    ),
)
