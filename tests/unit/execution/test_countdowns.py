"""The venue's countdown is armed while a strategy quotes, renewed in time, and never left armed by a clean end."""

from __future__ import annotations

import pytest

from services.execution.config import ExecutionConfig
from services.execution.effects import SetCountdown
from services.execution.winding_down import WindDown
from shared.messages.countdowns import Countdown, CountdownList, ListCountdowns
from shared.messages.steps import LoopStalled, RaiseAlert
from shared.messages.venue import CountdownRefused, CountdownSet, CountdownUnknown, NewOrder, OrderRefused
from tests.unit.execution.play import CALL, SECOND, Script, gone, leg, seen
from tests.unit.execution.test_quoting import change, codes, place, quoting, wish

ARMED_MS = 15_000
CONFIG = ExecutionConfig(quoting_countdown_s=15)


def asked(script: Script) -> list[tuple[str, int]]:
    return [(each.underlying, each.countdown_ms) for each in script.take(SetCountdown)]


def answered(script: Script, countdown_ms: int = ARMED_MS) -> Script:
    return script.on(CountdownSet(underlying="BTCUSD", countdown_ms=countdown_ms))


def armed() -> tuple[Script, str, NewOrder]:
    """A desk that quotes one bid under a countdown: it, the trade, and the bid."""
    script = Script(CONFIG).started()
    trade_id = quoting(script)
    answered(script)
    (bid,) = place(script, trade_id, wish("1", "980"))
    asked(script)
    return script, trade_id, bid


def test_it_is_armed_before_the_first_order_renewed_three_times_in_its_time_and_disarmed_at_the_end() -> None:
    script = Script(CONFIG).started()
    assert asked(script) == []
    trade_id = quoting(script)
    assert asked(script) == [("BTCUSD", ARMED_MS)]
    answered(script)
    (bid,) = place(script, trade_id, wish("1", "980"))
    script.wait(4_000)
    assert asked(script) == []
    script.wait(1_100)
    assert asked(script) == [("BTCUSD", ARMED_MS)]
    answered(script)
    script.cancel(trade_id=trade_id)
    assert asked(script) == [], "an order still rests"
    script.on(gone(script, bid.client_order_id))
    assert asked(script) == [("BTCUSD", 0)]
    answered(script, 0)
    script.wait(60_000)
    assert asked(script) == []


@pytest.mark.parametrize("mode", ["limit", "off"])
def test_nothing_is_armed_for_what_execution_works_itself_or_where_it_is_not_configured(mode: str) -> None:
    script = Script(CONFIG if mode == "limit" else None).started()
    if mode == "limit":
        script.open(leg(CALL, "buy"))
    else:
        place(script, quoting(script), wish("1", "980"))
    script.wait(30_000)
    assert asked(script) == []


def test_a_venue_that_does_not_answer_is_asked_again_and_a_person_hears_of_it() -> None:
    script = Script(CONFIG).started()
    quoting(script)
    for _ in range(3):
        assert asked(script) == [("BTCUSD", ARMED_MS)]
        script.on(CountdownUnknown(underlying="BTCUSD", reason="no answer"))
        script.wait(4_100)
    assert script.alerts() == ["countdown_not_renewed"]
    assert asked(script) == [("BTCUSD", ARMED_MS)]
    answered(script)
    assert [alert.code for alert in script.take(RaiseAlert) if alert.resolved] == ["countdown_not_renewed"]


def test_an_account_without_the_right_quotes_all_the_same_and_a_person_hears_of_it_once() -> None:
    script = Script(CONFIG).started()
    trade_id = quoting(script)
    assert len(asked(script)) == 1
    script.on(CountdownRefused(underlying="BTCUSD", lacks_right=True, text="not allowed"))
    script.wait(60_000)
    assert (asked(script), script.alerts()) == ([], ["countdown_refused"])
    assert codes(change(script, trade_id, place=(wish("1", "980"),))) == [""]


@pytest.mark.parametrize("what", ["restart", "stall"])
def test_after_time_that_may_have_been_too_long_it_is_armed_anew_at_once(what: str) -> None:
    script = Script(CONFIG).started()
    place(script, quoting(script), wish("1", "980"))
    asked(script)
    answered(script)
    if what == "restart":
        script.restarted()
    else:
        script.on(LoopStalled(gap_ns=20 * SECOND))
    assert asked(script) == [("BTCUSD", ARMED_MS)]


