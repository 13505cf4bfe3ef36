"""What is open ends: also when the service that told of it was restarted, or what it is about is gone."""

from __future__ import annotations

import msgspec
import pytest

from services.monitor.config import MonitorConfig
from services.monitor.effects import Acknowledge
from shared.messages.alert_kinds import ALERT_KINDS, ENDED_BY_A_PERSON, TOLD_AGAIN
from shared.messages.control import StrategyStatus
from shared.strategy_hosts import StrategyHosts
from tests.unit.monitor.desk import START, Script, alert, heartbeat, strategy, summary

REMEMBERED = {
    "trade_broken",  # the monitor tells it, and its end, of the trades themselves
    "strategy_failed",  # likewise, of the strategies
    "journal_incomplete",  # over once a person lifts the halt, or acknowledges it
    "drawdown",  # these are in the journal of risk
    "daily_loss",
    "breaker_open",
    "margin_level",
    "margin_guard",
}
"""Whoever ends these knows of them beyond a restart of the service that told them."""

STATUS_TOPIC = "strat.short_strangle.status"


def told_again_by() -> list[tuple[str, str]]:
    return [(code, name) for code in sorted(TOLD_AGAIN) for name in ALERT_KINDS[code].by if name != "monitor"]


def test_every_alert_that_lasts_has_somebody_who_ends_it_beyond_a_restart_of_the_service_that_told_it() -> None:
    lasting = {code for code, kind in ALERT_KINDS.items() if not kind.is_notice and kind.by != ("monitor",)}
    assert lasting == TOLD_AGAIN | (ENDED_BY_A_PERSON & lasting) | REMEMBERED
    assert not TOLD_AGAIN & REMEMBERED


@pytest.mark.parametrize(("code", "service"), told_again_by())
def test_what_a_service_does_not_tell_again_after_its_restart_is_over_and_the_next_of_it_is_told(
    code: str, service: str
) -> None:
    script = Script()
    begun = msgspec.structs.replace(alert(code, 1, severity="critical"), service=service)
    assert summary(script.hear(begun, 1)) == [(code, "subject", False)]
    if service == "strategy":
        script.hear(heartbeat("execution", started_s=-500, beat_s=0), 0)
        script.hear(heartbeat("execution", started_s=-500, beat_s=189), 189)
    script.hear(heartbeat(service, epoch=2, started_s=10), 10)
    ended = script.hear(heartbeat(service, epoch=2, started_s=10, beat_s=190), 190)
    assert summary(ended) == [(code, "subject", True)]
    anew = msgspec.structs.replace(alert(code, 300, severity="critical"), service=service)
    assert summary(script.hear(anew, 300)) == [(code, "subject", False)]


TROUBLE = [("exit_blind", "strategy"), ("hedge_off", "strategy"), ("position_missing", "execution")]


def troubled(code: str, service: str) -> Script:
    """A desk of which a service has told of trouble, at 1 s; each service is watched from its first heartbeat on."""
    script = Script(MonitorConfig(services=()))
    begun = msgspec.structs.replace(alert(code, 1, severity="critical"), service=service)
    assert summary(script.hear(begun, 1)) == [(code, "subject", False)]
    return script


def ended_in(script: Script, code: str, seconds: range, **ready_of: bool | None) -> list[int]:
    """When the trouble was told to be over, with a heartbeat a second of each service, started anew at 10 s; None:
    it is silent."""
    ends = []
    for at_s in seconds:
        records = script.tick(at_s)
        for service, ready in ready_of.items():
            if ready is not None:
                beat = heartbeat(service, epoch=2, ready=ready, started_s=10, beat_s=at_s)
                records += script.hear(beat, at_s)
        ends += [at_s for record in records if record.code == code and record.resolved]
    return ends


@pytest.mark.parametrize(("code", "service"), TROUBLE)
def test_a_service_that_was_restarted_and_cannot_work_yet_has_said_nothing_of_what_it_told_before(
    code: str, service: str
) -> None:
    script = troubled(code, service)
    assert ended_in(script, code, range(10, 610), execution=False, strategy=True) == []
    assert ended_in(script, code, range(610, 900), execution=True, strategy=True) == [790]


@pytest.mark.parametrize(("code", "service"), TROUBLE)
def test_a_service_that_is_not_ready_in_between_has_its_time_anew(code: str, service: str) -> None:
    script = troubled(code, service)
    assert ended_in(script, code, range(10, 100), execution=True, strategy=True) == []
    assert ended_in(script, code, range(100, 400), execution=False, strategy=True) == []
    assert ended_in(script, code, range(400, 700), execution=True, strategy=True) == [580]


