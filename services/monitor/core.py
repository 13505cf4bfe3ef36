"""What is alive, what is wrong, and what the desk holds."""

from __future__ import annotations

from typing import Any

from services.monitor.config import MonitorConfig
from shared.messages.steps import Entry, Step


class MonitorCore:
    """What is alive, what is wrong, and what the desk holds.

    Inputs: Inbound of any topic, StreamSynced, AlertsRestored, Tick, LoopStalled. Effects: RaiseAlert and AppendAlert.
    Journals nothing.
    """

    def __init__(self, config: MonitorConfig, *, account_id: str) -> None:
        self._config = config

    def handle(self, item: Any, now_ns: int) -> Step:
        raise NotImplementedError

    def apply(self, entry: Entry) -> None:
        raise NotImplementedError

    def start(self, now_ns: int) -> Step:
        raise NotImplementedError

    def next_deadline_ns(self) -> int | None:
        raise NotImplementedError
