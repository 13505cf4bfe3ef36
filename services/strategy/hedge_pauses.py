"""Whether the hedge of a trade is adjusted: not once a person has closed it or said so, until told otherwise."""

from __future__ import annotations

from collections.abc import Callable

from services.strategy.rows import HedgingPaused, HedgingResumed, Row
from shared.messages.trades import TradeUpdate

_BY_HAND_MAX = 1_000
_ROLLED_WITHIN_NS = 600 * 1_000_000_000
"""A roll opens its successor within less."""


def closed_by_hand(trade: TradeUpdate) -> str:
    """Who, if it was no service and no strategy, wants a trade closed or joined who did; "" for nobody."""
    joined, _, _ = trade.close_joined.partition(": ")
    return next((by for by in (trade.close_by, joined) if _is_a_person(by)), "")


def _is_a_person(by: str) -> bool:
    return bool(by) and by not in ("execution", "risk") and not by.startswith("strategy ")


class HedgePauses:
    """Durable, folded from rows. A close by hand pauses once, however often it is told of."""

    def __init__(self, record: Callable[[Row], None]) -> None:
        self._record = record
        self._paused: dict[str, HedgingPaused] = {}
        self._by_hand: dict[str, None] = {}
        self._ended_ns: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._paused)

    def apply(self, row: Row) -> bool:
        """Fold a row; False if it is none of ours."""
        match row:
            case HedgingPaused():
                self._paused[row.trade_id] = row
                if row.hedge:
                    self._by_hand[row.hedge] = None
                    while len(self._by_hand) > _BY_HAND_MAX:
                        del self._by_hand[next(iter(self._by_hand))]
            case HedgingResumed():
                self._paused.pop(row.trade_id, None)
            case _:
                return False
        return True

    def forget(self, strategy: str) -> None:
        """Drop the pauses of a strategy's trades."""
        self._paused = {trade_id: row for trade_id, row in self._paused.items() if row.strategy != strategy}

    def on_hedge(self, hedge: TradeUpdate, strategy: str) -> None:
        """A trade that hedges was told of: when a person closes it, its trade's hedge is left alone from now on."""
        by = closed_by_hand(hedge)
        if by and hedge.trade_id not in self._by_hand:
            self._record(
                HedgingPaused(strategy=strategy, trade_id=hedge.hedge_of, requested_by=by, hedge=hedge.trade_id)
            )

    def pause(self, trade: TradeUpdate, by: str) -> None:
        if trade.trade_id not in self._paused:
            self._record(HedgingPaused(strategy=trade.strategy, trade_id=trade.trade_id, requested_by=by))

    def resume(self, trade_id: str, by: str) -> None:
        paused = self._paused.get(trade_id)
        if paused is not None:
            self._record(HedgingResumed(strategy=paused.strategy, trade_id=trade_id, requested_by=by))

    def follow(self, trade: TradeUpdate) -> None:
        """A trade that took the place of a paused one in a roll is paused as that was."""
        before = None if trade.roll is None else self._paused.get(trade.roll.rolled_from)
        if before is not None:
            self.pause(trade, before.requested_by)
            self.resume(before.trade_id, "its roll")

    def why(self, trade_id: str) -> str | None:
        """Why the hedge of a trade is left alone, None when it is not."""
        paused = self._paused.get(trade_id)
        if paused is None:
            return None
        how = f"{paused.requested_by} closed {paused.hedge}" if paused.hedge else f"by {paused.requested_by}"
        return f"hedging is paused, {how}: voldesk hedge resume {trade_id}"

    def forget_ended(self, open_trades: set[str], now_ns: int) -> None:
        """Of what is over nothing is hedged any more, but another trade may still take its place."""
        self._ended_ns = {
            trade_id: self._ended_ns.get(trade_id, now_ns) for trade_id in self._paused.keys() - open_trades
        }
        for trade_id, ended_ns in self._ended_ns.items():
            if now_ns >= ended_ns + _ROLLED_WITHIN_NS:
                self.resume(trade_id, "its end")
