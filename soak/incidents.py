"""What befalls a desk in the World: single incidents now and then as on a real day, and bursts of all faults."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from soak.causes import Cause, Spell
from world.desk import Desk
from world.disturbances import disturb
from world.faults import SECOND, Faults

DAY = Faults(bus_delay_max_ms=5, venue_delay_max_ms=150, query_lag_ms=100, restart_after_max_ms=3_000)
"""Delays of an ordinary day, in which nothing is lost."""

INCIDENTS_PER_HOUR = 3.0
_NODES = ("marketdata", "risk", "execution", "strategy", "monitor")
_WITH_JOURNAL = ("execution", "risk", "strategy")

_CAUSE_OF: dict[str, Cause] = {
    "bus_delay_max_ms": "bus",
    "bus_lag_max_ms": "bus",
    "bus_drop": "bus",
    "bus_duplicate": "bus",
    "crash_per_drain": "killed",
    "crash_per_minute": "killed",
    "outage_per_minute": "killed",
    "stall_per_minute": "stopped",
    "clock_jump_per_minute": "clock",
    "torn_write": "disk",
    "disk_full_per_minute": "disk",
    "refused": "refused",
    "stream_lost": "stream",
    "stream_duplicate": "stream",
    "stream_reorder_ms": "stream",
    "stream_drop_per_minute": "stream",
    "stream_silence_per_minute": "stream",
    "market_freeze_per_minute": "frozen",
}
"""Every other fault is the venue's."""

_HARMLESS = frozenset({"restart_after_max_ms", "snapshot_rows", "snapshot_torn"})


def causes_of(faults: Faults) -> dict[Cause, str]:
    """What may be explained while these faults are on, with the names of the faults."""
    calm = Faults.none()
    found: dict[Cause, str] = {}
    for name in faults.__struct_fields__:
        if name not in _HARMLESS and getattr(faults, name) != getattr(calm, name):
            cause = _CAUSE_OF.get(name, "venue")
            found[cause] = f"{found[cause]} {name}" if cause in found else name
    return found


class Incidents:
    """Befalls one desk; `note` is told each spell. Moments and kinds are drawn from `random`."""

    def __init__(self, desk: Desk, random: Random, note: Callable[[Spell], None], start_ns: int) -> None:
        self._desk = desk
        self._random = random
        self._note = note
        self._start_ns = start_ns

    def scatter(self, from_ns: int, until_ns: int) -> None:
        """Single incidents between these moments."""
        when_ns = from_ns
        while True:
            when_ns += int(self._random.expovariate(INCIDENTS_PER_HOUR / 3_600) * SECOND)
            if when_ns >= until_ns:
                return
            self._desk.engine.at(when_ns, self._draw())

    def burst(self, at_ns: int, duration_ns: int) -> None:
        """A mix of all kinds of faults from `at_ns` on; afterwards an ordinary day again, and the clock is right."""
        mix = Faults.swarm(Random(self._random.random()))

        def begin() -> None:
            self._desk.suffer(mix)
            disturb(self._desk, mix, at_ns + duration_ns)
            for cause, names in causes_of(mix).items():
                self._tell(cause, duration_ns, what=f"burst of {names}")

        def end() -> None:
            self._desk.heal()
            self._desk.suffer(DAY)

        self._desk.engine.at(at_ns, begin)
        self._desk.engine.at(at_ns + duration_ns, end)

    def _tell(self, cause: Cause, duration_ns: int, *, subject: str = "", what: str) -> None:
        began_s = (self._desk.engine.now_ns - self._start_ns) / SECOND
        spell = Spell(
            cause=cause, began_s=began_s, ended_s=began_s + duration_ns / SECOND, subject=subject, what=what
        )
        self._note(spell)

    def _draw(self) -> Callable[[], None]:
        """One incident, with a duration as in the simulation's faults."""
        random = self._random
        seconds = random.uniform(2, 30)
        duration_ns = int(seconds * SECOND)
        name = random.choice(_NODES)
        desk = self._desk
        node, venue = desk.nodes[name], desk.venue
        journalled = random.choice(_WITH_JOURNAL)
        acts: dict[str, tuple[Cause, str, Callable[[], None]]] = {
            "crash": ("killed", name, node.crash),
            "outage": ("killed", name, lambda: node.crash(duration_ns)),
            "stall": ("stopped", name, lambda: node.stall(duration_ns // 3)),
            "venue away": ("venue", "", lambda: venue.go_away(duration_ns)),
            "throttled": ("venue", "", lambda: venue.throttle(duration_ns // 4)),
            "stream silent": ("stream", "", lambda: venue.stream.fall_silent(duration_ns)),
            "market frozen": ("frozen", "", lambda: desk.freeze_market(duration_ns, repeats=random.random() < 0.3)),
            "disk full": ("disk", journalled, lambda: desk.nodes[journalled].fill_disk(20, duration_ns)),
        }
        weights = (4, 2, 3, 3, 2, 3, 3, 0.5)
        what = random.choices(tuple(acts), weights)[0]
        cause, subject, act = acts[what]

        def befall() -> None:
            self._tell(cause, duration_ns, subject=subject, what=what)
            if what == "venue away":
                self._tell("stream", duration_ns, what=what)
            act()

        return befall
