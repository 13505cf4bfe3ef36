"""Leverage: what is configured is applied and looked at, what a person asks is done once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.execution.config import ExecutionConfig
from services.execution.effects import ReadLeverage, SetLeverage, may_go_unwritten
from services.execution.rows import LeverageAsked
from shared.messages.contracts import (
    LeverageRead,
    LeverageReadFailed,
    LeverageRefused,
    LeverageSet,
    LeverageUnknown,
)
from shared.messages.leverage import ChangeLeverage, GetLeverage, LeverageChanged, LeverageList
from shared.messages.steps import RaiseAlert, Reply, Request
from shared.messages.trades import Refusal
from tests.unit.execution.play import Script, position
from tests.unit.execution.test_perpetual_trades import PerpetualScript

PERP = "BTCUSD"
FIVE = ExecutionConfig(leverage={PERP: 5})


def asked(script: Script, message: Any, request_id: str = "leverage") -> list[Any]:
    """Ask, and every answer to this request so far; it may come later."""
    script.on(Request(request_id, message, "c"))
    return answers(script, request_id)


def answers(script: Script, request_id: str = "leverage") -> list[Any]:
    return [each.message for each in script.take(Reply) if each.request_id == request_id]


def reads(script: Script) -> list[str]:
    return [each.symbol for each in script.take(ReadLeverage)]


def sets(script: Script) -> list[tuple[str, int]]:
    return [(each.symbol, each.leverage) for each in script.take(SetLeverage)]


def read(script: Script, leverage: int, symbol: str = PERP) -> None:
    script.on(LeverageRead(symbol=symbol, leverage=leverage, asked_ns=script.now_ns))


def mismatches(script: Script) -> list[bool]:
    """Alerts of a leverage that is not as configured: whether each says that it is over."""
    return [each.resolved for each in script.take(RaiseAlert) if each.code == "leverage_mismatch"]


def change(leverage: int = 3, symbol: str = PERP) -> ChangeLeverage:
    return ChangeLeverage(symbol=symbol, leverage=leverage, requested_by="operator")


def beginning(config: ExecutionConfig) -> Script:
    """A desk that has begun; what it asked of the venue is still there."""
    script = Script(config)
    script._take(script.core.start(script.now_ns))
    script.market()
    script.beats()
    script.snapshot()
    script.on(LeverageRead(symbol="ETHUSD", leverage=1, asked_ns=0))
    return script


def test_what_is_configured_is_read_at_the_start_and_left_alone_where_it_is_so() -> None:
    script = beginning(FIVE)
    assert reads(script) == [PERP]
    read(script, 5)
    script.wait(599_000)
    assert (sets(script), reads(script), mismatches(script)) == ([], [], [])
    script.wait(2_000)
    assert reads(script) == [PERP], "and looked at again"


def test_another_one_is_set_once_as_configured_and_seen() -> None:
    script = beginning(FIVE)
    read(script, 10)
    assert sets(script) == [(PERP, 5)]
    (row,) = script.rows(LeverageAsked)
    assert (row.leverage, row.requested_by) == (5, "configuration")
    read(script, 10)
    assert sets(script) == [], "it is on its way"
    reads(script)
    script.on(LeverageSet(symbol=PERP, leverage=5))
    assert reads(script) == [PERP]
    read(script, 5)
    assert mismatches(script) == []
    assert script.core.book.leverage_asked == {}
    assert script.refolded().book == script.core.book


def test_what_cannot_be_set_is_an_alert_until_it_is_so() -> None:
    script = beginning(FIVE)
    read(script, 10)
    sets(script)
    script.on(LeverageRefused(symbol=PERP, code=40038, text="positions"))
    read(script, 10)
    assert mismatches(script) == [False]
    assert sets(script) == []
    script.wait(601_000)
    read(script, 10)
    assert sets(script) == [(PERP, 5)], "tried again later"
    script.on(LeverageSet(symbol=PERP, leverage=5))
    read(script, 5)
    assert mismatches(script) == [True]


def test_too_many_requests_are_no_reason_to_wait_for_long() -> None:
    script = beginning(FIVE)
    read(script, 10)
    sets(script)
    script.on(LeverageRefused(symbol=PERP, code=10000, text="try again later", kind="throttled"))
    script.wait(11_000)
    reads(script)
    read(script, 10)
    assert (sets(script), mismatches(script)) == ([(PERP, 5)], [])


def test_with_a_position_of_the_desk_nothing_is_asked_of_the_venue() -> None:
    script = PerpetualScript()
    script.config = FIVE
    script.core = script._new_core()
    script.started()
    script.opened("buy", "0.015", 1)
    read(script, 10)
    assert sets(script) == []
    assert mismatches(script) == [False]
    (answer,) = asked(script, change(5))
    assert (answer.code, sets(script)) == ("in_use", [])


def test_a_foreign_position_stands_against_it_too() -> None:
    script = Script().started()
    for _ in range(3):
        script.wait(5_000)
        script.snapshot(positions=[position(PERP, "0.5")])
    (answer,) = asked(script, change())
    assert answer.code == "in_use"


def test_a_question_is_answered_with_what_the_venue_says_now() -> None:
    script = Script().started()
    assert asked(script, GetLeverage(symbols=(PERP, "BTCUSD-26JUN26"))) == []
    assert reads(script) == [PERP, "BTCUSD-26JUN26"]
    read(script, 10)
    assert answers(script) == []
    script.on(LeverageReadFailed(symbol="BTCUSD-26JUN26", reason="down: away"))
    (answer,) = answers(script)
    assert isinstance(answer, LeverageList)
    assert [(each.leverage, each.configured, each.detail) for each in answer.leverages] == [
        (10, None, ""),
        (None, None, "down: away"),
    ]
    script.wait(700_000)
    assert reads(script) == [], "what was asked once is not looked at again and again"


def test_a_read_that_is_lost_is_said_so() -> None:
    script = Script().started()
    asked(script, GetLeverage(symbols=(PERP,)))
    script.wait(11_000)
    (answer,) = answers(script)
    (status,) = answer.leverages
    assert (status.leverage, status.detail) == (None, "the venue did not answer")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (change(symbol="BTCUSD-26JUN26-100000-C"), "no_leverage"),
        (change(symbol="BTCUSDT"), "no_leverage"),
        (change(0), "bad_leverage"),
        (change(126), "bad_leverage"),
        (GetLeverage(symbols=("BTCUSDT",)), "no_leverage"),
        (GetLeverage(symbols=(PERP,) * 51), "too_many"),
    ],
)
def test_what_is_wrong_is_refused_with_its_reason(message: Any, code: str) -> None:
    script = Script().started()
    (answer,) = asked(script, message)
    assert isinstance(answer, Refusal)
    assert (answer.code, sets(script)) == (code, [])


def test_what_is_configured_is_not_set_to_something_else() -> None:
    script = Script(FIVE).started()
    (answer,) = asked(script, change(3))
    assert answer.code == "configured"
    assert "[execution.leverage]" in answer.detail


def test_a_change_is_journalled_sent_once_and_answered_by_its_outcome() -> None:
    script = Script().started()
    assert asked(script, change(3)) == []
    assert sets(script) == [(PERP, 3)]
    assert asked(script, change(3)) == []
    assert sets(script) == [], "the same request again"
    (busy,) = asked(script, change(4), "r2")
    assert busy.code == "busy"
    script.on(LeverageSet(symbol=PERP, leverage=3))
    assert answers(script) == [LeverageChanged(symbol=PERP, leverage=3)]
    assert asked(script, change(3)) == [LeverageChanged(symbol=PERP, leverage=3)]
    assert sets(script) == []
    assert script.refolded().book == script.core.book


def test_a_refusal_of_the_venue_is_the_answer() -> None:
    script = Script().started()
    asked(script, change(3))
    script.on(LeverageRefused(symbol=PERP, code=40038, text="open orders"))
    (answer,) = answers(script)
    assert (answer.code, "40038" in answer.detail) == ("leverage_refused", True)


@pytest.mark.parametrize("shown", [3, 10])
@pytest.mark.parametrize("how", ["lost", "killed before it was sent or answered"])
def test_a_change_without_an_outcome_is_looked_for_and_never_sent_again(how: str, shown: int) -> None:
    script = Script().started()
    asked(script, change(3))
    if how == "lost":
        script.on(LeverageUnknown(symbol=PERP, reason="time-out"))
    else:
        script.restarted()
        script.snapshot()
        assert asked(script, change(3)) == []
    sets(script)
    assert PERP in reads(script)
    read(script, shown)
    if shown == 10:
        assert answers(script) == [], "the venue may still act on it"
        script.wait(8_000)
        assert PERP in reads(script)
        read(script, shown)
    (answer,) = answers(script)
    assert answer == LeverageChanged(symbol=PERP, leverage=3) if shown == 3 else answer.code == "leverage_unchanged"
    assert sets(script) == []
    assert script.refolded().book == script.core.book


def test_it_waits_for_its_row_on_a_full_disk_and_config_names_futures_alone() -> None:
    assert not may_go_unwritten(SetLeverage(PERP, 5))
    for wrong in ({"BTCUSDT": 5}, {PERP: 0}, {PERP: 126}, {"BTCUSD-26JUN26-100000-C": 5}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"leverage": wrong}, ExecutionConfig)
    assert msgspec.convert({"leverage": {PERP: 5, "BTCUSD-6JUN26": 3}}, ExecutionConfig).leverage[PERP] == 5
