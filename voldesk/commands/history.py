"""voldesk history: figures of the desk over time, as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from services.monitor.history.keeping import read_series
from services.monitor.history.sampling import LEDGER, SAMPLED, kind_of
from services.monitor.history.series import Bucket, bucket_columns
from shared.config import DeskConfig
from shared.ledger.pnl import cumulative
from shared.views import NS_PER_S, clock_text, money_text
from voldesk.completion import complete_series
from voldesk.console import EXIT_USAGE, Failure, Json, print_json, print_table, say, title
from voldesk.ledger_sources import Since, history_config, history_of, ledger_of, period, readable
from voldesk.preflight import load_desk

_POINTS = 2_000
_HOURS_UP_TO_S = 3 * 86_400


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk history equity_usd --since 7d")(history)


def history(
    series: Annotated[
        str, typer.Argument(help="What to plot; without it the series are listed.", autocompletion=complete_series)
    ] = "",
    since: Since = "1d",
    as_json: Json = False,
) -> None:
    """Plot equity, P&L, Greeks, margin or a holding over time; without a series, list those that there are.

    A plot is broken where nothing was sampled. docs/history.md says how finely and for how long each is kept.
    """
    desk = load_desk()
    since_ns, now_ns = period(desk, since)
    if not series:
        _list(desk, now_ns, as_json)
    elif series in {kind.name for kind in LEDGER}:
        _show_ledger(desk, series, since_ns, now_ns, as_json)
    else:
        _show_sampled(desk, series, since_ns, now_ns, as_json)


def _list(desk: DeskConfig, now_ns: int, as_json: bool) -> None:
    reader, level = history_of(desk), history_config(desk).levels[1]
    with readable(desk):
        names = reader.names()
        newest = {name: reader.buckets(name, level, now_ns - 2 * _HOURS_UP_TO_S * NS_PER_S, now_ns) for name in names}
    order = {kind.name: number for number, kind in enumerate((*SAMPLED, *LEDGER))}
    names = sorted(
        [*names, *(kind.name for kind in LEDGER)], key=lambda name: (order.get(name.split(".")[0], 99), name)
    )
    rows: list[dict[str, Any]] = []
    for name in names:
        kind, buckets = kind_of(name), newest.get(name)
        last = buckets[-1] if buckets else None
        rows.append(
            {
                "series": name,
                "unit": "" if kind is None else kind.unit,
                "about": "" if kind is None else kind.about,
                "last": None if last is None else last.last,
                "sampled_ns": None if last is None else last.last_ns,
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(
        desk,
        "history",
        ("series", "last", "at UTC", ""),
        [
            (
                row["series"],
                figure_text(row["last"]),
                clock_text(row["sampled_ns"]),
                "; ".join(part for part in (row["unit"], row["about"]) if part),
            )
            for row in rows
        ],
        right=("last",),
        whole=("series",),
    )


def figure_text(value: float | None) -> str:
    """Two decimals for what is large, four digits for what is small."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if abs(value) >= 10 or value == 0 else f"{value:.4g}"


def _show_sampled(desk: DeskConfig, series: str, since_ns: int, now_ns: int, as_json: bool) -> None:
    reader = history_of(desk)
    with readable(desk):
        names = reader.names()
        if series not in names:
            known = ", ".join([*names, *(kind.name for kind in LEDGER)])
            raise Failure(f"{series} was never sampled", f"there are: {known}", EXIT_USAGE)
        found = read_series(reader, history_config(desk), series, since_ns, now_ns, now_ns, _POINTS)
    if as_json:
        print_json({"series": series, **bucket_columns(found)})
        return
    points = [(each.last_ns, each.last) if each is not None else None for each in found]
    _draw(desk, series, points, now_ns)
    known_buckets = [each for each in found if each is not None]
    if known_buckets:
        _say_range(known_buckets)


def _say_range(buckets: Sequence[Bucket]) -> None:
    first, last = buckets[0], buckets[-1]
    low, high = min(each.low for each in buckets), max(each.high for each in buckets)
    say(
        f"first {figure_text(first.first)}, last {figure_text(last.last)} ({figure_text(last.last - first.first)}), "
        f"lowest {figure_text(low)}, highest {figure_text(high)}; sampled until {clock_text(last.last_ns)} UTC"
    )


def _show_ledger(desk: DeskConfig, series: str, since_ns: int, now_ns: int, as_json: bool) -> None:
    columns = cumulative(ledger_of(desk).changes(0, now_ns))
    steps = [(round(at_s * NS_PER_S), value) for at_s, value in zip(columns["at_s"], columns[series], strict=True)]
    before = [value for at_ns, value in steps if at_ns < since_ns]
    shown = [step for step in steps if step[0] >= since_ns]
    begin_ns = since_ns or (shown[0][0] if shown else now_ns - 1)
    start = before[-1] if before else 0.0
    points = [(begin_ns, start), *shown, (now_ns, shown[-1][1] if shown else start)]
    if as_json:
        at_s = [at_ns // NS_PER_S for at_ns, _ in points]
        print_json({"series": series, "at_s": at_s, "last": [value for _, value in points]})
        return
    _draw(desk, series, list(points), now_ns)
    say(f"from {money_text(start)} to {money_text(points[-1][1])} USD in {len(shown)} steps, by execution's journal")


def _draw(desk: DeskConfig, series: str, points: Sequence[tuple[int, float] | None], now_ns: int) -> None:
    # imported here because arrays take longer to load than the rest of the command
    import numpy as np

    from voldesk.plot import Curve, plot

    known = [point for point in points if point is not None]
    if len(known) < 2:
        say(f"{title(desk)}: {len(known)} samples of {series} in that time, which is no curve yet")
        return
    span_s = (now_ns - known[0][0]) / NS_PER_S
    unit_s, unit = (3_600, "hours") if span_s <= _HOURS_UP_TO_S else (86_400, "days")
    x = np.array([np.nan if point is None else (point[0] - now_ns) / NS_PER_S / unit_s for point in points])
    y = np.array([np.nan if point is None else point[1] for point in points])
    kind = kind_of(series)
    console = Console(highlight=False)
    heading = f"{series}{f', {kind.unit}' if kind is not None and kind.unit else ''} · {title(desk)}, {unit} from now"
    console.print(Text(heading, style="bold"))
    decimals = 2 if span_s < 2 * unit_s else 1
    for line in plot([Curve(series, x, y)], min(console.width, 100), x_decimals=decimals):
        line.rstrip()
        console.print(line)
