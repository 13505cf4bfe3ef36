"""What a strategy asks of the orders of its quoting trade: each part is judged, journalled and sent once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from services.execution.checks import SLICES_MAX, CheckView
from services.execution.effects import AmendBatch, AmendOrder, CancelBatch, CancelOrder, PlaceBatch, PlaceOrder
from services.execution.halted import cancelling_halt, halt_text
from services.execution.halts import RISK_UNHEARD
from services.execution.plan import slice_of
from services.execution.quoting import (
    cancel_soon,
    drop_retry,
    ending_of,
    order_problem,
    price_problem,
    quantity_problem,
    room_problem,
    silence_of,
)
from services.execution.records import Leg, Order, Trade
from services.execution.states import HOLDING_STATES, OPENING_STATES
from services.execution.stops import Problem, limit_problem, stop_problem
from shared.ids import MAX_ATTEMPTS
from shared.messages.quoting import (
    ORDERS_PER_CHANGE,
    ChangeOrders,
    OrderAnswer,
    OrdersChanged,
    OrderToAmend,
    OrderToPlace,
)
from shared.messages.trades import Purpose, Refusal

_TOGETHER_FROM = 5
"""So many cancels of one step go as one call: a few go each by itself, where one that is lost is lost alone."""

_LABEL_MAX = 32
STRATEGY_ATTEMPTS = MAX_ATTEMPTS - 1_000
"""Ids of a leg and purpose that a strategy may use: the last ones are left to execution's own closes and retries."""


def change_orders(change: ChangeOrders, view: CheckView) -> OrdersChanged | Refusal:
    """Carry out what may be: cancels, amendments, placements, in this order; in batches where there are many."""
    work = view.work
    trade = work.book.trades.get(change.trade_id)
    if trade is None or trade.request.strategy != change.strategy:
        return Refusal(
            code="no_such_trade",
            detail=f"{change.strategy[:64]} has no trade {change.trade_id[:64]}",
            remedy="see them: voldesk trades",
        )
    if not trade.by_strategy:
        return Refusal(
            code="not_quoting",
            detail=f"{trade.trade_id} is traded by {trade.mode}: execution works its orders",
            remedy='open a trade with execution_mode "quoting"',
        )
    named = (change.place, change.amend, change.cancel, change.cancel_symbols)
    if max(map(len, named)) > ORDERS_PER_CHANGE:
        return Refusal(
            code="too_many", detail=f"more than {ORDERS_PER_CHANGE} orders in one request", remedy="ask in parts"
        )
    before = len(work.step.effects)
    cancelled = tuple(_cancel(trade, number, view) for number in change.cancel)
    if change.cancel_all:
        cancelled += (_cancel_every(trade, change, {leg.symbol for leg in trade.legs}, view),)
    cancelled += tuple(_cancel_every(trade, change, {symbol}, view) for symbol in change.cancel_symbols)
    closed, unprotected = _closed(trade, change, view), _unprotected(trade, change, view)
    amended = tuple(
        (unprotected if _protects(trade, each, view) else closed) or _amend(trade, each, view)
        for each in change.amend
    )
    placed = tuple(
        _named((unprotected if _is_protective(trade, each) else closed) or _place(trade, each, view), each.label)
        for each in change.place
    )
    sent = work.step.effects[before:]
    work.step.effects[before:] = list(_in_batches(sent))
    return OrdersChanged(trade_id=trade.trade_id, placed=placed, amended=amended, cancelled=cancelled)


def _closed(trade: Trade, change: ChangeOrders, view: CheckView) -> OrderAnswer | None:
    """Why nothing of this trade may be placed or amended now."""
    work, book = view.work, view.work.book
    code, detail = "", ""
    if work.now_ns >= change.valid_until_ns:
        code, detail = "intent_expired", "valid_until_ns has passed"
    elif trade.state not in OPENING_STATES or trade.close is not None or (reason := ending_of(trade, work)):
        code, detail = "not_quoting", f"{trade.trade_id} is {trade.state}: it quotes no more"
        if trade.state in OPENING_STATES and trade.close is None:
            detail = f"{trade.trade_id} quotes no more: {reason}"
    elif book.halts or trade.request.grant.halt_epoch != book.halt_epoch:
        code, detail = "halted", "a halt is in force, or voided the grant"
    elif view.guards.risk_is_silent:
        code, detail = "risk_silent", "the risk service is silent"
    elif not view.guards.risk_was_heard:
        code, detail = "not_ready", RISK_UNHEARD
    elif silence_of(work, trade) is not None:
        code, detail = "host_silent", "no heartbeat of a strategy host arrives: what rests would be withdrawn"
    else:
        return _unsendable(view)
    return OrderAnswer(code=code, detail=detail)


