"""What strategy hosts ask of the others, against whose strategies are whose and what people told them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.execution.rows import TradeRequested
from shared.messages.base import Message
from shared.messages.control import RequestGrant, StrategyCommand
from shared.messages.quoting import ChangeOrders
from shared.messages.reducing import ReduceTrade
from shared.messages.steps import Entry
from shared.messages.trades import CloseTrade, OpenTrade
from shared.strategy_hosts import StrategyHosts
from world.faults import SECOND
from world.violations import Violation

_ON_ITS_WAY_NS = 30 * SECOND
"""An intent that was sent before a pause is valid for 15 s, by clocks that may be 10 s apart."""


class Deeds:
    """Remembers whose each trade is, and since when each strategy is paused, by what was answered."""

    def __init__(self) -> None:
        self._strategy_of: dict[str, str] = {}
        self._paused_ns: dict[str, int] = {}

    def told(self, order: StrategyCommand, now_ns: int) -> None:
        """A host has said that it did what it was told of a strategy."""
        if order.action == "pause":
            self._paused_ns.setdefault(order.strategy, now_ns)
        else:
            self._paused_ns.pop(order.strategy, None)

    def written(self, entries: Sequence[Entry], now_ns: int) -> Iterator[Violation]:
        """What execution wrote: no trade of a strategy that is paused for longer than an intent is valid."""
        for entry in entries:
            row = entry.row
            if not isinstance(row, TradeRequested):
                continue
            strategy = row.request.strategy
            self._strategy_of[row.trade_id] = strategy
            paused_ns = self._paused_ns.get(strategy)
            if paused_ns is not None and now_ns > paused_ns + _ON_ITS_WAY_NS:
                late_s = (now_ns - paused_ns) / SECOND
                text = f"{row.trade_id} was opened {late_s:.0f} s after {strategy} was paused"
                yield Violation("pause_kept", text)

    def violations(self, service: str, message: Message, hosts: StrategyHosts) -> Iterator[Violation]:
        """A request of a host for a strategy, or about a trade, that is another one's."""
        match message:
            case OpenTrade(strategy=strategy) | RequestGrant(strategy=strategy):
                pass
            case CloseTrade(trade_id=trade_id) | ReduceTrade(trade_id=trade_id) | ChangeOrders(trade_id=trade_id):
                strategy = self._strategy_of.get(trade_id, "")
            case _:
                return
        if strategy and hosts.of(strategy) != service:
            text = f"{service} sends {type(message).__name__} of {strategy}, which {hosts.of(strategy)} has"
            yield Violation("host_acts_alone", text)
