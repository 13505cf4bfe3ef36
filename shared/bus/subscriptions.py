"""Subscriptions: state topics conflated, event topics in sequence with replays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal, NamedTuple

import zmq

from shared.bus.frames import (
    MAX_TOPIC_BYTES,
    Envelope,
    Frame,
    FrameError,
    open_frame,
    read_body,
    topic_bytes,
)
from shared.bus.link import Link
from shared.bus.requests import RequestClient
from shared.bus.sequences import StreamReader, Want
from shared.bus.sockets import LoopSocket
from shared.durations import Durations
from shared.messages.base import Message
from shared.messages.steps import Inbound, ReplyReceived, RequestTimedOut, StreamSynced
from shared.messages.system import Heartbeat, Replay, ReplayAnswer
from shared.messages.topics import TOPICS, Topic, topic_of, topic_row

_REPLAY_DEADLINE_MS = 1_000
_REPLAY_RETRY_S = 0.05
_TOPICS_CACHED = 10_000

Receiver = Callable[[Inbound | StreamSynced], None]


def heartbeat_topic(service: str) -> str:
    return topic_of("sys.{service}.heartbeat", service=service)


@cache
def kinds_of(prefix: str) -> frozenset[str]:
    """Which kinds of topics ("state", "event") can begin with `prefix`, by the table."""
    return frozenset(row.kind for row in TOPICS if _can_begin(row, prefix))


def _can_begin(row: Topic, prefix: str) -> bool:
    pattern, parts = row.pattern.split("."), prefix.split(".")
    if len(parts) > len(pattern):
        return False
    *whole, last = parts
    if any(not want.startswith("{") and want != have for want, have in zip(pattern, whole, strict=False)):
        return False
    want = pattern[len(whole)]
    return want.startswith(("{", last))


class _Known(NamedTuple):
    """What is known of a concrete topic."""

    kind: Literal["state", "event"]
    delay: Durations


class Subscription:
    """What one reader hears of one publisher.

    Events and states have separate sockets, so that a flood of states costs no event. The event socket also hears
    the publisher's heartbeat: the publisher beats as soon as it sees the subscription, which proves that events
    flow, and only then is the replay asked for, so that nothing falls between the two.
    """

    def __init__(
        self, link: Link, client: RequestClient, publisher: str, prefixes: Sequence[str], receiver: Receiver
    ) -> None:
        self._link = link
        self._client = client
        self._publisher = publisher
        self._source = f"{publisher} stream"
        self._receiver = receiver
        self._known_topics: dict[bytes, _Known | None] = {}
        self._replay_count = 0
        self._unfounded = 0
        self._heartbeat_topic = heartbeat_topic(publisher)
        unknown = [prefix for prefix in prefixes if not kinds_of(prefix)]
        if unknown:
            raise ValueError(f"no topic of the table begins with {', '.join(unknown)}")
        events = [prefix for prefix in prefixes if "event" in kinds_of(prefix)]
        states = [prefix for prefix in prefixes if "state" in kinds_of(prefix)]
        self._reader: StreamReader[Envelope] = StreamReader(events)
        self._sockets: list[LoopSocket] = []
        if events:
            self._open([*events, self._heartbeat_topic], link.settings.event_queue, self._events_received)
        if states:
            self._open(states, link.settings.state_queue, self._states_received)

    def resync(self) -> None:
        """Have all events replayed and handed over again."""
        self._reader.resync()
        self._pump()

    def close(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()

    def _open(self, prefixes: list[str], queue: int, received: Callable[[list[list[bytes]]], None]) -> None:
        socket = LoopSocket(
            self._link.context,
            zmq.SUB,
            {zmq.RCVHWM: queue, zmq.MAXMSGSIZE: 4 * self._link.settings.max_message_bytes},
            received,
        )
        for prefix in prefixes:
            socket.subscribe(prefix.encode())
        self._sockets.append(socket)
        socket.connect(self._link.endpoints.events(self._publisher))

    def _known(self, topic: bytes) -> _Known | None:
        """What the table says of a topic; None when it is not in it."""
        if len(topic) > MAX_TOPIC_BYTES:
            return None
        if topic in self._known_topics:
            return self._known_topics[topic]
        row = topic_row(topic.decode(errors="replace"))
        if len(self._known_topics) >= _TOPICS_CACHED:
            self._known_topics.clear()
        known = _Known(row.kind, self._link.counts.delays[row.pattern]) if row else None
        self._known_topics[topic] = known
        return known

    def _open_frame(self, data: bytes) -> Envelope:
        envelope = open_frame(data, self._link.settings.max_message_bytes)
        if envelope.header.publisher != self._publisher:
            raise FrameError("wrong_publisher", f"{envelope.header.publisher[:80]!r} instead of {self._publisher}")
        return envelope

    def _states_received(self, batch: list[list[bytes]]) -> None:
        newest: dict[bytes, bytes] = {}
        for (data,) in batch:
            topic = topic_bytes(data)
            newest.pop(topic, None)
            newest[topic] = data
        self._link.counts.received += len(batch)
        self._link.counts.conflated += len(batch) - len(newest)
        received_ns = self._link.clock.now_ns()
        for topic, data in newest.items():
            known = self._known(topic)
            if known is not None and known.kind == "event":
                continue
            try:
                if known is None:
                    raise FrameError("unknown_topic", repr(topic[:80]))
                envelope = self._open_frame(data)
                known.delay.observe((received_ns - envelope.header.published_ns) / 1e9)
                self._deliver(envelope)
            except FrameError as error:
                self._link.drop(error.kind, str(error))

    def _events_received(self, batch: list[list[bytes]]) -> None:
        self._link.counts.received += len(batch)
        received_ns = self._link.clock.now_ns()
        for (data,) in batch:
            topic = topic_bytes(data)
            known = self._known(topic)
            try:
                if known is None:
                    raise FrameError("unknown_topic", repr(topic[:80]))
                if known.kind == "event":
                    envelope = self._open_frame(data)
                    known.delay.observe((received_ns - envelope.header.published_ns) / 1e9)
                    self._event(envelope)
                elif topic == self._heartbeat_topic.encode():
                    self._heartbeat(self._open_frame(data))
            except FrameError as error:
                self._link.drop(error.kind, str(error))
        self._pump()

    def _event(self, envelope: Envelope) -> None:
        header = envelope.header
        for ready in self._reader.on_event(envelope.topic, header.epoch, header.sequence, envelope):
            self._deliver_safely(ready)

    def _heartbeat(self, envelope: Envelope) -> None:
        message = self._message(envelope)
        assert isinstance(message, Heartbeat), "the table of topics says so"
        self._reader.on_newest(envelope.header.epoch, message.event_sequences)

    def _message(self, envelope: Envelope) -> Message:
        """The message, which is the one that the table promises for its topic. Raises FrameError."""
        message = read_body(envelope)
        row = topic_row(envelope.topic)
        if row is None or not isinstance(message, row.message):
            raise FrameError("wrong_message", f"{type(message).__name__} on {envelope.topic[:80]}")
        if isinstance(message, Heartbeat) and message.service != self._publisher:
            raise FrameError("wrong_publisher", f"a heartbeat of {message.service[:80]!r} from {self._publisher}")
        return message

    def _deliver_safely(self, envelope: Envelope) -> None:
        """A body that cannot be read is dropped; its sequence counts as seen, or it would be asked for for ever."""
        try:
            self._deliver(envelope)
        except FrameError as error:
            self._link.drop(error.kind, str(error))

    def _deliver(self, envelope: Envelope) -> None:
        header = envelope.header
        message = self._message(envelope)
        inbound = Inbound(
            envelope.topic, message, header.message_id, header.publisher, header.epoch, header.published_ns
        )
        self._link.deliver(self._source, self._receiver, inbound)

    def _pump(self) -> None:
        """Send the replays that are wanted, and say when everything is there."""
        if not self._sockets:
            return
        for want in self._reader.take_wants():
            self._replay_count += 1
            self._link.counts.replays[self._publisher] += 1
            self._client.send(
                self._publisher,
                Replay(prefix=want.prefix, from_sequence=want.from_sequence),
                f"{self._link.name}.{self._link.epoch:x}.replay.{id(self):x}.{self._replay_count}",
                _REPLAY_DEADLINE_MS,
                lambda answer, want=want: self._answered(want, answer),  # type: ignore[misc]
            )
        self._link.counts.gaps[self._publisher] = self._reader.gaps
        self._link.counts.lost[self._publisher] = self._reader.lost
        if self._reader.unfounded > self._unfounded:
            self._link.drop(
                "unfounded", f"{self._publisher} does not know of it", self._reader.unfounded - self._unfounded
            )
            self._unfounded = self._reader.unfounded
        epoch = self._reader.take_synced()
        if epoch is not None:
            self._link.deliver(self._source, self._receiver, StreamSynced(self._publisher, epoch))

    def _answered(self, want: Want, answer: ReplyReceived | RequestTimedOut) -> None:
        if not isinstance(answer, ReplyReceived) or not isinstance(answer.message, ReplayAnswer):
            self._reader.on_no_answer(want)
            self._link.loop.call_later(_REPLAY_RETRY_S, self._pump)
            return
        replay = answer.message
        events: list[tuple[str, int, Envelope]] = []
        for data in replay.frames:
            try:
                envelope = self._open_frame(data)
                known = self._known(envelope.topic.encode())
                if known is None or known.kind != "event":
                    raise FrameError("unknown_topic", f"{envelope.topic[:80]!r} in a replay")
            except FrameError as error:
                self._link.drop(error.kind, str(error))
                continue
            events.append((envelope.topic, envelope.header.sequence, envelope))
        for ready in self._reader.on_replay(want, replay.epoch, events, replay.newest):
            self._deliver_safely(ready)
        if replay.epoch == self._reader.epoch:
            self._pump()
        else:
            self._link.loop.call_later(_REPLAY_RETRY_S, self._pump)


class Tap(Subscription):
    """A subscription that hands over whole frames instead of what a core needs of them."""

    def __init__(
        self,
        link: Link,
        client: RequestClient,
        publisher: str,
        prefixes: Sequence[str],
        receiver: Callable[[Frame | StreamSynced], None],
    ) -> None:
        super().__init__(link, client, publisher, prefixes, _only_synced(receiver))
        self._frame_receiver = receiver

    def _deliver(self, envelope: Envelope) -> None:
        frame = Frame(envelope.topic, envelope.header, self._message(envelope))
        self._link.deliver(self._source, self._frame_receiver, frame)


def _only_synced(receiver: Callable[[Frame | StreamSynced], None]) -> Receiver:
    def deliver(item: Inbound | StreamSynced) -> None:
        assert isinstance(item, StreamSynced), "a tap is given frames"
        receiver(item)

    return deliver
