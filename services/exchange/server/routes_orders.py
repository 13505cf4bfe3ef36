"""Option trading: create, amend, cancel, batches, queries of orders."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from services.exchange.model import AmendOrder, CancelOrder, Order, OrderType, PlaceOrder, SelfTradePrevention, Side
from services.exchange.server.api import Call, Endpoint
from services.exchange.server.errors import (
    ORDER_ID_NEEDED,
    PARAMETER_COUNT,
    PARAMETER_EMPTY,
    PARAMETER_WRONG,
    PRICE_MISSING,
    QUANTITY_MISSING,
    TIME_IN_FORCE,
    UNKNOWN_ORDER,
    ApiError,
)
from services.exchange.server.paging import (
    DAY_MS,
    cursor_page,
    direction_of,
    numbered_page,
    page_size_of,
    time_range_of,
)
from services.exchange.server.render_account import history_row, pending_row, single_order_row
from services.exchange.server.wire import Fields
from services.exchange.switches import Switches

NS_PER_MS = 1_000_000
BATCH_MAX = 40
PAGE_SIZE_MAX = 500
BATCH_KEYS = {10558: "less.than.min.amount", 10534: "order.size.exceeds.the.maximum.limit.per.order"}
"""What the venue writes inside batch results instead of a sentence."""
TIMES_IN_FORCE: Mapping[str, Literal["GTC", "IOC", "FOK"]] = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK"}


def place_command(fields: Fields, switches: Switches, *, stops: bool = False) -> PlaceOrder:
    """The order that a body asks for; ApiError names what is missing or wrong. Unknown fields do not matter. `stops`:
    whether the product has stop orders, and market orders that must carry no timeInForce."""
    order_type = _one_of(OrderType, fields.need_integer("tradeType"), "tradeType")
    if order_type is OrderType.BLOCK_TRADE or (order_type.is_stop and not stops):
        raise ApiError(PARAMETER_WRONG, "tradeType")
    quantity = fields.decimal("qty")
    if quantity is None:
        raise ApiError(QUANTITY_MISSING)
    price = fields.decimal("price")
    if price is None and not order_type.is_market:
        raise ApiError(PRICE_MISSING)
    time_in_force = TIMES_IN_FORCE.get((fields.text("timeInForce") or "GTC").upper())
    if time_in_force is None:
        raise ApiError(TIME_IN_FORCE)
    client_order_id = _client_order_id(fields, switches)
    if client_order_id is not None and client_order_id <= 0:
        raise ApiError(PARAMETER_WRONG, "clientOrderId")
    slippage_pct = fields.decimal("slippage")
    return PlaceOrder(
        symbol=fields.need_text("symbol"),
        side=_one_of(Side, fields.need_integer("tradeSide"), "tradeSide"),
        quantity=quantity,
        price=price,
        order_type=order_type,
        time_in_force=time_in_force,
        client_order_id=client_order_id,
        reduce_only=fields.boolean("reduceOnly"),
        stp=_one_of(SelfTradePrevention, fields.integer("stp") or 0, "stp"),
        mmp=fields.boolean("mmp"),
        slippage_pct=Decimal(5) if slippage_pct is None else slippage_pct,
        trigger_price=fields.decimal("triggerPrice"),
    )


def _client_order_id(fields: Fields, switches: Switches) -> int | None:
    try:
        return fields.integer("clientOrderId")
    except ApiError:
        if switches.client_order_id_text == "refused":
            raise
        return None


def _one_of(kind: Any, value: int, name: str) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise ApiError(PARAMETER_WRONG, name) from error


def amend_command(fields: Fields) -> AmendOrder:
    order_id, client_order_id = order_ids(fields)
    return AmendOrder(
        symbol=fields.need_text("symbol"),
        order_id=order_id,
        client_order_id=client_order_id,
        quantity=fields.decimal("qty"),
        price=fields.decimal("price"),
    )


def order_ids(fields: Fields) -> tuple[int | None, int | None]:
    """`orderId` wins over `clientOrderId`; ApiError without either."""
    order_id = fields.integer("orderId")
    if order_id is not None:
        return order_id, None
    client_order_id = fields.integer("clientOrderId")
    if client_order_id is None:
        raise ApiError(ORDER_ID_NEEDED)
    return None, client_order_id


def create(call: Call) -> Any:
    command = place_command(call.fields, call.venue.config.switches)
    return call.venue.execute(lambda core, now_ns: core.place(call.account_id, command, now_ns)).order_id


def amend(call: Call) -> Any:
    command = amend_command(call.fields)
    return call.venue.execute(lambda core, now_ns: core.amend(call.account_id, command, now_ns)).order_id


def cancel(call: Call) -> Any:
    order_id, client_order_id = order_ids(call.fields)
    command = CancelOrder(order_id=order_id, client_order_id=client_order_id)
    call.venue.execute(lambda core, now_ns: core.cancel(call.account_id, command, now_ns))
    return "success"


def batch_cancel(call: Call) -> Any:
    """Up to 40 ids, each with its own result; `orderIdList` wins."""
    order_ids = call.fields.integers("orderIdList")
    client_order_ids = call.fields.integers("clientOrderIdList")
    if order_ids:
        commands = [CancelOrder(order_id=each) for each in order_ids]
    elif client_order_ids:
        commands = [CancelOrder(client_order_id=each) for each in client_order_ids]
    else:
        raise ApiError(PARAMETER_EMPTY, "orderIdList")
    if len(commands) > BATCH_MAX:
        raise ApiError(PARAMETER_COUNT, "orderIdList")
    with call.venue.together():
        return [_cancel_one(call, command) for command in commands]


def _cancel_one(call: Call, command: CancelOrder) -> dict[str, Any]:
    order = call.core.order(call.account_id, command.order_id, command.client_order_id)
    message: str | None = None
    try:
        call.venue.execute(lambda core, now_ns: core.cancel(call.account_id, command, now_ns))
    except ApiError as error:
        message = error.text
    return {
        "clOrdId": command.client_order_id if order is None else order.client_order_id,
        "ordId": command.order_id if order is None else order.order_id,
        "ts": call.now_ms,
        "scode": 0 if message is None else 1,
        "smsg": message,
    }


def cancel_index(call: Call) -> Any:
    index = call.path_params["index"].upper()
    call.venue.run(lambda core, now_ns: core.cancel_index(call.account_id, index, now_ns))


def cancel_option(call: Call) -> Any:
    symbol = call.path_params["symbol"]
    call.venue.run(lambda core, now_ns: core.cancel_symbol(call.account_id, symbol, now_ns))


def _batch(call: Call) -> list[Fields]:
    orders = call.body.get("orders")
    if not isinstance(orders, list) or not orders:
        raise ApiError(PARAMETER_EMPTY, "orders")
    if len(orders) > BATCH_MAX:
        raise ApiError(PARAMETER_COUNT, "orders")
    if not all(isinstance(order, dict) for order in orders):
        raise ApiError(PARAMETER_WRONG, "orders")
    return [Fields(order) for order in orders]


def _batch_result(order_id: int | None, error: ApiError | None) -> dict[str, Any]:
    if error is None:
        return {"code": 0, "msg": None, "i18nArgs": None, "data": order_id}
    return {"code": error.code, "msg": BATCH_KEYS.get(error.code, error.text), "i18nArgs": None, "data": order_id}


def batch_create(call: Call) -> Any:
    results = []
    with call.venue.together():
        for fields in _batch(call):
            try:
                command = place_command(fields, call.venue.config.switches)
                order_id = _place(call, command)
                results.append(_batch_result(order_id, None))
            except ApiError as error:
                results.append(_batch_result(None, error))
    return results


def _place(call: Call, command: PlaceOrder) -> int:
    return call.venue.execute(lambda core, now_ns: core.place(call.account_id, command, now_ns)).order_id


def batch_amend(call: Call) -> Any:
    """Carried out in the order of the request; the results come by symbol, as at the venue: clients match by id."""
    results = []
    with call.venue.together():
        for fields in _batch(call):
            try:
                command = amend_command(fields)
                order_id = _amend(call, command)
                results.append(_batch_result(order_id, None))
            except ApiError as error:
                results.append(_batch_result(fields.integer("orderId"), error))
    symbols = [str(order.get("symbol")) for order in call.body["orders"]]
    return [result for _, result in sorted(zip(symbols, results, strict=True), key=lambda pair: pair[0])]


def _amend(call: Call, command: AmendOrder) -> int:
    return call.venue.execute(lambda core, now_ns: core.amend(call.account_id, command, now_ns)).order_id


def pending(call: Call) -> Any:
    """Open orders, newest first, of one currency (`currency=BTC`) or of one symbol or index (`symbol=`)."""
    size = page_size_of(call.fields, PAGE_SIZE_MAX)
    currency = call.fields.text("currency")
    symbol = call.fields.text("symbol")
    orders = [
        order
        for order in call.core.open_orders(call.account_id)
        if (currency is None or order.symbol.startswith(f"{currency.upper()}USD-"))
        and (symbol is None or order.symbol == symbol or order.symbol.startswith(f"{symbol}-"))
    ]
    number = call.fields.integer("page")
    page = numbered_page(orders, page=1 if number is None else number, page_size=size)
    rows = [pending_row(order, call.core.order_initial_margin(order), _index_of(call, order)) for order in page.items]
    return {"list": rows, "pageTotal": page.page_total, "total": page.total}


def _index_of(call: Call, order: Order) -> Decimal:
    return call.core.index_price(order.symbol.partition("USD-")[0]) or Decimal(0)


def single_order(call: Call) -> Any:
    order_id, client_order_id = order_ids(call.fields)
    order = call.core.order(call.account_id, order_id, client_order_id)
    if order is None:
        raise ApiError(UNKNOWN_ORDER)
    return single_order_row(order)


def order_history(call: Call) -> Any:
    size = page_size_of(call.fields, PAGE_SIZE_MAX)
    span = time_range_of(call.fields, call.now_ms, call.now_ms - DAY_MS)
    orders = call.core.order_history(call.account_id, span.start_ms * NS_PER_MS, (span.end_ms + 1) * NS_PER_MS - 1)
    from_id = call.fields.integer("fromId")
    direction = direction_of(call.fields)
    page = cursor_page(orders, lambda order: order.order_id, from_id=from_id, page_size=size, direction=direction)
    rows = [history_row(order) for order in page.items]
    return {"list": rows, "hasNext": page.has_next, "hasPre": page.has_previous}


def order_endpoints() -> list[Endpoint]:
    root = "/open/option/order"
    return [
        Endpoint("POST", f"{root}/create/v1", "trade", "place_order", create),
        Endpoint("POST", f"{root}/modify/v1", "trade", "amend_order", amend),
        Endpoint("POST", f"{root}/cancel/v1", "trade", "cancel_order", cancel),
        Endpoint("POST", f"{root}/batchCancel/v1", "trade", "cancel_order", batch_cancel),
        Endpoint("GET", f"{root}/cancelOpenOrders/v1/{{index}}", "trade", "cancel_order", cancel_index),
        Endpoint("GET", f"{root}/batchCancelByOption/v1/{{symbol}}", "trade", "cancel_order", cancel_option),
        Endpoint("POST", f"{root}/batchCreate/v1", "market_maker", "place_order", batch_create),
        Endpoint("POST", f"{root}/batchModify/v1", "market_maker", "amend_order", batch_amend),
        Endpoint("GET", f"{root}/pending/v1", "read", "open_orders", pending),
        Endpoint("GET", f"{root}/singleQuery/v1", "read", "open_orders", single_order),
        Endpoint("GET", f"{root}/history/v1", "read", "history", order_history),
    ]
