from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.messages.market import IndexPrice
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.system import Alert, GetStatus, Replay
from tests.integration.bus.harness import (
    HALT_TOPIC,
    ROOT,
    Heard,
    execution_process,
    free_base_port,
    halt_of,
    make_desk,
    open_service,
    raise_halt,
    until,
)
from tests.unit.shared.samples import heartbeat

INDEX_TOPIC = "md.BTCUSD.index"


def price(value: float) -> IndexPrice:
    return IndexPrice(underlying="BTCUSD", price=value, venue_ns=1, received_ns=1)


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
async def test_a_subscriber_that_comes_first_gets_every_event_once_the_publisher_is_there(
    tmp_path: Path, transport: str
) -> None:
    desk = make_desk(tmp_path, f'transport = "{transport}"\nbase_port = {free_base_port()}')
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    await asyncio.sleep(0.2)
    publisher = open_service("execution", desk)
    for number in range(1, 6):
        publisher.publish(HALT_TOPIC, halt_of(str(number), number))
    await until(lambda: heard.halts() == [1, 2, 3, 4, 5] and heard.synced() == [publisher.epoch])
    publisher.publish(HALT_TOPIC, halt_of("6", 6))
    await until(lambda: heard.halts() == [1, 2, 3, 4, 5, 6])
    reader.close()
    publisher.close()


