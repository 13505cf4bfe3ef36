"""A journal of execution as long as wished: what a desk wrote in a minute, over and over as other trades.

The rows are those of a minute of a desk in `world` that trades. Each repetition has its own trades, orders, fills,
intents and requests and comes later, so that the whole is spread over `days`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from services.execution.rows import Row as JournalRow
from shared.ids import OrderKey, client_order_id, parse_client_order_id, trade_id, trade_number
from shared.messages.steps import Entry
from world.desk import DESK_NUMBER

_STEP_TRADES = 1_000
"""Trade numbers of one repetition: more than a minute's, which are seconds and a few."""


def repeated(minute: Sequence[Entry], rows: int, days: float) -> Iterator[Entry]:
    """`rows` entries whose instants spread evenly over `days`, ids as the desk would make them."""
    plain = [(entry.at_ns, msgspec.to_builtins(entry.row, builtin_types=(bytes,))) for entry in minute]
    first_number = min(trade_number(row["trade_id"]) for _, row in plain if row["type"] == "trade_requested")
    repetitions = -(-rows // len(plain))
    pause_ns = round(days * 86_400_000_000_000 / repetitions)
    left = rows
    for turn in range(repetitions):
        renamed = _Renaming(turn, first_number)
        for entry, (at_ns, row) in zip(minute, plain, strict=True):
            if not left:
                return
            left -= 1
            cause_id = f"{entry.cause_id}-{turn}" if entry.cause_id else ""
            yield Entry(at_ns + turn * pause_ns, cause_id, msgspec.convert(renamed(row), JournalRow))


class _Renaming:
    def __init__(self, turn: int, first_number: int) -> None:
        self._turn = turn
        self._first_number = first_number

    def _number(self, number: int) -> int:
        return number + self._turn * 60

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
                return trade_id(self._number(trade_number(value)))
            case "trade_number", int():
                return self._number(value)
            case "client_order_id", int():
                key = parse_client_order_id(value, DESK_NUMBER)
                assert key is not None
                return client_order_id(
                    OrderKey(key.desk, self._number(key.trade_number), key.leg_index, key.purpose, key.attempt)
                )
            case "venue_order_id" | "venue_trade_id", int():
                return value + turn * 1_000_000
            case (("intent_id" | "request_id" | "grant_id"), str()):
                return f"{value}-{turn}"
            case "ordinal", int():
                return value + turn * 100
            case _:
                return self(value)
