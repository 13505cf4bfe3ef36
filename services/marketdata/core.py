"""Instrument lists, option chains as columns, index prices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from services.marketdata.books import Books
from services.marketdata.columns import F8, Columns, is_overtaken, sorted_instruments
from services.marketdata.config import MarketdataConfig
from services.marketdata.effects import (
    BookRead,
    BookReadFailed,
    Compared,
    FollowBooks,
    FundingRead,
    FuturesRead,
    InstrumentsLoaded,
    LastTradesRead,
    LastTradesReadFailed,
    MarketRead,
    OpenInterestRead,
    ReloadInstruments,
    VenueRead,
    VenueReadFailed,
)
from services.marketdata.futures import Future, Futures
from services.marketdata.reads import SYMBOL_CHARACTERS_MAX, Reads, bad_symbol
from services.marketdata.spot import SpotPair
from services.marketdata.streams import INDEX, SPOT, Brought
from shared.messages.contracts import SpotTicker
from shared.messages.market import ChainComparison, ChainSnapshot, IndexPrice
from shared.messages.on_demand import (
    BookRefused,
    GetFundingRate,
    GetKlines,
    GetLastTrades,
    GetOrderBook,
    LeaseBooks,
    OrderBook,
    OrderBookAnswer,
)
from shared.messages.steps import Entry, LoopStalled, Publish, RaiseAlert, Reply, Request, Step, Tick
from shared.messages.topics import topic_of
from shared.messages.trades import unknown_request
from shared.messages.venue import StreamDown, StreamUp
from shared.options.chain import matrix_bytes
from shared.options.instruments import instrument_kind, underlying_of
from shared.venues.ports import BookPush, ChainPush, IndexPush, LastTradesPush

_MS = 1_000_000
BOOKS = "books"
"""The stream of order books, by the name that its StreamUp and StreamDown carry."""

_NAMES = {INDEX: "index", SPOT: "spot"}
_WATCH_INTERVAL_NS = 1_000 * _MS
_POLLED_MS = 1_000
"""How long a read by REST takes at most as a rule: a future that is silent for longer is missing, before options
in the same chain would look as old as it is."""


class _Underlying:
    def __init__(self, name: str) -> None:
        self.name = name
        self.columns: Columns | None = None
        self.futures = Futures(name)
        self.spot: SpotPair | None = None
        self.index = math.nan
        self.index_venue_ns = 0
        self.index_received_ns = 0
        self.due_ns: int | None = None
        self.published_ns = 0
        self.published_index = math.nan
        self.compare_due_ns: int | None = None
        self.watch_due_ns: int | None = None
        self.watch_since_ns: int | None = None
        self.stale: tuple[str, ...] = ()
        self.reload_after_ns = 0


class MarketdataCore:
    """What the venue quotes, normalised.

    Inputs: InstrumentsLoaded, ChainPush, IndexPush, MarketRead, FundingRead, FuturesRead, OpenInterestRead, BookPush,
    BookRead, BookReadFailed, SpotTicker, LastTradesPush, LastTradesRead, LastTradesReadFailed, VenueRead,
    VenueReadFailed, StreamUp, StreamDown, Tick, LoopStalled, Request(LeaseBooks, GetOrderBook, GetLastTrades,
    GetKlines, GetFundingRate). A push counts as received when it is handled. Effects: Publish, Reply, RaiseAlert and
    those of effects.py. Journals nothing.

    `underlyings`: those whose instruments will be loaded; empty where any may be.
    """

    def __init__(self, config: MarketdataConfig, underlyings: Sequence[str] = ()) -> None:
        self._config = config
        self._expected = frozenset(underlyings)
        self.books = Books(config)
        self.reads = Reads(config.cache_entries_max)
        self._underlyings: dict[str, _Underlying] = {}
        self._down: set[str] = set()
        self._brought = Brought()

    def start(self, now_ns: int) -> Step:
        """Nothing is followed any more: consumers ask again."""
        return Step(effects=[FollowBooks(())])

    def apply(self, entry: Entry) -> None:
        raise AssertionError(f"market data journals nothing, yet a row was found: {entry.row!r}")

    def next_deadline_ns(self) -> int | None:
        due = (
            due_ns
            for part in self._underlyings.values()
            for due_ns in (part.due_ns, part.compare_due_ns, part.watch_due_ns)
            if due_ns is not None
        )
        return min((due_ns for due_ns in (*due, self.books.next_deadline_ns()) if due_ns is not None), default=None)

    def handle(self, item: Any, now_ns: int) -> Step:
        step = Step()
        match item:
            case ChainPush():
                self._brought.note(item.underlying, item.expiry_ns, now_ns)
                self._on_chain(step, item, now_ns)
            case IndexPush():
                self._brought.note(item.underlying, INDEX, now_ns)
                self._on_index(step, item, now_ns)
            case MarketRead(push=ChainPush() as push):
                self._on_chain(step, push, now_ns)
            case MarketRead(push=IndexPush() as push):
                self._on_index(step, push, now_ns)
            case BookPush():
                self._on_book(step, item, now_ns)
            case FundingRead(rate=rate):
                if self.future(rate.symbol) is not None:
                    self._underlyings[rate.symbol].futures.take_funding(rate, now_ns)
            case FuturesRead(tickers=tickers):
                for ticker in tickers:
                    future = self.future(ticker.symbol)
                    if future is not None and ticker.mark is not None and ticker.kind == "future":
                        future.take_mark(ticker.mark, now_ns)
            case Request():
                self._on_request(step, item, now_ns)
            case BookRead(book=book):
                spot = self.spot(book.symbol)
                if spot is not None:
                    spot.take_book(book, "poll", now_ns)
                self.books.on_read(step, item, now_ns)
            case SpotTicker():
                spot = self.spot(item.symbol)
                if spot is not None:
                    spot.take_ticker(item, now_ns)
            case BookReadFailed():
                self.books.on_read_failed(item, now_ns)
            case LastTradesPush():
                spot = self.spot(item.symbol)
                if spot is not None:
                    spot.take_trades(item, now_ns)
                self.books.on_trades(step, item, now_ns)
            case LastTradesRead():
                self.books.on_trades_read(step, item, now_ns)
            case LastTradesReadFailed():
                self.books.on_trades_read_failed(item, now_ns)
            case VenueRead():
                self.reads.on_read(step, item, now_ns)
            case VenueReadFailed():
                self.reads.on_read_failed(step, item)
            case OpenInterestRead(chain=chain):
                columns = self._part(chain.underlying).columns
                if columns is not None:
                    columns.take_open_interest(chain, now_ns)
            case InstrumentsLoaded():
                self._on_instruments(step, item, now_ns)
            case Tick():
                self._on_tick(step, now_ns)
            case StreamUp() | StreamDown():
                self._on_stream(step, item)
                if item.stream == BOOKS:
                    self.books.on_stream(step, item, now_ns)
            case LoopStalled(gap_ns=gap_ns):
                # What waits in the sockets is as old as the stall and would be stamped as new.
                for part in self._underlyings.values():
                    part.index_received_ns = 0
                    part.futures.forget_times()
                    if part.spot is not None:
                        part.spot.forget_times()
                    if part.columns is not None:
                        part.columns.forget_times(now_ns)
                        part.watch_since_ns = now_ns
                self.books.on_stall(step, gap_ns, now_ns)
            case _:
                pass
        return step

    def _on_tick(self, step: Step, now_ns: int) -> None:
        for part in self._underlyings.values():
            if part.due_ns is not None and part.due_ns <= now_ns:
                self._publish(step, part, now_ns)
            if part.compare_due_ns is not None and part.compare_due_ns <= now_ns:
                self._compare(step, part, now_ns)
            if part.watch_due_ns is not None and part.watch_due_ns <= now_ns:
                self._watch(step, part, now_ns)
        self.books.on_tick(step, now_ns)
        self._resolve_without_books(step)

    def _on_request(self, step: Step, request: Request, now_ns: int) -> None:
        match request.message:
            case LeaseBooks() as ask:
                self.books.lease(step, request.request_id, ask, self._unlisted, now_ns)
                self._resolve_without_books(step)
            case GetOrderBook(symbol=symbol, max_age_ms=max_age_ms) as ask:
                held = self.books.held(symbol) or self._spot_book(symbol, now_ns)
                age_ms = 0 if held is None else (now_ns - held.received_ns) // _MS
                if held is not None and max_age_ms > 0 and age_ms <= max_age_ms:
                    step.effects.append(Reply(request.request_id, OrderBookAnswer(age_ms=age_ms, book=held)))
                else:
                    self.reads.ask(step, request.request_id, ask, now_ns)
            case GetLastTrades() | GetKlines() | GetFundingRate() as ask:
                self.reads.ask(step, request.request_id, ask, now_ns)
            case other:
                step.effects.append(Reply(request.request_id, unknown_request("marketdata", other)))

    def _unlisted(self, symbol: str) -> BookRefused | None:
        """Why the book of a symbol cannot be kept. Until the list has been read any option may be listed."""
        wrong = bad_symbol(symbol)
        if wrong is not None:
            return BookRefused(symbol=symbol[:SYMBOL_CHARACTERS_MAX], code="bad_symbol", detail=wrong)
        underlying = underlying_of(symbol)
        part = self._underlyings.get(underlying)
        if instrument_kind(symbol) == "spot":
            is_listed = self.spot(symbol) is not None
        elif part is not None and part.columns is not None:
            is_listed = part.columns.lists(symbol)
        else:
            is_listed = not self._expected or underlying in self._expected
        return None if is_listed else BookRefused(symbol=symbol, code="not_listed", detail=f"{symbol} is not listed")

    def _resolve_without_books(self, step: Step) -> None:
        """A stream of books that nobody wants any more is no matter for a person."""
        if BOOKS in self._down and all(instrument_kind(symbol) == "spot" for symbol in self.books.symbols):
            self._on_stream(step, StreamUp(BOOKS))

    def silent_expiries(self, underlying: str, now_ns: int, silence_ms: int) -> tuple[int, ...]:
        """Listed expiries, not yet expired, that nothing was received of for so long: what to poll."""
        part = self._underlyings.get(underlying)
        if part is None or part.columns is None:
            return ()
        columns, before_ns = part.columns, now_ns - silence_ms * _MS
        return tuple(e for e in columns.expiries_ns if e > now_ns and columns.received_ns(e) < before_ns)

    def index_is_silent(self, underlying: str, now_ns: int, silence_ms: int) -> bool:
        part = self._underlyings.get(underlying)
        return part is None or part.index_received_ns < now_ns - silence_ms * _MS

    def stale_streams(self, underlying: str, now_ns: int) -> tuple[str, ...]:
        """What of an underlying is not received although it has been listed long enough: expiries by the name that
        they have in symbols, "index" and "spot"."""
        part, config = self._underlyings.get(underlying), self._config
        if part is None or part.columns is None or part.watch_since_ns is None:
            return ()
        columns, before_ns = part.columns, now_ns - config.expiry_age_max_ms * _MS
        stale = [
            columns.expiry_names[e]
            for e in self.silent_expiries(underlying, now_ns, config.expiry_age_max_ms)
            if columns.listed_ns(e) < before_ns
        ]
        index_before_ns = now_ns - config.index_age_max_ms * _MS
        if part.watch_since_ns < index_before_ns and self.index_is_silent(
            underlying, now_ns, config.index_age_max_ms
        ):
            stale.append("index")
        is_due = part.spot is not None and part.watch_since_ns < index_before_ns
        if is_due and part.spot is not None and part.spot.is_silent(now_ns, config.index_age_max_ms * _MS):
            stale.append("spot")
        return tuple(stale)

    def expiries_ns(self, underlying: str, now_ns: int) -> tuple[int, ...]:
        """Listed expiries that have not passed, nearest first."""
        part = self._underlyings.get(underlying)
        return (
            () if part is None or part.columns is None else tuple(e for e in part.columns.expiries_ns if e > now_ns)
        )

    def oldest_ns(self, underlying: str, now_ns: int) -> tuple[int, int] | None:
        """When the listed expiry that was received longest ago, and the index, were received; 0 for never; None for
        an underlying without a list."""
        part = self._underlyings.get(underlying)
        if part is None or part.columns is None:
            return None
        received = (part.columns.received_ns(e) for e in part.columns.expiries_ns if e > now_ns)
        return min(received, default=0), part.index_received_ns

    def listed(self, underlying: str) -> bool:
        """Whether instruments of this underlying were loaded."""
        part = self._underlyings.get(underlying)
        return part is not None and part.columns is not None

    def future(self, symbol: str) -> Future | None:
        """The perpetual or dated future of that symbol; None where none is traded."""
        part = self._underlyings.get(underlying_of(symbol))
        return None if part is None else part.futures.get(symbol)

    def futures(self) -> tuple[str, ...]:
        """Symbols of the futures that are traded."""
        return tuple(symbol for part in self._underlyings.values() for symbol in part.futures.symbols)

    def silent_futures(self, underlying: str, now_ns: int, silence_ms: int) -> tuple[str, ...]:
        """Those of an underlying whose book nothing was received of for so long."""
        part = self._underlyings.get(underlying)
        return () if part is None else part.futures.silent_books(now_ns, silence_ms * _MS)

    def spot(self, symbol: str) -> SpotPair | None:
        """The spot pair of that symbol; None where it is not looked at."""
        part = self._underlyings.get(underlying_of(symbol))
        pair = None if part is None else part.spot
        return pair if pair is not None and pair.spec.symbol == symbol else None

    def _spot_book(self, symbol: str, now_ns: int) -> OrderBook | None:
        pair = self.spot(symbol)
        return None if pair is None else pair.held(now_ns, self._config.book_age_max_ms * _MS)

    def silent_streams(self, underlying: str, now_ns: int) -> tuple[str, ...]:
        """What of an underlying comes by REST alone, since its stream has brought nothing for long: as
        `stale_streams`, and none of those."""
        part = self._underlyings.get(underlying)
        if part is None or part.columns is None or part.watch_since_ns is None:
            return ()
        columns, watched_ns = part.columns, part.watch_since_ns
        since_ns = {e: max(columns.listed_ns(e), watched_ns) for e in columns.expiries_ns if e > now_ns}
        before_ns = now_ns - self._config.stream_silence_max_ms * _MS
        others = {INDEX: watched_ns} if part.spot is None else {INDEX: watched_ns, SPOT: watched_ns}
        silent = self._brought.silent(underlying, {**since_ns, **others}, before_ns)
        names = [_NAMES.get(stream) or columns.expiry_names[stream] for stream in silent]
        stale = self.stale_streams(underlying, now_ns) if names else ()
        return tuple(name for name in names if name not in stale)

    def _part(self, underlying: str) -> _Underlying:
        return self._underlyings.setdefault(underlying, _Underlying(underlying))

    def _on_instruments(self, step: Step, loaded: InstrumentsLoaded, now_ns: int) -> None:
        part = self._part(loaded.underlying)
        listed = sorted_instruments(loaded.instruments, now_ns)
        dated = sorted_instruments(loaded.futures, now_ns)
        columns = Columns(loaded.underlying, listed, now_ns, loaded.perpetual, loaded.spot, dated)
        part.futures.keep(loaded.perpetual, dated)
        if loaded.spot is not None:
            part.spot = part.spot or SpotPair(loaded.spot)
            part.spot.spec = loaded.spot
        self._brought.keep(loaded.underlying, {INDEX, SPOT, *columns.expiries_ns})
        if part.columns is not None:
            if part.columns.listed.list_id == columns.listed.list_id:
                return
            columns.take_over(part.columns)
        part.columns = columns
        if part.due_ns is None:
            part.due_ns = part.compare_due_ns = part.watch_due_ns = part.watch_since_ns = now_ns
        step.effects.append(
            Publish(topic_of("md.{underlying}.instruments", underlying=loaded.underlying), columns.listed)
        )
        self.books.on_instruments(step, self._unlisted)

    def _on_book(self, step: Step, push: BookPush, now_ns: int) -> None:
        future, spot = self.future(push.symbol), self.spot(push.symbol)
        if future is not None:
            future.take_book(push, now_ns)
            return
        if spot is not None:
            self._brought.note(underlying_of(push.symbol), SPOT, now_ns)
            spot.take_book(push, "stream", now_ns)
        self.books.on_push(step, push, now_ns)

    def _on_chain(self, step: Step, push: ChainPush, now_ns: int) -> None:
        part = self._part(push.underlying)
        unlisted = len(push.rows) if part.columns is None else part.columns.take(push, now_ns)
        if unlisted and now_ns >= part.reload_after_ns:
            part.reload_after_ns = now_ns + self._config.reload_min_interval_ms * _MS
            step.effects.append(ReloadInstruments(push.underlying))
        if part.due_ns is not None and (self._config.immediate or self._is_first(part, now_ns)):
            self._publish(step, part, now_ns)

    def _is_first(self, part: _Underlying, now_ns: int) -> bool:
        """Whether nothing has been published and all of it is there: others wait for it, and it does not."""
        config = self._config
        return (
            part.published_ns == 0
            and not self.index_is_silent(part.name, now_ns, config.index_age_max_ms)
            and not self.silent_expiries(part.name, now_ns, config.expiry_age_max_ms)
        )

    def _on_index(self, step: Step, push: IndexPush, now_ns: int) -> None:
        part = self._part(push.underlying)
        part.futures.take_perpetual_mark(push.perpetual_mark, now_ns)
        usable = math.isfinite(push.price) and push.price > 0
        if not usable or is_overtaken(push.venue_ns, now_ns, part.index_venue_ns, part.index_received_ns):
            return
        part.index, part.index_venue_ns, part.index_received_ns = push.price, push.venue_ns, now_ns
        index = IndexPrice(underlying=push.underlying, price=push.price, venue_ns=push.venue_ns, received_ns=now_ns)
        step.effects.append(Publish(topic_of("md.{underlying}.index", underlying=push.underlying), index))
        moved_pct = abs(push.price / part.published_index - 1) * 100
        if part.due_ns is None:
            return
        if self._config.immediate or self._is_first(part, now_ns):
            self._publish(step, part, now_ns)
        elif moved_pct >= self._config.publish_index_move_pct:
            soonest_ns = part.published_ns + self._config.publish_min_interval_ms * _MS
            part.due_ns = min(part.due_ns, max(soonest_ns, now_ns))
            if part.due_ns <= now_ns:
                self._publish(step, part, now_ns)

    def _publish(self, step: Step, part: _Underlying, now_ns: int) -> None:
        part.due_ns = now_ns + self._config.publish_interval_ms * _MS
        config, columns, shown = self._config, part.columns, self._shown(part, now_ns)
        if columns is None or shown is None:
            return
        matrix, received_ns, venue_ns = shown
        if config.own_greeks:
            columns.put_own_greeks(matrix, now_ns)
        polled_ns = (config.poll_silence_ms + _POLLED_MS) * _MS
        perpetual, futures = part.futures.shown(now_ns, polled_ns)
        index_is_fresh = now_ns - part.index_received_ns <= config.index_age_max_ms * _MS
        chain = ChainSnapshot(
            underlying=part.name,
            list_id=columns.listed.list_id,
            venue_ns=venue_ns,
            received_ns=received_ns,
            index_price=part.index if index_is_fresh else math.nan,
            index_received_ns=part.index_received_ns,
            matrix=matrix_bytes(matrix),
            perpetual=perpetual,
            spot=None if part.spot is None else part.spot.shown(now_ns, polled_ns),
            futures=futures,
        )
        part.published_ns, part.published_index = now_ns, part.index
        step.effects.append(Publish(topic_of("md.{underlying}.chain", underlying=part.name), chain))

    def _shown(self, part: _Underlying, now_ns: int) -> tuple[F8, int, int] | None:
        """What may be shown of the venue's columns now; None when nothing may."""
        if part.columns is None:
            return None
        config = self._config
        return part.columns.shown(now_ns, config.expiry_age_max_ms * _MS, 3 * config.open_interest_interval_ms * _MS)

    def _compare(self, step: Step, part: _Underlying, now_ns: int) -> None:
        part.compare_due_ns = now_ns + self._config.comparison_interval_ms * _MS
        columns, shown = part.columns, self._shown(part, now_ns)
        if columns is None or shown is None:
            return
        both, largest = columns.compare(shown[0], now_ns)
        message = ChainComparison(
            underlying=part.name,
            list_id=columns.listed.list_id,
            computed_ns=now_ns,
            received_ns=shown[1],
            matrix=both.tobytes(),
        )
        step.effects.append(Publish(topic_of("md.{underlying}.comparison", underlying=part.name), message))
        step.effects.append(Compared(part.name, largest))

    def _watch(self, step: Step, part: _Underlying, now_ns: int) -> None:
        """Tell a person which streams of an underlying are silent, again when that has changed, and when none is."""
        part.watch_due_ns = now_ns + _WATCH_INTERVAL_NS
        stale = self.stale_streams(part.name, now_ns)
        if stale == part.stale:
            return
        part.stale = stale
        text = f"not received of {part.name}: {', '.join(stale)}" if stale else f"all of {part.name} is received"
        step.effects.append(
            RaiseAlert(
                code="market_data_stale",
                severity="warning" if stale else "info",
                subject=part.name,
                text=text,
                resolved=not stale,
            )
        )

    def _on_stream(self, step: Step, change: StreamUp | StreamDown) -> None:
        is_down = isinstance(change, StreamDown)
        if is_down == (change.stream in self._down):
            return
        (self._down.add if is_down else self._down.discard)(change.stream)
        text = change.reason if isinstance(change, StreamDown) else "it is back"
        step.effects.append(
            RaiseAlert(
                code="market_stream_down",
                severity="warning" if is_down else "info",
                subject=change.stream or "market",
                text=text,
                resolved=not is_down,
            )
        )
