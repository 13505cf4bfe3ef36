"""Faults that come at random moments and last for a while: crashes, outages, full disks, a clock that is set."""

from __future__ import annotations

from collections.abc import Callable

from world.desk import Desk
from world.faults import MS, SECOND, Faults
from world.node import Node

_WITH_JOURNAL = ("execution", "risk")
_HEARD = ("marketdata", "risk", "execution")
"""Those that others listen to, beside the strategy hosts."""


def disturb(desk: Desk, faults: Faults, until_ns: int) -> None:
    """Let the faults of a desk that have a rate per minute happen, at moments of Poisson processes."""
    between_ns = desk.engine.between_ns
    for node in desk.nodes.values():
        crash_at_random(desk, node, faults, until_ns)
        at_random(desk, faults.outage_per_minute, until_ns, _outage(desk, node))
    hosts = desk.tenants.nodes
    for name in (*_HEARD, *hosts):
        at_random(desk, faults.bus_cut_per_minute, until_ns, _cut_off(desk, name))
    for name in (*_WITH_JOURNAL, *hosts):
        at_random(desk, faults.disk_full_per_minute, until_ns, _full_disk(desk, desk.nodes[name]))
    venue = desk.venue
    spells: tuple[tuple[float, Callable[[], None]], ...] = (
        (faults.venue_away_per_minute, lambda: venue.go_away(between_ns(2 * SECOND, 30 * SECOND))),
        (faults.throttle_per_minute, lambda: venue.throttle(between_ns(SECOND, 8 * SECOND))),
        (faults.stream_silence_per_minute, lambda: venue.stream.fall_silent(between_ns(5 * SECOND, 40 * SECOND))),
        (faults.market_freeze_per_minute, lambda: _freeze(desk)),
        (faults.clock_jump_per_minute, lambda: _jump(desk)),
    )
    for rate, act in spells:
        at_random(desk, rate, until_ns, act)


def crash_at_random(desk: Desk, node: Node, faults: Faults, until_ns: int) -> None:
    """Kill the node at random moments, and stop it for a while at others."""
    between_ns = desk.engine.between_ns
    at_random(desk, faults.crash_per_minute, until_ns, node.crash)
    at_random(desk, faults.stall_per_minute, until_ns, lambda: node.stall(between_ns(2 * SECOND, 12 * SECOND)))


def at_random(desk: Desk, per_minute: float, until_ns: int, act: Callable[[], None]) -> None:
    """Do `act` at moments of a Poisson process, from now until `until_ns`."""
    engine = desk.engine
    when_ns = engine.now_ns
    while per_minute:
        when_ns += int(engine.random.expovariate(per_minute / 60) * SECOND)
        if when_ns >= until_ns:
            break
        engine.at(when_ns, act)


def _outage(desk: Desk, node: Node) -> Callable[[], None]:
    return lambda: node.crash(desk.engine.between_ns(5 * SECOND, 40 * SECOND))


def _cut_off(desk: Desk, source: str) -> Callable[[], None]:
    return lambda: desk.bus.cut_off(source)


def _full_disk(desk: Desk, node: Node) -> Callable[[], None]:
    engine = desk.engine
    return lambda: node.fill_disk(engine.random.choice((0, 2, 20)), engine.between_ns(5 * SECOND, 30 * SECOND))


def _freeze(desk: Desk) -> None:
    engine = desk.engine
    desk.freeze_market(engine.between_ns(3 * SECOND, 30 * SECOND), repeats=engine.chance(0.3))


def _jump(desk: Desk) -> None:
    """Mostly by a little, at times by seconds; half of the jumps put the clock right again."""
    engine = desk.engine
    sign = engine.random.choice((-1, 1))
    ahead_ns = 0 if desk.machine.ahead_ns and engine.chance(0.5) else sign * engine.between_ns(100 * MS, 10 * SECOND)
    desk.machine.set_clock(ahead_ns)
