"""Answers to what a host asked of other services, each given to the part that asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.strategy.workspace import Workspace
from shared.messages.steps import RaiseAlert, ReplyReceived, RequestTimedOut, SendRequest

Answer = ReplyReceived | RequestTimedOut
"""Or that none came in time: what was asked may have happened."""


class Asker(Protocol):
    """A part of the core that asks other services."""

    def on_answer(self, answer: Answer, now_ns: int) -> Sequence[SendRequest | RaiseAlert] | None:
        """What follows of an answer to a question of its own; None when it asked no such question."""


class Answers:
    """`askers`: in the order in which they are asked whose an answer is. No two of them send the same request id."""

    def __init__(self, work: Workspace, *askers: Asker) -> None:
        self._work = work
        self._askers = askers

    def take(self, answer: Answer) -> None:
        """Hand over an answer. One that nobody waits for any more is counted."""
        for asker in self._askers:
            effects = asker.on_answer(answer, self._work.now_ns)
            if effects is not None:
                self._work.send(*effects)
                return
        what = "answer to" if isinstance(answer, ReplyReceived) else "time-out of"
        self._work.ignored[f"{what} a question that is settled"] += 1
