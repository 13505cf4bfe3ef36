"""Bring a desk from the groups of strategies that it runs to those of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from shared.config import DeskConfig
from shared.ports import resolve_ports
from shared.shutdown import announce
from shared.strategy_groups import groups_path, holding_hosts, read_groups, write_groups
from shared.strategy_hosts import is_host
from voldesk.console import Failure, note
from voldesk.scrape_targets import write_targets
from voldesk.supervision import SupervisedProcess, SupervisorAway, write_programs

STOP_PATIENCE_S = 90.0
"""Longer than supervisord waits for any service to stop before it kills it."""

GROUPS_DIFFER = "the configuration has strategies in other groups than those that run"


class Stopping(Protocol):
    """What of supervisord this needs."""

    def processes(self) -> Mapping[str, SupervisedProcess]: ...
    def stop_service(self, name: str) -> None: ...
    def start_service(self, name: str) -> None: ...
    def apply_programs(self) -> tuple[tuple[str, ...], tuple[str, ...]]: ...


def apply_groups(desk: DeskConfig, supervisor: Stopping) -> list[str]:
    """Stop the hosts of a running desk that run or answer for other strategies by the configuration (`desk` is as
    configured), write what runs from now on, and start them again; what was started or restarted.

    The monitor learns of groups at its start, and execution of hosts. What was stopped is started again whatever
    fails: by the groups of before, or by the new ones once they are written. One that did not come to its end is done
    anew, with every host, by the next one. Raises Failure, SupervisorAway.
    """
    wanted = desk.strategy_hosts
    running = {name for name in supervisor.processes() if is_host(name)}
    begun = _begun_path(desk)
    before = None if begun.exists() else read_groups(desk.run_dir)
    concerned = {*running, *wanted.services} if before is None else wanted.moved(before)
    others = running != set(wanted.services)
    if not concerned and not others:
        return []
    concerned |= running ^ set(wanted.services)
    listeners = ["execution"] if before is None or others or wanted.places != before.places else []
    listeners.append("monitor")
    stopped: list[str] = []
    hosts = [host for host in wanted.services if host in concerned]
    begun.touch()
    try:
        for name in sorted(concerned & running):
            stopped.append(name)
            supervisor.stop_service(name)
        write_groups(desk.run_dir, wanted)
        stopped = hosts
        if others:
            write_programs(desk)
            write_targets(desk, resolve_ports(desk.run_dir, desk.ports))
            supervisor.apply_programs()
        # it is back in a moment: whatever is configured for the end of the desk is not meant
        announce(desk.run_dir, "leave")
        for name in listeners:
            stopped = [name, *hosts]
            supervisor.stop_service(name)
            supervisor.start_service(name)
        stopped = hosts
        begun.unlink()
    finally:
        for name in stopped:
            _start(supervisor, name)
    return [*listeners, *hosts]


def write_first_groups(desk: DeskConfig) -> None:
    """The configured groups count from now on: nothing of the desk runs yet."""
    write_groups(desk.run_dir, desk.strategy_hosts)
    _begun_path(desk).unlink(missing_ok=True)


def _begun_path(desk: DeskConfig) -> Path:
    """There while groups are being applied, and after that has failed."""
    return groups_path(desk.run_dir).with_suffix(".begun")


def _start(supervisor: Stopping, name: str) -> None:
    """One that cannot be started keeps none of the others from it."""
    try:
        supervisor.start_service(name)
    except (Failure, SupervisorAway) as error:
        note(f"{name} could not be started ({error}): repeat `voldesk up`")


def write_groups_of_stopped(desk: DeskConfig) -> None:
    """Where others start the processes: the configured groups count from when no host has a strategy any more."""
    if read_groups(desk.run_dir) != desk.strategy_hosts and (holders := holding_hosts(desk.run_dir)):
        note(f"{GROUPS_DIFFER}, in {', '.join(sorted(holders))}: they count once all strategy hosts were stopped")
        return
    write_groups(desk.run_dir, desk.strategy_hosts)
