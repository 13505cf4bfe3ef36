from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.sequences import EventStore, StreamReader, Want

TRADE, ORDER = "exec.main.trade", "exec.main.order"


def frame(topic: str, sequence: int) -> bytes:
    return f"{topic}/{sequence}".encode()


def parsed(data: bytes) -> tuple[str, int, bytes]:
    topic, sequence = data.decode().split("/")
    return topic, int(sequence), data


class Publisher:
    """An `EventStore` in one epoch, with what it has published."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.store = EventStore()

    def publish(self, topic: str, key: str = "") -> tuple[str, int, bytes]:
        stream = self.store.stream(topic)
        stream.newest += 1
        stream.keep(key, frame(topic, stream.newest))
        return topic, stream.newest, frame(topic, stream.newest)


class Dialogue:
    """A reader of "exec." that notes what it was given; what it wants is answered on request."""

    def __init__(self) -> None:
        self.reader: StreamReader[bytes] = StreamReader(["exec."])
        self.got: list[bytes] = []

    def event(self, publisher: Publisher, event: tuple[str, int, bytes]) -> None:
        topic, sequence, data = event
        self.got += self.reader.on_event(topic, publisher.epoch, sequence, data)

    def beat(self, publisher: Publisher) -> None:
        self.reader.on_newest(publisher.epoch, publisher.store.newest())

    def answer_wants(self, publisher: Publisher, max_bytes: int = 1 << 20) -> list[Want]:
        """Answer until nothing is wanted; the wants that were answered."""
        answered: list[Want] = []
        while wants := self.reader.take_wants():
            for want in wants:
                frames = publisher.store.replay(want.prefix, want.from_sequence, max_bytes)
                events = [parsed(data) for data in frames]
                self.got += self.reader.on_replay(want, publisher.epoch, events, publisher.store.newest())
                answered.append(want)
        return answered


def synced(publisher: Publisher) -> Dialogue:
    dialogue = Dialogue()
    dialogue.beat(publisher)
    dialogue.answer_wants(publisher)
    assert dialogue.reader.take_synced() == publisher.epoch
    return dialogue


def test_an_empty_publisher_is_synced_after_its_first_heartbeat_and_replay() -> None:
    dialogue, publisher = Dialogue(), Publisher(1)
    assert dialogue.reader.take_synced() is None
    dialogue.beat(publisher)
    assert dialogue.reader.take_synced() is None
    assert [want.prefix for want in dialogue.answer_wants(publisher)] == ["exec."]
    assert dialogue.reader.take_synced() == 1
    assert dialogue.reader.take_synced() is None


def test_a_late_joiner_gets_the_newest_per_entity_oldest_first() -> None:
    publisher = Publisher(1)
    publisher.publish(TRADE, "a")
    publisher.publish(ORDER, "x")
    publisher.publish(TRADE, "b")
    publisher.publish(TRADE, "a")
    assert synced(publisher).got == [frame(ORDER, 1), frame(TRADE, 2), frame(TRADE, 3)]


def test_messages_without_a_key_are_all_kept() -> None:
    publisher = Publisher(1)
    for _ in range(3):
        publisher.publish(TRADE)
    assert synced(publisher).got == [frame(TRADE, 1), frame(TRADE, 2), frame(TRADE, 3)]


def test_an_event_that_arrives_during_the_replay_is_held_back_and_given_once() -> None:
    publisher, dialogue = Publisher(1), Dialogue()
    publisher.publish(TRADE)
    dialogue.beat(publisher)
    dialogue.event(publisher, publisher.publish(TRADE))
    assert dialogue.got == []
    dialogue.answer_wants(publisher)
    dialogue.event(publisher, publisher.publish(TRADE))
    assert dialogue.got == [frame(TRADE, 1), frame(TRADE, 2), frame(TRADE, 3)]


def test_a_gap_is_filled_by_a_replay_of_that_topic_from_the_missing_sequence() -> None:
    publisher = Publisher(1)
    dialogue = synced(publisher)
    dialogue.event(publisher, publisher.publish(TRADE))
    publisher.publish(TRADE)
    dialogue.event(publisher, publisher.publish(TRADE))
    assert dialogue.got == [frame(TRADE, 1)]
    assert [(want.prefix, want.from_sequence) for want in dialogue.answer_wants(publisher)] == [(TRADE, 2)]
    assert dialogue.got == [frame(TRADE, 1), frame(TRADE, 2), frame(TRADE, 3)]
    assert dialogue.reader.gaps == 1
    assert dialogue.reader.take_synced() is None


def test_a_lost_last_message_is_seen_in_the_next_heartbeat() -> None:
    publisher = Publisher(1)
    dialogue = synced(publisher)
    publisher.publish(TRADE)
    dialogue.beat(publisher)
    dialogue.answer_wants(publisher)
    assert dialogue.got == [frame(TRADE, 1)]


def test_a_heartbeat_about_topics_that_are_not_read_asks_for_nothing() -> None:
    publisher = Publisher(1)
    dialogue = synced(publisher)
    publisher.publish("sys.execution.alert")
    dialogue.beat(publisher)
    assert dialogue.reader.take_wants() == []


def test_a_new_epoch_starts_over_and_is_announced_again() -> None:
    old = Publisher(1)
    old.publish(TRADE, "a")
    dialogue = synced(old)
    new = Publisher(2)
    first = new.publish(TRADE, "a")
    dialogue.event(new, first)
    dialogue.answer_wants(new)
    assert dialogue.got == [frame(TRADE, 1), frame(TRADE, 1)]
    assert dialogue.reader.take_synced() == 2


def test_an_answer_of_another_epoch_is_not_used_and_asked_for_again() -> None:
    old, new, dialogue = Publisher(1), Publisher(2), Dialogue()
    old.publish(TRADE)
    dialogue.beat(new)
    (want,) = dialogue.reader.take_wants()
    assert dialogue.reader.on_replay(want, old.epoch, [parsed(frame(TRADE, 1))], {TRADE: 1}) == []
    assert dialogue.answer_wants(new) == [want]
    assert dialogue.reader.take_synced() == 2


def test_an_answer_that_a_restart_has_overtaken_changes_nothing() -> None:
    old, new, dialogue = Publisher(1), Publisher(2), Dialogue()
    dialogue.beat(old)
    (want,) = dialogue.reader.take_wants()
    dialogue.beat(new)
    assert dialogue.reader.on_replay(want, 1, [parsed(frame(TRADE, 1))], {TRADE: 1}) == []
    dialogue.reader.on_no_answer(want)
    assert len(dialogue.reader.take_wants()) == 1


def test_a_replay_that_is_not_answered_is_wanted_again() -> None:
    dialogue, publisher = Dialogue(), Publisher(1)
    dialogue.beat(publisher)
    (want,) = dialogue.reader.take_wants()
    assert dialogue.reader.take_wants() == []
    dialogue.reader.on_no_answer(want)
    assert dialogue.reader.take_wants() == [want]


def test_a_replay_larger_than_a_page_is_fetched_page_by_page() -> None:
    publisher, dialogue = Publisher(1), Dialogue()
    for _ in range(20):
        publisher.publish(TRADE)
        publisher.publish(ORDER)
    dialogue.beat(publisher)
    answered = dialogue.answer_wants(publisher, max_bytes=100)
    assert len(answered) > 5
    for topic in (TRADE, ORDER):
        assert [data for data in dialogue.got if parsed(data)[0] == topic] == [frame(topic, n) for n in range(1, 21)]
    assert dialogue.reader.take_synced() == 1


def test_what_the_publisher_has_forgotten_is_counted_as_lost_and_not_asked_for_for_ever() -> None:
    dialogue, publisher = Dialogue(), Publisher(1)
    dialogue.beat(publisher)
    (want,) = dialogue.reader.take_wants()
    dialogue.reader.on_replay(want, 1, [], {TRADE: 4})
    assert (dialogue.reader.lost, dialogue.reader.take_wants()) == (4, [])
    assert dialogue.reader.take_synced() == 1


def test_the_store_forgets_the_entity_that_changed_longest_ago() -> None:
    store = EventStore(limit_per_topic=2)
    stream = store.stream(TRADE)
    for key in ("a", "b", "a", "c"):
        stream.newest += 1
        stream.keep(key, frame(TRADE, stream.newest))
    assert store.replay("exec.", 0, 1 << 20) == (frame(TRADE, 3), frame(TRADE, 4))
    assert store.newest() == {TRADE: 4}


def test_the_store_keeps_its_limit_and_at_most_an_eighth_more_whatever_is_published() -> None:
    store = EventStore(limit_per_topic=80)
    stream = store.stream(TRADE)
    for number in range(1_000):
        stream.newest += 1
        stream.keep("" if number % 3 else f"entity {number % 7}", frame(TRADE, stream.newest))
        kept = store.replay("exec.", 0, 1 << 20)
        assert min(number // 2, 80) <= len(kept) <= 90
        assert kept[-1] == frame(TRADE, number + 1)


def test_a_resync_gives_everything_again() -> None:
    publisher = Publisher(1)
    publisher.publish(TRADE)
    dialogue = synced(publisher)
    dialogue.reader.resync()
    dialogue.answer_wants(publisher)
    assert dialogue.got == [frame(TRADE, 1), frame(TRADE, 1)]
    assert dialogue.reader.take_synced() == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["publish", "publish", "publish", "lose", "beat", "answer", "repeat", "restart", "no_answer"]
            ),
            st.sampled_from([TRADE, ORDER]),
            st.sampled_from(["", "a", "b"]),
        ),
        max_size=60,
    )
)
def test_whatever_is_lost_repeated_or_restarted_the_reader_ends_with_every_entity_in_order(
    steps: list[tuple[str, str, str]],
) -> None:
    publisher, dialogue = Publisher(1), Dialogue()
    newest: dict[tuple[str, str | int], bytes] = {}
    last_event: tuple[str, int, bytes] | None = None
    epoch_start = 0
    for action, topic, key in steps:
        if action in ("publish", "lose"):
            event = publisher.publish(topic, key)
            newest[topic, key or event[1]] = event[2]
            if action == "publish":
                if dialogue.reader.epoch != publisher.epoch:
                    epoch_start = len(dialogue.got)
                dialogue.event(publisher, event)
                last_event = event
        elif action == "beat":
            if dialogue.reader.epoch != publisher.epoch:
                epoch_start = len(dialogue.got)
            dialogue.beat(publisher)
        elif action == "answer":
            if dialogue.reader.epoch == publisher.epoch:
                dialogue.answer_wants(publisher, max_bytes=40)
        elif action == "repeat" and last_event is not None:
            dialogue.event(publisher, last_event)
        elif action == "no_answer":
            for want in dialogue.reader.take_wants():
                dialogue.reader.on_no_answer(want)
        elif action == "restart":
            publisher, newest, last_event = Publisher(publisher.epoch + 1), {}, None
    if dialogue.reader.epoch != publisher.epoch:
        epoch_start = len(dialogue.got)
    for _ in range(2):
        dialogue.beat(publisher)
        dialogue.answer_wants(publisher, max_bytes=40)
    got = dialogue.got[epoch_start:]
    assert set(newest.values()) <= set(got)
    for topic in (TRADE, ORDER):
        sequences = [parsed(data)[1] for data in got if parsed(data)[0] == topic]
        assert sequences == sorted(set(sequences))
    assert dialogue.reader.lost == 0


def test_a_sequence_that_the_publisher_does_not_know_of_is_asked_for_once_and_given_up() -> None:
    publisher = Publisher(epoch=1)
    publisher.publish(TRADE)
    dialogue = synced(publisher)
    dialogue.event(publisher, (TRADE, 1 << 62, b"forged"))
    answered = dialogue.answer_wants(publisher)
    assert [want.from_sequence for want in answered] == [2]
    assert (dialogue.reader.unfounded, dialogue.reader.syncing()) == (1, False)
    dialogue.event(publisher, publisher.publish(TRADE))
    assert dialogue.got[-1] == frame(TRADE, 2)
    assert b"forged" not in dialogue.got


def test_a_newer_message_that_overtakes_the_replay_it_caused_is_still_delivered() -> None:
    publisher = Publisher(epoch=1)
    dialogue = synced(publisher)
    publisher.publish(TRADE)
    dialogue.event(publisher, publisher.publish(TRADE))
    (want,) = dialogue.reader.take_wants()
    events = [parsed(data) for data in publisher.store.replay(want.prefix, want.from_sequence, 1 << 20)]
    newest = publisher.store.newest()
    publisher.publish(TRADE)
    dialogue.event(publisher, publisher.publish(TRADE))
    dialogue.got += dialogue.reader.on_replay(want, 1, events, newest)
    dialogue.answer_wants(publisher)
    assert dialogue.got == [frame(TRADE, number) for number in (1, 2, 3, 4)]
    assert dialogue.reader.unfounded == 0


def test_topics_without_end_are_not_kept() -> None:
    publisher = Publisher(epoch=1)
    dialogue = synced(publisher)
    dialogue.reader.on_newest(1, {f"exec.account{number}.trade": 7 for number in range(100_000)})
    assert len(dialogue.reader.take_wants()) <= 1_000
    assert dialogue.reader.unfounded >= 99_000


def test_a_publisher_that_answers_with_old_messages_only_is_not_asked_for_ever() -> None:
    publisher = Publisher(epoch=1)
    publisher.publish(TRADE)
    dialogue = synced(publisher)
    dialogue.reader.on_newest(1, {TRADE: 5})
    for _ in range(3):
        for want in dialogue.reader.take_wants():
            dialogue.got += dialogue.reader.on_replay(want, 1, [(TRADE, 1, b"old")], {TRADE: 5})
    assert (dialogue.reader.syncing(), dialogue.reader.lost) == (False, 4)
    assert b"old" not in dialogue.got
