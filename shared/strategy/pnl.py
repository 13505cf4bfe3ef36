"""P&L of a trade on mark. Conventions: signed quantity × (mark − entry price) − fees; USD."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

import msgspec

from shared.messages.trades import LegOrder, LegStatus, TradeUpdate
from shared.options.chain import ChainView
from shared.options.instruments import instrument_kind, underlying_of


class TradePnl(msgspec.Struct, frozen=True):
    """P&L of one trade, USD. Fees and funding > 0 are paid; the fees of a close to come are not in it."""

    unrealized_usd: float
    realized_usd: float
    fees_usd: float
    funding_usd: float = 0.0

    @property
    def net_usd(self) -> float:
        """What the trade has earned on mark, fees and funding deducted."""
        return self.unrealized_usd + self.realized_usd - self.fees_usd - self.funding_usd


def trade_pnl(trade: TradeUpdate, mark_of: Callable[[int], float | str]) -> TradePnl | str:
    """P&L on mark. `mark_of` gives the mark of a leg by its index (USD per unit), or why there is none.

    A leg of which nothing is held needs no mark; a held one without a mark has no P&L: the reason is returned.

    >>> pnl = trade_pnl(trade, lambda index: 1_100.0)  # trade: 0.1 bought at 1,000 USD per unit
    >>> pnl.unrealized_usd, pnl.net_usd
    (10.0, 10.0)
    """
    unrealized = 0.0
    for index, leg in enumerate(trade.legs):
        if leg.held_quantity == 0:
            continue
        if leg.open_price is None:
            return f"no entry price of {leg.symbol}"
        mark = mark_of(index)
        if isinstance(mark, str):
            return mark
        if not math.isfinite(mark):
            return f"no mark of {leg.symbol}"
        unrealized += signed(leg, leg.held_quantity) * (mark - float(leg.open_price))
    return TradePnl(unrealized, float(trade.realized_pnl_usd), float(trade.fees_usd), float(trade.funding_usd))


def is_counted(hedge: TradeUpdate, trade: TradeUpdate) -> bool:
    """Whether what a hedge made is in what the trade that it hedged tells of ended hedges."""
    return hedge.is_final and hedge.closed_ns is not None and hedge.closed_ns <= trade.ended_hedges_ns


def signed(leg: LegStatus | LegOrder, quantity: Decimal) -> float:
    """`quantity` of a leg as a signed position: bought > 0, sold < 0."""
    return float(quantity) if leg.side == "buy" else -float(quantity)


def premium_at_mark(legs: tuple[LegOrder, ...], chains: Callable[[str], ChainView | None]) -> float | None:
    """Σ signed quantity × mark of the options, USD: paid > 0, received < 0. None when a mark is missing. A future
    has no premium.

    `chains` gives the chain of an index name.
    """
    total = 0.0
    for leg in legs:
        if instrument_kind(leg.symbol) != "option":
            continue
        chain = chains(underlying_of(leg.symbol))
        mark = None if chain is None else chain.value(leg.symbol, "mark")
        if mark is None:
            return None
        total += signed(leg, leg.quantity) * mark
    return total
