"""What the desk needs from a venue, in our words. Every outcome of an order call is in its return type.

Reads raise `VenueError`; order calls never raise for what the venue or the network did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from shared.messages.contracts import (
    ContractOrder,
    LeverageRefused,
    LeverageSet,
    LeverageUnknown,
    SpotSpec,
    SpotTicker,
)
from shared.messages.market import Instrument
from shared.messages.on_demand import Kline, KlinePeriod, MarketTrade
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
    RfqPush,
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
    VenueAccount,
    VenueExercise,
    VenueFill,
    VenueHolding,
    VenueOrder,
    VenuePosition,
    VenueTransfer,
)

AccountPush = VenueOrder | VenueFill | RfqPush
"""What the account's stream delivers, beside its own state."""
VenueErrorKind = Literal["rejected", "throttled", "auth", "unknown", "down"]


class VenueError(Exception):
    """A read failed. `kind` says what the caller may do: rejected (ask differently), throttled (later), auth (the
    operator must act), unknown and down (later, with back-off)."""

    def __init__(self, kind: VenueErrorKind, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.code = code


class KeyInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says about the key in use. `user_id` names the account."""

    user_id: str
    read_only: bool


class OptionQuoteRow(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a chain push; missing values are NaN."""

    symbol: str
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    mark: float
    mark_iv: float
    bid_iv: float
    ask_iv: float
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float
    open_interest: float
    volume: float
    forward: float


class ChainPush(msgspec.Struct, frozen=True, kw_only=True):
    """All options of one expiry, as pushed or polled."""

    underlying: str
    expiry_ns: int
    venue_ns: int
    rows: tuple[OptionQuoteRow, ...]


class IndexPush(msgspec.Struct, frozen=True, kw_only=True):
    """`perpetual_mark`: of the perpetual of that name, NaN where it was not told."""

    underlying: str
    price: float
    venue_ns: int
    perpetual_mark: float = math.nan


class BookPush(msgspec.Struct, frozen=True, kw_only=True):
    """The order book of one option or future as pushed or read, levels packed as in `OrderBook`
    (`shared.options.book`). `venue_ns` is 0 for one that was read: it carries no time."""

    symbol: str
    venue_ns: int
    bids: bytes
    asks: bytes


class LastTradesPush(msgspec.Struct, frozen=True, kw_only=True):
    """Trades of one option that have just happened, newest first."""

    symbol: str
    trades: tuple[MarketTrade, ...]


class BookStream(Protocol):
    """Books and trades of the options that are wanted, and only those. Without any there is no connection."""

    async def run(self) -> None:
        """Keep them subscribed until cancelled; reconnects by itself."""
        ...

    def want(self, symbols: Sequence[str]) -> None:
        """From now on exactly these."""
        ...

    def renew(self, symbol: str) -> None:
        """Subscribe to one of them again: it has been silent for too long."""
        ...


class VenueGateway(Protocol):
    """Common to all: start, stop, clock, key."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def server_time_offset_ns(self) -> int:
        """Venue clock minus ours, halfway through the round trip."""
        ...

    @property
    def clock_offset_ns(self) -> int:
        """The same as it was measured last, 0 before."""
        ...

    async def key_info(self) -> KeyInfo: ...


class MarketGateway(VenueGateway, Protocol):
    async def instruments(self, underlying: str) -> tuple[Instrument, ...]: ...

    async def chain(self, underlying: str, expiry_ns: int) -> ChainPush: ...

    async def index_price(self, underlying: str) -> IndexPush: ...

    async def order_book(self, symbol: str) -> BookPush: ...

    async def last_trades(self, symbol: str) -> tuple[MarketTrade, ...]:
        """Newest first, as many as the venue tells."""
        ...

    async def klines(self, symbol: str, period: KlinePeriod, start_ns: int, end_ns: int) -> tuple[Kline, ...]:
        """The bars that begin in that range, oldest first."""
        ...

    def book_stream(self, deliver: Callable[[BookPush | LastTradesPush | StreamUp | StreamDown], None]) -> BookStream:
        """Order books and trades by stream; its StreamUp and StreamDown are of the stream "books"."""
        ...

    async def stream_market(
        self,
        underlyings: Sequence[str],
        expiries_ns: Callable[[str], Sequence[int]],
        deliver: Callable[[ChainPush | IndexPush | BookPush | StreamUp | StreamDown], None],
        futures: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Keep the market streams subscribed until cancelled; reconnects by itself and subscribes anew.

        `expiries_ns(underlying)` is asked on each connect and once a minute, so that a new listing is picked up.
        `futures()`, asked as often: those whose order books are streamed too.
        """
        ...


class AccountGateway(VenueGateway, Protocol):
    async def account(self) -> VenueAccount: ...

    async def positions(self) -> tuple[VenuePosition, ...]: ...

    async def transfers(self, since_ns: int) -> tuple[VenueTransfer, ...]:
        """Completed deposits and withdrawals of those begun since then, all pages, oldest first."""
        ...


class RfqGateway(VenueGateway, Protocol):
    """Requests for quote, as taker. Calls that change something return every outcome; reads raise VenueError."""

    async def create_rfq(
        self, rfq_id: str, legs: Sequence[RfqLeg], *, closes: bool
    ) -> RfqCreated | RfqRefused | RfqUnknown:
        """Ask makers for quotes on `legs`, once. `closes`: let through where what opens is held back."""
        ...

    async def cancel_rfq(self, request_id: str) -> RfqCancelled | RfqCancelRefused | RfqCancelUnknown: ...

    async def accept_quote(
        self, request_id: str, quote_id: str, *, closes: bool
    ) -> QuoteAccepted | AcceptRefused | AcceptUnknown:
        """Execute a quote, once."""
        ...

    async def quotes_received(self, request_id: str) -> tuple[VenueQuote, ...]:
        """All quotes on a request, whatever their state."""
        ...

    async def rfqs(self, since_ns: int) -> tuple[VenueRfq, ...]:
        """This account's requests as taker, created since then. VenueError of kind "rejected" or "auth": this
        account may not read the list."""
        ...

    async def block_trades(self, since_ns: int) -> tuple[BlockTrade, ...]: ...


class OrderGateway(AccountGateway, Protocol):
    async def place(self, order: NewOrder) -> OrderAcked | OrderRefused | OutcomeUnknown: ...

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown: ...

    async def cancel_all(self, underlying: str) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Cancel every open order of the account in one underlying (client_order_id 0 in the answer)."""
        ...

    async def place_batch(self, orders: Sequence[NewOrder]) -> tuple[OrderAcked | OrderRefused | OutcomeUnknown, ...]:
        """Send each order once, in the venue's batches where the account may. Outcomes in the order of `orders`. When
        the margin does not suffice for one, what has not left yet and does not only reduce is not sent."""
        ...

    async def amend_batch(self, changes: Sequence[Amendment]) -> tuple[AmendAcked | AmendRefused | AmendUnknown, ...]:
        """Send each amendment once; as `place_batch`."""
        ...

    async def cancel_batch(
        self, orders: Sequence[OrderRef]
    ) -> tuple[CancelAcked | CancelRefused | OutcomeUnknown, ...]: ...

    async def amend(self, change: Amendment) -> AmendAcked | AmendRefused | AmendUnknown: ...

    async def set_countdown(
        self, underlying: str, countdown_ms: int
    ) -> CountdownSet | CountdownRefused | CountdownUnknown:
        """Have the venue cancel every order of the underlying after so long, counted anew from now; 0: never."""
        ...

    async def order(self, client_order_id: int) -> VenueOrder | None:
        """Query one order; None when the venue does not know it. Raises VenueError."""
        ...

    async def open_orders(self) -> tuple[VenueOrder, ...]: ...

    async def order_history(self, since_ns: int) -> tuple[VenueOrder, ...]:
        """Orders created since then, all pages, in windows the venue allows."""
        ...

    async def fills(self, since_ns: int) -> tuple[VenueFill, ...]: ...

    async def exercises(self, since_ns: int) -> tuple[VenueExercise, ...]: ...

    async def deliveries(self, since_ns: int) -> tuple[VenueExercise, ...]:
        """Settlements of dated futures since then, all pages, oldest first, each as if its coins were paid at the
        delivery price."""
        ...

    async def funding_payments(self, symbol: str, since_ns: int) -> tuple[FundingPayment, ...]:
        """Funding of one perpetual since then, all pages, oldest first."""
        ...

    async def stream_account(self, deliver: Callable[[AccountPush | StreamUp | StreamDown], None]) -> None:
        """Keep the private streams of orders, trades and requests for quote subscribed until cancelled; reconnects by
        itself. A venue that offers no requests for quote to this account streams the others all the same.

        `StreamUp` is delivered after every (re)subscription: the caller then reconciles.
        """
        ...


class SpotGateway(Protocol):
    """Spot of one account, by pair."""

    async def specifications(self) -> tuple[SpotSpec, ...]: ...

    async def ticker(self, symbol: str) -> SpotTicker: ...

    async def order_book(self, symbol: str) -> BookPush: ...

    async def place(self, order: ContractOrder) -> OrderAcked | OrderRefused | OutcomeUnknown: ...

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown: ...

    async def order(self, client_order_id: int) -> VenueOrder | None: ...

    async def open_orders(self) -> tuple[VenueOrder, ...]: ...

    async def order_history(self, symbol: str, since_ns: int) -> tuple[VenueOrder, ...]: ...

    async def fills(self, symbol: str, since_ns: int) -> tuple[VenueFill, ...]: ...


class LeverageGateway(Protocol):
    """The leverage of the futures of one account."""

    async def leverage(self, symbol: str) -> int: ...

    async def set_leverage(self, symbol: str, leverage: int) -> LeverageSet | LeverageRefused | LeverageUnknown: ...


class CashGateway(Protocol):
    """What an account holds of each asset, and the spot that turns one into another."""

    @property
    def spot(self) -> SpotGateway: ...

    async def holdings(self, *needed: str) -> dict[str, VenueHolding]:
        """The assets that the account has or had, USDT always among them. Raises VenueError, also when one that is
        `needed` is there and cannot be read."""
        ...


class TradingGateway(OrderGateway, RfqGateway, CashGateway, Protocol):
    """One account with everything that is traded in it."""

    @property
    def futures(self) -> LeverageGateway: ...

    async def keep_warm(self) -> None:
        """Keep connections open that orders can leave on at once, until cancelled."""
        ...