def _unprotected(trade: Trade, change: ChangeOrders, view: CheckView) -> OrderAnswer | None:
    """Why no stop order that protects the trade may be placed or amended now: neither the end of its quoting nor
    anything that only keeps from opening is a reason."""
    work = view.work
    code, detail = "", ""
    if work.now_ns >= change.valid_until_ns:
        code, detail = "intent_expired", "valid_until_ns has passed"
    elif trade.state not in (*OPENING_STATES, *HOLDING_STATES) or trade.close is not None:
        code, detail = "not_held", f"{trade.trade_id} is {trade.state}: nothing of it is to be protected"
    elif halt := cancelling_halt(work.book):
        code, detail = "halted", halt_text(halt)
    else:
        return _unsendable(view)
    return OrderAnswer(code=code, detail=detail)


def _unsendable(view: CheckView) -> OrderAnswer | None:
    """Why nothing at all may be sent now."""
    work = view.work
    code, detail = "", ""
    if not view.schedule.synced or view.schedule.stream_up is False:
        code, detail = (
            "not_ready",
            "orders and positions are not compared with the venue, or its private stream is down",
        )
    elif work.is_winding_down:
        code, detail = "not_ready", "execution is about to stop"
    elif work.space.level != "disk":
        code, detail = "disk_full", f"nothing is sent on a full disk: {work.space.reason}"
    return OrderAnswer(code=code, detail=detail) if code else None


def _is_protective(trade: Trade, wish: OrderToPlace) -> bool:
    return wish.trigger_price is not None and any(
        leg.symbol == wish.symbol and leg.side != wish.side for leg in trade.legs
    )


def _protects(trade: Trade, wish: OrderToAmend, view: CheckView) -> bool:
    order = _own(trade, wish.client_order_id, view)
    return order is not None and order.is_protective


def _problem(trade: Trade, index: int, wish: OrderToPlace, view: CheckView) -> Problem | None:
    """Why the order may not go out now."""
    leg: Leg = trade.legs[index]
    if wish.trigger_price is None:
        if wish.at_market:
            return "needs_trigger", "at_market is of stop orders: an order that is to trade at once crosses the book"
        return order_problem(trade, index, wish.side, wish.quantity, wish.price, view.work)
    problem = quantity_problem(leg, wish.quantity) or stop_problem(trade, leg, wish, view.work)
    return problem or room_problem(trade, leg, wish.side, wish.quantity)


def _place(trade: Trade, wish: OrderToPlace, view: CheckView) -> OrderAnswer:
    work = view.work
    index = next((number for number, leg in enumerate(trade.legs) if leg.symbol == wish.symbol), None)
    if index is None:
        return OrderAnswer(code="outside_grant", detail=f"{wish.symbol[:64]} is no leg of {trade.trade_id}")
    if len(wish.label) > _LABEL_MAX:
        return OrderAnswer(code="bad_label", detail=f"a label has at most {_LABEL_MAX} characters")
    leg = trade.legs[index]
    if not wish.quantity > 0:
        return OrderAnswer(code="bad_quantity", detail=f"quantity {wish.quantity} of {leg.symbol} must be above 0")
    if wish.quantity > leg.instrument.max_quantity * SLICES_MAX:
        detail = f"more than {SLICES_MAX} orders of {leg.instrument.max_quantity}, the largest that the venue takes"
        return OrderAnswer(code="above_maximum", detail=detail)
    problem = _problem(trade, index, wish, view)
    if problem is not None:
        return OrderAnswer(code=problem[0], detail=problem[1])
    cap = view.positions.cap(trade, leg) if wish.side != leg.side else None
    if cap is not None and wish.quantity > cap:
        return OrderAnswer(code="beyond_holding", detail=f"the venue shows less of {leg.symbol} than is held")
    purpose: Purpose = "open" if wish.side == leg.side else "close"
    numbers: list[int] = []
    if trade.state == "PENDING_OPEN":
        work.move(trade, "OPENING", "the strategy places its first order")
    left = wish.quantity
    while left > 0:
        if trade.next_attempt(index, purpose) >= STRATEGY_ATTEMPTS:
            return OrderAnswer(
                client_order_ids=tuple(numbers),
                code="ids_used_up",
                detail=f"the order ids of {leg.symbol} are used up: open another trade",
            )
        piece = slice_of(left, leg.instrument)
        why = f"asked for by {trade.request.strategy}" + (f", {wish.label}" if wish.label else "")
        numbers.append(
            work.place(
                trade,
                index,
                purpose,
                piece,
                (wish.at_market and wish.trigger_price) or wish.price,
                why,
                post_only=wish.post_only and wish.trigger_price is None,
                label=wish.label,
                trigger_price=wish.trigger_price,
                at_market=wish.at_market,
            )
        )
        left -= piece
    return OrderAnswer(client_order_ids=tuple(numbers))


