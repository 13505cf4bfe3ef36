"""A core that a process or a restart leaves behind is freed at once with all its parts: in no cycle, it needs no
collector, and that of Python leaves alone what was there when a service had started."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from services.exchange.core import ExchangeCore
from world.faults import SECOND
from world.scenario import drawn, small_exchange
from world.simulate import START_NS, desk_of

pytestmark = pytest.mark.simulation

OURS = ("services.", "shared.", "world.", "strategies.")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The collector does not run by itself, and keeps what it finds."""
    collects = gc.isenabled()
    gc.disable()
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    if collects:
        gc.enable()


def watch() -> None:
    """From now on what only the collector would free is kept in its list."""
    gc.set_debug(0)
    gc.collect()
    gc.garbage.clear()
    gc.set_debug(gc.DEBUG_SAVEALL)


def in_cycles() -> set[str]:
    """What of ours only the collector would have freed since `watch`, by its kind."""
    gc.collect()
    kinds = {f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage}
    return {kind for kind in kinds if kind.startswith(OURS)}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_core_of_a_service_that_dies_is_freed_without_the_collector(seed: int, uncollected: None) -> None:
    scenario = drawn(seed)
    desk = desk_of(scenario, seed)
    desk.engine.run_until(scenario.start_ns + 90 * SECOND)
    left = {}
    for name, node in desk.nodes.items():
        core = weakref.ref(node.core)
        watch()
        node.crash(down_ns=SECOND)
        if core() is not None:
            left[name] = {type(each).__qualname__ for each in gc.get_referrers(core())}
        elif found := in_cycles():
            left[name] = found
    assert left == {}


def test_an_exchange_that_is_dropped_is_freed_without_the_collector(uncollected: None) -> None:
    exchanges = [ExchangeCore(small_exchange(1), START_NS)]
    exchanges[0].advance(START_NS + 60 * SECOND)
    core = weakref.ref(exchanges[0])
    watch()
    exchanges.clear()
    assert core() is None
    assert in_cycles() == set()
