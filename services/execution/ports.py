"""What execution needs of a venue: the order gateway of `shared.venues.ports`, without what it does not use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from shared.messages.contracts import (
    ContractOrder,
    LeverageRefused,
    LeverageSet,
    LeverageUnknown,
    SpotSpec,
    SpotTicker,
)
from shared.messages.rfq import (
    AcceptRefused,
    AcceptUnknown,
    BlockTrade,
    QuoteAccepted,
    RfqCancelled,
    RfqCancelRefused,
    RfqCancelUnknown,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
)
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
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueExercise,
    VenueFill,
    VenueHolding,
    VenueOrder,
    VenuePosition,
)
from shared.venues.ports import AccountPush, BookPush, KeyInfo


class RfqDesk(Protocol):
    """Requests for quote of one account, as taker. Reads raise VenueError; the other calls return every outcome."""

    async def create_rfq(
        self, rfq_id: str, legs: Sequence[RfqLeg], *, closes: bool
    ) -> RfqCreated | RfqRefused | RfqUnknown: ...

    async def cancel_rfq(self, request_id: str) -> RfqCancelled | RfqCancelRefused | RfqCancelUnknown: ...

    async def accept_quote(
        self, request_id: str, quote_id: str, *, closes: bool
    ) -> QuoteAccepted | AcceptRefused | AcceptUnknown: ...

    async def quotes_received(self, request_id: str) -> tuple[VenueQuote, ...]: ...

    async def rfqs(self, since_ns: int) -> tuple[VenueRfq, ...]: ...

    async def block_trades(self, since_ns: int) -> tuple[BlockTrade, ...]: ...


class SpotDesk(Protocol):
    """Spot of one account. Reads raise VenueError; order calls return every outcome."""

    async def specifications(self) -> tuple[SpotSpec, ...]: ...

    async def ticker(self, symbol: str) -> SpotTicker: ...

    async def order_book(self, symbol: str) -> BookPush: ...

    async def place(self, order: ContractOrder) -> OrderAcked | OrderRefused | OutcomeUnknown: ...

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown: ...

    async def order(self, client_order_id: int) -> VenueOrder | None: ...

    async def open_orders(self) -> tuple[VenueOrder, ...]: ...

    async def order_history(self, symbol: str, since_ns: int) -> tuple[VenueOrder, ...]: ...

    async def fills(self, symbol: str, since_ns: int) -> tuple[VenueFill, ...]: ...


class LeverageDesk(Protocol):
    """The leverage of contracts of one account. `leverage` raises VenueError, the other returns every outcome."""

    async def leverage(self, symbol: str) -> int: ...

    async def set_leverage(self, symbol: str, leverage: int) -> LeverageSet | LeverageRefused | LeverageUnknown: ...


class CashGateway(Protocol):
    """What the cash rule needs of a venue."""

    @property
    def spot(self) -> SpotDesk: ...

    async def holdings(self, *needed: str) -> dict[str, VenueHolding]:
        """The assets that the account has or had, USDT always among them. Raises VenueError, also when one that is
        `needed` is there and cannot be read."""
        ...


class TradingGateway(RfqDesk, CashGateway, Protocol):
    """One account at a venue. Reads raise VenueError; order calls return every outcome."""

    @property
    def futures(self) -> LeverageDesk: ...

    async def start(self) -> None: ...

    async def keep_warm(self) -> None:
        """Keep connections open that orders can leave on at once, until cancelled."""
        ...

    async def close(self) -> None: ...

    async def server_time_offset_ns(self) -> int: ...

    async def key_info(self) -> KeyInfo: ...

    async def place(self, order: NewOrder) -> OrderAcked | OrderRefused | OutcomeUnknown: ...

    async def amend(self, change: Amendment) -> AmendAcked | AmendRefused | AmendUnknown: ...

    async def place_batch(
        self, orders: Sequence[NewOrder]
    ) -> tuple[OrderAcked | OrderRefused | OutcomeUnknown, ...]: ...

    async def amend_batch(
        self, changes: Sequence[Amendment]
    ) -> tuple[AmendAcked | AmendRefused | AmendUnknown, ...]: ...

    async def cancel_batch(
        self, orders: Sequence[OrderRef]
    ) -> tuple[CancelAcked | CancelRefused | OutcomeUnknown, ...]: ...

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown: ...

    async def set_countdown(
        self, underlying: str, countdown_ms: int
    ) -> CountdownSet | CountdownRefused | CountdownUnknown: ...

    async def order(self, client_order_id: int) -> VenueOrder | None: ...

    async def open_orders(self) -> tuple[VenueOrder, ...]: ...

    async def order_history(self, since_ns: int) -> tuple[VenueOrder, ...]: ...

    async def fills(self, since_ns: int) -> tuple[VenueFill, ...]: ...

    async def positions(self) -> tuple[VenuePosition, ...]: ...

    async def exercises(self, since_ns: int) -> tuple[VenueExercise, ...]: ...

    async def deliveries(self, since_ns: int) -> tuple[VenueExercise, ...]: ...

    async def funding_payments(self, symbol: str, since_ns: int) -> tuple[FundingPayment, ...]: ...

    async def stream_account(self, deliver: Callable[[AccountPush | StreamUp | StreamDown], None]) -> None: ...


class RfqGateway(Protocol):
    """Requests for quote as the taker. Reads raise VenueError (kind "rejected" where the account cannot read them at
    all); the other calls return every outcome. Pushes come with the account's stream."""

    async def create_rfq(self, rfq_id: str, legs: tuple[RfqLeg, ...]) -> RfqCreated | RfqRefused | RfqUnknown: ...

    async def cancel_rfq(self, request_id: str) -> RfqCancelled | RfqCancelRefused | RfqCancelUnknown: ...

    async def quotes(self, request_id: str) -> tuple[VenueQuote, ...]: ...

    async def accept_quote(self, request_id: str, quote_id: str) -> QuoteAccepted | AcceptRefused | AcceptUnknown: ...

    async def rfqs(self, since_ns: int) -> tuple[VenueRfq, ...]: ...

    async def block_trades(self, since_ns: int) -> tuple[BlockTrade, ...]: ...
