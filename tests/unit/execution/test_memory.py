"""Execution through weeks of virtual time: what it keeps depends on the retention, not on how long it runs."""

from __future__ import annotations

from collections import Counter

import msgspec

from services.execution.config import ExecutionConfig
from shared.messages.market import InstrumentList
from shared.messages.steps import LoopStalled
from shared.messages.venue import StreamDown, StreamUp
from shared.options.chain import list_id_of
from soak.retained import grown, retained
from tests.unit.execution.play import SECOND, Script, instrument, intent, leg, position

DAY_NS = 86_400 * SECOND
HOUR_NS = 3_600 * SECOND
CONFIG = msgspec.structs.replace(
    ExecutionConfig(), retention_days=1, answers_kept=20, story_lines_max=20, quality_days=2
)


def one_day(script: Script, day: int) -> None:
    """New options; six trades are opened and closed, six refused; streams break; a position is foreign at times."""
    call, put = f"BTCUSD-{day + 30:05}-100000-C", f"BTCUSD-{day + 30:05}-90000-P"
    options = tuple(instrument(symbol, script.now_ns + 3 * DAY_NS) for symbol in (call, put))
    script.listing = InstrumentList(underlying="BTCUSD", list_id=list_id_of(options), instruments=options)
    script.chain_options = {"marks": {call: 1000.0, put: 1000.0}}
    for turn in range(6):
        ordinal = day * 100 + turn * 2
        script.on(StreamDown(reason="drill")).on(LoopStalled(5 * SECOND)).on(StreamUp())
        script.market()
        script.beats()
        script.snapshot(positions=(position(put, "0.5"),) if turn % 2 else ())
        trade_id = script.open(leg(call, "buy"), ordinal=ordinal)
        for _ in range(2):
            for number, order in enumerate(script.placed()):
                script.fills_all(order, ordinal * 1_000 + order.reduce_only * 100 + number)
            script.close(trade_id)
        forged = msgspec.structs.replace(
            intent(leg(call, "buy"), ordinal=ordinal + 1, now_ns=script.now_ns).grant, signature="00"
        )
        script.ask(intent(leg(call, "buy"), ordinal=ordinal + 1, now_ns=script.now_ns, grant=forged))
        script.wait(3_000)
        script.effects.clear()
        script.now_ns += 4 * HOUR_NS - 3 * SECOND


def test_what_execution_keeps_does_not_grow_from_day_to_day() -> None:
    script = Script(CONFIG).started()
    kept: list[Counter[str]] = []
    for day in range(12):
        one_day(script, day)
        kept.append(retained(script.core))
    assert sum(trade.state == "CLOSED" for trade in script.core.book.trades.values()) >= 6
    assert grown(kept[4], kept[11]) == {}
