"""The limit plan: phases of limit orders per leg, long legs before short ones, each replaced only when it is gone."""

from __future__ import annotations

import math
from decimal import Decimal

from services.execution.covering import opens_before
from services.execution.plan import (
    Advice,
    Manner,
    Place,
    Withdraw,
    final_look,
    of_this_slice,
    pause_after_ns,
    prices_shown,
    refused_for_good,
    reprice,
    slice_of,
)
from services.execution.pricing import SaleFloor, opening_price
from services.execution.records import Leg, Order, Trade
from services.execution.scaling import scale_to_filled
from services.execution.workspace import SECOND, Workspace
from shared.messages.trades import LimitPhase

_POLL_NS = SECOND


class LimitPlan:
    """Opens a trade by limit orders.

    A leg above the venue's largest order is worked slice by slice. It has at most one order that may still trade; the
    next one is for the leg's quantity minus its fills, and goes out only when the one before is final with all its
    fills known. A leg waits until all that goes before it is filled, see `opens_before` (invariant 4).
    """

    manner = Manner()

    def advise(self, trade: Trade, work: Workspace) -> Advice:
        """What to do for this opening now."""
        advice = Advice()
        ended = {index: self._end_of(trade, index, work, advice) for index in range(len(trade.legs))}
        done = [leg.opened_quantity >= leg.quantity for leg in trade.legs]
        scaling = scale_to_filled(trade, ended, work, advice)
        if scaling is not None:
            for order in work.book.unsettled_of(trade, scaling):
                self._resting(trade, trade.legs[scaling], order, ended[scaling], work, advice)
            return advice
        stop = "" if trade.stop is None else trade.stop.reason
        if not stop and trade.request.policy == "atomic":
            stop = next((reason for index, reason in ended.items() if reason and not done[index]), "")
        for index in range(len(trade.legs)):
            self._leg(trade, index, stop or ended[index], done, ended, work, advice)
        if work.book.unsettled_of(trade):
            return advice
        if all(done):
            advice.outcome, advice.reason = "complete", "all legs are filled"
        elif stop or all(done[index] or self._hopeless(trade, index, ended) for index in range(len(trade.legs))):
            final_look(trade, stop or next(reason for reason in ended.values() if reason), work, advice)
        return advice

    def _leg(
        self,
        trade: Trade,
        index: int,
        ending: str,
        done: list[bool],
        ended: dict[int, str],
        work: Workspace,
        advice: Advice,
    ) -> None:
        leg = trade.legs[index]
        live = work.book.unsettled_of(trade, index)
        if len(live) > 1:
            # One was given up for lost and turned up after it was replaced: together they could fill too much.
            ending = ending or "another order of this leg is live"
        for order in live:
            self._resting(trade, leg, order, ending, work, advice)
        if live:
            return
        if done[index] or ending or self._hopeless(trade, index, ended):
            return
        if not all(done[other] for other in opens_before(trade.legs, index)):
            what = "short legs wait" if leg.side == "sell" else f"{leg.symbol} waits"
            advice.wait(f"{what} for the long ones")
            return
        self._next_order(trade, index, work, advice)

    def _hopeless(self, trade: Trade, index: int, ended: dict[int, str]) -> bool:
        """The leg gave up, or one that must be filled before it did."""
        if ended[index]:
            return True
        return any(
            ended[other] and trade.legs[other].opened_quantity < trade.legs[other].quantity
            for other in opens_before(trade.legs, index)
        )

    def _resting(self, trade: Trade, leg: Leg, order: Order, ending: str, work: Workspace, advice: Advice) -> None:
        """An order that may still trade: let it rest, or withdraw it to replace it or to end."""
        if order.state != "WORKING":
            advice.wait(f"order {order.client_order_id} is {order.state}")
            return
        if ending:
            advice.actions.append(Withdraw(order.client_order_id, ending))
            return
        if order.quantity - order.filled_quantity > leg.quantity - leg.opened_quantity:
            advice.actions.append(Withdraw(order.client_order_id, "it is for more than is left to open"))
            return
        if order.is_amending:
            advice.wait(f"order {order.client_order_id} is being moved to {order.amend_price}")
            return
        phase, phase_end_ns = _phase(trade, order.leg_index, work)
        replace_ns = order.priced_ns + math.ceil(phase.reprice_interval_s * SECOND)
        if phase_end_ns is not None:
            replace_ns = min(replace_ns, max(phase_end_ns, order.priced_ns + SECOND))
        if work.now_ns < replace_ns:
            advice.wake(replace_ns)
            return
        price = _price(trade, leg, phase, work)
        rounds = prices_shown(of_this_slice(_orders(trade, order.leg_index, work)))
        rounds_left = rounds < trade.request.execution_params.max_requote_rounds
        if isinstance(price, str) or price == order.price or not rounds_left:
            advice.wait(price if isinstance(price, str) else "", work.now_ns + _POLL_NS)
            return
        advice.actions.append(reprice(trade, order, price, f"{phase.pricing}, round {rounds + 1}"))

    def _next_order(self, trade: Trade, index: int, work: Workspace, advice: Advice) -> None:
        leg = trade.legs[index]
        orders = _orders(trade, index, work)
        ready_ns = pause_after_ns(work, orders)
        if work.now_ns < ready_ns:
            advice.wake(ready_ns)
            return
        instrument = leg.instrument
        remaining = min(leg.quantity, trade.granted(leg).max_quantity) - leg.opened_quantity
        quantity = slice_of(remaining, instrument)
        phase, _ = _phase(trade, index, work)
        price = _price(trade, leg, phase, work)
        if isinstance(price, str):
            advice.wait(price, work.now_ns + _POLL_NS)
            return
        advice.actions.append(
            Place(index, quantity, price, f"{phase.pricing}, round {prices_shown(of_this_slice(orders)) + 1}")
        )

    def _end_of(self, trade: Trade, index: int, work: Workspace, advice: Advice) -> str:
        """Why this leg gets no further order; "" while it may. Wakes when the time of the leg is up."""
        leg = trade.legs[index]
        if leg.opened_quantity >= leg.quantity:
            return ""
        if trade.stop is not None:
            return trade.stop.reason
        params = trade.request.execution_params
        last_trade_ns = leg.instrument.last_trade_ns
        deadline_ns = min(trade.request.grant.deadline_ns, last_trade_ns)
        if work.now_ns >= deadline_ns:
            return "the grant's deadline passed" if deadline_ns < last_trade_ns else f"{leg.symbol} stops trading"
        advice.wake(deadline_ns)
        if any(
            trade.legs[other].opened_quantity < trade.legs[other].quantity
            for other in opens_before(trade.legs, index)
        ):
            return ""
        patience_s = params.patience_s
        end_ns = _slice_start_ns(trade, index, work) + math.ceil(patience_s * SECOND)
        if work.now_ns >= end_ns:
            return f"{leg.symbol} not filled within {patience_s:g} s"
        advice.wake(end_ns)
        remaining = leg.quantity - leg.opened_quantity
        if leg.opened_quantity > 0 and remaining < leg.instrument.min_quantity:
            return f"the remaining {remaining} of {leg.symbol} is below the minimum order"
        return self._end_of_orders(trade, index, work, advice)

    def _end_of_orders(self, trade: Trade, index: int, work: Workspace, advice: Advice) -> str:
        leg = trade.legs[index]
        params = trade.request.execution_params
        orders = _orders(trade, index, work)
        refused = refused_for_good(leg, orders, work.config.leg_refusals_max)
        if refused:
            return refused
        orders = of_this_slice(orders)
        rounds = prices_shown(orders)
        if rounds < params.max_requote_rounds:
            return ""
        last = orders[-1]
        rest_ns = last.priced_ns + math.ceil(params.fill_timeout_s * SECOND)
        if last.client_order_id in work.book.unsettled and work.now_ns < rest_ns:
            advice.wake(rest_ns)
            return ""
        return f"{leg.symbol} not filled in {rounds} rounds"