async def test_a_late_subscriber_gets_the_newest_of_each_entity_and_then_synced(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    for account_id, number in (("a", 1), ("b", 2), ("a", 3)):
        publisher.publish(HALT_TOPIC, halt_of(account_id, number))
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    await until(heard.synced)
    assert heard.halts() == [2, 3]
    assert isinstance(heard[-1], StreamSynced)
    reader.close()
    publisher.close()


async def test_a_subscriber_of_a_publisher_without_events_is_told_that_it_is_synced(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    await until(lambda: list(heard) == [StreamSynced("execution", publisher.epoch)])
    reader.close()
    publisher.close()


async def test_a_publisher_that_has_to_tell_anew_is_not_read_as_one_that_has_nothing_to_tell(tmp_path: Path) -> None:
    """A reader that is synced forgets what it was not told of: a trade of before the publisher's death, for one."""
    desk = make_desk(tmp_path)
    heard = Heard()
    reader = Bus("strategy", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    publisher = Bus("execution", desk)
    publisher.open(lambda newest: heartbeat("execution", newest), replays=False)
    # the reader's request has come: what it asks for is put off, and nothing else is
    answer = asyncio.create_task(reader.ask("execution", Replay(prefix="exec.", from_sequence=0), 60_000))
    await reader.ask("execution", GetStatus(), 60_000)
    for _ in range(20):
        publisher.beat()
        await asyncio.sleep(0.01)
    assert (heard.synced(), answer.done()) == ([], False)
    publisher.publish(HALT_TOPIC, halt_of("main", 7))
    publisher.all_told()
    await until(lambda: heard.synced() == [publisher.epoch], "it is synced")
    assert heard.halts() == [7]
    assert isinstance(heard[-1], StreamSynced)
    assert await answer
    reader.close()
    publisher.close()


async def test_messages_say_who_sent_them_and_because_of_what(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    message_id = publisher.publish(HALT_TOPIC, halt_of("a", 1), cause_id="strategy.1.1")
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    await until(heard.halts)
    first = heard[0]
    assert isinstance(first, Inbound)
    assert first.published_ns > 0
    assert first == Inbound(HALT_TOPIC, halt_of("a", 1), message_id, "execution", publisher.epoch, first.published_ns)
    reader.close()
    publisher.close()


async def test_the_delay_of_live_messages_is_measured_by_pattern_and_that_of_replayed_ones_is_not(
    tmp_path: Path,
) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    first, heard = Heard(), Heard()
    earlier = Bus("monitor", desk)
    earlier.subscribe("execution", ["exec."], first.append)
    await until(first.synced)
    publisher.publish(HALT_TOPIC, halt_of("early", 1))
    # what an earlier reader has got has left the publisher: to a later one it is replayed
    await until(lambda: first.halts() == [1])
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    await until(heard.synced)
    assert heard.halts() == [1]
    for epoch in (2, 3, 4):
        publisher.publish(HALT_TOPIC, halt_of("main", epoch))
    await until(lambda: heard.halts() == [1, 2, 3, 4])
    counts, sum_s = reader.counts.delays["exec.{account}.halt"].read()
    assert sum(counts) == 3
    assert 0 < sum_s < 3 * 60
    earlier.close()
    reader.close()
    publisher.close()


async def test_states_are_conflated_to_the_newest_and_no_event_is_lost_behind_them(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("marketdata", desk)
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("marketdata", ["md.", "sys."], heard.append)
    await until(heard.synced)
    for number in range(1, 1_001):
        publisher.publish(INDEX_TOPIC, price(float(number)))
        publisher.publish("md.ETHUSD.index", price(float(-number)))
        if number % 100 == 0:
            publisher.publish("sys.marketdata.alert", _alert(number))
    await until(lambda: len(heard.messages("sys.marketdata.alert")) == 10)
    publisher.publish(INDEX_TOPIC, price(2_000.0))
    await until(lambda: price(2_000.0) in heard.messages(INDEX_TOPIC))
    assert len(heard.messages(INDEX_TOPIC)) < 900
    assert reader.counts.conflated > 100
    reader.close()
    publisher.close()


async def test_a_reader_that_is_too_slow_misses_messages_and_gets_all_of_them_by_replay(tmp_path: Path) -> None:
    desk = make_desk(tmp_path, "publish_queue = 1\nevent_queue = 1")
    publisher = open_service("execution", desk)
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    await until(heard.synced)
    for number in range(1, 3_001):
        publisher.publish(HALT_TOPIC, halt_of("x" * 1_000 + str(number), number))
    await until(lambda: len(heard.halts()) == 3_000)
    assert heard.halts() == list(range(1, 3_001))
    assert reader.counts.gaps["execution"] > 0
    assert len(heard.synced()) == 1
    reader.close()
    publisher.close()


async def test_a_publisher_killed_and_restarted_is_read_anew_in_its_new_epoch(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    heard = Heard()
    async with Bus("risk", desk) as reader:
        reader.subscribe("execution", ["exec."], heard.append)
        with execution_process(desk):
            await reader.ask("execution", raise_halt("a"), 60_000)
            await reader.ask("execution", raise_halt("b"), 60_000)
            await until(lambda: heard.halts() == [1, 2])
        with execution_process(desk):
            await until(lambda: len(heard.synced()) == 2)
            await reader.ask("execution", raise_halt("c"), 60_000)
            await until(lambda: heard.halts() == [1, 2, 1])
    first, second = heard.synced()
    assert second > first


async def test_a_subscriber_restarted_gets_what_the_one_before_it_had(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    publisher.publish(HALT_TOPIC, halt_of("a", 1))
    for _ in range(3):
        heard = Heard()
        async with Bus("risk", desk) as reader:
            reader.subscribe("execution", ["exec."], heard.append)
            await until(heard.synced)
        assert heard.halts() == [1]
    publisher.close()


async def test_a_replay_of_many_pages_arrives_whole_and_in_order(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    for number in range(1, 4_001):
        publisher.publish(HALT_TOPIC, halt_of("x" * 1_000 + str(number), number))
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    await until(heard.synced)
    assert heard.halts() == list(range(1, 4_001))
    assert reader.counts.replays["execution"] > 3
    reader.close()
    publisher.close()


async def test_a_resync_hands_everything_over_again(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    publisher.publish(HALT_TOPIC, halt_of("a", 1))
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("execution", ["exec."], heard.append)
    await until(heard.synced)
    reader.resync()
    await until(lambda: len(heard.synced()) == 2)
    assert heard.halts() == [1, 1]
    reader.close()
    publisher.close()


async def test_a_receiver_that_raises_is_reported_and_gets_the_next_message(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("execution", desk)
    errors: list[str] = []
    successes: list[str] = []
    heard = Heard()

    def receive(item: Inbound | StreamSynced) -> None:
        heard.append(item)
        if len(heard) == 2:
            raise ValueError("cannot take this")

    reader = Bus("risk", desk, on_error=lambda source, _: errors.append(source), on_success=successes.append)
    reader.subscribe("execution", ["exec."], receive)
    await until(heard.synced)
    for number in range(1, 4):
        publisher.publish(HALT_TOPIC, halt_of(str(number), number))
    await until(lambda: heard.halts() == [1, 2, 3])
    assert errors == successes == ["execution stream"]
    reader.close()
    publisher.close()


async def test_a_heartbeat_comes_at_once_to_whoever_subscribes_to_it(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = Bus("execution", desk)
    publisher.open(lambda newest: heartbeat("execution", newest))
    heard = Heard()
    reader = Bus("monitor", desk)
    reader.subscribe("execution", ["sys."], heard.append)
    await until(lambda: heard.messages("sys.execution.heartbeat"))
    reader.close()
    publisher.close()


def test_a_bus_that_nobody_closed_does_not_hold_up_the_garbage_collection(tmp_path: Path) -> None:
    leak = (
        "import asyncio, gc\n"
        "from pathlib import Path\n"
        "from tests.integration.bus.harness import make_desk, open_service\n"
        "async def leak():\n"
        f"    bus = open_service('execution', make_desk(Path({str(tmp_path)!r})))\n"
        "    bus.cycle = bus\n"
        "asyncio.run(leak())\n"
        "print(gc.collect() > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", leak], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True\n", done.stderr


async def test_a_prefix_that_no_topic_begins_with_is_refused(tmp_path: Path) -> None:
    async with Bus("risk", make_desk(tmp_path)) as reader:
        with pytest.raises(ValueError, match="no topic of the table begins with exce"):
            reader.subscribe("execution", ["exce."], print)


async def test_publishing_what_the_table_does_not_allow_is_our_own_bug(tmp_path: Path) -> None:
    publisher = open_service("execution", make_desk(tmp_path))
    with pytest.raises(AssertionError, match="not in the table"):
        publisher.publish("exec.main.nothing", halt_of("a", 1))
    with pytest.raises(AssertionError, match="carries HaltState"):
        publisher.publish(HALT_TOPIC, price(1.0))
    publisher.close()


def _alert(number: int) -> Alert:
    return Alert(
        code="c",
        severity="info",
        subject=str(number),
        text="",
        service="marketdata",
        account_id="main",
        mode="paper",
        raised_ns=number,
    )
