"""Streams that bring nothing while REST has what they should bring."""

from __future__ import annotations

from services.marketdata.config import MarketdataConfig
from services.marketdata.effects import MarketRead
from shared.messages.steps import LoopStalled, Publish
from shared.venues.ports import IndexPush
from tests.unit.marketdata.test_core import FAR, LISTED, NEAR, SECOND, START, Script, option, push

LIMIT_S = MarketdataConfig().stream_silence_max_ms / 1e3


def silent(script: Script, at_s: float) -> tuple[str, ...]:
    return script.core.silent_streams("BTCUSD", START + int(at_s * SECOND))


def index(at_s: float) -> IndexPush:
    return IndexPush(underlying="BTCUSD", price=105.0, venue_ns=int(at_s * SECOND))


def polled_until(script: Script, end_s: float, *, begin_s: float = 0.0) -> None:
    """One stream, of the far expiry, brings data; the rest is read by REST."""
    at_s = begin_s
    while at_s <= end_s:
        script.on(push(FAR, venue_ns=int(at_s * SECOND)), at_s)
        for read in (push(NEAR, venue_ns=int(at_s * SECOND)), index(at_s)):
            step = script.on(MarketRead(push=read), at_s)
            assert step is not None
        at_s += 3.0


def test_what_comes_by_rest_alone_for_long_is_silent_although_it_is_fresh() -> None:
    script = Script()
    script.load()
    polled_until(script, LIMIT_S)
    assert silent(script, LIMIT_S) == ()
    polled_until(script, LIMIT_S + 3, begin_s=LIMIT_S)
    assert silent(script, LIMIT_S + 3) == ("26FEB26", "index")
    assert script.core.stale_streams("BTCUSD", START + int((LIMIT_S + 3) * SECOND)) == ()
    published = [
        each.topic
        for each in script.on(MarketRead(push=index(LIMIT_S + 4)), LIMIT_S + 4).effects
        if isinstance(each, Publish)
    ]
    assert "md.BTCUSD.index" in published
    script.on(push(NEAR, venue_ns=int((LIMIT_S + 5) * SECOND)), LIMIT_S + 5)
    assert silent(script, LIMIT_S + 5) == ("index",)
    script.on(index(LIMIT_S + 6), LIMIT_S + 6)
    assert silent(script, LIMIT_S + 6) == ()


def test_what_is_not_received_at_all_is_stale_and_not_silent() -> None:
    script = Script()
    script.load()
    at_s = LIMIT_S + 60
    assert set(script.core.stale_streams("BTCUSD", START + int(at_s * SECOND))) == {"26FEB26", "4MAR26", "index"}
    assert silent(script, at_s) == ()


def test_a_new_expiry_and_a_stall_have_their_time_and_one_that_is_gone_is_forgotten() -> None:
    script = Script()
    script.load(LISTED[2:])
    polled_until(script, LIMIT_S + 3)
    script.load(at_s=LIMIT_S + 3)
    polled_until(script, LIMIT_S + 30, begin_s=LIMIT_S + 3)
    assert silent(script, LIMIT_S + 30) == ("index",)
    script.on(LoopStalled(10 * SECOND), LIMIT_S + 31)
    polled_until(script, LIMIT_S + 40, begin_s=LIMIT_S + 31)
    assert silent(script, LIMIT_S + 40) == ()
    late_s = 2 * LIMIT_S + 40
    polled_until(script, late_s, begin_s=LIMIT_S + 40)
    assert silent(script, late_s) == ("26FEB26", "index")
    script.load((option(FAR, 100),), late_s)
    assert silent(script, late_s) == ("index",)


def test_an_underlying_without_a_list_has_no_streams() -> None:
    assert silent(Script(), 1_000) == ()
