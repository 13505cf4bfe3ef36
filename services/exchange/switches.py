"""The switches of what the venue leaves open: `[exchange.switches]`. Which question each decides is said in
`server/openquestions.py`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from services.exchange.model import SelfTradePrevention


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the simulator answers what the venue does not document. The defaults are what clients have seen, or what
    is least surprising.

    signature_code: answers a wrong signature. permission_code: answers a read-only key that trades.
    missing_right: a call that needs a right the account lacks is unknown ("http_404") or answered with
    `permission_code`. unknown_key_code, expired_code, missing_parameter_code, wrong_parameter_code,
    unknown_option_code: answer a request with an unknown key, an old time stamp, a field that is missing or
    wrong, or an option that is not listed. failure_status: what is refused has HTTP status 200, or one that suits
    it ("http_4xx"). handshake_status: HTTP status of a refused WebSocket. socket_error: a WebSocket request that
    is refused is answered ("frame"), not answered ("ignore"), or answered and the socket closed ("close").
    socket_close_code: with which it is closed. absent_window: without the header X-REQ-TS-DIFF the signed text
    ends with its default of 5000 ("signed") or without it ("unsigned"). lower_case_signature: whether one passes.
    socket_ts_window_ms: how old the time stamp of a WebSocket login may be; 0 admits any.

    client_order_id_scope: an id may not be used again "ever" or while its order is "open". client_order_id_text:
    one that is no number is "refused" or "ignored". report_client_order_id: what an order without one reports:
    its "order_id" or "none". market_orders: whether options take them; `slippage` then limits their price.
    slippage_from: it is so many per cent from the "best" price or from the "mark". unfilled_state: an IOC or FOK
    order that fills nothing ends "cancelled" (state 3) or "invalid" (6). post_only_cross: the same for a
    post-only order that would trade. default_stp: self-trade prevention of orders that name none. order_iv_min
    and order_iv_max: limits on the volatility of an order's price; the minimum is off because the documented 0.5
    would refuse ordinary orders in a calm market. suspended_code: answer in the last 15 minutes. stop_trigger:
    the price that triggers a stop order. pending_stops: whether stop orders that wait are among the open orders.
    waiting_stop_state: what they show until they are triggered. triggered_stop_id, amended_future_id: a triggered
    stop order, or an amended order in a future, keeps its id ("same") or is known by a "new" one alone, which the
    answer to the amendment names. dated_contract_code: `ctp` of a dated future's position. dated_symbol:
    BTCUSD-6JUN26 ("plain"), BTCUSD-06JUN26 ("padded") or BTCUSDT-6JUN26 ("usdt"). dated_cycle: beside the ends of
    quarters those of months are listed, or the next Fridays ("weeks_and_quarters"). dated_settlement: at the
    "mean" index of the last half hour or at the "last" one. dated_tickers: whether they are among the instruments
    by ticker.

    spot_ack: what the spot sockets answer to `sub` and `unsub`: the topic as "subbed" or "unsubbed", as the other
    sockets do ("action"), or nothing ("none"). spot_ping_ms: how often they send `{"ping": n}`; 0 is never.
    spot_market_buy_quantity: `qty` of a market order that buys spot is in coins ("base") or in USDT ("quote").
    spot_market_order_price: what such orders show as their price: "zero" or their "average". spot_overview_all:
    the overview of all pairs is a "map" by symbol or an "array".

    private_snapshot: whether private channels begin with the present state. repeat_books: whether unchanged order
    books are pushed again. event_order: of a fill, the frame of the "order_first", the "trade_first", or that of
    the "position_first". fee_rate_sign: of a fee paid, in the trade channel. position_greeks: per unit or times
    the quantity ("total"), as of a long position or with the sign of ours ("signed_...").
    option_liquidation_price: `elp` of an option is "zero" or "null". expiry_pushes: whether the orders, positions
    and balances that an expiry ends are pushed. expired_order_state: of orders that an expiry ends.
    expired_position_state: `os` of positions that it ends: "closed" (5, of futures 2) or "open" (1) with a
    quantity of 0. settlement_delay_ms: how long after its time an expiry is settled; its instruments are listed
    until then. funding_pushes: whether a funding is pushed as a change of position and balance.
    cancel_on_disconnect: whether the end of an account's last WebSocket cancels its orders.

    chain_without_end: the REST chain without `endTime` shows "all" expiries, the "nearest", or is "refused".
    last_trades_order and last_trades_count: the REST list. empty_klines: an interval without a trade is left out
    ("omit") or is a flat bar at the close before it ("previous_close"). countdown_scope: a countdown that fires
    ends and blocks the orders of its "index" or of the whole "account". countdown_reset: orders are taken again
    after a "heartbeat" or arming anew, or after arming anew alone ("set"). mmp_limit_unit: the quantity limit of
    a protection counts base coin ("quantity") or USD at the index ("notional"). mmp_frozen_code: answers a
    protected order after its protection has fired. mmp_counts: the fills of orders with `mmp` count ("protected")
    or "all". mmp_window: the interval before each fill ("rolling"), or intervals of which each begins with the
    first fill after the last one ("fixed"). mmp_scope: a protection counts and ends what is in its "index", or in
    all indices ("account"), whose protections then fire together. mmp_orders: the orders with `mmp` are ended
    ("protected") or "all". mmp_quotes: the maker's quotes on requests about the index are "left", or "cancelled"
    and refused while orders are.

    rate_limit_answer: a request too many gets HTTP 200 with "code_10000" or "http_429". rate_limit_scope: limits
    count per "user" or per "key". rate_limit_penalty_ms: how long a group stays closed after a request too many.

    rfq_body: the calls of requests for quote that carry only ids take "both" JSON and form, or refuse the other
    one with 10004. rfq_ids: type of ids in their answers and pushes; quote_create_ids: in the answer of
    quote/create. rfq_list_without_access: to accounts that may not quote, rfqList is unknown or shows their own
    requests. rfq_min_notional_usd: of a request, the sum of strike times quantity. rfq_sell_only: whether a
    request with SELL legs alone is taken. rfq_legs_max: of one request. rfq_underlyings: whether the legs may
    have several. quote_price_band_pct: how far a quoted price may be from mark, in per cent of the underlying; 0
    admits any. taker_margin_check and maker_margin_check: whether margin is also looked at before the trade, at
    the request or the quote. rfq_min_lots: the smallest size of a leg, in lots. quote_rate_per_s: quotes made and
    cancelled by one user; cancelling all is apart. gone_quote_code: answers the acceptance of what is no longer
    open. one_quote_per: 50012 guards the whole "request" or each "side". requote_delay_ms: how long after a
    cancelled quote the next one is refused.

    open_quotes: those of a request that ends are "cancelled", or "left" until they expire. expired_quote_state:
    shown for quotes that expired. expired_request_push: whether the expiry of a request is pushed. traded_away:
    who is told so when another maker traded: makers who had "quoted", the rest reading FILLED, or "all".
    block_fee_legs: those whose side is the structure's ("trade_side") or "all". block_with_oneself: whether a
    quote of one's own may be accepted. cancel_quotes_on_disconnect: as cancel_on_disconnect, for open quotes.
    strategy_names: names of structures beyond the documented ones are "known" or "Custom". sold_strategy_price:
    the price of a sold structure has the sign of a bought one ("same") or is "negated". description_day: of a
    one-digit day. rfq_scale: strategy quantities and ratios have a "fixed" number of decimals or are "plain".
    """

    signature_code: Literal[4003, 10562] = 4003
    permission_code: Literal[10554, 7001] = 10554
    missing_right: Literal["http_404", "permission_code"] = "http_404"
    unknown_key_code: Literal[10560, 2016] = 10560
    expired_code: Literal[10557, 10561] = 10557
    missing_parameter_code: Literal[10570, 10005] = 10570
    wrong_parameter_code: Literal[10573, 10005] = 10573
    unknown_option_code: Literal[10574, 40034] = 10574
    failure_status: Literal["http_200", "http_4xx"] = "http_200"
    handshake_status: Literal[403, 401, 400] = 403
    socket_error: Literal["frame", "ignore", "close"] = "frame"
    socket_close_code: Literal[1008, 1000, 4001] = 1008
    absent_window: Literal["signed", "unsigned"] = "signed"
    lower_case_signature: bool = False
    socket_ts_window_ms: Annotated[int, Meta(ge=0, le=86_400_000)] = 5_000
    client_order_id_scope: Literal["ever", "open"] = "ever"
    client_order_id_text: Literal["refused", "ignored"] = "refused"
    report_client_order_id: Literal["order_id", "none"] = "order_id"
    market_orders: bool = False
    slippage_from: Literal["best", "mark"] = "best"
    unfilled_state: Literal["cancelled", "invalid"] = "cancelled"
    post_only_cross: Literal["invalid", "cancelled"] = "invalid"
    default_stp: SelfTradePrevention = SelfTradePrevention.CANCEL_BOTH
    order_iv_min: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    order_iv_max: Annotated[float, Meta(gt=1.0)] = 5.0
    stop_trigger: Literal["mark", "index"] = "mark"
    pending_stops: bool = True
    waiting_stop_state: Literal[-2, -1] = -2
    triggered_stop_id: Literal["same", "new"] = "same"
    amended_future_id: Literal["same", "new"] = "same"
    dated_contract_code: Literal["D", "E"] = "D"
    dated_symbol: Literal["plain", "padded", "usdt"] = "plain"
    dated_cycle: Literal["months_and_quarters", "weeks_and_quarters"] = "months_and_quarters"
    dated_settlement: Literal["mean", "last"] = "mean"
    dated_tickers: bool = False
    spot_ack: Literal["subbed", "action", "none"] = "subbed"
    spot_ping_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    spot_market_buy_quantity: Literal["base", "quote"] = "base"
    spot_market_order_price: Literal["zero", "average"] = "zero"
    spot_overview_all: Literal["map", "array"] = "map"
    suspended_code: Literal[10609, 10620] = 10620
    private_snapshot: bool = False
    repeat_books: bool = False
    event_order: Literal["order_first", "trade_first", "position_first"] = "order_first"
    fee_rate_sign: Literal["negative", "positive"] = "negative"
    position_greeks: Literal["per_unit", "signed_per_unit", "total", "signed_total"] = "signed_total"
    option_liquidation_price: Literal["zero", "null"] = "zero"
    expiry_pushes: bool = True
    expired_order_state: Literal[10, 3] = 10
    expired_position_state: Literal["closed", "open"] = "closed"
    settlement_delay_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    funding_pushes: bool = True
    cancel_on_disconnect: bool = False
    chain_without_end: Literal["all", "nearest", "refused"] = "all"
    last_trades_order: Literal["newest_first", "oldest_first"] = "newest_first"
    last_trades_count: Annotated[int, Meta(ge=1, le=1_000)] = 100
    empty_klines: Literal["omit", "previous_close"] = "omit"
    countdown_scope: Literal["index", "account"] = "index"
    countdown_reset: Literal["heartbeat", "set"] = "heartbeat"
    mmp_limit_unit: Literal["quantity", "notional"] = "quantity"
    mmp_frozen_code: Literal[10001, 60008] = 10001
    mmp_counts: Literal["protected", "all"] = "protected"
    mmp_window: Literal["rolling", "fixed"] = "rolling"
    mmp_scope: Literal["index", "account"] = "index"
    mmp_orders: Literal["protected", "all"] = "protected"
    mmp_quotes: Literal["left", "cancelled"] = "left"
    rate_limit_answer: Literal["code_10000", "http_429"] = "code_10000"
    rate_limit_scope: Literal["user", "key"] = "user"
    rate_limit_penalty_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    rfq_body: Literal["both", "form", "json"] = "both"
    rfq_ids: Literal["text", "integer"] = "text"
    quote_create_ids: Literal["text", "integer"] = "integer"
    rfq_list_without_access: Literal["http_404", "own"] = "http_404"
    rfq_min_notional_usd: Annotated[float, Meta(ge=0.0)] = 0.0
    rfq_sell_only: Literal["accepted", "refused"] = "accepted"
    rfq_legs_max: Annotated[int, Meta(ge=1, le=100)] = 20
    rfq_underlyings: Literal["one", "any"] = "one"
    quote_price_band_pct: Annotated[float, Meta(ge=0.0, le=100.0)] = 0.0
    taker_margin_check: Literal["accept", "create_and_accept"] = "accept"
    maker_margin_check: Literal["accept", "quote_and_accept"] = "accept"
    rfq_min_lots: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    quote_rate_per_s: Annotated[int, Meta(ge=1, le=10_000)] = 200
    gone_quote_code: Literal[50014, 10552, 10592] = 50014
    one_quote_per: Literal["side", "request"] = "side"
    requote_delay_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    open_quotes: Literal["cancelled", "left"] = "cancelled"
    expired_quote_state: Literal["CANCELLED", "EXPIRED"] = "CANCELLED"
    expired_request_push: bool = True
    traded_away: Literal["quoted", "all"] = "quoted"
    block_fee_legs: Literal["trade_side", "all"] = "trade_side"
    block_with_oneself: bool = False
    cancel_quotes_on_disconnect: bool = False
    strategy_names: Literal["known", "documented"] = "known"
    sold_strategy_price: Literal["same", "negated"] = "same"
    description_day: Literal["plain", "padded"] = "plain"
    rfq_scale: Literal["fixed", "plain"] = "fixed"

    def __post_init__(self) -> None:
        if self.default_stp is SelfTradePrevention.DEFAULT:
            raise ValueError("default_stp must name a mode: 1 cancel maker, 2 cancel taker, 3 cancel both")
