"""Execution's decisions: intents in, orders and the truth about trades out."""

from __future__ import annotations

from typing import Any

from services.execution.config import ExecutionConfig
from shared.messages.steps import Entry, Step


class ExecutionCore:
    """One account's trades and orders.

    Inputs: Request (OpenTrade, CloseTrade, CancelOrders, RaiseHalt, LiftHalts, ListTrades, ListOrders, TellTrade);
    Inbound (InstrumentList, ChainSnapshot, Heartbeat, AccountSnapshot); the venue facts of
    `shared.messages.venue`; Tick; LoopStalled. Effects: those of `effects.py`, Publish, Reply, RaiseAlert.
    """

    def __init__(self, config: ExecutionConfig, *, account_id: str, desk_number: int, grant_key: bytes) -> None:
        self._config = config
        self._account_id = account_id
        self._desk_number = desk_number
        self._grant_key = grant_key

    def handle(self, item: Any, now_ns: int) -> Step:
        return Step()

    def apply(self, entry: Entry) -> None:
        return None

    def start(self, now_ns: int) -> Step:
        return Step()

    def next_deadline_ns(self) -> int | None:
        return None