def _price(trade: Trade, leg: Leg, phase: LimitPhase, work: Workspace) -> Decimal | str:
    """The price of an opening order of the leg in this phase, inside the grant and the trade's own floors."""
    params = trade.request.execution_params
    return opening_price(
        leg.side,
        phase,
        work.market.quote(leg.instrument, work.now_ns),
        trade.granted(leg).worst_price,
        leg.instrument,
        work.config.wide_spread_pct,
        SaleFloor(params.min_price_pct_of_fair, params.min_floor_price_usd),
    )


def _orders(trade: Trade, index: int, work: Workspace) -> list[Order]:
    """The opening orders of a leg since the limit plan has had the trade."""
    return [
        order
        for order in work.book.orders_of(trade)
        if order.leg_index == index and order.purpose == "open" and order.created_ns >= trade.opening_since_ns
    ]


def _leg_start_ns(trade: Trade, index: int) -> int:
    """A leg that nothing goes before starts with the plan, another one when the last of those before it was filled,
    or the trade was scaled to it."""
    before = opens_before(trade.legs, index)
    if trade.legs[index].side == "buy" and not before:
        return trade.opening_since_ns
    return max([trade.opening_since_ns, trade.scaled_ns, *(trade.legs[other].last_fill_ns for other in before)])


def _slice_start_ns(trade: Trade, index: int, work: Workspace) -> int:
    """Since when what is left of a leg is worked: the leg's start, or when its last slice was filled whole."""
    filled = (order.state_ns for order in _orders(trade, index, work) if order.state == "FILLED")
    return max(filled, default=_leg_start_ns(trade, index))


def _phase(trade: Trade, index: int, work: Workspace) -> tuple[LimitPhase, int | None]:
    """The phase in which a leg is, and when it ends; the last one is repeated and has no end."""
    end_ns = _slice_start_ns(trade, index, work)
    phases = trade.request.execution_params.phases
    for phase in phases[:-1]:
        end_ns += math.ceil(phase.duration_s * SECOND)
        if work.now_ns < end_ns:
            return phase, end_ns
    return phases[-1], None
