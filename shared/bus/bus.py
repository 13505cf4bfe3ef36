"""The bus as a service sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.messages.base import Message
from shared.messages.steps import Inbound, ReplyReceived, Request, RequestTimedOut, SendRequest, StreamSynced


class NoAnswer(TimeoutError):
    """A service did not answer before the deadline: what was asked may have happened."""


class Bus:
    def publish(self, topic: str, message: Message, cause_id: str = "") -> str:
        raise NotImplementedError

    def subscribe(
        self, publisher: str, prefixes: Sequence[str], deliver: Callable[[Inbound | StreamSynced], None]
    ) -> None:
        raise NotImplementedError

    def serve(self, deliver: Callable[[Request], None]) -> None:
        raise NotImplementedError

    def reply(self, request_id: str, message: Message) -> None:
        raise NotImplementedError

    def send_request(self, effect: SendRequest, deliver: Callable[[ReplyReceived | RequestTimedOut], None]) -> None:
        raise NotImplementedError

    async def ask(self, service: str, message: Message, deadline_ms: int = 3_000) -> Message:
        raise NotImplementedError
