"""The quoting mode: the strategy works the orders, execution keeps them inside the grant and takes them back.

A quoting trade has one side per symbol. Orders on that side open, up to what was granted at any moment; orders on the
other side reduce what is held. It quotes until its grant's deadline, a close, a cancel of the trade or a halt; then
the orders are withdrawn and what is held stays a position of the trade, with its exits: nothing is half open, so
nothing is unwound. Stop orders that protect what is held rest on (`stops.py`).
"""

from __future__ import annotations

from decimal import Decimal

from services.execution import rows
from services.execution.order_fold import TURNED_AWAY_NS
from services.execution.plan import NO_MORE_MONEY, Advice, Manner, Place, Record, Withdraw, final_look, flat_close
from services.execution.pricing import closing_bound
from services.execution.records import ZERO, Leg, Order, Trade
from services.execution.stops import UNWANTED, Problem, stops_wake_ns, unfit_stop
from services.execution.workspace import MS, SECOND, Workspace
from shared.messages.base import Side
from shared.options.chain import snap_price


class QuotingPlan:
    """Watches over the orders of a quoting trade from PENDING_OPEN to the end of its quoting."""

    manner = Manner(unwinds=False, reduces=True, rests_unseen=False)

    def advise(self, trade: Trade, work: Workspace) -> Advice:
        """What to do now: withdraw what may not rest any more, try crossing post-only orders again, or end."""
        advice = Advice()
        ending = ending_of(trade, work)
        silent_ns = silence_of(work, trade)
        silent = "" if silent_ns is None else f"no strategy host for {silent_ns / SECOND:.0f} s"
        live = work.book.unsettled_of(trade)
        quotes = [order for order in live if order.trigger_price is None or not order.is_protective]
        if len(quotes) < len(live):
            advice.wake(stops_wake_ns(trade, work))
        if not ending:
            advice.wait(silent or ("quoting" if quotes else "quoting: no order rests"), work.now_ns + SECOND)
            advice.wake(trade.request.grant.deadline_ns)
        everything = ending or silent
        unfit = {} if everything else _unfit(trade, quotes, work)
        unfit |= {each.client_order_id: UNWANTED for each in quotes if each.cancel_asked and each.state == "WORKING"}
        for order in quotes if everything or unfit else [each for each in quotes if each.state != "WORKING"]:
            if order.state != "WORKING":
                advice.wait(f"order {order.client_order_id} is {order.state}")
            elif reason := everything or unfit.get(order.client_order_id):
                advice.actions.append(Withdraw(order.client_order_id, reason))
        for order in live if len(quotes) < len(live) else ():
            if order.is_protective and order.state == "WORKING" and (reason := unfit_stop(trade, order, work)):
                advice.actions.append(Withdraw(order.client_order_id, reason))
        if not everything and not advice.actions:
            self._try_again(trade, work, advice)
        if ending and not quotes and (trade.was_filled or not live):
            self._end(trade, ending, work, advice)
        return advice

    def _end(self, trade: Trade, reason: str, work: Workspace, advice: Advice) -> None:
        final_look(trade, reason, work, advice)
        if advice.outcome == "given_up" and trade.is_flat and trade.was_filled:
            advice.outcome = "going"
            advice.actions.append(Record(flat_close(trade, reason)))

    def _try_again(self, trade: Trade, work: Workspace, advice: Advice) -> None:
        """Place post-only orders that crossed once more, behind the touch; not those of a label for which the
        strategy has asked for something else since. Each part of an order that was split is tried by itself."""
        taken: dict[tuple[int, Side], Decimal] = {}
        for order in map(work.book.orders.__getitem__, trade.turned_away):
            is_last = trade.wishes.get(order.wish_key) == order.wish_ns
            if not ended_unasked(order) or not is_last or order.tries >= work.config.post_only_retries:
                continue
            again_ns = order.state_ns + work.config.attempt_interval_ms * MS
            if work.now_ns - order.state_ns > TURNED_AWAY_NS:
                continue
            if work.now_ns < again_ns:
                advice.wake(again_ns)
                continue
            leg = trade.legs[order.leg_index]
            price = behind_touch(leg, order, work)
            if price is None or not work.can_place(trade, order.leg_index, order.purpose):
                continue
            key = order.leg_index, order.side
            besides = taken.get(key, ZERO)
            if order_problem(trade, order.leg_index, order.side, order.quantity, price, work, besides):
                continue
            taken[key] = besides + order.quantity
            advice.actions.append(
                Place(
                    order.leg_index,
                    order.quantity,
                    price,
                    f"post-only, try {order.tries + 2}",
                    post_only=True,
                    label=order.label,
                    side=order.side,
                    retry_of=order.client_order_id,
                )
            )


