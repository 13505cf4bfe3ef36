"""One service in the world: a core on a runner, which can die at any moment and leaves only its journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

import msgspec

from shared.clock import Clock
from shared.errors import JournalDamaged, JournalFull
from shared.messages.steps import Entry, LoopStalled, Tick
from shared.runner import Core, CoreFailed, MemoryJournal, Runner
from world.engine import Engine
from world.faults import MS, SECOND, Faults
from world.machine import Machine

BATCH_MAX = 64
STALL_NS = 2 * SECOND
"""A clock that leaps by more is told to the core as a stall, as a service does it."""
_SPACE_CHECK_NS = 2 * SECOND


class Keeping(msgspec.Struct, frozen=True):
    """How snapshots of a core's durable state are made and read again."""

    state_type: type
    state_of: Callable[[Any], Any]


@cache
def _decoder(kind: type) -> msgspec.msgpack.Decoder[Any]:
    """Made once: to make one for a state takes longer than to read it."""
    return msgspec.msgpack.Decoder(kind)


class WorldJournal(MemoryJournal):
    """What survives a crash. While its disk is full it takes the rows of its reserve and no more.

    damage: "" as long as the rows can be read. `lost_rows`: what was moved aside because they could not.
    """

    def __init__(self, make_core: Callable[[], Core], keeping: Keeping | None) -> None:
        super().__init__()
        self.damage = ""
        self.lost_rows: list[Entry] = []
        self.snapshots_used = 0
        self._snapshots: list[tuple[int, bytes]] = []
        self._make_core = make_core
        self._keeping = keeping
        self._tearing = Random(0)
        self._room: int | None = None

    def keep_snapshot(self, every_rows: int, torn: float) -> None:
        """As the process beside execution does it: fold the newest snapshot and the rows after it."""
        if self._keeping is None or not every_rows:
            return
        newest = self._snapshots[-1][0] if self._snapshots else 0
        if len(self.entries) - newest < every_rows:
            return
        core: Any = self._make_core()
        after, kept = 0, self.snapshot()
        if kept is not None:
            after = kept[0]
            core.restore(kept[1])
        for entry in self.entries[after:]:
            core.apply(entry)
        encoded = msgspec.msgpack.encode(self._keeping.state_of(core))
        if self._tearing.random() < torn:
            encoded = encoded[: self._tearing.randrange(len(encoded))]
        self._snapshots = [*self._snapshots[-1:], (len(self.entries), encoded)]

    def snapshot(self) -> tuple[int, Any] | None:
        for sequence, encoded in reversed(self._snapshots):
            assert self._keeping is not None
            try:
                state: Any = _decoder(self._keeping.state_type).decode(encoded)
            except msgspec.DecodeError:
                continue
            self.snapshots_used += 1
            return sequence, state
        return None

    def load(self, after: int = 0) -> Sequence[Entry]:
        if self.damage:
            raise JournalDamaged(self.damage)
        return tuple(self.entries[after:])

    def start_over(self, damage: JournalDamaged) -> None:
        self.lost_rows += self.entries
        self.entries, self._snapshots = [], []
        self.unwritten, self.damage = damage.reason, ""

    def fill(self, reserve_rows: int) -> None:
        self._room = reserve_rows

    def free(self) -> None:
        self._room = None

    def append(self, entries: Sequence[Entry]) -> None:
        if self._room is not None:
            self.problem = "the disk is full"
            if len(entries) > self._room:
                raise JournalFull("the disk is full, and so is its reserve")
            self._room -= len(entries)
        super().append(entries)

    def check_space(self) -> bool:
        self.problem = "" if self._room is None else "the disk is full"
        return self._room is None


class Crashed(BaseException):
    """The process is gone in the middle of what it did."""


