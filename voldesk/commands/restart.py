"""voldesk restart: one service, while the others go on."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from shared.config import DeskConfig
from shared.shutdown import announce
from voldesk.commands.status import service_json
from voldesk.completion import complete_service
from voldesk.console import (
    EXIT_CONFIG,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Failure,
    Json,
    note,
    print_json,
    progress,
    say,
    title,
)
from voldesk.groups import GROUPS_DIFFER
from voldesk.health import ServiceHealth, collect_health, expected_services, last_log_line
from voldesk.preflight import load_whole_desk, refuse_in_containers
from voldesk.supervision import Supervisor, SupervisorAway

_POLL_S = 0.3


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk restart risk")(restart)


def restart(
    service: Annotated[
        str,
        typer.Argument(help="The service's name, as `voldesk status` shows it.", autocompletion=complete_service),
    ],
    as_json: Json = False,
    timeout: Annotated[float, typer.Option(min=1, max=3_600, help="Seconds to wait until it is ready.")] = 30.0,
) -> None:
    """Stop and start one service and wait until it is ready. Trades survive it, whichever service it is."""
    desk = load_whole_desk()
    names = expected_services(desk)
    if service not in names:
        raise Failure(f"{service!r} is no service of this desk", f"use one of: {', '.join(names)}", EXIT_USAGE)
    refuse_in_containers(desk, f"docker compose restart {service}")
    supervisor = Supervisor(desk)
    note(f"{title(desk)}: restarting {service}")
    if desk.configured_hosts.moved(desk.strategy_hosts):
        note(f"{GROUPS_DIFFER}: until `voldesk up` applies them, each strategy stays with its host")
    with progress(f"stopping {service}") as tell:
        try:
            if service == "execution":
                # It is back in a moment: whatever is configured for the end of the desk is not meant.
                announce(desk.run_dir, "leave")
            supervisor.stop_service(service)
            tell(f"starting {service}")
            supervisor.start_service(service)
        except SupervisorAway:
            raise Failure("the desk is not running", "start it with `voldesk up`", EXIT_UNREACHABLE) from None
        tell(f"waiting until {service} is ready, at most {timeout:.0f} s")
        row = _wait(desk, service, timeout)
    if as_json:
        print_json(service_json(row))
    else:
        say(f"{service} is {row.state}, pid {row.pid}")


def _wait(desk: DeskConfig, service: str, timeout_s: float) -> ServiceHealth:
    deadline = time.monotonic() + timeout_s
    while True:
        row = next(row for row in collect_health(desk).services if row.name == service)
        if row.state == "RUNNING":
            return row
        if row.state == "CONFIG_ERROR" or time.monotonic() > deadline:
            said = row.detail or last_log_line(desk.run_dir, service) or "its log is empty"
            raise Failure(
                f"{service} is {row.state}: {said}",
                f"see `voldesk logs {service}`",
                EXIT_CONFIG if row.state == "CONFIG_ERROR" else EXIT_UNREACHABLE,
            )
        time.sleep(_POLL_S)
