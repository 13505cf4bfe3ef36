"""What keeps open pages up to date: each kind of page is rendered once for all who look at it, and only what changed
is sent, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable

from shared.tasks import spawn

Render = Callable[[], Awaitable[dict[str, str]]]
"""The sections of a page as HTML, by name."""

_CLOCK_S = 1.0
_GAP_S = 0.05
"""Least time between two drawings of a page, however much happens."""

_QUIET_S = 15.0


class _Viewer:
    """Sections that are newer than what was sent. A slow reader misses versions, never the newest one."""

    def __init__(self) -> None:
        self.pending: dict[str, str] = {}
        self.woken = asyncio.Event()

    def give(self, sections: dict[str, str]) -> None:
        if sections:
            self.pending.update(sections)
            self.woken.set()


class _Channel:
    """One kind of page, as long as somebody looks at it."""

    def __init__(self, render: Render) -> None:
        self.render = render
        self.viewers: set[_Viewer] = set()
        self.shown: dict[str, str] = {}
        self.changed = asyncio.Event()
        self.urgent = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Live:
    """The channels. `changed` says that something happened: pages are rendered within `refresh_ms`, or at once."""

    def __init__(self, refresh_ms: int, viewers_max: int, on_error: Callable[[str, Exception], None]) -> None:
        self._pause_s = refresh_ms / 1_000
        self._viewers_max = viewers_max
        self._on_error = on_error
        self._channels: dict[Hashable, _Channel] = {}
        self.viewers = 0
        self.rendered = 0

    @property
    def is_full(self) -> bool:
        """As many pages are kept up to date as the configuration allows."""
        return self.viewers >= self._viewers_max

    def changed(self, *, urgent: bool = False) -> None:
        """Something that pages show is not as it was. What is urgent does not wait for `refresh_ms`."""
        for channel in self._channels.values():
            channel.changed.set()
            if urgent:
                channel.urgent.set()

    async def stream(self, key: Hashable, render: Render, still_allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Events for one viewer: all sections first, then each that changed. Ends when the login does."""
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = _Channel(render)
        viewer = _Viewer()
        channel.viewers.add(viewer)
        self.viewers += 1
        try:
            viewer.give(channel.shown)
            channel.changed.set()
            if channel.task is None:
                channel.task = spawn(self._keep(channel), name=f"dashboard {key}")
            while still_allowed():
                try:
                    await asyncio.wait_for(viewer.woken.wait(), _QUIET_S)
                except TimeoutError:
                    yield b": quiet\n\n"
                    continue
                viewer.woken.clear()
                sections, viewer.pending = viewer.pending, {}
                yield b"".join(event(name, html) for name, html in sections.items())
        finally:
            self.viewers -= 1
            channel.viewers.discard(viewer)
            if not channel.viewers:
                if channel.task is not None:
                    channel.task.cancel()
                self._channels.pop(key, None)

    async def _keep(self, channel: _Channel) -> None:
        """Render when something changed, and once a second for what counts time. After an error what was shown
        stays."""
        while True:
            try:
                sections = await channel.render()
            except Exception as error:
                self._on_error("render", error)
                sections = {}
            self.rendered += 1
            news = {name: html for name, html in sections.items() if channel.shown.get(name) != html}
            channel.shown.update(news)
            for viewer in channel.viewers:
                viewer.give(news)
            await asyncio.sleep(_GAP_S)
            if not await _happens(channel.urgent, self._pause_s - _GAP_S):
                await _happens(channel.changed, _CLOCK_S - self._pause_s)
            channel.urgent.clear()
            channel.changed.clear()


async def _happens(what: asyncio.Event, within_s: float) -> bool:
    """Wait for it; False when it did not happen in time."""
    try:
        await asyncio.wait_for(what.wait(), max(within_s, 0.001))
    except TimeoutError:
        return False
    return True


def event(name: str, html: str) -> bytes:
    """One server-sent event; its data is the HTML, a line each."""
    lines = html.replace("\r", "").split("\n")
    data = "".join(f"data: {line}\n" for line in lines if line.strip())
    return f"event: {name}\n{data}\n".encode()