def ending_of(trade: Trade, work: Workspace) -> str:
    """Why quoting ends; "" while it goes on."""
    if trade.stop is not None:
        return trade.stop.reason
    if work.now_ns >= trade.request.grant.deadline_ns:
        return "the grant's deadline passed"
    first = min(trade.legs, key=lambda leg: leg.instrument.last_trade_ns)
    return f"{first.symbol} stops trading" if work.now_ns >= first.instrument.last_trade_ns else ""


def silence_of(work: Workspace, trade: Trade) -> int | None:
    """For how long (ns) the trade's strategy host was not heard, if that is so long that no order may rest: nobody
    moves it."""
    silent_ns = work.now_ns - work.hosts.last_ns(trade.request.strategy)
    return silent_ns if silent_ns > work.config.quoting_host_silence_ms * MS else None


def ended_unasked(order: Order) -> bool:
    """A post-only order that the venue ended at once, unfilled and unasked, and not for want of money."""
    return (
        order.post_only
        and order.state in ("CANCELLED", "REFUSED")
        and not order.cancel_asked
        and order.refusal_kind in (None, "rejected")
        and order.refusal_code not in (0, NO_MORE_MONEY)
        and order.filled_quantity == 0
        and order.state_ns - order.created_ns <= TURNED_AWAY_NS
    )


def drop_retry(order: Order, work: Workspace, reason: str) -> bool:
    """A cancel of an order that waits to be tried again ends that; False when the order does not wait for it."""
    trade = work.book.trades[order.trade_id]
    waits = order.client_order_id in trade.turned_away and work.now_ns - order.state_ns <= TURNED_AWAY_NS
    if not waits or not ended_unasked(order):
        return False
    work.record(rows.RetryDropped(client_order_id=order.client_order_id, reason=reason))
    return True


def cancel_soon(order: Order, work: Workspace, reason: str) -> None:
    """Cancel an order of a quoting trade now, or once it has arrived: one that is on its way is not left to rest."""
    if order.state in ("WORKING", "CANCELLING"):
        work.cancel(order, reason)
    elif not order.is_final and not order.cancel_asked:
        work.record(rows.CancelAwaited(client_order_id=order.client_order_id, reason=reason))


def behind_touch(leg: Leg, order: Order, work: Workspace) -> Decimal | None:
    """Where an order that would have traded at once goes: a tick behind the other side. None without a fresh book,
    and where the order's price is not near the other side: then it was not that which ended it."""
    quote = work.market.quote(leg.instrument, work.now_ns)
    tick = leg.instrument.tick_size
    far = None if quote is None else (quote.ask if order.side == "buy" else quote.bid)
    if far is None:
        return None
    if order.side == "buy":
        behind = snap_price(far, tick, up=False) - tick
        return min(order.price, behind) if order.price >= behind else None
    behind = snap_price(far, tick, up=True) + tick
    return max(order.price, behind) if order.price <= behind else None


def order_problem(
    trade: Trade, index: int, side: Side, quantity: Decimal, price: Decimal, work: Workspace, besides: Decimal = ZERO
) -> Problem | None:
    """Why an order of a quoting trade may not go out now, as code and detail; None when it may. `besides`: what is
    about to go out on the same side of the leg."""
    leg = trade.legs[index]
    problem = quantity_problem(leg, quantity) or price_problem(trade, leg, side, price, work)
    return problem or room_problem(trade, leg, side, quantity, besides)


