"""The story of a trade that execution keeps in memory no longer, or cannot tell: read from its journal."""

from __future__ import annotations

from contextlib import closing

from services.execution import rows
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.quality import qualities_of
from services.execution.views import order_update, trade_update
from shared.config import DeskConfig
from shared.entries import JournalReader, Tail
from shared.errors import StartRefused
from shared.ids import trade_number, trade_number_ns
from shared.messages.trades import TradeStory
from shared.service.journals import binding_of, journal_path

_BEFORE_NS = 2 * 3_600_000_000_000
"""A trade's number is the second of its creation, or, after a loss of rows, up to an hour and a few ahead of it."""


def story_from_journal(desk: DeskConfig, trade_id: str) -> TradeStory | None:
    """What execution would have told of the trade; None when the journal, or what of it can be read, has no such
    trade."""
    path = journal_path(desk, "execution")
    if not path.exists():
        return None
    try:
        begin_ns = trade_number_ns(trade_number(trade_id)) - _BEFORE_NS
        with closing(JournalReader(path, binding_of(desk), rows.Row)) as reader:
            return _story(desk, reader, trade_id, begin_ns)
    except (ValueError, StartRefused):
        return None


def _story(desk: DeskConfig, reader: JournalReader, trade_id: str, begin_ns: int) -> TradeStory | None:
    # A book that is given the rows of this one trade alone.
    book = Book.empty(ExecutionConfig(story_lines_max=1_000_000))
    book.unfilled_kept_ns = _FOR_EVER_NS
    for _, entry in reader.entries(_last_before(reader, begin_ns)):
        row: rows.Row = entry.row
        trade = book.trades.get(trade_id)
        if trade is None:
            if isinstance(row, rows.TradeRequested | rows.TradeAdopted) and row.trade_id == trade_id:
                book.apply(entry)
            continue
        if getattr(row, "trade_id", None) == trade_id or book.trade_of_row(row) is not None:
            book.apply(entry)
        elif trade.is_final and trade.fees_are_complete and entry.at_ns > trade.updated_ns + _LATE_NS:
            break
    trade = book.trades.get(trade_id)
    if trade is None:
        return None
    return TradeStory(
        trade=trade_update(trade, book, desk.account_id),
        orders=tuple(order_update(order, desk.account_id) for order in book.orders_of(trade)),
        lines=tuple(trade.story),
        quality=tuple(qualities_of(trade, with_legs=True)),
    )


_FOR_EVER_NS = 1 << 62
_LATE_NS = 86_400_000_000_000
"""Rows of a trade may come so long after its end."""


def _last_before(reader: JournalReader, at_ns: int) -> Tail:
    """A row before all those of `at_ns` and later; rows are in the order of their times."""
    newest = reader.tail()
    low, high = 0, 0 if newest is None else newest.sequence
    while low < high:
        middle = (low + high + 1) // 2
        if reader.at_ns(middle) < at_ns:
            low = middle
        else:
            high = middle - 1
    return (reader.tail(low) if low else None) or Tail()
