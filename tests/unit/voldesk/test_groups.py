"""`voldesk up` on a running desk: strategies change hosts for every process at once, and nothing stays down."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from shared.bus.endpoints import Endpoints
from shared.config import ConfigError, DeskConfig
from shared.messages.control import StrategyCommandDone
from shared.strategy_groups import groups_path, holding_hosts, read_groups, tenancy_folder, write_groups
from shared.strategy_hosts import DEFAULT_HOST, is_host
from tests.unit.shared.samples import MINIMAL, write_desk
from tests.unit.voldesk.peers import Peers, Ran
from voldesk.groups import apply_groups, write_groups_of_stopped
from voldesk.supervision import SupervisedProcess, SupervisorAway


def configured(tmp_path: Path, enabled: str, transport: str = "ipc", **groups: str) -> DeskConfig:
    names = ", ".join(f'"{name}"' for name in enabled)
    text = f'[bus]\ntransport = "{transport}"\n[strategy]\nenabled = [{names}]\n'
    text += "".join(f'[strategy.instances.{name}]\ngroup = "{group}"\n' for name, group in groups.items())
    return write_desk(tmp_path, f"{MINIMAL}\n{text}")


class Supervised:
    """What supervisord does, as far as groups need it. `fails_at`: the first thing that it does not do."""

    def __init__(self, desk: DeskConfig, *running: str) -> None:
        self.desk = desk
        self.up = dict.fromkeys(running or desk.services, True)
        self.said: list[str] = []
        self.fails_at = ""

    def processes(self) -> dict[str, SupervisedProcess]:
        return {
            name: SupervisedProcess(name=name, state="", pid=up or None, uptime_s=None, exit_status=0, problem="")
            for name, up in self.up.items()
        }

    def stop_service(self, name: str) -> None:
        self._do(f"stop {name}")
        self.up[name] = False

    def start_service(self, name: str) -> None:
        self.said.append(f"start {name}")
        self.up[name] = True

    def apply_programs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        self._do("apply")
        files = {path.stem for path in (self.desk.run_dir / "supervisord").glob("*.conf")} | {DEFAULT_HOST}
        gone = tuple(name for name in self.up if is_host(name) and name not in files)
        for name in gone:
            assert not self.up.pop(name), f"{name} was to be stopped before"
        added = tuple(files - self.up.keys())
        self.up |= dict.fromkeys(added, True)
        return added, gone

    def _do(self, what: str) -> None:
        self.said.append(what)
        if what == self.fails_at:
            raise SupervisorAway


def applied(tmp_path: Path, enabled: str, transport: str = "ipc", **groups: str) -> DeskConfig:
    """A desk that runs these."""
    desk = configured(tmp_path, enabled, transport, **groups).as_configured()
    desk.run_dir.mkdir(parents=True, exist_ok=True)
    write_groups(desk.run_dir, desk.strategy_hosts)
    return desk


@pytest.mark.parametrize(
    ("enabled", "groups"),
    [("qp", {"x": "fast", "q": "fast"}), ("xqp", {"x": "fast", "q": "fast", "p": "fast"}), ("xqp", {})],
    ids=["taken out of enabled", "moved to a host that runs", "no group left"],
)
def test_until_up_every_process_that_starts_has_the_same_host_for_each_strategy(
    tmp_path: Path, enabled: str, groups: dict[str, str]
) -> None:
    running = applied(tmp_path, "xqp", x="fast", q="fast")
    edited = configured(tmp_path, enabled, **groups)
    for name in "xqp":
        assert edited.strategy_hosts.of(name) == running.strategy_hosts.of(name)
    assert edited.services == running.services, "commands ask those that run"
    assert edited.configured_hosts.moved(edited.strategy_hosts) == {"strategy", "strategy-fast"}


def test_a_strategy_taken_out_of_enabled_changes_hosts_when_both_are_stopped(tmp_path: Path) -> None:
    running = applied(tmp_path, "xqp", x="fast", q="fast")
    supervised = Supervised(running)
    wanted = configured(tmp_path, "qp", x="fast", q="fast").as_configured()
    assert apply_groups(wanted, supervised) == ["monitor", "strategy", "strategy-fast"]
    assert supervised.said == [
        *("stop strategy", "stop strategy-fast", "stop monitor", "start monitor"),
        *("start strategy", "start strategy-fast"),
    ]
    assert read_groups(wanted.run_dir) == wanted.strategy_hosts
    assert apply_groups(wanted, supervised) == [], "it is done"


def test_a_host_more_or_less_is_told_to_execution_and_the_monitor(tmp_path: Path) -> None:
    supervised = Supervised(applied(tmp_path, "xp", x="fast"))
    more = configured(tmp_path, "xp", x="fast", p="slow").as_configured()
    assert apply_groups(more, supervised) == ["execution", "monitor", "strategy", "strategy-slow"]
    fewer = configured(tmp_path, "xp", p="slow").as_configured()
    assert apply_groups(fewer, supervised) == ["execution", "monitor", "strategy"]
    assert "strategy-fast" not in supervised.up
    assert all(supervised.up.values())


@pytest.mark.parametrize("fails_at", ["stop strategy-fast", "apply", "stop execution", "stop monitor"])
def test_what_was_stopped_runs_again_whatever_fails_and_the_next_up_does_all_of_it(
    tmp_path: Path, fails_at: str
) -> None:
    supervised = Supervised(applied(tmp_path, "xqp", x="fast", q="fast"))
    supervised.fails_at = fails_at
    wanted = configured(tmp_path, "xqp", x="fast", q="slow").as_configured()
    with pytest.raises(SupervisorAway):
        apply_groups(wanted, supervised)
    assert all(supervised.up.values()), supervised.said
    supervised.fails_at = ""
    again = apply_groups(wanted, supervised)
    assert {"execution", "monitor", *wanted.strategy_hosts.services} == set(again)
    assert apply_groups(wanted, supervised) == []


def test_ports_over_tcp_stay_with_their_group_when_the_file_is_sorted_anew_or_a_group_goes(tmp_path: Path) -> None:
    running = applied(tmp_path, "ab", "tcp", a="ga", b="gb")
    addresses = Endpoints(tmp_path, running.bus, running.strategy_hosts)
    turned = configured(tmp_path, "ba", "tcp", b="gb", a="ga")
    assert apply_groups(turned.as_configured(), Supervised(running)) == []
    fewer = configured(tmp_path, "abc", "tcp", b="gb", c="gc").as_configured()
    after = Endpoints(tmp_path, fewer.bus, fewer.strategy_hosts)
    assert after.events("strategy-gb") == addresses.events("strategy-gb")
    assert after.requests("strategy-gc") == addresses.requests("strategy-ga"), "that of the group that is gone"
    assert len({address(name) for name in fewer.services for address in (after.events, after.requests)}) == 16


def test_groups_that_cannot_be_read_are_refused_with_what_to_do(tmp_path: Path) -> None:
    desk = applied(tmp_path, "x", x="fast")
    groups_path(desk.run_dir).write_text("{")
    with pytest.raises(ConfigError, match=r"strategy-groups\.json.*delete the file"):
        configured(tmp_path, "x", x="fast")


def test_where_others_start_processes_the_groups_change_only_when_no_host_runs(tmp_path: Path) -> None:
    running = applied(tmp_path, "xp", x="fast")
    folder = tenancy_folder(running.run_dir)
    folder.mkdir()
    (folder / "x").write_text("strategy-fast\n")
    assert holding_hosts(running.run_dir) == set()
    lock = os.open(folder / "x", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    wanted = configured(tmp_path, "xp", p="slow").as_configured()
    assert holding_hosts(running.run_dir) == {"strategy-fast"}
    write_groups_of_stopped(wanted)
    assert read_groups(running.run_dir) == running.strategy_hosts
    os.close(lock)
    write_groups_of_stopped(wanted)
    assert read_groups(running.run_dir) == wanted.strategy_hosts


def test_what_is_asked_of_all_strategies_is_asked_of_a_host_that_runs_although_it_is_not_to(peers: Peers) -> None:
    folder = tenancy_folder(peers.desk.run_dir)
    folder.mkdir()
    (folder / "x").write_text("strategy-fast\n")
    lock = os.open(folder / "x", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    peers.answer("strategy", lambda _: StrategyCommandDone(strategies=("p",)))
    assert "strategy-fast does not answer" in Ran("strategies", "pause", "*").err
    peers.answer("strategy-fast", lambda _: StrategyCommandDone(strategies=("x",)))
    assert json.loads(Ran("strategies", "pause", "*", "--json").out)["strategies"] == ["p", "x"]
    os.close(lock)
