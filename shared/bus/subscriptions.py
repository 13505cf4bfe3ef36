"""Subscriptions: state topics conflated, event topics in sequence with replays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import zmq

from shared.bus.frames import (
    COPIED_BYTES,
    Frame,
    FrameError,
    Opened,
    header_of,
    open_array,
    opener_of,
    read_body,
    split_frame,
)
from shared.bus.link import Link
from shared.bus.requests import RequestClient
from shared.bus.sequences import StreamReader, Want
from shared.bus.sockets import LoopSocket
from shared.durations import Durations
from shared.messages.base import Message
from shared.messages.steps import Inbound, ReplyReceived, RequestTimedOut, StreamSynced
from shared.messages.system import GetStates, Heartbeat, Replay, ReplayAnswer, StatesAnswer
from shared.messages.topics import TOPICS, Topic, topic_of, topic_row

_REPLAY_DEADLINE_MS = 1_000
_REPLAY_RETRY_S = 0.05
_TOPICS_CACHED = 10_000

Receiver = Callable[[Any], None]
"""Given an Inbound, or a Frame by a `Tap`, for each message, and StreamSynced."""


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


class _Known:
    """What is known of a concrete topic. `open`: as `open_array`, sooner where the array is what the table says.
    Of a state: epoch and sequence of the newest that was handed over, and of the newest that was asked for."""

    __slots__ = ("asked_for", "delay", "is_event", "message", "newest", "open", "text")

    def __init__(self, text: str, row: Topic, delay: Durations) -> None:
        self.text = text
        self.is_event = row.kind == "event"
        self.message = row.message
        self.open = opener_of(row.message)
        self.delay = delay
        self.newest = self.asked_for = (0, 0)


class Subscription:
    """What one reader hears of one publisher.

    Events and states have separate sockets, so that a flood of states costs no event. The event socket also hears
    the publisher's heartbeat: the publisher beats as soon as it sees the subscription, which proves that events
    flow, and only then is the replay asked for, so that nothing falls between the two. Once the events are there the
    newest states are asked for: a state that was published a moment before would otherwise be missed until its next
    message.
    """

    def __init__(
        self, link: Link, client: RequestClient, publisher: str, prefixes: Sequence[str], receiver: Receiver
    ) -> None:
        self._link = link
        self._client = client
        self._publisher = publisher
        self._source = f"{publisher} stream"
        self._receiver = receiver
        self._topics: dict[bytes, _Known] = {}
        self._replay_count = 0
        self._told = (0, 0)
        self._unfounded = 0
        self._heartbeat_topic = heartbeat_topic(publisher)
        unknown = [prefix for prefix in prefixes if not kinds_of(prefix)]
        if unknown:
            raise ValueError(f"no topic of the table begins with {', '.join(unknown)}")
        events = [prefix for prefix in prefixes if "event" in kinds_of(prefix)]
        states = [prefix for prefix in prefixes if "state" in kinds_of(prefix)]
        self._max_bytes = link.settings.max_message_bytes
        self._states = tuple(prefix for prefix in states if prefix != self._heartbeat_topic)
        self._reader: StreamReader[tuple[_Known, Opened]] = StreamReader(events)
        self._sockets: list[LoopSocket] = []
        if events:
            self._listen(
                [*events, self._heartbeat_topic], link.settings.event_queue, self._events_received, at_once=True
            )
        if states:
            self._listen(states, link.settings.state_queue, self._states_received, at_once=False)

    def resync(self) -> None:
        """Have all events replayed and handed over again, and then the newest states."""
        self._reader.resync()
        self._pump()

    def close(self) -> None:
        for socket in self._sockets:
            socket.close()
        self._sockets.clear()

    def _listen(
        self, prefixes: list[str], queue: int, received: Callable[[list[bytes]], None], *, at_once: bool
    ) -> None:
        socket = LoopSocket(
            self._link.context,
            zmq.SUB,
            {zmq.RCVHWM: queue, zmq.MAXMSGSIZE: 4 * self._link.settings.max_message_bytes},
            received,
            at_once=at_once,
        )
        for prefix in prefixes:
            socket.subscribe(prefix.encode())
        self._sockets.append(socket)
        self._link.connect(socket, self._publisher, self._link.endpoints.events(self._publisher))

    def _topic(self, topic: bytes) -> _Known:
        """What the table says of a topic. Raises FrameError for one that is not in it."""
        known = self._topics.get(topic)
        if known is None:
            text = topic.decode(errors="replace")
            row = topic_row(text)
            if row is None:
                raise FrameError("unknown_topic", repr(topic[:80]))
            if len(self._topics) >= _TOPICS_CACHED:
                self._topics.clear()
            delay = self._link.counts.delays[row.pattern]
            known = self._topics[topic] = _Known(text, row, delay)
        return known

    def _open(self, array: bytes | memoryview) -> Opened:
        opened = open_array(array)
        if opened.publisher != self._publisher:
            raise self._stranger(opened)
        return opened

    def _stranger(self, opened: Opened) -> FrameError:
        return FrameError("wrong_publisher", f"{opened.publisher[:80]!r} instead of {self._publisher}")

    def _states_received(self, batch: list[bytes]) -> None:
        newest: dict[bytes, bytes | memoryview] = {}
        self._link.counts.received += len(batch)
        received_ns = self._link.clock.now_ns()
        for data in batch:
            try:
                topic, array = split_frame(data, self._max_bytes)
            except FrameError as error:
                self._link.drop(error.kind, str(error))
                continue
            if newest.pop(topic, None) is not None:
                self._link.counts.conflated += 1
            newest[topic] = array
        for topic, array in newest.items():
            try:
                known = self._topics.get(topic) or self._topic(topic)
                if not known.is_event:
                    opened = self._open(array)
                    known.delay.observe((received_ns - opened.published_ns) / 1e9)
                    known.newest = heard = (opened.epoch, opened.sequence)
                    if known.asked_for[0] == opened.epoch and heard <= known.asked_for:
                        self._link.counts.conflated += 1
                    else:
                        self._deliver(known, opened)
            except FrameError as error:
                self._link.drop(error.kind, str(error))

    def _events_received(self, batch: list[bytes]) -> None:
        """Of a batch the delay of its first event is counted, which waited longest."""
        link, reader, topics = self._link, self._reader, self._topics
        publisher, takes, deliver = self._publisher, reader.takes, link.deliver
        source, receiver, handed_over = self._source, self._receiver, self._handed_over
        known, prefix, prefix_bytes = None, b"\0", 1
        small_bytes = min(COPIED_BYTES, self._max_bytes)
        link.counts.received += len(batch)
        received_ns = link.clock.now_ns()
        for data in batch:
            try:
                if known is not None and data.startswith(prefix) and len(data) <= small_bytes:
                    # most are on the topic of the one before
                    array: bytes | memoryview = data[prefix_bytes:]
                else:
                    topic, array = split_frame(data, self._max_bytes)
                    known = topics.get(topic) or self._topic(topic)
                    prefix, prefix_bytes = topic + b"\0", len(topic) + 1
                if known.is_event:
                    opened = known.open(array)
                    if opened.publisher != publisher:
                        raise self._stranger(opened)
                    if received_ns:
                        known.delay.observe((received_ns - opened.published_ns) / 1e9)
                        received_ns = 0
                    body = opened.body
                    if not takes(known.text, opened.epoch, opened.sequence):
                        ready = reader.on_event(known.text, opened.epoch, opened.sequence, (known, opened))
                        self._deliver_all(ready)
                    elif type(body) is known.message:
                        deliver(source, receiver, handed_over(known.text, opened, body))
                    else:
                        self._deliver(known, opened)
                elif known.text == self._heartbeat_topic:
                    self._heartbeat(known, self._open(array))
            except FrameError as error:
                link.drop(error.kind, str(error))
        self._pump()

    def _heartbeat(self, known: _Known, opened: Opened) -> None:
        message = self._message(known, opened)
        assert isinstance(message, Heartbeat), "the table of topics says so"
        self._reader.on_newest(opened.epoch, message.event_sequences)

    def _message(self, known: _Known, opened: Opened) -> Message:
        """The message, which is the one that the table promises for its topic. Raises FrameError."""
        message = read_body(opened)
        if not isinstance(message, known.message):
            raise FrameError("wrong_message", f"{type(message).__name__} on {known.text[:80]}")
        if isinstance(message, Heartbeat) and message.service != self._publisher:
            raise FrameError("wrong_publisher", f"a heartbeat of {message.service[:80]!r} from {self._publisher}")
        return message

    def _deliver_all(self, ready: Sequence[tuple[_Known, Opened]]) -> None:
        for known, opened in ready:
            self._deliver(known, opened)

    def _deliver(self, known: _Known, opened: Opened) -> None:
        """A body that cannot be read is dropped; its sequence counts as seen, or it would be asked for for ever."""
        try:
            message = self._message(known, opened)
        except FrameError as error:
            self._link.drop(error.kind, str(error))
        else:
            self._link.deliver(self._source, self._receiver, self._handed_over(known.text, opened, message))

    @staticmethod
    def _handed_over(topic: str, opened: Opened, message: Message) -> Inbound | Frame:
        """What the receiver is given of a message."""
        return Inbound(topic, message, opened.message_id, opened.publisher, opened.epoch, opened.published_ns)

    def _pump(self) -> None:
        """Send the replays that are wanted, and say when everything is there."""
        if not self._sockets:
            return
        reader, counts = self._reader, self._link.counts
        for want in reader.take_wants():
            counts.replays[self._publisher] += 1
            self._ask(
                Replay(prefix=want.prefix, from_sequence=want.from_sequence),
                lambda answer, want=want: self._answered(want, answer),  # type: ignore[misc]
            )
        if (reader.gaps, reader.lost) != self._told:
            self._told = counts.gaps[self._publisher], counts.lost[self._publisher] = reader.gaps, reader.lost
        if reader.unfounded > self._unfounded:
            self._link.drop("unfounded", f"{self._publisher} does not know of it", reader.unfounded - self._unfounded)
            self._unfounded = reader.unfounded
        epoch = reader.take_synced()
        if epoch is not None:
            self._link.deliver(self._source, self._receiver, StreamSynced(self._publisher, epoch))
            for known in self._topics.values():
                # what came before the events could not be understood without them, as a chain before its list
                known.newest = (0, 0)
            for prefix in self._states:
                self._ask(GetStates(prefix=prefix), self._states_told)

    def _ask(self, ask: Replay | GetStates, receiver: Callable[[ReplyReceived | RequestTimedOut], None]) -> None:
        self._replay_count += 1
        request_id = f"{self._link.name}.{self._link.epoch:x}.replay.{id(self):x}.{self._replay_count}"
        self._client.send(self._publisher, ask, request_id, _REPLAY_DEADLINE_MS, receiver)

    def _states_told(self, answer: ReplyReceived | RequestTimedOut) -> None:
        """Hand over the states that were not heard meanwhile. Without an answer they come with their next message."""
        if not isinstance(answer, ReplyReceived) or not isinstance(answer.message, StatesAnswer):
            return
        for data in answer.message.frames:
            try:
                topic, array = split_frame(data, self._max_bytes)
                known = self._topic(topic)
                opened = self._open(array)
                if known.is_event or not known.text.startswith(self._states):
                    raise FrameError("unknown_topic", f"{topic[:80]!r} among states")
            except FrameError as error:
                self._link.drop(error.kind, str(error))
                continue
            told = (opened.epoch, opened.sequence)
            if opened.epoch == self._reader.epoch and (known.newest[0] != opened.epoch or known.newest < told):
                known.newest = known.asked_for = told
                self._deliver(known, opened)

    def _answered(self, want: Want, answer: ReplyReceived | RequestTimedOut) -> None:
        if not isinstance(answer, ReplyReceived) or not isinstance(answer.message, ReplayAnswer):
            self._reader.on_no_answer(want)
            self._link.loop.call_later(_REPLAY_RETRY_S, self._pump)
            return
        replay = answer.message
        events: list[tuple[str, int, tuple[_Known, Opened]]] = []
        for data in replay.frames:
            try:
                topic, array = split_frame(data, self._max_bytes)
                known = self._topic(topic)
                if not known.is_event:
                    raise FrameError("unknown_topic", f"{topic[:80]!r} in a replay")
                opened = self._open(array)
            except FrameError as error:
                self._link.drop(error.kind, str(error))
                continue
            events.append((known.text, opened.sequence, (known, opened)))
        self._deliver_all(self._reader.on_replay(want, replay.epoch, events, replay.newest))
        if replay.epoch == self._reader.epoch:
            self._pump()
        else:
            self._link.loop.call_later(_REPLAY_RETRY_S, self._pump)


class Tap(Subscription):
    """A subscription that hands over whole frames instead of what a core needs of them."""

    @staticmethod
    def _handed_over(topic: str, opened: Opened, message: Message) -> Inbound | Frame:
        return Frame(topic, header_of(opened), message)
