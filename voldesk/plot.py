"""Curves drawn with characters, one character per curve, so that they can be told apart without colour too."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.text import Text

F8 = NDArray[np.float64]
_MARKERS = "ox+*#@%&"
_STYLES = ("cyan", "yellow", "green", "magenta", "red", "blue", "white", "bright_black")


class Curve(msgspec.Struct, frozen=True):
    """Points of one curve by ascending x, both arrays (n,), finite; where both are NaN the curve is broken."""

    name: str
    x: F8
    y: F8


def plot(curves: Sequence[Curve], width: int, height: int = 15, *, x_decimals: int = 0) -> list[Text]:
    """The curves in a frame of `width` × `height` (odd) characters with axes and a legend; no lines without a point.

    Between its points a curve is drawn straight. Of curves that meet in one character the first is seen.
    """
    drawn = [curve for curve in curves if curve.x.size]
    if not drawn:
        return []
    low, high, decimals = _round_span(*_span([curve.y for curve in drawn]), height // 2)
    left, right = _span([curve.x for curve in drawn])
    labels = [f"{high - (high - low) * row / (height - 1):.{decimals}f}" for row in range(height)]
    margin = max(len(label) for label in labels)
    columns = max(width - margin - 2, 10)
    grid: list[list[tuple[str, str]]] = [[(" ", "")] * columns for _ in range(height)]
    at = np.linspace(left, right, columns)
    for number in reversed(range(len(drawn))):
        curve = drawn[number]
        mark = (_MARKERS[number % len(_MARKERS)], _STYLES[number % len(_STYLES)])
        for x, y in _unbroken(curve):
            cells = np.round((x - left) / (right - left) * (columns - 1)).astype(int)
            inside = np.arange(cells[0], cells[-1] + 1)
            rows = np.round((high - np.interp(at[inside], x, y)) / (high - low) * (height - 1))
            for column, row in zip(inside.tolist(), np.clip(rows, 0, height - 1).astype(int).tolist(), strict=True):
                grid[row][column] = mark
    lines = []
    for row, cells_of_row in enumerate(grid):
        line = Text(" " * margin + " │" if row % 2 else labels[row].rjust(margin) + " ┤")
        for character, style in cells_of_row:
            line.append(character, style or None)
        lines.append(line)
    lines.append(Text(" " * margin + " └" + "─" * columns))
    lines.append(Text(" " * (margin + 2) + _axis(left, right, columns, x_decimals)))
    legend = Text(" " * (margin + 2))
    for number, curve in enumerate(drawn):
        legend.append(_MARKERS[number % len(_MARKERS)], _STYLES[number % len(_STYLES)])
        legend.append(f" {curve.name}   ")
    lines.append(legend)
    return lines


def _unbroken(curve: Curve) -> list[tuple[F8, F8]]:
    """The parts of a curve between its breaks."""
    breaks = np.flatnonzero(np.isnan(curve.x))
    parts = zip(np.split(curve.x, breaks), np.split(curve.y, breaks), strict=True)
    known = [(x[~np.isnan(x)], y[~np.isnan(x)]) for x, y in parts]
    return [(x, y) for x, y in known if x.size]


def _span(parts: Sequence[F8]) -> tuple[float, float]:
    low = min(float(np.nanmin(part)) for part in parts)
    high = max(float(np.nanmax(part)) for part in parts)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _round_span(low: float, high: float, parts: int) -> tuple[float, float, int]:
    """A span around both that so many equal parts divide at round numbers, and the decimals these need."""
    power = 10.0 ** math.floor(math.log10((high - low) / parts))
    for step in (power, 2 * power, 2.5 * power, 5 * power, 10 * power, 20 * power):
        start = math.floor(low / step) * step
        if start + parts * step >= high:
            break
    decimals = next(count for count in range(20) if math.isclose(round(step, count), step, rel_tol=1e-9))
    return start, start + parts * step, decimals


def _axis(left: float, right: float, columns: int, decimals: int) -> str:
    """Five labels under the axis, the first flush left, the last flush right."""
    line = [" "] * columns
    for part in range(5):
        text = f"{left + (right - left) * part / 4:.{decimals}f}"
        start = min(max(round((columns - 1) * part / 4) - len(text) // 2, 0), columns - len(text))
        line[start : start + len(text)] = text
    return "".join(line).rstrip()
