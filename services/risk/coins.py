"""Coins of spot that trades hold: positions that the venue has no list of.

They come from the trades alone. Coins that no trade bought are the account's own: they are in its equity, and neither
in its delta nor in its limits.
"""

from __future__ import annotations

from decimal import Decimal

from services.risk.market import MarketView
from shared.messages.trades import TradeUpdate
from shared.messages.venue import VenuePosition
from shared.options.instruments import instrument_kind

_ZERO = Decimal(0)
Held = dict[str, tuple[Decimal, Decimal]]
"""Per pair the coins held and what they cost in USDT."""


class TradedCoins:
    """Volatile: replayed by execution. While execution tells all its trades anew, those told before stay."""

    def __init__(self) -> None:
        self._told: dict[str, Held] = {}
        self._known: dict[str, Held] | None = None
        """Those of the execution before, until the new one has told all; None while `_told` is all there is."""

        self._complete = False

    @property
    def complete(self) -> bool:
        """Whether execution has told of all trades at least once."""
        return self._complete

    def on_trade(self, update: TradeUpdate) -> None:
        held = {} if update.is_final else _held(update)
        if held:
            self._told[update.trade_id] = held
        else:
            self._told.pop(update.trade_id, None)
        if self._known is not None:
            self._known.pop(update.trade_id, None)

    def forget_trades(self) -> None:
        """Execution started anew: its replay tells of all trades again."""
        self._known = {**(self._known or {}), **self._told}
        self._told = {}

    def on_synced(self) -> None:
        """Execution has told of all its trades."""
        self._known = None
        self._complete = True

    def positions(self, market: MarketView) -> tuple[VenuePosition, ...]:
        """One per pair, at the average of what its coins cost; without a mark where spot has no quote."""
        sums: dict[str, tuple[Decimal, Decimal]] = {}
        for held in (*(self._known or {}).values(), *self._told.values()):
            for pair, (quantity, cost) in held.items():
                before = sums.get(pair, (_ZERO, _ZERO))
                sums[pair] = before[0] + quantity, before[1] + cost
        return tuple(_position(market, pair, *sums[pair]) for pair in sorted(sums))


def _held(update: TradeUpdate) -> Held:
    return {
        leg.symbol: (leg.held_quantity, leg.held_quantity * (leg.open_price or _ZERO))
        for leg in update.legs
        if leg.held_quantity > 0 and instrument_kind(leg.symbol) == "spot"
    }


def _position(market: MarketView, pair: str, quantity: Decimal, cost: Decimal) -> VenuePosition:
    known = market.option(pair)
    mark = None if known is None or not known.mark > 0 else known.mark
    average = cost / quantity
    return VenuePosition(
        symbol=pair,
        quantity=quantity,
        average_price=average,
        mark=mark,
        unrealized_pnl_usd=None if mark is None else float(quantity) * (mark - float(average)),
    )
