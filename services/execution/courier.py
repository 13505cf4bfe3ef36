"""Carries execution's effects to the venue and every outcome back. It decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from services.execution.cash_courier import CashCourier
from services.execution.cash_effects import FindSale, FindStrays, ReadCash, SellSpot, WithdrawSale
from services.execution.effects import (
    AmendBatch,
    AmendOrder,
    CancelBatch,
    CancelOrder,
    Effect,
    FetchSnapshot,
    PlaceBatch,
    PlaceOrder,
    QueryOrder,
    QueryOrders,
    ReadLeverage,
    SetCountdown,
    SetLeverage,
)
from services.execution.rfq_courier import RfqCourier
from shared.clock import Clock
from shared.logging import bound_contextvars, get_logger
from shared.messages.contracts import LeverageRead, LeverageReadFailed, LeverageUnknown
from shared.messages.venue import (
    AmendUnknown,
    CountdownUnknown,
    FundingPayment,
    OrderQueried,
    OrderQueryFailed,
    OrderRef,
    OrdersListed,
    OrdersListFailed,
    OutcomeUnknown,
    VenueExercise,
    VenueFill,
    VenueHolding,
    VenueOrder,
    VenueSnapshot,
    VenueSnapshotFailed,
)
from shared.options.instruments import base_of
from shared.tasks import spawn
from shared.venues.ports import TradingGateway, VenueError

log = get_logger("execution.courier")

Unknown = type[OutcomeUnknown] | type[AmendUnknown]


class Courier:
    """Each effect is one task, so that the orders of several legs are on their way at once.

    `put` takes the outcomes. A placement or an amendment that has not come back after `place_deadline_s` is given up,
    so that nothing can be sent later than the core counts with.
    """

    def __init__(
        self, gateway: TradingGateway, clock: Clock, put: Callable[[Any], None], place_deadline_s: float
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._put = put
        self._place_deadline_s = place_deadline_s
        self._rfqs = RfqCourier(gateway, clock, place_deadline_s)
        self._cash = CashCourier(gateway, clock)
        self._tasks: set[asyncio.Task[Any]] = set()

    def carry(self, effect: Effect) -> None:
        """Carry out one effect in the background."""
        match effect:
            case PlaceOrder(order=order):
                self._send(self._gateway.place(order), "place", (order.client_order_id,), OutcomeUnknown)
            case AmendOrder(change=change):
                self._send(self._gateway.amend(change), "amend", (change.order.client_order_id,), AmendUnknown)
            case PlaceBatch(orders=orders):
                numbers = tuple(order.client_order_id for order in orders)
                self._send(self._gateway.place_batch(orders), "place-batch", numbers, OutcomeUnknown)
            case AmendBatch(changes=changes):
                numbers = tuple(change.order.client_order_id for change in changes)
                self._send(self._gateway.amend_batch(changes), "amend-batch", numbers, AmendUnknown)
            case CancelOrder(order=ref):
                unknown = OutcomeUnknown(client_order_id=ref.client_order_id, reason="the cancel failed here")
                number = ref.client_order_id
                self._spawn(self._gateway.cancel(ref), f"cancel-{number}", unknown, (number,))
            case CancelBatch(orders=refs):
                each_unknown = _each((ref.client_order_id for ref in refs), OutcomeUnknown, "the cancel failed here")
                self._spawn(self._gateway.cancel_batch(refs), "cancel-batch", each_unknown)
            case SetCountdown(underlying=underlying, countdown_ms=countdown_ms):
                not_set = CountdownUnknown(underlying=underlying, reason="the call failed here")
                work = self._gateway.set_countdown(underlying, countdown_ms)
                self._spawn(work, f"countdown-{underlying}", not_set)
            case ReadLeverage(symbol=symbol):
                unread = LeverageReadFailed(symbol=symbol, reason="the read failed here")
                self._spawn(self._leverage(symbol), f"read-leverage-{symbol}", unread)
            case SetLeverage(symbol=symbol, leverage=leverage):
                setting = self._gateway.futures.set_leverage(symbol, leverage)
                not_known = LeverageUnknown(symbol=symbol, reason="the call failed here")
                self._spawn(setting, f"set-leverage-{symbol}", not_known)
            case QueryOrder(client_order_id=number):
                failed = OrderQueryFailed(client_order_id=number, reason="the query failed here")
                self._spawn(self._query(effect), f"query-{number}", failed, (number,))
            case QueryOrders(orders=refs):
                numbers = tuple(ref.client_order_id for ref in refs)
                not_listed = OrdersListFailed(client_order_ids=numbers, reason="the query failed here")
                self._spawn(self._list(effect), "query-many", not_listed)
            case FetchSnapshot(trigger=trigger):
                fetch_failed = VenueSnapshotFailed(trigger=trigger, reason="the reads failed here")
                self._spawn(self._snapshot(effect), f"snapshot-{trigger}", fetch_failed)
            case SellSpot(order=sale):
                self._send(self._gateway.spot.place(sale), "sell-spot", (sale.client_order_id,), OutcomeUnknown)
            case ReadCash() | WithdrawSale() | FindSale() | FindStrays():
                self._spawn(*self._cash.errand(effect))
            case _:
                self._spawn(*self._rfqs.errand(effect))

    async def drained(self, timeout_s: float) -> None:
        """Wait for what is on its way, at most so long: an outcome that is known now need not be found later."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_s)
        for task in self._tasks:
            task.cancel()

    def _send(self, call: Coroutine[Any, Any, Any], what: str, numbers: tuple[int, ...], unknown: Unknown) -> None:
        """What may open or change an order: within the deadline, or unknown for each order of the call."""

        async def in_time() -> Any:
            try:
                async with asyncio.timeout(self._place_deadline_s):
                    return await call
            except TimeoutError:
                return _each(numbers, unknown, f"no answer within {self._place_deadline_s:g} s")

        name = f"{what}-{numbers[0] if numbers else 0}"
        self._spawn(in_time(), name, _each(numbers, unknown, "the call failed here"), numbers)

    def _spawn(
        self, work: Coroutine[Any, Any, Any], name: str, if_failed: Any, numbers: tuple[int, ...] = ()
    ) -> None:
        """`work` returns one outcome, or a tuple of them. What is logged of a call about one order has its id, and
        what follows from its outcome has not."""
        about = {"client_order_id": numbers[0], "track": "execution"} if len(numbers) == 1 else {}

        async def carried() -> None:
            try:
                with bound_contextvars(**about):
                    outcome = await work
            except Exception:
                self._put_each(if_failed)
                raise
            self._put_each(outcome)

        task = spawn(carried(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _put_each(self, outcome: Any) -> None:
        for each in outcome if isinstance(outcome, tuple) else (outcome,):
            self._put(each)

    async def _leverage(self, symbol: str) -> LeverageRead | LeverageReadFailed:
        asked_ns = self._clock.now_ns()
        try:
            leverage = await self._gateway.futures.leverage(symbol)
        except VenueError as error:
            return LeverageReadFailed(symbol=symbol, reason=f"{error.kind}: {error}")
        return LeverageRead(symbol=symbol, leverage=leverage, asked_ns=asked_ns)

    async def _query(self, query: QueryOrder) -> OrderQueried | OrderQueryFailed:
        """One order by single query; when that lacks it, by open orders and history, and its fills."""
        asked_ns = self._clock.now_ns()
        number = query.client_order_id
        try:
            order = await self._gateway.order(number)
            if order is None and not query.alone:
                order = _of(number, await self._gateway.open_orders())
            if order is None and not query.alone:
                order = _of(number, await self._gateway.order_history(query.since_ns))
            wants_fills = not query.alone if order is None else order.filled_quantity > 0
            fills = await self._gateway.fills(query.since_ns) if wants_fills else ()
        except VenueError as error:
            return OrderQueryFailed(client_order_id=number, reason=f"{error.kind}: {error}")
        venue_order_id = query.venue_order_id if order is None else order.venue_order_id
        return OrderQueried(
            client_order_id=number,
            asked_ns=asked_ns,
            order=order,
            fills=_fills_of(number, venue_order_id, fills),
            alone=query.alone,
        )

    async def _list(self, query: QueryOrders) -> OrdersListed | OrdersListFailed:
        """Many orders by the lists; those after the first are read only when it does not say all."""
        asked_ns = self._clock.now_ns()
        wanted = {ref.client_order_id: ref for ref in query.orders}
        fills: tuple[VenueFill, ...] = ()
        try:
            orders = _by_number(wanted, await self._gateway.open_orders())
            if len(orders) < len(wanted):
                orders |= _by_number(wanted, await self._gateway.order_history(query.since_ns))
            if len(orders) < len(wanted) or any(order.filled_quantity for order in orders.values()):
                fills = await self._gateway.fills(query.since_ns)
        except VenueError as error:
            return OrdersListFailed(client_order_ids=tuple(wanted), reason=f"{error.kind}: {error}")
        missing = tuple(number for number in wanted if number not in orders)
        return OrdersListed(
            asked_ns=asked_ns,
            found=tuple(
                OrderQueried(
                    client_order_id=number,
                    asked_ns=asked_ns,
                    order=order,
                    fills=_fills_of(number, order.venue_order_id, fills),
                )
                for number, order in orders.items()
            ),
            missing=missing,
            fills=tuple(
                fill for number in missing for fill in _fills_of(number, wanted[number].venue_order_id, fills)
            ),
        )

    async def _snapshot(self, fetch: FetchSnapshot) -> VenueSnapshot | VenueSnapshotFailed:
        """Orders before fills before positions: what an order shows as filled is then in the fills, as a rule."""
        asked_ns = self._clock.now_ns()
        try:
            open_orders = await self._gateway.open_orders()
            history = await self._gateway.order_history(fetch.since_ns)
            fills = await self._gateway.fills(fetch.since_ns)
            exercises = await self._gateway.exercises(fetch.since_ns)
            positions = await self._gateway.positions()
            coins = await self._coins(fetch.coins_of)
        except VenueError as error:
            return VenueSnapshotFailed(trigger=fetch.trigger, reason=f"{error.kind}: {error}")
        return VenueSnapshot(
            trigger=fetch.trigger,
            asked_ns=asked_ns,
            since_ns=fetch.since_ns,
            orders=open_orders + history,
            fills=fills,
            positions=positions,
            exercises=exercises + await self._deliveries(fetch),
            funding=await self._funding(fetch),
            coins=coins,
        )

    async def _coins(self, pairs: Sequence[str]) -> dict[str, Decimal]:
        """What the account holds of each pair's coin, those without any too."""
        if not pairs:
            return {}
        held = await self._gateway.holdings(*map(base_of, pairs))
        none = VenueHolding(cash=Decimal(0), free=Decimal(0))
        return {pair: held.get(base_of(pair), none).cash for pair in pairs}

    async def _deliveries(self, fetch: FetchSnapshot) -> tuple[VenueExercise, ...]:
        """None where they cannot be read: the trade waits, alarmed after a while, and others go on."""
        if not fetch.deliveries:
            return ()
        try:
            return await self._gateway.deliveries(fetch.since_ns)
        except VenueError as error:
            log.warning("deliveries cannot be read", kind=error.kind, reason=str(error))
            return ()

    async def _funding(self, fetch: FetchSnapshot) -> tuple[FundingPayment, ...]:
        """What can be read of it: P&L may wait for the next comparison, and closing must not wait for P&L."""
        found: list[FundingPayment] = []
        for symbol in fetch.funding_of:
            try:
                found += await self._gateway.funding_payments(symbol, fetch.funding_since_ns)
            except VenueError as error:
                log.warning("funding cannot be read", symbol=symbol, kind=error.kind, reason=str(error))
        return tuple(found)


def _each(numbers: Iterable[int], unknown: Unknown, reason: str) -> tuple[OutcomeUnknown | AmendUnknown, ...]:
    return tuple(unknown(client_order_id=number, reason=reason) for number in numbers)


def _fills_of(
    client_order_id: int, venue_order_id: int | None, fills: tuple[VenueFill, ...]
) -> tuple[VenueFill, ...]:
    return tuple(
        fill
        for fill in fills
        if fill.client_order_id == client_order_id
        or (venue_order_id is not None and fill.venue_order_id == venue_order_id)
    )


def _by_number(wanted: Mapping[int, OrderRef], orders: tuple[VenueOrder, ...]) -> dict[int, VenueOrder]:
    return {
        order.client_order_id: order
        for order in orders
        if order.client_order_id is not None and order.client_order_id in wanted
    }


def _of(client_order_id: int, orders: tuple[VenueOrder, ...]) -> VenueOrder | None:
    return next((order for order in orders if order.client_order_id == client_order_id), None)
