"""The gauges of market data, by a real core: differences from the venue, ages, silent streams, books, the cache."""

from __future__ import annotations

import math
from typing import Any

import pytest

from services.marketdata.effects import Compared, InstrumentsLoaded, ReadVenue, VenueRead
from services.marketdata.metrics import MarketdataMetrics
from shared.messages.on_demand import GetLastTrades
from shared.messages.steps import Request, Tick
from shared.options import black76
from shared.venues.ports import IndexPush
from tests.unit.marketdata.test_books import UP, A, B, Desk, book
from tests.unit.marketdata.test_comparison import FORWARD, VOL
from tests.unit.marketdata.test_core import FAR, LISTED, NEAR, SECOND, START, push
from tests.unit.shared.test_metrics import made, scraped


class Watched:
    """A core and its metrics, as the shell ties them."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.families = made()
        self.metrics = MarketdataMetrics(self.families, ("BTCUSD",))

    def on(self, item: Any, at_s: float) -> list[Any]:
        effects: list[Any] = self.desk.on(item, at_s).effects
        for effect in effects:
            if isinstance(effect, Compared):
                self.metrics.compared(effect)
        return effects

    def shown(self, name: str, at_s: float) -> dict[tuple[str, ...], float]:
        self.metrics.measure(self.desk.core, START + int(at_s * SECOND))
        return {tuple(value for _, value in labels): count for labels, count in scraped(self.families, name).items()}


def test_how_far_our_figures_are_from_the_venues_is_shown_by_figure() -> None:
    watched = Watched()
    watched.on(push(NEAR, mark_iv=VOL, forward=FORWARD, delta=0.9), 0)
    watched.on(Tick(), 1)
    differences = watched.shown("voldesk_venue_difference", 1)
    years = (NEAR - START - SECOND) / (365 * 86_400 * SECOND)
    ours = black76.greeks(FORWARD, 110.0, years, VOL, True).delta
    assert differences["delta", "BTCUSD"] == pytest.approx(0.9 - float(ours), abs=1e-6)
    assert math.isnan(differences["vega", "BTCUSD"]), "the venue has told none"


def test_the_age_of_a_stream_is_that_of_its_oldest_part_and_nan_before_the_first() -> None:
    watched = Watched()
    watched.on(push(NEAR), 1)
    ages = watched.shown("voldesk_stream_age_seconds", 3)
    assert math.isnan(ages["chain", "BTCUSD"]), "the other expiry has never come"
    assert math.isnan(ages["index", "BTCUSD"])
    assert watched.metrics.words()["oldest_chain_s"] is None
    watched.on(push(FAR), 2)
    watched.on(IndexPush(underlying="BTCUSD", price=100.0, venue_ns=0), 2.5)
    ages = watched.shown("voldesk_stream_age_seconds", 4)
    assert ages == {("chain", "BTCUSD"): 3, ("index", "BTCUSD"): 1.5}
    assert watched.metrics.words() == {"oldest_chain_s": 3.0, "stale_streams": 0, "books": 0}


def test_streams_that_fell_silent_are_counted_and_their_return_too() -> None:
    watched = Watched()
    for expiry_ns in (NEAR, FAR):
        watched.on(push(expiry_ns), 1)
    watched.on(IndexPush(underlying="BTCUSD", price=100.0, venue_ns=0), 1)
    assert watched.shown("voldesk_stale_streams", 5) == {("BTCUSD",): 0}
    watched.on(push(FAR), 16)
    assert watched.shown("voldesk_stale_streams", 17) == {("BTCUSD",): 2}
    watched.on(push(NEAR), 18)
    watched.on(IndexPush(underlying="BTCUSD", price=100.0, venue_ns=0), 18)
    assert watched.shown("voldesk_stale_streams", 18) == {("BTCUSD",): 0}


def test_leased_books_their_age_and_frozen_ones_are_shown() -> None:
    watched = Watched()
    desk = watched.desk
    desk.lease("one", A, B, lease_ms=60_000)
    desk.on(UP)
    desk.read(book(A), 0.05)
    desk.on(book(A), 0.1)
    desk.on(book(B), 2)
    assert watched.shown("voldesk_books", 3) == {("BTCUSD",): 2}
    assert watched.shown("voldesk_stream_age_seconds", 3)["book", "BTCUSD"] == pytest.approx(2.9)
    assert watched.shown("voldesk_frozen_books", 3) == {("BTCUSD",): 0}
    desk.tick(5.1)
    desk.read(book(bid=10.5), 5.2)
    desk.on(Tick(), 6.2)
    assert watched.shown("voldesk_frozen_books", 6.2) == {("BTCUSD",): 1}
    desk.lease("one", at_s=7)
    assert watched.shown("voldesk_books", 7) == {("BTCUSD",): 0}
    assert ("book", "BTCUSD") not in watched.shown("voldesk_stream_age_seconds", 7)


def test_reads_are_counted_by_who_answered_and_a_core_built_anew_takes_nothing_back() -> None:
    watched = Watched()

    def ask(number: int) -> list[Any]:
        return watched.on(Request(f"r{number}", GetLastTrades(symbol=A, max_age_ms=30_000), "cli"), 1)

    (read,) = ask(1)
    assert isinstance(read, ReadVenue)
    watched.on(VenueRead(key=read.key, value=()), 1)
    ask(2)
    ask(3)
    assert watched.shown("voldesk_reads_total", 1) == {("cache",): 2, ("venue",): 1}
    assert watched.shown("voldesk_read_cache_entries", 1) == {(): 1}
    watched.desk = Desk()
    watched.on(InstrumentsLoaded(underlying="BTCUSD", instruments=LISTED), 2)
    assert watched.shown("voldesk_reads_total", 2) == {("cache",): 2, ("venue",): 1}
    ask(4)
    assert watched.shown("voldesk_reads_total", 2) == {("cache",): 2, ("venue",): 2}
