"""The stack of docker-compose.yml in a real engine: it trades, and loses nothing whatever is taken from it.

The tests are one story in the order of the file: one stack, one trade that stays open through all that happens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compose.engine import SERVICES, Stack, built_stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with built_stack(tmp_path_factory.mktemp("compose")) as made:
        yield made


@pytest.fixture
def trade_id(stack: Stack) -> str:
    """The trade that is open."""
    return stack.until(
        "a trade is open", lambda: next((t["trade_id"] for t in stack.trades() if t["state"] == "OPEN"), None)
    )


def test_the_stack_comes_up_trades_and_every_container_is_healthy(stack: Stack) -> None:
    begun = time.monotonic()
    stack.up()
    trade = stack.until("a trade is open", lambda: next((t for t in stack.trades() if t["state"] == "OPEN"), None))
    print(f"cold start to the first open trade: {time.monotonic() - begun:.1f} s")
    assert len(trade["legs"]) == 2
    stack.until("all are running", stack.all_running)
    health = "{{.State.Health.Status}}"
    stack.until("healthy", lambda: all(stack.inspect(service, health) == "healthy" for service in SERVICES))
    for service in SERVICES:
        assert stack.inspect(service, "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}") == "10001:10001 true"
    assert "risk is alive" in stack.voldesk("healthcheck", "risk", service="risk").stdout
    assert stack.look("keys")["in_use"]
    assert stack.look("exchange", "status") is not None


def test_prometheus_scrapes_every_service_and_the_rules_and_alertmanager_are_loaded(
    stack: Stack, trade_id: str
) -> None:

    def told(path: str) -> Any:
        """What Prometheus answers, once it does."""
        return stack.until(path, lambda: stack.get(f"http://prometheus:9090/api/v1/{path}"))["data"]

    def scraped() -> bool:
        targets = told("targets?state=active")["activeTargets"]
        return {each["labels"]["service"] for each in targets if each["health"] == "up"} == set(SERVICES)

    def rules() -> list[dict[str, Any]]:
        return [rule for group in told("rules")["groups"] for rule in group["rules"]]

    stack.until("every service is scraped", scraped)
    assert len([rule for rule in rules() if rule["type"] == "alerting"]) > 10
    stack.until("every rule was evaluated without an error", lambda: all(rule["health"] == "ok" for rule in rules()))
    alertmanager = "http://alertmanager:9093/api/v2/status"
    assert stack.until("Alertmanager answers", lambda: stack.get(alertmanager))["config"]["original"]
    stack.until("Prometheus knows its Alertmanager", lambda: told("alertmanagers")["activeAlertmanagers"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_that_is_killed_comes_back_and_the_trade_is_still_open(
    stack: Stack, trade_id: str, service: str
) -> None:
    before = (
        stack.look("healthcheck", service) if service == "control" else stack.inspect(service, "{{.RestartCount}}")
    )
    begun = time.monotonic()
    stack.kill(service)
    stack.until(f"{service} was started again", lambda: stack.inspect(service, "{{.RestartCount}}") != before)
    stack.until("all are running", stack.all_running)
    print(f"{service}: killed to all ready {time.monotonic() - begun:.1f} s")
    stack.until("the trade is open", lambda: stack.state_of(trade_id) == "OPEN")


@pytest.mark.parametrize("service", ["strategy", "execution"])
def test_a_restart_by_compose_leaves_the_trade_as_it_is(stack: Stack, trade_id: str, service: str) -> None:
    before = stack.inspect(service, "{{.State.StartedAt}}")

    def legs() -> list[Any]:
        """Of the trades that are open."""
        return [trade["legs"] for trade in stack.trades() if trade["state"] == "OPEN"]

    known = stack.until("a trade is open", legs)
    stack.compose("restart", service)
    assert stack.inspect(service, "{{.State.StartedAt}}") != before
    stack.until("all are running", stack.all_running)
    stack.until("the trade is open", lambda: stack.state_of(trade_id) == "OPEN")
    stack.until("its legs are as they were", lambda: legs() == known)


def test_a_cut_from_the_venue_is_seen_and_heals(stack: Stack, trade_id: str) -> None:
    stack.cut("venue", "exchange")
    stack.until("marketdata notices", lambda: stack.states().get("marketdata") == "NOT_READY")
    assert stack.states()["execution"] != "NOT_RESPONDING"
    stack.heal("venue", "exchange")
    stack.until("all are running", stack.all_running)
    stack.until("the trade is open", lambda: stack.state_of(trade_id) == "OPEN")


def test_a_service_cut_from_the_bus_is_seen_and_heals(stack: Stack, trade_id: str) -> None:
    stack.cut("bus", "execution")
    # control shares the network of the venue with it, but not the name under which it is asked
    stack.until("execution is missed", lambda: stack.states().get("execution") == "NOT_RESPONDING")
    stack.heal("bus", "execution")
    stack.until("all are running", stack.all_running)
    stack.until("the trade is open", lambda: stack.state_of(trade_id) == "OPEN")


def test_a_key_is_rotated_while_the_stack_runs_and_a_revoked_one_is_cut_off(stack: Stack, trade_id: str) -> None:
    assert stack.voldesk("keys", "rotate", "execution").returncode == 0
    stack.until("all are running", stack.all_running)
    assert stack.voldesk("keys", "revoke", "risk", "--yes").returncode == 0
    stack.until("risk is cut off", lambda: stack.states().get("risk") == "NOT_RESPONDING")
    assert stack.voldesk("keys", "rotate", "risk").returncode == 0
    stack.until("all are running", stack.all_running)
    stack.until("the trade is open", lambda: stack.state_of(trade_id) == "OPEN")


def test_a_rebuilt_image_is_rolled_out_with_a_trade_open(stack: Stack, trade_id: str) -> None:
    before = {service: stack.inspect(service, "{{.Image}}") for service in SERVICES}
    with (stack.home / "services" / "__init__.py").open("a") as file:
        file.write("\n# a new version\n")
    stack.compose("build", "setup")
    stack.up()
    assert all(stack.inspect(service, "{{.Image}}") != before[service] for service in SERVICES)
    stack.until("all are running", stack.all_running)
    stack.until("the trade is open", lambda: stack.state_of(trade_id) == "OPEN")


def test_execution_killed_in_the_middle_of_a_close_finishes_it(stack: Stack, trade_id: str) -> None:
    assert stack.voldesk("strategies", "pause", "demo_strangle").returncode == 0
    assert stack.voldesk("close", trade_id, "--yes").returncode == 0
    stack.kill("execution")
    stack.until("the trade is closed", lambda: stack.state_of(trade_id) == "CLOSED")
    # risk reads positions by the second: what it has may be of before the fill
    stack.until("nothing is held", lambda: stack.look("positions") == [])


def test_every_service_ends_by_itself_when_it_is_asked_to(stack: Stack) -> None:
    containers = {service: stack.container(service) for service in SERVICES}
    stack.compose("stop", *SERVICES)
    how = ("docker", "inspect", "--format", "{{.State.Running}} {{.State.ExitCode}}")
    ended = {service: stack.run(*how, container).stdout.strip() for service, container in containers.items()}
    assert ended == dict.fromkeys(SERVICES, "false 0"), "137 is a SIGKILL after the time for SIGTERM was up"
    stack.up()
    stack.until("all are running", stack.all_running)


def test_data_is_kept_over_down_and_up(stack: Stack) -> None:
    trades, keys = stack.trades(), stack.look("keys")
    closed = [trade for trade in trades if trade["state"] == "CLOSED"]
    assert closed
    stack.down()
    stack.up()
    stack.until("all are running", stack.all_running)
    assert [trade for trade in stack.trades() if trade["state"] == "CLOSED"] == closed
    assert stack.look("keys") == keys
    assert stack.look("history") is not None


def test_an_image_with_an_extra_takes_a_channel_that_the_plain_one_refuses(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.down()
    config = stack.home / "voldesk.toml"
    config.write_text(config.read_text() + '\n[monitor.channels.phone]\nvia = "telegram"\nchat_id = 1\n')
    prepare = ("run", "--rm", "-T", "setup")
    refused = stack.compose(*prepare, check=False)
    assert refused.returncode == 78
    assert "add telegram to VOLDESK_EXTRAS in .env, then `docker compose build`" in refused.stderr

    monkeypatch.setitem(stack.environment, "VOLDESK_EXTRAS", "telegram")
    monkeypatch.setitem(stack.environment, "VOLDESK_IMAGE", "voldesk:test-extras")
    stack.compose("build", "setup")
    assert "VOLDESK_TELEGRAM_TOKEN" in stack.compose(*prepare, check=False).stderr
    put = "umask 077; mkdir -p ~/secrets && echo VOLDESK_TELEGRAM_TOKEN=1:x > ~/secrets/sim-monitor.env"
    stack.compose(*prepare, "sh", "-c", put)
    assert "is ready for its services" in stack.compose(*prepare).stdout
    stack.compose(*prepare, "python", "-c", "import telegram, matplotlib")
