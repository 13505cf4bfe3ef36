"""Funding of the perpetuals that trades of a dry run hold: charged or credited at 00:00, 08:00 and 16:00 UTC.

What was held at that instant, by the rate and the mark that were seen last before it: the venue's own mark of the
instant, and what its rate became in the end, may differ a little. A funding that passed while nothing was seen of it,
as while the host was down, goes by the first rate and mark that are fresh after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from services.strategy.board import Board
from services.strategy.config import StrategyHostConfig
from services.strategy.dry_run import DryDesk
from shared.ids import hedged_name
from shared.messages.trades import TradeUpdate
from shared.options.instruments import instrument_kind
from shared.strategy.pnl import signed
from shared.strategy.views import SECOND_NS

PERIOD_NS = 8 * 3_600 * SECOND_NS
MS = 1_000_000


class _Rate(msgspec.Struct, frozen=True):
    """A fraction of quantity × mark that longs pay, and the mark, USD per coin."""

    rate: float
    mark: float


class DryFunding:
    """Volatile: what was seen of rates. Up to which funding a trade has paid is in its rows: once over restarts."""

    def __init__(self, config: StrategyHostConfig, board: Board, dry: DryDesk) -> None:
        self._config = config
        self._board = board
        self._dry = dry
        self._looked_ns = 0
        self._before: dict[str, tuple[int, _Rate]] = {}
        """By perpetual: a funding that is ahead, and what was seen of it last."""

        self.waits: dict[str, str] = {}
        """By strategy: why a funding that has passed is not in one of its trades, or their hedges, yet."""

    def charge(self, now_ns: int) -> list[TradeUpdate]:
        """Look once a second, and at once when a funding has come. Before anything else is done with dry trades: they
        hold what they held at that instant. Returns the trades that have paid or received."""
        if now_ns // PERIOD_NS == self._looked_ns // PERIOD_NS and now_ns < self._looked_ns + SECOND_NS:
            return []
        self._looked_ns = now_ns
        self.waits = {}
        holders = [(trade, held) for trade in self._dry.open_trades() if (held := _held(trade))]
        charged = [each for trade, held in holders if (each := self._charge(trade, held, now_ns)) is not None]
        self._see({symbol for _, held in holders for symbol in held}, now_ns)
        return charged

    def _charge(self, trade: TradeUpdate, held: dict[str, float], now_ns: int) -> TradeUpdate | None:
        """Book what has passed since it was made or paid last, all at once."""
        since_ns = max(trade.created_ns, self._dry.funded_ns(trade.trade_id))
        times = now_ns // PERIOD_NS - since_ns // PERIOD_NS
        if times <= 0:
            return None
        due_ns = now_ns // PERIOD_NS * PERIOD_NS
        paid_usd = 0.0
        for symbol, coins in held.items():
            found = self._rate(symbol, due_ns, now_ns)
            if found is None:
                text = f"{trade.trade_id}: funding waits: no fresh funding rate and mark of {symbol}"
                self.waits[hedged_name(trade.strategy)] = text
                return None
            paid_usd += times * coins * found.mark * found.rate
        return self._dry.fund(trade, Decimal(repr(paid_usd)), due_ns)

    def _rate(self, symbol: str, due_ns: int, now_ns: int) -> _Rate | None:
        """Of the funding of that instant, as it was seen before; else as it is now."""
        ahead_ns, seen = self._before.get(symbol, (0, None))
        return seen if ahead_ns == due_ns else self._now(symbol, now_ns)

    def _now(self, symbol: str, now_ns: int) -> _Rate | None:
        chain = self._board.chains.get(symbol)
        quote = None if chain is None else chain.snapshot.perpetual
        if quote is None or abs(now_ns - quote.received_ns) > self._config.market_tolerance_ms * MS:
            return None
        known = math.isfinite(quote.funding_rate) and math.isfinite(quote.mark)
        return _Rate(quote.funding_rate, quote.mark) if known else None

    def _see(self, symbols: Iterable[str], now_ns: int) -> None:
        """Remember what is known of the funding that comes next."""
        kept = {symbol: self._before[symbol] for symbol in symbols if symbol in self._before}
        for symbol in symbols:
            chain, found = self._board.chains.get(symbol), self._now(symbol, now_ns)
            quote = None if chain is None else chain.snapshot.perpetual
            if found is not None and quote is not None and quote.next_funding_ns > now_ns:
                kept[symbol] = quote.next_funding_ns, found
        self._before = kept


def _held(trade: TradeUpdate) -> dict[str, float]:
    """Coins of each perpetual that a trade holds, bought > 0."""
    coins: dict[str, float] = {}
    for leg in trade.legs:
        if leg.held_quantity and instrument_kind(leg.symbol) == "perpetual":
            coins[leg.symbol] = coins.get(leg.symbol, 0.0) + signed(leg, leg.held_quantity)
    return coins
