"""What the venue's documentation leaves open, and the switches that decide it here."""

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
            "unknown_key_code",
            "expired_code",
            "missing_parameter_code",
            "wrong_parameter_code",
            "unknown_option_code",
            "failure_status",
            "handshake_status",
            "socket_error",
            "socket_close_code",
            "rfq_body",
            "rfq_list_without_access",
        ),
        "Other failures have the codes of the venue's table, such as 10579 for an unknown index; the results within "
        "a batch keep the defaults. With `http_4xx` a wrong key, signature or time stamp is answered with 401, a "
        "missing permission with 403, what does not exist with 404, everything else with 400.",
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
        ("market_orders", "slippage_from", "unfilled_state", "post_only_cross"),
        "With market orders, `slippage` is how many per cent the worst price may be from there.",
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
        ("one_quote_per", "requote_delay_ms", "quote_rate_per_s"),
        "A quote's own cancel ends it at once. How long a rate stays exceeded: `rate_limit_penalty_ms`.",
    ),
    Question(
        8,
        "limits of a request: legs, sizes, prices, margin; accepting what is gone",
        (
            "rfq_legs_max",
            "rfq_underlyings",
            "rfq_min_lots",
            "rfq_min_notional_usd",
            "rfq_sell_only",
            "quote_price_band_pct",
            "taker_margin_check",
            "maker_margin_check",
            "gone_quote_code",
        ),
        "The largest size is that of orders. Of a maker who cannot afford its quote the acceptance answers 50014.",
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
        (
            "countdown_scope",
            "countdown_reset",
            "mmp_limit_unit",
            "mmp_frozen_code",
            "mmp_counts",
            "mmp_window",
            "mmp_scope",
            "mmp_orders",
            "mmp_quotes",
        ),
        "A fired countdown refuses closing orders too; it is no longer listed. With all fills those of block trades "
        "count too.",
    ),
    Question(
        13,
        "dated futures",
        ("dated_contract_code", "dated_symbol", "dated_cycle", "dated_settlement", "dated_tickers"),
        "How many are listed is configuration (`exchange.bases.futures`). Their delivery fee is that of options; "
        "trading stops 15 minutes before; they stand among the perpetuals in 14.3.",
    ),
    Question(
        14,
        "stop orders",
        ("stop_trigger", "waiting_stop_state", "pending_stops", "triggered_stop_id", "amended_future_id"),
        "The trigger is looked at with each step of the market. A reducing stop is cut to the position when "
        "triggered; one that may not trade then ends INVALID.",
    ),
    Question(
        15,
        "chain without expiry; overview and instruments without symbol; last trades; k-lines of empty intervals",
        ("chain_without_end", "spot_overview_all", "last_trades_order", "last_trades_count", "empty_klines"),
        "Instruments of spot without symbol: an array, as live.",
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
        (
            "expiry_pushes",
            "expired_order_state",
            "expired_position_state",
            "settlement_delay_ms",
            "funding_pushes",
            "suspended_code",
            "order_iv_min",
            "order_iv_max",
        ),
        "Settlement and funding happen in the first step at or after their time.",
    ),
)