@pytest.mark.parametrize("code", ["exit_blind", "hedge_off"])
def test_a_strategy_host_knows_of_no_trade_while_execution_is_dead(code: str) -> None:
    script = troubled(code, "strategy")
    for at_s in range(-300, 10):
        script.hear(heartbeat("execution", started_s=-500, beat_s=at_s), at_s)
    assert ended_in(script, code, range(10, 400), execution=None, strategy=True) == []
    assert ended_in(script, code, range(400, 700), execution=True, strategy=True) == [580]


def test_a_strategy_host_is_not_believed_of_trades_before_execution_was_heard() -> None:
    script = troubled("exit_blind", "strategy")
    assert ended_in(script, "exit_blind", range(10, 400), strategy=True) == []


def shown(script: Script, status: StrategyStatus, at_s: float) -> None:
    script.hear(status, at_s, STATUS_TOPIC)


def test_the_silence_and_the_failure_of_a_strategy_that_was_taken_out_are_over_and_it_is_shown_no_more() -> None:
    script = Script(MonitorConfig(services=()))
    script.hear(heartbeat("strategy"), 0)
    shown(script, strategy("failed", "KeyError"), 1)
    assert summary(script.tick(20)) == [("service_down", "strategy", False), ("feed_stale", STATUS_TOPIC, False)]
    script.hear(heartbeat("strategy", epoch=2, started_s=21), 21)
    still = script.hear(heartbeat("strategy", epoch=2, started_s=21, beat_s=200), 200)
    assert summary(still) == [("service_down", "strategy", True)], "a slow start has its time"
    gone = script.hear(heartbeat("strategy", epoch=2, started_s=21, beat_s=202), 202)
    assert summary(gone) == [("feed_stale", STATUS_TOPIC, True), ("strategy_failed", "short_strangle", True)]
    assert script.core.status(START).strategies == ()
    assert script.core.status(START).silent_feeds == ()
    assert [each for each in script.tick(203) if each.code == "feed_stale"] == []


def test_a_host_that_starts_anew_says_nothing_of_the_strategies_of_another_one_that_is_dead() -> None:
    script = Script(MonitorConfig(services=()), hosts=StrategyHosts({"fast": ("short_strangle",)}))
    script.hear(heartbeat("strategy-fast"), 0)
    script.hear(heartbeat("strategy"), 0)
    shown(script, strategy(), 1)
    script.tick(20)
    script.hear(heartbeat("strategy", epoch=2, started_s=21), 21)
    script.hear(heartbeat("strategy", epoch=2, started_s=21, beat_s=300), 300)
    assert script.core.status(START).silent_feeds == (STATUS_TOPIC,), "its own host is silent, and it with it"
    assert [each.name for each in script.core.status(START).services if each.is_down] == ["strategy-fast"]
    script.hear(heartbeat("strategy-fast", epoch=2, started_s=301), 301)
    gone = script.hear(heartbeat("strategy-fast", epoch=2, started_s=301, beat_s=600), 600)
    assert ("feed_stale", STATUS_TOPIC, True) in summary(gone)


def test_a_strategy_that_was_taken_out_while_the_monitor_was_down_is_not_silent_for_ever() -> None:
    script = Script(MonitorConfig(services=()))
    shown(script, strategy(), 1)
    before = script.tick(20)
    assert summary(before) == [("feed_stale", STATUS_TOPIC, False)]
    later = Script(MonitorConfig(services=()), before=before)
    assert later.hear(heartbeat("strategy", epoch=2, started_s=-200, beat_s=179), 179) == []
    gone = later.hear(heartbeat("strategy", epoch=2, started_s=-200, beat_s=181), 181)
    assert summary(gone) == [("feed_stale", STATUS_TOPIC, True)]


def test_a_strategy_that_the_host_has_shown_since_its_start_is_silent_until_it_is_heard_again() -> None:
    script = Script(MonitorConfig(services=()))
    script.hear(heartbeat("strategy", epoch=2, started_s=0), 0)
    shown(script, strategy(), 1)
    script.tick(20)
    script.hear(heartbeat("strategy", epoch=2, started_s=0, beat_s=300), 300)
    assert script.core.status(START).silent_feeds == (STATUS_TOPIC,)
    shown(script, strategy(), 301)
    assert ("feed_stale", STATUS_TOPIC, True) in summary(script.tick(302))


@pytest.mark.parametrize("service", ["risk", "strategy"])
def test_rows_that_a_journal_lacks_are_over_once_somebody_acknowledges_them_but_for_execution_that_halts(
    service: str,
) -> None:
    script = Script()
    for each in (service, "execution"):
        begun = msgspec.structs.replace(
            alert("journal_incomplete", 1, severity="critical"), service=each, subject=each
        )
        script.hear(begun, 1)
    matters = {matter.record.subject: matter for matter in script.core.status(START).alerts}
    assert script.on(Acknowledge(alert_id=matters["execution"].alert_id, by="anna"), 2) == []
    ended = script.on(Acknowledge(alert_id=matters[service].alert_id, by="anna"), 3)
    assert summary(ended) == [("journal_incomplete", service, True)]
