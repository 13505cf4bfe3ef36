"""What execution needs of a venue: the order gateway of `shared.venues.ports`, without what it does not use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shared.messages.venue import (
    CancelAcked,
    CancelRefused,
    NewOrder,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueExercise,
    VenueFill,
    VenueOrder,
    VenuePosition,
)
from shared.venues.ports import KeyInfo


class TradingGateway(Protocol):
    """One account at a venue. Reads raise VenueError; order calls return every outcome."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def server_time_offset_ns(self) -> int: ...

    async def key_info(self) -> KeyInfo: ...

    async def place(self, order: NewOrder) -> OrderAcked | OrderRefused | OutcomeUnknown: ...

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown: ...

    async def order(self, client_order_id: int) -> VenueOrder | None: ...

    async def open_orders(self) -> tuple[VenueOrder, ...]: ...

    async def order_history(self, since_ns: int) -> tuple[VenueOrder, ...]: ...

    async def fills(self, since_ns: int) -> tuple[VenueFill, ...]: ...

    async def positions(self) -> tuple[VenuePosition, ...]: ...

    async def exercises(self, since_ns: int) -> tuple[VenueExercise, ...]: ...

    async def stream_account(
        self, deliver: Callable[[VenueOrder | VenueFill | StreamUp | StreamDown], None]
    ) -> None: ...
