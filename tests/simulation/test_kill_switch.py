"""The kill switch as a drill: flatten while the venue's answers are late, lost and refused, and with everybody but
execution dead."""

from __future__ import annotations

import msgspec
import pytest

from shared.messages.control import HaltsAnswered, RaiseHalt
from tests.simulation.test_world import run_until
from world.desk import DESK_NUMBER, Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.invariants import safety_violations
from world.scenario import small_exchange, three_strategies
from world.simulate import START_NS

pytestmark = pytest.mark.simulation

VENUE_FAULTS = Faults(
    venue_delay_max_ms=400,
    request_lost=0.05,
    answer_lost=0.2,
    unknown_code=0.05,
    read_fails=0.2,
    refused=0.1,
    stream_lost=0.2,
    position_lag_ms=1_000,
)
FOR_EVER_MS = 10**12


@pytest.mark.parametrize("seed", [1, 2])
def test_flatten_ends_flat_with_the_venue_failing_and_strategy_risk_and_monitor_dead(seed: int) -> None:
    desk = Desk(Engine(START_NS, seed), VENUE_FAULTS, three_strategies(seed, "limit"), small_exchange(seed))
    run_until(desk, lambda: len([t for t in desk.book.trades.values() if t.state == "OPEN"]) >= 2, limit_s=400)
    for name in ("strategy", "risk", "monitor"):
        node = desk.nodes[name]
        node.heal(msgspec.structs.replace(VENUE_FAULTS, restart_after_max_ms=FOR_EVER_MS))
        node.crash()
    known = set(desk.book.trades)
    halt = RaiseHalt(level="flatten", reason="drill", requested_by="operator")
    answers = desk.operate_at(desk.engine.now_ns, "execution", halt, "halt-1")
    run_until(desk, lambda: all(trade.is_final for trade in desk.book.trades.values()), limit_s=900)
    run_until(desk, lambda: desk.venue.positions() == (), limit_s=60)
    assert not any(desk.nodes[name].alive for name in ("strategy", "risk", "monitor"))
    assert isinstance(answers[0], HaltsAnswered)
    assert set(desk.book.trades) == known, "nothing is opened after the halt"
    desk.engine.run_until(desk.engine.now_ns + 30 * SECOND)
    assert set(desk.book.trades) == known
    assert list(safety_violations(desk.venue, desk.book, DESK_NUMBER)) == []
    assert max(desk.venue.sent.values()) == 1, "no order was sent twice"
