"""The account as risk sees it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.messages.base import Message


class PositionGreeks(msgspec.Struct, frozen=True):
    """Greeks times signed quantity, units of docs/conventions.md."""

    delta: float = 0.0
    gamma: float = 0.0
    vega: float = 0.0
    theta: float = 0.0
    rho: float = 0.0


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """One net position at the venue. `quantity` is signed (short < 0); `mark` and `greeks` are None when unknown.

    `venue_delta` is the venue's own figure, shown beside ours and never summed. `mark_iv` (fraction) and
    `index_price` (USD) are of the chain that the Greeks are of, None where that has none.
    """

    symbol: str
    underlying: str
    quantity: Decimal
    average_price: Decimal
    mark: float | None
    unrealized_pnl_usd: float | None
    greeks: PositionGreeks | None
    venue_delta: float | None = None
    mark_iv: float | None = None
    index_price: float | None = None


class AccountSnapshot(Message, frozen=True, kw_only=True, tag="account.1"):
    """The account at `received_ns`. Greeks are summed per underlying over positions whose Greeks are known.

    `greeks_complete` is False when some position has no Greeks: a limit on them must then answer "wait".
    `balances`: cash per asset ("USDT"), in units of it; empty where the venue does not tell. `day_start_usd`: equity
    at the beginning of the UTC day, moved by what was paid in or out since. asked_ns: when it was asked for: what was
    filled before shows in it, what was filled after may not; 0 where that is not told.
    """

    account_id: str
    received_ns: int
    equity_usd: Decimal
    available_margin_usd: Decimal
    initial_margin_usd: Decimal
    maintenance_margin_usd: Decimal
    unrealized_pnl_usd: Decimal
    positions: tuple[Position, ...]
    greeks: dict[str, PositionGreeks]
    greeks_complete: bool
    peak_equity_usd: Decimal
    outstanding_grants: int = 0
    outstanding_margin_usd: float = 0.0
    balances: dict[str, Decimal] = msgspec.field(default_factory=dict)
    day_start_usd: Decimal | None = None
    asked_ns: int = 0

    @property
    def key(self) -> str:
        return self.account_id
