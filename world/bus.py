"""The bus in one process: real frames, real sequences and replays, over links that lose, delay and double."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any

from shared.bus.frames import Frame, Header, encoder_of, open_frame, read_body
from shared.bus.sequences import EventStore, StreamReader, Want
from shared.messages.account import AccountSnapshot
from shared.messages.base import Message
from shared.messages.steps import Inbound, Reply, ReplyReceived, Request, RequestTimedOut, SendRequest, StreamSynced
from shared.messages.system import Heartbeat
from shared.messages.topics import topic_of, topic_row
from shared.messages.trades import OpenTrade
from world.engine import Engine
from world.faults import MS, SECOND, Faults
from world.node import Node

RESEND_NS = 300 * MS
REPLAY_TIMEOUT_NS = 500 * MS
_CUT_NS = (3 * SECOND, 12 * SECOND)
REPLAY_MAX_BYTES = 1 << 20
_ENCODERS_KEPT = 256
"""Each start of a process has encoders of its own, each with room for the largest frame that it wrote."""

_FRAMES_READ = 512
"""So many frames are remembered as they were read: live, each process reads its own copy; here they share one, which
none can change."""


def _read(data: bytes) -> tuple[Inbound, int, bool]:
    """What a frame hands to a core, its sequence, and whether it is an event."""
    topic, wire = open_frame(data)
    row = topic_row(topic)
    item = Inbound(topic, read_body(wire), wire.message_id, wire.publisher, wire.epoch)
    return item, wire.sequence, row is not None and row.kind == "event"


class _Publisher:
    """What a publisher keeps in memory: lost with the process. `newest`, for the checks: by topic and entity, the id
    of its newest event and when it was published."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.store = EventStore()
        self.state_sequences: dict[str, int] = {}
        self.messages = 0
        self.newest: dict[tuple[str, str], tuple[str, int]] = {}
        self.answers: dict[str, Message | None] = {}
        self.clients: dict[str, str] = {}


class _Subscription:
    """One subscriber's end of one publisher's stream. `handed`, for the checks: by topic and entity, the id of the
    last event that was handed over."""

    def __init__(self, prefixes: Sequence[str], since_ns: int) -> None:
        self.prefixes = tuple(prefixes)
        self.since_ns = since_ns
        self.handed: dict[tuple[str, str], str] = {}
        self.reader: StreamReader[Inbound] = StreamReader(prefixes)


