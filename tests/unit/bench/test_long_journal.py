"""The long journal of the benches is one that a desk could have written."""

from __future__ import annotations

from bench.journal import minute_of_trading
from bench.long_journal import repeated
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.rows import OrderRequested


def test_every_repetition_is_another_trade_and_ends_and_what_is_old_leaves_memory() -> None:
    minute = minute_of_trading()
    entries = list(repeated(minute, len(minute) * 8, days=12))
    assert len(entries) == len(minute) * 8
    assert [entry.at_ns for entry in entries] == sorted(entry.at_ns for entry in entries)
    orders = [entry.row.client_order_id for entry in entries if isinstance(entry.row, OrderRequested)]
    assert len(orders) == len(set(orders)) > 0
    book = Book.empty(ExecutionConfig())
    for entry in entries:
        book.apply(entry)
    in_a_minute = sum(type(entry.row).__name__ == "TradeRequested" for entry in minute)
    assert in_a_minute * 2 <= len(book.trades) <= in_a_minute * 4
    assert all(trade.is_final for trade in book.trades.values())
