"""Alerts that begin and end again and again: told of once, and told again when they are steady."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.alert_config import FlappingSection, KindRule, Route
from services.monitor.alerts import Matter
from services.monitor.effects import Acknowledge, AlertRecord
from services.monitor.flapping import Flapping
from shared.messages.system import Severity
from tests.unit.monitor.desk import SECOND, START, alert, halts
from tests.unit.monitor.test_dispatch import Wire, config

KIND = "clock_off"


def lines(wire: Wire) -> list[str]:
    """What was told, a line per alert, without ids."""
    return [
        line.rpartition(" #")[0] for text in wire.texts("phone") for line in text.splitlines()[1:] if " #" in line
    ]


def blink(
    wire: Wire, times: int, *, from_s: float = 0.0, every_s: float = 60.0, severity: Severity = "critical"
) -> float:
    """Begin and end so many times, open for half of the time; the time after the last end."""
    for number in range(times):
        at_s = from_s + number * every_s
        wire.hear(alert(KIND, at_s, severity=severity), at_s)
        wire.run(at_s + 1, at_s + every_s / 2 - 1)
        wire.hear(alert(KIND, at_s + every_s / 2, severity="info", resolved=True), at_s + every_s / 2)
        wire.run(at_s + every_s / 2 + 1, at_s + every_s - 1)
    return from_s + times * every_s


def test_the_fourth_beginning_within_a_quarter_of_an_hour_is_told_as_flapping_and_then_nothing() -> None:
    wire = Wire()
    at_s = blink(wire, 10)
    told = lines(wire)
    assert [line.partition(":")[0] for line in told] == [
        "CRITICAL · Clock off",
        "Over · Clock off",
    ] * 3 + ["CRITICAL · Clock off"]
    assert told[-1] == (
        "CRITICAL · Clock off: flapping, begun 4 times within 15 min: told again once it is steady. "
        "clock_off at 180.0"
    )
    assert len(wire.written) == 20, "the log and the page have each of them"
    assert at_s == 600


def test_what_flapped_is_told_to_be_over_once_it_has_been_so_for_long_and_then_judged_anew() -> None:
    wire = Wire()
    blink(wire, 6)
    before = len(lines(wire))
    ended_s = 5 * 60 + 30
    wire.run(360, ended_s + 599)
    assert len(lines(wire)) == before
    wire.run(ended_s + 600, ended_s + 601)
    (over,) = lines(wire)[before:]
    assert over == "Over · Clock off: clock_off at 330.0 (flapped, over for 10 min now)"
    wire.run(ended_s + 602, 1_199)
    blink(wire, 1, from_s=1_200)
    assert [line.partition(":")[0] for line in lines(wire)[before + 1 :]] == [
        "CRITICAL · Clock off",
        "Over · Clock off",
    ]


def test_what_flapped_and_stays_open_is_told_after_two_minutes_and_reminded_of_and_ended_as_usual() -> None:
    wire = Wire()
    at_s = blink(wire, 5)
    before = len(lines(wire))
    wire.hear(alert(KIND, at_s, severity="critical"), at_s)
    wire.run(at_s, at_s + 119)
    assert len(lines(wire)) == before
    wire.run(at_s + 120, at_s + 1_100)
    steady, reminder = lines(wire)[before:]
    assert steady == "CRITICAL · Clock off: clock_off at 300.0 (flapped, open for 2 min now)"
    assert reminder.startswith("CRITICAL, open for ")
    wire.hear(alert(KIND, at_s + 1_101, severity="info", resolved=True), at_s + 1_101)
    wire.run(at_s + 1_101, at_s + 1_110)
    assert lines(wire)[-1] == "Over · Clock off: clock_off at 1401.0"


def test_worse_than_what_was_told_is_told_at_once_while_it_flaps() -> None:
    wire = Wire()
    at_s = blink(wire, 5, severity="warning")
    before = len(lines(wire))
    wire.hear(alert(KIND, at_s, severity="critical"), at_s)
    wire.run(at_s, at_s + 5)
    assert lines(wire)[before:] == ["CRITICAL · Clock off: clock_off at 300.0"]
    wire.hear(alert(KIND, at_s + 6, severity="info", resolved=True), at_s + 6)
    wire.run(at_s + 6, at_s + 700)
    assert [line.partition(":")[0] for line in lines(wire)[before + 1 :]] == ["Over · Clock off"]


def mostly_open(wire: Wire, from_s: int, to_s: int, *, code: str = "venue_unreadable", open_s: int = 110) -> None:
    """Open for so long of each two minutes, at every one of them."""
    for at_s in range(from_s, to_s, 120):
        wire.hear(alert(code, at_s, severity="critical"), at_s)
        wire.run(at_s + 1, at_s + open_s - 1)
        wire.hear(alert(code, at_s + open_s, severity="info", resolved=True), at_s + open_s)
        wire.run(at_s + open_s + 1, at_s + 119)


def escalating() -> Wire:
    route = Route(channels=("phone",), escalate_to=("mail",), remind_after_s=900)
    return Wire(config(routes={"default": route}))


def told_id(wire: Wire) -> str:
    """The id in the message that told that it flaps."""
    (text,) = (text for text in wire.texts("phone") if "flapping, begun" in text)
    return text.splitlines()[1].rpartition("#")[2]


def test_what_is_critical_and_flaps_on_is_told_every_quarter_of_an_hour_and_to_more_people_and_its_end_to_them() -> (
    None
):
    wire = escalating()
    mostly_open(wire, 0, 3 * 3_600)
    again = [line for line in lines(wire) if "flapping on" in line]
    assert len(again) == (3 * 3_600 - 360) // 900
    assert again[0] == (
        "CRITICAL, flapping for 15 min and not acknowledged · Venue unreadable: flapping on, begun 8 times within "
        "15 min, open for 92% of them. venue_unreadable at 360"
    )
    assert len([line for line in lines(wire) if "Venue unreadable" in line]) == 7 + len(again)
    assert len(wire.texts("mail")) == len(again)
    assert all(f"#{told_id(wire)}" in text for text in wire.texts("mail"))
    wire.run(3 * 3_600, 3 * 3_600 + 600)
    assert "Over · Venue unreadable" in wire.texts("mail")[-1]


def test_a_warning_that_flaps_on_is_told_every_hour_and_to_nobody_else() -> None:
    wire = escalating()
    blink(wire, 125, severity="warning")
    assert len([line for line in lines(wire) if "flapping on, begun 6" in line and "within 60 min" in line]) == 2
    assert wire.texts("mail") == []


@pytest.mark.parametrize("restarts", [False, True])
def test_acknowledged_under_the_id_in_the_message_it_is_told_no_more_until_it_is_over(restarts: bool) -> None:
    wire = escalating()
    mostly_open(wire, 0, 840)
    wire.on(Acknowledge(alert_id=told_id(wire), by="ada"), 845)
    mostly_open(wire, 960, 1_200)
    if restarts:
        wire.restart(1_199)
    before = len(lines(wire))
    mostly_open(wire, 1_200, 4_800)
    (matter,) = (each for each in wire.core.status(START).alerts if each.record.code == "venue_unreadable")
    assert matter.acknowledged_by == "ada"
    assert len(lines(wire)) == before
    wire.run(4_800, 5_400)
    assert [line.partition(":")[0] for line in lines(wire)[before:]] == ["Over · Venue unreadable"]


def matter_of(wire: Wire) -> Matter:
    (matter,) = wire.core.status(START).alerts
    return matter


@pytest.mark.parametrize("restarts", [False, True])
def test_what_flapped_and_was_acknowledged_is_reminded_of_once_it_stays_open_as_one_that_nobody_has_seen(
    restarts: bool,
) -> None:
    wire = escalating()
    mostly_open(wire, 0, 840, code=KIND)
    wire.on(Acknowledge(alert_id=told_id(wire), by="ada"), 845)
    wire.hear(alert(KIND, 850, severity="critical"), 850)
    wire.run(850, 900)
    assert matter_of(wire).acknowledged_by == "ada", "it still flaps"
    if restarts:
        wire.restart(900)
    before = len(lines(wire))
    wire.run(901, 980)
    assert (matter_of(wire).acknowledged_by, matter_of(wire).held_id) == ("", "")
    wire.run(981, 980 + 901)
    steady, reminder = lines(wire)[before:]
    assert steady.endswith("(flapped, open for 2 min now)")
    assert reminder.startswith("CRITICAL, open for 17 min and not acknowledged")
    assert len(wire.texts("mail")) == 1, "and escalated"


@pytest.mark.parametrize("restarts", [False, True])
def test_what_flapped_and_stays_open_is_seen_to_when_somebody_acknowledges_it_as_that(restarts: bool) -> None:
    wire = escalating()
    mostly_open(wire, 0, 840, code=KIND)
    wire.on(Acknowledge(alert_id=told_id(wire), by="ada"), 845)
    wire.hear(alert(KIND, 850, severity="critical"), 850)
    wire.run(850, 980)
    wire.on(Acknowledge(alert_id=matter_of(wire).alert_id, by="bert"), 981)
    if restarts:
        wire.restart(982)
    before = len(lines(wire))
    wire.run(982, 4_000)
    assert matter_of(wire).acknowledged_by == "bert"
    assert lines(wire)[before:] == []


def test_a_restart_tells_what_flaps_on_at_the_same_times_and_once() -> None:
    wire = escalating()
    mostly_open(wire, 0, 1_200)
    wire.restart(1_200)
    mostly_open(wire, 1_200, 1_320)
    wire.restart(1_321)
    mostly_open(wire, 1_440, 2_400)
    assert len([line for line in lines(wire) if "flapping on" in line]) == 2


def test_a_shorter_reminder_comes_before_and_under_the_same_id() -> None:
    wire = Wire(config(routes={"default": Route(channels=("phone",), remind_after_s=300)}))
    mostly_open(wire, 0, 720)
    (text,) = (text for text in wire.texts("phone") if "not acknowledged" in text)
    assert "CRITICAL, flapping for 5 min and not acknowledged" in text
    assert f"#{told_id(wire)}" in text


@pytest.mark.parametrize("code", ["naked_leg", "position_missing", "trade_broken", "trade_overfilled"])
def test_what_may_cost_money_each_time_is_told_each_time(code: str) -> None:
    wire = Wire()
    mostly_open(wire, 0, 1_200, code=code)
    assert len(lines(wire)) == 20


def test_even_what_may_cost_money_is_held_back_where_that_is_configured() -> None:
    wire = Wire(config(kinds={"position_missing": KindRule(hold_flapping=True)}))
    mostly_open(wire, 0, 1_200, code="position_missing")
    assert len(lines(wire)) == 7


def test_rare_beginnings_are_all_told() -> None:
    wire = Wire()
    blink(wire, 8, every_s=400)
    assert len(lines(wire)) == 16


def test_a_halt_is_somebodys_act_and_told_each_time() -> None:
    wire = Wire()
    for number in range(6):
        wire.hear(halts("no_new_trades", epoch=2 * number + 1), number * 20)
        wire.run(number * 20 + 1, number * 20 + 9)
        wire.hear(halts(epoch=2 * number + 2), number * 20 + 10)
        wire.run(number * 20 + 11, number * 20 + 19)
    wire.run(120, 200)
    assert len(lines(wire)) == 12


@pytest.mark.parametrize(
    "settings",
    [config(flapping=FlappingSection(begins=0)), config(kinds={KIND: KindRule(hold_flapping=False)})],
    ids=["none", "not this kind"],
)
def test_it_can_be_configured_that_nothing_is_held_back(settings: object) -> None:
    wire = Wire(settings)  # type: ignore[arg-type]
    blink(wire, 8)
    assert len(lines(wire)) == 16


def test_a_restart_goes_on_holding_back_and_tells_the_end_once() -> None:
    wire = Wire()
    blink(wire, 6)
    before = len(lines(wire))
    wire.restart(362)
    at_s = blink(wire, 2, from_s=363)
    assert len(lines(wire)) == before
    wire.restart(at_s + 550)
    wire.run(at_s + 551, at_s + 600)
    wire.restart(at_s + 601)
    wire.run(at_s + 602, at_s + 700)
    assert [line.partition(":")[0] for line in lines(wire)[before:]] == ["Over · Clock off"]


def test_what_is_over_before_it_is_told_does_not_count() -> None:
    wire = Wire(config(kinds={KIND: KindRule(after_s=40.0)}))
    at_s = blink(wire, 10)
    assert lines(wire) == []
    wire.hear(alert(KIND, at_s, severity="critical"), at_s)
    wire.run(at_s, at_s + 41)
    assert lines(wire) == ["CRITICAL · Clock off: clock_off at 600.0"]


def test_one_beginning_is_not_again() -> None:
    with pytest.raises(ValueError, match="begins is 0"):
        FlappingSection(begins=1)


changes = st.lists(
    st.tuples(st.integers(1, 400), st.sampled_from(["begin", "worse", "end"])), min_size=1, max_size=60
)


@given(changes)
def test_handed_over_after_a_restart_the_alerts_leave_the_same_things_held(steps: list[tuple[int, str]]) -> None:
    """One that was told of all as it came and looked each second, beside one that was handed all at once."""
    live, restored = Flapping(FlappingSection()), Flapping(FlappingSection())
    at_s, held, told = 0, False, []
    for pause_s, what in steps:
        for second in range(at_s + 1, at_s + pause_s + 1):
            held = held and not live.steady(START + second * SECOND)
        at_s += pause_s
        record = AlertRecord(
            code=KIND,
            severity="info" if what == "end" else "critical" if what == "worse" else "warning",
            subject="s",
            text="",
            service="execution",
            raised_ns=START + at_s * SECOND,
            resolved=what == "end",
        )
        verdict = live.note(record, str(at_s))
        held = held or verdict == "flapping"
        assert verdict != "held" or held, "only what was told to flap is held back"
        told.append(record)
        restored.restore(record, str(at_s))
        assert live.held == restored.held == (((KIND, "s"),) if held else ())
