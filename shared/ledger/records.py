"""One trade of the ledger, one fill, one change of money, as execution's journal has them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from shared.messages.base import Side
from shared.views import iso, plain


class LedgerLeg(msgspec.Struct, frozen=True, kw_only=True):
    """A leg with what was filled. Prices are averages, USD per unit."""

    symbol: str
    side: Side
    quantity: Decimal
    opened_quantity: Decimal
    open_price: Decimal | None
    closed_quantity: Decimal
    close_price: Decimal | None

    @property
    def text(self) -> str:
        """Signed quantity and symbol, "-0.1 BTCUSD-27NOV26-110000-C"."""
        return f"{'+' if self.side == 'buy' else '-'}{plain(self.quantity)} {self.symbol}"


class LedgerTrade(msgspec.Struct, frozen=True, kw_only=True):
    """One trade. Amounts in USD: premium paid > 0, fees and funding paid > 0, slippage a cost > 0 (of the opening and
    of what reduced it, None where no price at arrival is known); realized_pnl_usd before fees."""

    trade_id: str
    strategy: str
    structure: str
    state: str
    execution_mode: str
    created_ns: int
    opened_ns: int | None
    closed_ns: int | None
    legs: tuple[LedgerLeg, ...]
    entry_premium_usd: Decimal
    realized_pnl_usd: Decimal
    fees_usd: Decimal
    fees_complete: bool
    funding_usd: Decimal
    slippage_usd: Decimal | None
    close_reason: str
    close_requested_by: str

    @property
    def was_filled(self) -> bool:
        return any(leg.opened_quantity for leg in self.legs)

    @property
    def net_pnl_usd(self) -> Decimal:
        """Realised, after fees and funding."""
        return self.realized_pnl_usd - self.fees_usd - self.funding_usd

    def was_open(self, at_ns: int) -> bool:
        """Whether it may have held something at that instant."""
        return self.was_filled and self.created_ns < at_ns and (self.closed_ns is None or at_ns < self.closed_ns)


class LedgerFill(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. fee_usd: None while the venue has not told it. Ids are the venue's and ours."""

    venue_trade_id: int
    client_order_id: int
    trade_id: str
    leg_index: int
    purpose: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee_usd: Decimal | None
    is_taker: bool
    venue_ns: int


class PnlChange(msgspec.Struct, frozen=True, kw_only=True):
    """What realised P&L (before fees), fees and funding of a trade changed by, and when, USD."""

    at_ns: int
    trade_id: str
    realized_pnl_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal


def ledger_json(trade: LedgerTrade, mode: str) -> dict[str, Any]:
    """One row of the ledger with stable keys. mode: of the desk, paper, beta or LIVE."""
    return {
        "trade_id": trade.trade_id,
        "mode": mode,
        "strategy": trade.strategy,
        "structure": trade.structure,
        "state": trade.state,
        "execution_mode": trade.execution_mode,
        "opened_at": iso(trade.opened_ns),
        "closed_at": iso(trade.closed_ns),
        "legs": [
            {
                "symbol": leg.symbol,
                "side": leg.side,
                "qty": plain(leg.quantity),
                "opened_qty": plain(leg.opened_quantity),
                "open_price": plain(leg.open_price),
                "closed_qty": plain(leg.closed_quantity),
                "close_price": plain(leg.close_price),
            }
            for leg in trade.legs
        ],
        "entry_premium_usd": plain(trade.entry_premium_usd),
        "realized_pnl_usd": plain(trade.realized_pnl_usd),
        "fees_usd": plain(trade.fees_usd),
        "fees_complete": trade.fees_complete,
        "funding_usd": plain(trade.funding_usd),
        "net_pnl_usd": plain(trade.net_pnl_usd),
        "slippage_usd": plain(trade.slippage_usd),
        "close_reason": trade.close_reason,
        "close_requested_by": trade.close_requested_by,
    }
