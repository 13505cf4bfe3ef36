"""The event story of the trades that a broken promise speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from services.execution.book import Book
from shared.ids import parse_client_order_id, trade_id
from world.faults import SECOND
from world.violations import Violation

_TRADES_MAX = 2
_TRADE = re.compile(r"\bt\d{6,}\b")
_ORDER = re.compile(r"\b\d{16,}\b")


def stories(violations: Iterable[Violation], book: Book, start_ns: int, desk_number: int) -> Iterator[str]:
    """One line per event of the first trades that are named, or whose orders are; seconds since the run began."""
    for name in list(_concerned(violations, book, desk_number))[:_TRADES_MAX]:
        trade = book.trades[name]
        legs = ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in trade.legs)
        yield f"{name} of {trade.request.strategy}, {trade.mode}, {trade.request.policy}: {legs}"
        for line in trade.story:
            yield f"  {(line.at_ns - start_ns) / SECOND:9.3f} s  {line.text}"


def _concerned(violations: Iterable[Violation], book: Book, desk_number: int) -> dict[str, None]:
    found: dict[str, None] = {}
    for violation in violations:
        for name in _TRADE.findall(violation.text):
            found[name] = None
        for number in _ORDER.findall(violation.text):
            key = parse_client_order_id(int(number), desk_number)
            if key is not None:
                found[trade_id(key.trade_number)] = None
    return {name: None for name in found if name in book.trades}
