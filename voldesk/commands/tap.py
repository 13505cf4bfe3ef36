"""voldesk tap: what the services say to one another, as it is said."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from shared.bus import Bus
from shared.bus.frames import Frame
from shared.clock import Clock
from shared.config import DeskConfig
from shared.messages.steps import StreamSynced
from voldesk.asking import DEADLINE_MS, heartbeat
from voldesk.bus_json import frame_json, frame_line
from voldesk.completion import complete_topic
from voldesk.console import EXIT_UNREACHABLE, EXIT_USAGE, Failure, Json, note, write_line
from voldesk.listening import known_topics, publishers_of
from voldesk.preflight import load_desk


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk tap exec. risk.main.refusal --replay --json")(tap)


def tap(
    topics: Annotated[
        list[str],
        typer.Argument(help="Topics or how they begin, as exec. or md.BTCUSD.", autocompletion=complete_topic),
    ],
    count: Annotated[int | None, typer.Option("-n", "--count", min=1, help="End after so many messages.")] = None,
    replay: Annotated[bool, typer.Option(help="First the events that are retained, oldest first.")] = False,
    as_json: Json = False,
) -> None:
    """Print messages of the bus, one line each, until Ctrl-C; with --json one object per line, header and body.

    Of a state (heartbeat, chain, account ...) the newest is shown, of an event (trade, order, fill ...) every one.
    On a terminal a line is cut at its width. A book and its last trades are published while somebody follows them, as
    with `voldesk book SYMBOL --follow`.
    """
    desk = load_desk()
    wanted: dict[str, list[str]] = {}
    for topic in topics:
        publishers = publishers_of(desk, topic)
        if not publishers:
            known = ", ".join(known_topics(desk))
            raise Failure(f"no topic begins with {topic!r}", f"known are: {known}", EXIT_USAGE)
        for publisher in publishers:
            wanted.setdefault(publisher, []).append(topic)
    if not desk.run_dir.is_dir():
        raise Failure(f"the desk was never started in {desk.run_dir}", "start it with `voldesk up`", EXIT_UNREACHABLE)
    asyncio.run(_listen(desk, wanted, _Printer(count, replay=replay, as_json=as_json)))


async def _listen(desk: DeskConfig, wanted: dict[str, list[str]], printer: _Printer) -> None:
    def warn(kind: str, detail: str) -> None:
        note(f"voldesk: a message that cannot be read ({kind}): {detail}; further ones of this kind are not shown")

    async with Bus(f"cli-{os.getpid()}", desk, warn=warn) as bus:
        answered = await asyncio.gather(*(heartbeat(bus, desk, name, DEADLINE_MS) for name in wanted))
        silent = [name for name, beat in zip(wanted, answered, strict=True) if beat is None]
        if len(silent) == len(wanted):
            raise Failure(
                f"{', '.join(silent)} {'does' if len(silent) == 1 else 'do'} not answer",
                "see `voldesk status`, then `voldesk up`",
                EXIT_UNREACHABLE,
            )
        for name in silent:
            note(f"{name} does not answer; its messages are shown once it does")
        for publisher, prefixes in wanted.items():
            bus.tap(publisher, _without_covered(prefixes), printer.take)
        await printer.done.wait()


def _without_covered(prefixes: Sequence[str]) -> list[str]:
    """Without those that another one begins, so that no message comes twice."""
    return [
        prefix
        for prefix in dict.fromkeys(prefixes)
        if not any(prefix != other and prefix.startswith(other) for other in prefixes)
    ]


class _Printer:
    """Prints frames until `count` of them are shown, then sets `done`."""

    def __init__(self, count: int | None, *, replay: bool, as_json: bool) -> None:
        self._left = count
        self._replay = replay
        self._as_json = as_json
        self._started_ns = Clock().now_ns()
        self._width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        self.done = asyncio.Event()

    def take(self, item: Frame | StreamSynced) -> None:
        if isinstance(item, StreamSynced) or self.done.is_set():
            return
        if not self._replay and item.header.published_ns < self._started_ns:
            return
        text = msgspec.json.encode(frame_json(item)).decode() if self._as_json else self._fitted(frame_line(item))
        if not write_line(text):
            self.done.set()
            return
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.done.set()

    def _fitted(self, line: str) -> str:
        return line if self._width is None or len(line) <= self._width else line[: self._width - 1] + "…"
