"""Carries a trade through its states: asks its plan, does what it advises, and decides what its end means."""

from __future__ import annotations

from services.execution import rows
from services.execution.auto import opening_cost
from services.execution.broken import is_held_broken
from services.execution.closing import ClosePlan
from services.execution.comparisons import ComparisonSchedule
from services.execution.effects import QueryOrder
from services.execution.halts import RISK_UNHEARD, Guards
from services.execution.modes import CLOSING_PLANS, OPENING_PLANS, manner_of
from services.execution.plan import Advice, Amend, AskForQuotes, Place, Record, TakeQuote, flat_close
from services.execution.positions import PositionWitness
from services.execution.records import Trade
from services.execution.reduction import Reduction, close_purpose
from services.execution.rfq_desk import RfqDesk
from services.execution.states import HOLDING_STATES, OPENING_STATES
from services.execution.surplus import Surplus
from services.execution.unwinding import beyond_allowance
from services.execution.views import grant_is_open
from services.execution.winding_down import WindingDown
from services.execution.workspace import MS, SECOND, Workspace, earliest
from shared.messages.trades import Purpose, TradeState

_STEPS_MAX = 30


class Lifecycle:
    """Level-triggered: what a trade does next follows from what is known now, whatever order it was learned in."""

    def __init__(
        self,
        work: Workspace,
        guards: Guards,
        schedule: ComparisonSchedule,
        positions: PositionWitness,
        rfq_desk: RfqDesk,
        winding_down: WindingDown,
    ) -> None:
        self._work = work
        self._rfq_desk = rfq_desk
        self._winding_down = winding_down
        self._guards = guards
        self._schedule = schedule
        self._reduction = Reduction(work, schedule, positions)
        self._close_plan = ClosePlan(self._reduction)
        self._surplus = Surplus(self._reduction)
        self._looked_at: dict[int, None] = {}

    def advance(self, trade: Trade) -> int | None:
        """Do all that can be done for the trade now; returns when to look at it again."""
        for _ in range(_STEPS_MAX):
            rows_before = len(self._work.step.rows)
            wake_ns = self._once(trade)
            if len(self._work.step.rows) == rows_before:
                return wake_ns
        raise AssertionError(f"{trade.trade_id} does not come to rest in {trade.state}")

    def _once(self, trade: Trade) -> int | None:
        self._measure_opening(trade)
        if trade.is_final:
            self._reopen_if_held(trade)
            self._work.waiting.pop(trade.trade_id, None)
            return None
        if self._winding_down.tend(trade):
            return None
        wake_ns = self._guards.watch(trade)
        advice = self._advice(trade)
        if advice.waiting != self._work.waiting.get(trade.trade_id, ""):
            self._work.waiting[trade.trade_id] = advice.waiting
            self._work.touched_trades[trade.trade_id] = None
        return earliest(wake_ns, advice.wake_ns)

    def _measure_opening(self, trade: Trade) -> None:
        """Once the opening is over and its fees are told, write down what it cost against what was expected."""
        if trade.opening_cost is not None or trade.choice is None or None in trade.choice.arrival_mids:
            return
        if trade.state in OPENING_STATES or grant_is_open(trade, self._work.book):
            return
        complete = trade.fees_are_complete
        cost = opening_cost(trade, fees_complete=complete) if complete or trade.is_final else None
        if cost is not None:
            self._work.record(rows.OpeningMeasured(trade_id=trade.trade_id, cost=cost))

    def _advice(self, trade: Trade) -> Advice:
        advice = Advice()
        if trade.state not in OPENING_STATES and trade.state != "SETTLING" and self._settles(trade):
            return advice
        if trade.state in OPENING_STATES:
            advice = self._opening(trade)
        elif trade.state in HOLDING_STATES:
            advice = self._holding(trade)
        elif trade.state == "PENDING_CLOSE":
            advice = self._pending_close(trade)
        elif trade.state == "SETTLING":
            self._settling(trade, advice)
        else:
            advice = self._reducing(trade)
        return advice

    def _opening(self, trade: Trade) -> Advice:
        work = self._work
        nothing_sent = not trade.order_ids
        if trade.stop is not None and trade.stop.void and manner_of(trade).unwinds:
            work.move(trade, "FAILED" if nothing_sent else _unwinding_of(trade), trade.stop.reason)
            return Advice()
        if trade.close is not None:
            work.move(trade, "PENDING_CLOSE", trade.close.reason)
            return Advice()
        if trade.state == "PENDING_OPEN" and not nothing_sent:
            work.move(trade, "OPENING", "an opening order was found at the venue")
            return Advice()
        if trade.stop is None and _closed_outside(trade):
            reason = "a leg was closed, liquidated or expired from outside while opening"
            work.record(rows.OpeningStopped(trade_id=trade.trade_id, reason=reason, void=True))
            return Advice()
        if not self._schedule.synced:
            return self._opening_unseen(trade)
        if not manner_of(trade).rests_unseen and self._schedule.stream_up is False:
            return self._withdrawn(trade, "the private stream of the venue is down")
        advice = OPENING_PLANS[trade.opening_mode].advise(trade, work)
        if not self._guards.risk_was_heard and any(map(_is_exposing, advice.actions)):
            # it is heard within its silence, or the grant is void
            advice.actions = [action for action in advice.actions if not _is_exposing(action)]
            advice.wait(RISK_UNHEARD)
        if advice.outcome == "complete":
            self._carry_out(trade, advice)
            work.move(trade, "OPEN", advice.reason)
        elif advice.outcome == "given_up":
            self._opening_failed(trade, advice.reason)
        else:
            self._carry_out(trade, advice)
            if advice.waiting.startswith("a final look"):
                self._final_look(trade)
        return advice

    def _opening_unseen(self, trade: Trade) -> Advice:
        """The venue is not known: nothing is sent, but what may not fill any more is withdrawn."""
        if not manner_of(trade).rests_unseen:
            return self._withdrawn(trade, "not compared with the venue yet")
        deadline_ns = trade.request.grant.deadline_ns
        over = trade.stop is not None or self._work.now_ns >= deadline_ns
        if not over or not self._schedule.is_failing:
            # No wake when it is over: the venue's answer, or the failure to get one, comes in any case.
            return Advice(waiting="not compared with the venue yet", wake_ns=None if over else deadline_ns)
        advice = self._close_plan.withdraw_opening(trade)
        self._carry_out(trade, advice)
        advice.wait("not compared with the venue yet")
        return advice

    def _withdrawn(self, trade: Trade, reason: str) -> Advice:
        """No order of it rests while its fills might not be heard of."""
        advice = self._close_plan.withdraw_opening(trade)
        self._carry_out(trade, advice)
        advice.wait(reason)
        return advice

    def _opening_failed(self, trade: Trade, reason: str) -> None:
        if not trade.was_filled:
            self._work.move(trade, "FAILED", reason)
        elif trade.request.policy == "best_effort":
            self._work.move(trade, "PARTIALLY_OPEN", reason)
        else:
            self._work.move(trade, _unwinding_of(trade), reason)

    def _final_look(self, trade: Trade) -> None:
        """Ask once more about the last order of each leg that is not filled."""
        for index, leg in enumerate(trade.legs):
            if leg.opened_quantity >= leg.quantity:
                continue
            numbers = reversed(trade.order_ids)
            orders = (self._work.book.orders[number] for number in numbers)
            last = next((order for order in orders if order.leg_index == index), None)
            if last is None or last.client_order_id in self._looked_at:
                continue
            self._looked_at[last.client_order_id] = None
            if len(self._looked_at) > 1_000:
                del self._looked_at[next(iter(self._looked_at))]
            self._work.send(
                QueryOrder(
                    client_order_id=last.client_order_id,
                    venue_order_id=last.venue_order_id,
                    symbol=last.symbol,
                    since_ns=last.created_ns - 60 * SECOND,
                )
            )

    def _holding(self, trade: Trade) -> Advice:
        work = self._work
        flattened = trade.close is not None and trade.close.purpose == "flatten"
        if _closed_outside(trade) and not flattened:
            self._break(trade, "a leg was closed, liquidated or expired from outside")
        elif trade.close is not None:
            work.move(trade, "PENDING_CLOSE", trade.close.reason)
        else:
            advice = self._close_plan.withdraw_opening(trade)
            self._surplus.tend(trade, advice)
            self._carry_out(trade, advice)
            advice.wake(_next_expiry_ns(trade, work.now_ns))
            if trade.is_flat and not work.book.unsettled_of(trade):
                work.record(flat_close(trade, trade.reason or "nothing is held"))
            return advice
        return Advice()

    def _pending_close(self, trade: Trade) -> Advice:
        work = self._work
        advice = self._close_plan.withdraw_opening(trade)
        self._carry_out(trade, advice)
        patience_ns = trade.state_ns + work.config.close_patience_ms * MS
        unsettled = work.book.unsettled_of(trade)
        # A closing order may be here already: sent by a process that died before it was written, and found again.
        live = [
            order
            for order in unsettled
            if order.purpose == "open" or manner_of(trade).reduces or trade.reduces_surplus(order)
        ]
        if live and work.now_ns >= patience_ns:
            self._break(trade, f"opening order {live[0].client_order_id} is still {live[0].state}")
        elif live:
            advice.wait(f"order {live[0].client_order_id} is {live[0].state}", patience_ns)
        elif trade.is_flat and not unsettled:
            work.move(trade, "CLOSED" if trade.was_filled else "FAILED", trade.reason)
            self._over(trade, "is closed")
        elif not self._schedule.synced:
            advice.wait("not compared with the venue yet")
        else:
            work.move(trade, "CLOSING", trade.reason)
        return advice

    def _reducing(self, trade: Trade) -> Advice:
        work = self._work
        if not self._schedule.synced:
            advice = self._close_plan.withdraw_opening(trade)
            self._carry_out(trade, advice)
            if not work.book.unsettled_of(trade) and trade.is_flat:
                self._closed(trade)
            advice.wait("not compared with the venue yet")
            return advice
        if is_held_broken(trade, work.config):
            advice = self._close_plan.withdraw_opening(trade)
            self._carry_out(trade, advice)
            if not work.book.unsettled_of(trade) and trade.is_flat:
                self._closed(trade)
            advice.wait("broken and held: waits for a person, an exit or its deadline")
            return advice
        beyond = beyond_allowance(trade, self._reduction)
        if beyond:
            if trade.state != "BROKEN":
                self._break(trade, beyond)
            advice = self._close_plan.withdraw(trade, beyond)
            self._carry_out(trade, advice)
            advice.wait(f"{beyond}: waits for a person to close it, or until it costs less")
            return advice
        advice = self._closing_advice(trade)
        self._carry_out(trade, advice)
        if advice.outcome == "complete":
            self._closed(trade)
        elif advice.outcome == "given_up" and trade.state != "BROKEN":
            self._break(trade, advice.reason)
        return advice

    def _closing_advice(self, trade: Trade) -> Advice:
        plan = CLOSING_PLANS.get(trade.closing_mode)
        if plan is None or trade.state != "CLOSING":
            return self._close_plan.advise(trade)
        if close_purpose(trade) == "close":
            return plan.advise(trade, self._reduction)
        reason = f"{trade.reason}: to {close_purpose(trade)} it is for the staircase alone"
        row = rows.FellBack(trade_id=trade.trade_id, purpose="close", mode="limit", reason=reason)
        return Advice(actions=[Record(row)])

    def _closed(self, trade: Trade) -> None:
        self._work.move(trade, "FAILED" if trade.state == "UNWINDING" else "CLOSED", trade.reason)
        self._over(trade, "is closed")

    def _over(self, trade: Trade, how: str) -> None:
        """It holds nothing any more, so nothing of it waits for a person."""
        text = f"{trade.trade_id} {how}"
        for leg in trade.legs:
            for code in ("close_beyond_bound", "close_unpriced"):
                self._work.resolve(code, f"{trade.trade_id}/{leg.symbol}", text)
        for code in ("settlement_missing", "trade_broken"):
            self._work.resolve(code, trade.trade_id, text)
        self._surplus.over(trade, text)

    def _break(self, trade: Trade, reason: str) -> None:
        self._work.move(trade, "BROKEN", reason)
        held = ", ".join(f"{leg.held_quantity} {leg.symbol}" for leg in trade.legs if leg.held_quantity > 0)
        live = ", ".join(str(order.client_order_id) for order in self._work.book.unsettled_of(trade))
        left = "; ".join(f"{what}: {names}" for what, names in (("still held", held), ("live orders", live)) if names)
        if left:
            text = f"{trade.trade_id} is broken: {reason}; {left}"
            self._work.alert("trade_broken", "critical", trade.trade_id, text)

    def _settles(self, trade: Trade) -> bool:
        """Move to SETTLING once everything that is held has expired."""
        now_ns = self._work.now_ns
        held = [leg for leg in trade.legs if leg.held_quantity > 0]
        if held and all(leg.instrument.expiry_ns <= now_ns for leg in held):
            self._work.move(trade, "SETTLING", "all that is held has expired")
            self._schedule.want("expiry", now_ns)
            return True
        expired = [leg for leg in held if leg.instrument.expiry_ns <= now_ns]
        if expired and all(leg in expired or leg.instrument.is_spot for leg in held):
            # coins outlive the options that they cover, whose settlement the next comparisons bring
            return False
        if trade.state in HOLDING_STATES and expired:
            self._schedule.want("expiry", now_ns)
            self._break(trade, "a leg expired while others are held")
            return True
        if not held and trade.state != "BROKEN" and not self._work.book.unsettled_of(trade):
            settled = any(leg.settled_quantity > 0 for leg in trade.legs)
            if settled and trade.state in HOLDING_STATES:
                self._work.move(trade, "SETTLING", "all legs are settled")
                return True
        return False

    def _settling(self, trade: Trade, advice: Advice) -> None:
        work = self._work
        if any(leg.held_quantity > 0 and leg.instrument.expiry_ns > work.now_ns for leg in trade.legs):
            self._break(trade, "a leg that has not expired is held after all")
            return
        if trade.is_flat and not work.book.unsettled_of(trade):
            work.move(trade, "SETTLED", "the venue settled all legs")
            self._over(trade, "is settled")
            return
        alert_ns = trade.state_ns + work.config.settlement_alert_ms * MS
        if work.now_ns >= alert_ns:
            work.alert(
                "settlement_missing",
                "warning",
                trade.trade_id,
                f"{trade.trade_id} expired and the venue's exercise history does not show it yet",
            )
            advice.wait("waits for the venue's settlement")
        else:
            advice.wait("waits for the venue's settlement", alert_ns)

    def _reopen_if_held(self, trade: Trade) -> None:
        """A final trade holds nothing and has no live order, unless a fill or an order came late."""
        if trade.is_flat and not self._work.book.unsettled_of(trade):
            return
        self._break(trade, f"an execution came after it was {trade.state}")

    def _carry_out(self, trade: Trade, advice: Advice) -> None:
        work = self._work
        opening = trade.state in OPENING_STATES
        for action in advice.actions:
            if isinstance(action, Record):
                work.record(action.row)
            elif isinstance(action, Amend):
                work.amend(work.book.orders[action.client_order_id], action.price, action.why)
            elif isinstance(action, AskForQuotes | TakeQuote):
                if trade.state == "PENDING_OPEN":
                    work.move(trade, "OPENING", "makers are asked for quotes")
                self._rfq_desk.carry_out(trade, action)
            elif isinstance(action, Place):
                if trade.state == "PENDING_OPEN":
                    work.move(trade, "OPENING", "the first opening order is sent")
                purpose: Purpose = "open" if opening else close_purpose(trade)
                if action.side is not None:
                    purpose = "open" if action.side == trade.legs[action.leg_index].side else "close"
                work.place(
                    trade,
                    action.leg_index,
                    purpose,
                    action.quantity,
                    action.price,
                    action.why,
                    post_only=action.post_only,
                    label=action.label,
                    retry_of=action.retry_of,
                )
            else:
                work.cancel(work.book.orders[action.client_order_id], action.why)


def _is_exposing(action: object) -> bool:
    """Whether an opening may come to hold more by it."""
    return isinstance(action, Place | Amend | AskForQuotes | TakeQuote)


def _unwinding_of(trade: Trade) -> TradeState:
    """Where an opening that must be undone goes: nothing was sent means that there is nothing to unwind."""
    return "UNWINDING" if trade.state == "OPENING" else "FAILED"


def _closed_outside(trade: Trade) -> bool:
    """Whether something was closed that the trade did not ask for: by anybody else's orders, or by any, where its own
    do not reduce while it opens or is held."""
    if manner_of(trade).reduces:
        return any(leg.outside_quantity > 0 for leg in trade.legs)
    if any(leg.instrument.is_spot for leg in trade.legs):
        # its options settle while its coins are held
        return any(leg.taken_quantity > leg.settled_quantity for leg in trade.legs)
    return any(leg.taken_quantity > 0 for leg in trade.legs)


def _next_expiry_ns(trade: Trade, now_ns: int) -> int | None:
    return min(
        (
            leg.instrument.expiry_ns
            for leg in trade.legs
            if leg.instrument.expiry_ns > now_ns and leg.held_quantity > 0
        ),
        default=None,
    )
