"""Sequences of event topics: what a publisher keeps, and how a reader sees what it missed. Pure.

A publisher numbers each topic from 1 within its epoch and keeps the newest message per entity. A reader that sees a
gap, a new epoch, or a heartbeat that is ahead of it asks for a replay, holds back what arrives meanwhile, and goes on
where the replay ends. Sequences that a replay skips were superseded by a newer message about the same entity.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

PayloadT = TypeVar("PayloadT")


class _Kept(msgspec.Struct, frozen=True, gc=False):
    order: int
    sequence: int
    frame: bytes


class EventStore:
    """The publisher's side: numbers the messages of each topic and keeps the newest frame per entity.

    limit_per_topic: how many entities are kept per topic; the one that changed longest ago is forgotten first.
    """

    def __init__(self, limit_per_topic: int = 50_000) -> None:
        self._limit = limit_per_topic
        self._order = 0
        self._newest: dict[str, int] = {}
        self._kept: dict[str, OrderedDict[str | int, _Kept]] = {}

    def next_sequence(self, topic: str) -> int:
        """The number of the topic's next message, taken."""
        newest = self._newest
        sequence = newest[topic] = newest.get(topic, 0) + 1
        return sequence

    def keep(self, topic: str, key: str, sequence: int, frame: bytes) -> None:
        """Keep a published frame in place of the older one of the same key; with key "" it stands for itself."""
        kept = self._kept.get(topic)
        if kept is None:
            kept = self._kept[topic] = OrderedDict()
        entity: str | int = key or sequence
        self._order += 1
        kept[entity] = _Kept(self._order, sequence, frame)
        kept.move_to_end(entity)
        if len(kept) > self._limit:
            kept.popitem(last=False)

    def newest(self) -> dict[str, int]:
        """The newest sequence of each event topic."""
        return dict(self._newest)

    def replay(self, prefix: str, from_sequence: int, max_bytes: int) -> tuple[bytes, ...]:
        """The kept frames of topics that begin with `prefix`, from `from_sequence` on, oldest first.

        Stops before `max_bytes` is passed, but never before the first frame: a reader asks for the rest.
        """
        streams = [self._since(kept, from_sequence) for topic, kept in self._kept.items() if topic.startswith(prefix)]
        frames: list[bytes] = []
        size = 0
        for kept in heapq.merge(*streams, key=lambda kept: kept.order):
            size += len(kept.frame)
            if frames and size > max_bytes:
                break
            frames.append(kept.frame)
        return tuple(frames)

    @staticmethod
    def _since(kept: OrderedDict[str | int, _Kept], from_sequence: int) -> list[_Kept]:
        found: list[_Kept] = []
        for one in reversed(kept.values()):
            if one.sequence < from_sequence:
                break
            found.append(one)
        found.reverse()
        return found


class Want(msgspec.Struct, frozen=True):
    """A replay that a reader needs: topics that begin with `prefix`, from `from_sequence` on."""

    prefix: str
    from_sequence: int
    generation: int


class _Held(msgspec.Struct, Generic[PayloadT]):
    """A message that waits for a replay. `asked`: a replay was asked for because of it."""

    topic: str
    sequence: int
    payload: PayloadT
    asked: bool = False


