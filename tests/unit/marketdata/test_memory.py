"""Market data through weeks of virtual time: options come and expire, what is kept stays the same."""

from __future__ import annotations

from collections import Counter

import msgspec

from shared.messages.steps import LoopStalled
from shared.messages.venue import StreamDown, StreamUp
from shared.venues.ports import ChainPush
from tests.unit.marketdata.test_core import SECOND, START, Script, option, row
from tests.unit.retained import grown, retained

DAY_S = 86_400


def one_day(script: Script, day: int) -> None:
    """Two expiries of today's list, pushed each hour; also options that are not listed, and a stream that breaks."""
    base = option(START, 100)
    listed = tuple(
        msgspec.structs.replace(
            base, symbol=f"BTCUSD-D{day + after}-{strike}-C", expiry_ns=START + (day + after) * DAY_S * SECOND
        )
        for after in (1, 2)
        for strike in range(20)
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
            rows += (row(f"BTCUSD-D{day + after}-{hour}-P", bid=1.0),)
            venue_ns = START + int(at_s) * SECOND
            script.on(ChainPush(underlying="BTCUSD", expiry_ns=expiry_ns, venue_ns=venue_ns, rows=rows), at_s)
        script.index(100.0 + hour, at_s, START + int(at_s) * SECOND)
        script.chain(at_s + 1)


def test_what_market_data_keeps_does_not_grow_from_day_to_day() -> None:
    script = Script()
    kept: list[Counter[str]] = []
    for day in range(6):
        one_day(script, day)
        kept.append(retained(script.core))
    assert kept[5]["._underlyings.columns._at"] == 40
    assert grown(kept[2], kept[5]) == {}
