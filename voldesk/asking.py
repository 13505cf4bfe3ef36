"""Ask a service over the bus, with the errors an operator can act on."""

from __future__ import annotations

import asyncio
import getpass
from typing import TypeVar

from shared.bus import Bus, NoAnswer
from shared.config import DeskConfig
from shared.messages.base import Message
from shared.messages.trades import Refusal
from voldesk.console import EXIT_UNREACHABLE, Failure

AnswerT = TypeVar("AnswerT", bound=Message)

DEADLINE_MS = 3_000


def operator() -> str:
    """Who asks: written into journals and alerts."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


async def ask_on(
    bus: Bus, service: str, message: Message, kind: type[AnswerT], deadline_ms: int = DEADLINE_MS
) -> AnswerT:
    """Ask on an open bus. Raises Failure: no answer (69), a refusal or an answer of another kind (1)."""
    try:
        answer = await bus.ask(service, message, deadline_ms=deadline_ms)
    except NoAnswer:
        raise Failure(
            f"{service} does not answer",
            f"see `voldesk status`, then `voldesk up` or `voldesk restart {service}`",
            EXIT_UNREACHABLE,
        ) from None
    if isinstance(answer, Refusal):
        raise Failure(f"{service} refused: {answer.detail} ({answer.code})", answer.remedy)
    if not isinstance(answer, kind):
        raise Failure(
            f"{service} answered with {type(answer).__name__} instead of {kind.__name__}",
            "stop and start the desk, so that command line and services are of one version",
        )
    return answer


def ask(
    desk: DeskConfig, service: str, message: Message, kind: type[AnswerT], deadline_ms: int = DEADLINE_MS
) -> AnswerT:
    """Ask one question with a bus of its own. Raises Failure as `ask_on`."""
    if not desk.run_dir.is_dir():
        raise Failure(f"the desk was never started in {desk.run_dir}", "start it with `voldesk up`", EXIT_UNREACHABLE)

    async def run() -> AnswerT:
        async with Bus.client(desk) as bus:
            return await ask_on(bus, service, message, kind, deadline_ms)

    return asyncio.run(run())
