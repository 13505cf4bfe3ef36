"""A message as bytes: topic, a zero byte, one msgpack array of header and body. Pure.

The array is ``[schema, publisher, epoch, sequence, message_id, cause_id, published_ns, body]``; the body is the
message as a msgpack map (or array, where its class says so) that names its schema again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from shared.messages import (  # noqa: F401  registers them
    account,
    alerts,
    cash,
    conditions,
    control,
    countdowns,
    grants,
    inquiries,
    leverage,
    market,
    on_demand,
    quality,
    quote_requests,
    quoting,
    reconciliation,
    reducing,
    risk,
    system,
    trades,
)
from shared.messages.base import Message, schema_id
from shared.messages.figures import Check, all_usual, check_of, figures_of

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


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """Why the body of a frame could not be read; `kind` and `detail` as in FrameError."""

    kind: str
    detail: str


class Wire(msgspec.Struct, Generic[BodyT], frozen=True, array_like=True, gc=False):
    """The array of a frame: what `Header` says, and the body. In no cycle ever: the collector need not look at it."""

    schema: _Name
    publisher: _Name
    epoch: _Count
    sequence: _Count
    message_id: _Id
    cause_id: _Id
    published_ns: _Count
    body: BodyT


Opened = Wire[Message | Unreadable]
"""A frame whose header could be read. The body is the message, or why it could not be read."""


def _kinds(base: type[Message]) -> list[type[Message]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_kinds(child))]


_SCHEMAS: dict[type[Message], str] = {
    kind: schema_id(kind) for kind in _kinds(Message) if kind.__module__.startswith("shared.messages.")
}
Reader = tuple[Callable[[bytes | memoryview], Any], Check | None]
"""What decodes an array of one schema, and what checks the decimals in its body."""

_KINDS: dict[bytes, type[Message]] = {msgspec.msgpack.encode(schema): kind for kind, schema in _SCHEMAS.items()}
"""By the schema id as it is at the start of an array."""


class _Readers(dict[bytes, Reader]):
    """By the same ids. A reader is made when it is first needed: all of them are 20 ms of a start, and a service
    needs few of them."""

    def __missing__(self, schema: bytes) -> Reader:
        kind = _KINDS[schema]
        decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Wire[kind])  # type: ignore[valid-type]
        made = self[schema] = decoder.decode, check_of(kind)
        return made


_READERS = _Readers()
_unprepared = iter(_KINDS)

_UNREAD = msgspec.msgpack.Decoder(Wire[msgspec.Raw])
_encoder = msgspec.msgpack.Encoder()
_encode = _encoder.encode
_UNREADABLE = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
_SHORT_TEXT_LENGTH = 0x1F
COPIED_BYTES = 8_192
"""Up to here it is cheaper to copy an array out of its frame than to look at it in place."""


def prepare_readers(count: int) -> bool:
    """Make some of the readers that were not needed yet, lest the first message of a kind wait for its own; False
    when all are made."""
    for schema in islice(_unprepared, count):
        _READERS[schema]
    return len(_READERS) < len(_KINDS)


def schema_ids() -> frozenset[str]:
    """Every schema this process can read."""
    return frozenset(_SCHEMAS.values())


def encode_frame(topic: str, header: Header, message: Message) -> bytes:
    """The bytes of one message on one topic."""
    encode = encoder_of(topic, type(message), header.publisher, header.epoch)
    return encode(message, header.sequence, header.message_id, header.cause_id, header.published_ns)


def topic_prefix(topic: str) -> bytes:
    """What a frame of this topic begins with."""
    return b"%s\0" % topic.encode()


def encoder_of(
    topic: str, kind: type[Message], publisher: str, epoch: int
) -> Callable[[Message, int, str, str, int], bytes]:
    """What makes the frames of one publisher on a topic that carries messages of this kind, from the message, its
    sequence, its id, that of its cause and when it is published. What was encoded is copied, which is cheapest for
    all but chains."""
    prefix, schema = topic_prefix(topic), _SCHEMAS[kind]

    def encode(message: Message, sequence: int, message_id: str, cause_id: str, published_ns: int) -> bytes:
        return prefix + _encode(Wire(schema, publisher, epoch, sequence, message_id, cause_id, published_ns, message))

    return encode


def encode_array(
    prefix: bytes,
    message: Message,
    publisher: str,
    epoch: int,
    sequence: int,
    message_id: str,
    cause_id: str,
    published_ns: int,
) -> bytearray:
    """A frame in a buffer of its own, without a copy of what was encoded: a chain is more than 100 kB."""
    schema = _SCHEMAS[type(message)]
    frame = bytearray(prefix)
    wire = Wire(schema, publisher, epoch, sequence, message_id, cause_id, published_ns, message)
    _encoder.encode_into(wire, frame, len(prefix))
    return frame


def split_frame(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> tuple[bytes, bytes | memoryview]:
    """Topic and array of a frame, both undecoded. Raises FrameError (oversize, garbage)."""
    if len(data) > max_bytes:
        raise FrameError("oversize", f"{len(data)} bytes, at most {max_bytes} are read")
    if len(data) <= COPIED_BYTES:
        topic, separator, array = data.partition(b"\0")
        if not separator or len(topic) > MAX_TOPIC_BYTES:
            raise FrameError("garbage", "no zero byte after the topic")
        return topic, array
    end = data.find(b"\0", 0, MAX_TOPIC_BYTES + 1)
    if end < 0:
        raise FrameError("garbage", "no zero byte after the topic")
    return data[:end], memoryview(data)[end + 1 :]


def opener_of(kind: type[Message]) -> Callable[[bytes | memoryview], Opened]:
    """`open_array` for whoever expects one kind of message: sooner where it is that one."""
    schema = _SCHEMAS[kind]
    decode, check = _READERS[msgspec.msgpack.encode(schema)]
    figures = figures_of(kind)

    def open_expected(array: bytes | memoryview) -> Opened:
        try:
            opened: Opened = decode(array)
            if check is not None and not (figures is not None and all_usual(figures(opened.body))):
                check(opened.body, "")
        except _UNREADABLE:
            return open_array(array)
        return opened if opened.schema == schema else open_array(array)

    return open_expected


def open_array(array: bytes | memoryview) -> Opened:
    """Read the array of a frame. Raises FrameError when not even the header can be read, and nothing else.

    Header and body are read in one pass where all is well; in two where the body is what is wrong.
    """
    try:
        decode, check = _READERS[array[1 : 2 + (array[1] & _SHORT_TEXT_LENGTH)]]  # type: ignore[index]
        opened: Opened = decode(array)
        if check is not None:
            check(opened.body, "")
    except (KeyError, IndexError, *_UNREADABLE):
        return _open_unusual(array)
    return opened


def open_frame(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> tuple[str, Opened]:
    """Topic and array of a frame. Raises FrameError when not even the header can be read (oversize, garbage)."""
    topic, array = split_frame(data, max_bytes)
    return topic_text(topic), open_array(array)


def topic_text(topic: bytes) -> str:
    """Raises FrameError for what is no text."""
    try:
        return topic.decode()
    except UnicodeDecodeError as error:
        raise FrameError("garbage", str(error)) from None


def read_body(opened: Opened) -> Message:
    """The message itself. Raises FrameError (unknown_schema, wrong_body)."""
    body = opened.body
    if isinstance(body, Unreadable):
        raise FrameError(body.kind, body.detail)
    return body


def _open_unusual(array: bytes | memoryview) -> Opened:
    """A frame whose schema is unknown, spelled at length, or whose body is not what the schema says."""
    try:
        unread = _UNREAD.decode(array)
    except _UNREADABLE as error:
        raise FrameError("garbage", str(error)) from None
    try:
        decode, check = _READERS[msgspec.msgpack.encode(unread.schema)]
    except KeyError:
        return _without_body(unread, Unreadable("unknown_schema", repr(unread.schema[:80])))
    try:
        opened: Opened = decode(array)
        if check is not None:
            check(opened.body, "")
    except _UNREADABLE as error:
        return _without_body(unread, Unreadable("wrong_body", f"{unread.schema}: {error}"))
    return opened


def _without_body(unread: Wire[Any], why: Unreadable) -> Opened:
    return Wire(
        unread.schema,
        unread.publisher,
        unread.epoch,
        unread.sequence,
        unread.message_id,
        unread.cause_id,
        unread.published_ns,
        why,
    )


def decode_frame(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> Frame:
    """Read a whole frame. Raises FrameError for anything that is no message of ours."""
    topic, wire = open_frame(data, max_bytes)
    return Frame(topic, header_of(wire), read_body(wire))


def header_of(wire: Opened) -> Header:
    return Header(wire.publisher, wire.epoch, wire.sequence, wire.message_id, wire.cause_id, wire.published_ns)
