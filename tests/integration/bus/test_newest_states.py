"""A reader that comes late is told the newest of each state, and need not wait for its next message."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shared.bus import Bus
from shared.bus.frames import decode_frame
from shared.clock import Clock
from shared.messages.market import IndexPrice
from shared.messages.on_demand import OrderBook
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.system import GetStates, StatesAnswer
from shared.messages.topics import book_topic
from tests.integration.bus.harness import Heard, make_desk, open_service, until
from tests.unit.shared.samples import heartbeat

PREFIXES = ("md.BTCUSD.instruments", "md.BTCUSD.index")
INDEX_TOPIC = "md.BTCUSD.index"
SYMBOL = "BTCUSD-25DEC26-100000-C"


class SetClock(Clock):
    """Stands still, so that nothing gets older than it is meant to be."""

    at_ns = 1_800_000_000_000_000_000

    def now_ns(self) -> int:
        return self.at_ns


def price(value: float, underlying: str = "BTCUSD") -> IndexPrice:
    return IndexPrice(underlying=underlying, price=value, venue_ns=1, received_ns=1)


def prices(heard: Heard) -> list[float]:
    return [message.price for message in heard.messages(INDEX_TOPIC) if isinstance(message, IndexPrice)]


async def test_a_late_subscriber_is_told_the_newest_state_after_it_is_synced(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("marketdata", desk, clock=SetClock())
    for value in (1.0, 2.0):
        publisher.publish(INDEX_TOPIC, price(value))
    publisher.publish("md.ETHUSD.index", price(3.0, "ETHUSD"))
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("marketdata", PREFIXES, heard.append)
    await until(lambda: prices(heard))
    assert [type(item) for item in heard[:1]] == [StreamSynced]
    assert prices(heard) == [2.0]
    publisher.publish(INDEX_TOPIC, price(4.0))
    await until(lambda: prices(heard) == [2.0, 4.0])
    assert not heard.messages("md.ETHUSD.index")
    reader.close()
    publisher.close()


async def test_a_state_that_came_before_the_events_is_told_again_after_them(tmp_path: Path) -> None:
    """A chain says nothing to who does not have the list of its instruments yet."""
    desk = make_desk(tmp_path)
    publisher = Bus("marketdata", desk, clock=SetClock())
    publisher.open(lambda newest: heartbeat("marketdata", newest), replays=False)
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("marketdata", PREFIXES, heard.append)
    value = 0.0
    while not heard:
        value += 1.0
        publisher.publish(INDEX_TOPIC, price(value))
        await asyncio.sleep(0.05)
    assert not heard.synced()
    publisher.all_told()
    await until(heard.synced)
    await until(lambda: isinstance(heard[-1], Inbound))
    assert prices(heard)[-1] == value
    assert heard.index(StreamSynced("marketdata", publisher.epoch)) < len(heard) - 1
    reader.close()
    publisher.close()


async def test_a_core_that_was_built_anew_is_told_the_newest_state_again(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("marketdata", desk, clock=SetClock())
    publisher.publish(INDEX_TOPIC, price(1.0))
    heard = Heard()
    reader = Bus("risk", desk)
    reader.subscribe("marketdata", PREFIXES, heard.append)
    await until(lambda: prices(heard) == [1.0])
    reader.resync()
    await until(lambda: prices(heard) == [1.0, 1.0])
    reader.close()
    publisher.close()


async def test_a_state_older_than_its_longest_normal_silence_is_not_told(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    clock = SetClock()
    publisher = open_service("marketdata", desk, clock=clock)
    publisher.publish(INDEX_TOPIC, price(1.0))
    reader = Bus("risk", desk)
    clock.at_ns += 6_000_000_000
    answer = await reader.ask("marketdata", GetStates(prefix="md."), 60_000)
    assert answer == StatesAnswer(frames=())
    reader.close()
    publisher.close()


async def test_heartbeats_and_what_only_some_asked_for_are_not_told(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    publisher = open_service("marketdata", desk, clock=SetClock())
    book = OrderBook(
        symbol=SYMBOL, underlying="BTCUSD", venue_ns=1, received_ns=1, source="stream", missing="", bids=b"", asks=b""
    )
    publisher.publish(book_topic("BTCUSD", SYMBOL), book)
    publisher.publish(INDEX_TOPIC, price(1.0))
    reader = Bus("risk", desk)
    answer = await reader.ask("marketdata", GetStates(prefix=""), 60_000)
    assert isinstance(answer, StatesAnswer)
    assert [decode_frame(frame).topic for frame in answer.frames] == [INDEX_TOPIC]
    reader.close()
    publisher.close()
