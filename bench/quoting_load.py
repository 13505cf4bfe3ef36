"""What a quoting strategy asks of its orders, as fast as it is told to: placements, amendments, cancels.

Orders rest in sets of one, which are asked for one by one, or of as many as one of the venue's batches takes. A set
is placed, moved a few times between two prices far from the market, and cancelled, over and over; it is asked for
something new only when the last thing was seen to be done at the venue.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from bench.trader import Refused, Trader
from shared.messages.quoting import OrderAnswer, OrderToAmend, OrderToPlace
from shared.messages.trades import FINAL_ORDER_STATES, LegOrder, OrderUpdate
from shared.options.chain import snap_price
from shared.venues.coincall.endpoints import (
    BATCH_CANCEL,
    BATCH_CREATE,
    BATCH_MODIFY,
    CANCEL_ORDER,
    CREATE_ORDER,
    MODIFY_ORDER,
)

LOT = Decimal("0.01")
GRANTED = Decimal(1)
LEGS = (("C", 0.08), ("P", 0.08), ("C", 0.12), ("P", 0.12), ("C", 0.16))
"""Type and delta of the options that are quoted."""

IDS_PER_LEG = 15_000
"""Orders that one leg of a quoting trade has ids for, and some."""

SHARE_OF_MARK = 0.6
"""Where the orders rest: too low to trade."""

Verb = Literal["place", "amend", "cancel"]
_SINGLE: dict[Verb, str] = {"place": CREATE_ORDER.path, "amend": MODIFY_ORDER.path, "cancel": CANCEL_ORDER.path}
_BATCH: dict[Verb, str] = {"place": BATCH_CREATE.path, "amend": BATCH_MODIFY.path, "cancel": BATCH_CANCEL.path}
_ANSWERS: dict[Verb, str] = {"place": "placed", "amend": "amended", "cancel": "cancelled"}


class Call(msgspec.Struct, frozen=True):
    """One thing that was asked: for how many orders, by which of the venue's calls, and the first id in it."""

    verb: Verb
    path: str
    order: int
    count: int
    asked_ns: int
    answered_ns: int


