"""The fold of the rows that speak of an order, and of its executions into the leg that they open or reduce."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from services.execution import rows
from services.execution.purging import drop_unfilled, forget_unfilled
from services.execution.records import Fill, Leg, Order, Trade
from services.execution.states import order_may_move

if TYPE_CHECKING:
    from services.execution.book import Book

TURNED_AWAY_NS = 5_000_000_000
"""A post-only order that the venue ended so soon after it was sent would have crossed; so long it is tried again."""


def fold_order_requested(book: Book, row: rows.OrderRequested, at_ns: int) -> None:
    """An order is remembered from the moment that it is decided."""
    trade = book.trades[row.trade_id]
    if row.adopted and row.client_order_id in trade.unfilled:
        # Who wrote the row had forgotten it, and this fold had not.
        drop_unfilled(book, trade, {row.client_order_id})
    assert row.client_order_id not in book.orders, f"order {row.client_order_id} requested twice"
    tried = None if row.retry_of is None else book.orders.get(row.retry_of)
    order = book.orders[row.client_order_id] = Order(
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
        wish_ns=at_ns if tried is None else tried.wish_ns,
        tries=0 if tried is None else tried.tries + 1,
        trigger_price=row.trigger_price,
        at_market=row.at_market,
    )
    trade.order_ids.append(row.client_order_id)
    trade.last_order_ns = at_ns
    if tried is not None:
        trade.turned_away.pop(tried.client_order_id, None)
    elif row.label:
        trade.wishes[order.wish_key] = at_ns
    if row.quote_id:
        book.rfqs.order_requested(row)
    name = f"{row.leg_index}/{row.purpose}"
    trade.attempts[name] = max(row.attempt + 1, trade.attempts.get(name, 0))
    book.unsettled[row.client_order_id] = trade.live[row.client_order_id] = None
    _wait_for(trade.legs[row.leg_index], order, order.open_quantity)
    if row.forgets_before_ns is not None:
        forget_unfilled(book, trade, row.forgets_before_ns, at_ns)


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


def fold_stop_triggered(book: Book, row: rows.StopTriggered, at_ns: int) -> None:
    """A stop order works as any other from now on."""
    order = book.orders[row.client_order_id]
    order.triggered_ns = order.updated_ns = at_ns


def fold_unwanted(book: Book, row: rows.RetryDropped | rows.CancelAwaited, at_ns: int) -> None:
    """An order that ended, or is on its way, is not wanted any more either."""
    order = book.orders[row.client_order_id]
    order.cancel_asked = True
    order.updated_ns = at_ns
    book.trades[order.trade_id].turned_away.pop(row.client_order_id, None)


def fold_order(
    book: Book,
    row: rows.OrderMoved | rows.OrderSighted | rows.FillSeen | rows.FillAssumed | rows.FeeLearned,
    at_ns: int,
) -> None:
    """What became of an order, and what it filled, with its fee."""
    if isinstance(row, rows.FeeLearned):
        fill = book.fills[row.venue_trade_id]
        _pay_fee(book, book.orders[fill.client_order_id], row.fee_usd, row.fee_coins)
        fill.fee_usd = row.fee_usd
        if row.venue_trade_id in book.feeless:
            del book.feeless[row.venue_trade_id]
            book.trades[fill.trade_id].feeless -= 1
        return
    order = book.orders[row.client_order_id]
    trade = book.trades[order.trade_id]
    quantity, cash, waiting = order.filled_quantity, order.filled_cash, order.open_quantity
    order.updated_ns = at_ns
    match row:
        case rows.OrderMoved():
            assert order_may_move(order.state, row.state), (
                f"order {order.client_order_id}: {order.state} to {row.state}"
            )
            order.state = row.state
            order.reason = row.reason
            order.state_ns = trade.last_order_ns = at_ns
            order.refusal_kind = row.refusal_kind
            order.refusal_code = row.refusal_code
            if row.state == "UNKNOWN":
                order.unknown_ns = at_ns
            order.cancel_asked = order.cancel_asked or row.state == "CANCELLING"
            if row.state == "FILLED":
                order.sighted_quantity = max(order.sighted_quantity, order.quantity)
            if row.venue_order_id is not None:
                _name(book, order, row.venue_order_id)
        case rows.OrderSighted():
            _name(book, order, row.venue_order_id)
            order.sighted_quantity = max(order.sighted_quantity, row.filled_quantity)
        case rows.FillSeen():
            _fill_seen(book, order, row)
        case rows.FillAssumed():
            order.assumed_quantity = row.filled_quantity
            order.assumed_price = row.average_price
            order.assumed_ns = at_ns
    leg = trade.legs[order.leg_index]
    _count(trade, order, order.filled_quantity - quantity, order.filled_cash - cash, at_ns)
    if leg.instrument.is_perpetual:
        _move(book, order, leg, row, order.filled_quantity - quantity, at_ns)
    _wait_for(leg, order, order.open_quantity - waiting)
    _sort(book, trade, order)


def _name(book: Book, order: Order, venue_order_id: int) -> None:
    """What it was called before still names it: fills may carry that id."""
    before = order.venue_order_id
    if before is not None and before not in (venue_order_id, *order.earlier_venue_ids):
        order.earlier_venue_ids = (*order.earlier_venue_ids, before)
    order.venue_order_id = venue_order_id
    book.order_of_venue_id[venue_order_id] = order.client_order_id


def _sort(book: Book, trade: Trade, order: Order) -> None:
    """Keep what is looked at again and again apart from what is done."""
    number = order.client_order_id
    if not order.is_settled:
        book.unsettled[number] = trade.live[number] = None
        trade.unfilled.pop(number, None)
        trade.turned_away.pop(number, None)
    else:
        book.unsettled.pop(number, None)
        trade.live.pop(number, None)
        if order.filled_quantity:
            trade.unfilled.pop(number, None)
            trade.turned_away.pop(number, None)
        elif trade.by_strategy and number not in trade.unfilled:
            trade.unfilled[number] = None
            if order.post_only and order.label and not order.cancel_asked:
                _turn_away(book, trade, order)
    if order.fills_quantity < max(order.sighted_quantity, order.assumed_quantity):
        trade.untold[number] = None
    else:
        trade.untold.pop(number, None)


def _turn_away(book: Book, trade: Trade, order: Order) -> None:
    oldest_ns = order.state_ns - TURNED_AWAY_NS
    for number in [each for each in trade.turned_away if book.orders[each].state_ns < oldest_ns]:
        del trade.turned_away[number]
    trade.turned_away[order.client_order_id] = None


def _wait_for(leg: Leg, order: Order, quantity: Decimal) -> None:
    """So much more may fill."""
    if not quantity:
        return
    if order.purpose == "open":
        leg.opening_quantity += quantity
    else:
        leg.closing_quantity += quantity


def _fill_seen(book: Book, order: Order, row: rows.FillSeen) -> None:
    fill = row.fill
    assert fill.venue_trade_id not in book.fills, f"fill {fill.venue_trade_id} counted twice"
    book.fills[fill.venue_trade_id] = Fill(order.client_order_id, order.trade_id, fill.fee_usd, fill.venue_ns)
    order.fills_quantity += fill.quantity
    order.fills_cash += fill.quantity * fill.price
    if fill.fee_usd is None:
        book.feeless[fill.venue_trade_id] = None
        book.trades[order.trade_id].feeless += 1
    else:
        _pay_fee(book, order, fill.fee_usd, fill.fee_coins)


def _move(
    book: Book,
    order: Order,
    leg: Leg,
    row: rows.OrderMoved | rows.OrderSighted | rows.FillSeen | rows.FillAssumed,
    change: Decimal,
    at_ns: int,
) -> None:
    """What is held of a perpetual, by the order's total: what is assumed counts at once, and when it is told, at the
    time of its execution instead, for the funding in between."""
    sign = 1 if order.purpose == "open" else -1
    if isinstance(row, rows.FillSeen):
        at_ns, quantity = row.fill.venue_ns, row.fill.quantity
        if quantity != change:
            leg.moved(order.assumed_ns, sign * (change - quantity))
    else:
        quantity = change
    if quantity:
        leg.moved(at_ns, sign * quantity)
        book.perpetuals[leg.symbol] = max(at_ns, book.perpetuals.get(leg.symbol, 0))


def _pay_fee(book: Book, order: Order, fee_usd: Decimal, fee_coins: Decimal) -> None:
    trade = book.trades[order.trade_id]
    trade.fees_usd += fee_usd
    trade.legs[order.leg_index].fee_coins += fee_coins
    if order.purpose == "open":
        trade.opening_fees_usd += fee_usd


def _count(trade: Trade, order: Order, quantity: Decimal, cash: Decimal, at_ns: int) -> None:
    """Add what one row changed about an order to its leg."""
    if not quantity and not cash:
        return
    leg = trade.legs[order.leg_index]
    leg.last_fill_ns = at_ns
    if order.purpose == "open":
        leg.opened_quantity += quantity
        leg.opened_cash += cash
    else:
        leg.closed_quantity += quantity
        leg.closed_cash += cash
        if trade.reduces_surplus(order):
            leg.trimmed_quantity += quantity
            leg.trimmed_cash += cash
