"""The bus as a service sees it: publish, subscribe, serve, ask."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence

import zmq

from shared.bus.endpoints import Endpoints
from shared.bus.frames import Frame, encoder_of, open_frame, topic_prefix
from shared.bus.keys import keys_dir
from shared.bus.link import BusCounts, Link
from shared.bus.requests import LATER, Later, RequestClient, RequestServer
from shared.bus.sequences import EventStore, EventStream
from shared.bus.sockets import LoopSocket
from shared.bus.subscriptions import Subscription, Tap, heartbeat_topic
from shared.clock import Clock
from shared.config import DeskConfig
from shared.messages.base import Message
from shared.messages.steps import Inbound, ReplyReceived, Request, RequestTimedOut, SendRequest, StreamSynced
from shared.messages.system import GetStates, GetStatus, Heartbeat, Replay, ReplayAnswer, StatesAnswer
from shared.messages.topics import Topic, topic_row

_REPLAY_PAGE_BYTES = 256 * 1024
"""Answers that a client never reads wait in its queue: they must not be large."""

_STATES_BYTES = 1024 * 1024
"""What an answer holds of states. The rest comes with its next message, as it does without this."""

_SUBSCRIPTION_BYTES_MAX = 4_096
"""ZeroMQ keeps a node per byte of each subscription; whoever sends a longer one is disconnected."""

_CONTEXT_ENDS_S = 2.0
"""How long ZeroMQ may take to end when a bus is closed. Its threads end with the process anyway."""


class _Publication:
    """A topic that is published: what its frames begin with, what it carries, what encodes its events, and those, or
    how many states, and the newest of them where readers may be told it for `told_for_s` seconds (0: never)."""

    __slots__ = ("encode", "events", "message", "newest", "prefix", "states", "told_for_s")

    def __init__(self, topic: str, row: Topic, events: EventStream | None, link: Link) -> None:
        self.prefix = topic_prefix(topic)
        self.message = row.message
        self.encode = encoder_of(topic, row.message, link.name, link.epoch)
        self.events = events
        self.states = 0
        self.newest: bytes | bytearray = b""
        # a heartbeat says that its sender lives now, and of what some ask for nobody else is told
        of_all = row.message is not Heartbeat and not row.on_demand
        self.told_for_s = (row.silence_max_ms or 0) / 1e3 if of_all else 0.0


class NoAnswer(TimeoutError):
    """A service did not answer before the deadline: what was asked may have happened."""


def _raise(_source: str, error: Exception) -> None:
    raise error


def _ignore(*_: str) -> None:
    return None


class Bus:
    """All sockets of one process. To be used on the event loop's thread only.

    A bus can ask and subscribe at once. `open` makes it a service: it binds, publishes and answers. What a receiver
    raises goes to `on_error(source, error)`; the next success of that source to `on_success(source)`. What arrives
    and cannot be read is counted by kind and passed to `warn(kind, detail)` once per kind; so is a connection that
    comes to nothing for want of a key. key_name: whose CURVE key is used, `name`'s or the operator's unless told.
    """

    def __init__(
        self,
        name: str,
        desk: DeskConfig,
        *,
        clock: Clock | None = None,
        epoch: int | None = None,
        on_error: Callable[[str, Exception], None] = _raise,
        on_success: Callable[[str], None] = _ignore,
        warn: Callable[[str, str], None] = _ignore,
        key_name: str = "",
    ) -> None:
        clock = clock or Clock()
        self._link = Link(
            name,
            Endpoints(desk.run_dir, desk.bus, desk.strategy_hosts),
            desk.bus,
            clock,
            clock.now_ns() if epoch is None else epoch,
            on_error,
            on_success,
            warn,
            keys_dir(desk),
            key_name,
        )
        self._store = EventStore(desk.bus.events_kept)
        self._client = RequestClient(self._link)
        self._subscriptions: list[Subscription] = []
        self._topics: dict[str, _Publication] = {}
        self._asked = 0
        self._publisher: LoopSocket | None = None
        self._server: RequestServer | None = None
        self._heartbeat: Callable[[dict[str, int]], Heartbeat] | None = None
        self._replays = True
        self.tells_anew = False
        """Whether a core of this process says when all is told."""

    @classmethod
    def client(cls, desk: DeskConfig, key_name: str = "") -> Bus:
        """A bus that only asks and listens, for the command line: ``async with Bus.client(desk) as bus``.

        key_name: over tcp with keys, whose key it uses; that of the operator unless told.
        """
        return cls(f"cli-{os.getpid()}", desk, key_name=key_name)

    async def __aenter__(self) -> Bus:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    @property
    def counts(self) -> BusCounts:
        return self._link.counts

    @property
    def epoch(self) -> int:
        return self._link.epoch

    def open(self, heartbeat: Callable[[dict[str, int]], Heartbeat], *, replays: bool = True) -> None:
        """Bind as a service. `heartbeat` is given the newest event sequences and is also the answer to GetStatus.

        replays: whether readers may be told what there is from the start. A process that first has to tell anew what
        it remembers says when it has: to a reader that asked before, what is not there would be gone.
        """
        assert self._publisher is None, "a bus is opened once"
        settings = self._link.settings
        self._heartbeat = heartbeat
        self._publisher = LoopSocket(
            self._link.context,
            zmq.XPUB,
            {zmq.SNDHWM: settings.publish_queue, zmq.XPUB_VERBOSE: 1, zmq.MAXMSGSIZE: _SUBSCRIPTION_BYTES_MAX},
            self._subscribed,
        )
        self._link.bind(self._publisher, self._link.endpoints.bound_events(self._link.name))
        self._replays = replays
        self._server = RequestServer(self._link, self._answer_now)
        self.beat()

    def all_told(self) -> None:
        """All that is remembered was told anew: readers that asked what there is get their answer."""
        assert self._server is not None, "only an open bus has readers"
        self._replays = True
        self._server.release()

    def close(self) -> None:
        """Close every socket; what was sent gets a fifth of a second to leave."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()
        self._client.close()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None
        if self._link.curve is not None:
            self._link.curve.close()
        # over tcp its thread may stand in the look-up of a name, of a peer in a container that is gone
        ending = threading.Thread(target=self._link.context.term, name="bus context", daemon=True)
        ending.start()
        ending.join(_CONTEXT_ENDS_S)

    def key_problem(self, service: str) -> str:
        """Why `service` and we do not take each other's keys; "" while nothing is known against it."""
        return "" if self._link.curve is None else self._link.curve.problem(service)

    def publish(self, topic: str, message: Message, cause_id: str = "") -> str:
        """Publish on a topic of the table and return the message id. Events of one turn of the loop are published
        together and say the same time."""
        socket = self._publisher
        assert socket is not None, "only an open bus publishes"
        known = self._topics.get(topic) or self._publication(topic)
        assert type(message) is known.message, (
            f"{topic} carries {known.message.__name__}, not {type(message).__name__}"
        )
        link, events = self._link, known.events
        message_id = link.new_id()
        frame: bytes | bytearray
        if events is not None:
            events.newest += 1
            published_ns = socket.burst_ns = socket.burst_ns or link.clock.now_ns()
            frame = known.encode(message, events.newest, message_id, cause_id, published_ns)
            events.keep(message.key, frame)
        else:
            known.states += 1
            frame = link.encode(known.prefix, message, message_id, known.states, cause_id)
            if known.told_for_s:
                known.newest = frame
        link.counts.published += 1
        socket.publish(frame)
        return message_id

    def beat(self) -> None:
        """Publish a heartbeat now."""
        assert self._heartbeat is not None, "only an open bus has a heartbeat"
        self.publish(heartbeat_topic(self._link.name), self._heartbeat(self._store.newest()))

    def subscribe(
        self, publisher: str, prefixes: Sequence[str], deliver: Callable[[Inbound | StreamSynced], None]
    ) -> None:
        """Hear the topics of `publisher` that begin with one of `prefixes`, whether it is there yet or not.

        States: the newest only; those that the publisher has already come at once after `StreamSynced`, where events
        are heard too. Events: each one, in order; first the retained ones, then `StreamSynced`, and both again
        whenever the publisher was restarted. Raises ValueError for a prefix that no topic begins with.
        """
        self._subscriptions.append(Subscription(self._link, self._client, publisher, prefixes, deliver))

    def tap(self, publisher: str, prefixes: Sequence[str], deliver: Callable[[Frame | StreamSynced], None]) -> None:
        """As `subscribe`, and hands over the header with each message: for people who look on."""
        self._subscriptions.append(Tap(self._link, self._client, publisher, prefixes, deliver))

    def resync(self) -> None:
        """Have all subscribed events handed over again, for a core that was built anew."""
        for subscription in self._subscriptions:
            subscription.resync()

    def serve(self, deliver: Callable[[Request], None]) -> None:
        """Hand requests to `deliver`. Status and replay are answered by the bus itself."""
        assert self._server is not None, "only an open bus serves"
        self._server.serve(deliver)

    def refuse_unserved(self) -> None:
        """A service that has started and serves nothing refuses every request from now on."""
        assert self._server is not None, "only an open bus serves"
        self._server.refuse_unserved()

    def reply(self, request_id: str, message: Message) -> None:
        """Answer a request. A repeat of it gets the same answer, as long as this process runs and remembers."""
        assert self._server is not None, "only an open bus replies"
        self._server.reply(request_id, message)

    def forget(self, request_id: str) -> None:
        """A request was lost before it was answered: hand its next repeat over again."""
        assert self._server is not None, "only an open bus serves"
        self._server.forget(request_id)

    def send_request(self, effect: SendRequest, deliver: Callable[[ReplyReceived | RequestTimedOut], None]) -> None:
        """Ask another service; `deliver` is called once, with the answer or with the time-out."""
        self._client.send(effect.service, effect.message, effect.request_id, effect.deadline_ms, deliver)

    async def ask(self, service: str, message: Message, deadline_ms: int = 3_000) -> Message:
        """Ask and wait. Raises NoAnswer when the deadline passes."""
        self._asked += 1
        request_id = f"{self._link.name}.{self._link.epoch:x}.ask.{self._asked}"
        answered: asyncio.Future[Message] = self._link.loop.create_future()

        def deliver(answer: ReplyReceived | RequestTimedOut) -> None:
            if answered.done():
                return
            if isinstance(answer, ReplyReceived):
                answered.set_result(answer.message)
            else:
                why = self.key_problem(service)
                answered.set_exception(NoAnswer(why or f"{service} did not answer within {deadline_ms} ms"))

        self._client.send(service, message, request_id, deadline_ms, deliver)
        try:
            return await answered
        finally:
            self._client.forget(request_id)

    def _publication(self, topic: str) -> _Publication:
        row = topic_row(topic)
        assert row is not None, f"{topic} is not in the table of topics"
        events = self._store.stream(topic) if row.kind == "event" else None
        known = self._topics[topic] = _Publication(topic, row, events, self._link)
        return known

    def _subscribed(self, batch: list[bytes]) -> None:
        """A reader whose subscription has taken effect gets a heartbeat at once: the proof that events flow."""
        mine = heartbeat_topic(self._link.name).encode()
        strange = sum(data[:1] not in (b"\x00", b"\x01") for data in batch)
        if strange:
            self._link.drop("garbage", "no subscription, from a subscriber", strange)
        if any(data[:1] == b"\x01" and mine.startswith(data[1:]) for data in batch):
            self.beat()

    def _answer_now(self, message: Message) -> Message | Later | None:
        if isinstance(message, GetStatus):
            assert self._heartbeat is not None
            return self._heartbeat(self._store.newest())
        if isinstance(message, Replay) and not self._replays:
            return LATER
        if isinstance(message, Replay):
            frames = self._store.replay(message.prefix, message.from_sequence, _REPLAY_PAGE_BYTES)
            return ReplayAnswer(epoch=self._link.epoch, frames=frames, newest=self._store.newest())
        if isinstance(message, GetStates):
            return StatesAnswer(frames=self._states(message.prefix))
        return None

    def _states(self, prefix: str) -> tuple[bytes, ...]:
        """The newest frame of each state that begins with `prefix`, without those that are too old to be told."""
        found, room = [], _STATES_BYTES
        for topic, known in self._topics.items():
            frame = bytes(known.newest)
            if not frame or len(frame) > room or not topic.startswith(prefix):
                continue
            _, opened = open_frame(frame)
            if self._link.since_s(opened.published_ns) <= known.told_for_s:
                found.append(frame)
                room -= len(frame)
        return tuple(found)
