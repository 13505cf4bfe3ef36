"""A desk that has finished its trades and goes on listening: nothing of what it hears may pile up."""

from __future__ import annotations

from collections import Counter

import pytest

from soak.retained import grown, retained
from tests.simulation.test_world import calm_desk, run_until
from world.desk import Desk
from world.faults import SECOND

pytestmark = [pytest.mark.simulation, pytest.mark.long]


def kept_by(desk: Desk) -> Counter[str]:
    """What all cores keep, and both ends of their streams."""
    parts = {name: node.core for name, node in desk.nodes.items()}
    parts |= {f"stream of {name}": publisher.store for name, publisher in desk.bus._publishers.items()}
    parts |= {f"reader of {names}": stream.reader for names, stream in desk.bus._subscriptions.items()}
    return Counter(
        {f"{name}{place}": count for name, part in parts.items() for place, count in retained(part).items()}
    )


def test_a_desk_that_only_listens_keeps_no_more_half_an_hour_later() -> None:
    desk = calm_desk()
    run_until(desk, lambda: sum(trade.state == "CLOSED" for trade in desk.book.trades.values()) == 9, limit_s=600)
    desk.engine.run_until(desk.engine.now_ns + 120 * SECOND)
    early = kept_by(desk)
    desk.engine.run_until(desk.engine.now_ns + 1_800 * SECOND)
    assert grown(early, kept_by(desk)) == {}
