"""Order books on demand: who wants which, what was received when, and which stream is frozen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from services.marketdata.columns import is_overtaken
from services.marketdata.config import MarketdataConfig
from services.marketdata.effects import (
    BookRead,
    BookReadFailed,
    FollowBooks,
    LastTradesRead,
    LastTradesReadFailed,
    ReadBook,
    ReadLastTrades,
    RenewBook,
)
from shared.messages.on_demand import BookRefused, BooksLeased, LastTrades, LeaseBooks, MarketTrade, OrderBook
from shared.messages.steps import Publish, RaiseAlert, Reply, Step
from shared.messages.topics import book_topic, last_trades_topic
from shared.messages.trades import Refusal
from shared.messages.venue import StreamDown, StreamUp
from shared.options.instruments import underlying_of
from shared.venues.ports import BookPush, LastTradesPush

_MS = 1_000_000
_GRACE_NS = 1_000 * _MS
"""How long a stream may lag behind what REST has just told."""

_TRADES_KEPT = 50
_TRADES_RETRY_NS = 10_000 * _MS
_CONSUMERS_MAX = 100
_CONSUMER_CHARACTERS_MAX = 100
_SYMBOLS_MAX = 200
_LEASE_MS = range(1_000, 60_001)
NOT_YET = "it has not been received yet"

Unlisted = Callable[[str], "BookRefused | None"]
"""Why a symbol's book cannot be kept; None when it can."""


class _Book:
    def __init__(self, symbol: str, underlying: str) -> None:
        self.symbol = symbol
        self.underlying = underlying
        self.until_ns: dict[str, int] = {}
        self.held = OrderBook(
            symbol=symbol,
            underlying=underlying,
            venue_ns=0,
            received_ns=0,
            source="poll",
            missing=NOT_YET,
            bids=b"",
            asks=b"",
        )
        self.streamed_ns = 0
        self.followed_ns = 0
        self.is_reading = False
        self.check_due_ns = 0
        self.differed = False
        self.is_frozen = False
        self.trades: tuple[MarketTrade, ...] = ()
        self.trades_due_ns: int | None = None


