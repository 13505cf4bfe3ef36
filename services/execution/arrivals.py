"""Notes what the market is when a trade is accepted, when its close begins, and while its legs are out of proportion.

These are the only market data in the journal: execution quality cannot be known afterwards without them.
"""

from __future__ import annotations

from typing import Literal

from services.execution import rows
from services.execution.book import Trade
from services.execution.rows import LegQuote
from services.execution.workspace import Workspace


def note_market(work: Workspace) -> None:
    """Look at what this step decided, and add a row for each moment at which the market must be known."""
    filled: dict[str, Trade] = {}
    for entry in tuple(work.step.rows):
        trade = work.book.trade_of_row(entry.row)
        if trade is None:
            continue
        match entry.row:
            case rows.TradeRequested():
                _note(work, trade, "open")
            case rows.CloseRequested() | rows.TradeMoved():
                if trade.tally.close.began_ns is not None and not trade.tally.close.is_noted:
                    _note(work, trade, "close")
            case rows.FillSeen() | rows.FillAssumed() | rows.LegClosedOutside() | rows.LegSettled():
                filled[trade.trade_id] = trade
    for trade in filled.values():
        if trade.tally.unbalanced and trade.tally.running is not None:
            _note(work, trade, "fill")


def _note(work: Workspace, trade: Trade, moment: Literal["open", "close", "fill"]) -> None:
    quotes: list[LegQuote | None] = []
    for leg in trade.legs:
        quote = work.market.quote(leg.instrument, work.now_ns)
        quotes.append(None if quote is None else LegQuote(quote.bid, quote.ask, quote.mark, quote.delta))
    work.record(rows.MarketNoted(trade_id=trade.trade_id, moment=moment, quotes=tuple(quotes)))
