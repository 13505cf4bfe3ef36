"""The monitor through weeks of virtual time: trades, alerts and restarts come and go, what is kept stays the same."""

from __future__ import annotations

from collections import Counter

import msgspec

from services.monitor.config import MonitorConfig
from shared.messages.control import GrantRefused
from shared.messages.steps import LoopStalled
from soak.retained import grown, retained
from tests.unit.monitor.desk import SECOND, Script, account, alert, halts, heartbeat, strategy, trade

DAY_S = 86_400


def one_day(script: Script, day: int) -> None:
    """Each hour a trade opens, breaks and closes; services restart and fall silent; alerts of new subjects come."""
    for hour in range(24):
        at_s = day * DAY_S + hour * 3_600.0
        number = day * 24 + hour
        script.on(LoopStalled(SECOND), at_s)
        for service in MonitorConfig().services:
            script.hear(heartbeat(service, epoch=number + 1, ready=hour % 2 == 0), at_s, f"sys.{service}.heartbeat")
        for after, state in enumerate(("OPENING", "OPEN", "BROKEN", "CLOSED")):
            update = trade(state, at_s + after, trade_id=f"t{number}")  # type: ignore[arg-type]
            script.hear(update, at_s + after, "exec.main.trade")
        script.hear(account(), at_s, "risk.main.account")
        script.hear(strategy(), at_s)
        refused = GrantRefused(intent_id=f"s-{number}", strategy="s", code="drill", detail="no")
        script.hear(refused, at_s)
        script.hear(halts("no_new_trades", epoch=number), at_s)
        script.hear(halts(epoch=number), at_s)
        told = msgspec.structs.replace(alert("venue", at_s), subject=f"order {number}")
        script.hear(told, at_s)
        script.hear(msgspec.structs.replace(told, resolved=True, raised_ns=told.raised_ns + 1), at_s + 1)
        script.tick(at_s + 5)
        script.tick(at_s + 100)


def test_what_the_monitor_keeps_does_not_grow_from_day_to_day() -> None:
    script = Script(MonitorConfig(keep_trades=10, keep_alerts=60, keep_refusals=10))
    kept: list[Counter[str]] = []
    for day in range(8):
        one_day(script, day)
        kept.append(retained(script.core))
    assert kept[7]["._refusals"] == kept[7]["._trades"] == 10
    assert grown(kept[4], kept[7]) == {}