class Books:
    """The books that somebody leases. A push counts as received when it is handled."""

    def __init__(self, config: MarketdataConfig) -> None:
        self._silence_ns = config.book_silence_ms * _MS
        self._age_max_ns = config.book_age_max_ms * _MS
        self._books_max = config.books_max
        self._books: dict[str, _Book] = {}
        self._is_up = False

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._books)

    def symbols_of(self, underlying: str) -> tuple[str, ...]:
        return tuple(book.symbol for book in self._books.values() if book.underlying == underlying)

    def frozen_of(self, underlying: str) -> tuple[str, ...]:
        return tuple(book.symbol for book in self._books.values() if book.underlying == underlying and book.is_frozen)

    def held(self, symbol: str) -> OrderBook | None:
        """The book as it is known now; None when it is not known."""
        book = self._books.get(symbol)
        return None if book is None or book.held.missing else book.held

    def oldest_ns(self, underlying: str) -> int | None:
        """When the book that was received longest ago was received, 0 for never; None without books."""
        return min(
            (book.held.received_ns for book in self._books.values() if book.underlying == underlying), default=None
        )

    def next_deadline_ns(self) -> int | None:
        due = (
            due_ns
            for book in self._books.values()
            for due_ns in (book.check_due_ns, book.trades_due_ns, *book.until_ns.values())
            if due_ns is not None
        )
        return min(due, default=None)

    def lease(self, step: Step, request_id: str, ask: LeaseBooks, unlisted: Unlisted, now_ns: int) -> None:
        """Set what a consumer wants, and answer with what is held of it."""
        refusal = self._refusal(ask)
        if refusal is not None:
            step.effects.append(Reply(request_id, refusal))
            return
        until_ns = now_ns + ask.lease_ms * _MS
        before = self.symbols
        refused: list[BookRefused] = []
        for book in self._books.values():
            if book.symbol not in ask.symbols:
                book.until_ns.pop(ask.consumer, None)
        self._forget_unwanted(step)
        for symbol in dict.fromkeys(ask.symbols):
            refusal_of_one = self._keep(step, symbol, unlisted, now_ns)
            if refusal_of_one is None:
                self._books[symbol].until_ns[ask.consumer] = until_ns
            else:
                refused.append(refusal_of_one)
        self._follow(step, before)
        books = tuple(book.held for book in self._books.values() if ask.consumer in book.until_ns)
        step.effects.append(Reply(request_id, BooksLeased(until_ns=until_ns, books=books, refused=tuple(refused))))

    def on_push(self, step: Step, push: BookPush, now_ns: int) -> None:
        book = self._books.get(push.symbol)
        if book is None:
            return
        held = book.held
        if held.source == "stream" and is_overtaken(push.venue_ns, now_ns, held.venue_ns, book.streamed_ns):
            return
        book.streamed_ns = now_ns
        book.differed = False
        book.check_due_ns = now_ns + self._silence_ns
        if book.is_frozen:
            book.is_frozen = False
            step.effects.append(_frozen_alert(book, "its stream runs again", resolved=True))
        self._take(step, book, push, "stream", now_ns)

    def on_read(self, step: Step, read: BookRead, now_ns: int) -> None:
        """What REST tells: the first image, the book while the stream is down, and the witness of a silent stream."""
        book = self._books.get(read.book.symbol)
        if book is None:
            return
        book.is_reading = False
        if book.streamed_ns >= read.asked_ns:
            return
        known = not book.held.missing
        bids, asks = book.held.bids, book.held.asks
        self._take(step, book, read.book, "poll", now_ns)
        book.check_due_ns = now_ns + self._silence_ns
        if known and self._is_silent(book, now_ns) and (bids, asks) != (book.held.bids, book.held.asks):
            if not book.differed:
                book.check_due_ns = now_ns + _GRACE_NS
            book.differed = True

    def on_trades(self, step: Step, push: LastTradesPush, now_ns: int) -> None:
        book = self._books.get(push.symbol)
        if book is not None:
            self._take_trades(step, book, merged(push.trades, book.trades), now_ns)

    def on_trades_read(self, step: Step, read: LastTradesRead, now_ns: int) -> None:
        """What happened before the stream was up, and while it was not."""
        book = self._books.get(read.symbol)
        if book is not None:
            self._take_trades(step, book, merged(book.trades, read.trades), now_ns)

    def on_trades_read_failed(self, failed: LastTradesReadFailed, now_ns: int) -> None:
        book = self._books.get(failed.symbol)
        if book is not None:
            book.trades_due_ns = now_ns + _TRADES_RETRY_NS

    def on_read_failed(self, failed: BookReadFailed, now_ns: int) -> None:
        book = self._books.get(failed.symbol)
        if book is not None:
            book.is_reading = False
            book.check_due_ns = now_ns + self._silence_ns

    def on_stream(self, step: Step, change: StreamUp | StreamDown, now_ns: int) -> None:
        """What was held before a break is no longer known: old levels must not outlive it. What was read during the
        break outlives further attempts to connect."""
        was_up, self._is_up = self._is_up, isinstance(change, StreamUp)
        if self._is_up == was_up:
            return
        for book in self._books.values():
            book.followed_ns = now_ns
            if isinstance(change, StreamDown):
                self._empty(step, book, change.reason)
            else:
                step.effects.append(ReadLastTrades(book.symbol))
            self._read(step, book, now_ns)

    def on_stall(self, step: Step, gap_ns: int, now_ns: int) -> None:
        """After a stall nothing is known, and the time that passed ends no lease."""
        for book in self._books.values():
            book.until_ns = {consumer: until_ns + gap_ns for consumer, until_ns in book.until_ns.items()}
            self._empty(step, book, f"the service stood still for {gap_ns / 1e9:.1f} s")
            self._read(step, book, now_ns)

    def on_instruments(self, step: Step, unlisted: Unlisted) -> None:
        """Let go of books whose option is no longer listed."""
        before = self.symbols
        for book in tuple(self._books.values()):
            refusal = unlisted(book.symbol)
            if refusal is not None:
                self._empty(step, book, refusal.detail)
                self._forget(step, book)
        self._follow(step, before)

    def on_tick(self, step: Step, now_ns: int) -> None:
        before = self.symbols
        for book in self._books.values():
            book.until_ns = {consumer: until_ns for consumer, until_ns in book.until_ns.items() if until_ns > now_ns}
        self._forget_unwanted(step)
        self._follow(step, before)
        for book in self._books.values():
            if book.check_due_ns <= now_ns:
                self._check(step, book, now_ns)
            if book.trades_due_ns is not None and book.trades_due_ns <= now_ns:
                book.trades_due_ns = None
                step.effects.append(ReadLastTrades(book.symbol))

    def _check(self, step: Step, book: _Book, now_ns: int) -> None:
        """The stream has been silent: let REST say whether it owes something, and alarm when it does."""
        received_ns = book.held.received_ns
        if not book.held.missing and now_ns - received_ns > self._age_max_ns:
            self._empty(step, book, f"nothing was received of it for {(now_ns - received_ns) / 1e9:.0f} s")
        if book.differed and self._is_up:
            if not book.is_frozen:
                book.is_frozen = True
                text = "the book changes and its stream is silent: it is read by REST and subscribed again"
                step.effects.append(_frozen_alert(book, text, resolved=False))
            step.effects.append(RenewBook(book.symbol))
        self._read(step, book, now_ns)

    def _is_silent(self, book: _Book, now_ns: int) -> bool:
        return self._is_up and now_ns - max(book.streamed_ns, book.followed_ns) >= self._silence_ns

    def _read(self, step: Step, book: _Book, now_ns: int) -> None:
        book.check_due_ns = now_ns + self._silence_ns
        if not book.is_reading:
            book.is_reading = True
            step.effects.append(ReadBook(book.symbol))

    def _take(self, step: Step, book: _Book, push: BookPush, source: str, now_ns: int) -> None:
        book.held = OrderBook(
            symbol=book.symbol,
            underlying=book.underlying,
            venue_ns=push.venue_ns,
            received_ns=now_ns,
            source="stream" if source == "stream" else "poll",
            missing="",
            bids=push.bids,
            asks=push.asks,
        )
        self._publish(step, book)

    def _take_trades(self, step: Step, book: _Book, trades: tuple[MarketTrade, ...], now_ns: int) -> None:
        if trades == book.trades:
            return
        book.trades = trades
        told = LastTrades(symbol=book.symbol, received_ns=now_ns, age_ms=0, trades=trades)
        step.effects.append(Publish(last_trades_topic(book.underlying, book.symbol), told))

    def _empty(self, step: Step, book: _Book, reason: str) -> None:
        book.streamed_ns = 0
        book.differed = False
        book.held = OrderBook(
            symbol=book.symbol,
            underlying=book.underlying,
            venue_ns=0,
            received_ns=0,
            source="poll",
            missing=reason,
            bids=b"",
            asks=b"",
        )
        self._publish(step, book)

    def _publish(self, step: Step, book: _Book) -> None:
        step.effects.append(Publish(book_topic(book.underlying, book.symbol), book.held))

    def _keep(self, step: Step, symbol: str, unlisted: Unlisted, now_ns: int) -> BookRefused | None:
        if symbol in self._books:
            return None
        refusal = unlisted(symbol)
        if refusal is not None:
            return refusal
        if len(self._books) >= self._books_max:
            detail = f"{self._books_max} books are kept already ([marketdata] books_max)"
            return BookRefused(symbol=symbol, code="too_many_books", detail=detail)
        book = self._books[symbol] = _Book(symbol, underlying_of(symbol))
        book.followed_ns = now_ns
        self._read(step, book, now_ns)
        step.effects.append(ReadLastTrades(symbol))
        return None

    def _refusal(self, ask: LeaseBooks) -> Refusal | None:
        if not 0 < len(ask.consumer) <= _CONSUMER_CHARACTERS_MAX:
            detail = f"consumer must have 1 to {_CONSUMER_CHARACTERS_MAX} characters"
            return Refusal(code="bad_request", detail=detail, remedy="name who asks")
        if ask.lease_ms not in _LEASE_MS:
            detail = f"lease_ms {ask.lease_ms} must be {_LEASE_MS.start} to {_LEASE_MS.stop - 1}"
            return Refusal(
                code="bad_request", detail=detail, remedy="renew a short lease instead of taking a long one"
            )
        if len(ask.symbols) > _SYMBOLS_MAX:
            detail = f"{len(ask.symbols)} symbols are more than {_SYMBOLS_MAX}"
            return Refusal(code="bad_request", detail=detail, remedy="lease only the books that are looked at")
        consumers = {consumer for book in self._books.values() for consumer in book.until_ns}
        if ask.symbols and len(consumers | {ask.consumer}) > _CONSUMERS_MAX:
            detail = f"{_CONSUMERS_MAX} consumers have books already"
            return Refusal(code="too_many_consumers", detail=detail, remedy="wait until a lease has ended")
        return None

    def _forget_unwanted(self, step: Step) -> None:
        for book in [book for book in self._books.values() if not book.until_ns]:
            self._forget(step, book)

    def _forget(self, step: Step, book: _Book) -> None:
        del self._books[book.symbol]
        if book.is_frozen:
            step.effects.append(_frozen_alert(book, "nobody asks for it any more", resolved=True))

    def _follow(self, step: Step, before: Iterable[str]) -> None:
        if set(before) != set(self._books):
            step.effects.append(FollowBooks(self.symbols))
        if not self._books:
            self._is_up = False


def merged(newer: tuple[MarketTrade, ...], older: tuple[MarketTrade, ...]) -> tuple[MarketTrade, ...]:
    """Both lists as one, newest first. A trade without an id that is in both counts once; the same twice in one list
    is two trades."""
    counted = Counter(newer)
    counted |= Counter(older)
    return tuple(sorted(counted.elements(), key=lambda trade: trade.venue_ns, reverse=True)[:_TRADES_KEPT])


def _frozen_alert(book: _Book, text: str, *, resolved: bool) -> RaiseAlert:
    severity = "info" if resolved else "warning"
    return RaiseAlert(code="book_frozen", severity=severity, subject=book.symbol, text=text, resolved=resolved)
