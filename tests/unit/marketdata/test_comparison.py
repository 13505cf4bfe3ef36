"""Our figures beside the venue's, open interest that is read apart, chains at once, and silence per stream."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from services.marketdata import comparison
from services.marketdata.config import MarketdataConfig
from services.marketdata.core import MarketdataCore
from services.marketdata.effects import Compared, InstrumentsLoaded, OpenInterestRead
from shared.messages.market import COMPARISON_COLUMNS, ChainComparison, ChainSnapshot, Instrument
from shared.messages.steps import LoopStalled, Publish, RaiseAlert, Step, Tick
from shared.options import black76
from shared.options.symbols import years_to_expiry
from tests.unit.marketdata.test_core import FAR, LISTED, NEAR, SECOND, START, Script, option, push, row, shown

STRIKES = np.array([100.0, 110.0])
FORWARD, VOL = 105.0, 0.5
FINE_TICKS = tuple(
    msgspec.structs.replace(each, tick_size=msgspec.convert("0.0001", type(each.tick_size))) for each in LISTED
)


def fair(now_ns: int, vol: float = VOL) -> Any:
    return black76.price(FORWARD, STRIKES, years_to_expiry(now_ns, np.array([NEAR, NEAR])), vol, True)


def compared(step: Step) -> tuple[dict[str, Any], dict[str, float]]:
    """The columns of the comparison that a step published, and the differences that it told."""
    (message,) = [
        e.message for e in step.effects if isinstance(e, Publish) and isinstance(e.message, ChainComparison)
    ]
    (told,) = [e for e in step.effects if isinstance(e, Compared)]
    matrix = np.frombuffer(message.matrix, dtype="<f8").reshape(len(COMPARISON_COLUMNS), -1)
    return dict(zip(COMPARISON_COLUMNS, matrix, strict=True)), told.largest


def test_our_volatility_stands_beside_the_venues_and_the_difference_is_told() -> None:
    script = Script(MarketdataConfig())
    script.load(FINE_TICKS)
    now_ns = START + SECOND
    marks = fair(now_ns)
    rows = tuple(
        row(
            each.symbol,
            bid=mark * 0.995,
            ask=mark * 1.005,
            mark=mark,
            mark_iv=VOL + 0.02,
            bid_iv=0.4,
            forward=FORWARD,
        )
        for each, mark in zip(LISTED[:2], marks, strict=True)
    )
    script.on(msgspec.structs.replace(push(NEAR), rows=rows))
    columns, largest = compared(script.on(Tick(), 1))
    assert columns["own_mark_iv"][:2] == pytest.approx(VOL)
    assert columns["venue_mark_iv"][:2] == pytest.approx(VOL + 0.02)
    assert largest["mark_iv"] == pytest.approx(0.02)
    assert (columns["own_bid_iv"][:2] < columns["own_mark_iv"][:2]).all()
    assert (columns["own_ask_iv"][:2] > columns["own_mark_iv"][:2]).all()
    assert largest["bid_iv"] == pytest.approx(np.abs(columns["own_bid_iv"][:2] - 0.4).max())
    assert math.isnan(largest["ask_iv"])
    assert np.isnan(columns["own_mark_iv"][2:]).all()


def test_the_venues_greeks_stay_readable_beside_ours() -> None:
    script = Script(MarketdataConfig())
    script.load()
    script.on(push(NEAR, mark_iv=VOL, forward=FORWARD, delta=0.9, gamma=0.1, theta=-1.0))
    columns, largest = compared(script.on(Tick(), 1))
    years = years_to_expiry(START + SECOND, np.array([NEAR, NEAR]))
    expected = black76.greeks(FORWARD, STRIKES, years, VOL, True)
    assert columns["own_delta"][:2] == pytest.approx(expected.delta)
    assert columns["venue_delta"][:2] == pytest.approx([0.9, 0.9])
    assert largest["delta"] == pytest.approx(np.abs(expected.delta - 0.9).max())
    assert math.isnan(largest["vega"])


def test_where_a_tick_is_worth_more_than_a_volatility_point_the_rounding_is_not_judged() -> None:
    script = Script(MarketdataConfig())
    script.load()
    script.on(push(NEAR, mark_iv=VOL, forward=FORWARD))
    columns, largest = compared(script.on(Tick(), 1))
    assert np.isfinite(columns["own_mark_iv"][:2]).any()
    assert (columns["own_vega"][:2] < 1.0).all()
    assert math.isnan(largest["mark_iv"])


def test_the_comparison_goes_out_at_its_own_pace() -> None:
    script = Script(MarketdataConfig(comparison_interval_ms=5_000))
    script.load()
    script.on(push(NEAR))
    script.on(push(FAR))

    def told(at_s: float) -> int:
        return sum(isinstance(effect, Compared) for effect in script.on(Tick(), at_s).effects)

    assert [told(at_s) for at_s in (0, 1, 4, 5, 6)] == [1, 0, 0, 1, 0]


def test_every_compared_name_has_our_column_and_the_venues() -> None:
    assert (
        tuple(f"{source}_{name}" for source in ("own", "venue") for name in comparison.COMPARED) == COMPARISON_COLUMNS
    )


def interest(*values: float, expiry_ns: int = NEAR) -> OpenInterestRead:
    listed = [each for each in LISTED if each.expiry_ns == expiry_ns]
    rows = tuple(row(each.symbol, open_interest=value) for each, value in zip(listed, values, strict=True))
    return OpenInterestRead(chain=msgspec.structs.replace(push(expiry_ns), rows=rows))


def test_open_interest_that_was_read_outlives_the_pushes_that_have_none() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR))
    script.on(interest(12.5, 0.0), 0.1)
    script.on(push(NEAR, venue_ns=9), 0.5)
    view = shown(script.chain(1))
    assert view.column("open_interest")[:2] == pytest.approx([12.5, 0.0])
    assert np.isnan(view.column("open_interest")[2:]).all()
    assert view.value(LISTED[0].symbol, "bid") == 1.0


def test_open_interest_is_missing_and_never_zero_until_it_is_read_and_when_it_is_old() -> None:
    script = Script(MarketdataConfig(own_greeks=False, open_interest_interval_ms=10_000))
    script.load()
    script.on(push(NEAR))
    assert shown(script.chain(0)).value(LISTED[0].symbol, "open_interest") is None
    script.on(interest(3.0, math.nan))
    script.on(push(NEAR, venue_ns=1), 30)
    view = shown(script.chain(30))
    assert [view.value(each.symbol, "open_interest") for each in LISTED[:2]] == [3.0, None]
    script.on(push(NEAR, venue_ns=2), 31)
    assert shown(script.chain(31)).value(LISTED[0].symbol, "open_interest") is None


def test_open_interest_stays_with_its_option_when_the_list_changes_and_an_unlisted_one_is_ignored() -> None:
    script = Script()
    script.on(interest(1.0, 2.0))
    script.load(LISTED[1:])
    script.on(interest(1.0, 2.0))
    script.load(LISTED)
    script.on(push(NEAR))
    view = shown(script.chain(1))
    assert view.value(LISTED[0].symbol, "open_interest") is None
    assert view.value(LISTED[1].symbol, "open_interest") == 2.0


def test_in_immediate_mode_every_index_price_and_every_push_brings_a_chain_at_once() -> None:
    script = Script(MarketdataConfig(immediate=True))
    script.load()
    assert script.shown(script.on(push(NEAR))) is not None
    step = script.index(100.0, 0.001)
    assert [type(e.message).__name__ for e in step.effects] == ["IndexPrice", "ChainSnapshot"]
    assert shown(script.shown(script.index(100.0001, 0.002))).snapshot.index_price == 100.0001
    assert script.shown(script.on(push(FAR), 0.003)) is not None


def test_in_immediate_mode_nothing_is_shown_before_there_is_a_list() -> None:
    core = MarketdataCore(MarketdataConfig(immediate=True))
    effects = [*core.handle(push(NEAR), START).effects]
    assert not [each for each in effects if isinstance(each, Publish) and isinstance(each.message, ChainSnapshot)]


def alerts(step: Step) -> list[tuple[str, bool, str]]:
    raised = [each for each in step.effects if isinstance(each, RaiseAlert)]
    return [(each.subject, each.resolved, each.text) for each in raised]


def test_an_expiry_that_froze_while_others_run_is_named_once_and_its_return_told() -> None:
    script = Script()
    script.load()
    script.on(push(NEAR))

    def later(at_s: float, *expiries: int) -> list[tuple[str, bool, str]]:
        for expiry_ns in expiries:
            script.on(push(expiry_ns, venue_ns=int(at_s)), at_s)
        script.index(100.0, at_s, venue_ns=int(at_s))
        return alerts(script.on(Tick(), at_s))

    assert later(10, NEAR, FAR) == []
    assert later(20, NEAR) == []
    assert later(25, NEAR) == []
    assert later(26, NEAR) == [("BTCUSD", False, "not received of BTCUSD: 4MAR26")]
    assert script.core.stale_streams("BTCUSD", START + 26 * SECOND) == ("4MAR26",)
    assert later(27, NEAR) == []
    assert later(28, NEAR, FAR) == [("BTCUSD", True, "all of BTCUSD is received")]


def test_a_silent_index_is_named_beside_the_expiries() -> None:
    script = Script()
    script.load()
    script.index(100.0)
    script.on(push(NEAR), 10)
    script.on(push(FAR), 10)
    assert alerts(script.on(Tick(), 11)) == [("BTCUSD", False, "not received of BTCUSD: index")]
    assert alerts(script.on(Tick(), 30)) == [("BTCUSD", False, "not received of BTCUSD: 26FEB26, 4MAR26, index")]


def test_after_a_stall_every_stream_has_its_time_again_before_it_counts_as_silent() -> None:
    script = Script()
    script.load()
    script.index(100.0)
    script.on(push(NEAR))
    script.on(push(FAR))
    script.on(LoopStalled(60 * SECOND), 60)
    assert alerts(script.on(Tick(), 60)) == []
    assert alerts(script.on(Tick(), 70)) == []
    script.on(push(NEAR, venue_ns=1), 72)
    assert alerts(script.on(Tick(), 76)) == [("BTCUSD", False, "not received of BTCUSD: 4MAR26, index")]


def test_a_new_listing_has_the_time_of_an_expiry_to_be_received_before_it_counts_as_silent() -> None:
    script = Script()
    script.load(LISTED[:2])
    new: tuple[Instrument, ...] = (*LISTED[:2], option(FAR, 100))
    for at_s in range(44):
        if at_s == 20:
            script.on(InstrumentsLoaded(underlying="BTCUSD", instruments=new), at_s)
        script.on(push(NEAR, venue_ns=at_s), at_s)
        script.index(100.0, at_s, venue_ns=at_s)
        expected = [("BTCUSD", False, "not received of BTCUSD: 4MAR26")] if at_s == 36 else []
        assert alerts(script.on(Tick(), at_s)) == expected, at_s
