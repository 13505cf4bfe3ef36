"""The fold of the rows that speak of an order, and of its executions into the leg that they open or reduce."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from services.execution import rows
from services.execution.records import Fill, Order
from services.execution.states import order_may_move

if TYPE_CHECKING:
    from services.execution.book import Book


def fold_order_requested(book: Book, row: rows.OrderRequested, at_ns: int) -> None:
    """An order is remembered from the moment that it is decided."""
    assert row.client_order_id not in book.orders, f"order {row.client_order_id} requested twice"
    trade = book.trades[row.trade_id]
    book.orders[row.client_order_id] = Order(
        client_order_id=row.client_order_id,
        trade_id=row.trade_id,
        leg_index=row.leg_index,
        purpose=row.purpose,
        attempt=row.attempt,
        symbol=row.symbol,
        side=row.side,
        quantity=row.quantity,
        price=row.price,
        reduce_only=row.reduce_only,
        created_ns=at_ns,
        state="SENDING",
        reason=row.why,
        state_ns=at_ns,
        updated_ns=at_ns,
        unknown_ns=at_ns,
        priced_ns=at_ns,
        quote_id=row.quote_id,
        post_only=row.post_only,
        label=row.label,
    )
    trade.order_ids.append(row.client_order_id)
    if row.quote_id:
        book.rfqs.order_requested(row)
    name = f"{row.leg_index}/{row.purpose}"
    trade.attempts[name] = max(row.attempt + 1, trade.attempts.get(name, 0))
    book.unsettled[row.client_order_id] = None


def fold_amendment(book: Book, row: rows.AmendRequested | rows.OrderRepriced | rows.AmendFailed, at_ns: int) -> None:
    """An order is asked to rest at another price, and does or does not."""
    order = book.orders[row.client_order_id]
    order.updated_ns = at_ns
    match row:
        case rows.AmendRequested():
            assert order.state == "WORKING", f"order {row.client_order_id} is amended while {order.state}"
            order.amend_price = row.price
            order.amend_ns = order.priced_ns = at_ns
            order.amends += 1
            order.reason = row.why
        case rows.OrderRepriced():
            order.price = row.price
            order.amend_price = None
        case rows.AmendFailed():
            order.amend_price = None
            order.amend_failed = True


def fold_order(
    book: Book,
    row: rows.OrderMoved | rows.OrderSighted | rows.FillSeen | rows.FillAssumed | rows.FeeLearned,
    at_ns: int,
) -> None:
    """What became of an order, and what it filled, with its fee."""
    if isinstance(row, rows.FeeLearned):
        fill = book.fills[row.venue_trade_id]
        _pay_fee(book, book.orders[fill.client_order_id], row.fee_usd)
        fill.fee_usd = row.fee_usd
        book.feeless.pop(row.venue_trade_id, None)
        return
    order = book.orders[row.client_order_id]
    quantity, cash = order.filled_quantity, order.filled_cash
    order.updated_ns = at_ns
    match row:
        case rows.OrderMoved():
            assert order_may_move(order.state, row.state), (
                f"order {order.client_order_id}: {order.state} to {row.state}"
            )
            order.state = row.state
            order.reason = row.reason
            order.state_ns = at_ns
            order.refusal_kind = row.refusal_kind
            order.refusal_code = row.refusal_code
            if row.state == "UNKNOWN":
                order.unknown_ns = at_ns
            order.cancel_asked = order.cancel_asked or row.state == "CANCELLING"
            if row.state == "FILLED":
                order.sighted_quantity = max(order.sighted_quantity, order.quantity)
        case rows.OrderSighted():
            order.venue_order_id = row.venue_order_id
            book.order_of_venue_id[row.venue_order_id] = order.client_order_id
            order.sighted_quantity = max(order.sighted_quantity, row.filled_quantity)
        case rows.FillSeen():
            _fill_seen(book, order, row)
        case rows.FillAssumed():
            order.assumed_quantity = row.filled_quantity
            order.assumed_price = row.average_price
    _count(book, order, order.filled_quantity - quantity, order.filled_cash - cash, at_ns)
    if order.is_settled:
        book.unsettled.pop(order.client_order_id, None)
    else:
        book.unsettled[order.client_order_id] = None


def _fill_seen(book: Book, order: Order, row: rows.FillSeen) -> None:
    fill = row.fill
    assert fill.venue_trade_id not in book.fills, f"fill {fill.venue_trade_id} counted twice"
    book.fills[fill.venue_trade_id] = Fill(order.client_order_id, order.trade_id, fill.fee_usd, fill.venue_ns)
    order.fills_quantity += fill.quantity
    order.fills_cash += fill.quantity * fill.price
    if fill.fee_usd is None:
        book.feeless[fill.venue_trade_id] = None
    else:
        _pay_fee(book, order, fill.fee_usd)


def _pay_fee(book: Book, order: Order, fee_usd: Decimal) -> None:
    trade = book.trades[order.trade_id]
    trade.fees_usd += fee_usd
    if order.purpose == "open":
        trade.opening_fees_usd += fee_usd


def _count(book: Book, order: Order, quantity: Decimal, cash: Decimal, at_ns: int) -> None:
    """Add what one row changed about an order to its leg."""
    if not quantity and not cash:
        return
    leg = book.trades[order.trade_id].legs[order.leg_index]
    leg.last_fill_ns = at_ns
    if order.purpose == "open":
        leg.opened_quantity += quantity
        leg.opened_cash += cash
    else:
        leg.closed_quantity += quantity
        leg.closed_cash += cash
