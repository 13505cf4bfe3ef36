"""Keeps what conditions remember, over restarts: by strategy for its entries, by trade for its exits."""

from __future__ import annotations

from collections.abc import Callable

from services.strategy.rows import ConditionForgot, ConditionRemembered, Row
from shared.messages.trades import TradeUpdate
from shared.strategy.recall import Recall


class Recalls:
    """Folded from rows; `record` is the core's, which folds what it writes."""

    def __init__(self, record: Callable[[Row], None]) -> None:
        self._record = record
        self._known: dict[tuple[str, str], dict[str, float]] = {}

    def apply(self, row: Row) -> bool:
        """Fold a row; False if it is none of ours."""
        match row:
            case ConditionForgot(strategy=strategy, trade_id=trade_id):
                self._known.pop((strategy, trade_id), None)
            case ConditionRemembered(strategy=strategy, trade_id=trade_id, key=key, value=None):
                self._known.get((strategy, trade_id), {}).pop(key, None)
            case ConditionRemembered(strategy=strategy, trade_id=trade_id, key=key, value=float() as value):
                self._known.setdefault((strategy, trade_id), {})[key] = value
            case _:
                return False
        return True

    def forget(self, strategy: str) -> None:
        """Drop what the conditions of a strategy and of its trades remember."""
        self._known = {key: noted for key, noted in self._known.items() if key[0] != strategy}

    def of(self, strategy: str, trade_id: str = "") -> Recall:
        """For one look at the exits of a trade, or at the entries of a strategy."""
        return Recall(self._known.get((strategy, trade_id)))

    def keep(self, recall: Recall, strategy: str, trade_id: str = "") -> None:
        """Write down what a look noted."""
        for key, value in recall.noted.items():
            self._record(ConditionRemembered(strategy=strategy, trade_id=trade_id, key=key, value=value))

    def on_trade(self, trade: TradeUpdate) -> None:
        """Forget a trade that has ended."""
        if trade.is_final and (trade.strategy, trade.trade_id) in self._known:
            self._record(ConditionForgot(strategy=trade.strategy, trade_id=trade.trade_id))
