"""Rules for a silent strategy host stand on the host that answers for the trade's strategy, whichever that is."""

from __future__ import annotations

import pytest

from services.execution.hosts import HostsHeard
from shared.messages.steps import RaiseAlert
from tests.unit.execution.play import CALL, SECOND, T0, Script, beat, leg


def test_a_host_is_silent_for_the_strategies_that_it_names_and_for_no_others() -> None:
    hosts = HostsHeard()
    hosts.begin(T0)
    hosts.heard(beat("strategy", T0, "demo"), T0 + 30 * SECOND)
    assert hosts.last_ns("demo") == T0 + 30 * SECOND
    assert hosts.last_ns("grid") == hosts.last_ns("grid.hedge") == T0
    assert hosts.heard(beat("strategy-fast", T0, "grid"), T0 + 40 * SECOND) == 40 * SECOND
    assert hosts.last_ns("grid") == hosts.last_ns("grid.hedge") == T0 + 40 * SECOND
    hosts.begin(T0 + 90 * SECOND)
    assert hosts.last_ns("grid") == T0 + 90 * SECOND, "after a stall everybody has the full silence again"


def test_a_strategy_that_its_host_names_no_more_is_silent_although_the_host_is_alive() -> None:
    hosts = HostsHeard()
    hosts.begin(T0)
    hosts.heard(beat("strategy-fast", T0, "x", "q"), T0 + SECOND)
    for second in range(2, 100):
        hosts.heard(beat("strategy-fast", T0, "q"), T0 + second * SECOND)
        hosts.heard(beat("strategy", T0, "p"), T0 + second * SECOND)
    assert hosts.last_ns("x") == T0 + SECOND
    hosts.heard(beat("strategy", T0, "p", "x"), T0 + 100 * SECOND)
    assert hosts.last_ns("x") == T0 + 100 * SECOND, "whichever host takes it"


def test_a_host_that_starts_anew_keeps_what_it_had_for_half_a_minute_and_not_for_ever() -> None:
    hosts = HostsHeard()
    hosts.begin(T0)
    hosts.heard(beat("strategy", T0, "demo"), T0)
    for second in range(1, 300):
        hosts.heard(beat("strategy", T0, ready=False), T0 + second * SECOND)
    assert hosts.last_ns("demo") == T0 + 30 * SECOND


@pytest.mark.parametrize(("strategy", "state"), [("demo", "OPEN"), ("grid", "CLOSING")])
def test_a_trade_that_no_host_answers_for_is_closed_although_a_host_is_heard(strategy: str, state: str) -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), strategy=strategy, if_host_silent="close", host_silent_after_s=20.0)
    script.wait(22_000)
    assert script.state(trade_id) == state


def told(script: Script) -> list[tuple[str, bool]]:
    alerts = script.take(RaiseAlert)
    return [(alert.subject, alert.resolved) for alert in alerts if alert.code == "trade_without_host"]


def test_a_trade_that_a_living_host_has_given_up_is_told_of_until_a_host_takes_it() -> None:
    script = Script().started()
    script.opened(leg(CALL, "buy"), strategy="demo")
    script.wait(70_000)
    assert "trade_without_host" not in script.alerts()
    script.answered_for = ("other",)
    script.wait(70_000)
    assert told(script) == [("demo", False)]
    script.answered_for = ("demo", "other")
    script.effects.clear()
    script.wait(10_000)
    assert told(script) == [("demo", True)]
