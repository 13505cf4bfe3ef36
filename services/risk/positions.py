"""The positions of the account with our Greeks beside the venue's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

import numpy as np

from services.risk.market import MarketView, is_delta_one, position_greeks
from shared.messages.account import Position, PositionGreeks
from shared.messages.venue import VenuePosition
from shared.options.instruments import underlying_of


class Holdings:
    """The net positions of one account, summed once for all requests that are judged by it."""

    def __init__(self, positions: Iterable[Position] = ()) -> None:
        self.quantities: dict[str, Decimal] = {position.symbol: position.quantity for position in positions}
        self.absolute_by_expiry: dict[str, float] = {}
        """Σ |quantity| per expiry, as "BTCUSD-27MAR26"."""

        for symbol, quantity in self.quantities.items():
            expiry = expiry_of(symbol)
            self.absolute_by_expiry[expiry] = self.absolute_by_expiry.get(expiry, 0.0) + abs(float(quantity))


def expiry_of(symbol: str) -> str:
    """What names the underlying and expiry of a symbol, as "BTCUSD-27MAR26"; of a perpetual "BTCUSD" and of spot
    "BTCUSDT", all of it. A dated future has the name of the options that expire with it, whatever form the venue
    gives its own."""
    if not is_delta_one(symbol):
        return symbol.rsplit("-", 2)[0]
    _, dash, day = symbol.partition("-")
    return f"{underlying_of(symbol)}-{day.removeprefix('0')}" if dash else symbol


def positions_of(
    market: MarketView, held: tuple[VenuePosition, ...], now_ns: int
) -> tuple[tuple[Position, ...], dict[str, PositionGreeks], bool]:
    """Positions with our Greeks, their sums per underlying, and whether every position has Greeks."""
    by_underlying: dict[str, list[VenuePosition]] = {}
    for position in held:
        if position.quantity:
            underlying = market.underlying_or_prefix(position.symbol)
            by_underlying.setdefault(underlying, []).append(position)
    positions: list[Position] = []
    sums: dict[str, PositionGreeks] = {}
    complete = True
    for underlying, part in by_underlying.items():
        quantity = np.array([float(position.quantity) for position in part])
        greeks = market.greeks(underlying, [position.symbol for position in part], now_ns) * quantity
        known = np.isfinite(greeks).all(axis=0)
        complete = complete and bool(known.all())
        sums[underlying] = position_greeks(greeks[:, known].sum(axis=1))
        vols = market.mark_ivs(underlying, [position.symbol for position in part], now_ns)
        index = _known(market.index(underlying)) if known.any() else None
        positions.extend(
            Position(
                symbol=position.symbol,
                underlying=underlying,
                quantity=position.quantity,
                average_price=position.average_price,
                mark=position.mark,
                unrealized_pnl_usd=position.unrealized_pnl_usd,
                greeks=position_greeks(greeks[:, column]) if known[column] else None,
                venue_delta=position.delta,
                mark_iv=_known(float(vols[column])) if known[column] else None,
                index_price=index if known[column] else None,
            )
            for column, position in enumerate(part)
        )
    return tuple(positions), sums, complete


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
