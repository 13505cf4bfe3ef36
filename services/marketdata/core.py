"""Instrument lists, option chains as columns, index prices."""

from __future__ import annotations

from typing import Any

from services.marketdata.config import MarketdataConfig
from shared.messages.steps import Entry, Step


class MarketdataCore:
    """Instrument lists, option chains as columns, index prices.

    Inputs: InstrumentsLoaded, ChainPush, IndexPush, StreamUp, StreamDown, Tick, LoopStalled. Effects: Publish,
    RaiseAlert and those of effects.py. Journals nothing.
    """

    def __init__(self, config: MarketdataConfig) -> None:
        self._config = config

    def handle(self, item: Any, now_ns: int) -> Step:
        raise NotImplementedError

    def apply(self, entry: Entry) -> None:
        raise NotImplementedError

    def start(self, now_ns: int) -> Step:
        raise NotImplementedError

    def next_deadline_ns(self) -> int | None:
        raise NotImplementedError
