"""What hedges what, and what hedges that have ended made."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from services.execution.records import ZERO, Trade

if TYPE_CHECKING:
    from services.execution.book import Book


def hedged_trade(trade: Trade, book: Book) -> Trade | None:
    """The trade that it hedges and that is not over, None for none."""
    hedged = book.trades.get(trade.request.hedge_of)
    return None if hedged is None or hedged.is_final else hedged


def made_usd(trade: Trade) -> Decimal:
    """What it has realised, funding deducted, before fees."""
    return sum((leg.realized_pnl_usd for leg in trade.legs), ZERO) - trade.funding_usd


def ended_hedges(trade: Trade, book: Book) -> tuple[Decimal, int]:
    """What all that hedged it and has ended made, USD after fees and funding, and when the last of them ended."""
    total, last_ns = trade.forgotten_hedges_usd - trade.forgotten_hedge_fees_usd, trade.forgotten_hedges_ns
    for number in trade.hedges:
        hedge = book.trades[number]
        if hedge.is_final and hedge.closed_ns is not None:
            total += made_usd(hedge) - hedge.fees_usd
            last_ns = max(last_ns, hedge.closed_ns)
    return total, last_ns


def forget_hedge(trade: Trade, book: Book) -> None:
    """A hedge that ended long ago is about to be forgotten: what it made stays with what it hedged."""
    hedged = book.trades.get(trade.request.hedge_of)
    if hedged is None or trade.trade_id not in hedged.hedges:
        return
    hedged.hedges.remove(trade.trade_id)
    hedged.forgotten_hedges_usd += made_usd(trade)
    hedged.forgotten_hedge_fees_usd += trade.fees_usd
    hedged.forgotten_hedges_ns = max(hedged.forgotten_hedges_ns, trade.closed_ns or 0)
