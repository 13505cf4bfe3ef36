"""voldesk pnl: what the desk made, by what its trades share."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from services.monitor.history.attributed import PART_TITLES, AttributedRow, attributed_json
from services.monitor.history.attribution import PART_NAMES
from services.monitor.history.report import PnlReport, pnl_report
from shared.config import DeskConfig
from shared.ledger.pnl import By, PnlRow, pnl_json, trading_days
from shared.views import NS_PER_S, clock_text, duration_text, iso, money_text
from voldesk.console import Json, note, print_json, print_table, say, title
from voldesk.ledger_sources import Since, history_of, ledger_of, period
from voldesk.preflight import load_desk

_NUMBERS = ("trades", "closed", "realised", "unrealised", "change", "fees", "net")
_OLD_MARKS_S = 120


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk pnl --by day --since 30d")(pnl)


def pnl(
    by: Annotated[By, typer.Option(help="What trades are grouped by; days are trading days, UTC.")] = "strategy",
    since: Since = "all",
    attribution: Annotated[
        bool, typer.Option("--attribution", help="What it came from: delta, gamma, theta, vega, execution, residual.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show P&L by strategy, day, structure or trade: realised, on mark, fees, funding, net.

    What is realised comes from execution's journal, whether the desk runs or not; what is held is valued by the
    monitor's newest samples. Deposits and withdrawals are no P&L. docs/history.md defines the columns.
    """
    desk = load_desk()
    since_ns, now_ns = period(desk, since)
    report = pnl_report(
        ledger_of(desk), history_of(desk), by, since_ns, now_ns, trading_days(desk.day_boundary_minute)
    )
    if as_json:
        print_json(report_json(report))
    elif not report.rows:
        say(f"{title(desk)}: nothing was traded {_period_text(report)}")
    elif attribution:
        _show_attribution(desk, report)
    else:
        _show(desk, report)


def report_json(report: PnlReport) -> dict[str, object]:
    return {
        "by": report.by,
        "since": iso(report.since_ns) if report.since_ns else None,
        "until": iso(report.now_ns),
        "marked_at": iso(report.marked_ns),
        "problem": report.problem or None,
        "groups": [pnl_json(row) for row in report.rows],
        "total": pnl_json(report.total),
        "attribution": [attributed_json(row) for row in report.attributed],
        "attribution_total": attributed_json(report.attributed_total),
    }


def _period_text(report: PnlReport) -> str:
    return f"since {clock_text(report.since_ns)} UTC" if report.since_ns else "so far"


def _show(desk: DeskConfig, report: PnlReport) -> None:
    rows = [_cells(row) for row in report.rows]
    if len(rows) > 1:
        rows.append(tuple(f"[bold]{cell}[/bold]" for cell in _cells(report.total)))
    print_table(desk, f"P&L by {report.by}, {_period_text(report)}", (report.by, *_NUMBERS), rows, right=_NUMBERS)
    say("USD; net = realised + change of unrealised - fees - funding; options bear no funding")
    _tell_of_marks(report)


def _cells(row: PnlRow) -> tuple[str, ...]:
    return (
        escape(row.group),
        str(row.trades),
        str(row.closed),
        money_text(row.realized_usd),
        money_text(row.unrealized_usd),
        money_text(row.unrealized_change_usd),
        money_text(row.fees_usd),
        money_text(row.net_usd),
    )


def _show_attribution(desk: DeskConfig, report: PnlReport) -> None:
    numbers = (*PART_TITLES, "P&L")
    rows = [_part_cells(row) for row in report.attributed]
    if len(rows) > 1:
        rows.append(tuple(f"[bold]{cell}[/bold]" for cell in _part_cells(report.attributed_total)))
    if not rows:
        say(f"{title(desk)}: no trade was sampled {_period_text(report)}")
    else:
        heading = f"P&L before fees by what it came from, {_period_text(report)}"
        print_table(desk, heading, (report.by, *numbers, "blind"), rows, right=(*numbers, "blind"))
        say("USD; execution: fills against the mark after them; residual: what nothing else explains")
        say("blind: time without samples or Greeks, whose P&L is residual")
    _tell_of_marks(report)


def _part_cells(row: AttributedRow) -> tuple[str, ...]:
    blind_s = row.parts.unattributed_s
    return (
        escape(row.group),
        *(money_text(getattr(row.parts, name)) for name in PART_NAMES),
        money_text(row.parts.pnl_usd),
        duration_text(blind_s) if blind_s >= 1 else "",
    )


def _tell_of_marks(report: PnlReport) -> None:
    if report.problem:
        note(f"what is held is not valued: {report.problem}")
    elif report.marked_ns is not None:
        age_s = (report.now_ns - report.marked_ns) / NS_PER_S
        if age_s > _OLD_MARKS_S:
            note(f"what is held is valued on marks of {clock_text(report.marked_ns)} UTC, {duration_text(age_s)} ago")
    if any(row.net_usd is None for row in report.rows):
        note('"-": what was held was not sampled at the beginning or the end of that time')