class StreamReader(Generic[PayloadT]):
    """The reader's side, for one publisher: hands out payloads in order, each once per epoch.

    Every `on_...` returns what may be delivered now. After each call the owner sends the replays that `take_wants`
    names and delivers `StreamSynced` when `take_synced` gives an epoch. `gaps` counts what was missed, `lost` what
    no replay could bring back, `unfounded` what was not taken: a sequence that the publisher does not know of when it
    is asked, and topics beyond `topics_limit`.
    """

    def __init__(self, prefixes: Sequence[str], buffer_limit: int = 100_000, topics_limit: int = 1_000) -> None:
        self._prefixes = tuple(prefixes)
        self._buffer_limit = buffer_limit
        self._topics_limit = topics_limit
        self._generation = 0
        self._last: dict[str, int] = {}
        self._wants: list[Want] = []
        self._outstanding: set[Want] = set()
        self._wanted: set[str] = set()
        self._buffer: list[_Held[PayloadT]] = []
        self._announce = False
        self.epoch: int | None = None
        self.gaps = 0
        self.lost = 0
        self.unfounded = 0

    def syncing(self) -> bool:
        return bool(self._wants or self._outstanding)

    def takes(self, topic: str, epoch: int, sequence: int) -> bool:
        """Whether a message that arrived is the very next of its topic and may be delivered at once; it then is seen.

        Otherwise it goes to `on_event`.
        """
        if (
            epoch != self.epoch
            or self._last.get(topic) != sequence - 1
            or self._wants
            or self._outstanding
            or self._buffer
        ):
            return False
        self._last[topic] = sequence
        return True

    def on_event(self, topic: str, epoch: int, sequence: int, payload: PayloadT) -> list[PayloadT]:
        """A message arrived on an event topic."""
        if epoch != self.epoch:
            self._begin(epoch)
        if self._wants or self._outstanding:
            if len(self._buffer) < self._buffer_limit:
                self._buffer.append(_Held(topic, sequence, payload))
            return []
        return self._live(_Held(topic, sequence, payload))

    def on_newest(self, epoch: int, newest: Mapping[str, int]) -> None:
        """A heartbeat arrived, behind all events that were published before it."""
        if epoch != self.epoch:
            self._begin(epoch)
            return
        if self.syncing():
            return
        for topic, sequence in newest.items():
            last = self._last.get(topic, 0)
            if sequence > last and topic.startswith(self._prefixes) and self._has_room(topic):
                self.gaps += 1
                self._want(topic, last + 1)

    def on_replay(
        self, want: Want, epoch: int, events: Iterable[tuple[str, int, PayloadT]], newest: Mapping[str, int]
    ) -> list[PayloadT]:
        """The answer to a replay; `newest` as the publisher knew it when it answered."""
        if want not in self._outstanding:
            return []
        self._outstanding.remove(want)
        if epoch != self.epoch:
            self._wants.append(want)
            return []
        self._wanted.discard(want.prefix)
        ready: list[PayloadT] = []
        empty = True
        barren = True
        for topic, sequence, payload in events:
            empty = False
            if sequence > self._last.get(topic, 0) and topic.startswith(self._prefixes) and self._has_room(topic):
                self._last[topic] = sequence
                ready.append(payload)
                barren = False
        for topic, sequence in newest.items():
            last = self._last.get(topic, 0)
            if sequence <= last or not topic.startswith(want.prefix) or not self._has_room(topic):
                continue
            if empty or (barren and want.prefix == topic):
                self.lost += sequence - last
                self._last[topic] = sequence
            else:
                self._want(topic, last + 1)
        ready.extend(self._release())
        return ready

    def on_no_answer(self, want: Want) -> None:
        """A replay was not answered: it is wanted again, unless a new epoch has made it void."""
        if want in self._outstanding:
            self._outstanding.remove(want)
            self._wants.append(want)

    def take_wants(self) -> list[Want]:
        """The replays to ask for now; each must be followed by `on_replay` or `on_no_answer`."""
        wants, self._wants = self._wants, []
        self._outstanding.update(wants)
        return wants

    def take_synced(self) -> int | None:
        """The epoch, once, when everything of it up to now has been handed out."""
        if self._announce and not self.syncing():
            self._announce = False
            return self.epoch
        return None

    def resync(self) -> None:
        """Have everything handed out again: the one who keeps it has lost it."""
        if self.epoch is not None:
            self._begin(self.epoch)

    def _begin(self, epoch: int) -> None:
        self._generation += 1
        self.epoch = epoch
        self._last = {}
        self._buffer = []
        self._outstanding = set()
        self._wants = [Want(prefix, 0, self._generation) for prefix in self._prefixes]
        self._wanted = set(self._prefixes)
        self._announce = True

    def _want(self, topic: str, from_sequence: int) -> None:
        if topic not in self._wanted:
            self._wanted.add(topic)
            self._wants.append(Want(topic, from_sequence, self._generation))

    def _has_room(self, topic: str) -> bool:
        """A publisher whose topics know no end would make us keep a number of each, for ever."""
        if topic in self._last or len(self._last) + len(self._wanted) < self._topics_limit or topic in self._wanted:
            return True
        self.unfounded += 1
        return False

    def _live(self, held: _Held[PayloadT]) -> list[PayloadT]:
        last = self._last.get(held.topic, 0)
        if held.sequence <= last or not self._has_room(held.topic):
            return []
        if held.sequence > last + 1:
            if held.asked:
                # the publisher was asked after this had arrived and does not know of it: asking again never ends
                self.unfounded += 1
                return []
            self.gaps += 1
            self._want(held.topic, last + 1)
            held.asked = True
            self._buffer.append(held)
            return []
        self._last[held.topic] = held.sequence
        return [held.payload]

    def _release(self) -> list[PayloadT]:
        if self.syncing():
            return []
        held, self._buffer = self._buffer, []
        ready: list[PayloadT] = []
        for position, each in enumerate(held):
            ready.extend(self._live(each))
            if self.syncing():
                self._buffer.extend(held[position + 1 :])
                break
        return ready
