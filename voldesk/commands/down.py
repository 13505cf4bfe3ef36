"""voldesk down: stop the desk, whatever state it is in."""

from __future__ import annotations

import time
from typing import Annotated, cast, get_args

import typer

from shared.config import ConfigError, DeskConfig
from shared.messages.control import OnShutdown
from shared.shutdown import announce
from voldesk.console import EXIT_USAGE, Failure, Json, Yes, confirm, note, print_json, progress, say, title
from voldesk.preflight import exclusive, load_desk, refuse_in_containers
from voldesk.processes import DeskProcess, desk_processes, end_processes, wait_until_gone
from voldesk.supervision import Supervisor, SupervisorAway

_SUPERVISED_STOP_S = 110.0
_LEAVING_STOP_S = 15.0
_WINDING_DOWN_STOP_S = 75.0
"""Without supervisord; the second when execution may have orders to cancel or trades to close first."""

_POLL_S = 0.1


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk down; voldesk down --orders cancel")(down)


def down(
    orders: Annotated[
        str | None,
        typer.Option(help="leave, leave_all, cancel or flatten, not what on_shutdown in section execution says."),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Stop every process of the desk. The quotes of strategies are withdrawn; other orders stay at the venue and open
    trades stay open, unless --orders, or on_shutdown in section execution of voldesk.toml, says otherwise."""
    desk = load_desk()
    refuse_in_containers(desk, "docker compose stop")
    choice = _choice(desk, orders)
    if choice == "flatten" and desk.mode == "LIVE":
        confirm(desk, "close every open trade and stop the desk?", yes=yes)
    stopped: tuple[DeskProcess, ...] = ()
    if desk.run_dir.is_dir():
        if choice is not None:
            announce(desk.run_dir, choice)
        with exclusive(desk.run_dir), progress(f"stopping the desk{_doing(choice)}; services finish what they write"):
            stopped = stop_desk(desk, choice)
    if as_json:
        names = [process.name for process in stopped]
        print_json({"mode": desk.mode, "account": desk.account_id, "stopped": names})
    elif stopped:
        say(f"{title(desk)}: stopped {', '.join(process.name for process in stopped)}")
    else:
        say(f"{title(desk)}: the desk was not running")


def _choice(desk: DeskConfig, orders: str | None) -> OnShutdown | None:
    """What execution is to do first; None when neither the command nor a readable configuration says it."""
    if orders is not None:
        for choice in get_args(OnShutdown):
            if choice == orders:
                return cast(OnShutdown, choice)
        raise Failure(
            f"--orders {orders!r} is no choice", f"use one of: {', '.join(get_args(OnShutdown))}", EXIT_USAGE
        )
    # imported here because it loads numpy, which takes longer than most commands take to run
    from services.execution.config import ExecutionConfig

    try:
        return desk.section("execution", ExecutionConfig).on_shutdown
    except ConfigError:
        return None


def _doing(choice: OnShutdown | None) -> str:
    return {"cancel": ", its orders are cancelled", "flatten": ", its trades are closed"}.get(choice or "", "")


def stop_desk(desk: DeskConfig, choice: OnShutdown | None) -> tuple[DeskProcess, ...]:
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
    if stuck := end_processes(
        desk_processes(desk.run_dir), _LEAVING_STOP_S if choice == "leave_all" else _WINDING_DOWN_STOP_S
    ):
        raise Failure(
            f"{stuck[0].name} (pid {stuck[0].pid}) cannot be ended", f"end it by hand: kill -9 {stuck[0].pid}"
        )
    return before


def _wait_until_silent(supervisor: Supervisor) -> None:
    """supervisord may start a service between our look and its own end: wait until it does not answer."""
    deadline = time.monotonic() + _SUPERVISED_STOP_S
    while supervisor.pid() is not None and time.monotonic() < deadline:
        time.sleep(_POLL_S)
