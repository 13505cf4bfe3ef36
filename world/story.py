"""The event story of the trades that a broken promise speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.records import Trade
from shared.ids import parse_client_order_id, trade_id
from shared.messages.steps import Entry
from world.faults import SECOND
from world.violations import Violation

_TRADES_MAX = 3
_TRADE = re.compile(r"\bt\d{6,}\b")
_ORDER = re.compile(r"\b\d{16,}\b")
_WORD = re.compile(r"[\w-]+")


def stories(violations: Iterable[Violation], book: Book, start_ns: int, desk_number: int) -> Iterator[str]:
    """One line per event of the first trades that are concerned; seconds since the run began.

    These are the ones that are named, or whose orders are. Where none is: those whose symbol, intent or strategy is
    named, and where that is not so either, those that something happened to last. A line says so then.
    """
    violations = list(violations)
    if not violations:
        return
    concerned = _named(violations, book, desk_number)
    if not concerned:
        spoken_of = set(_WORD.findall(" ".join(violation.text for violation in violations)))
        concerned = _latest(trade for trade in book.trades.values() if spoken_of & _words(trade))
        if concerned:
            yield "no trade is named; these are of what is named, the latest first:"
        elif concerned := _latest(book.trades.values()):
            yield "no trade is named; these are the ones that something happened to last:"
    for trade in concerned[:_TRADES_MAX]:
        legs = ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in trade.legs)
        yield f"{trade.trade_id} of {trade.request.strategy}, {trade.mode}, {trade.request.policy}: {legs}"
        for line in trade.story:
            yield f"  {(line.at_ns - start_ns) / SECOND:9.3f} s  {line.text}"
    if more := len(concerned[_TRADES_MAX:]):
        yield f"and {more} more"


def ids_in(text: str) -> tuple[str, ...]:
    """What in the text looks like the id of a trade or of an order, each once."""
    return tuple(dict.fromkeys([*_TRADE.findall(text), *_ORDER.findall(text)]))


def folded(entries: Iterable[Entry], config: ExecutionConfig) -> Book:
    """The fold of execution's journal, up to the first row that cannot be folded."""
    book = Book.empty(config)
    for entry in entries:
        try:
            book.apply(entry)
        except Exception:  # whatever the mistake is that this run has met: what was folded before it tells of it
            break
    return book


def _named(violations: Iterable[Violation], book: Book, desk_number: int) -> list[Trade]:
    found: dict[str, None] = {}
    for violation in violations:
        for name in ids_in(" ".join((violation.text, *violation.concerns))):
            if not name.isdecimal():
                found[name] = None
                continue
            key = parse_client_order_id(int(name), desk_number)
            if key is not None:
                found[trade_id(key.trade_number)] = None
    return [book.trades[name] for name in found if name in book.trades]


def _words(trade: Trade) -> set[str]:
    return {trade.request.intent_id, trade.request.strategy, *(leg.symbol for leg in trade.legs)}


def _latest(trades: Iterable[Trade]) -> list[Trade]:
    """What still holds something first."""
    return sorted(trades, key=lambda trade: (trade.is_flat, -trade.updated_ns))
