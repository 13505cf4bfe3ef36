"""What the parts of a bus share: who we are, our limits, our counts, and what becomes of errors."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import zmq

from shared.bus.curve import Curve
from shared.bus.endpoints import Endpoints
from shared.bus.frames import encode_array
from shared.bus.keys import KEY_NAMES, OPERATOR
from shared.bus.sockets import LoopSocket
from shared.clock import Clock
from shared.config import BusSection
from shared.durations import Durations
from shared.messages.base import Message
from shared.strategy_hosts import kind_of

ItemT = TypeVar("ItemT")
_DETAIL_CHARACTERS_MAX = 300
_REFUSED_AGAIN_S = 60.0


class BusCounts:
    """Plain counters, read by the metrics when they are scraped.

    refused: connections that came to nothing for want of a key, by kind; of both ends.
    delays: from publishing to receipt by pattern of the table of topics, "request" and "reply"; of events that were
    received together the first; replayed events are not in it.
    """

    def __init__(self) -> None:
        self.published = 0
        self.not_sent = 0
        self.received = 0
        self.conflated = 0
        self.dropped: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.replays: Counter[str] = Counter()
        self.requests_sent = 0
        self.requests_repeated = 0
        self.requests_timed_out = 0
        self.requests_served = 0
        self.requests_answered_again = 0
        self.delays: defaultdict[str, Durations] = defaultdict(Durations)


class _Context(zmq.Context[zmq.Socket[bytes]]):
    """Of a bus that somebody forgot to close: leaked, instead of a garbage collection that waits for its sockets."""

    def __del__(self) -> None:
        """pyzmq would terminate the context, which waits for ever for sockets that the collection hid from it."""


class Link:
    """Shared by publisher, subscriptions, client and server of one bus. Used on the loop's thread only."""

    def __init__(
        self,
        name: str,
        endpoints: Endpoints,
        settings: BusSection,
        clock: Clock,
        epoch: int,
        on_error: Callable[[str, Exception], None],
        on_success: Callable[[str], None],
        warn: Callable[[str, str], None],
        keys: Path,
        key_name: str = "",
    ) -> None:
        self.name = name
        self.endpoints = endpoints
        self.settings = settings
        self.clock = clock
        self.epoch = epoch
        self.counts = BusCounts()
        self.context: zmq.Context[zmq.Socket[bytes]] = _Context()
        self._on_error = on_error
        self._on_success = on_success
        self._warn = warn
        self._id_prefix = f"{name}.{epoch:x}."
        self._message_count = 0
        self._failing: set[str] = set()
        self._refused_told_s: dict[str, float] = {}
        speaks_as = key_name or (kind_of(name) if kind_of(name) in KEY_NAMES else OPERATOR)
        self.curve = Curve(self, keys, speaks_as) if endpoints.needs_keys else None

    @cached_property
    def loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def bind(self, socket: LoopSocket, endpoint: str) -> None:
        """Bind; over tcp with keys, those on the list only are taken."""
        if self.curve is None:
            socket.bind(endpoint)
        else:
            self.curve.bind(socket, endpoint)

    def connect(self, socket: LoopSocket, service: str, endpoint: str) -> None:
        """Connect to a service; over tcp with keys, it must prove to hold its own."""
        if self.curve is None:
            socket.connect(endpoint)
        else:
            self.curve.connect(socket, service, endpoint)

    def new_id(self) -> str:
        self._message_count += 1
        return f"{self._id_prefix}{self._message_count}"

    def encode(
        self, prefix: bytes, message: Message, message_id: str, sequence: int = 0, cause_id: str = ""
    ) -> bytearray:
        """A frame of ours; `prefix` from `frames.topic_prefix`."""
        return encode_array(
            prefix, message, self.name, self.epoch, sequence, message_id, cause_id, self.clock.now_ns()
        )

    def since_s(self, published_ns: int) -> float:
        """Seconds since a message was published, by the two clocks."""
        return (self.clock.now_ns() - published_ns) / 1e9

    def drop(self, kind: str, detail: str, count: int = 1) -> None:
        """Count what cannot be used; the first of each kind is logged."""
        if not self.counts.dropped[kind]:
            self._warn(kind, detail[:_DETAIL_CHARACTERS_MAX])
        self.counts.dropped[kind] += count

    def refuse(self, kind: str, detail: str) -> None:
        """Count a connection that came to nothing for want of a key. Each kind is logged once a minute at most: an
        attempt is made anew every second, and next month's may be of somebody else."""
        self.counts.refused[kind] += 1
        now_s = self.loop.time()
        if now_s - self._refused_told_s.get(kind, -_REFUSED_AGAIN_S) >= _REFUSED_AGAIN_S:
            self._refused_told_s[kind] = now_s
            self._warn(kind, detail[:_DETAIL_CHARACTERS_MAX])

    def deliver(self, source: str, receiver: Callable[[ItemT], Any], item: ItemT) -> None:
        """Hand an item to its receiver; what the receiver raises never reaches the socket."""
        try:
            receiver(item)
        except Exception as error:
            self._failing.add(source)
            self._on_error(source, error)
        else:
            if self._failing and source in self._failing:
                self._failing.discard(source)
                self._on_success(source)
