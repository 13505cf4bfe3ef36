"""The message catalogue is made from the code, complete, and its example reads what the desk sends."""

from __future__ import annotations

import asyncio
import sys
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from shared.bus.frames import Header, encode_frame
from shared.messages.base import Message
from shared.messages.catalogue import REQUESTS, catalogue
from shared.messages.control import GetAccount, LiftHalts, ListStrategies, RaiseHalt, StrategyCommand
from shared.messages.market import CHAIN_COLUMNS, ChainSnapshot
from shared.messages.topics import TOPICS
from shared.messages.trades import CancelOrders, CloseTrade, ListOrders, ListTrades, OrderFilled, Refusal, TellTrade
from shared.options.chain import pack_columns
from tests.docs.pages import blocks, page
from tests.integration.bus.harness import HALT_TOPIC, halt_of, make_desk, open_service
from tests.unit.shared.test_messages import all_messages
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange, three_strategies
from world.simulate import START_NS


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page's Python blocks define. Any msgpack decoder serves; here it is msgspec's, used without types."""
    library = types.ModuleType("msgpack")
    library.unpackb = msgspec.msgpack.decode  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "msgpack", library)
    names: dict[str, Any] = {"CHAIN_COLUMNS": CHAIN_COLUMNS}
    for block in blocks(page("messages.md"), "python"):
        exec(compile(block.code, "docs/messages.md", "exec"), names)
    return names


def test_the_page_is_made_from_the_messages_of_today() -> None:
    assert page("messages.md") == catalogue(), "run: python -m shared.messages.catalogue > docs/messages.md"


def test_every_message_has_its_place_as_topic_request_or_answer() -> None:
    placed = {row.message for row in TOPICS} | {Refusal}
    for _, request, answers in REQUESTS:
        placed |= {request, *answers}
    assert placed == set(all_messages())


def test_every_link_of_the_page_leads_to_a_heading_of_it() -> None:
    text = catalogue()
    headings = {line.lstrip("# ").lower() for line in text.splitlines() if line.startswith("#")}
    for part in text.split("](#")[1:]:
        assert part.partition(")")[0] in headings


def test_the_example_reads_topic_header_and_body_of_a_frame(example: dict[str, Any]) -> None:
    fill = OrderFilled(
        client_order_id=1 << 62,
        venue_trade_id=7,
        account_id="main",
        trade_id="t1",
        leg_index=0,
        purpose="open",
        symbol="BTCUSD-28SEP26-100000-C",
        side="buy",
        quantity=Decimal("0.1"),
        price=Decimal("0.0001"),
        fee_usd=Decimal(0),
        is_taker=True,
        venue_ns=5,
    )
    frame = encode_frame("exec.main.fill", Header("execution", 3, 12, "m1", "c1", 99), fill)
    topic, header, body = example["read_frame"](frame)
    assert topic == "exec.main.fill"
    assert header == {
        "schema": "order_filled.2",
        "publisher": "execution",
        "epoch": 3,
        "sequence": 12,
        "message_id": "m1",
        "cause_id": "c1",
        "published_ns": 99,
    }
    assert body["schema"] == "order_filled.2"
    assert body["price"] == "0.0001"
    assert body["client_order_id"] == 1 << 62


def test_the_example_reads_the_columns_of_a_chain(example: dict[str, Any]) -> None:
    chain = ChainSnapshot(
        underlying="BTCUSD",
        list_id="l1",
        venue_ns=1,
        received_ns=2,
        index_price=100_000.0,
        index_received_ns=2,
        matrix=pack_columns({"bid": np.array([10.0, 11.0]), "mark": np.array([12.0, np.nan])}, 2),
    )
    _, _, body = example["read_frame"](encode_frame("md.BTCUSD.chain", Header("marketdata", 1, 1, "m", "", 1), chain))
    columns = example["chain_columns"](body)
    assert list(columns["bid"]) == [10.0, 11.0]
    assert columns["mark"][0] == 12.0
    assert np.isnan(columns["mark"][1])


async def test_the_example_follows_a_service_that_publishes(example: dict[str, Any], tmp_path: Path) -> None:
    bus = open_service("execution", make_desk(tmp_path))
    frames = example["follow"](f"ipc://{tmp_path}/run/main/sockets/execution.events", "exec.")
    heard = asyncio.ensure_future(asyncio.to_thread(next, frames))
    try:
        for epoch in range(1, 1_500):
            bus.publish(HALT_TOPIC, halt_of("main", epoch))
            await asyncio.wait([heard], timeout=0.01)
            if heard.done():
                break
        topic, header, body = heard.result()
        assert (topic, header["publisher"], header["schema"]) == (HALT_TOPIC, "execution", "halt_state.1")
        assert body["halt_epoch"] == header["sequence"]
    finally:
        bus.close()
        frames.close()


def test_requests_are_answered_as_the_page_says() -> None:
    desk = Desk(Engine(START_NS, 1), Faults.none(), three_strategies(1), small_exchange(1))
    desk.engine.run_until(START_NS + 20 * SECOND)
    trade_id = next(iter(desk.book.trades))
    questions: list[Message] = [
        ListTrades(),
        ListOrders(),
        TellTrade(trade_id=trade_id),
        GetAccount(),
        ListStrategies(),
        StrategyCommand(action="pause", strategy="*", requested_by="test"),
        CancelOrders(requested_by="test"),
        CloseTrade(trade_id=trade_id, reason="test", requested_by="test"),
        RaiseHalt(level="no_new_trades", reason="test", requested_by="test"),
        LiftHalts(requested_by="test"),
    ]
    table = {request: (service, answers) for service, request, answers in REQUESTS}
    heard = {
        type(question): desk.operate_at(desk.engine.now_ns + SECOND, table[type(question)][0], question, f"q{number}")
        for number, question in enumerate(questions)
    }
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    for kind, answers in heard.items():
        assert [type(answer) for answer in answers] == list(table[kind][1]), kind
