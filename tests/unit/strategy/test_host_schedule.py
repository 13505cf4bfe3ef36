"""Schedules in a host: a firing is neither lost nor doubled, whatever restarts in between."""

from __future__ import annotations

from typing import Any

from shared.messages.control import RequestGrant
from shared.messages.steps import Tick
from shared.strategy import call_on, close_on, cron, daily_at, every, max_hold_hours, pause_on, resume_on
from shared.strategy.views import DeskView
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import HOUR, NOON, SECOND, at, leg, moved, trade
from tests.unit.strategy.test_host_control import straddler

SYMBOL = "BTCUSD-12MAR26-100000-C"
MINUTE = 60 * SECOND


def held(ordinal: int = 1, **more: Any) -> Any:
    return trade("OPEN", ordinal=ordinal, legs=[leg(SYMBOL)], **more)


def test_a_trade_is_opened_only_from_a_firing_on_and_once() -> None:
    desk = Dialogue(straddler(entry_schedule=cron("1 12 * * *"), max_concurrent_trades=3))
    desk.ready()
    desk.wait(50)
    assert desk.count(RequestGrant) == 0
    assert desk.gate("schedule").reason == "next at 2026-03-04 12:01:00 UTC: 1 12 * * * (UTC)"
    desk.wait(10)
    assert desk.count(RequestGrant) == 1, "at once, not with the next check"
    desk.give_grant()
    desk.accept("t1001")
    desk.opened(held(created_ns=desk.now_ns, opened_ns=desk.now_ns))
    desk.wait(40)
    assert desk.count(RequestGrant) == 1
    assert desk.gate("schedule").reason.startswith(
        "the trade of 2026-03-04 12:01:00 UTC was made; next at 2026-03-05"
    )


def test_a_firing_within_the_window_of_a_restart_is_not_lost_and_one_that_was_used_is_not_doubled() -> None:
    strategy = straddler(entry_schedule=cron("1 12 * * *"), max_concurrent_trades=3, schedule_window_seconds=120)
    desk = Dialogue(strategy, now_ns=NOON + 30 * SECOND)
    desk.now_ns = NOON + 100 * SECOND
    desk.restart()
    desk.ready()
    assert desk.count(RequestGrant) == 1
    desk.restart()
    desk.opened(held(created_ns=NOON + 101 * SECOND))
    desk.ready()
    desk.wait(10)
    assert desk.count(RequestGrant) == 1
    assert desk.gate("schedule").open is False


def test_exits_are_looked_at_only_from_a_firing_on() -> None:
    desk = Dialogue(straddler(exit_schedule=cron("2 12 * * *"), exit_conditions=[max_hold_hours(10 / 3600)]))
    desk.opened(held(exits=[max_hold_hours(10 / 3600)]))
    desk.ready()
    desk.wait(60)
    assert desk.closes() == []
    (exits,) = desk.status().exits
    assert exits.conditions[-1].reason == "exits are looked at next at 2026-03-04 12:02:00 UTC: 2 12 * * * (UTC)"
    desk.wait(70)
    assert {close.trade_id for close in desk.closes()} == {"t1001"}


def test_a_scheduled_close_closes_what_was_made_before_it_though_the_host_dies_in_between() -> None:
    desk = Dialogue(straddler(actions=[close_on(cron("1 12 * * *"))], max_concurrent_trades=1))
    desk.opened(held())
    desk.now_ns = NOON + MINUTE
    desk.put(Tick())
    assert desk.closes() == [], "execution's events have not been replayed"
    desk.restart()
    desk.opened(held())
    desk.ready()
    (close, *_) = desk.closes()
    assert (close.trade_id, close.reason) == ("t1001", "scheduled close: 1 12 * * * (UTC)")
    desk.opened(moved(held(), "CLOSED", desk.now_ns))
    desk.opened(held(2, created_ns=desk.now_ns, opened_ns=desk.now_ns))
    desk.wait(30)
    assert {each.trade_id for each in desk.closes()} == {"t1001"}, "the next trade stays"


def test_a_close_that_was_missed_is_carried_out_however_late() -> None:
    desk = Dialogue(straddler(actions=[close_on(daily_at("12:30"))]))
    desk.opened(held())
    desk.put(Tick())
    desk.now_ns = NOON + 20 * HOUR
    desk.restart()
    desk.opened(held())
    desk.ready()
    assert {close.trade_id for close in desk.closes()} == {"t1001"}


def test_a_pause_and_a_resume_come_at_their_times_and_survive() -> None:
    actions = [pause_on(cron("1 12 * * *")), resume_on(cron("3 12 * * *"))]
    desk = Dialogue(straddler(actions=actions))
    desk.ready()
    assert desk.status().state == "running"
    desk.wait(60)
    assert desk.status().state == "paused"
    assert desk.gate("state").reason == "paused by pause: 1 12 * * * (UTC)"
    desk.restart()
    assert desk.status().state == "paused"
    desk.command("resume")
    desk.wait(30)
    assert desk.status().state == "running", "a firing acts once: what a person says after it holds"
    desk.command("pause")
    desk.wait(100)
    assert desk.status().state == "running"


def test_a_callback_is_called_once_per_firing_and_not_when_it_is_too_late() -> None:
    called: list[int] = []

    def note(desk: DeskView, now_ns: int) -> None:
        called.append(now_ns)

    desk = Dialogue(straddler(actions=[call_on(note, cron("*/5 * * * *"), late_seconds=120)]))
    desk.put(Tick())
    desk.now_ns = at("2026-03-04T12:05")
    desk.put(Tick())
    desk.put(Tick())
    desk.restart()
    desk.put(Tick())
    assert called == [at("2026-03-04T12:05")]
    desk.now_ns = at("2026-03-04T12:18")
    desk.restart()
    desk.put(Tick())
    assert len(called) == 1, "three minutes late"
    assert [alert.code for alert in desk.alerts] == ["schedule_missed"]
    desk.now_ns = at("2026-03-04T12:21")
    desk.put(Tick())
    assert called[1:] == [at("2026-03-04T12:21")], "one minute late"


def test_what_a_callback_returns_is_nobodys_business() -> None:
    called: list[int] = []

    def write(desk: DeskView, now_ns: int) -> Any:
        called.append(now_ns)
        return len(called)

    desk = Dialogue(straddler(actions=[call_on(write, every(minutes=1))]))
    desk.ready()
    desk.wait(120)
    assert desk.status().state == "running"
    assert called == [NOON, NOON + MINUTE, NOON + 2 * MINUTE]


def test_what_fired_before_the_action_was_there_is_not_its_business() -> None:
    desk = Dialogue(straddler(actions=[pause_on(daily_at("11:59"))]))
    desk.ready()
    desk.wait(5)
    assert desk.status().state == "running"


def test_a_callback_that_raises_stops_its_strategy_and_its_close_still_comes() -> None:
    def broken(desk: DeskView, now_ns: int) -> None:
        raise RuntimeError("no")

    desk = Dialogue(straddler(actions=[call_on(broken, cron("1 12 * * *")), close_on(cron("2 12 * * *"))]))
    desk.opened(held())
    desk.ready()
    desk.wait(60)
    assert desk.status().state == "failed"
    desk.wait(60)
    assert {close.trade_id for close in desk.closes()} == {"t1001"}
