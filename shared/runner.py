"""Drain inputs → core → rows and effects → one commit → perform. Used by shells and World alike; no IO of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Generic, Protocol, TypeVar, cast

from shared.errors import JournalDamaged, JournalFull
from shared.messages.space import ON_DISK, JournalSpace
from shared.messages.steps import Entry, Inbound, ReplyReceived, Request, Step, Together

CoreT = TypeVar("CoreT", bound="Core")


class Core(Protocol):
    """Pure decisions. Durable state changes only in `apply`; `handle` applies each row it returns itself."""

    def handle(self, item: Any, now_ns: int) -> Step: ...

    def apply(self, entry: Entry) -> None: ...

    def start(self, now_ns: int) -> Step:
        """Called once after the journal was folded: what to publish, fetch and arm."""
        ...

    def next_deadline_ns(self) -> int | None:
        """When `Tick` is due next; None if nothing waits for time to pass."""
        ...


class Restorable(Protocol):
    """A core whose durable state is one value, so that a journal may keep snapshots of it."""

    def restore(self, state: Any) -> None:
        """Take this for what folding the rows up to it would have given. Before `start`, and before any `apply`."""
        ...


class Gathering(Protocol):
    """A core to which inputs of some types are handed as one `Together`, where they come one after the other in a
    batch: it looks at everything after each input, which would be the square of their number."""

    gathers: frozenset[type]


class Journal(Protocol):
    """Durable rows, in order. `append` returns only when all of them are safe, and keeps all or none.

    `append` raises JournalFull when there is no room, the space that was kept back included. The note of what is
    unwritten outlives the process.
    """

    def snapshot(self) -> tuple[int, Any] | None:
        """The newest state of which the journal keeps a snapshot, and up to which row it goes. Fresh at each call."""
        ...

    def load(self, after: int = 0) -> Iterable[Entry]:
        """The rows after this one. Raises JournalDamaged when they are not what was written."""
        ...

    def start_over(self, damage: JournalDamaged) -> None:
        """Move what is damaged aside and begin anew, with `unwritten` saying so; raises `damage` where that is not
        allowed."""
        ...

    def append(self, entries: Sequence[Entry]) -> None: ...

    @property
    def problem(self) -> str:
        """Why there is little or no space, and the remedy; "" as long as all is well."""
        ...

    def check_space(self) -> bool:
        """Look at the disk, and keep space back again when there is enough; True when all is well."""
        ...

    @property
    def unwritten(self) -> str: ...

    def note_unwritten(self, text: str) -> bool:
        """False when even this could not be written."""
        ...

    def forget_unwritten(self) -> bool: ...


class MemoryJournal:
    """A journal for cores that keep nothing, and for World, where it is what survives a crash."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.unwritten = ""
        self.problem = ""

    def snapshot(self) -> tuple[int, Any] | None:
        return None

    def load(self, after: int = 0) -> Iterable[Entry]:
        return tuple(self.entries[after:])

    def start_over(self, damage: JournalDamaged) -> None:
        raise damage

    def append(self, entries: Sequence[Entry]) -> None:
        self.entries.extend(entries)

    def check_space(self) -> bool:
        return not self.problem

    def note_unwritten(self, text: str) -> bool:
        self.unwritten = text
        return True

    def forget_unwritten(self) -> bool:
        self.unwritten = ""
        return True


class CoreFailed(Exception):
    """A core raised on one input: the input was dropped and the core folded anew from its journal."""

    def __init__(self, item: Any, error: Exception) -> None:
        super().__init__(f"{type(item).__name__}: {type(error).__name__}: {error}")
        self.item = item
        self.error = error


def cause_of(item: Any) -> str:
    """The id of the message that an input carries, "" for one that carries none."""
    match item:
        case Inbound(message_id=message_id) | ReplyReceived(message_id=message_id):
            return message_id
        case Request(request_id=request_id):
            return request_id
        case _:
            return ""


