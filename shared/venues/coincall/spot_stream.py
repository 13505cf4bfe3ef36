"""The spot sockets of Coincall, whose protocol is their own: topics named by text, books told by their changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Protocol

import msgspec

from shared.messages.contracts import SpotTicker
from shared.messages.venue import StreamDown, StreamUp, VenueFill, VenueOrder
from shared.venues.coincall import parse_on_demand, parse_spot, wire
from shared.venues.coincall.parse import NS_PER_MS, ParseError, decoded
from shared.venues.coincall.stream import DATA, Subscription, VenueStream
from shared.venues.ports import BookPush, LastTradesPush

STREAM = "spot"
ACCOUNT_STREAM = "spot account"


class Topic(IntEnum):
    """Our numbers of the topics, which have none at the venue."""

    OTHER = 0
    BOOK = 1
    TRADES = 2
    OVERVIEW = 3
    ORDERS = 4
    FILLS = 5


_DEPTH = 100
"""Levels a side: the venue sends those of 50 every 20 ms, those of 100 every 100 ms."""
_KINDS = {f"mbp.{_DEPTH}": Topic.BOOK, "trade.detail": Topic.TRADES, "overviewv2": Topic.OVERVIEW}

SpotPush = BookPush | LastTradesPush | SpotTicker | StreamUp | StreamDown
OnData = Callable[[int, msgspec.Raw, int | None], Sequence[str]]


class OpenSpotStream(Protocol):
    def __call__(
        self,
        name: str,
        private: bool,
        wanted: Callable[[], Sequence[Subscription]],
        on_data: OnData,
        on_state: Callable[[StreamUp | StreamDown], None],
        /,
    ) -> VenueStream: ...


class SpotSubscription(Subscription, frozen=True):
    """One topic, which is its `data_type` and the id of the request: so a refusal that tells the id names it."""

    def frame(self, *, undo: bool = False) -> str:
        return msgspec.json.encode({"unsub" if undo else "sub": self.data_type, "id": self.data_type}).decode()


ACCOUNT_TOPICS = (SpotSubscription("order"), SpotSubscription("trade"))


class _SpotFrame(msgspec.Struct, frozen=True):
    """Any text frame of the spot sockets; how a subscription is answered is not documented."""

    ch: str | None = None
    ts: wire.Millis | None = None
    status: str | None = None
    tick: msgspec.Raw = msgspec.Raw(b"null")
    id: Any = None
    subbed: str | None = None
    unsubbed: str | None = None
    c: int | None = None
    rc: int | None = None
    action: str | None = None
    dataType: str | None = None
    result: str | None = None
    ping: msgspec.Raw = msgspec.Raw(b"null")


def read_frame(data: bytes) -> wire.Frame:
    """A frame in the terms of the other sockets. Raises ParseError for what cannot be one."""
    frame = decoded(_SpotFrame, data)
    if frame.ch is not None:
        if frame.status not in (None, "ok"):
            raise ParseError(f"{frame.ch} with the status {frame.status!r}")
        return wire.Frame(dt=_number_of(frame.ch), c=DATA, ts=frame.ts, d=frame.tick, dataType=frame.ch)
    result = "success" if frame.status in (None, "ok") else frame.status
    if frame.subbed is not None:
        return wire.Frame(action="SUBSCRIBE", dataType=frame.subbed, result=result)
    if frame.unsubbed is not None:
        return wire.Frame(action="UNSUBSCRIBE", dataType=frame.unsubbed, result=result)
    if frame.action is None and frame.status is not None:
        topic = frame.id if isinstance(frame.id, str) else None
        return wire.Frame(action="SUBSCRIBE", dataType=topic, result=result)
    return wire.Frame(
        c=frame.c,
        rc=frame.rc,
        action=frame.action,
        dataType=frame.dataType,
        result=frame.result,
        ping=frame.ping,
    )


def _number_of(topic: str) -> Topic:
    if topic in ("order", "trade"):
        return Topic.ORDERS if topic == "order" else Topic.FILLS
    _, _, rest = topic.partition(".")
    _, _, kind = rest.partition(".")
    return _KINDS.get(kind, Topic.OTHER)


class BookTick(msgspec.Struct, frozen=True):
    s: str
    u: int
    type: str
    b: list[tuple[float, float]] = []
    a: list[tuple[float, float]] = []
    prevU: int | None = None


class BookGap(ParseError):
    """A change was missed: what is held is no longer the book."""


class SpotBook:
    """One book as a snapshot and the changes since then make it. Pure.

    A change names the number of the one before it. Directly after a snapshot that number may be one higher than the
    snapshot's, as in the venue's sample.
    """

    def __init__(self) -> None:
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}
        self._sequence: int | None = None
        self._is_snapshot = False

    @property
    def is_known(self) -> bool:
        return self._sequence is not None

    def forget(self) -> None:
        self._bids, self._asks, self._sequence = {}, {}, None

    def take(self, tick: BookTick, venue_ns: int) -> BookPush | None:
        """The book after this tick; None when it says nothing new, or nothing without the snapshot that is missing.

        Raises BookGap, after which the book is unknown until the next snapshot.
        """
        if tick.type == "snapshot":
            self._bids, self._asks = dict(tick.b), dict(tick.a)
        elif self._sequence is None or tick.u <= self._sequence:
            return None
        else:
            after = (self._sequence, self._sequence + 1) if self._is_snapshot else (self._sequence,)
            if tick.prevU not in after:
                held = self._sequence
                self.forget()
                raise BookGap(f"book of {tick.s}: a change follows on {tick.prevU}, held is {held}")
            for side, changes in ((self._bids, tick.b), (self._asks, tick.a)):
                for price, size in changes:
                    if size:
                        side[price] = size
                    else:
                        side.pop(price, None)
        self._sequence, self._is_snapshot = tick.u, tick.type == "snapshot"
        return self._told(tick.s, venue_ns)

    def _told(self, symbol: str, venue_ns: int) -> BookPush:
        bids = sorted(self._bids.items(), reverse=True)[:_DEPTH]
        asks = sorted(self._asks.items())[:_DEPTH]
        sides = [([price for price, _ in side], [size for _, size in side]) for side in (bids, asks)]
        try:
            return parse_on_demand.book(symbol, venue_ns, *sides)
        except ParseError as error:
            self.forget()
            raise BookGap(str(error)) from None


class SpotMarketStream:
    """Books, trades and tickers of pairs, on one connection that keeps itself subscribed.

    A book whose changes do not fit is subscribed again, which brings a snapshot; one that stays silent too, and
    after as long once more the connection is made anew, as for every watched stream.
    """

    def __init__(
        self, symbols: Sequence[str], deliver: Callable[[SpotPush], None], open_stream: OpenSpotStream
    ) -> None:
        self._deliver = deliver
        self._books = {symbol: SpotBook() for symbol in symbols}
        self._topics = {
            symbol: SpotSubscription(f"market.{symbol}.mbp.{_DEPTH}", stream=_stream_of(symbol), optional=True)
            for symbol in symbols
        }
        others = [
            SpotSubscription(f"market.{symbol}.{kind}", optional=True)
            for symbol in symbols
            for kind in ("trade.detail", "overviewv2")
        ]
        wanted = (*self._topics.values(), *others)
        self._stream = open_stream(STREAM, False, lambda: wanted, self._on_data, self._on_state)

    def renew(self, symbol: str) -> None:
        """Subscribe to a book again, which brings a snapshot."""
        topic = self._topics.get(symbol)
        if topic is not None:
            self._stream.renew(topic)

    async def run(self) -> None:
        """Until cancelled."""
        await self._stream.run()

    def _on_state(self, state: StreamUp | StreamDown) -> None:
        if isinstance(state, StreamDown):
            for book in self._books.values():
                book.forget()
        self._deliver(state)

    def _on_data(self, code: int, data: msgspec.Raw, ts_ms: int | None) -> Sequence[str]:
        match code:
            case Topic.BOOK:
                return self._on_book(decoded(BookTick, data), (ts_ms or 0) * NS_PER_MS)
            case Topic.TRADES:
                for trades in parse_spot.parse_trades_frame(data):
                    self._deliver(trades)
            case Topic.OVERVIEW:
                self._deliver(parse_spot.parse_ticker(data))
            case _:
                raise ParseError("a topic that was not asked for")
        return ()

    def _on_book(self, tick: BookTick, venue_ns: int) -> Sequence[str]:
        book = self._books.get(tick.s)
        if book is None:
            raise ParseError(f"book of {tick.s}, which was not asked for")
        try:
            push = book.take(tick, venue_ns)
        except BookGap:
            self.renew(tick.s)
            raise
        if push is None:
            return ()
        self._deliver(push)
        return (_stream_of(tick.s),)


def account_reader(deliver: Callable[[VenueOrder | VenueFill | StreamUp | StreamDown], None]) -> OnData:
    """What hands out the frames of the private socket."""

    def on_data(code: int, data: msgspec.Raw, _ts_ms: int | None) -> Sequence[str]:
        match code:
            case Topic.ORDERS:
                deliver(parse_spot.parse_order_frame(data))
            case Topic.FILLS:
                deliver(parse_spot.parse_trade_frame(data))
            case _:
                raise ParseError("a topic that was not asked for")
        return ()

    return on_data


def _stream_of(symbol: str) -> str:
    return f"book {symbol}"
