"""Market data as a service: streams, with REST where they are silent, and instrument lists."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from services.marketdata.config import MarketdataConfig
from services.marketdata.core import MarketdataCore
from services.marketdata.effects import (
    BookRead,
    BookReadFailed,
    Compared,
    FollowBooks,
    FundingRead,
    FuturesRead,
    LastTradesRead,
    LastTradesReadFailed,
    OpenInterestRead,
    ReadBook,
    ReadKey,
    ReadLastTrades,
    ReadVenue,
    ReloadInstruments,
    RenewBook,
    VenueRead,
    VenueReadFailed,
)
from services.marketdata.listing import Listings
from services.marketdata.metrics import MarketdataMetrics
from services.marketdata.polling import SilentPoll
from shared.messages.contracts import FundingRate
from shared.messages.on_demand import (
    PERIOD_NS,
    GetFundingRate,
    GetKlines,
    GetLastTrades,
    GetOrderBook,
    Kline,
    MarketTrade,
)
from shared.options.instruments import instrument_kind
from shared.options.symbols import EXPIRY_TIME_OF_DAY_NS, NS_PER_DAY
from shared.runner import MemoryJournal
from shared.service import CoreHost, ServiceContext, StartRefused
from shared.service.venue_metrics import VenueMetrics
from shared.tasks import spawn
from shared.venues.coincall import CoincallGateway, KeyCheckFailed, check_key, of_venue
from shared.venues.coincall.futures import CoincallFutures
from shared.venues.coincall.spot import CoincallSpot
from shared.venues.ports import BookPush, VenueError

_RETRY_S = 2.0
_PARTIAL_RETRY_S = 10.0
_POLL_PAUSE_S = 1.0
_AFTER_LISTING_NS = 5_000_000_000
_READERS = 4
_MEASURE_PAUSE_S = 1.0
_FIRST_INTEREST_PAUSE_S = 0.3
_FUNDING_PAUSE_S = 30.0


class MarketdataShell:
    """Needs a key that may read: the venue's option stream wants a login even for public data."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        config = self._config = context.section(MarketdataConfig)
        self._underlyings = context.desk.underlyings
        self._futures = context.desk.futures
        venue = self._venue = VenueMetrics(context.metrics, context.log)
        self._gateway = CoincallGateway(
            of_venue(context.desk.venue, lambda: context.port("exchange"), context.desk.host.exchange),
            context.api_key(),
            budget_share=config.rate_budget_share,
            on_call=venue.called,
            on_wait=venue.waited,
            on_stream=venue.streamed,
            on_skipped=self._skipped,
        )
        venue.watch(self._gateway)
        context.health["venue_errors"] = lambda: venue.errors
        self._host = CoreHost(
            context,
            lambda: MarketdataCore(config, self._underlyings),
            MemoryJournal(),
            self._perform,
            batch_max=1,  # an index price is not to wait until a second's chains are worked through
        )
        self._books = self._gateway.book_stream(self._host.put)
        self._pairs = context.desk.spot_pairs
        self._listings = Listings(
            self._gateway, context.log, self._underlyings, futures=context.desk.futures, pairs=self._pairs
        )
        self._spot = self._gateway.spot.market_stream(self._pairs, self._host.put)
        self._silent = SilentPoll(
            self._gateway, self._pairs, self._host.put, context.clock.now_ns, context.log, config.poll_silence_ms
        )
        self._to_read: asyncio.Queue[ReadBook | ReadLastTrades] = asyncio.Queue()
        self._queued: set[ReadBook | ReadLastTrades] = set()
        self._reload = asyncio.Event()
        self._problem = "the key has not been checked yet"
        self._metrics = MarketdataMetrics(context.metrics, self._underlyings)
        context.health["market"] = self._metrics.words

    @property
    def ready(self) -> bool:
        return not self._missing()

    @property
    def detail(self) -> str:
        """Which underlyings cannot be shown now, and why; when all can, which of their streams are silent."""
        return self._missing() or self._stale()

    @property
    def silent_streams(self) -> dict[str, tuple[str, ...]]:
        """By underlying, what comes by REST alone."""
        now_ns, core = self._context.clock.now_ns(), self._host.core
        return {name: silent for name in self._underlyings if (silent := core.silent_streams(name, now_ns))}

    def _stale(self) -> str:
        now_ns = self._context.clock.now_ns()
        core = self._host.core
        stale = {name: core.stale_streams(name, now_ns) for name in self._underlyings}
        told = [f"{name}: not received: {', '.join(streams)}" for name, streams in stale.items() if streams]
        frozen = [symbol for name in self._underlyings for symbol in core.books.frozen_of(name)]
        told += [f"{name}: by REST alone: {', '.join(streams)}" for name, streams in self.silent_streams.items()]
        return "; ".join([*told, *([f"frozen books: {', '.join(frozen)}"] if frozen else [])])

    def _missing(self) -> str:
        if self._problem:
            return self._problem
        now_ns, core, config = self._context.clock.now_ns(), self._host.core, self._config
        for underlying in self._underlyings:
            if not core.listed(underlying):
                return f"{underlying}: instruments have not been read yet"
            expiries = core.expiries_ns(underlying, now_ns)
            stale = core.silent_expiries(underlying, now_ns, config.expiry_age_max_ms)
            if len(stale) == len(expiries):
                return f"{underlying}: no quotes"
            if core.index_is_silent(underlying, now_ns, config.index_age_max_ms):
                return f"{underlying}: no index price"
        return ""

    async def start(self) -> None:
        self._context.bus.serve(self._host.put)

    async def run(self) -> None:
        await asyncio.gather(
            self._host.run(),
            self._feed(),
            self._books.run(),
            *(self._read_leased() for _ in range(_READERS)),
            self._measure(),
        )

    async def stop(self) -> None:
        await self._gateway.close()

    def _skipped(self, reason: str) -> None:
        self._venue.skipped(reason)
        self._context.log.debug("venue data skipped", reason=reason)

    def _perform(self, effect: Any, cause_id: str) -> None:
        match effect:
            case ReloadInstruments():
                self._reload.set()
            case Compared():
                self._metrics.compared(effect)
            case FollowBooks(symbols=symbols):
                self._books.want([symbol for symbol in symbols if not _is_spot(symbol)])
            case RenewBook(symbol=symbol):
                (self._spot if _is_spot(symbol) else self._books).renew(symbol)
            case ReadBook() | ReadLastTrades():
                if effect not in self._queued:
                    self._queued.add(effect)
                    self._to_read.put_nowait(effect)
            case ReadVenue(key=key):
                spawn(self._read(key), name="read on request")
            case _:
                raise AssertionError(f"{effect!r} for {cause_id} is no effect of market data")

    async def _feed(self) -> None:
        # not before the core runs: a venue that is away must not keep it from answering
        await self._gateway.start()
        await _until_done(self._key_holds)
        await _until_done(self._load_instruments)
        feeds = [self._stream(), self._keep_instruments(), self._poll(), self._poll_open_interest()]
        if self._futures:
            feeds += [self._poll_funding(), self._poll_futures()]
        if self._pairs:
            feeds.append(self._spot.run())
        await asyncio.gather(*feeds)

    async def _key_holds(self) -> bool:
        """Check the key; False while the venue cannot be asked. Raises StartRefused for what a person must change."""
        try:
            warnings = await check_key(self._gateway, need_trading=False)
        except KeyCheckFailed as error:
            raise StartRefused(error.reason, error.remedy) from error
        except VenueError as error:
            self._problem = f"the venue cannot be asked: {error}"
            return False
        for warning in warnings:
            self._context.log.warning("key", detail=warning)
        self._problem = ""
        return True

    async def _stream(self) -> None:
        while True:
            try:
                await self._gateway.stream_market(
                    self._underlyings, self._listed_expiries, self._host.put, self._host.core.futures
                )
            except VenueError as error:
                self._context.log.warning("market stream ended", kind=error.kind, reason=str(error))
            await asyncio.sleep(_RETRY_S)

    def _listed_expiries(self, underlying: str) -> Sequence[int]:
        return self._host.core.expiries_ns(underlying, self._context.clock.now_ns())

    async def _read_leased(self) -> None:
        """Books and last trades that the core wants read, several at a time."""
        while True:
            wanted = await self._to_read.get()
            self._queued.discard(wanted)
            asked_ns = self._context.clock.now_ns()
            try:
                if isinstance(wanted, ReadBook):
                    self._host.put(BookRead(asked_ns=asked_ns, book=await self._book(wanted.symbol)))
                else:
                    trades = await self._last_trades(wanted.symbol)
                    self._host.put(LastTradesRead(symbol=wanted.symbol, trades=trades))
            except VenueError as error:
                self._context.log.info("read failed", wanted=repr(wanted), kind=error.kind, reason=str(error))
                if isinstance(wanted, ReadBook):
                    self._host.put(BookReadFailed(symbol=wanted.symbol, kind=error.kind, reason=str(error)))
                else:
                    self._host.put(LastTradesReadFailed(wanted.symbol))

    def _product(self, symbol: str) -> CoincallGateway | CoincallFutures | CoincallSpot:
        """Where a symbol is read."""
        match instrument_kind(symbol):
            case "option":
                return self._gateway
            case "spot":
                return self._gateway.spot
            case _:
                return self._gateway.futures

    async def _book(self, symbol: str) -> BookPush:
        return await self._product(symbol).order_book(symbol)

    async def _last_trades(self, symbol: str) -> tuple[MarketTrade, ...]:
        return await self._product(symbol).last_trades(symbol)

    async def _read(self, key: ReadKey) -> None:
        try:
            self._host.put(VenueRead(key=key, value=await self._value_of(key)))
        except VenueError as error:
            self._context.log.info("read on request failed", asked=repr(key), kind=error.kind, reason=str(error))
            self._host.put(VenueReadFailed(key=key, kind=error.kind, reason=str(error)))

    async def _value_of(self, key: ReadKey) -> BookPush | tuple[MarketTrade, ...] | tuple[Kline, ...] | FundingRate:
        match key:
            case GetOrderBook():
                return await self._book(key.symbol)
            case GetLastTrades():
                return await self._last_trades(key.symbol)
            case GetKlines():
                now_ns = self._context.clock.now_ns()
                start_ns = now_ns - key.periods * PERIOD_NS[key.period]
                return await self._product(key.symbol).klines(key.symbol, key.period, start_ns, now_ns)
            case GetFundingRate():
                rates = await self._gateway.futures.funding_rates()
                found = next((rate for rate in rates if rate.symbol == key.symbol), None)
                if found is None:
                    raise VenueError("rejected", f"no perpetual {key.symbol} has a funding rate")
                return found

    async def _keep_instruments(self) -> None:
        """Read the lists every few minutes, just after a listing change, when a quote is of no listed option, and
        when the core was built anew and has none."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_to_next_load()):
                    await self._reload.wait()
            self._reload.clear()
            await _until_done(self._load_instruments)

    def _seconds_to_next_load(self) -> float:
        now_ns = self._context.clock.now_ns()
        since_listing_ns = (now_ns - EXPIRY_TIME_OF_DAY_NS - _AFTER_LISTING_NS) % NS_PER_DAY
        interval_s = _PARTIAL_RETRY_S if self._listings.is_partial else self._config.instruments_interval_ms / 1e3
        return min(interval_s, (NS_PER_DAY - since_listing_ns) / 1e9)

    async def _load_instruments(self) -> bool:
        try:
            await self._listings.read(self._host.put)
        except VenueError as error:
            self._context.log.warning("instruments cannot be read", kind=error.kind, reason=str(error))
            return False
        return True

    async def _poll(self) -> None:
        """Read what the stream has not brought for a while."""
        while True:
            await asyncio.sleep(_POLL_PAUSE_S)
            for underlying in self._underlyings:
                if not self._host.core.listed(underlying):
                    self._reload.set()
                try:
                    await self._silent.round(self._host.core, underlying)
                except VenueError as error:
                    self._context.log.info("poll failed", underlying=underlying, kind=error.kind, reason=str(error))

    async def _poll_open_interest(self) -> None:
        """Read every expiry's open interest, spread over the interval, the first time without a long wait."""
        pause_s = _FIRST_INTEREST_PAUSE_S
        while True:
            expiries = [(name, expiry_ns) for name in self._underlyings for expiry_ns in self._listed_expiries(name)]
            for underlying, expiry_ns in expiries:
                try:
                    self._host.put(OpenInterestRead(chain=await self._gateway.chain(underlying, expiry_ns)))
                except VenueError as error:
                    self._context.log.info(
                        "open interest cannot be read", underlying=underlying, kind=error.kind, reason=str(error)
                    )
                await asyncio.sleep(pause_s)
            if expiries:
                pause_s = self._config.open_interest_interval_ms / 1e3 / len(expiries)
            else:
                await asyncio.sleep(_RETRY_S)

    async def _poll_funding(self) -> None:
        """The rate of the next funding, which nothing pushes."""
        while True:
            try:
                for rate in await self._gateway.futures.funding_rates():
                    self._host.put(FundingRead(rate))
            except VenueError as error:
                self._context.log.info("funding rates cannot be read", kind=error.kind, reason=str(error))
            await asyncio.sleep(_FUNDING_PAUSE_S)

    async def _poll_futures(self) -> None:
        """Marks of dated futures, which nothing pushes, while any is listed."""
        while True:
            try:
                if any(instrument_kind(symbol) == "future" for symbol in self._host.core.futures()):
                    self._host.put(FuturesRead(await self._gateway.futures.tickers()))
            except VenueError as error:
                self._context.log.info("marks of futures cannot be read", kind=error.kind, reason=str(error))
            await asyncio.sleep(_POLL_PAUSE_S)

    async def _measure(self) -> None:
        while True:
            self._metrics.measure(self._host.core, self._context.clock.now_ns())
            await asyncio.sleep(_MEASURE_PAUSE_S)


def _is_spot(symbol: str) -> bool:
    return instrument_kind(symbol) == "spot"


async def _until_done(attempt: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await attempt():
            return
        await asyncio.sleep(_RETRY_S)
