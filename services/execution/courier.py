"""Carries execution's effects to the venue and every outcome back. It decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from services.execution.effects import AmendOrder, CancelOrder, Effect, FetchSnapshot, PlaceOrder, QueryOrder
from services.execution.ports import TradingGateway
from services.execution.rfq_courier import RfqCourier
from shared.clock import Clock
from shared.messages.venue import (
    Amendment,
    AmendUnknown,
    NewOrder,
    OrderQueried,
    OrderQueryFailed,
    OutcomeUnknown,
    VenueOrder,
    VenueSnapshot,
    VenueSnapshotFailed,
)
from shared.tasks import spawn
from shared.venues.ports import VenueError


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
        self._tasks: set[asyncio.Task[Any]] = set()

    def carry(self, effect: Effect) -> None:
        """Carry out one effect in the background."""
        match effect:
            case PlaceOrder(order=order):
                unknown = OutcomeUnknown(client_order_id=order.client_order_id, reason="the placement failed here")
                self._spawn(self._place(order), f"place-{order.client_order_id}", unknown)
            case AmendOrder(change=change):
                number = change.order.client_order_id
                not_told = AmendUnknown(client_order_id=number, reason="the amendment failed here")
                self._spawn(self._amend(change), f"amend-{number}", not_told)
            case CancelOrder(order=ref):
                unknown = OutcomeUnknown(client_order_id=ref.client_order_id, reason="the cancel failed here")
                self._spawn(self._gateway.cancel(ref), f"cancel-{ref.client_order_id}", unknown)
            case QueryOrder(client_order_id=number):
                failed = OrderQueryFailed(client_order_id=number, reason="the query failed here")
                self._spawn(self._query(effect), f"query-{number}", failed)
            case FetchSnapshot(trigger=trigger):
                fetch_failed = VenueSnapshotFailed(trigger=trigger, reason="the reads failed here")
                self._spawn(self._snapshot(effect), f"snapshot-{trigger}", fetch_failed)
            case _:
                self._spawn(*self._rfqs.errand(effect))

    async def drained(self, timeout_s: float) -> None:
        """Wait for what is on its way, at most so long: an outcome that is known now need not be found later."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=timeout_s)
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str, if_failed: Any) -> None:
        async def carried() -> None:
            try:
                outcome = await work
            except Exception:
                self._put(if_failed)
                raise
            self._put(outcome)

        task = spawn(carried(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _place(self, order: NewOrder) -> Any:
        try:
            async with asyncio.timeout(self._place_deadline_s):
                return await self._gateway.place(order)
        except TimeoutError:
            return OutcomeUnknown(
                client_order_id=order.client_order_id, reason=f"no answer within {self._place_deadline_s:g} s"
            )

    async def _amend(self, change: Amendment) -> Any:
        try:
            async with asyncio.timeout(self._place_deadline_s):
                return await self._gateway.amend(change)
        except TimeoutError:
            return AmendUnknown(
                client_order_id=change.order.client_order_id, reason=f"no answer within {self._place_deadline_s:g} s"
            )

    async def _query(self, query: QueryOrder) -> OrderQueried | OrderQueryFailed:
        """One order by single query; when that lacks it, by open orders and history, and its fills."""
        asked_ns = self._clock.now_ns()
        number = query.client_order_id
        try:
            order = await self._gateway.order(number)
            if order is None:
                order = _of(number, await self._gateway.open_orders())
            if order is None:
                order = _of(number, await self._gateway.order_history(query.since_ns))
            fills = await self._gateway.fills(query.since_ns) if order is None or order.filled_quantity > 0 else ()
        except VenueError as error:
            return OrderQueryFailed(client_order_id=number, reason=f"{error.kind}: {error}")
        venue_order_id = query.venue_order_id if order is None else order.venue_order_id
        return OrderQueried(
            client_order_id=number,
            asked_ns=asked_ns,
            order=order,
            fills=tuple(
                fill
                for fill in fills
                if fill.client_order_id == number
                or (venue_order_id is not None and fill.venue_order_id == venue_order_id)
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
        except VenueError as error:
            return VenueSnapshotFailed(trigger=fetch.trigger, reason=f"{error.kind}: {error}")
        return VenueSnapshot(
            trigger=fetch.trigger,
            asked_ns=asked_ns,
            since_ns=fetch.since_ns,
            orders=open_orders + history,
            fills=fills,
            positions=positions,
            exercises=exercises,
        )


def _of(client_order_id: int, orders: tuple[VenueOrder, ...]) -> VenueOrder | None:
    return next((order for order in orders if order.client_order_id == client_order_id), None)
