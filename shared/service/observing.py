"""What came of a core's decisions, kept until everybody else has been told, and then told to those who count it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from shared.messages.steps import Entry, Inbound, Request
from shared.service.metrics import tag_of


class Observer(Protocol):
    """Counts what a core decided. It is told after the fact, and what it raises changes nothing but a metric.

    hears: the types of effects, or of the messages that they carry, that it is to be told of.
    """

    @property
    def hears(self) -> frozenset[type]: ...

    def committed(self, entries: Sequence[Entry]) -> None:
        """These rows are in the journal."""
        ...

    def performed(self, effect: Any, cause_id: str) -> None:
        """This effect, of a type that it hears, was carried out or is on its way."""
        ...


class _Batch(msgspec.Struct):
    """Inputs that were decided together at `decided_ns`, one of them for a deadline at `due_ns` (0: none), and what
    came of them: rows, and effects with their cause and when they were carried out."""

    items: Sequence[Any] = ()
    due_ns: int = 0
    decided_ns: int = 0
    came: list[Sequence[Entry] | tuple[Any, str, int]] = msgspec.field(default_factory=list)


class Observed:
    """Keeps rows and effects, so that an order does not wait until they are counted, and tells the observers in the
    order in which they came. `on_error` is given what an observer raises.

    performed_ns: for an observer that is told of an effect, when that was carried out.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._observers: list[Observer] = []
        self._heard: frozenset[type] = frozenset()
        self._newest = self._told = _Batch()
        self._untold: list[_Batch] = []
        self.performed_ns = 0

    def add(self, observer: Observer) -> None:
        self._observers.append(observer)
        self._heard |= observer.hears

    def is_heard(self, effect: Any) -> bool:
        """Whether anybody wants to be told of such an effect: of some there are too many to ask everybody."""
        return type(getattr(effect, "message", effect)) in self._heard

    def begin(self, items: Sequence[Any], due_ns: int, now_ns: int) -> None:
        """What comes from now on comes of these inputs."""
        self._newest = _Batch(items, due_ns, now_ns)
        self._untold.append(self._newest)

    def committed(self, entries: Sequence[Entry]) -> None:
        self._newest.came.append(entries)

    def performed(self, effect: Any, cause_id: str, at_ns: int) -> None:
        self._newest.came.append((effect, cause_id, at_ns))

    def tell(self) -> None:
        """Tell all that was not told yet."""
        untold, self._untold = self._untold, []
        for batch in untold:
            self._told = batch
            for what in batch.came:
                if isinstance(what, tuple):
                    self.performed_ns = what[2]
                for observer in self._observers:
                    self._tell(observer, what)

    def _tell(self, observer: Observer, what: Sequence[Entry] | tuple[Any, str, int]) -> None:
        try:
            if isinstance(what, tuple):
                observer.performed(what[0], what[1])
            else:
                observer.committed(what)
        except Exception as error:
            self._on_error(error)

    @property
    def decided_ns(self) -> int:
        """For an observer: the time that the core was given for what it is told of."""
        return self._told.decided_ns

    def cause_of(self, cause_id: str) -> tuple[str, int]:
        """For an observer, of what it is told of: the tag of the message that has this id and when it was published,
        or ("timer", when it was due) for "". ("", 0) when it is not known."""
        batch = self._told
        if not cause_id:
            return ("timer", batch.due_ns) if batch.due_ns else ("", 0)
        for item in batch.items:
            if isinstance(item, Inbound) and item.message_id == cause_id:
                return tag_of(type(item.message)), item.published_ns
            if isinstance(item, Request) and item.request_id == cause_id:
                return tag_of(type(item.message)), item.published_ns
        return "", 0
