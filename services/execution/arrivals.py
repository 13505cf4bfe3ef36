"""Notes what the market is when a trade is accepted, when its close begins, and while its legs are out of proportion.

These are the only market data in the journal: execution quality cannot be known afterwards without them.
"""

from __future__ import annotations

from typing import Literal

from services.execution import rows
from services.execution.records import Trade
from services.execution.rows import LegQuote
from services.execution.workspace import Workspace

_BEGINNINGS = frozenset[type]({rows.TradeRequested, rows.CloseRequested, rows.TradeMoved})
_CHANGES = frozenset[type]({rows.FillSeen, rows.FillAssumed, rows.LegClosedOutside, rows.LegSettled})
"""Rows that change what a trade holds."""


def note_arrivals(work: Workspace) -> None:
    """Add a row for each trade that this step accepted or began to close, once."""
    for entry in [entry for entry in work.step.rows if type(entry.row) in _BEGINNINGS]:
        trade = work.book.trade_of_row(entry.row)
        if trade is None:
            continue
        tally = trade.tally
        match entry.row:
            case rows.TradeRequested() if not tally.open.is_noted:
                _note(work, trade, "open")
            case rows.CloseRequested() | rows.TradeMoved() if tally.close.began_ns and not tally.close.is_noted:
                _note(work, trade, "close")


def note_deltas(work: Workspace) -> None:
    """Add a row for each trade that this step left with its legs out of proportion. At the end of a step."""
    changed: dict[str, Trade] = {}
    for entry in work.step.rows:
        if type(entry.row) in _CHANGES and (trade := work.book.trade_of_row(entry.row)) is not None:
            changed[trade.trade_id] = trade
    for trade in changed.values():
        if trade.tally.unbalanced and trade.tally.running is not None:
            _note(work, trade, "fill")


def _note(work: Workspace, trade: Trade, moment: Literal["open", "close", "fill"]) -> None:
    quotes: list[LegQuote | None] = []
    for leg in trade.legs:
        quote = work.market.quote(leg.instrument, work.now_ns)
        quotes.append(None if quote is None else LegQuote(quote.bid, quote.ask, quote.mark, quote.delta))
    work.record(rows.MarketNoted(trade_id=trade.trade_id, moment=moment, quotes=tuple(quotes)))
