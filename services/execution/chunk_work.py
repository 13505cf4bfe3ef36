"""Works the legs of one chunk: quoted, repriced, then taken across the spread a bounded number of times."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from decimal import Decimal

from services.execution.chunks import ChunkPurpose, chunk_targets
from services.execution.plan import Advice, Place, Record, Withdraw, pause_after_ns, refused_for_good, reprice
from services.execution.records import Leg, Order, Trade
from services.execution.rows import ChunkEnded, SpreadCrossed
from services.execution.smart_pricing import crossing_price, quoting_price
from services.execution.workspace import SECOND, Workspace
from shared.messages.base import Side, opposite
from shared.options.chain import Quote, snap_quantity

_POLL_NS = SECOND


class ChunkWork(ABC):
    """The chunk that a trade's opening or close is at, as the fold shows it now. Made anew for every look at it.

    A leg has at most one order that may still trade; the next one is for what the chunk lacks of the leg, and goes
    out only when the one before is final with all its fills known. So the fills of a chunk never exceed its target.
    """

    def __init__(self, trade: Trade, work: Workspace, purpose: ChunkPurpose, since_ns: int, *, spaced: bool) -> None:
        self.trade = trade
        self.work = work
        self.purpose: ChunkPurpose = purpose
        self.since_ns = since_ns
        self.params = trade.request.smart
        self.targets = chunk_targets(trade, purpose)
        ended = [chunk for chunk in trade.chunks if chunk.purpose == purpose]
        self.planned = len(self.targets)
        self.number = min(len(ended), self.planned - 1)
        self.given_up = next((chunk.reason for chunk in ended if not chunk.complete), "")
        self.begins_ns = max([since_ns, *(chunk.at_ns for chunk in ended)])
        if purpose == "open" and trade.scaled_ns:
            # It had begun when the trade was made smaller; the legs that are left have the time of a chunk for it.
            self.begins_ns = max(self.begins_ns, trade.scaled_ns)
        elif spaced:
            gap_s = self.params.total_duration_s / self.planned
            self.begins_ns = max(self.begins_ns, since_ns + math.ceil(len(ended) * gap_s * SECOND))

    # What differs between an opening and a close

    @abstractmethod
    def done(self, index: int) -> Decimal:
        """How much of the leg's whole quantity is opened, or closed."""

    @abstractmethod
    def goes_before(self, index: int) -> list[int]:
        """The legs that must reach their target of the chunk before this one may trade."""

    @abstractmethod
    def bound(self, index: int, quote: Quote | None) -> Decimal | str:
        """The worst price of an order of this leg, or why there is none."""

    @abstractmethod
    def next_quantity(self, index: int, lacking: Decimal, advice: Advice) -> Decimal | None:
        """How much of what the chunk lacks one order may be for; None with the reason in `advice`."""

    # What both share

    @property
    def is_last(self) -> bool:
        return self.number == self.planned - 1

    @property
    def legs(self) -> range:
        return range(len(self.trade.legs))

    def lacks(self, index: int) -> Decimal:
        """What the chunk still needs of the leg. A rest below the minimum order is rounded up for a leg that others
        wait for, and carried into the next chunk for the others."""
        return self._lacking(index, self.number)

    def _lacking(self, index: int, number: int) -> Decimal:
        lacking = self.targets[number][index] - self.done(index)
        minimum = self.trade.legs[index].instrument.min_quantity
        if number == self.planned - 1 or not 0 < lacking < minimum:
            return max(lacking, Decimal(0))
        if any(index in self.goes_before(other) for other in self.legs):
            return min(minimum, self.targets[-1][index] - self.done(index))
        return Decimal(0)

    def is_filled(self, index: int) -> bool:
        return self.lacks(index) <= 0

    def is_whole(self, index: int) -> bool:
        """All of the leg is done, not only this chunk's part."""
        return self.done(index) >= self.targets[-1][index]

    def waits_for(self, index: int) -> list[int]:
        return [other for other in self.goes_before(index) if not self.is_filled(other)]

    def orders(self, index: int) -> list[Order]:
        """The orders of the leg since the plan has had the trade."""
        return [
            order
            for order in self.work.book.orders_of(self.trade)
            if order.leg_index == index
            and (order.purpose == "open") == (self.purpose == "open")
            and order.created_ns >= self.since_ns
        ]

    def leg_begins_ns(self, index: int) -> int:
        """A leg that waited for others begins when the last of them was filled."""
        filled_ns = [self.trade.legs[other].last_fill_ns for other in self.goes_before(index)]
        return max([self.begins_ns, *filled_ns])

    def crossing_ns(self, index: int) -> int | None:
        """Since when the leg crosses the spread; None while it is quoted."""
        return self.trade.crossings.get(f"{self.purpose}/{self.number}/{index}")

    def ended(self, *, complete: bool, reason: str) -> Record:
        """The row that ends this chunk."""
        return self._ended(self.number, complete=complete, reason=reason)

    def _ended(self, number: int, *, complete: bool, reason: str) -> Record:
        return Record(
            ChunkEnded(
                trade_id=self.trade.trade_id,
                purpose=self.purpose,
                chunk=number,
                planned=self.planned,
                complete=complete,
                reason=reason,
            )
        )

    def passed(self, reason: str) -> list[Record]:
        """The rows that end this chunk, whose parts are done, and all those after it whose parts are too, but for the
        last: what was done by no order of the plan may be the part of very many chunks."""
        rows = [self.ended(complete=True, reason=reason)]
        for number in range(self.number + 1, self.planned - 1):
            if any(self._lacking(index, number) > 0 for index in self.legs):
                break
            rows.append(self._ended(number, complete=True, reason=reason))
        return rows

    def end_of(self, index: int, advice: Advice) -> str:
        """Why the leg gets no further order in this chunk; "" while it may. Wakes when its time is up."""
        if self.is_filled(index) or self.waits_for(index) or self.work.now_ns < self.begins_ns:
            return ""
        leg = self.trade.legs[index]
        orders = self.orders(index)
        refused = refused_for_good(leg, orders, self.work.config.leg_refusals_max)
        if refused:
            return refused
        if self.is_last and self.lacks(index) < leg.instrument.min_quantity:
            return f"the remaining {self.lacks(index)} of {leg.symbol} is below the minimum order"
        if not self.work.can_place(self.trade, index, self.purpose):
            return f"{leg.symbol}: the ids of its orders are used up"
        return self._end_of_crossing(index, advice)

    def _end_of_crossing(self, index: int, advice: Advice) -> str:
        leg = self.trade.legs[index]
        crossing_ns = self.crossing_ns(index)
        if crossing_ns is None and self.params.aggressive_attempts:
            return ""
        if crossing_ns is None:
            over_ns = self._quoted_until_ns(index)
            advice.wake(over_ns if self.work.now_ns < over_ns else None)
            return "" if self.work.now_ns < over_ns else self._not_quoted(index)
        used, next_ns = self._attempts(index, crossing_ns)
        if used >= self.params.aggressive_attempts:
            return f"{leg.symbol} not filled in {self.params.aggressive_attempts} attempts across the spread"
        late_ns = crossing_ns + math.ceil(self.params.crossing_most_s * SECOND)
        if self.work.now_ns >= late_ns:
            return f"{leg.symbol} not filled across the spread within {self.params.crossing_most_s:g} s"
        advice.wake(late_ns, next_ns)
        return ""

    def work_leg(self, index: int, ending: str, advice: Advice) -> None:
        """Let the leg's order rest, withdraw it, or send the next one."""
        live = self.work.book.unsettled_of(self.trade, index)
        if len(live) > 1:
            # One was given up for lost and turned up after it was replaced: together they could fill too much.
            ending = ending or "another order of this leg is live"
        if not ending and self.is_filled(index):
            ending = "the chunk needs no more of this leg"
        if not ending and (waits := self.waits_for(index)):
            names = ", ".join(self.trade.legs[other].symbol for other in waits)
            ending = f"{self.trade.legs[index].symbol} waits for {names}"
            advice.wait(ending)
        if not ending and self.work.now_ns < self.begins_ns:
            ending = f"chunk {self.number + 1} of {self.planned} has not begun"
            advice.wait(ending, self.begins_ns)
        for order in live:
            self._resting(order, ending, advice)
        if not live and not ending:
            self._next_order(index, advice)

    def _resting(self, order: Order, ending: str, advice: Advice) -> None:
        if order.state != "WORKING":
            advice.wait(f"order {order.client_order_id} is {order.state}")
            return
        if not ending and (order.purpose == "open") != (self.purpose == "open"):
            ending = self.trade.reason or "opening has ended"
        if ending:
            advice.actions.append(Withdraw(order.client_order_id, ending))
            return
        if order.quantity - order.filled_quantity > self.lacks(order.leg_index):
            advice.actions.append(Withdraw(order.client_order_id, "it is for more than the chunk needs"))
            return
        crossing_ns = self.crossing_ns(order.leg_index)
        if crossing_ns is not None and order.created_ns < crossing_ns:
            advice.actions.append(Withdraw(order.client_order_id, "the spread is crossed now"))
        elif crossing_ns is not None:
            rest_ns = math.ceil(self.params.aggressive_wait_s * SECOND)
            self._reprice(order, order.priced_ns + rest_ns, Decimal(0), advice)
        elif self._quoting_is_over(order.leg_index, advice):
            return
        else:
            rest_ns = math.ceil(self.params.reprice_interval_s * SECOND)
            threshold = Decimal(repr(float(self.params.reprice_price_threshold)))
            self._reprice(order, order.priced_ns + rest_ns, threshold, advice)

    def _reprice(self, order: Order, rests_until_ns: int, threshold: Decimal, advice: Advice) -> None:
        """Move or replace an order that has rested and whose price has moved by more than the threshold."""
        if order.is_amending:
            advice.wait(f"order {order.client_order_id} is being moved to {order.amend_price}")
            return
        if self.work.now_ns < rests_until_ns:
            advice.wake(rests_until_ns)
            return
        price = self._price(order.leg_index)
        if isinstance(price, str) or abs(price - order.price) <= threshold:
            advice.wait(price if isinstance(price, str) else "", self.work.now_ns + _POLL_NS)
            return
        advice.actions.append(reprice(self.trade, order, price, f"chunk {self.number + 1} of {self.planned}"))

    def _quoting_is_over(self, index: int, advice: Advice) -> bool:
        """True, with the row that says so, when the time to quote is used up."""
        over_ns = self._quoted_until_ns(index)
        if self.work.now_ns < over_ns:
            advice.wake(over_ns)
            return False
        advice.actions.append(
            Record(
                SpreadCrossed(
                    trade_id=self.trade.trade_id,
                    purpose=self.purpose,
                    chunk=self.number,
                    leg_index=index,
                    reason=self._not_quoted(index),
                )
            )
        )
        return True

    def _quoted_until_ns(self, index: int) -> int:
        return self.leg_begins_ns(index) + math.ceil(self.params.time_per_chunk_s * SECOND)

    def _not_quoted(self, index: int) -> str:
        return f"{self.trade.legs[index].symbol} not filled by quoting within {self.params.time_per_chunk_s:g} s"

    def _next_order(self, index: int, advice: Advice) -> None:
        crossing_ns = self.crossing_ns(index)
        if crossing_ns is None and self._quoting_is_over(index, advice):
            return
        orders = self.orders(index)
        ready_ns = pause_after_ns(self.work, orders)
        attempts = [] if crossing_ns is None else [order for order in orders if order.created_ns >= crossing_ns]
        if attempts:
            pause_ns = math.ceil(self.params.aggressive_retry_pause_s * SECOND)
            ready_ns = max(ready_ns, attempts[-1].state_ns + pause_ns)
        if self.work.now_ns < ready_ns:
            advice.wake(ready_ns)
            return
        quantity = self.next_quantity(index, self.lacks(index), advice)
        if quantity is None:
            return
        price = self._price(index)
        if isinstance(price, str):
            advice.wait(price, self.work.now_ns + _POLL_NS)
            return
        chunk = f"chunk {self.number + 1} of {self.planned}"
        if crossing_ns is None:
            why = f"{chunk}, quoted at {self.params.quoting_strategy}"
        else:
            why = f"{chunk}, across the spread, attempt {len(attempts) + 1} of {self.params.aggressive_attempts}"
        advice.actions.append(Place(index, quantity, price, why))

    def _attempts(self, index: int, crossing_ns: int) -> tuple[int, int | None]:
        """How many attempts of the leg are used up, and when the next one will be. An order whose price did not move
        is left where it is, and uses up attempts all the same."""
        wait_ns = math.ceil(self.params.aggressive_wait_s * SECOND)
        used, next_ns = 0, None
        for order in self.orders(index):
            if order.created_ns < crossing_ns:
                continue
            if order.client_order_id in self.work.book.unsettled:
                rested = (self.work.now_ns - order.created_ns) // wait_ns
                next_ns = order.created_ns + (rested + 1) * wait_ns
            else:
                rested = max(1, (order.state_ns - order.created_ns) // wait_ns)
            used += rested
        return used, next_ns

    def side(self, leg: Leg) -> Side:
        return leg.side if self.purpose == "open" else opposite(leg.side)

    def _price(self, index: int) -> Decimal | str:
        leg = self.trade.legs[index]
        config = self.work.config
        quote = self.work.market.quote(leg.instrument, self.work.now_ns)
        bound = self.bound(index, quote)
        if isinstance(bound, str):
            return bound
        if self.crossing_ns(index) is None:
            return quoting_price(self.side(leg), self.params, quote, bound, leg.instrument, config.wide_spread_pct)
        return crossing_price(
            self.side(leg), quote, bound, leg.instrument, config.wide_spread_pct, config.cross_buffer_pct
        )

    def snapped(self, leg: Leg, quantity: Decimal) -> Decimal:
        """What one order may be for: in lots, and not above the venue's maximum."""
        return snap_quantity(min(quantity, leg.instrument.max_quantity), leg.instrument.lot_size)
