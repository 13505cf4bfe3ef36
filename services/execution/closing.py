"""How a trade is closed or unwound: reduce-only, sized from what is held, mark → mid → cross within a bound."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from services.execution.modes import manner_of
from services.execution.plan import Advice, Place, Record, Withdraw, pause_after_ns, prices_shown, reprice
from services.execution.pricing import PRICE_REFUSALS, STAIRCASE, CloseStep, closing_price
from services.execution.records import Leg, Order, Trade
from services.execution.reduction import POLL_NS, Reduction, close_purpose, covered_leg, is_kept
from services.execution.rows import CoinsLeft
from services.execution.spot_checks import sellable
from services.execution.states import HOLDING_STATES, OPENING_STATES
from services.execution.stops import stops_wake_ns, unfit_stop
from services.execution.workspace import MS, backoff_ns
from shared.messages.base import opposite
from shared.options.chain import Quote


class ClosePlan:
    """The staircase: closes what a trade holds, whatever opened it. It is what every mode falls back to, and all
    that unwinds, flattens and mends. What covers another leg is not closed before it.
    """

    def __init__(self, reduction: Reduction) -> None:
        self._work = reduction.work
        self._reduction = reduction

    def advise(self, trade: Trade) -> Advice:
        """What to do now to close the trade. The outcome is "complete" when nothing is held and no order is left,
        "given_up" when the attempts or the time of a close are used up."""
        advice = Advice()
        for index in range(len(trade.legs)):
            self._leg(trade, index, advice)
        if advice.outcome == "going" and trade.is_flat and not self._work.book.unsettled_of(trade):
            advice.outcome, advice.reason = "complete", "nothing is held"
        if trade.state != "BROKEN" and not trade.is_flat and not _all_expired(trade, self._work.now_ns):
            patience_ms = self._patience_ms(trade)
            patience_ns = trade.stairs_since_ns + patience_ms * MS
            if self._work.now_ns >= patience_ns:
                advice.outcome = "given_up"
                advice.reason = f"not closed within {patience_ms / 1000:g} s"
                advice.reason += f": {advice.waiting}" if advice.waiting else ""
            else:
                advice.wake(patience_ns)
        return advice

    def _patience_ms(self, trade: Trade) -> int:
        most_s = trade.request.execution_params.max_unwind_s
        if trade.state == "UNWINDING" and most_s is not None:
            return round(most_s * 1000)
        return self._work.config.close_patience_ms

    def withdraw(self, trade: Trade, reason: str) -> Advice:
        """Every order of the trade that rests is cancelled."""
        resting = [order for order in self._work.book.unsettled_of(trade) if order.state == "WORKING"]
        return Advice(actions=[Withdraw(order.client_order_id, reason) for order in resting])

    def withdraw_opening(self, trade: Trade) -> Advice:
        """Only what is safe before the venue is known: the orders of its opening are cancelled, and those that
        reduced what was too much of it once all of it is to be closed. Stop orders that protect it rest on until
        somebody wants it closed, or they may not any more."""
        work = self._work
        advice = Advice()
        every = manner_of(trade).reduces and trade.state in (*OPENING_STATES, *HOLDING_STATES, "PENDING_CLOSE")
        for order in work.book.unsettled_of(trade):
            why = trade.reason or "opening has ended"
            ends = every or order.purpose == "open" or (trade.reduces_surplus(order) and not is_kept(trade))
            if order.is_protective and trade.close is None:
                ends = bool(why := unfit_stop(trade, order, work))
            if ends and order.state == "WORKING":
                advice.actions.append(Withdraw(order.client_order_id, why))
        advice.wake(stops_wake_ns(trade, work))
        return advice

    def _leg(self, trade: Trade, index: int, advice: Advice) -> None:
        work = self._work
        leg = trade.legs[index]
        live = work.book.unsettled_of(trade, index)
        if live:
            # One was given up for lost and turned up after it was replaced: together they could close too much.
            ending = "another order of this leg is live" if len(live) > 1 else ""
            for order in live:
                self._resting(trade, leg, order, ending, advice)
            return
        self._next_order(trade, index, advice)

    def _resting(self, trade: Trade, leg: Leg, order: Order, ending: str, advice: Advice) -> None:
        work = self._work
        if order.state != "WORKING":
            advice.wait(f"order {order.client_order_id} is {order.state}")
            return
        if order.purpose == "open" or trade.reduces_surplus(order) or order.is_protective:
            advice.actions.append(Withdraw(order.client_order_id, trade.reason or "opening has ended"))
            return
        if not ending and order.quantity - order.filled_quantity > leg.held_quantity:
            # Reduce-only does not keep it from what other trades hold of the symbol.
            ending = "it is for more than is held"
        if ending:
            advice.actions.append(Withdraw(order.client_order_id, ending))
            return
        if trade.state_ns < trade.stairs_since_ns and order.created_ns < trade.stairs_since_ns:
            advice.actions.append(Withdraw(order.client_order_id, "the close goes on by the staircase"))
            return
        if order.is_amending:
            advice.wait(f"order {order.client_order_id} is being moved to {order.amend_price}")
            return
        orders = self._reducing_orders(trade, order.leg_index)
        replace_ns = order.priced_ns + self._step_ns(trade)
        if work.now_ns < replace_ns:
            advice.wake(replace_ns)
            return
        if work.now_ns >= leg.instrument.last_trade_ns:
            return
        price = self._price(trade, leg, orders, advice)
        if isinstance(price, str) or price == order.price:
            advice.wait(f"{order.symbol} rests at {order.price}", work.now_ns + POLL_NS)
            return
        advice.actions.append(reprice(trade, order, price, self._step(trade, orders)))

    def _next_order(self, trade: Trade, index: int, advice: Advice) -> None:
        work = self._work
        leg = trade.legs[index]
        orders = self._reducing_orders(trade, index)
        if not self._reduction.may_send(leg, orders[-1] if orders else None, advice):
            return
        if leg.instrument.is_spot and (few := sellable(trade, leg, work)) < leg.instrument.min_quantity:
            reason = f"{few} {leg.symbol} is below the minimum order {leg.instrument.min_quantity}"
            left = CoinsLeft(trade_id=trade.trade_id, leg_index=index, quantity=leg.held_quantity, reason=reason)
            advice.actions.append(Record(left))
            return
        covered = covered_leg(trade, index, work)
        if covered is not None:
            advice.wait(f"{leg.symbol} covers the open {covered}")
            return
        ready_ns = self._ready_ns(trade, orders)
        if work.now_ns < ready_ns:
            advice.wait(f"next order of {leg.symbol} after a pause", ready_ns)
            return
        if trade.state != "BROKEN" and self._used_up(trade, orders):
            advice.outcome = "given_up"
            advice.reason = f"{leg.symbol} not closed in {len(orders)} orders"
            return
        if not work.can_place(trade, index, close_purpose(trade)):
            advice.outcome, advice.reason = "given_up", f"{leg.symbol}: the ids of its closing orders are used up"
            return
        quantity = self._reduction.quantity(leg, trade, advice)
        if quantity is None:
            return
        price = self._price(trade, leg, orders, advice)
        if isinstance(price, str):
            self._reduction.unpriced(trade, leg, price, advice)
            return
        advice.actions.append(Place(index, quantity, price, self._step(trade, orders)))

    def _reducing_orders(self, trade: Trade, index: int) -> list[Order]:
        """The orders of a leg since the staircase has had the trade."""
        return [
            order
            for order in self._work.book.orders_since(trade, trade.stairs_since_ns)
            if order.leg_index == index and order.purpose != "open"
        ]

    def _step(self, trade: Trade, orders: Sequence[Order]) -> CloseStep:
        if orders and orders[-1].refusal_code in PRICE_REFUSALS:
            return "mark"
        if trade.state == "BROKEN":
            return "cross"
        return STAIRCASE[min(self._steps_taken(trade, orders), len(STAIRCASE) - 1)]

    def _steps_taken(self, trade: Trade, orders: Sequence[Order]) -> int:
        return sum(self._steps_of(order, trade) for order in orders)

    def _has_crossed(self, trade: Trade, orders: Sequence[Order]) -> bool:
        """Whether it stood on the last step for as long as a step lasts."""
        before = 0 if trade.state == "BROKEN" else len(STAIRCASE) - 1
        return self._steps_taken(trade, orders) > before

    def _steps_of(self, order: Order, trade: Trade) -> int:
        """How many steps up the stairs an order took: one whose price did not change rests on, and goes up all the
        same; what comes after one in vain is a step higher, after a slice that was filled on the same step."""
        resting = order.client_order_id in self._work.book.unsettled
        until_ns = self._work.now_ns if resting else order.state_ns
        steps = (until_ns - order.priced_ns) // self._step_ns(trade)
        if not resting and order.state != "FILLED":
            steps = max(1, steps)
        return order.amends + steps

    def _step_ns(self, trade: Trade) -> int:
        config = self._work.config
        if trade.state == "BROKEN":
            return config.broken_retry_first_ms * MS
        return (config.close_step_ms if close_purpose(trade) == "close" else config.urgent_step_ms) * MS

    def _ready_ns(self, trade: Trade, orders: list[Order]) -> int:
        config = self._work.config
        ready_ns = pause_after_ns(self._work, orders)
        asked_again = trade.close is not None and trade.close.at_ns > max(
            (order.created_ns for order in orders), default=trade.state_ns
        )
        if trade.state != "BROKEN" or asked_again:
            return ready_ns
        if not orders:
            tried_before = any(order.purpose != "open" for order in self._work.book.orders_of(trade))
            return trade.state_ns + (config.broken_retry_first_ms * MS if tried_before else 0)
        pause_ns = backoff_ns(config.broken_retry_first_ms, config.broken_retry_max_ms, len(orders) - 1)
        return max(ready_ns, orders[-1].created_ns + pause_ns)

    def _used_up(self, trade: Trade, orders: Sequence[Order]) -> bool:
        config = self._work.config
        since_ns = self._work.now_ns - config.close_window_ms * MS
        in_vain = [order for order in orders if order.created_ns >= since_ns and order.state != "FILLED"]
        return prices_shown(in_vain) >= config.close_attempts_max

    def _price(self, trade: Trade, leg: Leg, orders: Sequence[Order], advice: Advice) -> Decimal | str:
        work = self._work
        quote = work.market.quote(leg.instrument, work.now_ns)
        mark = None if quote is None else quote.mark
        if mark is None:
            mark = self._reduction.mark(leg.symbol)
        side = opposite(leg.side)
        step = self._step(trade, orders)
        price = closing_price(
            side,
            step,
            quote,
            mark,
            trade.request.execution_params.max_close_premium_pct,
            leg.instrument,
            work.config.wide_spread_pct,
            work.config.cross_buffer_pct,
            waits=not self._has_crossed(trade, orders),
        )
        if isinstance(price, Decimal) and step == "cross":
            self._alert_beyond(trade, leg, price, quote)
        return price

    def _alert_beyond(self, trade: Trade, leg: Leg, price: Decimal, quote: Quote | None) -> None:
        buying = leg.side == "sell"
        far = None if quote is None else (quote.ask if buying else quote.bid)
        # As floats: the nearest float to a decimal price lies on either side of it.
        if far is not None and (far <= float(price) if buying else far >= float(price)):
            return
        self._work.alert(
            "close_beyond_bound",
            "warning",
            f"{trade.trade_id}/{leg.symbol}",
            f"{trade.trade_id}: {leg.symbol} cannot be closed within "
            f"{trade.request.execution_params.max_close_premium_pct:g} % of mark; the order waits at {price}, "
            f"the book offers {'nothing' if far is None else f'{far:g}'}",
        )


def _all_expired(trade: Trade, now_ns: int) -> bool:
    return all(now_ns >= leg.instrument.last_trade_ns for leg in trade.legs if leg.held_quantity > 0)
