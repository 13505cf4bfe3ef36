"""Chunks of a smart plan whose parts were done by no order of the plan: closed from outside, or filled before it."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from services.execution.records import ChunkEnd
from services.execution.rows import FellBack
from shared.messages.smart import SmartParams
from shared.messages.steps import Entry
from tests.unit.execution.play import CALL, HIGH_CALL, SECOND, Script, acked, fill, leg, position

SLOWLY = SmartParams(chunk_count=100, time_per_chunk_s=10.0, total_duration_s=2_000.0)


def _fill_placed(script: Script) -> None:
    for order in script.placed():
        script.fills_all(order, 10_000 + len(script.core.book.fills))


def _closing(script: Script, *legs: Any, smart: SmartParams, chunks: int) -> str:
    """A smart trade that its strategy closes, so many chunks of its close filled, and nothing of it at the venue."""
    deadline_ns = script.now_ns + 20_000 * SECOND
    trade_id = script.open(*legs, execution_mode="smart", smart=smart, deadline_ns=deadline_ns)
    while script.state(trade_id) != "OPEN":
        _fill_placed(script)
        script.wait(5_000)
    script.wait(5_000)
    script.snapshot(positions=script.positions())
    script.effects.clear()
    script.close(trade_id, "strategy demo")
    while len(_ended(script, trade_id)) < chunks:
        _fill_placed(script)
        script.wait(1_000)
    script.wait(10_000)
    assert script.state(trade_id) == "CLOSING"
    return trade_id


def _ended(script: Script, trade_id: str) -> list[ChunkEnd]:
    return [each for each in script.core.book.trades[trade_id].chunks if each.purpose == "close"]


def _looked_at_twice(script: Script, **left: str) -> None:
    """Somebody else's executions left so much of each symbol, which two looks at the positions show."""
    positions = [position(symbol, quantity) for symbol, quantity in left.items()]
    script.taken(positions)
    script.wait(2_500)
    script.taken(positions)


@pytest.mark.parametrize("dies", [False, True])
def test_a_close_in_a_hundred_chunks_ends_when_all_that_is_left_is_closed_from_outside(dies: bool) -> None:
    script = Script().started()
    trade_id = _closing(script, leg(CALL, "buy", "1"), smart=SLOWLY, chunks=1)
    if dies:
        script.restarted()
    _looked_at_twice(script)
    assert script.state(trade_id) == "CLOSED"
    assert script.held(trade_id) == [D(0)]
    assert [(each.number, each.complete, each.reason) for each in _ended(script, trade_id)] == [
        (0, True, "every leg has its part"),
        (1, True, "nothing is held"),
    ]
    assert script.refolded().book == script.core.book


@pytest.mark.parametrize("dies", [False, True])
def test_a_close_in_a_hundred_chunks_goes_on_with_what_was_left_by_somebody_else(dies: bool) -> None:
    script = Script().started()
    trade_id = _closing(script, leg(CALL, "buy", "1"), smart=SLOWLY, chunks=1)
    if dies:
        script.restarted()
    _looked_at_twice(script, **{CALL: "0.03"})
    assert script.state(trade_id) == "CLOSING"
    assert script.held(trade_id) == [D("0.03")]
    ended = _ended(script, trade_id)
    assert [each.number for each in ended] == list(range(97))
    assert all(each.complete for each in ended)
    assert script.placed() == [], "the 98th chunk has its time near the end of all"
    script.close(trade_id, "operator")
    sizes = []
    for _ in range(4):
        orders = script.placed()
        sizes += [order.quantity for order in orders]
        for order in orders:
            script.fills_all(order, 10_000 + len(script.core.book.fills))
        script.wait(1_000)
    assert sizes == [D("0.01")] * 3
    assert script.state(trade_id) == "CLOSED"
    assert script.refolded().book == script.core.book


TEN_OVER_AN_HOUR = SmartParams(chunk_count=10, total_duration_s=3_600.0)
CALL_SPREAD = (leg(CALL, "buy", "1"), leg(HIGH_CALL, "sell", "1"))


@pytest.mark.parametrize("left", ["0", "0.5"])
@pytest.mark.parametrize("dies", [False, True])
def test_a_stretched_close_that_loses_its_long_leg_buys_the_short_one_back_at_once(left: str, dies: bool) -> None:
    script = Script().started()
    trade_id = _closing(script, *CALL_SPREAD, smart=TEN_OVER_AN_HOUR, chunks=1)
    assert script.held(trade_id) == [D("0.9"), D("0.9")]
    script.taken([position(CALL, left), position(HIGH_CALL, "-0.9")])
    if dies:
        script.restarted()
        script.taken([position(CALL, left), position(HIGH_CALL, "-0.9")])
    script.wait(2_500)
    script.taken([position(CALL, left), position(HIGH_CALL, "-0.9")])
    assert script.held(trade_id) == [D(left), D("0.9")]
    (fell_back,) = script.rows(FellBack)
    assert (fell_back.purpose, fell_back.mode) == ("close", "limit")
    assert fell_back.reason == f"{CALL} was closed or liquidated from outside while other legs are held"
    (order,) = script.placed()
    assert (order.symbol, order.side, order.quantity, order.reduce_only) == (HIGH_CALL, "buy", D("0.9"), True)
    script.fills_all(order, 9_001)
    script.wait(1_000)
    _fill_placed(script)
    assert script.state(trade_id) == "CLOSED"
    assert script.refolded().book == script.core.book


def test_the_last_leg_of_a_stretched_close_keeps_its_time_when_a_part_of_it_is_closed_from_outside() -> None:
    script = Script().started()
    trade_id = _closing(script, leg(CALL, "buy", "1"), smart=TEN_OVER_AN_HOUR, chunks=1)
    _looked_at_twice(script, **{CALL: "0.5"})
    assert script.held(trade_id) == [D("0.5")]
    assert script.rows(FellBack) == []
    assert script.placed() == []


def test_an_opening_in_a_hundred_chunks_begins_at_the_one_that_what_is_filled_leads_to() -> None:
    script = Script().started()
    trade_id = script.open(
        leg(CALL, "buy", "1"), smart=SmartParams(chunk_count=100), deadline_ns=script.now_ns + 20_000 * SECOND
    )
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 1, "0.95"))
    script.cancels_all(order, "0.95")
    script.placed()
    row = FellBack(trade_id=trade_id, purpose="open", mode="smart", reason="stands in for a plan that was given up")
    script.entries.append(Entry(script.now_ns, "", row))
    script.restarted()
    script.snapshot(positions=script.positions())
    script.wait(2_000)
    assert [order.quantity for order in script.placed()] == [D("0.01")]
    trade = script.core.book.trades[trade_id]
    assert [each.number for each in trade.chunks] == list(range(95))
