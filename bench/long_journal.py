"""A journal of execution as long as wished: what a desk wrote in a minute, over and over as other trades.

The rows are those of a minute of a desk in `world` that trades. Each repetition has its own trades, orders, fills,
intents and requests and comes later.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from services.execution.rows import Row as JournalRow
from services.execution.rows import TradeRequested
from shared.ids import client_order_id, parse_client_order_id, trade_id, trade_number
from shared.messages.steps import Entry
from world.desk import DESK_NUMBER, Desk
from world.faults import SECOND

_MINUTE_S = 60


def ended_trades(desk: Desk) -> list[Entry]:
    """What execution of this desk has journalled, without trades that have not ended."""
    book = desk.book
    kept = []
    for entry in desk.nodes["execution"].journal.entries:
        trade = book.trade_of_row(entry.row)
        if trade is None or trade.is_final:
            kept.append(entry)
    assert any(isinstance(entry.row, TradeRequested) for entry in kept), "no trade came to its end"
    return kept


def repeated(minute: Sequence[Entry], rows: int, days: float, end_ns: int | None = None) -> Iterator[Entry]:
    """`rows` entries, spread evenly over `days`, with ids as the desk would make them. end_ns: when the last of them
    are decided, None for `days` after the desk's minute."""
    repetitions = -(-rows // len(minute))
    pause_s = int(days * 86_400 / repetitions)
    assert pause_s >= _MINUTE_S, f"{rows:,} rows are more than {days} days hold without overlap"
    plain = [(entry, msgspec.to_builtins(entry.row)) for entry in minute]
    later_ns = 0 if end_ns is None else end_ns - (minute[-1].at_ns + (repetitions - 1) * pause_s * SECOND)
    left = rows
    for turn in range(repetitions):
        renamed = _Renaming(turn, pause_s, later_ns)
        for entry, row in plain[:left]:
            cause_id = f"{entry.cause_id}-{turn}" if entry.cause_id else ""
            at_ns = entry.at_ns + turn * pause_s * SECOND + later_ns
            yield Entry(at_ns, cause_id, msgspec.convert(renamed(row), JournalRow))
        left -= len(plain)


class _Renaming:
    """Makes the rows of one repetition out of those of the first."""

    def __init__(self, turn: int, pause_s: int, later_ns: int) -> None:
        self._turn = turn
        self._later_s = turn * pause_s
        self._later_ns = self._later_s * SECOND + later_ns

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._field(name, each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self(each) for each in value]
        return value

    def _field(self, name: str, value: Any) -> Any:
        turn = self._turn
        match name, value:
            case "trade_id", str():
                return trade_id(trade_number(value) + self._later_s)
            case "trade_number", int():
                return value + self._later_s
            case "client_order_id", int():
                key = parse_client_order_id(value, DESK_NUMBER)
                assert key is not None, f"{value} is not an order id of this desk"
                return client_order_id(msgspec.structs.replace(key, trade_number=key.trade_number + self._later_s))
            case "venue_order_id" | "venue_trade_id", int():
                return value + turn * 1_000_000
            case (("before_ns" | "quality_before_ns" | "forgets_before_ns"), int()):
                return value + self._later_ns
            case (("intent_id" | "request_id" | "grant_id"), str()):
                return f"{value}-{turn}"
            case "ordinal", int():
                return value + turn * 100
            case _:
                return self(value)