class Load:
    """The sets of orders, and what was asked of them."""

    def __init__(self, trader: Trader, sets: int, size: int, amends: int, orders: int) -> None:
        """orders: about how many will be placed in all, for the ids of the trades' legs."""
        self.trader = trader
        self.calls: list[Call] = []
        self.refused: defaultdict[str, int] = defaultdict(int)
        self._sets = [_OrderSet(size, amends, number % (amends + 1)) for number in range(sets)]
        self._set_of: dict[int, _OrderSet] = {}
        self._turn = 0
        self._trades = math.ceil(orders / (len(LEGS) * IDS_PER_LEG)) or 1

    async def begin(self) -> None:
        """Open the quoting trades, each with the same legs."""
        trader = self.trader
        symbols = trader.symbols(*LEGS)
        legs = [LegOrder(symbol=symbol, side="buy", quantity=GRANTED) for symbol in symbols]
        trades = [
            (await trader.open(legs, "quoting", policy="best_effort", opening_s=7_200.0)).trade_id
            for _ in range(self._trades)
        ]
        view = trader.chain
        assert view is not None, "legs were chosen from it"
        for number, each in enumerate(self._sets):
            each.symbol = symbols[number % len(LEGS)]
            each.trades = list(trades)
            each.share = math.ceil(len(self._sets) / len(LEGS))
            mark, instrument = view.value(each.symbol, "mark"), view.instrument(each.symbol)
            assert mark is not None, f"{each.symbol} has a mark"
            assert instrument is not None, f"{each.symbol} is listed"
            low = snap_price(mark * SHARE_OF_MARK, instrument.tick_size, up=False)
            each.prices = (low, low + instrument.tick_size)

    def heard(self, order: OrderUpdate) -> None:
        """For the trader to tell of each order."""
        each = self._set_of.get(order.client_order_id)
        if each is not None:
            each.changed.set()

    async def paced(self, per_s: float, seconds: float) -> Sequence[float]:
        """So many calls a second, each of the next set that rests. Returns the due times (s) at which none did."""
        tasks: set[asyncio.Task[None]] = set()
        begun = time.monotonic()
        missed = []
        for number in range(round(per_s * seconds)):
            due = begun + number / per_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            each = self._next_idle()
            if each is None:
                missed.append(due - begun)
                continue
            task = asyncio.ensure_future(self._work(each))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return missed

    async def flat_out(self, seconds: float) -> None:
        """Every set is asked for the next thing as soon as the last one is done."""
        end = time.monotonic() + seconds

        async def work(each: _OrderSet) -> None:
            while time.monotonic() < end:
                if self._is_idle(each):
                    await self._work(each)
                    continue
                each.changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, end - time.monotonic())):
                        await each.changed.wait()

        await asyncio.gather(*map(work, self._sets))

    def _next_idle(self) -> _OrderSet | None:
        for _ in range(len(self._sets)):
            self._turn = (self._turn + 1) % len(self._sets)
            if self._is_idle(self._sets[self._turn]):
                return self._sets[self._turn]
        return None

    def _is_idle(self, each: _OrderSet) -> bool:
        if each.asking:
            return False
        orders = self.trader.orders
        return all(number in orders and _rests(orders[number], each) for number in each.numbers)

    async def _work(self, each: _OrderSet) -> None:
        """Ask for what comes next in the life of a set."""
        orders = self.trader.orders
        gone = [number for number in each.numbers if orders[number].state in FINAL_ORDER_STATES]
        for number in gone:
            each.numbers.remove(number)
            del self._set_of[number]
            each.expected.pop(number, None)
        if not each.numbers:
            each.cancelling = False
            each.amended, each.skipped = each.skipped, 0
            await self._place(each)
        elif each.amended < each.amends:
            each.amended += 1
            await self._amend(each)
        else:
            await self._cancel(each)

    async def _place(self, each: _OrderSet) -> None:
        each.placed += each.size
        if each.placed * each.share > IDS_PER_LEG and len(each.trades) > 1:
            del each.trades[0]
            each.placed = each.size
        wish = OrderToPlace(symbol=each.symbol, side="buy", quantity=LOT, price=each.prices[each.amended % 2])
        numbers = await self._ask(each, "place", [wish] * each.size)
        each.numbers = list(numbers)
        for number in numbers:
            self._set_of[number] = each

    async def _amend(self, each: _OrderSet) -> None:
        price = each.prices[each.amended % 2]
        amends = {number: self.trader.orders[number].amends for number in each.numbers}
        wishes = [OrderToAmend(client_order_id=number, price=price) for number in each.numbers]
        for number in await self._ask(each, "amend", wishes):
            each.expected[number] = amends[number] + 1

    async def _cancel(self, each: _OrderSet) -> None:
        each.cancelling = True
        each.cancelling = bool(await self._ask(each, "cancel", list(each.numbers)))

    async def _ask(self, each: _OrderSet, verb: Verb, parts: Sequence[Any]) -> list[int]:
        """The numbers of the orders for which it is on its way."""
        first = 0
        if verb != "place":
            order = self.trader.orders[each.numbers[0]]
            first = order.venue_order_id or order.client_order_id
        each.asking = True
        asked_ns = time.time_ns()
        try:
            changed = await self.trader.change(each.trades[0], **{verb: parts})
        except Refused as refusal:
            self.refused[str(refusal)[:80]] += 1
            return []
        finally:
            each.asking = False
        answers: tuple[OrderAnswer, ...] = getattr(changed, _ANSWERS[verb])
        for answer in answers:
            if answer.code:
                self.refused[answer.code] += 1
        numbers = [number for answer in answers if not answer.code for number in answer.client_order_ids]
        if numbers:
            path = (_BATCH if len(numbers) > 1 else _SINGLE)[verb]
            self.calls.append(Call(verb, path, first or numbers[0], len(numbers), asked_ns, time.time_ns()))
        return numbers


class _OrderSet:
    """`trades`: that of now, then those whose ids come after. `share`: how many sets use the ids of one leg.
    `expected`: how many amendments of each order were asked for. `skipped`: how many its first life does without, so
    that not all sets are placed and cancelled at the same time."""

    def __init__(self, size: int, amends: int, skipped: int) -> None:
        self.size = size
        self.amends = amends
        self.skipped = skipped
        self.symbol = ""
        self.prices = (Decimal(0), Decimal(0))
        self.trades: list[str] = []
        self.share = 1
        self.numbers: list[int] = []
        self.expected: dict[int, int] = {}
        self.amended = 0
        self.placed = 0
        self.asking = False
        self.cancelling = False
        self.changed = asyncio.Event()


def _rests(order: OrderUpdate, each: _OrderSet) -> bool:
    """Whether the last thing that was asked of the order is done."""
    if order.state in FINAL_ORDER_STATES:
        return True
    if each.cancelling or order.state != "WORKING":
        return False
    return order.amend_price is None and order.amends >= each.expected.get(order.client_order_id, 0)


def latencies_us(calls: Sequence[Call], notes: Sequence[list[Any]]) -> Iterator[tuple[Call, float]]:
    """From asking to the arrival of the call at the exchange, of each call whose arrival was noted."""
    arrived: Mapping[tuple[str, int], list[int]] = defaultdict(list)
    for note in notes:
        if note[0] == "call":
            arrived[note[2], note[3]].append(note[1])
    for call in calls:
        times = arrived.get((call.path, call.order), [])
        position = bisect_left(times, call.asked_ns)
        if position < len(times):
            yield call, (times[position] - call.asked_ns) / 1e3
