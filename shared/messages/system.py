"""What every service says and answers: heartbeats, alerts, replay."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.messages.base import Message

Severity = Literal["info", "warning", "critical"]
SEVERITY_RANK: dict[str, int] = {"info": 0, "warning": 1, "critical": 2}
Mode = Literal["paper", "beta", "LIVE"]


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat.1"):
    """A service is alive. Once a second; also the answer to `GetStatus`.

    event_sequences: newest sequence of each event topic, so that a lost last message is seen.
    starts: how often the service was started in this run directory (1 = never restarted).
    silent_streams: by underlying, the streams of the venue that bring nothing although what they should bring is
    published, read by other ways: expiries as in symbols, "index", "spot".
    strategies: those that a strategy host answers for: that it runs, could not load, or has open trades of.
    ready is False while the service starts up or cannot do its work; `detail` says why.
    """

    service: str
    account_id: str
    mode: Mode
    venue: str
    pid: int
    epoch: int
    started_ns: int
    beat_ns: int
    starts: int
    ready: bool
    detail: str
    event_sequences: dict[str, int]
    silent_streams: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    strategies: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.service


class GetStatus(Message, frozen=True, kw_only=True, tag="get_status.1"):
    """Any service answers with its `Heartbeat`."""


class Alert(Message, frozen=True, kw_only=True, tag="alert.1"):
    """Something a person should know. `code` is stable; one (code, subject) is one ongoing matter.

    stage: how far the matter has come, "" where that is all one. Another stage than before is told again and has to
    be acknowledged anew, at the same severity too.
    """

    code: str
    severity: Severity
    subject: str
    text: str
    service: str
    account_id: str
    mode: Mode
    raised_ns: int
    resolved: bool = False
    stage: str = ""

    @property
    def key(self) -> str:
        return f"{self.code}/{self.subject}"


class Replay(Message, frozen=True, kw_only=True, tag="replay.1"):
    """Ask a publisher for the newest message per key of each event topic that begins with `prefix`,
    with a sequence of at least `from_sequence`."""

    prefix: str
    from_sequence: int = 0


class ReplayAnswer(Message, frozen=True, kw_only=True, tag="replay_answer.1"):
    """`frames`: whole bus frames, oldest first. `newest`: newest sequence of each topic."""

    epoch: int
    frames: tuple[bytes, ...]
    newest: dict[str, int]


class GetStates(Message, frozen=True, kw_only=True, tag="get_states.1"):
    """Ask a publisher for the newest message of each state topic that begins with `prefix`."""

    prefix: str


class StatesAnswer(Message, frozen=True, kw_only=True, tag="states_answer.1"):
    """`frames`: whole bus frames, none older than the longest normal silence of its topic."""

    frames: tuple[bytes, ...]
