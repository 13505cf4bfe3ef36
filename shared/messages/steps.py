"""What goes into a core and what comes out, in every service.

What carries a message is in no cycle ever (`gc=False`): the collector need not look at it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.messages.base import Message


class Inbound(msgspec.Struct, frozen=True, gc=False):
    """A message that was published on the bus. `published_ns` by its publisher's clock, 0 when it is not known."""

    topic: str
    message: Message
    message_id: str
    publisher: str
    epoch: int
    published_ns: int = 0


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request from the bus; answer it with `Reply`. The same `request_id` may come again.

    `published_ns`: when the client first asked, by its clock, 0 when it is not known.
    """

    request_id: str
    message: Message
    client: str
    published_ns: int = 0


class ReplyReceived(msgspec.Struct, frozen=True, gc=False):
    """The answer to a `SendRequest`."""

    request_id: str
    message: Message
    message_id: str = ""


class RequestTimedOut(msgspec.Struct, frozen=True):
    """No answer before the deadline: what was asked may have happened."""

    request_id: str


class StreamSynced(msgspec.Struct, frozen=True):
    """All event topics of `publisher` have been replayed up to now, in this epoch."""

    publisher: str
    epoch: int


class Tick(msgspec.Struct, frozen=True):
    """Time has passed: a deadline is due, or the shell's regular beat."""


class Together(msgspec.Struct, frozen=True):
    """Inputs that arrived together: taken in one after the other, and what follows from all of them decided once."""

    items: tuple[Any, ...]


class LoopStalled(msgspec.Struct, frozen=True):
    """The process was not running for `gap_ns` (SIGSTOP, suspend): act as after a reconnect, before any timer."""

    gap_ns: int


class Publish(msgspec.Struct, frozen=True):
    topic: str
    message: Message
    cause_id: str = ""


class Reply(msgspec.Struct, frozen=True):
    request_id: str
    message: Message


class SendRequest(msgspec.Struct, frozen=True):
    """Ask another service. Repeated with the same id until answered or `deadline_ms` has passed."""

    service: str
    message: Message
    request_id: str
    deadline_ms: int = 3_000


class RaiseAlert(msgspec.Struct, frozen=True, kw_only=True):
    """Tell a person; the shell adds service, account and mode and publishes it as `Alert`, which has the fields."""

    code: str
    severity: str
    subject: str
    text: str
    resolved: bool = False
    stage: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One line of a journal: a fact, when it was decided, and the id of the message that caused it."""

    at_ns: int
    cause_id: str
    row: Any


class Step(msgspec.Struct):
    """What a core decided: `rows` are facts to journal first, `effects` are carried out after the commit."""

    rows: list[Entry] = msgspec.field(default_factory=list)
    effects: list[Any] = msgspec.field(default_factory=list)
