"""Drain inputs → core → rows and effects → one commit → perform. Used by shells and World alike; no IO of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from shared.messages.steps import Entry, Inbound, ReplyReceived, Request, Step

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


class Journal(Protocol):
    """Durable rows, in order. `append` returns only when all of them are safe, and keeps all or none."""

    def load(self) -> Iterable[Entry]: ...

    def append(self, entries: Sequence[Entry]) -> None: ...


class MemoryJournal:
    """A journal for cores that keep nothing, and for World, where it is what survives a crash."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def load(self) -> Iterable[Entry]:
        return tuple(self.entries)

    def append(self, entries: Sequence[Entry]) -> None:
        self.entries.extend(entries)


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


class Runner(Generic[CoreT]):
    """Runs one core on one journal.

    An effect whose row is not committed is never performed: rows of a batch are committed first, in one
    transaction. When the core raises, nothing of the failed input was committed, so the core is built again from
    the journal (its state is the fold, by construction) and `CoreFailed` is handed to `on_failure`. An
    AssertionError is our own bug and is raised at once.
    """

    def __init__(
        self,
        make_core: Callable[[], CoreT],
        journal: Journal,
        perform: Callable[[Any, str], None],
        on_failure: Callable[[CoreFailed], None],
    ) -> None:
        self._make_core = make_core
        self._journal = journal
        self._perform = perform
        self._on_failure = on_failure
        self.core = self._fold()
        self._start_due = False

    def _fold(self) -> CoreT:
        core = self._make_core()
        for entry in self._journal.load():
            core.apply(entry)
        return core

    def start(self, now_ns: int) -> None:
        """Let the folded core say what must happen first.

        When its rows cannot be written, the core is folded anew, and started again before it handles anything.
        """
        self._start_due = True
        try:
            self._commit_and_perform([(self.core.start(now_ns), "")])
        except Exception:
            self.core = self._fold()
            raise
        self._start_due = False

    def drain(self, items: Sequence[Any], now_ns: int) -> None:
        """Handle a bounded batch of inputs, commit once, then perform the effects in order."""
        if self._start_due:
            self.start(now_ns)
        done: list[tuple[Step, str]] = []
        for item in items:
            try:
                done.append((self.core.handle(item, now_ns), cause_of(item)))
            except AssertionError:
                raise
            except Exception as error:
                self._commit_and_perform(done)
                done = []
                self.core = self._fold()
                self._on_failure(CoreFailed(item, error))
                self.start(now_ns)
        self._commit_and_perform(done)

    def _commit_and_perform(self, done: list[tuple[Step, str]]) -> None:
        entries = [entry for step, _ in done for entry in step.rows]
        if entries:
            self._journal.append(entries)
        for step, cause in done:
            for effect in step.effects:
                self._perform(effect, cause)
