"""What pages need beside what the monitor heard: asked of the services over the bus, once for all who look."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Generic, TypeVar

import msgspec
from fastapi import HTTPException

from shared.bus import Bus, NoAnswer
from shared.clock import Clock
from shared.messages.base import Message
from shared.messages.trades import Refusal

AnswerT = TypeVar("AnswerT", bound=Message)

LIVE_S = 0.05
"""How old an answer may be where each change is to be seen as it comes."""

_DEADLINE_MS = 2_000
_KEPT_MAX = 64


class Told(msgspec.Struct, Generic[AnswerT], frozen=True):
    """An answer, or in words why there is none."""

    answer: AnswerT | None
    problem: str = ""


class Reader:
    """Asks, and remembers an answer for `max_age_s`: many viewers cost a service as much as one."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._answers: OrderedDict[tuple[str, bytes], tuple[int, Told[Message]]] = OrderedDict()
        self._asking: dict[tuple[str, bytes], asyncio.Future[Told[Message]]] = {}

    async def ask(self, service: str, message: Message, kind: type[AnswerT], max_age_s: float = 0.9) -> Told[AnswerT]:
        """The answer of a service, not older than `max_age_s`."""
        key = (service, msgspec.msgpack.encode(message))
        kept = self._answers.get(key)
        if kept is not None and self._clock.now_ns() - kept[0] < max_age_s * 1e9:
            told = kept[1]
        else:
            told = await self._fresh(key, service, message)
        if told.answer is None:
            return Told(None, told.problem)
        if isinstance(told.answer, Refusal):
            return Told(None, f"{service} refused: {told.answer.detail}")
        if not isinstance(told.answer, kind):
            return Told(None, f"{service} answered with something else: run one version of voldesk everywhere")
        return Told(told.answer)

    async def _fresh(self, key: tuple[str, bytes], service: str, message: Message) -> Told[Message]:
        asking = self._asking.get(key)
        if asking is not None:
            return await asyncio.shield(asking)
        asking = self._asking[key] = asyncio.get_running_loop().create_future()
        told: Told[Message] = Told(None, f"{service} does not answer")
        try:
            told = Told(await self._bus.ask(service, message, _DEADLINE_MS))
        except NoAnswer:
            pass
        finally:
            del self._asking[key]
            asking.set_result(told)
        self._answers[key] = (self._clock.now_ns(), told)
        self._answers.move_to_end(key)
        while len(self._answers) > _KEPT_MAX:
            self._answers.popitem(last=False)
        return told


async def asked(
    reader: Reader, service: str, message: Message, kind: type[Any], *, missing: int = 502, max_age_s: float = 0.9
) -> Any:
    """The answer of a service. Raises HTTPException: `missing` where it refused, 503 where it does not answer."""
    told = await reader.ask(service, message, kind, max_age_s)
    if told.answer is None:
        raise HTTPException(missing if "refused" in told.problem else 503, told.problem)
    return told.answer
