"""Market data through weeks of virtual time: options come and expire, what is kept stays the same."""

from __future__ import annotations

from collections import Counter

import msgspec

from services.marketdata.effects import BookReadFailed, ReadBook, ReadVenue, VenueRead, VenueReadFailed
from shared.messages.market import Instrument
from shared.messages.on_demand import GetLastTrades, LeaseBooks
from shared.messages.steps import LoopStalled, Request
from shared.messages.venue import StreamDown, StreamUp
from shared.venues.ports import BookPush, ChainPush
from soak.retained import grown, retained
from tests.unit.marketdata.test_core import SECOND, START, Script, option, row

DAY_S = 86_400


def one_day(script: Script, day: int) -> None:
    """Two expiries of today's list, pushed each hour; also options that are not listed, and a stream that breaks."""
    base = option(START, 100)
    listed = tuple(
        msgspec.structs.replace(
            base, symbol=f"BTCUSD-{1 + day + after}MAR26-{strike}-C", expiry_ns=START + (day + after) * DAY_S * SECOND
        )
        for after in (1, 2)
        for strike in range(1, 21)
    )
    script.load(listed, day * DAY_S)
    for hour in range(24):
        at_s = day * DAY_S + hour * 3_600.0
        script.on(StreamDown(reason="drill"), at_s)
        script.on(LoopStalled(5 * SECOND), at_s)
        script.on(StreamUp(), at_s)
        for after in (1, 2, 3):
            expiry_ns = START + (day + after) * DAY_S * SECOND
            rows = tuple(row(each.symbol, bid=1.0, ask=2.0) for each in listed if each.expiry_ns == expiry_ns)
            rows += (row(f"BTCUSD-{1 + day + after}MAR26-{hour}-P", bid=1.0),)
            venue_ns = START + int(at_s) * SECOND
            script.on(ChainPush(underlying="BTCUSD", expiry_ns=expiry_ns, venue_ns=venue_ns, rows=rows), at_s)
        demand(script, listed, day, hour, at_s)
        script.index(100.0 + hour, at_s, START + int(at_s) * SECOND)
        script.chain(at_s + 1)


def demand(script: Script, listed: tuple[Instrument, ...], day: int, hour: int, at_s: float) -> None:
    """Each hour another consumer leases today's books and is never heard of again; reads are answered or fail."""
    symbols = tuple(each.symbol for each in listed[:8])
    request = Request(f"lease {day} {hour}", LeaseBooks(consumer=f"{day} {hour}", symbols=symbols), "cli")
    for effect in script.on(request, at_s).effects:
        if isinstance(effect, ReadBook):
            script.on(BookReadFailed(symbol=effect.symbol, kind="down", reason="drill"), at_s)
    script.on(StreamUp("books"), at_s)
    script.on(BookPush(symbol=symbols[hour % 8], venue_ns=0, bids=b"", asks=b""), at_s)
    script.on(StreamDown("drill", "books"), at_s)
    for number, each in enumerate(listed):
        ask = Request(f"read {day} {hour} {number}", GetLastTrades(symbol=each.symbol), "cli")
        for effect in script.on(ask, at_s).effects:
            if isinstance(effect, ReadVenue) and number % 2:
                script.on(VenueRead(key=effect.key, value=()), at_s)
            elif isinstance(effect, ReadVenue):
                script.on(VenueReadFailed(key=effect.key, kind="down", reason="drill"), at_s)


def test_what_market_data_keeps_does_not_grow_from_day_to_day() -> None:
    script = Script()
    kept: list[Counter[str]] = []
    for day in range(6):
        one_day(script, day)
        kept.append(retained(script.core))
    assert kept[5]["._underlyings.columns._at"] == 40
    assert kept[5][".reads._kept"] > 0
    assert kept[5][".books._books"] > 0
    assert grown(kept[2], kept[5]) == {}
