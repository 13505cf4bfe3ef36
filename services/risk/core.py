"""The guard: the account's snapshot, grants, and halts on broken account limits."""

from __future__ import annotations

from typing import Any

from services.risk.config import RiskConfig
from shared.messages.steps import Entry, Step


class RiskCore:
    """The guard: the account's snapshot, grants, and halts on broken account limits.

    Inputs: Inbound(InstrumentList, ChainSnapshot, IndexPrice, TradeUpdate, HaltState), StreamSynced, Request(RequestGrant,
    GetAccount), ReplyReceived, RequestTimedOut, Tick and those of inputs.py. Effects: the generic ones only.
    """

    def __init__(self, config: RiskConfig, *, account_id: str, grant_key: bytes) -> None:
        self._config = config

    def handle(self, item: Any, now_ns: int) -> Step:
        raise NotImplementedError

    def apply(self, entry: Entry) -> None:
        raise NotImplementedError

    def start(self, now_ns: int) -> Step:
        raise NotImplementedError

    def next_deadline_ns(self) -> int | None:
        raise NotImplementedError