class WorldBus:
    """Carries everything between the nodes of one desk. `told` is the hash of all frames that were published."""

    def __init__(self, engine: Engine, faults: Faults, account_id: str) -> None:
        self.nodes: dict[str, Node] = {}
        self.published: list[Frame] = []
        """Events. Of states only those of the account are kept, below."""

        self.accounts: list[AccountSnapshot] = []
        self.told = blake2b(digest_size=16)
        self.latest: dict[str, Message] = {}
        self.answered: list[tuple[OpenTrade, Message]] = []
        self._engine = engine
        self._faults = faults
        self._account_id = account_id
        self._publishers: dict[str, _Publisher] = {}
        self._subscriptions: dict[tuple[str, str], _Subscription] = {}
        self._subscribers: dict[str, dict[str, tuple[str, ...]]] = {}
        self._readers: dict[tuple[str, str], tuple[str, ...]] = {}
        self._read = lru_cache(maxsize=_FRAMES_READ)(_read)
        self._encoder_of = lru_cache(maxsize=_ENCODERS_KEPT)(encoder_of)
        self._link_free_ns: dict[tuple[str, str], int] = {}
        self._cut_until_ns: dict[tuple[str, str], int] = {}
        self._lags: dict[tuple[str, str], tuple[int, int]] = {}
        self._pending: dict[tuple[str, str], tuple[int, int]] = {}
        self._intents: dict[str, OpenTrade] = {}
        self._outside: dict[str, Callable[[Message], None]] = {}

    def add(self, node: Node) -> None:
        self.nodes[node.name] = node
        self._engine.every(SECOND, lambda: self._heartbeat(node))

    def boot(self, node: Node, subscriptions: Mapping[str, Sequence[str]]) -> None:
        """A process starts: empty memory, new epoch, subscriptions made anew; it says at once that it is alive."""
        self._publishers[node.name] = _Publisher(node.epoch)
        for publisher, prefixes in subscriptions.items():
            self._subscriptions[node.name, publisher] = _Subscription(prefixes, self._engine.now_ns)
            self._subscribers.setdefault(publisher, {})[node.name] = (*prefixes, "sys.")
            self._readers.clear()
        self._pending = {key: value for key, value in self._pending.items() if key[0] != node.name}
        self._heartbeat(node)

    def resync(self, node: Node) -> None:
        """Its core was built anew: hand everything over once more."""
        for key, subscription in self._subscriptions.items():
            if key[0] == node.name:
                self._subscriptions[key] = _Subscription(subscription.prefixes, self._engine.now_ns)

    def heal(self, faults: Faults) -> None:
        """Use these faults from now on, and no connection is cut any more."""
        self._faults = faults
        self._cut_until_ns.clear()

    def cut_off(self, service: str) -> None:
        """Let a service and one of those that listen to it hear nothing of each other for some seconds; none does
        before it was started."""
        if listeners := self._subscribers.get(service):
            self._cut(service, self._engine.random.choice(sorted(listeners)))

    def _cut(self, one: str, other: str) -> None:
        until_ns = self._engine.now_ns + self._engine.between_ns(*_CUT_NS)
        self._cut_until_ns[one, other] = self._cut_until_ns[other, one] = until_ns

    def missed(self, before_ns: int) -> Iterator[str]:
        """Events published before this moment that a subscriber of then was not handed, nor a newer one of the same
        entity. For the checks."""
        for (subscriber, source), subscription in self._subscriptions.items():
            publisher = self._publishers.get(source)
            running = self.nodes[subscriber].alive and self.nodes[source].alive
            if publisher is None or not running or max(subscription.since_ns, publisher.epoch) >= before_ns:
                continue
            for (topic, entity), (message_id, at_ns) in publisher.newest.items():
                if at_ns >= before_ns or not topic.startswith(subscription.prefixes):
                    continue
                if subscription.handed.get((topic, entity)) != message_id:
                    yield f"{subscriber} was not handed {message_id}, the newest of {entity} on {topic}"

    def publish(self, sender: Node, topic: str, message: Message, cause_id: str) -> None:
        publisher = self._publishers[sender.name]
        row = topic_row(topic)
        assert row is not None, f"{topic} is in no row of the table of topics"
        publisher.messages += 1
        events = publisher.store.stream(topic) if row.kind == "event" else None
        if events is not None:
            events.newest += 1
            sequence = events.newest
        else:
            sequence = publisher.state_sequences[topic] = publisher.state_sequences.get(topic, 0) + 1
        name, epoch, now_ns = sender.name, sender.epoch, sender.now_ns
        message_id = f"{name}:{epoch}:{publisher.messages}"
        self.latest[topic] = message
        if isinstance(message, AccountSnapshot):
            self.accounts.append(message)
        encode = self._encoder_of(topic, type(message), name, epoch)
        data = encode(message, sequence, message_id, cause_id, now_ns)
        self.told.update(data)
        if events is not None:
            key = message.key
            events.keep(key, data)
            publisher.newest[topic, key or message_id] = message_id, self._engine.now_ns
            header = Header(name, epoch, sequence, message_id, cause_id, now_ns)
            self.published.append(Frame(topic, header, message))
        for subscriber in self._readers_of(name, topic):
            self._link(name, subscriber, partial(self._receive, subscriber, name, data))

    def _readers_of(self, publisher: str, topic: str) -> tuple[str, ...]:
        """Who has subscribed to a topic of a publisher, dead or alive."""
        known = self._readers.get((publisher, topic))
        if known is None:
            subscribers = self._subscribers.get(publisher, {}).items()
            known = tuple(subscriber for subscriber, prefixes in subscribers if topic.startswith(prefixes))
            self._readers[publisher, topic] = known
        return known

    def request(self, client: Node, effect: SendRequest) -> None:
        """Ask, again and again with the same id, until answered or the deadline has passed."""
        key = (client.name, effect.request_id)
        deadline_ns = self._engine.now_ns + effect.deadline_ms * MS
        epoch = client.epoch
        self._pending[key] = (epoch, deadline_ns)

        def attempt() -> None:
            if self._pending.get(key) != (epoch, deadline_ns) or not client.is_current(epoch):
                return
            if self._engine.now_ns >= deadline_ns:
                del self._pending[key]
                client.put(RequestTimedOut(effect.request_id), epoch)
                return
            self._link(client.name, effect.service, lambda: self._ask(client.name, effect))
            self._engine.at(min(self._engine.now_ns + RESEND_NS, deadline_ns), attempt)

        attempt()

    def reply(self, server: Node, effect: Reply) -> None:
        publisher = self._publishers[server.name]
        publisher.answers[effect.request_id] = effect.message
        intent = self._intents.get(effect.request_id)
        if intent is not None and server.name == "execution":
            self.answered.append((intent, effect.message))
        client = publisher.clients.get(effect.request_id)
        if client is None:
            return
        if client in self.nodes and self._faults.bus_cut_at_answer:
            self._perhaps_cut(server, client)
        self._answer(server.name, client, effect.request_id, effect.message)

    def _perhaps_cut(self, server: Node, client: str) -> None:
        engine = self._engine
        if engine.chance(self._faults.bus_cut_at_answer):
            self._cut(server.name, client)
            if engine.chance(0.5):
                # as soon as its effects are carried out: it is in the middle of them
                engine.after(0, server.crash)

    def ask(self, service: str, message: Message, request_id: str, deliver: Callable[[Message], None]) -> None:
        """A request from outside the desk, such as the command line's: never lost, answered once."""
        node = self.nodes[service]
        if node.alive:
            publisher = self._publishers[service]
            publisher.clients[request_id] = f"outside:{request_id}"
            self._outside[request_id] = deliver
            node.put(Request(request_id, message, "outside"))

    def _ask(self, client: str, effect: SendRequest) -> None:
        server = self.nodes[effect.service]
        if not server.alive:
            return
        publisher = self._publishers[effect.service]
        publisher.clients[effect.request_id] = client
        if effect.request_id not in publisher.answers:
            publisher.answers[effect.request_id] = None
            if isinstance(effect.message, OpenTrade):
                self._intents[effect.request_id] = effect.message
            server.put(Request(effect.request_id, effect.message, client))
            return
        answer = publisher.answers[effect.request_id]
        if answer is not None:
            self._answer(effect.service, client, effect.request_id, answer)

    def _answer(self, server: str, client: str, request_id: str, message: Message) -> None:
        if client.startswith("outside:"):
            self._outside[request_id](message)
            return

        def arrive() -> None:
            pending = self._pending.pop((client, request_id), None)
            if pending is not None:
                self.nodes[client].put(
                    ReplyReceived(request_id, message, f"{server}:answer:{request_id}"), pending[0]
                )

        self._link(server, client, arrive)

    def _receive(self, subscriber: str, source: str, data: bytes) -> None:
        node = self.nodes[subscriber]
        subscription = self._subscriptions.get((subscriber, source))
        if not node.alive or subscription is None:
            return
        item, sequence, is_event = self._read(data)
        wanted = item.topic.startswith(subscription.prefixes)
        if is_event:
            if wanted:
                reader = subscription.reader
                # As the live bus does: at once if it is the very next.
                is_next = reader.takes(item.topic, item.epoch, sequence)
                ready = [item] if is_next else reader.on_event(item.topic, item.epoch, sequence, item)
                self._deliver(node, source, subscription, ready)
            return
        if wanted:
            node.put(item)
        if isinstance(item.message, Heartbeat):
            subscription.reader.on_newest(item.epoch, item.message.event_sequences)
            self._deliver(node, source, subscription, [])

    def _deliver(self, node: Node, source: str, subscription: _Subscription, ready: Sequence[Inbound]) -> None:
        for item in ready:
            subscription.handed[item.topic, item.message.key or item.message_id] = item.message_id
            node.put(item)
        for want in subscription.reader.take_wants():
            self._replay(node, source, subscription, want)
        epoch = subscription.reader.take_synced()
        if epoch is not None:
            node.put(StreamSynced(source, epoch))

    def _replay(self, node: Node, source: str, subscription: _Subscription, want: Want) -> None:
        epoch, settled = node.epoch, False

        def current() -> bool:
            return not settled and node.is_current(epoch) and self._subscriptions[node.name, source] is subscription

        def serve() -> None:
            publisher = self._publishers.get(source)
            if publisher is None or not self.nodes[source].alive:
                return
            frames = publisher.store.replay(want.prefix, want.from_sequence, REPLAY_MAX_BYTES)
            newest, served_epoch = publisher.store.newest(), publisher.epoch
            self._link(source, node.name, lambda: arrive(served_epoch, frames, newest))

        def arrive(served_epoch: int, frames: Sequence[bytes], newest: dict[str, int]) -> None:
            nonlocal settled
            if not current():
                return
            settled = True
            read = [self._read(data) for data in frames]
            events = [(item.topic, sequence, item) for item, sequence, _ in read]
            self._deliver(
                node, source, subscription, subscription.reader.on_replay(want, served_epoch, events, newest)
            )

        def give_up() -> None:
            nonlocal settled
            if current():
                settled = True
                subscription.reader.on_no_answer(want)
                self._deliver(node, source, subscription, [])

        self._link(node.name, source, serve)
        self._engine.after(REPLAY_TIMEOUT_NS, give_up)

    def _heartbeat(self, node: Node) -> None:
        if not node.alive or node.is_stalled:
            return
        beat = Heartbeat(
            service=node.name,
            account_id=self._account_id,
            mode="paper",
            venue="sim",
            pid=node.starts,
            epoch=node.epoch,
            started_ns=node.epoch,
            beat_ns=node.now_ns,
            starts=node.starts,
            ready=True,
            detail="",
            event_sequences=self._publishers[node.name].store.newest(),
            strategies=getattr(node.core, "answers_for", ()),
        )
        self.publish(node, topic_of("sys.{service}.heartbeat", service=node.name), beat, "")

    def _link(self, source: str, target: str, arrive: Callable[[], Any]) -> None:
        """One message on the connection from `source` to `target`: in order, at times lost or twice."""
        engine, faults, link = self._engine, self._faults, (source, target)
        random = engine.random.random
        if random() < faults.bus_drop or engine.now_ns < self._cut_until_ns.get(link, 0):
            return
        copies = 2 if random() < faults.bus_duplicate else 1
        lag_ns = self._lag_of(source, target) if faults.bus_lag_max_ms else 0
        for _ in range(copies):
            when_ns = engine.now_ns + lag_ns + engine.between_ns(MS // 10, faults.bus_delay_max_ms * MS)
            free_ns = self._link_free_ns.get(link, 0)
            if when_ns <= free_ns:
                when_ns = free_ns + 1
            self._link_free_ns[link] = when_ns
            engine.at(when_ns, arrive)

    def _lag_of(self, source: str, target: str) -> int:
        """How much later than others this connection is, for some seconds."""
        until_ns, lag_ns = self._lags.get((source, target), (0, 0))
        if self._engine.now_ns >= until_ns:
            until_ns = self._engine.now_ns + self._engine.between_ns(2 * SECOND, 20 * SECOND)
            lag_ns = self._engine.between_ns(0, self._faults.bus_lag_max_ms * MS)
            self._lags[source, target] = until_ns, lag_ns
        return lag_ns
