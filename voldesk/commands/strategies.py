"""voldesk strategies: what each strategy waits for; pause, resume, stop, run once."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.messages.control import ListStrategies, StrategyCommand, StrategyCommandDone, StrategyList, StrategyStatus
from shared.views import strategy_json
from voldesk.asking import ask_hosts, operator
from voldesk.completion import complete_strategy
from voldesk.console import Json, print_json, print_table, say, state_text, title
from voldesk.preflight import load_desk

Name = Annotated[
    str, typer.Argument(help="The strategy's name; '*' means all of them.", autocompletion=complete_strategy)
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        invoke_without_command=True,
        help="List strategies with what each waits for; pause or resume one, or let it open one trade.",
        epilog="Example: voldesk strategies; voldesk strategies pause demo_strangle",
    )
    group.callback()(strategies)
    group.command(epilog="Example: voldesk strategies pause demo_strangle")(pause)
    group.command(epilog="Example: voldesk strategies resume '*'")(resume)
    group.command(epilog="Example: voldesk strategies stop demo_strangle")(stop)
    group.command("run-once", epilog="Example: voldesk strategies run-once demo_strangle")(run_once)
    app.add_typer(group, name="strategies")


def strategies(context: typer.Context, as_json: Json = False) -> None:
    """List strategies with what each waits for; pause or resume one, or let it open one trade."""
    if context.invoked_subcommand is not None:
        return
    desk = load_desk()
    answer = ask_hosts(desk, ListStrategies(), StrategyList)
    if as_json:
        print_json([strategy_json(status) for status in answer.strategies])
        return
    hosts = desk.strategy_hosts
    has_groups = bool(hosts.groups)
    print_table(
        desk,
        "strategies",
        ("strategy", *(("host",) if has_groups else ()), "state", "today", "open", "if broken", "waits for"),
        [
            (
                row.strategy,
                *((hosts.of(row.strategy),) if has_groups else ()),
                state_text(row.state),
                str(row.trades_today),
                str(row.open_trades),
                row.if_broken or "-",
                f"{row.parameters}; {_waits_for(row)}" if row.parameters else _waits_for(row),
            )
            for row in answer.strategies
        ],
        right=("today", "open"),
    )


def pause(name: Name, as_json: Json = False) -> None:
    """Open nothing new; exits of open trades go on. Survives restarts."""
    _command("pause", name, as_json)


def resume(name: Name, as_json: Json = False) -> None:
    """Let a paused strategy open trades again."""
    _command("resume", name, as_json)


def stop(name: Name, as_json: Json = False) -> None:
    """Open nothing more; once its open trades have closed by their exits it is stopped. Survives restarts."""
    _command("stop", name, as_json)


def run_once(name: Name, as_json: Json = False) -> None:
    """Let a strategy open one trade when its gates allow it, then pause it again. Survives restarts."""
    _command("run_once", name, as_json)


def _command(action: str, name: str, as_json: bool) -> None:
    desk = load_desk()
    command = StrategyCommand(action=action, strategy=name, requested_by=operator())
    done = ask_hosts(desk, command, StrategyCommandDone)
    if as_json:
        print_json({"action": action, "strategies": list(done.strategies)})
    else:
        said = {
            "pause": "paused",
            "resume": "resumed",
            "stop": "told to stop after its last close:",
            "run_once": "told to run once",
        }[action]
        say(f"{title(desk)}: {said} {', '.join(done.strategies) or 'nothing'}")


def _waits_for(status: StrategyStatus) -> str:
    if status.reason:
        return status.reason
    closed = [f"{gate.name}: {gate.reason}" for gate in status.gates if not gate.open]
    return "; ".join(closed) or "-"