class Node:
    """Runs one core. `perform` carries out effects; what it starts must check `is_current` before it delivers.

    boot(): called at each start, after the fold and before the core's own `start`, to connect streams.
    on_start, on_batch: told of every start (and how many rows it finds), and of a batch before it is handled.
    on_commit: told of rows once they are written.
    on_refold: told that the core was built anew without a start of the process.
    prepare: what a process does before it folds its journal; it may die of it. on_end: told that the process is gone.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        machine: Machine,
        faults: Faults,
        make_core: Callable[[], Core],
        perform: Callable[[Any, str], None],
        boot: Callable[[], None],
        may_go_unwritten: Callable[[Any], bool] | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.name = name
        self.journal = WorldJournal(make_core, keeping)
        self.epoch = 0
        self.starts = 0
        self.alive = False
        self.failures: list[CoreFailed] = []
        self.on_start: Callable[[int, int], None] = lambda now_ns, written: None
        self.on_refold: Callable[[], None] = lambda: None
        self.on_end: Callable[[], None] = lambda: None
        self.prepare: Callable[[], None] = lambda: None
        self._is_held = False
        self.on_commit: Callable[[Sequence[Entry]], None] = lambda entries: None
        self.on_batch: Callable[[Sequence[Any], int], None] = lambda items, now_ns: None
        self._engine = engine
        self._machine = machine
        self._clock: Clock = machine.clock()
        self._faults = faults
        self._make_core = make_core
        self._perform = perform
        self._boot = boot
        self._may_go_unwritten = may_go_unwritten
        self._inbox: list[Any] = []
        self._drain_set = False
        self._timer_ns: int | None = None
        self._doom: int | None = None
        self._stalled_until_ns = 0
        self._lead_ns = 0
        self._runner: Runner[Core] | None = None

    @property
    def core(self) -> Any:
        assert self._runner is not None, f"{self.name} is not running"
        return self._runner.core

    def heal(self, faults: Faults) -> None:
        """Use these faults from now on."""
        self._faults = faults

    @property
    def now_ns(self) -> int:
        """What its clock says. One that was never set says what the engine does, and is read without a detour."""
        return self._clock.now_ns() if self._machine.was_set else self._engine.now_ns

    def was_up(self, since_ns: int) -> bool:
        """Whether it has run without a break since then, and runs now."""
        return self.alive and self.epoch <= since_ns and self._stalled_until_ns <= since_ns

    @property
    def is_stalled(self) -> bool:
        return self._engine.now_ns < self._stalled_until_ns

    def is_current(self, epoch: int) -> bool:
        return self.alive and self.epoch == epoch

    def start(self) -> None:
        """Fold the journal and begin. A node that is alive, or held, stays as it is."""
        if self.alive or self._is_held:
            return
        try:
            self.prepare()
        except (Crashed, JournalFull):
            self._engine.after(self._engine.between_ns(100 * MS, self._faults.restart_after_max_ms * MS), self.start)
            return
        self.alive = True
        self.starts += 1
        self.epoch = self._engine.now_ns
        self._clock = self._machine.clock()
        self._lead_ns = self.now_ns - self._engine.now_ns
        self._inbox = []
        self._timer_ns = None
        self._drain_set = False
        self._runner = Runner(
            self._make_core, _MortalJournal(self), self._perform_or_die, self.failures.append, self._may_go_unwritten
        )
        self._boot()
        self.on_start(self.now_ns, len(self.journal.entries))
        self._guarded(Runner.start, self.now_ns)

    def crash(self, down_ns: int | None = None) -> None:
        """SIGKILL: the inbox, the core and everything in flight are lost; the journal stays. It restarts later."""
        if not self.alive:
            return
        self.alive = False
        self._inbox = []
        self._runner = None
        self._doom = None
        self.on_end()
        if down_ns is None:
            down_ns = self._engine.between_ns(100 * MS, self._faults.restart_after_max_ms * MS)
        self._engine.after(down_ns, self.start)

    def hold(self) -> None:
        """Stop it, and let nothing start it before `release`."""
        self._is_held = True
        self.crash()

    def release(self) -> None:
        """Start it again."""
        self._is_held = False
        self.start()

    def stall(self, duration_ns: int) -> None:
        """SIGSTOP for a while: inputs wait, timers do not fire."""
        self._stalled_until_ns = self._engine.now_ns + duration_ns
        epoch = self.epoch

        def resume() -> None:
            if self.is_current(epoch):
                self._inbox.insert(0, LoopStalled(duration_ns))
                self._set_drain()

        self._engine.after(duration_ns, resume)

    def fill_disk(self, reserve_rows: int, duration_ns: int) -> None:
        """Its journal has room for so many rows and no more, for so long; it looks at its disk all the while."""
        self.journal.fill(reserve_rows)
        freed_ns = self._engine.now_ns + duration_ns
        self._engine.at(freed_ns, self.journal.free)

        def look() -> None:
            if self.alive and not self.is_stalled:
                self._guarded(Runner.look_at_space, self.now_ns)
            if self._engine.now_ns <= freed_ns + 60 * SECOND:
                self._engine.after(_SPACE_CHECK_NS, look)

        look()

    @property
    def space(self) -> str:
        """Where rows go: disk, reserve or memory."""
        assert self._runner is not None, f"{self.name} is not running"
        return self._runner.space.level

    def put(self, item: Any, epoch: int | None = None) -> None:
        """Hand over one input; dropped when the node is dead or was restarted since `epoch`."""
        if not self.alive or (epoch is not None and epoch != self.epoch):
            return
        self._inbox.append(item)
        self._set_drain()

    def _set_drain(self) -> None:
        if self._drain_set:
            return
        self._drain_set = True
        epoch = self.epoch
        when_ns = max(self._engine.now_ns + self._engine.between_ns(0, 2 * MS), self._stalled_until_ns)
        self._engine.at(when_ns, lambda: self._drain() if self.is_current(epoch) else None)

    def _drain(self) -> None:
        self._drain_set = False
        batch, self._inbox = self._inbox[:BATCH_MAX], self._inbox[BATCH_MAX:]
        if self._inbox:
            self._set_drain()
        if batch:
            self._run(batch)

    def _run(self, batch: Sequence[Any]) -> None:
        random = self._engine.random
        if random.random() < self._faults.crash_per_drain:
            self._doom = random.choice((0, 1, 2, 3, 4))
        now_ns = self.now_ns
        lead_ns = now_ns - self._engine.now_ns
        if lead_ns - self._lead_ns > STALL_NS:
            batch = [LoopStalled(lead_ns - self._lead_ns), *batch]
        self._lead_ns = lead_ns
        self.on_batch(batch, now_ns)
        self._guarded(Runner.drain, batch, now_ns)
        if self.alive and self._doom is not None:
            self.crash()

    def _guarded(self, work: Callable[..., None], *given: Any) -> None:
        runner = self._runner
        assert runner is not None
        before = runner.core
        try:
            work(runner, *given)
        except Crashed:
            self.crash()
            return
        if runner.core is not before:
            self.on_refold()
        self._set_timer()

    def _set_timer(self) -> None:
        if not self.alive:
            return
        deadline_ns = self.core.next_deadline_ns()
        if deadline_ns is None:
            return
        # As an event loop does it: so much later by the monotonic clock, whatever becomes of the wall's.
        fire_ns = self._engine.now_ns + max(0, deadline_ns - self.now_ns)
        if self._timer_ns is not None and self._timer_ns <= fire_ns:
            return
        self._timer_ns = fire_ns
        epoch = self.epoch

        def fire() -> None:
            if not self.is_current(epoch) or self._timer_ns != fire_ns:
                return
            if self._engine.now_ns < self._stalled_until_ns:
                self._engine.at(self._stalled_until_ns + 1, fire)
                return
            self._timer_ns = None
            self._run([Tick()])

        self._engine.at(fire_ns, fire)

    def _perform_or_die(self, effect: Any, cause_id: str) -> None:
        self.count_down()
        self._perform(effect, cause_id)

    def keep_snapshot(self) -> None:
        """Make one when enough rows were written since the last; it may be torn."""
        self.journal.keep_snapshot(self._faults.snapshot_rows, self._faults.snapshot_torn)

    def tear(self) -> None:
        """The power may fail while a batch is being written: none of it is there afterwards."""
        if self._engine.chance(self._faults.torn_write):
            raise Crashed

    def count_down(self) -> None:
        """One more step of a doomed drain: at 0 the process dies here."""
        if self._doom is None:
            return
        if self._doom == 0:
            raise Crashed
        self._doom -= 1


class _MortalJournal:
    """The node's journal; a doomed drain may die before the commit or right after it."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def snapshot(self) -> tuple[int, Any] | None:
        return self._node.journal.snapshot()

    def load(self, after: int = 0) -> Sequence[Entry]:
        return self._node.journal.load(after)

    def start_over(self, damage: JournalDamaged) -> None:
        self._node.journal.start_over(damage)

    def append(self, entries: Sequence[Entry]) -> None:
        self._node.count_down()
        self._node.tear()
        self._node.journal.append(entries)
        self._node.on_commit(entries)
        self._node.keep_snapshot()
        self._node.count_down()

    @property
    def problem(self) -> str:
        return self._node.journal.problem

    def check_space(self) -> bool:
        return self._node.journal.check_space()

    @property
    def unwritten(self) -> str:
        return self._node.journal.unwritten

    def note_unwritten(self, text: str) -> bool:
        return self._node.journal.note_unwritten(text)

    def forget_unwritten(self) -> bool:
        return self._node.journal.forget_unwritten()
