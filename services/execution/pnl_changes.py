"""What each row of the journal changed about the money of a trade, so that P&L has its day. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

from services.execution import rows
from services.execution.book import Book
from services.execution.records import ZERO, Trade
from services.execution.views import exact

ChangeKind = Literal["fill", "fee", "settlement", "outside", "funding"]
_KINDS: dict[type, ChangeKind] = {
    rows.FillSeen: "fill",
    rows.FillAssumed: "fill",
    rows.FeeLearned: "fee",
    rows.LegSettled: "settlement",
    rows.LegClosedOutside: "outside",
    rows.FundingBooked: "funding",
}


_TWELFTH = Decimal("1e-12")


class Money(NamedTuple):
    """Realised P&L before fees, fees and funding (paid > 0) of a trade, USD. Cash has every digit; the share of an
    average price in a partial close is rounded to the twelfth, so that changes sum to the whole."""

    realized_pnl_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO


class PnlChange(NamedTuple):
    """What one row changed. at_ns: when it happened, by the venue's clock where that told; fees and funding paid
    are > 0."""

    sequence: int
    at_ns: int
    trade_id: str
    strategy: str
    kind: ChangeKind
    realized_pnl_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal = ZERO


def changes_money(row: rows.Row) -> bool:
    """Whether a row of this kind may change P&L or fees."""
    return type(row) in _KINDS


def money_of(trade: Trade | None) -> Money:
    """As it stands now; nothing of no trade."""
    if trade is None:
        return Money()
    return Money(
        sum((leg.realized_pnl_usd for leg in trade.legs), ZERO).quantize(_TWELFTH), trade.fees_usd, trade.funding_usd
    )


def pnl_change(sequence: int, at_ns: int, row: rows.Row, before: Money, book: Book) -> PnlChange | None:
    """What the row, which is folded already, has changed since `before`; None for nothing."""
    trade = book.trade_of_row(row)
    if trade is None:
        return None
    after = money_of(trade)
    if after == before:
        return None
    return PnlChange(
        sequence,
        _happened_ns(row, book) or at_ns,
        trade.trade_id,
        trade.request.strategy,
        _KINDS[type(row)],
        exact(after.realized_pnl_usd - before.realized_pnl_usd),
        exact(after.fees_usd - before.fees_usd),
        exact(after.funding_usd - before.funding_usd),
    )


def _happened_ns(row: rows.Row, book: Book) -> int | None:
    """By the venue's clock: a fill may be found days later, and its fee is told after it."""
    match row:
        case rows.FillSeen(fill=fill):
            return fill.venue_ns
        case rows.FundingBooked(venue_ns=venue_ns):
            return venue_ns
        case rows.FeeLearned(venue_trade_id=number) if number in book.fills:
            return book.fills[number].venue_ns
        case _:
            return None
