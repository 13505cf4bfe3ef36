"""What an open trade holds too much: what its opening filled beyond its size, as an order that was believed gone
traded after another had taken its place, or what is beyond the part that it was told to keep.

An atomic trade has what was overfilled reduced, within what its unwinding may cost and last; best effort keeps it.
Both tell a person. What is not to be kept is closed, whatever the policy and whatever it costs.
"""

from __future__ import annotations

from decimal import Decimal

from services.execution import rows
from services.execution.modes import manner_of
from services.execution.plan import Advice, Place, Record, Withdraw, pause_after_ns, reprice
from services.execution.pricing import PRICE_REFUSALS, STAIRCASE, CloseStep, closing_price
from services.execution.records import Leg, Order, Trade
from services.execution.reduction import POLL_NS, Reduction
from services.execution.unwinding import surplus_loss_usd
from services.execution.workspace import MS, backoff_ns
from shared.messages.base import opposite

_LOOK_AGAIN_NS = 10_000 * MS


class Surplus:
    """Looks after a trade that is open and holds more of a leg than it was to hold."""

    def __init__(self, reduction: Reduction) -> None:
        self._work = reduction.work
        self._reduction = reduction
        self._confirmed: dict[tuple[str, int, Decimal], None] = {}

    def tend(self, trade: Trade, advice: Advice) -> None:
        """Add to `advice` what is to be done about it now: nothing for a trade that holds what it should."""
        if manner_of(trade).reduces:
            return
        numbers = range(len(trade.legs))
        if not any(trade.legs[index].surplus_quantity > 0 for index in numbers):
            self.over(trade, f"{trade.trade_id} holds no more than it was to hold")
            self._withdraw(trade, "nothing is too much any more", advice)
            return
        overfilled = any(leg.held_quantity > leg.quantity for leg in trade.legs)
        if overfilled and self._tell(trade, advice):
            return
        if trade.request.policy == "best_effort" and all(leg.keep_quantity is None for leg in trade.legs):
            return
        if not self._reduction.schedule.synced:
            advice.wait("not compared with the venue yet")
            return
        beyond = self._beyond_allowance(trade)
        if beyond:
            self._alert_unreduced(trade, beyond)
            self._withdraw(trade, beyond, advice)
            again_ns = self._work.now_ns + POLL_NS
            advice.wait(f"{beyond}: waits for a person to close it, or until it costs less", again_ns)
            return
        for index in numbers:
            self._leg(trade, index, advice)
        if self._is_late(trade):
            why = f"what is too much is not reduced within {self._patience_ms(trade) / 1_000:g} s"
            self._alert_unreduced(trade, f"{why}: {advice.waiting}" if advice.waiting else why)
        else:
            advice.wake(self._late_ns(trade))

    def over(self, trade: Trade, text: str) -> None:
        """Nothing of it waits for a person any more."""
        for code in ("trade_overfilled", "surplus_not_reduced"):
            self._work.resolve(code, trade.trade_id, text)
        for key in [key for key in self._confirmed if key[0] == trade.trade_id]:
            del self._confirmed[key]

    def _tell(self, trade: Trade, advice: Advice) -> bool:
        """Tell a person; True when rows are to be written about it first."""
        keeps = trade.request.policy == "best_effort"
        for index, leg in enumerate(trade.legs):
            if leg.opened_quantity - leg.quantity > leg.overfilled_quantity:
                row = rows.LegOverfilled(
                    trade_id=trade.trade_id,
                    leg_index=index,
                    quantity=leg.opened_quantity - leg.quantity,
                    done="kept" if keeps else "reducing",
                )
                advice.actions.append(Record(row))
        too_much = ((leg, leg.held_quantity - leg.quantity) for leg in trade.legs)
        much = ", ".join(f"{quantity} {leg.symbol}" for leg, quantity in too_much if quantity > 0)
        then = "it is kept, as best effort says" if keeps else "it is being reduced"
        text = f"{trade.trade_id} holds {much} more than it was to hold: {then}"
        self._work.alert("trade_overfilled", "critical", trade.trade_id, text)
        return any(isinstance(action, Record) for action in advice.actions)

    def _beyond_allowance(self, trade: Trade) -> str:
        most_usd = trade.request.execution_params.max_unwind_cost_usd
        loss_usd = None if most_usd is None else surplus_loss_usd(trade, self._reduction)
        if most_usd is None or loss_usd is None or loss_usd <= most_usd:
            return ""
        return f"to reduce what is too much would cost {loss_usd:.2f} USD, more than the {most_usd:g} allowed"

    def _alert_unreduced(self, trade: Trade, why: str) -> None:
        self._work.alert("surplus_not_reduced", "critical", trade.trade_id, f"{trade.trade_id}: {why}")

    def _patience_ms(self, trade: Trade) -> int:
        most_s = trade.request.execution_params.max_unwind_s
        return self._work.config.close_patience_ms if most_s is None else round(most_s * 1_000)

    def _late_ns(self, trade: Trade) -> int:
        return max(trade.overfilled_ns, trade.reduced_ns) + self._patience_ms(trade) * MS

    def _is_late(self, trade: Trade) -> bool:
        """Past its time it is still tried, ever more slowly."""
        return self._work.now_ns >= self._late_ns(trade)

    def _withdraw(self, trade: Trade, why: str, advice: Advice) -> None:
        for order in self._work.book.unsettled_of(trade):
            if order.state == "WORKING" and trade.reduces_surplus(order):
                advice.actions.append(Withdraw(order.client_order_id, why))

    def _leg(self, trade: Trade, index: int, advice: Advice) -> None:
        leg = trade.legs[index]
        live = self._work.book.unsettled_of(trade, index)
        for order in live:
            self._resting(trade, leg, order, advice, alone=len(live) == 1)
        if not live and leg.surplus_quantity > 0:
            self._next_order(trade, index, advice)

    def _resting(self, trade: Trade, leg: Leg, order: Order, advice: Advice, *, alone: bool) -> None:
        work = self._work
        if order.state != "WORKING" or order.purpose == "open":
            # An opening order is withdrawn already: until it is gone nobody knows how much is too much.
            advice.wait(f"order {order.client_order_id} is {order.state}")
            return
        if not alone:
            # One was given up for lost and turned up after it was replaced: together they could reduce too much.
            advice.actions.append(Withdraw(order.client_order_id, "another order of this leg is live"))
            return
        if order.quantity - order.filled_quantity > leg.surplus_quantity:
            advice.actions.append(Withdraw(order.client_order_id, "it is for more than is too much"))
            return
        if order.is_amending:
            advice.wait(f"order {order.client_order_id} is being moved to {order.amend_price}")
            return
        replace_ns = order.priced_ns + self._step_ns(trade)
        if work.now_ns < replace_ns:
            advice.wake(replace_ns)
            return
        step, price = self._price(trade, leg, self._orders(trade, order.leg_index))
        if isinstance(price, str) or price == order.price:
            advice.wait(f"{order.symbol} rests at {order.price}", work.now_ns + POLL_NS)
            return
        advice.actions.append(reprice(trade, order, price, step))

    def _next_order(self, trade: Trade, index: int, advice: Advice) -> None:
        work = self._work
        leg = trade.legs[index]
        orders = self._orders(trade, index)
        if not self._reduction.may_send(leg, orders[-1] if orders else None, advice):
            return
        if not self._is_confirmed(trade, index, advice):
            return
        short = _covered_surplus(trade, index)
        if short:
            advice.wait(f"{leg.symbol} covers {short}, of which there is too much")
            return
        ready_ns = pause_after_ns(work, orders)
        if orders and self._is_late(trade):
            first_ms, max_ms = work.config.broken_retry_first_ms, work.config.broken_retry_max_ms
            ready_ns = max(ready_ns, orders[-1].created_ns + backoff_ns(first_ms, max_ms, len(orders) - 1))
        if work.now_ns < ready_ns:
            advice.wait(f"next order of {leg.symbol} after a pause", ready_ns)
            return
        if not work.can_place(trade, index, "unwind"):
            advice.wait(f"{leg.symbol}: the ids of its orders are used up")
            return
        quantity = self._reduction.quantity(leg, trade, advice, leg.surplus_quantity)
        if quantity is None:
            return
        step, price = self._price(trade, leg, orders)
        if isinstance(price, str):
            advice.wait(price, work.now_ns + POLL_NS)
            return
        advice.actions.append(Place(index, quantity, price, f"{step}, {leg.surplus_quantity} is too much"))

    def _is_confirmed(self, trade: Trade, index: int, advice: Advice) -> bool:
        """Whether the venue's position, looked at since, held all of it: an execution that was only believed would
        else be made good with what the trade is to keep. Once is enough.

        Where orders of other trades rest in the symbol nobody can say what the position holds for this one; then it
        must be what all trades hold together, to the lot.
        """
        work, schedule, positions = self._work, self._reduction.schedule, self._reduction.positions
        leg = trade.legs[index]
        if leg.held_quantity <= leg.quantity:
            # nothing was overfilled: what is held is known as it is for any close
            return True
        key = (trade.trade_id, index, leg.overfilled_quantity)
        if key in self._confirmed:
            return True
        cap = positions.cap(trade, leg)
        agrees = schedule.looked_since(trade.overfilled_ns) and positions.surplus(leg.symbol) == 0
        if agrees or (cap is not None and cap >= leg.held_quantity):
            self._confirmed[key] = None
            return True
        settled_ns = work.last_traded_ns.get(leg.symbol, 0) + work.config.settled_view_ms * MS + MS
        again_ns = schedule.looked_ns + _LOOK_AGAIN_NS if schedule.looked_since(settled_ns) else settled_ns
        schedule.want("surplus", max(again_ns, work.now_ns))
        others = any(
            order.symbol == leg.symbol and order.trade_id != trade.trade_id
            for order in (work.book.orders[number] for number in work.book.unsettled)
        )
        why = f"the venue is to show that it holds {leg.held_quantity} {leg.symbol}"
        why += ", in which orders of other trades are live" if others else ""
        advice.wait(why, work.now_ns + POLL_NS)
        return False

    def _orders(self, trade: Trade, index: int) -> list[Order]:
        return [
            order
            for order in self._work.book.orders_of(trade)
            if order.leg_index == index and trade.reduces_surplus(order)
        ]

    def _step_ns(self, trade: Trade) -> int:
        config = self._work.config
        return (config.broken_retry_first_ms if self._is_late(trade) else config.urgent_step_ms) * MS

    def _price(self, trade: Trade, leg: Leg, orders: list[Order]) -> tuple[CloseStep, Decimal | str]:
        """Up the stairs of a close: one step for each price that was in vain."""
        work = self._work
        shown = sum(order.amends + (order.state != "FILLED") for order in orders)
        step = STAIRCASE[min(shown, len(STAIRCASE) - 1)]
        if orders and orders[-1].refusal_code in PRICE_REFUSALS:
            step = "mark"
        quote = work.market.quote(leg.instrument, work.now_ns)
        mark = None if quote is None else quote.mark
        if mark is None:
            mark = self._reduction.mark(leg.symbol)
        price = closing_price(
            opposite(leg.side),
            step,
            quote,
            mark,
            trade.request.execution_params.max_close_premium_pct,
            leg.instrument,
            work.config.wide_spread_pct,
            work.config.cross_buffer_pct,
            waits=shown < len(STAIRCASE),
        )
        return step, price


def _covered_surplus(trade: Trade, index: int) -> str:
    """The short leg that this long one covers and of which there is too much: it is bought back first."""
    leg = trade.legs[index]
    return next(
        (
            other.symbol
            for other in trade.legs
            if leg.side == "buy"
            and other.side == "sell"
            and other.surplus_quantity > 0
            and other.instrument.underlying == leg.instrument.underlying
            and other.instrument.option_type == leg.instrument.option_type
        ),
        "",
    )
