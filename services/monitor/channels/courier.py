"""Carries messages to their channels, each channel on its own, and says what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from services.monitor.effects import Deliver, Delivered, DeliveryFailed
from shared.logging import redactor
from shared.messages.system import Severity
from shared.tasks import spawn

_SEND_S = 20.0
"""A message that was not confirmed by then counts as failed; should it have arrived, it comes twice with one id."""


class SendFailed(Exception):
    """The channel did not take a message. `is_final`: trying again helps only once a person has changed something."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.is_final = is_final


class Sender(Protocol):
    """One channel. `send` returns once the other side has confirmed the text, else it raises SendFailed.

    severity: the worst of what the text begins, for services that show or rank it.
    """

    async def send(self, text: str, severity: Severity) -> None: ...

    async def close(self) -> None: ...


class Unusable:
    """A channel that cannot work, and says why at each message."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def send(self, text: str, severity: Severity) -> None:
        raise SendFailed(self._reason, is_final=True)

    async def close(self) -> None:
        pass


class Courier:
    """One task per message. `put` takes the outcome."""

    def __init__(self, senders: Mapping[str, Sender], put: Callable[[Any], None], log: Any) -> None:
        self._senders = senders
        self._put = put
        self._log = log
        self._running: dict[str, asyncio.Task[None]] = {}

    def send(self, deliver: Deliver) -> None:
        """Begin. A message that is on its way already, as for a core that was built anew, is not sent twice."""
        if deliver.message_id not in self._running:
            task = spawn(self._carry(deliver), name=f"alert by {deliver.channel}")
            self._running[deliver.message_id] = task
            task.add_done_callback(lambda _task: self._running.pop(deliver.message_id, None))

    async def close(self) -> None:
        """End what is on its way: the next start sends it again."""
        for task in list(self._running.values()):
            task.cancel()
        for sender in self._senders.values():
            await sender.close()

    async def _carry(self, deliver: Deliver) -> None:
        try:
            async with asyncio.timeout(_SEND_S):
                await self._senders[deliver.channel].send(redactor.clean(deliver.text), deliver.severity)
        except SendFailed as error:
            self._failed(deliver, error.reason, error.retry_after_s, error.is_final)
        except TimeoutError:
            self._failed(deliver, f"no answer within {_SEND_S:g} s", None, False)
        except Exception as error:
            self._failed(deliver, f"{type(error).__name__}: {error}", None, False)
        else:
            self._put(Delivered(message_id=deliver.message_id))

    def _failed(self, deliver: Deliver, reason: str, retry_after_s: float | None, is_final: bool) -> None:
        reason = redactor.clean(" ".join(reason.split()))
        self._log.warning("alert not delivered", channel=deliver.channel, message=deliver.message_id, reason=reason)
        failure = DeliveryFailed(
            message_id=deliver.message_id, reason=reason, retry_after_s=retry_after_s, is_final=is_final
        )
        self._put(failure)
