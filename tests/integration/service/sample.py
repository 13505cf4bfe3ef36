"""A small real service: counts requests durably, and does on request what services should never do."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

import msgspec

from shared.errors import StartRefused
from shared.messages.control import HaltsAnswered, HaltState, RaiseHalt
from shared.messages.steps import Entry, LoopStalled, Publish, RaiseAlert, Reply, Request, Step, Tick
from shared.service import CoreHost, ServiceContext, run_service
from shared.tasks import spawn

TICK_AFTER_NS = 50_000_000


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    reason: str


class Stalled(msgspec.Struct, frozen=True, tag="stalled"):
    gap_ns: int


class Armed(msgspec.Struct, frozen=True, tag="armed"):
    due_ns: int


class Ticked(msgspec.Struct, frozen=True, tag="ticked"):
    due_ns: int


Row = Counted | Stalled | Armed | Ticked


class Effect(msgspec.Struct, frozen=True):
    what: str
    request_id: str


class SampleCore:
    """Answers with a `HaltState` whose epoch is the count and whose account tells what was journalled."""

    def __init__(self) -> None:
        self.count = 0
        self.kinds: list[str] = []
        self.due_ns: int | None = None

    def handle(self, item: Any, now_ns: int) -> Step:
        match item:
            case Request(message=RaiseHalt(reason=reason)):
                return self._request(item.request_id, reason, now_ns)
            case LoopStalled(gap_ns=gap_ns):
                return self._emit(now_ns, Stalled(gap_ns))
            case Tick() if self.due_ns is not None and self.due_ns <= now_ns:
                return self._emit(now_ns, Ticked(self.due_ns))
            case _:
                return Step()

    def apply(self, entry: Entry) -> None:
        match entry.row:
            case Counted():
                self.count += 1
            case Armed(due_ns=due_ns):
                self.due_ns = due_ns
            case Ticked():
                self.due_ns = None
        self.kinds.append(type(entry.row).__name__)

    def start(self, now_ns: int) -> Step:
        return Step(
            effects=[
                Publish("exec.main.halt", self._state()),
                RaiseAlert(code="sample_started", severity="info", subject="sample", text="up"),
            ]
        )

    def next_deadline_ns(self) -> int | None:
        return self.due_ns

    def _request(self, request_id: str, reason: str, now_ns: int) -> Step:
        if reason == "fail":
            self.count = -1_000
            raise ValueError("the core failed as it was told to")
        assert reason != "assert", "the core was told to fail this"
        if reason == "arm":
            step = self._emit(now_ns, Armed(now_ns + TICK_AFTER_NS))
        elif reason.startswith("count"):
            step = self._emit(now_ns, Counted(reason))
        else:
            step = Step(effects=[Effect(reason, request_id)])
        step.effects.append(Reply(request_id, HaltsAnswered(state=self._state())))
        return step

    def _emit(self, now_ns: int, row: Row) -> Step:
        entry = Entry(now_ns, "", row)
        self.apply(entry)
        return Step(rows=[entry])

    def _state(self) -> HaltState:
        return HaltState(account_id=",".join(self.kinds[-50:]), halt_epoch=self.count, halts=())


class SampleShell:
    """`SAMPLE` in the environment names what should go wrong at the start."""

    ready = True
    detail = "counting"

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._trouble = os.environ.get("SAMPLE", "")
        if self._trouble == "refuse":
            raise StartRefused("the sample was told not to start", "tell it something else")
        if self._trouble == "key":
            context.api_key()
        self._host = CoreHost(context, SampleCore, context.journal(Row), self._perform, lambda effect: True)

    async def start(self) -> None:
        if self._trouble == "slow":
            await asyncio.sleep(1_000)
        if self._trouble == "error":
            raise RuntimeError("cannot start for a reason of its own")
        self._context.bus.serve(self._host.put)

    async def run(self) -> None:
        if self._trouble == "ends":
            return
        await self._host.run()

    async def stop(self) -> None:
        self._context.log.info("sample stopped")
        if self._trouble == "hangs":
            await asyncio.sleep(1_000)

    def _perform(self, effect: Effect, cause_id: str) -> None:
        match effect.what:
            case "effect fails":
                raise ValueError("the effect failed as it was told to")
            case "task fails":
                spawn(self._fail(), name="failing")
            case "leak":
                key = self._context.api_key()
                self._context.log.info("leaking", text=f"secret {key.secret}", api_secret=key.secret)
                raise ValueError(f"an error that quotes {key.secret}")
            case "unready":
                self.ready, self.detail = False, "told to be unready"
            case "ready":
                self.ready, self.detail = True, "counting"
            case "objects":
                self._context.log.info("objects", looked_at=len(gc.get_objects()), left_alone=gc.get_freeze_count())
            case "quiet":
                pass

    async def _fail(self) -> None:
        raise ValueError("the task failed as it was told to")


if __name__ == "__main__":
    run_service("execution", SampleShell)
