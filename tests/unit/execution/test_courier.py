"""Effects go to the venue and every outcome comes back, whatever the gateway does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from structlog.contextvars import get_contextvars

from services.execution.courier import Courier
from services.execution.effects import (
    AmendBatch,
    AmendOrder,
    CancelBatch,
    CancelOrder,
    FetchSnapshot,
    PlaceBatch,
    PlaceOrder,
    QueryOrder,
    QueryOrders,
    ReadLeverage,
    SetCountdown,
    SetLeverage,
)
from shared.clock import Clock
from shared.messages.contracts import LeverageRead, LeverageReadFailed, LeverageSet, LeverageUnknown
from shared.messages.venue import (
    AmendAcked,
    Amendment,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    CountdownRefused,
    CountdownSet,
    CountdownUnknown,
    FundingPayment,
    NewOrder,
    OrderAcked,
    OrderQueried,
    OrderQueryFailed,
    OrderRef,
    OrderRefused,
    OrdersListed,
    OrdersListFailed,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueExercise,
    VenueFill,
    VenueOrder,
    VenuePosition,
    VenueSnapshot,
    VenueSnapshotFailed,
)
from shared.venues.ports import AccountPush, KeyInfo, VenueError
from tests.unit.execution.no_rfqs import NoRfqs
from tests.unit.execution.play import CALL, fill, position, seen, venue_id

ORDER = NewOrder(client_order_id=77, symbol=CALL, side="buy", quantity=D(1), price=D(900))

OTHER = OrderRef(client_order_id=78, venue_order_id=2, symbol=CALL)
CHANGE = Amendment(order=OrderRef(client_order_id=77, venue_order_id=1, symbol=CALL), price=D(905))


class ScriptedGateway(NoRfqs):
    """A venue whose answers the test sets: the port as it is, with nothing behind it."""

    def __init__(self) -> None:
        self.orders: tuple[VenueOrder, ...] = ()
        self.history: tuple[VenueOrder, ...] = ()
        self.single: VenueOrder | None = None
        self.known_fills: tuple[VenueFill, ...] = ()
        self.placing = asyncio.Event()
        self.error: Exception | None = None
        self.funding: dict[str, VenueError | tuple[FundingPayment, ...]] = {}
        self.delivered: VenueError | tuple[VenueExercise, ...] = VenueError("unknown", "no such history")
        self.at_once = 0
        self.at_once_max = 0

    async def start(self) -> None: ...

    async def keep_warm(self) -> None: ...

    async def close(self) -> None: ...

    async def server_time_offset_ns(self) -> int:
        return 0

    async def key_info(self) -> KeyInfo:
        return KeyInfo(user_id="u", read_only=False)

    async def place(self, order: NewOrder) -> OrderAcked | OrderRefused | OutcomeUnknown:
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        await self.placing.wait()
        self.at_once -= 1
        self._raise()
        return OrderAcked(client_order_id=order.client_order_id, venue_order_id=1)

    async def amend(self, change: Amendment) -> AmendAcked | AmendRefused | AmendUnknown:
        await self.placing.wait()
        self._raise()
        return AmendAcked(client_order_id=change.order.client_order_id, venue_order_id=1)

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown:
        self._raise()
        return CancelAcked(client_order_id=order.client_order_id)

    async def place_batch(self, orders: Sequence[NewOrder]) -> tuple[OrderAcked | OrderRefused | OutcomeUnknown, ...]:
        return tuple([await self.place(order) for order in orders])

    async def amend_batch(self, changes: Sequence[Amendment]) -> tuple[AmendAcked | AmendRefused | AmendUnknown, ...]:
        return tuple([await self.amend(change) for change in changes])

    async def cancel_batch(
        self, orders: Sequence[OrderRef]
    ) -> tuple[CancelAcked | CancelRefused | OutcomeUnknown, ...]:
        return tuple([await self.cancel(order) for order in orders])

    async def set_countdown(
        self, underlying: str, countdown_ms: int
    ) -> CountdownSet | CountdownRefused | CountdownUnknown:
        if self.error is not None:
            raise self.error
        return CountdownSet(underlying=underlying, countdown_ms=countdown_ms)

    async def funding_payments(self, symbol: str, since_ns: int) -> tuple[FundingPayment, ...]:
        found = self.funding[symbol]
        if isinstance(found, VenueError):
            raise found
        return found

    async def order(self, client_order_id: int) -> VenueOrder | None:
        self._raise()
        return self.single

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        self._raise()
        return self.orders

    async def order_history(self, since_ns: int) -> tuple[VenueOrder, ...]:
        return self.history

    async def fills(self, since_ns: int) -> tuple[VenueFill, ...]:
        return self.known_fills

    async def positions(self) -> tuple[VenuePosition, ...]:
        return (position(CALL, "1"),)

    async def exercises(self, since_ns: int) -> tuple[VenueExercise, ...]:
        return ()

    async def deliveries(self, since_ns: int) -> tuple[VenueExercise, ...]:
        if isinstance(self.delivered, VenueError):
            raise self.delivered
        return self.delivered

    async def stream_account(self, deliver: Callable[[AccountPush | StreamUp | StreamDown], None]) -> None: ...

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error


class _Outcomes:
    def __init__(self, gateway: ScriptedGateway, place_deadline_s: float = 5.0) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.courier = Courier(gateway, Clock(), self.queue.put_nowait, place_deadline_s)

    async def next(self) -> Any:
        return await asyncio.wait_for(self.queue.get(), 60)


async def test_the_orders_of_several_legs_are_on_their_way_at_once() -> None:
    gateway = ScriptedGateway()
    outcomes = _Outcomes(gateway)
    outcomes.courier.carry(PlaceOrder(ORDER))
    outcomes.courier.carry(
        PlaceOrder(NewOrder(client_order_id=78, symbol=CALL, side="buy", quantity=D(1), price=D(1)))
    )
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gateway.placing.set()
    assert {(await outcomes.next()).client_order_id for _ in range(2)} == {77, 78}
    assert gateway.at_once_max == 2


async def test_a_call_is_logged_with_its_order_and_what_follows_from_its_outcome_is_not() -> None:
    during: list[dict[str, Any]] = []
    after: list[dict[str, Any]] = []

    class Listening(ScriptedGateway):
        async def place(self, order: NewOrder) -> Any:
            during.append(get_contextvars())
            return await super().place(order)

    gateway = Listening()
    gateway.placing.set()
    courier = Courier(gateway, Clock(), lambda _: after.append(get_contextvars()), 5.0)
    courier.carry(PlaceOrder(ORDER))
    await courier.drained(60.0)
    assert during == [{"client_order_id": 77, "track": "execution"}]
    assert after == [{}]


async def test_a_placement_that_does_not_come_back_is_unknown_and_not_sent_later() -> None:
    gateway = ScriptedGateway()
    outcomes = _Outcomes(gateway, place_deadline_s=0.02)
    outcomes.courier.carry(PlaceOrder(ORDER))
    assert isinstance(await outcomes.next(), OutcomeUnknown)
    gateway.placing.set()
    await outcomes.courier.drained(1.0)
    assert outcomes.queue.empty()


async def test_an_amendment_comes_back_and_one_that_does_not_is_unknown() -> None:
    gateway = ScriptedGateway()
    outcomes = _Outcomes(gateway, place_deadline_s=0.02)
    outcomes.courier.carry(AmendOrder(CHANGE))
    assert isinstance(await outcomes.next(), AmendUnknown)
    gateway.placing.set()
    outcomes.courier.carry(AmendOrder(CHANGE))
    assert await outcomes.next() == AmendAcked(client_order_id=77, venue_order_id=1)


BATCHES: tuple[tuple[PlaceBatch | AmendBatch | CancelBatch, type, type], ...] = (
    (PlaceBatch((ORDER, msgspec.structs.replace(ORDER, client_order_id=78))), OrderAcked, OutcomeUnknown),
    (AmendBatch((CHANGE, Amendment(order=OTHER, price=D(905)))), AmendAcked, AmendUnknown),
    (CancelBatch((CHANGE.order, OTHER)), CancelAcked, OutcomeUnknown),
)


@pytest.mark.parametrize(("effect", "good", "unknown"), BATCHES)
async def test_every_order_of_a_batch_comes_back_by_itself(effect: Any, good: type, unknown: type) -> None:
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    gateway = ScriptedGateway()
    gateway.placing.set()
    outcomes = _Outcomes(gateway)
    for expected, error in ((good, None), (unknown, RuntimeError("bug"))):
        gateway.error = error
        outcomes.courier.carry(effect)
        found = [await outcomes.next() for _ in range(2)]
        assert [(type(each), each.client_order_id) for each in found] == [(expected, 77), (expected, 78)]
    await outcomes.courier.drained(1.0)
    assert len(raised) == 1


async def test_a_batch_that_does_not_come_back_is_unknown_order_by_order() -> None:
    outcomes = _Outcomes(ScriptedGateway(), place_deadline_s=0.02)
    outcomes.courier.carry(BATCHES[0][0])
    found = [await outcomes.next() for _ in range(2)]
    assert [(type(each), each.client_order_id) for each in found] == [(OutcomeUnknown, 77), (OutcomeUnknown, 78)]


async def test_a_gateway_that_raises_leaves_no_effect_without_outcome() -> None:
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    gateway = ScriptedGateway()
    gateway.placing.set()
    gateway.error = RuntimeError("bug")
    outcomes = _Outcomes(gateway)
    found: list[type] = []
    for effect in (
        PlaceOrder(ORDER),
        AmendOrder(CHANGE),
        CancelOrder(OrderRef(client_order_id=77, venue_order_id=None, symbol=CALL)),
        QueryOrder(client_order_id=77, venue_order_id=None, symbol=CALL, since_ns=0),
        QueryOrders(orders=(OTHER,), since_ns=0),
        FetchSnapshot(trigger="start", since_ns=0),
        SetCountdown("BTCUSD", 5_000),
    ):
        outcomes.courier.carry(effect)
        found.append(type(await outcomes.next()))
    assert found == [
        OutcomeUnknown,
        AmendUnknown,
        OutcomeUnknown,
        OrderQueryFailed,
        OrdersListFailed,
        VenueSnapshotFailed,
        CountdownUnknown,
    ]
    await outcomes.courier.drained(1.0)
    assert len(raised) == 7


async def test_reads_that_fail_are_failed_answers() -> None:
    gateway = ScriptedGateway()
    gateway.error = VenueError("down", "connection refused")
    outcomes = _Outcomes(gateway)
    outcomes.courier.carry(QueryOrder(client_order_id=77, venue_order_id=None, symbol=CALL, since_ns=0))
    assert await outcomes.next() == OrderQueryFailed(client_order_id=77, reason="down: connection refused")
    outcomes.courier.carry(FetchSnapshot(trigger="start", since_ns=0))
    assert await outcomes.next() == VenueSnapshotFailed(trigger="start", reason="down: connection refused")


async def test_deliveries_are_read_when_asked_for_and_hold_up_nothing_else_where_they_cannot_be() -> None:
    gateway = ScriptedGateway()
    outcomes = _Outcomes(gateway)
    delivery = VenueExercise(
        symbol="BTCUSD-25SEP26",
        quantity=D(1),
        settlement_price=D(99),
        settlement_cash_flow_usd=D(99),
        fee_usd=D(0),
        venue_ns=1,
    )
    cases: list[tuple[bool, Any, tuple[VenueExercise, ...]]] = [
        (False, (delivery,), ()),
        (True, (delivery,), (delivery,)),
        (True, VenueError("unknown", "no such history"), ()),
    ]
    for asked, delivered, told in cases:
        gateway.delivered = delivered
        outcomes.courier.carry(FetchSnapshot(trigger="settlement", since_ns=0, deliveries=asked))
        snapshot = await outcomes.next()
        assert snapshot.exercises == told
        assert [each.symbol for each in snapshot.positions] == [CALL]


async def test_funding_that_cannot_be_read_is_left_to_the_next_comparison() -> None:
    gateway = ScriptedGateway()
    outcomes = _Outcomes(gateway)
    paid = FundingPayment(
        payment_id=5, symbol="ETHUSD", quantity=D(10), rate=D("0.0001"), amount_usd=D(-3), venue_ns=7
    )
    gateway.funding = {"BTCUSD": VenueError("unknown", "no such field"), "ETHUSD": (paid,)}
    outcomes.courier.carry(FetchSnapshot(trigger="start", since_ns=0, funding_of=("BTCUSD", "ETHUSD")))
    snapshot: VenueSnapshot = await outcomes.next()
    assert snapshot.funding == (paid,)


async def test_a_query_looks_in_all_three_places_before_it_says_absent() -> None:
    gateway = ScriptedGateway()
    outcomes = _Outcomes(gateway)
    query = QueryOrder(client_order_id=77, venue_order_id=None, symbol=CALL, since_ns=0)
    outcomes.courier.carry(query)
    absent: OrderQueried = await outcomes.next()
    assert absent.order is None
    found = seen(ORDER, "partial", "0.5")
    for place in ("single", "orders", "history"):
        gateway.single, gateway.orders, gateway.history = None, (), ()
        setattr(gateway, place, found if place == "single" else (found,))
        gateway.known_fills = (fill(ORDER, 1, "0.5"),)
        outcomes.courier.carry(query)
        answer: OrderQueried = await outcomes.next()
        assert answer.order == found
        assert [each.venue_trade_id for each in answer.fills] == [1]


async def test_an_order_that_is_queried_alone_is_looked_for_in_no_list() -> None:
    gateway = ScriptedGateway()
    gateway.orders = gateway.history = (seen(ORDER, "new"),)
    gateway.known_fills = (fill(ORDER, 1),)
    outcomes = _Outcomes(gateway)
    outcomes.courier.carry(QueryOrder(client_order_id=77, venue_order_id=None, symbol=CALL, since_ns=0, alone=True))
    answer: OrderQueried = await outcomes.next()
    assert (answer.order, answer.fills, answer.alone) == (None, (), True)


async def test_many_orders_are_looked_for_in_open_orders_and_what_is_not_there_in_the_history() -> None:
    gateway = ScriptedGateway()
    outcomes = _Outcomes(gateway)
    rests, ended, gone = (msgspec.structs.replace(ORDER, client_order_id=number) for number in (1, 2, 3))
    gateway.orders = (seen(rests, "new"),)
    refs = tuple(
        OrderRef(client_order_id=each.client_order_id, venue_order_id=venue_id(each), symbol=CALL)
        for each in (rests, ended, gone)
    )
    outcomes.courier.carry(QueryOrders(orders=refs[:1], since_ns=0))
    listed: OrdersListed = await outcomes.next()
    assert ([each.order for each in listed.found], listed.missing, listed.fills) == ([seen(rests, "new")], (), ())
    gateway.history = (seen(ended, "filled", "1"), seen(ORDER, "new"))
    nameless = msgspec.structs.replace(fill(gone, 8), client_order_id=None)
    gateway.known_fills = (fill(ended, 7), nameless, fill(ORDER, 9))
    outcomes.courier.carry(QueryOrders(orders=refs, since_ns=0))
    listed = await outcomes.next()
    assert [each.order for each in listed.found] == [seen(rests, "new"), seen(ended, "filled", "1")]
    assert [[one.venue_trade_id for one in each.fills] for each in listed.found] == [[], [7]]
    assert listed.missing == (3,)
    assert listed.fills == (nameless,)
    gateway.error = VenueError("down", "connection refused")
    outcomes.courier.carry(QueryOrders(orders=refs, since_ns=0))
    failed = OrdersListFailed(client_order_ids=(1, 2, 3), reason="down: connection refused")
    assert await outcomes.next() == failed


async def test_fills_of_an_order_are_told_by_either_id_and_others_are_left_out() -> None:
    gateway = ScriptedGateway()
    gateway.single = seen(ORDER, "filled", "1")
    other = NewOrder(client_order_id=99, symbol=CALL, side="buy", quantity=D(1), price=D(1))
    nameless = VenueFill(
        **{**{f: getattr(fill(ORDER, 2), f) for f in VenueFill.__struct_fields__}, "client_order_id": None}
    )
    assert nameless.venue_order_id == venue_id(ORDER)
    gateway.known_fills = (nameless, fill(other, 3))
    outcomes = _Outcomes(gateway)
    outcomes.courier.carry(QueryOrder(client_order_id=77, venue_order_id=None, symbol=CALL, since_ns=0))
    answer: OrderQueried = await outcomes.next()
    assert [each.venue_trade_id for each in answer.fills] == [2]


async def test_a_snapshot_holds_open_orders_and_history() -> None:
    gateway = ScriptedGateway()
    gateway.orders = (seen(ORDER, "new"),)
    gateway.history = (seen(ORDER, "filled", "1"),)
    outcomes = _Outcomes(gateway)
    outcomes.courier.carry(FetchSnapshot(trigger="regular", since_ns=5))
    snapshot: VenueSnapshot = await outcomes.next()
    assert (snapshot.trigger, snapshot.since_ns, len(snapshot.orders)) == ("regular", 5, 2)
    assert snapshot.positions == (position(CALL, "1"),)


class Leverages:
    """The leverage of one contract; None: the venue does not answer."""

    def __init__(self, leverage: int | None) -> None:
        self._leverage = leverage
        self.asked: list[tuple[str, int]] = []

    async def leverage(self, symbol: str) -> int:
        if self._leverage is None:
            raise VenueError("down", "away")
        return self._leverage

    async def set_leverage(self, symbol: str, leverage: int) -> LeverageSet:
        self.asked.append((symbol, leverage))
        if self._leverage is None:
            raise RuntimeError("a mistake of ours")
        return LeverageSet(symbol=symbol, leverage=leverage)


class Leveraged(ScriptedGateway):
    def __init__(self, leverage: int | None) -> None:
        super().__init__()
        self.futures = Leverages(leverage)


async def test_leverage_is_read_and_set_once_and_every_outcome_comes_back() -> None:
    for leverage, kinds in ((10, [LeverageRead, LeverageSet]), (None, [LeverageReadFailed, LeverageUnknown])):
        gateway = Leveraged(leverage)
        outcomes: list[Any] = []
        courier = Courier(gateway, Clock(), outcomes.append, 5.0)
        for effect in (ReadLeverage("BTCUSD"), SetLeverage("BTCUSD", 5)):
            courier.carry(effect)
            await courier.drained(1.0)
        assert [type(each) for each in outcomes] == kinds
        assert gateway.futures.asked == [("BTCUSD", 5)]
