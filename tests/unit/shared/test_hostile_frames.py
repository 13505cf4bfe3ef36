"""Whatever arrives at a socket is read or refused with its kind, quickly, and nothing else happens."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bus.frames import MAX_TOPIC_BYTES, FrameError, Header, decode_frame, encode_frame, split_frame
from shared.messages.base import Message
from shared.messages.figures import DIGITS_MAX, MAGNITUDE_MAX, check_of
from shared.messages.trades import ListTrades, OrderList, OrderUpdate, TellTrade
from tests.hostile import WILD_DECIMALS, Forger, absurd, all_messages, as_received, refusal_of, wire
from tests.unit.shared.samples import halt, heartbeat

KINDS = {None, "oversize", "garbage", "unknown_schema", "wrong_body"}
MANY = settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
HEADER = Header("execution", 1, 1, "m", "", 1)


def order(**changes: Any) -> OrderUpdate:
    fields: dict[str, Any] = {
        "client_order_id": 1,
        "venue_order_id": None,
        "account_id": "main",
        "trade_id": "t1",
        "leg_index": 0,
        "purpose": "open",
        "attempt": 0,
        "symbol": "BTCUSD-1JAN27-100000-C",
        "side": "buy",
        "quantity": Decimal("0.5"),
        "price": Decimal("120.5"),
        "filled_quantity": Decimal(0),
        "average_price": None,
        "state": "WORKING",
        "reason": "",
        "reduce_only": False,
        "created_ns": 1,
        "updated_ns": 1,
    }
    return OrderUpdate(**{**fields, **changes})


@pytest.mark.parametrize("seed", range(5))
def test_thousands_of_forged_frames_are_read_or_refused_with_a_kind(seed: int) -> None:
    samples: list[Message] = [halt(1), heartbeat(), order(), ListTrades(), TellTrade(trade_id="t1")]
    forger = Forger(seed, "exec.main.order", "execution", samples, large_bytes=1 << 20)
    kinds = {refusal_of(data) for data in forger.frames(2_000)}
    assert kinds <= KINDS
    assert {None, "garbage", "unknown_schema", "wrong_body"} <= kinds


@pytest.mark.long
@MANY
@given(st.data())
def test_every_absurd_message_comes_back_as_it_was_or_is_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(all_messages()))
    message = data.draw(absurd(kind))
    try:
        frame = encode_frame("exec.main.order", HEADER, message)
    except UnicodeEncodeError:
        return
    kind_of_refusal = refusal_of(frame)
    assert kind_of_refusal in (None, "wrong_body")
    if kind_of_refusal is None:
        assert encode_frame("exec.main.order", HEADER, decode_frame(frame).message) == frame


@pytest.mark.parametrize("text", WILD_DECIMALS)
def test_a_figure_that_no_price_can_be_is_refused_and_its_field_named(text: str) -> None:
    message = OrderList(orders=(order(), order(price=Decimal(text))))
    with pytest.raises(FrameError, match=r"wrong_body: order_list\.1: orders\.price is") as refused:
        decode_frame(encode_frame("reply", HEADER, message))
    assert len(str(refused.value)) < 200


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=12))
def test_figures_of_a_desk_pass(value: Decimal) -> None:
    assert as_received(order(price=value)) == order(price=value)


def test_the_bounds_of_figures_are_beyond_those_of_28_digit_arithmetic() -> None:
    smallest = Decimal(1) / Decimal(3) / Decimal(10**20)
    largest = Decimal(10**MAGNITUDE_MAX)
    for value in (smallest, largest, -largest, Decimal(0), Decimal("0e-20")):
        assert as_received(order(price=value)) is not None
    assert as_received(order(price=largest * 10)) is None
    assert as_received(order(price=Decimal("0." + "1" * DIGITS_MAX))) is None


@pytest.mark.parametrize("kind", all_messages(), ids=lambda kind: kind.__name__)
def test_every_decimal_of_every_message_is_checked(kind: type[Message]) -> None:
    holds_decimals = "decimal" in str(msgspec.json.schema_components([kind], ref_template="{name}"))
    assert (check_of(kind) is not None) == holds_decimals


@pytest.mark.parametrize(
    ("at", "value"), [(1, "p" * 65), (4, "i" * 257), (5, "i" * 257), (2, -1), (3, 1 << 63), (6, -1)]
)
def test_a_header_that_nobody_of_ours_makes_is_refused(at: int, value: Any) -> None:
    fields = ["halt_state.1", "execution", 1, 1, "m", "", 1, {"schema": "halt_state.1"}]
    fields[at] = value
    assert refusal_of(wire(b"exec.main.halt", *fields)) == "garbage"


def test_what_is_kept_of_a_frame_without_a_topic_is_small() -> None:
    with pytest.raises(FrameError, match="garbage") as refused:
        split_frame(b"exec." + bytes([1]) * 1_000_000)
    assert len(refused.value.detail) <= MAX_TOPIC_BYTES
    assert refusal_of(b"x" * (MAX_TOPIC_BYTES + 1) + b"\0\x90") == "garbage"


@pytest.mark.parametrize("declared", [b"\xdd", b"\xdf", b"\xdb", b"\xc6"])
def test_a_declared_length_of_gigabytes_is_refused_without_the_memory(declared: bytes) -> None:
    head = msgspec.msgpack.encode(["trade_list.1", "execution", 1, 1, "m", "", 1])[1:]
    body = b"\x82\xa6schema\xactrade_list.1\xa6trades"
    tracemalloc.start()
    try:
        assert refusal_of(b"reply\0\x98" + head + body + declared + b"\xff\xff\xff\xff") == "garbage"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