def _amend(trade: Trade, wish: OrderToAmend, view: CheckView) -> OrderAnswer:
    order = _own(trade, wish.client_order_id, view)
    if order is None:
        return _no_order(trade, wish.client_order_id)
    if order.state != "WORKING" or order.is_amending:
        state = "being amended" if order.is_amending else order.state
        return _answer(order, "not_working", f"order {order.client_order_id} is {state}")
    leg = trade.legs[order.leg_index]
    if order.at_market:
        detail = f"stop order {order.client_order_id} has no limit: cancel it and place another"
        return _answer(order, "not_amendable", detail)
    if order.trigger_price is not None and (order.is_waiting or order.is_protective):
        problem = limit_problem(trade, leg, order.side, wish.price, order.trigger_price, view.work)
    else:
        problem = price_problem(trade, leg, order.side, wish.price, view.work)
    if problem is not None:
        return _answer(order, *problem)
    if wish.price != order.price:
        view.work.amend(order, wish.price, f"asked for by {trade.request.strategy}")
    return _answer(order)


def _cancel(trade: Trade, number: int, view: CheckView) -> OrderAnswer:
    order = _own(trade, number, view)
    if order is None:
        return _no_order(trade, number)
    if drop_retry(order, view.work, f"cancelled by {trade.request.strategy}"):
        return _answer(order)
    if order.state not in ("WORKING", "CANCELLING"):
        return _answer(order, "not_working", f"order {number} is {order.state}")
    view.work.cancel(order, f"asked for by {trade.request.strategy}")
    return _answer(order)


def _cancel_every(trade: Trade, change: ChangeOrders, symbols: set[str], view: CheckView) -> OrderAnswer:
    """Cancel the trade's orders on these symbols, and those on their way once they arrive; one answer names them."""
    work = view.work
    if trade.close is not None or trade.state not in (*OPENING_STATES, *HOLDING_STATES):
        detail = f"{trade.trade_id} is {trade.state}: what rests of it is execution's own"
        return OrderAnswer(code="not_quoting", detail=detail)
    if symbols.isdisjoint(leg.symbol for leg in trade.legs):
        return OrderAnswer(code="outside_grant", detail=f"{min(symbols)[:64]} is no leg of {trade.trade_id}")
    why = f"asked for by {trade.request.strategy}"
    chosen = [
        order
        for order in work.book.unsettled_of(trade)
        if order.symbol in symbols and not order.is_final and not (change.keeps_stops and order.is_protective)
    ]
    for order in chosen:
        cancel_soon(order, work, why)
    waiting = [work.book.orders[number] for number in tuple(trade.turned_away)]
    chosen += [order for order in waiting if order.symbol in symbols and drop_retry(order, work, why)]
    return OrderAnswer(client_order_ids=tuple(order.client_order_id for order in chosen))


def _own(trade: Trade, number: int, view: CheckView) -> Order | None:
    order = view.work.book.orders.get(number)
    return order if order is not None and order.trade_id == trade.trade_id else None


def _no_order(trade: Trade, number: int) -> OrderAnswer:
    return OrderAnswer(
        client_order_ids=(number,), code="no_such_order", detail=f"{trade.trade_id} has no order {number}"
    )


def _answer(order: Order, code: str = "", detail: str = "") -> OrderAnswer:
    return OrderAnswer(label=order.label, client_order_ids=(order.client_order_id,), code=code, detail=detail)


def _named(answer: OrderAnswer, label: str) -> OrderAnswer:
    return OrderAnswer(
        label=label[:_LABEL_MAX],
        client_order_ids=answer.client_order_ids,
        code=answer.code,
        detail=answer.detail,
    )


def withdrawn_together(effects: list[Any]) -> list[Any]:
    """The same effects; many cancels as one batch in the place of the first: one by one the venue's limits would let
    hundreds of quotes rest on for most of a minute, and a batch of cancels needs no right."""
    cancels = [effect for effect in effects if type(effect) is CancelOrder]
    if len(cancels) < _TOGETHER_FROM:
        return effects
    batch = CancelBatch(tuple(each.order for each in cancels))
    rest = [batch if effect is cancels[0] else effect for effect in effects]
    return [effect for effect in rest if not isinstance(effect, CancelOrder)]


def _in_batches(effects: list[Any]) -> Iterator[Any]:
    """The same effects; several calls of one kind as one batch, cancels first."""
    kinds: tuple[tuple[type, Callable[[list[Any]], Any]], ...] = (
        (CancelOrder, lambda each: CancelBatch(tuple(one.order for one in each))),
        (AmendOrder, lambda each: AmendBatch(tuple(one.change for one in each))),
        (PlaceOrder, lambda each: PlaceBatch(tuple(one.order for one in each))),
    )
    for kind, batch in kinds:
        found = [effect for effect in effects if isinstance(effect, kind)]
        if len(found) > 1:
            yield batch(found)
        else:
            yield from found
    yield from (effect for effect in effects if not isinstance(effect, CancelOrder | AmendOrder | PlaceOrder))
