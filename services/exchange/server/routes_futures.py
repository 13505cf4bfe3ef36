"""Futures: market data, orders, positions, leverage, funding and delivery."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from services.exchange.contracts import Contract, ContractMarket, next_funding_time
from services.exchange.klines import BARS_MAX, period_of
from services.exchange.model import AmendOrder, CancelOrder, OrderBook
from services.exchange.server.api import Call, Endpoint
from services.exchange.server.errors import (
    PARAMETER_COUNT,
    PARAMETER_EMPTY,
    PARAMETER_WRONG,
    UNKNOWN_INSTRUMENT,
    UNKNOWN_ORDER,
    ApiError,
)
from services.exchange.server.paging import (
    DAY_MS,
    RANGE_MAX_MS,
    cursor_page,
    direction_of,
    numbered_page,
    page_size_of,
    time_range_of,
)
from services.exchange.server.render_futures import (
    DayFigures,
    book_row,
    delivery_row,
    fill_row,
    funding_payment_row,
    funding_row,
    history_row,
    pending_row,
    position_row,
    premium_row,
    single_order_row,
    symbol_row,
    ticker_book_row,
    ticker_row,
    waits,
)
from services.exchange.server.render_trades import kline_row, last_trade_row
from services.exchange.server.routes_orders import BATCH_MAX, amend_command, order_ids, place_command

NS_PER_MS = 1_000_000
PAGE_SIZE_MAX, FUNDING_PAGE_MAX, PREMIUM_PAGE_MAX = 500, 50, 200
MINUTE_MS, EIGHT_HOURS_MS = 60_000, 8 * 3_600_000
TICKER_DEPTHS = (1, 10, 20, 50, 100)
FIXED_DEPTH = 150
TIME_MS_MAX = 9_000_000_000_000

T = TypeVar("T")


def _find(call: Call, symbol: str) -> tuple[ContractMarket, Contract]:
    found = call.core.futures.find(symbol)
    if found is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return found


def _perpetual(call: Call, symbol: str) -> tuple[ContractMarket, Contract]:
    found = _find(call, symbol)
    if found[1].kind != "perpetual":
        raise ApiError(UNKNOWN_INSTRUMENT)
    return found


def _book(call: Call, symbol: str, depth: int) -> OrderBook:
    book = call.core.futures.order_book(symbol, depth)
    if book is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return book


def _figures(call: Call, market: ContractMarket, contract: Contract) -> DayFigures:
    return DayFigures(call.core.futures, market, contract)


def funding_rates(call: Call) -> Any:
    """The rates of the next funding, of the symbols in `symbol` or of all perpetuals."""
    wanted = call.fields.text("symbol")
    names = None if wanted is None else set(wanted.split(","))
    perpetuals = [each for each in call.core.futures.contracts() if each[1].kind == "perpetual"]
    rows = [funding_row(contract, market, i, call.now_ns) for i, (market, contract) in enumerate(perpetuals, start=1)]
    return [row for row in rows if names is None or row["symbol"] in names]


def symbols(call: Call) -> Any:
    """A list of perpetuals and dated futures, or with the undocumented `?symbol=` a single object."""
    wanted = call.fields.text("symbol")
    rows = [
        symbol_row(contract, market, _figures(call, market, contract), number, call.core.now_ns)
        for number, (market, contract) in enumerate(call.core.futures.contracts(), start=1)
        if wanted in (None, contract.symbol)
    ]
    if wanted is None:
        return rows
    if not rows:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return rows[0]


def instruments(call: Call) -> Any:
    """The perpetuals by ticker, and as configured the dated futures."""
    kinds = ("perpetual", "future") if call.venue.config.switches.dated_tickers else ("perpetual",)
    return [
        ticker_row(
            contract, market, _figures(call, market, contract), _book(call, contract.symbol, 1), call.core.now_ns
        )
        for market, contract in call.core.futures.contracts()
        if contract.kind in kinds
    ]


def ticker_book(call: Call) -> Any:
    ticker, depth = call.fields.need_text("symbol"), call.fields.integer("depth") or 1
    if depth not in TICKER_DEPTHS:
        raise ApiError(PARAMETER_WRONG, "depth")
    return ticker_book_row(ticker, _book(call, ticker.replace("-", "", 1), depth))


def order_book(call: Call) -> Any:
    return book_row(_book(call, call.path_params["symbol"], FIXED_DEPTH))


def last_trades(call: Call) -> Any:
    symbol, switches = call.path_params["symbol"], call.venue.config.switches
    _find(call, symbol)
    rows = [last_trade_row(trade) for trade in call.core.futures.market_trades(symbol, switches.last_trades_count)]
    for row in rows:
        del row["displayName"]
    return rows if switches.last_trades_order == "newest_first" else rows[::-1]


def klines(call: Call) -> Any:
    """Bars, oldest first; without `start` and `end` the newest. `limit` of 1 does not limit."""
    fields = call.fields
    period = period_of(fields.need_text("period"))
    start_ms, end_ms, limit = fields.integer("start") or 0, fields.integer("end"), fields.integer("limit")
    end_ms = call.now_ms if end_ms is None else end_ms
    if period is None:
        raise ApiError(PARAMETER_WRONG, "period")
    if not 0 <= start_ms <= end_ms <= TIME_MS_MAX:
        raise ApiError(PARAMETER_WRONG, "start")
    if limit is not None and limit < 1:
        raise ApiError(PARAMETER_WRONG, "limit")
    count = BARS_MAX if limit in (None, 1) else min(limit, BARS_MAX)
    symbol = call.path_params["symbol"]
    bars = call.core.futures.klines(symbol, period, start_ms * NS_PER_MS, end_ms * NS_PER_MS, count)
    if bars is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return [kline_row(bar) for bar in bars]


def leverage(call: Call) -> Any:
    _, contract = _find(call, call.fields.need_text("symbol"))
    current = call.core.futures.leverage(call.account_id, contract.symbol)
    return {"userId": call.signer.user_id, "symbol": contract.symbol, "currentLeverage": current}


def set_leverage(call: Call) -> Any:
    symbol, value = call.fields.need_text("symbol"), call.fields.need_integer("leverage")
    call.venue.execute(lambda core, now_ns: core.futures.set_leverage(call.account_id, symbol, value, now_ns))


def positions(call: Call) -> Any:
    wanted = call.fields.text("symbol")
    held = call.core.futures.positions(call.account_id)
    return [position_row(each, call.signer.user_id) for each in held if wanted in (None, each.symbol)]


def create(call: Call) -> Any:
    command = place_command(call.fields, call.venue.config.switches, stops=True)
    return call.venue.execute(lambda core, now_ns: core.futures.place(call.account_id, command, now_ns)).order_id


def amend(call: Call) -> Any:
    command: AmendOrder = amend_command(call.fields)
    return call.venue.execute(lambda core, now_ns: core.futures.amend(call.account_id, command, now_ns)).order_id


def cancel(call: Call) -> Any:
    order_id, client_order_id = order_ids(call.fields)
    command = CancelOrder(order_id=order_id, client_order_id=client_order_id)
    call.venue.execute(lambda core, now_ns: core.futures.cancel(call.account_id, command, now_ns))


def batch_cancel(call: Call) -> Any:
    """Up to 40 ids, each with its own result; `orderIdList` wins."""
    by_id, by_client_id = call.fields.integers("orderIdList"), call.fields.integers("clientOrderIdList")
    commands = [CancelOrder(order_id=each) for each in by_id or ()]
    commands = commands or [CancelOrder(client_order_id=each) for each in by_client_id or ()]
    if not commands:
        raise ApiError(PARAMETER_EMPTY, "orderIdList")
    if len(commands) > BATCH_MAX:
        raise ApiError(PARAMETER_COUNT, "orderIdList")
    with call.venue.together():
        return [_cancel_one(call, command) for command in commands]


def _cancel_one(call: Call, command: CancelOrder) -> dict[str, Any]:
    order = call.core.futures.order(call.account_id, command.order_id, command.client_order_id)
    message: str | None = None
    try:
        call.venue.execute(lambda core, now_ns: core.futures.cancel(call.account_id, command, now_ns))
    except ApiError as error:
        message = error.text
    return {
        "clOrdId": command.client_order_id if order is None else order.client_order_id,
        "ordId": command.order_id if order is None else order.order_id,
        "ts": call.now_ms,
        "scode": 0 if message is None else 1,
        "smsg": message,
    }


def cancel_symbol(call: Call) -> Any:
    symbol = call.path_params["symbol"]
    call.venue.run(lambda core, now_ns: core.futures.cancel_symbol(call.account_id, symbol, now_ns))


def pending(call: Call) -> Any:
    """Open orders, newest first; stop orders that wait among them (`pending_stops`)."""
    size, symbol = page_size_of(call.fields, PAGE_SIZE_MAX), call.fields.text("symbol")
    shown = call.venue.config.switches.pending_stops
    orders = [
        order
        for order in call.core.futures.open_orders(call.account_id)
        if symbol in (None, order.symbol) and (shown or not waits(order))
    ]
    return _numbered(call, orders, size, lambda each: pending_row(each, call.core.futures.initial_margin(each)))


def _numbered(call: Call, items: Sequence[T], size: int, render: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    number = call.fields.integer("page")
    page = numbered_page(items, page=1 if number is None else number, page_size=size)
    return {"list": [render(each) for each in page.items], "pageTotal": page.page_total, "total": page.total}


def single_order(call: Call) -> Any:
    order = call.core.futures.order(call.account_id, *order_ids(call.fields))
    if order is None:
        raise ApiError(UNKNOWN_ORDER)
    return single_order_row(order, call.venue.config.switches.waiting_stop_state)


def order_history(call: Call) -> Any:
    start_ns, end_ns = _span_ns(call, DAY_MS)
    orders = call.core.futures.orders(call.account_id, start_ns, end_ns)
    return _cursor(call, orders, lambda order: order.order_id, history_row)


def trade_history(call: Call) -> Any:
    start_ns, end_ns = _span_ns(call, DAY_MS)
    fills = call.core.futures.fills(call.account_id, start_ns, end_ns)
    return _cursor(call, fills, lambda fill: fill.trade_id, fill_row)


def _cursor(
    call: Call, items: Sequence[T], id_of: Callable[[T], int], render: Callable[[T], dict[str, Any]]
) -> dict[str, Any]:
    page = cursor_page(
        items,
        id_of,
        from_id=call.fields.integer("fromId"),
        page_size=page_size_of(call.fields, PAGE_SIZE_MAX),
        direction=direction_of(call.fields),
    )
    return {"list": [render(each) for each in page.items], "hasNext": page.has_next, "hasPre": page.has_previous}


def _span_ns(call: Call, default_ms: int) -> tuple[int, int]:
    span = time_range_of(call.fields, call.now_ms, call.now_ms - default_ms)
    return span.start_ms * NS_PER_MS, (span.end_ms + 1) * NS_PER_MS - 1


def funding_history(call: Call) -> Any:
    symbol, size = call.fields.need_text("symbol"), page_size_of(call.fields, FUNDING_PAGE_MAX)
    payments = call.core.futures.funding(call.account_id, *_span_ns(call, RANGE_MAX_MS))
    return _numbered(call, [each for each in payments if each.symbol == symbol], size, funding_payment_row)


def latest_funding(call: Call) -> Any:
    """Of the last eight hours, or since `startTime` within a day."""
    symbol = call.fields.text("symbol")
    start_ms = call.fields.integer("startTime")
    start_ms = call.now_ms - EIGHT_HOURS_MS if start_ms is None else max(start_ms, call.now_ms - DAY_MS)
    payments = call.core.futures.funding(call.account_id, start_ms * NS_PER_MS, call.now_ns)
    return {"list": [funding_payment_row(each) for each in payments[::-1] if symbol in (None, each.symbol)]}


def delivery_history(call: Call) -> Any:
    symbol, size = call.fields.text("symbol"), page_size_of(call.fields, FUNDING_PAGE_MAX)
    deliveries = call.core.futures.deliveries(call.account_id, *_span_ns(call, RANGE_MAX_MS))
    return _numbered(call, [each for each in deliveries if symbol in (None, each.symbol)], size, delivery_row)


def premium_history(call: Call) -> Any:
    """The premium of each minute, newest first, over at most 24 hours."""
    fields = call.fields
    market, contract = _perpetual(call, fields.need_text("symbol"))
    size, number = fields.integer("pageSize") or MINUTE_MS // 1_000, fields.integer("page") or 1
    if not 1 <= size <= PREMIUM_PAGE_MAX:
        raise ApiError(PARAMETER_WRONG, "pageSize")
    span = time_range_of(fields, call.now_ms, call.now_ms - DAY_MS)
    if span.end_ms - span.start_ms > DAY_MS:
        raise ApiError(PARAMETER_WRONG, "startTime")
    minutes = range(-(-span.start_ms // MINUTE_MS), min(span.end_ms, call.now_ms) // MINUTE_MS + 1)
    page = numbered_page(minutes, page=number, page_size=size)
    records = []
    for minute in page.items:
        at_ns = minute * MINUTE_MS * NS_PER_MS
        rate = market.funding_rate(next_funding_time(at_ns))
        records.append(premium_row(contract.symbol, market.premium(at_ns), rate, at_ns))
    return {
        "records": records,
        "total": page.total,
        "size": size,
        "current": number,
        "pages": page.page_total,
        "hasNext": number < page.page_total,
        "hasPrevious": number > 1,
    }


def futures_endpoints() -> list[Endpoint]:
    market, orders, settle = "/open/futures/market", "/open/futures/order", "/open/settle/future"
    return [
        Endpoint("GET", "/open/public/fundingRate/v1", "public", "funding_rate", funding_rates),
        Endpoint("GET", f"{market}/symbol/v1", "public", "market_data", symbols),
        Endpoint("GET", f"{market}/instruments/v1", "public", "market_data", instruments),
        Endpoint("GET", f"{market}/orderbook", "public", "order_book", ticker_book),
        Endpoint("GET", f"{orders}/orderbook/v1/{{symbol}}", "public", "order_book", order_book),
        Endpoint("GET", f"{market}/kline/history/v2/{{symbol}}", "public", "market_data", klines),
        Endpoint("GET", "/open/futures/trade/lasttrade/v1/{symbol}", "public", "market_data", last_trades),
        Endpoint("GET", "/open/futures/leverage/current/v1", "read", "account", leverage),
        Endpoint("POST", "/open/futures/leverage/set/v1", "trade", "account", set_leverage),
        Endpoint("GET", "/open/futures/position/get/v1", "read", "positions", positions),
        Endpoint("POST", f"{orders}/create/v1", "trade", "place_order", create),
        Endpoint("POST", f"{orders}/modify/v1", "trade", "amend_order", amend),
        Endpoint("POST", f"{orders}/cancel/v1", "trade", "cancel_order", cancel),
        Endpoint("POST", f"{orders}/batchCancel/v1", "trade", "cancel_order", batch_cancel),
        Endpoint("GET", f"{orders}/cancelOpenOrders/v1/{{symbol}}", "trade", "cancel_order", cancel_symbol),
        Endpoint("GET", f"{orders}/pending/v1", "read", "open_orders", pending),
        Endpoint("GET", f"{orders}/singleQuery/v1", "read", "open_orders", single_order),
        Endpoint("GET", f"{orders}/history/v1", "read", "history", order_history),
        Endpoint("GET", "/open/futures/trade/history/v1", "read", "history", trade_history),
        Endpoint("GET", f"{settle}/record/v1", "read", "history", funding_history),
        Endpoint("GET", f"{settle}/latestRecord/v1", "read", "history", latest_funding),
        Endpoint("GET", "/open/futures/delivery/settlement/history/v1", "read", "history", delivery_history),
        Endpoint("GET", f"{market}/premiumIndexHistory/v1", "read", "market_data", premium_history),
    ]
