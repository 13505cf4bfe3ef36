"""voldesk why: what a strategy waits for, gate by gate, and what keeps its trades open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape

from shared.clock import Clock
from shared.config import DeskConfig
from shared.messages.control import Gate, ListStrategies, StrategyList, StrategyStatus, TradeExits
from shared.views import clock_text, duration_text, strategy_json
from voldesk.asking import ask_hosts
from voldesk.completion import complete_strategy
from voldesk.console import EXIT_USAGE, Failure, Json, print_json, print_table, say
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk why demo_strangle")(why)


def why(
    strategy: Annotated[
        str, typer.Argument(help="The name that `voldesk strategies` shows.", autocompletion=complete_strategy)
    ],
    as_json: Json = False,
) -> None:
    """Say why a strategy opens nothing, or why a trade of it stays open: each gate, its reason and since when.

    A time is of the last change. It begins anew when the strategy service is restarted.
    """
    desk = load_desk()
    answer = ask_hosts(desk, ListStrategies(), StrategyList)
    status = next((row for row in answer.strategies if row.strategy == strategy), None)
    if status is None:
        names = ", ".join(row.strategy for row in answer.strategies) or "none is enabled"
        raise Failure(f"there is no strategy {strategy!r}", f"use one of: {names}", EXIT_USAGE)
    if as_json:
        print_json(strategy_json(status))
    else:
        _show(desk, status)


def _show(desk: DeskConfig, status: StrategyStatus) -> None:
    now_ns = Clock().now_ns()
    closed = [gate for gate in status.gates if not gate.open]
    if not status.gates:
        say(f"{status.strategy} is {status.state}: {status.reason}")
        return
    print_table(
        desk,
        f"gates of {status.strategy}",
        ("gate", "", "for", "since UTC", "why"),
        [_gate_row(gate, now_ns, ("[green]open[/green]", "[red]CLOSED[/red]")) for gate in status.gates],
        right=("for",),
    )
    if closed:
        say(f"{status.strategy} is {status.state} and opens nothing: {', '.join(gate.name for gate in closed)}")
    else:
        say(f"{status.strategy} is {status.state} and opens at its next look: every gate is open")
    say(
        f"{status.trades_today} trades today, {status.open_trades} open; "
        f"signals: {status.signals_generated} generated, {status.signals_executed} executed"
    )
    for trade in status.exits:
        _show_exits(desk, trade, now_ns)


def _show_exits(desk: DeskConfig, trade: TradeExits, now_ns: int) -> None:
    say("")
    if not trade.conditions:
        say(f"trade {trade.trade_id} is {trade.state}: its exits are not looked at now")
    else:
        print_table(
            desk,
            f"exits of trade {trade.trade_id}, {trade.state}",
            ("exit", "", "for", "since UTC", "now"),
            [_gate_row(gate, now_ns, ("[red]CLOSE[/red]", "hold")) for gate in trade.conditions],
            right=("for",),
        )
    if trade.closing:
        say(f"it is being closed: {trade.closing}")
    if trade.hard_deadline_ns is not None:
        left = duration_text(max(0, trade.hard_deadline_ns - now_ns) / 1e9)
        say(f"execution closes it by itself at {clock_text(trade.hard_deadline_ns)} UTC, in {left}")


def _gate_row(gate: Gate, now_ns: int, words: Sequence[str]) -> tuple[str, ...]:
    return (
        gate.name,
        words[0] if gate.open else words[1],
        duration_text(max(0, now_ns - gate.since_ns) / 1e9),
        clock_text(gate.since_ns),
        escape(gate.reason),
    )
