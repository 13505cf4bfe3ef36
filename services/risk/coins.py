"""Coins of spot that trades hold: positions beside the venue's own, which has none of spot.

What else the account has of a coin is collateral and in its equity; no limit speaks of it.
"""

from __future__ import annotations

import math
from decimal import Decimal

from services.risk.market import MarketView
from shared.messages.trades import TradeUpdate
from shared.messages.venue import VenuePosition
from shared.options.instruments import instrument_kind

_ZERO = Decimal(0)


class TradedCoins:
    """By trade, what execution says that it holds of each pair. Volatile: execution's replay tells of all trades."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, tuple[Decimal, Decimal]]] = {}
        """By trade and pair: coins, and what they cost in USDT."""

    def on_trade(self, trade: TradeUpdate) -> None:
        held = {
            leg.symbol: (leg.held_quantity, leg.held_quantity * (leg.open_price or _ZERO))
            for leg in trade.legs
            if instrument_kind(leg.symbol) == "spot" and leg.held_quantity > 0
        }
        if held and not trade.is_final:
            self._held[trade.trade_id] = held
        else:
            self._held.pop(trade.trade_id, None)

    def forget_trades(self) -> None:
        """Execution started anew: its replay tells of all trades again."""
        self._held.clear()

    def positions(self, market: MarketView) -> tuple[VenuePosition, ...]:
        """One position per pair, at the middle of its book where there is one."""
        sums: dict[str, tuple[Decimal, Decimal]] = {}
        for held in self._held.values():
            for symbol, (quantity, cost) in held.items():
                coins, paid = sums.get(symbol, (_ZERO, _ZERO))
                sums[symbol] = coins + quantity, paid + cost
        return tuple(_position(market, symbol, coins, paid) for symbol, (coins, paid) in sorted(sums.items()))


def _position(market: MarketView, symbol: str, coins: Decimal, paid: Decimal) -> VenuePosition:
    listed = market.option(symbol)
    mark = None if listed is None or not math.isfinite(listed.mark) else listed.mark
    return VenuePosition(
        symbol=symbol,
        quantity=coins,
        average_price=paid / coins,
        mark=mark,
        unrealized_pnl_usd=None if mark is None else float(coins) * mark - float(paid),
    )
