"""voldesk up: check everything, start the desk, wait until it is ready."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from shared.config import DeskConfig
from shared.shutdown import announce
from voldesk.commands.status import countdowns_of, health_json, show_health
from voldesk.commands.web import needs_setup, setup_link, tell_setup
from voldesk.console import (
    EXIT_CONFIG,
    EXIT_FAILED,
    Failure,
    Json,
    Yes,
    confirm,
    note,
    print_json,
    progress,
    say,
    title,
)
from voldesk.groups import STOP_PATIENCE_S, apply_groups, write_first_groups
from voldesk.health import DeskHealth, ServiceHealth, collect_health, expected_services, last_log_line
from voldesk.identity import record_identity
from voldesk.preflight import (
    check_keys,
    choose_ports,
    disk_warning,
    exclusive,
    load_whole_desk,
    page_url,
    refuse_in_containers,
    unguarded_warning,
)
from voldesk.processes import desk_processes, end_processes
from voldesk.scrape_targets import write_targets
from voldesk.supervision import Supervisor, write_programs

_POLL_S = 0.5


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk up --timeout 90")(up)


def up(
    yes: Yes = False,
    as_json: Json = False,
    timeout: Annotated[float, typer.Option(min=1, max=3_600, help="Seconds to wait for all services.")] = 60.0,
) -> None:
    """Start the desk, or what of it is stopped, and wait until every service is ready."""
    desk = load_whole_desk().as_configured()
    refuse_in_containers(desk, "docker compose up -d")
    supervisor = Supervisor(desk)
    already = supervisor.pid() is not None
    if desk.mode == "LIVE" and not already:
        confirm(desk, "start trading with real money?", yes=yes)
    with exclusive(desk.run_dir), progress("starting the desk") as tell:
        if already:
            started = _start_stopped(desk, supervisor)
            note(f"{title(desk)}: already running" + (f", starting {', '.join(started)}" if started else ""))
        else:
            _start(desk, supervisor)
        health = _wait(desk, timeout, tell)
    if as_json:
        print_json({**health_json(desk, health, countdowns_of(desk, health)), **_places(desk)})
        return
    show_health(desk, health, countdowns_of(desk, health))
    say(f"run directory {desk.run_dir}")
    # not into a log, and not while somebody may be about to use the link of this desk's start
    if not already and sys.stdout.isatty() and (link := setup_link(desk)) is not None:
        tell_setup(link)
    elif needs_setup(desk):
        say("nobody can log in to the dashboard yet: `voldesk web` prints a link that makes the first user")
    say("next: `voldesk trades`, `voldesk strategies`, `voldesk logs -f`; `voldesk down` stops the desk")


def _places(desk: DeskConfig) -> dict[str, Any]:
    return {"page": page_url(desk), "run_dir": str(desk.run_dir)}


def _start(desk: DeskConfig, supervisor: Supervisor) -> None:
    orphans = desk_processes(desk.run_dir)
    if orphans:
        note(f"ending what is left of an earlier run: {', '.join(f'{row.name} ({row.pid})' for row in orphans)}")
        # The desk goes on in a moment: whatever is configured for its end is not meant.
        announce(desk.run_dir, "leave")
        if stuck := end_processes(orphans):
            raise Failure(
                f"{stuck[0].name} (pid {stuck[0].pid}) of an earlier run cannot be ended",
                f"end it by hand: kill -9 {stuck[0].pid}",
            )
    prepare_desk(desk)
    write_first_groups(desk)
    write_programs(desk)
    note(f"{title(desk)}: starting {', '.join(expected_services(desk))}")
    supervisor.launch()


def prepare_desk(desk: DeskConfig) -> None:
    """Keys, ports, Prometheus's targets, whose run directory it is: what must be there before the first process."""
    check_keys(desk)
    write_targets(desk, choose_ports(desk))
    record_identity(desk)
    for warning in (disk_warning(desk), unguarded_warning(desk)):
        if warning:
            note(warning)


def _start_stopped(desk: DeskConfig, supervisor: Supervisor) -> list[str]:
    """Start what does not run; a service that refused its configuration gets another chance."""
    check_keys(desk)
    changed = apply_groups(desk, Supervisor(desk, STOP_PATIENCE_S))
    processes = supervisor.processes()
    stopped = [name for name in expected_services(desk) if processes[name].pid is None]
    for name in stopped:
        supervisor.start_service(name)
    return list(dict.fromkeys((*changed, *stopped)))


def _wait(desk: DeskConfig, timeout_s: float, tell: Callable[[str], None]) -> DeskHealth:
    """Until every service is RUNNING. Raises Failure naming the one that is not, with the last line of its log."""
    begun = time.monotonic()
    deadline = begun + timeout_s
    shown: dict[str, str] = {}
    while True:
        health = collect_health(desk)
        for service in health.services:
            if shown.get(service.name) != service.state:
                shown[service.name] = service.state
                note(f"  {service.name:<12}{service.state}")
        if health.foreign:
            raise Failure(health.foreign, "stop the desk first with `voldesk down`", EXIT_CONFIG)
        if health.all_running:
            return health
        waiting = ", ".join(service.name for service in health.services if service.state != "RUNNING")
        tell(f"waiting for {waiting}: {time.monotonic() - begun:.0f} s of at most {timeout_s:.0f} s")
        refused = [service for service in health.services if service.state == "CONFIG_ERROR"]
        late = time.monotonic() > deadline
        if refused or late:
            raise _not_up(desk, (refused or [row for row in health.services if row.state != "RUNNING"])[0], timeout_s)
        time.sleep(_POLL_S)


def _not_up(desk: DeskConfig, service: ServiceHealth, timeout_s: float) -> Failure:
    said = service.detail or last_log_line(desk.run_dir, service.name) or "its log is empty"
    if service.state == "CONFIG_ERROR":
        return Failure(
            f"{service.name} refuses to start: {said}",
            f"correct it and repeat `voldesk up`; {_more(service)}",
            EXIT_CONFIG,
        )
    return Failure(
        f"{service.name} is {service.state} after {timeout_s:.0f} s: {said}",
        f"the desk goes on trying; {_more(service)}, or stop it with `voldesk down`",
        EXIT_FAILED,
    )


def _more(service: ServiceHealth) -> str:
    return f"see `voldesk logs {service.name}`"
