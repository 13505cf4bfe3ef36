"""The stack with docker-compose.groups.yml laid over it: a second strategy host in a container of its own.

The tests are one story in the order of the file. What docs/deployment.md says of groups, of the upgrade of one
service and of a backup is done here as it is written there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.compose.engine import SERVICES, Stack, built_stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1_800)]

HOSTS = ("strategy", "strategy-fast")
INSTANCE = '\n[strategy.instances.demo_fast]\nfile = "demo_strangle"\n'
GROUP = 'group = "fast"\n'
TOLD = """
from pathlib import Path


def told_to(view, now_ns):
    return (Path(__file__).parent / "told").exists()

"""
"""An exit that only the host that runs the strategy can look at."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with built_stack(tmp_path_factory.mktemp("groups")) as made:
        (made.home / ".env").write_text("COMPOSE_FILE=docker-compose.yml:docker-compose.groups.yml\n")
        path = made.home / "voldesk.toml"
        text = path.read_text()
        changed = text.replace('enabled = ["demo_strangle"]', 'enabled = ["demo_strangle", "demo_fast"]')
        assert changed != text
        changed = changed.replace("\n[ports]", "\n[ports]\nmetrics-strategy-fast = 9108\n#", 1)
        path.write_text(changed + INSTANCE + GROUP)
        strategy = made.home / "strategies" / "demo_strangle.py"
        strategy.write_text(TOLD + strategy.read_text().replace("exit_conditions=[", "exit_conditions=[told_to, "))
        made.services = (*SERVICES, "strategy-fast")
        yield made


def trade_of(stack: Stack, strategy: str) -> str:
    return stack.until(f"a trade of {strategy} is open", lambda: stack.open_trade(strategy))


def looked_after(stack: Stack, strategy: str) -> list[str]:
    """The trades of which the strategy's host shows what would close them."""
    rows: list[dict[str, Any]] = stack.look("strategies") or []
    return [each["trade_id"] for row in rows if row["strategy"] == strategy for each in row["exits"]]


def states_of(stack: Stack) -> dict[str, str]:
    return {row["strategy"]: row["state"] for row in stack.look("strategies") or []}


def test_both_hosts_come_up_trade_and_are_healthy_and_scraped(stack: Stack) -> None:
    stack.up()
    stack.until("all are running", stack.all_running)
    trades = {strategy: trade_of(stack, strategy) for strategy in ("demo_strangle", "demo_fast")}
    for strategy, trade_id in trades.items():
        stack.until(f"{trade_id} is looked after", lambda: looked_after(stack, strategy) == [trade_id])  # noqa: B023
    health = "{{.State.Health.Status}}"
    stack.until("healthy", lambda: all(stack.inspect(service, health) == "healthy" for service in HOSTS))
    assert stack.inspect("strategy-fast", "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}") == "10001:10001 true"

    def scraped() -> bool:
        found = stack.get("http://prometheus:9090/api/v1/targets?state=active")
        up = [t["labels"]["service"] for t in found["data"]["activeTargets"] if t["health"] == "up"] if found else []
        return sorted(up) == sorted(stack.services)

    stack.until("every service is scraped", scraped)


@pytest.mark.parametrize("service", [*HOSTS, "execution"])
def test_a_container_that_is_killed_comes_back_and_both_trades_are_looked_after(stack: Stack, service: str) -> None:
    trades = {strategy: trade_of(stack, strategy) for strategy in ("demo_strangle", "demo_fast")}
    others = {each: stack.inspect(each, "{{.State.StartedAt}}") for each in HOSTS if each != service}
    before = stack.inspect(service, "{{.RestartCount}}")
    stack.kill(service)
    stack.until(f"{service} was started again", lambda: stack.inspect(service, "{{.RestartCount}}") != before)
    stack.until("all are running", stack.all_running)
    for strategy, trade_id in trades.items():
        stack.until("the trade is looked after", lambda: looked_after(stack, strategy) == [trade_id])  # noqa: B023
        stack.until("the trade is open", lambda: stack.state_of(trade_id) == "OPEN")  # noqa: B023
    assert {each: stack.inspect(each, "{{.State.StartedAt}}") for each in others} == others


def test_one_service_alone_is_upgraded(stack: Stack) -> None:
    trade_id = trade_of(stack, "demo_fast")
    before = {service: stack.inspect(service, "{{.Image}} {{.State.StartedAt}}") for service in stack.services}
    with (stack.home / "services" / "__init__.py").open("a") as file:
        file.write("\n# a new version of one service\n")
    stack.compose("build", "setup")
    stack.compose("up", "-d", "--no-deps", "strategy-fast")
    stack.until("all are running", stack.all_running)
    after = {service: stack.inspect(service, "{{.Image}} {{.State.StartedAt}}") for service in stack.services}
    assert {service for service in after if after[service] != before[service]} == {"strategy-fast"}
    assert after["strategy-fast"].split()[0] != before["strategy-fast"].split()[0]
    stack.until("the trade is looked after", lambda: looked_after(stack, "demo_fast") == [trade_id])


def test_a_backup_is_restored_on_a_machine_that_has_nothing(stack: Stack) -> None:
    assert stack.voldesk("strategies", "pause", "demo_fast").returncode == 0
    trades = {strategy: trade_of(stack, strategy) for strategy in ("demo_strangle", "demo_fast")}
    kept = stack.home / "desk-backup.tar.gz"
    stack.compose("stop")
    stack.tar("-czf", "-", ".", written_to=kept)
    stack.down(with_data=True)

    stack.tar("-xzf", "-", read_from=kept)
    stack.up()
    stack.until("all are running", stack.all_running)
    for strategy, trade_id in trades.items():
        stack.until("the trade is looked after", lambda: looked_after(stack, strategy) == [trade_id])  # noqa: B023
        stack.until("the trade is open", lambda: stack.state_of(trade_id) == "OPEN")  # noqa: B023
    stack.until(
        "one runs and the other is still paused",
        lambda: states_of(stack) == {"demo_strangle": "running", "demo_fast": "paused"},
    )


def test_a_group_that_is_taken_back_has_its_trade_looked_after_by_the_default_host_which_closes_it(
    stack: Stack,
) -> None:
    trade_id = trade_of(stack, "demo_fast")
    stack.down()
    (stack.home / ".env").write_text("COMPOSE_FILE=docker-compose.yml\n")
    path = stack.home / "voldesk.toml"
    path.write_text(path.read_text().replace(GROUP, "").replace("metrics-strategy-fast = 9108\n", ""))
    stack.services = SERVICES
    stack.up()
    stack.until("all are running", stack.all_running)
    stack.until("the trade is looked after", lambda: looked_after(stack, "demo_fast") == [trade_id])
    (stack.home / "strategies" / "told").touch()
    stack.until("its new host closes it", lambda: stack.state_of(trade_id) == "CLOSED")
    stack.until("it has both", lambda: states_of(stack).keys() == {"demo_strangle", "demo_fast"})
