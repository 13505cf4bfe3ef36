"""What a host takes over of a strategy from the journal of the host that had it before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.strategy.rows import IvSampled, StrategyTaken
from shared.ids import hedge_name
from shared.messages.steps import Entry


def rows_taken(
    name: str, from_host: str, own: Iterable[Entry], theirs: Iterable[Entry], now_ns: int
) -> Sequence[Entry]:
    """The rows to append to the own journal.

    Of the strategy none when they are there already, as after a process that died before it said whose the strategy
    is. Of the samples of volatility, which are no strategy's, those of what was never sampled here.
    """
    own = tuple(own)
    sampled = {(entry.row.underlying, entry.row.days) for entry in own if isinstance(entry.row, IvSampled)}
    rows: list[Entry] = []
    samples: list[Entry] = []
    for entry in theirs:
        row = entry.row
        if isinstance(row, IvSampled) and (row.underlying, row.days) not in sampled:
            samples.append(entry)
        _keep(name, entry, rows)
    taken = StrategyTaken(strategy=name, from_host=from_host)
    told = [entry for entry in rows if not isinstance(entry.row, StrategyTaken)]
    mine = rows_of(name, own)
    known = bool(mine) and mine[0].row == taken and mine[1:] == told
    return samples if known else [Entry(now_ns, "", taken), *told, *samples]


def rows_of(name: str, entries: Iterable[Entry]) -> list[Entry]:
    """What a journal has of a strategy, from when it was taken there."""
    rows: list[Entry] = []
    for entry in entries:
        _keep(name, entry, rows)
    return rows


def _keep(name: str, entry: Entry, rows: list[Entry]) -> None:
    if getattr(entry.row, "strategy", "") in (name, hedge_name(name)):
        if isinstance(entry.row, StrategyTaken):
            rows.clear()
        rows.append(entry)
