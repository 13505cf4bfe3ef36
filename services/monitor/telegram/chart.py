"""Draws a chart in a process of its own: the library is large, and the monitor is not to carry it nor wait for it.

``python -m services.monitor.telegram.chart`` reads a `Chart` as JSON and writes a PNG.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import msgspec

from services.monitor.channels.build import missing_extra

_LIMIT_S = 60.0


class Series(msgspec.Struct, frozen=True):
    """One line: (time in ns, USD), in order of time. `steps`: a value holds until the next."""

    name: str
    points: tuple[tuple[int, float], ...]
    steps: bool = False


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One pair of axes, USD against UTC."""

    title: str
    series: tuple[Series, ...]

    @property
    def is_empty(self) -> bool:
        return not any(len(series.points) > 1 for series in self.series)


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Panels one above the other, on one axis of time."""

    title: str
    panels: tuple[Panel, ...]


def equity_panel(points: Sequence[tuple[int, float]], days: float) -> Panel:
    """Equity of the account."""
    return Panel(title=f"equity, {_span(days)}", series=(Series("equity", tuple(points)),))


def pnl_panel(lines: Mapping[str, Sequence[tuple[int, float]]], days: float) -> Panel:
    """P&L after fees and funding by strategy from the beginning of the span on; lines: (time in ns, USD), oldest
    first."""
    series = tuple(Series(name or "earlier trades", tuple(points), steps=True) for name, points in lines.items())
    return Panel(title=f"P&L on mark after fees and funding by strategy, {_span(days)}", series=series)


def _span(days: float) -> str:
    return f"{days:.3g} d" if days >= 1 else f"{days * 24:.3g} h"


async def draw(chart: Chart) -> bytes:
    """A PNG. Raises OSError with the reason, in words, when there is none."""
    if remedy := missing_extra("telegram"):
        raise OSError(f"the library for pictures is not installed: {remedy}")
    chart = msgspec.structs.replace(chart, panels=tuple(each for each in chart.panels if not each.is_empty))
    if not chart.panels:
        raise OSError("there is nothing to draw yet")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.monitor.telegram.chart",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_LIMIT_S):
            png, errors = await process.communicate(msgspec.json.encode(chart))
    except TimeoutError:
        raise OSError(f"it was not drawn within {_LIMIT_S:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if process.returncode:
        raise OSError((errors.decode(errors="replace").strip().splitlines() or ["the process died"])[-1])
    return png


def render(chart: Chart) -> bytes:
    """Draw it here and now, with the library."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import dates
    from matplotlib import pyplot as plt

    # the library's types leave much out
    figure: Any
    rows: Any
    ticks: Any = dates
    count = len(chart.panels)
    figure, rows = plt.subplots(
        count, 1, squeeze=False, sharex=True, figsize=(8, 2.0 + 2.5 * count), dpi=120, layout="constrained"
    )
    figure.suptitle(chart.title, fontsize=11, x=0.02, ha="left")
    locator = ticks.AutoDateLocator(tz=UTC)
    for axes, panel in zip(rows[:, 0], chart.panels, strict=True):
        _draw_panel(axes, panel)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ticks.ConciseDateFormatter(locator, tz=UTC))
    rows[-1, 0].set_xlabel("UTC")
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_panel(axes: Any, panel: Panel) -> None:
    for series in panel.series:
        times = [datetime.fromtimestamp(at_ns / 1e9, UTC) for at_ns, _ in series.points]
        values = [value for _, value in series.points]
        label = f"{series.name}  {values[-1]:,.2f}" if values else series.name
        axes.plot(times, values, label=label, linewidth=1.6, drawstyle="steps-post" if series.steps else "default")
    low, high = axes.get_ylim()
    decimals = 0 if high - low >= 10 else 2
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.{decimals}f}")
    axes.set_title(panel.title, loc="left", fontsize=10)
    axes.set_ylabel("USD")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=9, frameon=False)


if __name__ == "__main__":
    sys.stdout.buffer.write(render(msgspec.json.decode(sys.stdin.buffer.read(), type=Chart)))
