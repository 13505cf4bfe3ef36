from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.bus.frames import (
    FrameError,
    Header,
    decode_frame,
    encode_frame,
    open_frame,
    prepare_readers,
    read_body,
    schema_ids,
)
from shared.messages.base import Message
from shared.messages.market import ChainSnapshot
from shared.messages.topics import TOPICS
from tests.unit.shared.samples import halt

HEADER = Header("execution", 7, 3, "execution.7.12", "strategy.1.4", 1_700_000_000_000_000_000)


def all_kinds(base: type[Message] = Message) -> list[type[Message]]:
    return [kind for child in base.__subclasses__() for kind in (child, *all_kinds(child))]


def refusal(data: bytes) -> str | None:
    """Why the bytes are no message of ours; None when they are one."""
    try:
        decode_frame(data)
    except FrameError as error:
        return error.kind
    return None


def test_a_frame_comes_back_as_it_was_sent() -> None:
    frame = decode_frame(encode_frame("exec.main.halt", HEADER, halt(5)))
    assert (frame.topic, frame.header, frame.message) == ("exec.main.halt", HEADER, halt(5))


def test_an_array_like_message_with_bytes_comes_back_as_it_was_sent() -> None:
    chain = ChainSnapshot(
        underlying="BTCUSD",
        list_id="ab",
        venue_ns=1,
        received_ns=2,
        index_price=float("inf"),
        index_received_ns=3,
        matrix=memoryview(bytes(range(256))),
    )
    assert decode_frame(encode_frame("md.BTCUSD.chain", HEADER, chain)).message == chain


def test_any_msgpack_reader_finds_topic_header_and_body() -> None:
    topic, _, array = encode_frame("exec.main.halt", HEADER, halt(5)).partition(b"\0")
    fields = msgspec.msgpack.decode(array)
    assert topic == b"exec.main.halt"
    assert fields[:7] == [
        "halt_state.1",
        "execution",
        7,
        3,
        "execution.7.12",
        "strategy.1.4",
        1_700_000_000_000_000_000,
    ]
    assert fields[7]["halt_epoch"] == 5


def test_every_message_class_can_be_read_and_has_its_own_schema() -> None:
    declared = [kind for kind in all_kinds() if kind.__module__.startswith("shared.messages.")]
    assert len(schema_ids()) == len(declared)
    assert {row.message.__struct_config__.tag for row in TOPICS} <= schema_ids()


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: b"exec.main.halt\0" + tail))
@example(b"\0")
@example(b"\xff\0\x90")
@example(b"x\0" + b"\x91" * 5_000)
def test_any_bytes_decode_or_are_refused_with_a_kind(data: bytes) -> None:
    assert refusal(data) in {None, "garbage", "unknown_schema", "wrong_body"}


@given(st.data())
def test_a_valid_frame_with_changed_bytes_decodes_or_is_refused(data: st.DataObject) -> None:
    frame = bytearray(encode_frame("exec.main.halt", HEADER, halt(5)))
    for _ in range(data.draw(st.integers(1, 5))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    assert refusal(bytes(frame)) in {None, "garbage", "unknown_schema", "wrong_body"}


def test_a_larger_frame_than_allowed_is_refused_before_it_is_read() -> None:
    frame = encode_frame("exec.main.halt", HEADER, halt(5))
    with pytest.raises(FrameError, match="oversize") as refused:
        open_frame(frame, max_bytes=len(frame) - 1)
    assert refused.value.kind == "oversize"


def test_a_schema_of_a_newer_desk_keeps_its_header_readable() -> None:
    array = msgspec.msgpack.encode(["halt_state.9", "execution", 7, 3, "m", "", 5, {"schema": "halt_state.9"}])
    topic, opened = open_frame(b"exec.main.halt\0" + array)
    assert (topic, opened.sequence) == ("exec.main.halt", 3)
    with pytest.raises(FrameError) as refused:
        read_body(opened)
    assert refused.value.kind == "unknown_schema"


def test_a_body_with_a_wrong_type_is_refused() -> None:
    body = {"schema": "halt_state.1", "account_id": 4, "halt_epoch": "x", "halts": []}
    array = msgspec.msgpack.encode(["halt_state.1", "execution", 7, 3, "m", "", 5, body])
    with pytest.raises(FrameError) as refused:
        decode_frame(b"exec.main.halt\0" + array)
    assert refused.value.kind == "wrong_body"


def test_every_kind_of_message_gets_its_reader_a_few_at_a_time() -> None:
    """A kind of which a figure would not be checked has none: that is found here, not at its first message."""
    steps = 1
    while prepare_readers(10):
        steps += 1
        assert steps < 1_000
    assert not prepare_readers(10)
