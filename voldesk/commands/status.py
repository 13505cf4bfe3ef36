"""voldesk status: is every service alive and able to do its work?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from shared.config import DeskConfig
from shared.latch import read_latches
from shared.messages.countdowns import CountdownList, ListCountdowns
from shared.messages.reconciliation import DifferenceList, ListDifferences
from shared.views import duration_text, iso
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
        countdowns = countdowns_of(desk, health)
    if as_json:
        print_json(health_json(desk, health, countdowns))
    else:
        show_health(desk, health, countdowns)
        if any(service.name == "execution" and service.state == "RUNNING" for service in health.services):
            _show_differences(desk)
        _show_halts(desk, health)
    if check and not health.all_running:
        names = ", ".join(service.name for service in health.services if service.state != "RUNNING")
        raise Failure(f"not running: {names}", "see `voldesk status`", EXIT_UNREACHABLE)


def countdowns_of(desk: DeskConfig, health: DeskHealth) -> CountdownList | None:
    """What execution knows of the venue's countdown; None when it does not answer."""
    if not any(service.name == "execution" and service.state == "RUNNING" for service in health.services):
        return None
    try:
        return ask(desk, "execution", ListCountdowns(), CountdownList, _LOOK_DEADLINE_MS)
    except Failure:
        return None


def switch_text(told: CountdownList | None) -> str:
    """What happens to orders at the venue if this host dies."""
    if told is None or (not told.countdowns and not told.countdown_s):
        return "If this host dies, nothing cancels our orders at the venue: no dead-man switch."
    if not told.countdowns:
        why = "the venue grants this account none" if told.lacks_right else "no strategy quotes"
        return f"If this host dies, nothing cancels our orders at the venue: its countdown is not armed, {why}."
    armed = [f"{each.underlying} at {_clock(each.fires_ns)}" for each in told.countdowns if each.fires_ns is not None]
    unsure = [each.underlying for each in told.countdowns if each.fires_ns is None]
    parts = []
    if armed:
        again = f", and {told.countdown_s} s after each renewal" if told.countdown_s else ""
        parts.append(f"If this host dies, the venue cancels every order in {', '.join(armed)}{again}; no others.")
    if unsure:
        parts.append(f"Whether the venue's countdown is armed in {', '.join(unsure)} is not known; it is being set.")
    return " ".join(parts)


def _clock(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%H:%M:%S} UTC"


def _countdown_json(told: CountdownList) -> dict[str, Any]:
    return {
        "countdown_s": told.countdown_s,
        "lacks_right": told.lacks_right,
        "underlyings": [
            {
                "underlying": each.underlying,
                "is_armed": each.is_armed,
                "fires_at": None if each.fires_ns is None else iso(each.fires_ns),
            }
            for each in told.countdowns
        ],
    }


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


def health_json(desk: DeskConfig, health: DeskHealth, countdowns: CountdownList | None) -> dict[str, Any]:
    return {
        "mode": desk.mode,
        "venue": desk.venue,
        "account": desk.account_id,
        "services": [service_json(service) for service in health.services],
        "countdown": None if countdowns is None else _countdown_json(countdowns),
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


def show_health(desk: DeskConfig, health: DeskHealth, countdowns: CountdownList | None) -> None:
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
        say(switch_text(countdowns))
    for service in health.services:
        if service.detail and service.state != "RUNNING":
            say(f"{service.name}: {service.detail}")
    if health.foreign:
        note(f"voldesk: {health.foreign}; `voldesk down` and `voldesk up` put it right")
    if not health.supervised and all(service.pid is None for service in health.services):
        say("The desk is not running. Start it with `voldesk up`.")
    elif health.supervised and (url := page_url(desk)) is not None:
        say(f"dashboard {url}")
