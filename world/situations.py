"""Which situations the seeds reached: trades by mode, policy and outcome, rows of execution's journal, and faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import msgspec
from rich.table import Table

from services.execution.book import Book
from services.execution.records import Trade
from services.execution.rows import ChunkEnded, FellBack, OpeningScaled, Row
from shared.messages.steps import Entry
from shared.messages.trades import ExecutionMode, Policy
from world.faults import UNDRAWN, Faults

OUTCOMES = ("closed", "settled", "unwound", "not filled", "not ended")
BESIDES = ("fell back", "scaled", "chunk missed")
"""What an opening went through, counted beside the outcome: it came to this mode from another one, it was made
smaller to what a leg had, a chunk of it could not be completed."""


class Reached(msgspec.Struct, frozen=True):
    """What one seed met. trades: by the mode that worked the opening in the end, policy and outcome, as in
    "smart atomic closed". rows: how many of each kind execution wrote. faults: those that were on."""

    trades: dict[str, int]
    rows: dict[str, int]
    faults: tuple[str, ...]


def reached(entries: Iterable[Entry], book: Book, faults: Faults) -> Reached:
    """What a run met, from what execution wrote."""
    rows = [entry.row for entry in entries]
    went_through: dict[str, set[str]] = {
        "fell back": {row.trade_id for row in rows if isinstance(row, FellBack) and row.purpose == "open"},
        "scaled": {row.trade_id for row in rows if isinstance(row, OpeningScaled)},
        "chunk missed": {
            row.trade_id for row in rows if isinstance(row, ChunkEnded) and row.purpose == "open" and not row.complete
        },
    }
    trades: Counter[str] = Counter()
    for trade in book.trades.values():
        manner = f"{trade.opening_mode} {trade.request.policy}"
        trades[f"{manner} {_outcome(trade)}"] += 1
        for what, names in went_through.items():
            trades[f"{manner} {what}"] += trade.trade_id in names
    return Reached(
        trades={name: count for name, count in trades.items() if count},
        rows=dict(Counter(_kind(type(row)) for row in rows)),
        faults=tuple(faults.on()),
    )


def _outcome(trade: Trade) -> str:
    if trade.state == "FAILED":
        return "unwound" if trade.was_filled else "not filled"
    return {"CLOSED": "closed", "SETTLED": "settled"}.get(trade.state, "not ended")


def _kind(row: type[msgspec.Struct]) -> str:
    return str(row.__struct_config__.tag).replace("_", " ")


ROW_KINDS: tuple[str, ...] = tuple(sorted(_kind(row) for row in get_args(Row)))


def trades_reached(seen: Sequence[Reached]) -> dict[str, tuple[int, ...]]:
    """By "mode policy", how many trades had each of `OUTCOMES` and `BESIDES`; every mode and policy has its line."""
    counts: Counter[str] = Counter()
    for one in seen:
        counts.update(one.trades)
    manners = [f"{mode} {policy}" for mode in _MODES for policy in get_args(Policy)]
    return {manner: tuple(counts[f"{manner} {what}"] for what in (*OUTCOMES, *BESIDES)) for manner in manners}


_MODES = tuple(mode for mode in get_args(ExecutionMode) if mode != "auto")
"""Those that work an opening: auto takes one of them."""


def rows_reached(seen: Sequence[Reached]) -> dict[str, tuple[int, int]]:
    """By kind of row, how many were written and in how many seeds."""
    return {
        kind: (sum(one.rows.get(kind, 0) for one in seen), sum(kind in one.rows for one in seen))
        for kind in ROW_KINDS
    }


def faults_reached(seen: Sequence[Reached]) -> dict[str, int]:
    """By fault that seeds can draw, in how many it was on."""
    drawn = [name for name in Faults.__struct_fields__ if name not in UNDRAWN]
    return {name: sum(name in one.faults for one in seen) for name in drawn}


def table(seen: Sequence[Reached]) -> Table:
    """Trades by mode, policy and outcome."""
    shown = Table(box=None, padding=(0, 1, 0, 0))
    shown.add_column("trades opened by", no_wrap=True)
    for heading in (*OUTCOMES, *BESIDES):
        shown.add_column(heading, justify="right", min_width=max(map(len, heading.split())))
    for manner, counts in trades_reached(seen).items():
        if any(counts):
            shown.add_row(manner, *(f"{count:,}" for count in counts))
    return shown


def missing(seen: Sequence[Reached]) -> str:
    """What was not met at all, a line per kind."""
    rows = [kind for kind, (count, _) in rows_reached(seen).items() if not count]
    faults = [name for name, count in faults_reached(seen).items() if not count]
    parts = [
        f"{what}: {', '.join(names)}"
        for what, names in (("rows that no seed wrote", rows), ("faults that no seed had", faults))
        if names
    ]
    return "\n".join(parts)


def lines(seen: Sequence[Reached]) -> list[str]:
    """The same as Markdown, with every count."""
    headings: Mapping[str, str] = {"opened by": "---", **dict.fromkeys((*OUTCOMES, *BESIDES), "---:")}
    return [
        "## What they reached",
        "",
        "Trades by the mode that worked the opening in the end, and by policy. *Fell back*, *scaled* and *chunk",
        "missed* count what an opening went through, beside its outcome.",
        "",
        f"| {' | '.join(headings)} |",
        f"|{'|'.join(headings.values())}|",
        *(
            f"| {manner} | {' | '.join(f'{count:,}' for count in counts)} |"
            for manner, counts in trades_reached(seen).items()
        ),
        "",
        "| row of execution's journal | written | seeds |",
        "|---|---:|---:|",
        *(f"| {kind} | {count:,} | {seeds:,} |" for kind, (count, seeds) in rows_reached(seen).items()),
        "",
        "| fault | seeds |",
        "|---|---:|",
        *(f"| `{name}` | {count:,} |" for name, count in faults_reached(seen).items()),
        "",
    ]
