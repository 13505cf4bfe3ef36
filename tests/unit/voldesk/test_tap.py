"""The bus as it is told: one line a message, and JSON that every reader takes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from decimal import Decimal

import msgspec
import pytest

from shared.bus.frames import Frame, Header
from shared.messages.base import Message
from shared.messages.market import ChainSnapshot
from shared.messages.on_demand import OrderBook
from shared.messages.trades import OrderUpdate
from shared.options.chain import pack_columns
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import OPENED_NS, ORDER, STRATEGY, TRADE
from voldesk.bus_json import frame_json, frame_line, json_value
from voldesk.completion import complete_topic
from voldesk.listening import publishers_of


def silent(message: Message) -> None:
    return None


def frame(topic: str, message: Message) -> Frame:
    return Frame(topic, Header("execution", 2**60, 7, "m7", "m6", OPENED_NS), message)


@pytest.fixture
def desk(peers: Peers) -> Peers:
    peers.answer("execution", silent)
    peers.answer("strategy", silent)
    return peers


def test_retained_events_come_first_with_replay_and_in_order(desk: Peers) -> None:
    desk.publish("execution", "exec.acc1.trade", TRADE)
    desk.publish("execution", "exec.acc1.order", ORDER)
    ran = Ran("tap", "exec.", "--replay", "-n", "2", "--json")
    assert ran.code == 0
    told = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["topic"] for row in told] == ["exec.acc1.trade", "exec.acc1.order"]
    assert (told[1]["schema"], told[1]["publisher"], told[1]["sequence"]) == ("order.1", "execution", 1)
    assert told[1]["body"]["client_order_id"] == str(ORDER.client_order_id)


def test_only_what_is_said_from_now_on_is_shown_without_replay(desk: Peers) -> None:
    desk.publish("execution", "exec.acc1.trade", TRADE)
    later = msgspec.structs.replace(TRADE, trade_id="t7")
    desk.publish("execution", "exec.acc1.order", ORDER)
    desk.publish("execution", "exec.acc1.trade", later, every_s=0.05)
    ran = Ran("tap", "exec.acc1.trade", "-n", "1")
    assert ran.code == 0
    assert " exec.acc1.trade trade_id=t7 " in ran.out
    assert ran.out.count("\n") == 1


def test_overlapping_topics_of_several_services_come_once(desk: Peers) -> None:
    desk.publish("execution", "exec.acc1.order", ORDER)
    desk.publish("strategy", "strat.demo_strangle.status", STRATEGY, every_s=0.05)
    ran = Ran("tap", "exec.", "exec.acc1.order", "strat.", "--replay", "-n", "3", "--json")
    topics = [json.loads(line)["topic"] for line in ran.out.splitlines()]
    assert topics.count("exec.acc1.order") == 1
    assert topics.count("strat.demo_strangle.status") == 2


def test_a_desk_that_does_not_answer_is_not_reachable(peers: Peers) -> None:
    ran = Ran("tap", "risk.")
    assert (ran.code, ran.out) == (69, "")
    assert ran.err == "voldesk: risk does not answer; see `voldesk status`, then `voldesk up`\n"


@pytest.mark.parametrize(
    ("prefix", "publishers"),
    [
        ("", ("marketdata", "risk", "execution", "strategy", "exchange", "monitor")),
        ("md.BTCUSD.chain", ("marketdata",)),
        ("md.DOGEUSD", ()),
        ("exec.other", ()),
        ("strat.any_name.status", ("strategy",)),
        ("strat.any_name.stat", ("strategy",)),
        ("strat.any_name.bogus", ()),
        ("sys.risk.heartbeat", ("risk",)),
        ("sys.risk.heartbeats", ()),
        ("book.BTCUSD.BTCUSD-4DEC26-100000-C", ("marketdata",)),
        ("book.BTCUSD.BTCUSD-4DEC26-100000-C.more", ()),
        ("book.DOGEUSD.", ()),
    ],
)
def test_a_prefix_names_the_services_that_publish_it(peers: Peers, prefix: str, publishers: tuple[str, ...]) -> None:
    assert sorted(publishers_of(peers.desk, prefix)) == sorted(publishers)


def test_topics_are_completed_part_by_part(peers: Peers) -> None:
    assert complete_topic("e") == ["exec."]
    assert complete_topic("exec.") == ["exec.acc1."]
    assert "exec.acc1.order" in complete_topic("exec.acc1.")


def test_what_json_cannot_hold_keeps_its_digits() -> None:
    big = json_value({"id": 2**53 + 1, "small": 2**53, "nan": float("nan"), "inf": float("-inf"), "raw": b"\x00\xff"})
    assert big == {"id": str(2**53 + 1), "small": 2**53, "nan": None, "inf": "-inf", "raw": "AP8="}
    assert json_value(Decimal("1E-7")) == "0.0000001"
    told = frame_json(frame("exec.acc1.order", ORDER))
    assert told["epoch"] == str(2**60)
    assert told["body"]["quantity"] == "0.1"
    assert list(told["body"]) == list(OrderUpdate.__struct_fields__)
    json.dumps(told, allow_nan=False)


def test_a_chain_is_a_size_on_a_line_and_columns_in_json() -> None:
    import numpy as np

    chain = ChainSnapshot(
        underlying="BTCUSD",
        list_id="l",
        venue_ns=OPENED_NS,
        received_ns=OPENED_NS,
        index_price=float("nan"),
        index_received_ns=0,
        matrix=pack_columns({"bid": np.array([1.5, np.nan, 3.0])}, 3),
    )
    whole = frame("md.BTCUSD.chain", chain)
    assert "matrix=16×3" in frame_line(whole)
    told = frame_json(whole)
    assert told["body"]["columns"]["bid"] == [1.5, None, 3.0]
    assert told["body"]["columns"]["ask"] == [None, None, None]
    assert told["body"]["index_price"] is None
    broken = frame("md.BTCUSD.chain", msgspec.structs.replace(chain, matrix=b"abc"))
    assert frame_json(broken)["body"]["columns"] == "YWJj"
    assert "\n" not in frame_line(broken)


def test_an_order_book_is_a_count_on_a_line_and_pairs_in_json() -> None:
    from shared.options.book import pack_levels

    book = OrderBook(
        symbol="BTCUSD-4DEC26-100000-C",
        underlying="BTCUSD",
        venue_ns=OPENED_NS,
        received_ns=OPENED_NS,
        source="stream",
        missing="",
        bids=pack_levels([(10.0, 1.0), (9.0, 2.0)]),
        asks=b"",
    )
    whole = frame("book.BTCUSD.BTCUSD-4DEC26-100000-C", book)
    assert "bids=2 levels asks=0 levels" in frame_line(whole)
    told = frame_json(whole)["body"]
    assert (told["bids"], told["asks"]) == ([[10.0, 1.0], [9.0, 2.0]], [])
    broken = frame("book.BTCUSD.X", msgspec.structs.replace(book, bids=b"abc"))
    assert frame_json(broken)["body"]["bids"] == "YWJj"


def test_ctrl_c_ends_with_130_and_a_reader_that_leaves_ends_it_quietly(desk: Peers) -> None:
    desk.publish("strategy", "strat.demo_strangle.status", STRATEGY, every_s=0.02)
    command = [sys.executable, "-c", "from voldesk.main import app; app()", "tap", "strat."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
        assert running.stderr.read() == b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.wait(timeout=60) == 0
        assert running.stderr.read() == b""
