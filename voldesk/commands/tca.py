"""voldesk tca: what execution costs, by strategy, mode or hour."""

from __future__ import annotations

from typing import Annotated

import typer

from shared.clock import Clock
from shared.config import DeskConfig
from shared.cost_views import cost_row_json
from shared.messages.quality import ListQuality, QualityList
from shared.tca import FEW, By, CostRow, summarise
from shared.views import duration_text, iso, money_text
from voldesk.asking import ask
from voldesk.console import Json, print_json, print_table, say, title
from voldesk.preflight import load_desk
from voldesk.quality_table import bp_text, share_text

_DAY_NS = 86_400 * 1_000_000_000
_NUMBERS = ("trades", "slip", "bp", "better", "p50", "p90", "maker", "fees", "delta·s")


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk tca --by mode --days 30")(tca)


def tca(
    by: Annotated[By, typer.Option(help="What trades are grouped by; the hour is UTC, of the arrival.")] = "strategy",
    days: Annotated[int, typer.Option(min=1, max=3_650, help="Trades that began in so many days.")] = 7,
    as_json: Json = False,
) -> None:
    """Summarise the cost of execution: slippage against the mid at arrival, improvement on the book, time to fill,
    maker share, fees, and delta held out of proportion. A positive slippage is a cost.

    Execution remembers it over restarts for quality_days of section execution.
    """
    desk = load_desk()
    since_ns = Clock().now_ns() - days * _DAY_NS
    answer = ask(desk, "execution", ListQuality(since_ns=since_ns), QualityList)
    table = summarise(answer.phases, by)
    if as_json:
        print_json(
            {
                "by": by,
                "since": iso(max(since_ns, answer.kept_since_ns)),
                "groups": [cost_row_json(row) for row in table],
            }
        )
    else:
        _show(desk, by, days, table)


def _show(desk: DeskConfig, by: By, days: int, table: list[CostRow]) -> None:
    if not table:
        say(f"{title(desk)}: nothing was executed in the last {days} days that is still remembered")
        return
    print_table(
        desk,
        f"execution cost by {by}, {days} days",
        (by, "", *_NUMBERS),
        [_cells(row) for row in table],
        right=_NUMBERS,
        whole=(by,),
        tight=True,
    )
    say("slip: slippage in USD per trade against the mid at arrival, > 0 is a cost, and in bp of premium")
    say("better: USD per trade against crossing the book at arrival; p50, p90: time to the last fill")
    if any(row.trades < FEW for row in table):
        say(f"* fewer than {FEW} trades: an average over so few says little")
    missing = sum(row.trades - row.measured for row in table)
    if missing:
        say(f"{missing} without a known mid at arrival are not in slippage and improvement")


def _cells(row: CostRow) -> tuple[str, ...]:
    return (
        row.group,
        row.phase,
        f"{row.trades}{'*' if row.trades < FEW else ''}",
        money_text(row.slippage_usd),
        bp_text(row.slippage_bp),
        money_text(row.improvement_usd),
        _filled_in(row.fill_p50_s),
        _filled_in(row.fill_p90_s),
        share_text(row.maker_share),
        money_text(row.fees_usd),
        f"{row.naked_delta_s:.2f}",
    )


def _filled_in(seconds: float | None) -> str:
    return f"{seconds:.2f}s" if seconds is not None and seconds < 10 else duration_text(seconds)
