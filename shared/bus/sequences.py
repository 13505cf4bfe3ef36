"""Sequences of event topics: what a publisher keeps, and how a reader sees what it missed. Pure.

A publisher numbers each topic from 1 within its epoch and keeps the newest message per entity. A reader that sees a
gap, a new epoch, or a heartbeat that is ahead of it asks for a replay, holds back what arrives meanwhile, and goes on
where the replay ends. Sequences that a replay skips were superseded by a newer message about the same entity.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count, islice, takewhile
from operator import itemgetter
from typing import Generic, TypeVar

import msgspec

PayloadT = TypeVar("PayloadT")


_Kept = tuple[int, int, bytes]
"""Its place among the messages of all topics, its sequence, its frame."""


class EventStream:
    """One topic of an `EventStore`: the number of its newest message, and the newest frame per entity."""

    __slots__ = ("_kept", "_limit", "_next_place", "newest")

    def __init__(self, limit: int, next_place: Callable[[], int]) -> None:
        self.newest = 0
        self._limit = limit + limit // 8
        self._next_place = next_place
        self._kept: dict[str | int, _Kept] = {}

    def keep(self, key: str, frame: bytes) -> None:
        """Keep the newest message in place of the older one of the same key; with key "" it stands for itself."""
        kept, sequence = self._kept, self.newest
        entity: str | int = key or sequence
        kept.pop(entity, None)
        kept[entity] = (self._next_place(), sequence, frame)
        if len(kept) > self._limit:
            # an eighth at once: the first item of a dictionary is found the slower the more were taken before it
            for oldest in list(islice(kept, self._limit // 9 + 1)):
                del kept[oldest]

    def since(self, from_sequence: int) -> list[_Kept]:
        """What is kept from `from_sequence` on, oldest first."""
        found = list(takewhile(lambda kept: kept[1] >= from_sequence, reversed(self._kept.values())))
        found.reverse()
        return found


class EventStore:
    """The publisher's side: numbers the messages of each topic and keeps the newest frame per entity.

    limit_per_topic: how many entities are kept per topic at least; those that changed longest ago are forgotten once
    there is an eighth more of them.
    """

    def __init__(self, limit_per_topic: int = 50_000) -> None:
        self._limit = limit_per_topic
        self._next_place = count().__next__
        self._streams: dict[str, EventStream] = {}

    def stream(self, topic: str) -> EventStream:
        """The stream of a topic, for good."""
        found = self._streams.get(topic)
        if found is None:
            found = self._streams[topic] = EventStream(self._limit, self._next_place)
        return found

    def newest(self) -> dict[str, int]:
        """The newest sequence of each event topic that has any."""
        return {topic: stream.newest for topic, stream in self._streams.items() if stream.newest}

    def replay(self, prefix: str, from_sequence: int, max_bytes: int) -> tuple[bytes, ...]:
        """The kept frames of topics that begin with `prefix`, from `from_sequence` on, oldest first.

        Stops before `max_bytes` is passed, but never before the first frame: a reader asks for the rest.
        """
        streams = [stream.since(from_sequence) for topic, stream in self._streams.items() if topic.startswith(prefix)]
        frames: list[bytes] = []
        size = 0
        for _, _, frame in heapq.merge(*streams, key=itemgetter(0)):
            size += len(frame)
            if frames and size > max_bytes:
                break
            frames.append(frame)
        return tuple(frames)


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
        self._flow: dict[str, int] | None = self._last
        """`_last` while nothing is missing, else None."""
        self.gaps = 0
        self.lost = 0
        self.unfounded = 0

    def syncing(self) -> bool:
        return bool(self._wants or self._outstanding)

    def takes(self, topic: str, epoch: int, sequence: int) -> bool:
        """Whether a message that arrived is the very next of its topic and may be delivered at once; it then is seen.

        Otherwise it goes to `on_event`.
        """
        flow = self._flow
        if flow is None or epoch != self.epoch or flow.get(topic) != sequence - 1:
            return False
        flow[topic] = sequence
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
        if not (self._wants or self._outstanding or self._buffer):
            self._flow = self._last
        return ready

    def on_no_answer(self, want: Want) -> None:
        """A replay was not answered: it is wanted again, unless a new epoch has made it void."""
        if want in self._outstanding:
            self._outstanding.remove(want)
            self._wants.append(want)

    def take_wants(self) -> list[Want]:
        """The replays to ask for now; each must be followed by `on_replay` or `on_no_answer`."""
        if not self._wants:
            return []
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
        self._flow = None if self._wants else self._last
        self._announce = True

    def _want(self, topic: str, from_sequence: int) -> None:
        if topic not in self._wanted:
            self._wanted.add(topic)
            self._wants.append(Want(topic, from_sequence, self._generation))
            self._flow = None

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
