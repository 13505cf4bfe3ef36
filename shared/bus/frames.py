"""A message as bytes: topic, a zero byte, one msgpack array of header and body. Pure.

The array is ``[schema, publisher, epoch, sequence, message_id, cause_id, published_ns, body]``; the body is the
message as a msgpack map (or array, where its class says so) that names its schema again.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from shared.messages import (  # noqa: F401  registers them
    account,
    conditions,
    control,
    grants,
    market,
    on_demand,
    system,
    trades,
)
from shared.messages.base import Message, schema_id
from shared.messages.figures import Check, check_of

BodyT = TypeVar("BodyT")

MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_TOPIC_BYTES = 255
"""Longer topics are none of ours: what keeps something per topic must not keep a megabyte of garbage."""

_Name = Annotated[str, Meta(max_length=64)]
_Id = Annotated[str, Meta(max_length=256)]
_Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class Header(msgspec.Struct, frozen=True):
    """Who published what, and because of which message.

    epoch: changes with each start of the publisher. sequence: from 1, contiguous per topic within one epoch; 0 on
    requests and replies. cause_id: id of the message this one follows from, "" if none.
    """

    publisher: str
    epoch: int
    sequence: int
    message_id: str
    cause_id: str
    published_ns: int


class Frame(msgspec.Struct, frozen=True):
    topic: str
    header: Header
    message: Message


class FrameError(ValueError):
    """Bytes that are no message of ours. `kind`: oversize, garbage, unknown_schema, wrong_body."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Envelope(msgspec.Struct, frozen=True):
    """A frame whose header could be read. `body` is the message, or why it could not be read."""

    topic: str
    header: Header
    body: Message | FrameError


class _Wire(msgspec.Struct, Generic[BodyT], frozen=True, array_like=True):
    schema: _Name
    publisher: _Name
    epoch: _Count
    sequence: _Count
    message_id: _Id
    cause_id: _Id
    published_ns: _Count
    body: BodyT


def _kinds(base: type[Message]) -> list[type[Message]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_kinds(child))]


_SCHEMAS: dict[type[Message], str] = {
    kind: schema_id(kind) for kind in _kinds(Message) if kind.__module__.startswith("shared.messages.")
}
_WHOLE: dict[bytes, msgspec.msgpack.Decoder[Any]] = {
    schema.encode(): msgspec.msgpack.Decoder(_Wire[kind])  # type: ignore[valid-type]
    for kind, schema in _SCHEMAS.items()
}
_FIGURES: dict[type[Message], Check] = {kind: check for kind in _SCHEMAS if (check := check_of(kind)) is not None}
_UNREAD = msgspec.msgpack.Decoder(_Wire[msgspec.Raw])
_encoder = msgspec.msgpack.Encoder()
_UNREADABLE = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
_ARRAY_OF_8 = 0x98
_SHORT_TEXT = 0xA0


def schema_ids() -> frozenset[str]:
    """Every schema this process can read."""
    return frozenset(_SCHEMAS.values())


def encode_frame(topic: str, header: Header, message: Message) -> bytes:
    """The bytes of one message on one topic."""
    array = _Wire(
        _SCHEMAS[type(message)],
        header.publisher,
        header.epoch,
        header.sequence,
        header.message_id,
        header.cause_id,
        header.published_ns,
        message,
    )
    return b"%s\0%s" % (topic.encode(), _encoder.encode(array))


def topic_bytes(data: bytes) -> bytes:
    """The topic in front of a frame, undecoded; the beginning of `data` when there is none of a topic's length."""
    end = data.find(b"\0", 0, MAX_TOPIC_BYTES + 1)
    return data[: MAX_TOPIC_BYTES + 1] if end < 0 else data[:end]


def open_frame(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> Envelope:
    """Read a frame. Raises FrameError when not even the header can be read (oversize, garbage), and nothing else."""
    if len(data) > max_bytes:
        raise FrameError("oversize", f"{len(data)} bytes, at most {max_bytes} are read")
    end = data.find(b"\0", 0, MAX_TOPIC_BYTES + 1)
    if end < 0:
        raise FrameError("garbage", "no zero byte after the topic")
    try:
        text = data[:end].decode()
        wire, body = _read(data[end + 1 :])
    except _UNREADABLE as error:
        raise FrameError("garbage", str(error)) from None
    header = Header(wire.publisher, wire.epoch, wire.sequence, wire.message_id, wire.cause_id, wire.published_ns)
    return Envelope(text, header, body)


def read_body(envelope: Envelope) -> Message:
    """The message itself. Raises FrameError (unknown_schema, wrong_body)."""
    if isinstance(envelope.body, FrameError):
        raise envelope.body
    return envelope.body


def _read(array: bytes) -> tuple[_Wire[Any], Message | FrameError]:
    """Header and body in one pass where all is well; in two where the body is what is wrong."""
    decoder = _WHOLE.get(_schema_of(array))
    if decoder is not None:
        try:
            return _checked(decoder.decode(array))
        except _UNREADABLE:
            pass
    unread = _UNREAD.decode(array)
    known = _WHOLE.get(unread.schema.encode())
    if known is None:
        return unread, FrameError("unknown_schema", repr(unread.schema[:80]))
    try:
        return _checked(known.decode(array))
    except _UNREADABLE as error:
        return unread, FrameError("wrong_body", f"{unread.schema}: {error}")


def _checked(wire: _Wire[Message]) -> tuple[_Wire[Message], Message]:
    """What was read, with its decimals checked. Raises ValueError."""
    check = _FIGURES.get(type(wire.body))
    if check is not None:
        check(wire.body, "")
    return wire, wire.body


def _schema_of(array: bytes) -> bytes:
    """The schema id at its usual place, without decoding; b"" when it is not there."""
    if len(array) < 2 or array[0] != _ARRAY_OF_8 or array[1] & 0xE0 != _SHORT_TEXT:
        return b""
    return array[2 : 2 + (array[1] & 0x1F)]


def decode_frame(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> Frame:
    """Read a whole frame. Raises FrameError for anything that is no message of ours."""
    envelope = open_frame(data, max_bytes)
    return Frame(envelope.topic, envelope.header, read_body(envelope))