def test_an_order_refused_by_one_that_has_fired_frees_it_also_when_nobody_quotes_any_more() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(
        OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10619, text="countdown fired")
    )
    assert asked(script) == [("BTCUSD", 0)]
    assert script.alerts() == ["countdown_fired"]
    answered(script, 0)
    script.wait(3_000)
    assert len(script.placed()) == 1, "the opening goes on"


def test_a_stop_waits_until_it_is_disarmed() -> None:
    script, _, bid = armed()
    script.on(WindDown("leave", "execution stops"))
    assert script.cancelled() == [bid.client_order_id]
    script.on(seen(bid, "cancelled"))
    assert asked(script) == [("BTCUSD", 0)]
    assert script.core.winding_down.left() == ["the venue's countdown of BTCUSD is armed"]
    answered(script, 0)
    assert script.core.winding_down.left() == []


def test_a_stop_that_leaves_all_withdraws_nothing_and_waits_until_it_is_disarmed() -> None:
    script, trade_id, _ = armed()
    script.on(WindDown("leave_all", "execution stops"))
    assert asked(script) == [("BTCUSD", 0)]
    assert script.core.winding_down.left() == ["the venue's countdown of BTCUSD is armed"]
    answered(script, 0)
    script.wait(3_000)
    assert (script.core.winding_down.left(), script.cancelled(), asked(script)) == ([], [], [])
    assert codes(change(script, trade_id, place=(wish("1", "970"),))) == ["not_ready"]


def test_a_renewal_under_way_when_all_is_left_is_followed_by_the_disarming() -> None:
    script, _, _ = armed()
    script.wait(5_000)
    assert asked(script) == [("BTCUSD", ARMED_MS)]
    script.on(WindDown("leave_all", "execution stops"))
    assert asked(script) == []
    answered(script)
    assert asked(script) == [("BTCUSD", 0)]


def test_a_time_too_short_to_be_renewed_safely_is_refused() -> None:
    with pytest.raises(ValueError, match="quoting_countdown_s 14 must be 0 or at least 15"):
        ExecutionConfig(quoting_countdown_s=14)


def test_one_renewal_that_is_lost_does_not_let_the_shortest_one_fire() -> None:
    script = Script(ExecutionConfig(quoting_countdown_s=15)).started()
    place(script, quoting(script), wish("1", "980"))
    armed_ns = script.now_ns
    answered(script)
    asked(script)
    script.wait(5_000)
    assert asked(script) == [("BTCUSD", ARMED_MS)]
    script.wait(CONFIG.place_deadline_ms)
    script.on(CountdownUnknown(underlying="BTCUSD", reason="no answer"))
    script.wait(1_000)
    assert asked(script) == [("BTCUSD", ARMED_MS)]
    assert script.now_ns < armed_ns + ARMED_MS * 1_000_000


def told(script: Script) -> CountdownList:
    answer = script.ask(ListCountdowns())
    assert isinstance(answer, CountdownList)
    return answer


def test_a_person_is_told_what_is_armed_until_when_and_what_nobody_knows() -> None:
    script = Script(CONFIG).started()
    assert told(script) == CountdownList(countdown_s=15, lacks_right=False, countdowns=())
    place(script, quoting(script), wish("1", "980"))
    assert told(script).countdowns == (Countdown(underlying="BTCUSD", is_armed=None, fires_ns=None),)
    asked_ns = script.now_ns
    script.wait(100)
    answered(script)
    armed = Countdown(underlying="BTCUSD", is_armed=True, fires_ns=asked_ns + 15 * SECOND)
    assert told(script).countdowns == (armed,)
    script.wait(4_000)
    assert told(script).countdowns == (armed,), "counted from when it was asked for, not from now"
    script.on(LoopStalled(3 * SECOND))
    assert told(script).countdowns == (Countdown(underlying="BTCUSD", is_armed=None, fires_ns=None),)
    script.on(CountdownRefused(underlying="BTCUSD", lacks_right=True, text="not allowed"))
    assert told(script) == CountdownList(countdown_s=15, lacks_right=True, countdowns=())
    assert not [row for row in script.entries if "ountdown" in type(row.row).__name__], "a look is not journalled"
