"""A strategy host's decisions: when to ask for a grant, to open and to close."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy, LoadFailure
from shared.messages.steps import Entry, Step


class StrategyHostCore:
    """Runs strategies on one account.

    Inputs: Inbound (InstrumentList, ChainSnapshot, IndexPrice, AccountSnapshot, TradeUpdate, OrderUpdate, HaltState,
    Heartbeat), StreamSynced, Request (StrategyCommand, ListStrategies), ReplyReceived, RequestTimedOut, Tick,
    LoopStalled. Effects: Publish, Reply, SendRequest, RaiseAlert.
    """

    def __init__(
        self,
        config: StrategyHostConfig,
        strategies: Sequence[LoadedStrategy],
        *,
        account_id: str,
        failures: Sequence[LoadFailure] = (),
    ) -> None:
        self._config = config
        self._strategies = strategies
        self._account_id = account_id
        self._failures = failures

    def handle(self, item: Any, now_ns: int) -> Step:
        return Step()

    def apply(self, entry: Entry) -> None:
        return None

    def start(self, now_ns: int) -> Step:
        return Step()

    def next_deadline_ns(self) -> int | None:
        return None
