"""A core that a process or a restart leaves behind is freed at once: in no cycle, it needs no collector."""

from __future__ import annotations

import gc
import weakref

import pytest

from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import drawn

pytestmark = pytest.mark.simulation


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_core_of_a_service_that_dies_is_freed_without_the_collector(seed: int) -> None:
    scenario = drawn(seed)
    desk = Desk(
        Engine(scenario.start_ns, seed),
        Faults.none(),
        scenario.strategies,
        scenario.exchange,
        scenario.execution,
        risk_config=scenario.risk,
        host_config=scenario.host,
        futures=scenario.futures,
    )
    desk.engine.run_until(scenario.start_ns + 90 * SECOND)
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        left = {}
        for name, node in desk.nodes.items():
            core = weakref.ref(node.core)
            node.crash(down_ns=SECOND)
            if core() is not None:
                left[name] = [type(each).__qualname__ for each in gc.get_referrers(core())]
        assert left == {}
    finally:
        if collects:
            gc.enable()
