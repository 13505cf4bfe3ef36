"""`python -m tests.integration.monitor.mistaken`: the monitor with a core that makes a mistake about one trade.

What is read from the bus is checked so well that no message is known that the core fails on.
"""

from __future__ import annotations

from typing import Any

from services.monitor.core import MonitorCore
from services.monitor.shell import MonitorShell
from shared.messages.steps import Inbound, Step
from shared.messages.trades import TradeUpdate
from shared.service import run_service

MISTAKEN_ABOUT = "mistaken-about"


class MistakenCore(MonitorCore):
    def handle(self, item: Any, now_ns: int) -> Step:
        step = super().handle(item, now_ns)
        match item:
            case Inbound(message=TradeUpdate(trade_id=trade_id)) if trade_id == MISTAKEN_ABOUT:
                raise ZeroDivisionError("of no use")
        return step


class MistakenShell(MonitorShell):
    core_type = MistakenCore


if __name__ == "__main__":
    run_service("monitor", MistakenShell)
