"""Market data as a process on a real bus, beside a real simulated exchange."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.bus import Bus, NoAnswer
from shared.config import load_config
from shared.messages.base import Message
from shared.messages.market import COMPARISON_COLUMNS, ChainComparison, ChainSnapshot, InstrumentList, SpotQuote
from shared.messages.on_demand import (
    BooksLeased,
    FundingRateAnswer,
    GetFundingRate,
    GetKlines,
    GetLastTrades,
    GetOrderBook,
    Klines,
    LastTrades,
    LeaseBooks,
    OrderBook,
    OrderBookAnswer,
)
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.system import Alert, GetStatus, Heartbeat
from shared.options.book import BookView
from shared.options.chain import ChainView, OptionList
from shared.ports import resolve_ports
from shared.secrets import ensure_paper_secrets
from tests.integration.bus.harness import ROOT

CONFIGURATION = """
[desk]
name = "books"
venue = "sim"
underlyings = ["BTCUSD"]
spot = true
futures = true

[marketdata]
open_interest_interval_ms = 5000
comparison_interval_ms = 500
book_silence_ms = 500
stream_silence_max_ms = 2000
"""
PATIENCE_S = 120


class Desk:
    """The exchange and market data as processes, and what is heard of market data."""

    def __init__(self, directory: Path) -> None:
        path = directory / "voldesk.toml"
        path.write_text(CONFIGURATION)
        self.directory = directory
        self._environment = {
            key: value for key, value in os.environ.items() if key not in ("TRADING_ENVIRONMENT", "VOLDESK_RUN_DIR")
        }
        self._environment["VOLDESK_CONFIG"] = str(path)
        self.config = load_config(path, self._environment)
        ensure_paper_secrets(self.config.run_dir)
        self.exchange_port = resolve_ports(self.config.run_dir, self.config.ports)["exchange"]
        self.bus = Bus.client(self.config)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.lists: dict[str, InstrumentList] = {}
        self.chain: ChainView | None = None
        self.comparison: ChainComparison | None = None
        self.books: list[OrderBook] = []
        self.alerts: list[Alert] = []
        self.bus.subscribe("marketdata", ["md.", "book.", "sys."], self._hear)

    def _hear(self, item: Inbound | StreamSynced) -> None:
        match item:
            case Inbound(message=InstrumentList() as listed):
                self.lists[listed.list_id] = listed
            case Inbound(message=ChainSnapshot() as chain) if chain.list_id in self.lists:
                self.chain = ChainView(chain, OptionList(self.lists[chain.list_id]))
            case Inbound(message=ChainComparison() as comparison):
                self.comparison = comparison
            case Inbound(message=OrderBook() as book):
                self.books.append(book)
            case Inbound(message=Alert() as alert):
                self.alerts.append(alert)

    def start(self, service: str) -> None:
        with (self.directory / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    def kill(self, service: str) -> None:
        self.processes[service].send_signal(signal.SIGKILL)
        self.processes[service].wait()

    async def ask(self, message: Message) -> Any:
        for _ in range(10):
            try:
                return await self.bus.ask("marketdata", message, 10_000)
            except NoAnswer:
                continue
        pytest.fail(f"market data does not answer {message}: {self.log()}")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"{what} did not happen; log: {self.log()}")

    async def beat_until(self, condition: Callable[[Heartbeat], object]) -> Heartbeat:
        async with asyncio.timeout(PATIENCE_S):
            while not condition(beat := await self.ask(GetStatus())):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert isinstance(beat, Heartbeat)
        return beat

    def log(self) -> str:
        return (self.directory / "marketdata.log").read_text()[-3_000:]

    async def inject(self, **fault: Any) -> None:
        """Let the exchange misbehave until `clear`."""
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.exchange_port}", timeout=60) as control:
            assert (await control.post("/sim/faults", json=fault)).status_code == 200

    async def clear(self) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.exchange_port}", timeout=60) as control:
            assert (await control.delete("/sim/faults")).status_code == 200

    async def symbol(self) -> str:
        """A quoted call that does not expire soon, near the money."""

        def distances() -> NDArray[np.float64]:
            assert self.chain is not None
            distance = np.abs(self.chain.column("delta") - 0.5)
            soon = self.chain.listed.expiries_ns == self.chain.listed.expiries_ns.min()
            distance[soon | ~np.isfinite(self.chain.column("bid"))] = np.inf
            return np.nan_to_num(distance, nan=np.inf)

        await self.until(lambda: self.chain is not None and bool(np.isfinite(distances()).any()), "a quoted chain")
        assert self.chain is not None
        return self.chain.instruments[int(np.argmin(distances()))].symbol


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    desk.start("exchange")
    desk.start("marketdata")
    yield desk
    desk.bus.close()
    for process in desk.processes.values():
        process.kill()
        process.wait()


async def test_chains_have_open_interest_and_our_volatilities_agree_with_the_venues(desk: Desk) -> None:
    symbol = await desk.symbol()
    await desk.until(lambda: desk.chain and desk.chain.value(symbol, "open_interest"), "open interest")
    await desk.until(lambda: desk.comparison is not None, "a comparison")
    assert desk.comparison is not None
    listed = desk.lists[desk.comparison.list_id].instruments
    column = [each.symbol for each in listed].index(symbol)
    matrix = np.frombuffer(desk.comparison.matrix, dtype="<f8").reshape(len(COMPARISON_COLUMNS), len(listed))
    values = dict(zip(COMPARISON_COLUMNS, matrix[:, column], strict=True))
    assert values["own_mark_iv"] == pytest.approx(values["venue_mark_iv"], abs=0.01)
    assert values["own_bid_iv"] <= values["own_mark_iv"] <= values["own_ask_iv"]
    assert values["own_delta"] == pytest.approx(values["venue_delta"], abs=0.02)


async def test_a_leased_book_flows_survives_a_kill_of_market_data_and_ends_with_the_lease(desk: Desk) -> None:
    symbol = await desk.symbol()
    lease = LeaseBooks(consumer="test", symbols=(symbol, "BTCUSD-6JUN23-24000-C"), lease_ms=60_000)
    answer = await desk.ask(lease)
    assert isinstance(answer, BooksLeased)
    assert [(each.symbol, each.code) for each in answer.refused] == [("BTCUSD-6JUN23-24000-C", "not_listed")]
    await desk.until(lambda: any(book.source == "stream" and book.bids for book in desk.books), "a pushed book")
    view = BookView(desk.books[-1])
    assert view.book.symbol == symbol
    assert view.best_bid is not None
    assert view.best_ask is not None
    assert view.best_bid < view.best_ask
    assert list(view.bids[0]) == sorted(view.bids[0], reverse=True)

    desk.kill("marketdata")
    desk.books.clear()
    desk.start("marketdata")
    await desk.ask(lease)
    await desk.until(
        lambda: any(book.source == "stream" and book.bids for book in desk.books), "a book after the kill"
    )

    assert (await desk.ask(LeaseBooks(consumer="test", symbols=()))).books == ()
    held = await desk.ask(GetOrderBook(symbol=symbol))
    assert isinstance(held, OrderBookAnswer)
    assert held.book.source == "poll", "it is no longer held, so it was read"


async def test_a_book_leased_while_the_venue_is_away_flows_once_it_is_back(desk: Desk) -> None:
    symbol = await desk.symbol()
    for service in ("exchange", "marketdata"):
        desk.kill(service)
    desk.start("marketdata")
    answer = await desk.ask(LeaseBooks(consumer="test", symbols=(symbol,), lease_ms=60_000))
    assert answer.refused == ()
    assert answer.books[0].missing
    desk.books.clear()
    desk.start("exchange")
    await desk.until(lambda: any(book.source == "stream" and book.bids for book in desk.books), "a pushed book")


async def test_a_book_whose_stream_is_silent_is_alarmed_and_read_by_rest_until_it_runs_again(desk: Desk) -> None:
    symbol = await desk.symbol()
    await desk.ask(LeaseBooks(consumer="test", symbols=(symbol,), lease_ms=60_000))
    await desk.until(lambda: any(book.source == "stream" for book in desk.books), "a pushed book")
    desk.books.clear()
    await desk.inject(kind="silence", path_prefix="/options")

    def told(resolved: bool) -> int:
        """How often; on a busy machine a book may seem silent before."""
        return sum(alert.code == "book_frozen" and alert.resolved is resolved for alert in desk.alerts)

    await desk.until(lambda: told(resolved=False) > told(resolved=True), "the alarm of a frozen book")
    await desk.until(lambda: any(book.source == "poll" for book in desk.books), "a book read by REST")
    beat = await desk.beat_until(lambda beat: len(beat.silent_streams.get("BTCUSD", ())) > 1)
    assert beat.ready, "what the streams should bring is published all the same"
    ended = told(resolved=True)
    await desk.clear()
    await desk.until(lambda: told(resolved=True) > ended, "the end of the alarm")
    await desk.beat_until(lambda beat: not beat.silent_streams)


async def test_reads_come_from_the_cache_with_their_age_and_anew_for_who_bypasses_it(desk: Desk) -> None:
    symbol = await desk.symbol()
    first = await desk.ask(GetLastTrades(symbol=symbol, max_age_ms=0))
    assert isinstance(first, LastTrades), first
    again = await desk.ask(GetLastTrades(symbol=symbol))
    assert (again.received_ns, again.age_ms >= first.age_ms) == (first.received_ns, True)
    bypassed = await desk.ask(GetLastTrades(symbol=symbol, max_age_ms=0))
    assert bypassed.received_ns > first.received_ns
    klines = await desk.ask(GetKlines(symbol=symbol, period="1h", periods=200))
    assert isinstance(klines, Klines), klines
    assert (klines.symbol, klines.period) == (symbol, "1h")
    assert len(klines.klines) <= 2, "the exchange has just begun; an hour may have turned since"
    perpetual = await desk.ask(GetKlines(symbol="BTCUSD", period="1m", periods=60))
    assert isinstance(perpetual, Klines), perpetual
    assert perpetual.symbol == "BTCUSD"
    assert all(kline.low <= kline.close <= kline.high for kline in perpetual.klines)
    funding = await desk.ask(GetFundingRate(symbol="BTCUSD"))
    assert isinstance(funding, FundingRateAnswer), funding
    assert abs(funding.rate) <= 0.0075
    assert 0 <= funding.next_funding_ns - funding.received_ns + 60 * 10**9 <= 9 * 3_600 * 10**9
    await desk.until(lambda: desk.chain is not None and desk.chain.snapshot.futures, "a quote of a dated future")
    assert desk.chain is not None
    dated = desk.chain.snapshot.futures[-1].symbol
    assert (desk.chain.value(dated, "delta"), desk.chain.snapshot.perpetual is not None) == (1.0, True)
    for asked in ("BTCUSD", dated):
        book = await desk.ask(GetOrderBook(symbol=asked))
        assert isinstance(book, OrderBookAnswer), book
        assert BookView(book.book).bids.shape[1] > 1
        assert isinstance(await desk.ask(GetLastTrades(symbol=asked)), LastTrades)
    unknown = await desk.ask(GetFundingRate(symbol="DOGEUSD"))
    assert unknown.code == "rejected_by_venue", unknown
    refused = await desk.ask(GetLastTrades(symbol="BTCUSD-6JUN23-24000-C"))
    assert refused.code == "rejected_by_venue", refused


async def test_the_spot_pair_is_shown_beside_the_chain_and_by_rest_while_its_socket_is_silent(desk: Desk) -> None:
    def quote() -> SpotQuote | None:
        return None if desk.chain is None else desk.chain.snapshot.spot

    await desk.until(lambda: (shown := quote()) is not None and shown.bid < shown.ask and shown.last > 0, "spot")
    asked = GetOrderBook(symbol="BTCUSDT", max_age_ms=10_000)
    book = await desk.ask(asked)
    assert isinstance(book, OrderBookAnswer)
    assert BookView(book.book).bids.shape[1] > 1
    trades = await desk.ask(GetLastTrades(symbol="BTCUSDT"))
    assert isinstance(trades, LastTrades)
    klines = await desk.ask(GetKlines(symbol="BTCUSDT", period="1h", periods=24))
    assert isinstance(klines, Klines)
    assert klines.klines
    assert all(bar.low <= bar.close <= bar.high for bar in klines.klines)

    await desk.inject(kind="silence", path_prefix="/spot")
    beat = await desk.beat_until(lambda beat: "spot" in beat.silent_streams.get("BTCUSD", ()))
    await desk.until(lambda: (shown := quote()) is not None and shown.received_ns > beat.beat_ns, "spot by REST")
    polled = await desk.ask(asked)
    assert isinstance(polled, OrderBookAnswer)
    await desk.clear()
    await desk.beat_until(lambda beat: "spot" not in beat.silent_streams.get("BTCUSD", ()))
