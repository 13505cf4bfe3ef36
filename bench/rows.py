"""One figure of a bench as a row: what it is, what stood beside it in the same run, and whether a target is met."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

COLUMNS = ("figure", "value", "unit", "beside it", "its value", "ratio", "target", "verdict")
_RIGHT = {"value", "its value", "ratio", "target"}
_FILE_WIDTH = 150
_VERDICT_STYLES = {"met": "green", "not met": "bold red", "not measured": "yellow"}


class Target(msgspec.Struct, frozen=True):
    """What a figure should reach: a bound of its value, or of its ratio to what stands beside it."""

    sense: Literal["≤", "≥"]
    bound: float
    of: Literal["value", "ratio"]


def at_most(bound: float) -> Target:
    return Target("≤", bound, "value")


def at_least(bound: float) -> Target:
    return Target("≥", bound, "value")


def ratio_at_most(bound: float) -> Target:
    return Target("≤", bound, "ratio")


def ratio_at_least(bound: float) -> Target:
    return Target("≥", bound, "ratio")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """As it is printed and kept. Made by `row`.

    value, beside_value: in `unit`; `value` is None where it could not be measured. ratio: value over beside_value.
    target: "≤ 1.3×" is of the ratio, "≤ 10 µs" of the value, "" is none. met: None without a target, or where the
    figure that it speaks of is missing. note: what a reader must know beside the number.
    """

    name: str
    value: float | None
    unit: str
    beside: str = ""
    beside_value: float | None = None
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if not self.target:
            return ""
        return "not measured" if self.met is None else "met" if self.met else "not met"


def row(
    name: str,
    value: float | None,
    unit: str,
    *,
    beside: str = "",
    beside_value: float | None = None,
    target: Target | None = None,
    note: str = "",
) -> Row:
    """A figure, the floor or peer `beside` it, measured in the same run and in the same unit, and the verdict."""
    ratio = value / beside_value if value is not None and beside_value else None
    text, met = "", None
    if target is not None:
        judged = ratio if target.of == "ratio" else value
        text = f"{target.sense} {target.bound:,g}{'×' if target.of == 'ratio' else ' ' + unit}"
        if judged is not None:
            met = judged <= target.bound if target.sense == "≤" else judged >= target.bound
    return Row(
        name=name,
        value=value,
        unit=unit,
        beside=beside,
        beside_value=beside_value,
        ratio=ratio,
        target=text,
        met=met,
        note=note,
    )


def number(value: float | None) -> str:
    """Three significant digits, thousands apart."""
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:,.1f}" if size >= 10 else f"{value:,.2f}"


def cells(one: Row) -> tuple[str, ...]:
    """A row as text, one cell for each of COLUMNS."""
    beside_value = number(one.beside_value) if one.beside else ""
    ratio = "" if one.ratio is None else f"{number(one.ratio)}×"
    return (one.name, number(one.value), one.unit, one.beside, beside_value, ratio, one.target, one.verdict)


def table(benches: Mapping[str, Sequence[Row]], title: str = "") -> Table:
    """The rows of one or several benches as one table, with a line between benches."""
    shown = Table(title=title or None, title_justify="left", pad_edge=False, box=SIMPLE_HEAD)
    for column in COLUMNS:
        shown.add_column(column, justify="right" if column in _RIGHT else "left", overflow="fold")
    for rows in benches.values():
        for one in rows:
            *texts, verdict = cells(one)
            style = _VERDICT_STYLES.get(verdict, "")
            shown.add_row(*texts, f"[{style}]{verdict}[/]" if style else verdict)
        shown.add_section()
    return shown


def screen() -> Console:
    """Where tables go: as wide as the terminal, and wide enough where standard output is a file."""
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)


def notes(rows: Iterable[Row]) -> list[str]:
    return [f"{one.name}: {one.note}" for one in rows if one.note]


def to_json(rows: Sequence[Row]) -> Any:
    """The rows as what `json` can write, every field of each."""
    return [{name: getattr(one, name) for name in Row.__struct_fields__} for one in rows]


def from_json(data: Any) -> list[Row]:
    """What `to_json` made. Raises msgspec.ValidationError for anything else."""
    return msgspec.convert(data, list[Row])
