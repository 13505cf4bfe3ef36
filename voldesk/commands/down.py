"""voldesk down: stop the desk, whatever state it is in."""

from __future__ import annotations

import time

import typer

from shared.config import DeskConfig
from voldesk.console import Failure, Json, note, print_json, progress, say, title
from voldesk.preflight import exclusive, load_desk
from voldesk.processes import DeskProcess, desk_processes, end_processes, wait_until_gone
from voldesk.supervision import Supervisor, SupervisorAway

_SUPERVISED_STOP_S = 45.0
_POLL_S = 0.1


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk down")(down)


def down(as_json: Json = False) -> None:
    """Stop every process of the desk. Orders that rest at the venue stay there; open trades stay open."""
    desk = load_desk()
    stopped: tuple[DeskProcess, ...] = ()
    if desk.run_dir.is_dir():
        with exclusive(desk.run_dir), progress("stopping the desk; services finish what they write"):
            stopped = stop_desk(desk)
    if as_json:
        names = [process.name for process in stopped]
        print_json({"mode": desk.mode, "account": desk.account_id, "stopped": names})
    elif stopped:
        say(f"{title(desk)}: stopped {', '.join(process.name for process in stopped)}")
    else:
        say(f"{title(desk)}: the desk was not running")


def stop_desk(desk: DeskConfig) -> tuple[DeskProcess, ...]:
    """Stop through supervisord, then by signal what is left. Raises Failure when a process cannot be ended."""
    before = desk_processes(desk.run_dir)
    supervisor = Supervisor(desk)
    try:
        supervisor.shut_down()
        note(f"{title(desk)}: stopping")
        wait_until_gone(before, _SUPERVISED_STOP_S)
        _wait_until_silent(supervisor)
    except SupervisorAway:
        pass
    if stuck := end_processes(desk_processes(desk.run_dir)):
        raise Failure(
            f"{stuck[0].name} (pid {stuck[0].pid}) cannot be ended", f"end it by hand: kill -9 {stuck[0].pid}"
        )
    return before


def _wait_until_silent(supervisor: Supervisor) -> None:
    """supervisord may start a service between our look and its own end: wait until it does not answer."""
    deadline = time.monotonic() + _SUPERVISED_STOP_S
    while supervisor.pid() is not None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