_NONE: frozenset[type] = frozenset()


class Runner(Generic[CoreT]):
    """Runs one core on one journal.

    An effect whose row is not committed is never performed: rows of a batch are committed first, in one
    transaction. When the core raises, nothing of the failed input was committed, so the core is built again from
    the journal (its state is the fold, by construction) and `CoreFailed` is handed to `on_failure`. An
    AssertionError is our own bug and is raised at once.

    The exception is a journal that is full, its reserve included, and a core whose shell gives `may_go_unwritten`:
    the core is folded anew, told so (`JournalSpace`) and decides the batch again. From then on rows are kept in
    memory until they can be written, and only effects that may go unwritten are performed.

    The fold begins at the journal's newest snapshot. A journal that is found damaged at the start is begun anew, if
    it allows that; damage that is found later ends the process, whose next start finds it.
    """

    def __init__(
        self,
        make_core: Callable[[], CoreT],
        journal: Journal,
        perform: Callable[[Any, str], None],
        on_failure: Callable[[CoreFailed], None],
        may_go_unwritten: Callable[[Any], bool] | None = None,
    ) -> None:
        self._make_core = make_core
        self._journal = journal
        self._perform = perform
        self._on_failure = on_failure
        self._may_go_unwritten = may_go_unwritten
        self._owed: list[Entry] = []
        self._noted = False
        self._told = ON_DISK
        try:
            self.core = self._fold()
        except JournalDamaged as damage:
            journal.start_over(damage)
            self.core = self._fold()
        self._left_unwritten = journal.unwritten
        self._lost_processes = _lost_processes(journal.unwritten)
        self._in_memory = False
        self._full_reason = ""
        self._start_due = False

    def _fold(self) -> CoreT:
        core = self._make_core()
        after = 0
        if (kept := self._journal.snapshot()) is not None:
            after, state = kept
            cast(Restorable, core).restore(state)
        for entry in self._journal.load(after):
            core.apply(entry)
        for entry in self._owed:
            core.apply(entry)
        self._told = ON_DISK
        return core

    def refold(self) -> None:
        """Build the core anew from what is written and what waits to be; it is to be started after that."""
        self.core = self._fold()

    @property
    def space(self) -> JournalSpace:
        """Where rows go now."""
        if self._in_memory:
            return JournalSpace(level="memory", reason=self._full_reason)
        if problem := self._journal.problem:
            return JournalSpace(level="reserve", reason=problem)
        return ON_DISK

    def start(self, now_ns: int) -> None:
        """Let the folded core say what must happen first, and tell it what is wrong with its journal.

        When its rows cannot be written, the core is folded anew, and started again before it handles anything.
        """
        self._start_due = True
        try:
            self._commit_and_perform([("", self.core.start(now_ns))])
        except Exception as error:
            self.core = self._fold()
            if not self._goes_on(error):
                raise
            self.start(now_ns)
            return
        self._start_due = False
        if text := self._left_unwritten:
            now = self.space
            self._drain(
                [
                    JournalSpace(
                        level=now.level, reason=now.reason, unwritten=text, lost_processes=self._lost_processes
                    )
                ],
                now_ns,
            )
            self._told = self.space
            self._left_unwritten = ""
            # What was decided on it may be owed itself, and then the note goes when that is written.
            if not self._owed:
                self._all_written()
        self._tell_space(now_ns)

    def drain(self, items: Sequence[Any], now_ns: int) -> None:
        """Handle a bounded batch of inputs, commit once, then perform the effects in order."""
        if self._start_due:
            self.start(now_ns)
        self._drain(self._gathered(items), now_ns)
        self._tell_space(now_ns)

    def _gathered(self, items: Sequence[Any]) -> Sequence[Any]:
        """The same inputs, neighbours as one where the core wants that."""
        if len(items) < 2:
            return items
        kinds: frozenset[type] = getattr(self.core, "gathers", _NONE)
        if not kinds:
            return items
        found: list[Any] = []
        for may_be_one, run in groupby(items, lambda item: type(item) in kinds):
            neighbours = tuple(run)
            found += [Together(neighbours)] if may_be_one and len(neighbours) > 1 else neighbours
        return found

    def look_at_space(self, now_ns: int) -> None:
        """Look at the disk, write what is owed and keep space back again; the core is told what changed."""
        self._commit([])
        if not self._owed and self._journal.check_space():
            self._in_memory = False
        self._tell_space(now_ns)

    def _tell_space(self, now_ns: int) -> None:
        if (space := self.space).level != self._told.level:
            self._told = space
            self._drain([space], now_ns)

    def _drain(self, items: Sequence[Any], now_ns: int) -> None:
        done: list[tuple[Any, Step]] = []
        for item in items:
            try:
                done.append((item, self.core.handle(item, now_ns)))
            except AssertionError:
                raise
            except Exception as error:
                self._settle(done, now_ns)
                done = []
                self.core = self._fold()
                if isinstance(item, Together):
                    # one of them may be what it cannot take: the others are not lost with it
                    self.start(now_ns)
                    self._drain(item.items, now_ns)
                    continue
                self._on_failure(CoreFailed(item, error))
                self.start(now_ns)
        self._settle(done, now_ns)

    def _settle(self, done: list[tuple[Any, Step]], now_ns: int) -> None:
        """Commit and perform. What was decided before the journal was known to be full is decided anew."""
        try:
            self._commit_and_perform(done)
        except JournalFull as full:
            if not self._goes_on(full):
                raise
            self.core = self._fold()
            self.start(now_ns)
            # Where rows go was told by the start; what was told before is no longer true.
            self._drain([item for item, _ in done if not isinstance(item, JournalSpace)], now_ns)

    def _goes_on(self, error: Exception) -> bool:
        """Go on in memory from now on, if this is the first sign of a full journal and the shell allows it."""
        if self._in_memory or self._may_go_unwritten is None or not isinstance(error, JournalFull):
            return False
        self._in_memory = True
        self._full_reason = str(error)
        return True

    def _commit_and_perform(self, done: list[tuple[Any, Step]]) -> None:
        self._commit([entry for _, step in done for entry in step.rows])
        for item, step in done:
            cause_id = cause_of(item) if step.effects else ""
            for effect in step.effects:
                if self._owed and self._may_go_unwritten is not None and not self._may_go_unwritten(effect):
                    self._on_failure(CoreFailed(effect, JournalFull("not done: its row is not on disk")))
                else:
                    self._perform(effect, cause_id)

    def _commit(self, entries: list[Entry]) -> None:
        if not entries and not self._owed:
            return
        try:
            self._journal.append([*self._owed, *entries])
        except JournalFull as full:
            if not self._in_memory:
                raise
            self._full_reason = str(full)
            self._owed += entries
            self._noted = self._noted or self._journal.note_unwritten(self._note())
            return
        if self._owed:
            self._owed = []
            self._noted = False
            if not self._left_unwritten:
                self._all_written()
        self._in_memory = False

    def _all_written(self) -> None:
        self._lost_processes = 0
        self._journal.forget_unwritten()

    def _note(self) -> str:
        """What the next process is to know: since when, and how many processes ended without having written."""
        text = self._left_unwritten or _missing(self._owed[0])
        return f"{text.partition(_AND_SINCE)[0]}{_AND_SINCE}{count}" if (count := self._lost_processes) else text


_AND_SINCE = ", nor by later processes: "


def _lost_processes(note: str) -> int:
    text, _, later = note.partition(_AND_SINCE)
    return bool(text) + (int(later) if later.isdecimal() else 0)


def _missing(first: Entry) -> str:
    kind = type(first.row).__name__
    return f"the disk was full: what was decided from {kind} at {first.at_ns} ns on was never written"