def quantity_problem(leg: Leg, quantity: Decimal) -> Problem | None:
    """Why no order of the leg may be of this quantity."""
    instrument = leg.instrument
    if quantity % instrument.lot_size or quantity < instrument.min_quantity:
        allowed = f"at least {instrument.min_quantity}, in lots of {instrument.lot_size}"
        detail = f"quantity {quantity} of {leg.symbol}: {allowed}"
        return ("below_minimum" if quantity < instrument.min_quantity else "bad_quantity"), detail
    return None


def room_problem(trade: Trade, leg: Leg, side: Side, quantity: Decimal, besides: Decimal = ZERO) -> Problem | None:
    """Why there is no room for it beside what is held and what rests; a stop order that waits counts as triggered."""
    if side != leg.side:
        free = leg.held_quantity - leg.closing_quantity - besides
        return None if quantity <= free else ("beyond_holding", f"{free} of {leg.symbol} is held and free to reduce")
    room = trade.granted(leg).max_quantity - leg.held_quantity - leg.opening_quantity - besides
    return None if quantity <= room else ("outside_grant", f"{room} of the granted {leg.symbol} is left")


def price_problem(trade: Trade, leg: Leg, side: Side, price: Decimal, work: Workspace) -> Problem | None:
    """Why no order may rest at this price now. No further past mark than a close may go: where it opens too, for its
    grant may be hours old."""
    tick_size = leg.instrument.tick_size
    if price <= 0 or price % tick_size:
        return "bad_price", f"price {price} of {leg.symbol} is not a multiple above 0 of the tick {tick_size}"
    quote = work.market.quote(leg.instrument, work.now_ns)
    if quote is None or quote.mark is None:
        return "market_stale", f"no fresh mark for {leg.symbol}"
    if work.now_ns >= leg.instrument.last_trade_ns:
        return "expiring", f"{leg.symbol} no longer trades"
    bound = closing_bound(quote.mark, side, trade.request.execution_params.max_close_premium_pct, leg.instrument)
    if price > bound if side == "buy" else price < bound:
        return "beyond_bound", f"{side} {leg.symbol} at {price} is past {bound}, too far from mark {quote.mark:g}"
    worst = trade.granted(leg).worst_price
    if side == leg.side and (price > worst if side == "buy" else price < worst):
        return "outside_grant", f"{side} at {price} is past the granted {worst} of {leg.symbol}"
    return None


def _unfit(trade: Trade, live: list[Order], work: Workspace) -> dict[int, str]:
    """Orders that may not rest on what is known now, and why."""
    found: dict[int, str] = {}
    for index, leg in enumerate(trade.legs):
        if not leg.opening_quantity and not leg.closing_quantity:
            continue
        quote = work.market.quote(leg.instrument, work.now_ns)
        reason = ""
        if quote is None or quote.mark is None:
            reason = f"no fresh mark for {leg.symbol}"
        elif work.now_ns >= leg.instrument.last_trade_ns:
            reason = f"{leg.symbol} no longer trades"
        room = trade.granted(leg).max_quantity - leg.held_quantity
        if not reason and leg.opening_quantity <= room and leg.closing_quantity <= leg.held_quantity:
            continue
        for order in sorted((each for each in live if each.leg_index == index), key=lambda each: each.attempt):
            room -= order.open_quantity if order.purpose == "open" else ZERO
            if reason:
                found[order.client_order_id] = reason
            elif order.purpose == "open" and room < 0:
                # The newest first: one that counted as gone may have turned up after another took its place.
                found[order.client_order_id] = f"with what is held and rests it is more than granted of {leg.symbol}"
            elif order.purpose != "open" and order.open_quantity > leg.held_quantity:
                found[order.client_order_id] = f"only {leg.held_quantity} of {leg.symbol} is held"
    return found
