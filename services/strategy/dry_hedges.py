"""Hedges of the trades of a dry run: dry trades of the perpetual, made and taken back at once at the touch."""

from __future__ import annotations

from collections.abc import Iterable

from services.strategy.board import Board
from services.strategy.config import StrategyHostConfig
from services.strategy.dry_run import DryDesk
from services.strategy.slot import Slot
from shared.ids import hedge_name
from shared.messages.trades import LegOrder, TradeUpdate
from shared.options.chain import ChainView
from shared.options.instruments import underlying_of
from shared.strategy.hedge import DeltaHedge, HeldHedge, NoHedge, OpenHedge, adjustment
from shared.strategy.pnl import signed
from shared.strategy.protocol import OpenStructure
from shared.strategy.selection import SelectionFailed, perpetual_of
from shared.strategy.views import SECOND_NS

MS = 1_000_000


class DryHedges:
    """Volatile: what hedges what is in the dry trades. Whatever limits risk has are not in it."""

    def __init__(self, config: StrategyHostConfig, board: Board, dry: DryDesk) -> None:
        self._config = config
        self._board = board
        self._dry = dry
        self._looked_ns: dict[str, int] = {}
        self._texts: dict[str, str] = {}

    def hedges_of(self, trade_id: str) -> tuple[TradeUpdate, ...]:
        """All that hedged a trade so far, ended ones too."""
        return self._dry.hedges_of(trade_id)

    def text_of(self, trade_id: str) -> str:
        """What was last found of a trade's hedge, "" for one that is not hedged."""
        return self._texts.get(trade_id, "")

    def advance(self, slots: Iterable[Slot], blocked: str | None, now_ns: int) -> None:
        """Look at what is hedged, once a second, and end the hedges of what has ended. `blocked`: why nothing may be
        opened."""
        for slot in slots:
            hedge = slot.loaded.delta_hedge
            for trade in tuple(self._dry.open_trades(slot.name)):
                if hedge is None or now_ns < self._looked_ns.get(trade.trade_id, 0) + SECOND_NS:
                    continue
                self._looked_ns[trade.trade_id] = now_ns
                try:
                    text = self._look_at(slot.name, trade, hedge, blocked, now_ns)
                except Exception as error:  # figures of one strategy must not stop the others
                    text = f"hedge fails: {type(error).__name__}: {error}"
                self._texts[trade.trade_id] = text
        for each in self._dry.without_hedged():
            self._dry.close(each, f"{each.hedge_of}, which it hedges, has ended", now_ns)
        self._forget_ended()

    def _look_at(self, strategy: str, trade: TradeUpdate, hedge: DeltaHedge, blocked: str | None, now_ns: int) -> str:
        """Adjust the hedge where it is time; what was found, in words."""
        underlying = underlying_of(trade.legs[0].symbol)
        chain = self._board.chains.get(underlying)
        if chain is None or abs(now_ns - chain.snapshot.received_ns) > self._config.market_tolerance_ms * MS:
            return f"hedge waits: no fresh option chain of {underlying}"
        found, delta = perpetual_of(chain), held_delta(trade, chain)
        if isinstance(found, SelectionFailed) or isinstance(delta, str):
            return f"hedge waits: {found.reason if isinstance(found, SelectionFailed) else delta}"
        hedges = {each.trade_id: each for each in self.hedges_of(trade.trade_id)}
        held = [
            HeldHedge(each.trade_id, leg.held_quantity if leg.side == "buy" else -leg.held_quantity)
            for each in hedges.values()
            for leg in each.legs
            if leg.held_quantity
        ]
        with_hedge = delta + float(sum(each.quantity for each in held))
        text = f"delta with hedge {with_hedge:+.4f}, band {hedge.target:g} ± {hedge.band:g}"
        wanted = adjustment(delta, held, hedge, found.option)
        if isinstance(wanted, NoHedge):
            return f"{text}; the rest is too small to trade" if wanted.is_off else text
        adjusted_ns = max((each.updated_ns for each in hedges.values()), default=0)
        next_ns = adjusted_ns + round(hedge.interval_seconds * SECOND_NS)
        if now_ns < next_ns:
            return f"{text}; adjusted again in {(next_ns - now_ns) / SECOND_NS:.0f} s"
        if isinstance(wanted, OpenHedge):
            if blocked is not None:
                return f"{text}; not added to: {blocked}"
            intent = OpenStructure(
                legs=(LegOrder(symbol=found.option.symbol, side=wanted.side, quantity=wanted.quantity),),
                execution_mode="limit",
                policy="best_effort",
                hedge_of=trade.trade_id,
                dry_run=True,
            )
            made = self._dry.open(hedge_name(strategy), intent, now_ns)
            return f"{text}; {made}" if isinstance(made, str) else text
        for trade_id, keep in wanted.keep.items():
            if keep:
                self._dry.reduce(hedges[trade_id], keep, now_ns)
            else:
                self._dry.close(hedges[trade_id], f"hedge of {trade.trade_id}: {text}", now_ns)
        return text

    def _forget_ended(self) -> None:
        if len(self._looked_ns) > len(known := {trade.trade_id for trade in self._dry.open_trades()}):
            self._looked_ns = {name: at_ns for name, at_ns in self._looked_ns.items() if name in known}
            self._texts = {name: text for name, text in self._texts.items() if name in known}


def held_delta(trade: TradeUpdate, chain: ChainView) -> float | str:
    """Of what the trade holds, in coins; or which delta is missing."""
    total = 0.0
    for leg in trade.legs:
        if leg.held_quantity:
            delta = chain.value(leg.symbol, "delta")
            if delta is None:
                return f"no delta of {leg.symbol}"
            total += signed(leg, leg.held_quantity) * delta
    return total
