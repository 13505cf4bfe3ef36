"""A dry run over the hour of funding: what it would have paid is what its twin pays that trades, and once."""

from __future__ import annotations

import msgspec
import pytest

from services.strategy.rows import DryTradeMoved
from shared.strategy import LegSpec, StrategyConfig, max_hold_hours
from tests.simulation.test_library import broken_promises
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.perpetuals import BEFORE_FUNDING_NS
from world.scenario import small_exchange

pytestmark = pytest.mark.simulation

FUNDING_NS = BEFORE_FUNDING_NS + 30 * SECOND


@pytest.mark.parametrize("killed", [None, (-2, 1), (-2, 60), (3, 1)], ids=str)
def test_a_dry_run_pays_what_its_twin_pays_whenever_its_host_is_killed(killed: tuple[int, int] | None) -> None:
    """killed: seconds after the funding, and how long the host is down."""
    real = StrategyConfig(
        name="real",
        legs=[LegSpec.perpetual("BTC", "buy", "0.1")],
        exit_conditions=[max_hold_hours(2)],
        execution_mode="limit",
        max_trades_per_day=1,
        check_interval_seconds=1,
    )
    dry = msgspec.structs.replace(real, name="dry", dry_run=True)
    desk = Desk(Engine(BEFORE_FUNDING_NS, 3), Faults.none(), (real, dry), small_exchange(3), futures=True)
    if killed is not None:
        after_s, down_s = killed
        host = desk.nodes["strategy"]
        desk.engine.at(FUNDING_NS + after_s * SECOND, lambda: host.crash(down_s * SECOND))
    desk.engine.run_until(FUNDING_NS + 240 * SECOND)
    (paid,) = [trade.funding_usd for trade in desk.book.trades.values()]
    (told,) = desk.nodes["strategy"].core._dry.trades("dry")
    assert told.state == "OPEN"
    assert paid != 0
    # by the mark of up to a minute later where nobody looked
    assert float(told.funding_usd) == pytest.approx(float(paid), rel=0.01)
    moved = [row for row in _funded(desk) if row.trade.funding_usd]
    assert [(row.trade.funding_usd, row.funded_ns) for row in moved] == [(told.funding_usd, FUNDING_NS)]
    assert broken_promises(desk) == []


def _funded(desk: Desk) -> list[DryTradeMoved]:
    return [each.row for each in desk.nodes["strategy"].journal.entries if isinstance(each.row, DryTradeMoved)]
