"""Spot: market data, orders and fills. Lists are plain arrays with a limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from services.exchange.contracts import Contract, ContractMarket
from services.exchange.klines import next_bar_start
from services.exchange.model import CancelOrder, Order, OrderType, PlaceOrder, Side
from services.exchange.server.api import Call, Endpoint
from services.exchange.server.errors import (
    PARAMETER_EMPTY,
    PARAMETER_WRONG,
    UNKNOWN_INSTRUMENT,
    UNKNOWN_ORDER,
    ApiError,
)
from services.exchange.server.paging import DAY_MS, time_range_of
from services.exchange.server.render_futures import DayFigures
from services.exchange.server.render_spot import (
    book_row,
    fill_row,
    instrument_row,
    kline_row,
    order_row,
    overview_row,
    trade_row,
)
from services.exchange.server.routes_orders import order_ids, place_command
from services.exchange.server.spot_channels import INTERVALS

NS_PER_MS = 1_000_000
DEPTHS = (1, 10, 20, 50, 100, 200)
LIMIT_MAX, TRADES_MAX = 1_000, 100


def _find(call: Call, symbol: str) -> tuple[ContractMarket, Contract]:
    found = call.core.spot.find(symbol)
    if found is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return found


def _limit(call: Call, default: int, most: int = LIMIT_MAX) -> int:
    limit = call.fields.integer("limit")
    if limit is None:
        return default
    if not 1 <= limit <= most:
        raise ApiError(PARAMETER_WRONG, "limit")
    return limit


def instruments(call: Call) -> Any:
    """An array; with `symbol` one object."""
    wanted = call.fields.text("symbol")
    if wanted is not None:
        return instrument_row(_find(call, wanted)[1])
    return [instrument_row(contract) for _, contract in call.core.spot.contracts()][: _limit(call, 500)]


def klines(call: Call) -> Any:
    fields = call.fields
    symbol, period = fields.need_text("symbol"), INTERVALS.get(fields.need_text("interval"))
    if period is None:
        raise ApiError(PARAMETER_WRONG, "interval")
    start_ms, end_ms = fields.integer("start") or 0, fields.integer("end")
    end_ms = call.now_ms if end_ms is None else end_ms
    if not 0 <= start_ms <= end_ms:
        raise ApiError(PARAMETER_WRONG, "start")
    _find(call, symbol)
    count = _limit(call, 200)
    bars = call.core.spot.klines(symbol, period, start_ms * NS_PER_MS, end_ms * NS_PER_MS, count)
    return [kline_row(bar, next_bar_start(bar.start_ns, period)) for bar in bars or ()]


def order_book(call: Call) -> Any:
    symbol, depth = call.fields.need_text("symbol"), call.fields.integer("depth") or 1
    if depth not in DEPTHS:
        raise ApiError(PARAMETER_WRONG, "depth")
    book = call.core.spot.order_book(symbol, depth)
    if book is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return book_row(book, call.core.step)


def last_trades(call: Call) -> Any:
    symbol = call.fields.need_text("symbol")
    _find(call, symbol)
    return [trade_row(trade) for trade in call.core.spot.market_trades(symbol, _limit(call, 1, TRADES_MAX))]


def overview(call: Call) -> Any:
    """With `symbol` one object, else as configured a map by symbol, as on the socket, or an array."""
    wanted = call.fields.text("symbol")
    rows = {
        contract.symbol: overview_row(contract, market, DayFigures(call.core.spot, market, contract))
        for market, contract in call.core.spot.contracts()
        if wanted in (None, contract.symbol)
    }
    if wanted is None:
        return rows if call.venue.config.switches.spot_overview_all == "map" else list(rows.values())
    if wanted not in rows:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return rows[wanted]


def create(call: Call) -> Any:
    switches = call.venue.config.switches
    command: PlaceOrder = place_command(call.fields, switches)
    spends = command.order_type is OrderType.MARKET and command.side is Side.BUY
    if spends and switches.spot_market_buy_quantity == "quote":
        command = _bought_for(call, command)
    return call.venue.execute(lambda core, now_ns: core.spot.place(call.account_id, command, now_ns)).order_id


def _bought_for(call: Call, command: PlaceOrder) -> PlaceOrder:
    """The order in coins: as many whole lots as its USDT buy at the best ask."""
    contract = _find(call, command.symbol)[1]
    book = call.core.spot.order_book(command.symbol, 1)
    if book is None or not book.asks or not command.quantity.is_finite():
        raise ApiError(PARAMETER_WRONG, "qty")
    lots = command.quantity / book.asks[0].price // contract.min_quantity
    return replace(command, quantity=lots * contract.min_quantity)


def cancel(call: Call) -> Any:
    order_id, client_order_id = order_ids(call.fields)
    command = CancelOrder(order_id=order_id, client_order_id=client_order_id)
    call.venue.execute(lambda core, now_ns: core.spot.cancel(call.account_id, command, now_ns))
    return True


def cancel_all(call: Call) -> Any:
    symbol = call.fields.text("symbol")
    if symbol is None:
        raise ApiError(PARAMETER_EMPTY, "symbol")
    call.venue.run(lambda core, now_ns: core.spot.cancel_symbol(call.account_id, symbol, now_ns))
    return True


def single_order(call: Call) -> Any:
    order = call.core.spot.order(call.account_id, *order_ids(call.fields))
    if order is None:
        raise ApiError(UNKNOWN_ORDER)
    return order_row(order, call.signer.user_id, call.venue.config.switches.spot_market_order_price)


def open_orders(call: Call) -> Any:
    """Newest first."""
    symbol = call.fields.text("symbol")
    orders = [each for each in call.core.spot.open_orders(call.account_id) if symbol in (None, each.symbol)]
    return _rows(call, orders)


def all_orders(call: Call) -> Any:
    """Open and finished ones created in the range (the last day without one), newest first."""
    symbol = call.fields.need_text("symbol")
    orders = call.core.spot.orders(call.account_id, *_span_ns(call), finished=False)
    return _rows(call, [each for each in orders if each.symbol == symbol])[: _limit(call, 500)]


def _rows(call: Call, orders: Sequence[Order]) -> list[dict[str, Any]]:
    return [
        order_row(order, call.signer.user_id, call.venue.config.switches.spot_market_order_price)
        for order in reversed(orders)
    ]


def fills(call: Call) -> Any:
    """Newest first."""
    symbol, order_id = call.fields.text("symbol"), call.fields.integer("orderId")
    found = [
        fill
        for fill in call.core.spot.fills(call.account_id, *_span_ns(call))
        if symbol in (None, fill.symbol) and order_id in (None, fill.order_id)
    ]
    return [fill_row(fill, call.signer.user_id) for fill in found[::-1]][: _limit(call, 500)]


def _span_ns(call: Call) -> tuple[int, int]:
    span = time_range_of(call.fields, call.now_ms, call.now_ms - DAY_MS)
    return span.start_ms * NS_PER_MS, (span.end_ms + 1) * NS_PER_MS - 1


def spot_endpoints() -> list[Endpoint]:
    market, trade = "/open/spot/market", "/open/spot/trade"
    return [
        Endpoint("GET", f"{market}/instruments", "public", "market_data", instruments),
        Endpoint("GET", f"{market}/klines", "public", "market_data", klines),
        Endpoint("GET", f"{market}/orderbook", "public", "order_book", order_book),
        Endpoint("GET", f"{market}/histories", "public", "market_data", last_trades),
        Endpoint("GET", f"{market}/overviewV2", "public", "market_data", overview),
        Endpoint("POST", f"{trade}/order/v1", "trade", "place_order", create),
        Endpoint("GET", f"{trade}/order/v1", "read", "open_orders", single_order),
        Endpoint("POST", f"{trade}/cancel/v1", "trade", "cancel_order", cancel),
        Endpoint("POST", f"{trade}/cancelAll/v1", "trade", "cancel_order", cancel_all),
        Endpoint("GET", f"{trade}/orders/v1", "read", "open_orders", open_orders),
        Endpoint("GET", f"{trade}/allorders/v1", "read", "history", all_orders),
        Endpoint("GET", f"{trade}/fills/v1", "read", "history", fills),
    ]
