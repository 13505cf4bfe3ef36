"""Which process runs a strategy, by the groups that instances name."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.bus.endpoints import Endpoints
from shared.config import SERVICE_NAMES, BusSection, ConfigError, DeskConfig
from shared.host_requests import asked_of, together
from shared.messages.control import ListStrategies, StrategyCommand, StrategyCommandDone, StrategyList
from shared.messages.trades import Refusal
from shared.strategy_hosts import GROUPS_MAX, StrategyHosts
from tests.unit.shared.samples import MINIMAL, write_desk

GROUPED = """
[strategy]
enabled = ["condor", "scalper", "grid", "plain"]

[strategy.instances.condor]
group = "slow"

[strategy.instances.scalper]
group = "fast"

[strategy.instances.grid]
group = "fast"

[strategy.instances.resting]
group = "idle"
"""


def grouped(tmp_path: Path, more: str = "") -> DeskConfig:
    return write_desk(tmp_path, MINIMAL + more + GROUPED)


def test_each_group_with_an_enabled_strategy_has_a_host_and_all_others_have_the_default_one(tmp_path: Path) -> None:
    desk = grouped(tmp_path)
    hosts = desk.strategy_hosts
    assert hosts.services == ("strategy", "strategy-fast", "strategy-slow")
    assert desk.services == (
        *("exchange", "marketdata", "risk", "execution"),
        *("strategy", "strategy-fast", "strategy-slow", "monitor"),
    )
    names = ("condor", "scalper", "grid", "plain", "resting", "gone", "scalper.hedge")
    assert [hosts.of(name).removeprefix("strategy") for name in names] == [
        *("-slow", "-fast", "-fast", "", "", "", "-fast")
    ]
    assert hosts.enabled("strategy-fast", ("condor", "scalper", "plain")) == ("scalper",)
    assert hosts.enabled("strategy", ("condor", "scalper", "plain")) == ("plain",)


def test_a_desk_without_groups_has_one_host(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    assert desk.strategy_hosts.services == ("strategy",)
    assert [name for name in desk.ports if "strategy" in name] == ["metrics-strategy"]


def test_each_host_has_its_port_and_its_addresses_and_those_of_others_stay_where_they_were(tmp_path: Path) -> None:
    desk = grouped(tmp_path, '\n[ports]\n"metrics-strategy-fast" = 19000\n')
    assert (desk.ports["metrics-strategy-fast"], desk.ports["metrics-strategy-slow"]) == (19_000, 0)
    tcp = BusSection(transport="tcp")
    before, after = Endpoints(tmp_path, tcp), Endpoints(tmp_path, tcp, desk.strategy_hosts)
    assert [after.requests(name) for name in SERVICE_NAMES] == [before.requests(name) for name in SERVICE_NAMES]
    names = (*SERVICE_NAMES, "strategy-slow", "strategy-fast")
    assert len({address(name) for name in names for address in (after.events, after.requests)}) == 2 * len(names)
    with pytest.raises(ConfigError, match="metrics-strategy-idle"):
        grouped(tmp_path, '\n[ports]\n"metrics-strategy-idle" = 19000\n')


@pytest.mark.parametrize("group", ["Fast", "fast-er", "1st", "a.b", "../x", "a" * 21])
def test_a_group_whose_name_cannot_be_that_of_a_service_is_refused(tmp_path: Path, group: str) -> None:
    with pytest.raises(ConfigError, match="lower-case letters and digits"):
        write_desk(tmp_path, f'{MINIMAL}\n[strategy.instances.condor]\ngroup = "{group}"\n')


def test_more_groups_than_there_are_ports_for_are_refused(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(GROUPS_MAX + 1)]
    sections = "".join(f'[strategy.instances.{name}]\ngroup = "g{name}"\n' for name in names)
    enabled = ", ".join(f'"{name}"' for name in names)
    with pytest.raises(ConfigError, match=f"{GROUPS_MAX} are the most"):
        write_desk(tmp_path, f"{MINIMAL}\n[strategy]\nenabled = [{enabled}]\n{sections}")


def test_a_command_goes_to_the_host_of_its_strategy_and_what_concerns_all_to_every_host() -> None:
    hosts = StrategyHosts({"fast": ("grid",)})

    def told(name: str) -> StrategyCommand:
        return StrategyCommand(action="pause", strategy=name, requested_by="test")

    assert asked_of("strategy", told("grid"), hosts) == ("strategy-fast",)
    assert asked_of("strategy", told("other"), hosts) == ("strategy",)
    assert asked_of("strategy", told("*"), hosts) == ("strategy", "strategy-fast")
    assert asked_of("strategy", ListStrategies(), hosts) == ("strategy", "strategy-fast")
    assert asked_of("risk", ListStrategies(), hosts) == ("risk",)


def test_the_answers_of_hosts_are_one_and_a_refusal_is_not_lost_among_them() -> None:
    done = [StrategyCommandDone(strategies=("a",)), StrategyCommandDone(strategies=("b", "c"))]
    assert together(done) == StrategyCommandDone(strategies=("a", "b", "c"))
    assert together([StrategyList(strategies=()), StrategyList(strategies=())]) == StrategyList(strategies=())
    refused = Refusal(code="unknown_action", detail="no", remedy="")
    assert together([done[0], refused]) == refused
