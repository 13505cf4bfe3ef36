"""voldesk status: is every service alive and able to do its work?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from shared.config import DeskConfig
from shared.latch import read_latches
from shared.messages.reconciliation import DifferenceList, ListDifferences
from shared.views import duration_text
from voldesk.asking import ask
from voldesk.commands.halt import halts_in_force
from voldesk.console import EXIT_UNREACHABLE, Failure, Json, note, print_json, print_table, progress, say, state_text
from voldesk.health import DeskHealth, ServiceHealth, collect_health
from voldesk.preflight import load_desk, page_url

_LOOK_DEADLINE_MS = 1_000
_SHOWN = 5


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk status --json")(status)


def status(
    as_json: Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="End with 69 unless every service is RUNNING; for scripts.")
    ] = False,
) -> None:
    """Show every service: state, process, uptime, age of its heartbeat, restarts."""
    desk = load_desk()
    with progress("asking every service"):
        health = collect_health(desk)
    if as_json:
        print_json(health_json(desk, health))
    else:
        show_health(desk, health)
        if any(service.name == "execution" and service.state == "RUNNING" for service in health.services):
            _show_differences(desk)
        _show_halts(desk, health)
    if check and not health.all_running:
        names = ", ".join(service.name for service in health.services if service.state != "RUNNING")
        raise Failure(f"not running: {names}", "see `voldesk status`", EXIT_UNREACHABLE)


def _show_differences(desk: DeskConfig) -> None:
    """What stands between the venue and the journal, in one line."""
    try:
        found = ask(desk, "execution", ListDifferences(), DifferenceList, _LOOK_DEADLINE_MS).differences
    except Failure:
        return
    standing = [f"{each.difference.kind.replace('_', ' ')} {each.difference.symbol}" for each in found if each.stands]
    if standing:
        shown = ", ".join(standing[:_SHOWN]) + (" ..." if len(standing) > _SHOWN else "")
        say(f"not the desk's and left alone at the venue: {shown}; see `voldesk reconcile`")


def _show_halts(desk: DeskConfig, health: DeskHealth) -> None:
    for latch in read_latches(desk.run_dir):
        say(f"HALT flatten by {latch.raised_by} waits for execution: {latch.reason}")
    if not any(service.name == "execution" and service.state == "RUNNING" for service in health.services):
        return
    try:
        halts = halts_in_force(desk)
    except Failure:
        return
    for halt in halts:
        say(f"HALTED {halt.level} by {halt.raised_by}: {halt.reason}; `voldesk resume` lifts it")


def health_json(desk: DeskConfig, health: DeskHealth) -> dict[str, Any]:
    return {
        "mode": desk.mode,
        "venue": desk.venue,
        "account": desk.account_id,
        "services": [service_json(service) for service in health.services],
    }


def service_json(service: ServiceHealth) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": service.name,
        "state": service.state,
        "pid": service.pid,
        "uptime_s": service.uptime_s,
        "heartbeat_age_s": service.heartbeat_age_s,
        "restarts": service.restarts,
    }
    if service.detail:
        row["detail"] = service.detail
    return row


def show_health(desk: DeskConfig, health: DeskHealth) -> None:
    """The table of services, and below it what needs an eye."""
    print_table(
        desk,
        "services",
        ("service", "state", "pid", "uptime", "heartbeat", "restarts"),
        [
            (
                service.name,
                state_text(service.state),
                str(service.pid or "-"),
                duration_text(service.uptime_s),
                "-" if service.heartbeat_age_s is None else f"{service.heartbeat_age_s:.1f}s",
                "-" if service.restarts is None else str(service.restarts),
            )
            for service in health.services
        ],
        right=("pid", "uptime", "heartbeat", "restarts"),
    )
    if any(service.pid is not None for service in health.services):
        say("If this host dies, nothing cancels our orders at the venue: no dead-man switch.")
    for service in health.services:
        if service.detail and service.state != "RUNNING":
            say(f"{service.name}: {service.detail}")
    if health.foreign:
        note(f"voldesk: {health.foreign}; `voldesk down` and `voldesk up` put it right")
    if not health.supervised and all(service.pid is None for service in health.services):
        say("The desk is not running. Start it with `voldesk up`.")
    elif health.supervised and (url := page_url(desk)) is not None:
        say(f"dashboard {url}")
