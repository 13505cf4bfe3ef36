"""A message as bytes: topic, a zero byte, one msgpack array of header and body. Pure.

The array is ``[schema, publisher, epoch, sequence, message_id, cause_id, published_ns, body]``; the body is the
message as a msgpack map (or array, where its class says so) that names its schema again.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.messages import account, conditions, control, grants, market, system, trades  # noqa: F401  registers them
from shared.messages.base import Message, schema_id

MAX_FRAME_BYTES = 16 * 1024 * 1024


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


class Envelope(msgspec.Struct, frozen=True):
    """A frame whose body has not been decoded yet."""

    topic: str
    header: Header
    schema: str
    body: msgspec.Raw


class FrameError(ValueError):
    """Bytes that are no message of ours. `kind`: oversize, garbage, unknown_schema, wrong_body."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


class _Outgoing(msgspec.Struct, frozen=True, array_like=True):
    schema: str
    publisher: str
    epoch: int
    sequence: int
    message_id: str
    cause_id: str
    published_ns: int
    body: Message


class _Incoming(msgspec.Struct, frozen=True, array_like=True):
    schema: str
    publisher: str
    epoch: int
    sequence: int
    message_id: str
    cause_id: str
    published_ns: int
    body: msgspec.Raw


def _kinds(base: type[Message]) -> list[type[Message]]:
    return [kind for child in base.__subclasses__() for kind in (child, *_kinds(child))]


_DECODERS: dict[str, msgspec.msgpack.Decoder[Any]] = {
    schema_id(kind): msgspec.msgpack.Decoder(kind)
    for kind in _kinds(Message)
    if kind.__module__.startswith("shared.messages.")
}
_encoder = msgspec.msgpack.Encoder()
_envelope = msgspec.msgpack.Decoder(_Incoming)


def schema_ids() -> frozenset[str]:
    """Every schema this process can read."""
    return frozenset(_DECODERS)


def encode_frame(topic: str, header: Header, message: Message) -> bytes:
    """The bytes of one message on one topic."""
    array = _Outgoing(
        schema_id(type(message)),
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
    """The topic in front of a frame, undecoded; the whole of `data` when there is no zero byte."""
    return data.partition(b"\0")[0]


def open_frame(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> Envelope:
    """Read topic and header. Raises FrameError (oversize, garbage), and nothing else for any bytes."""
    if len(data) > max_bytes:
        raise FrameError("oversize", f"{len(data)} bytes, at most {max_bytes} are read")
    topic, separator, array = data.partition(b"\0")
    if not separator:
        raise FrameError("garbage", "no zero byte after the topic")
    try:
        text = topic.decode()
        wire = _envelope.decode(array)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError("garbage", str(error)) from None
    header = Header(wire.publisher, wire.epoch, wire.sequence, wire.message_id, wire.cause_id, wire.published_ns)
    return Envelope(text, header, wire.schema, wire.body)


def read_body(envelope: Envelope) -> Message:
    """Decode the message itself. Raises FrameError (unknown_schema, wrong_body), and nothing else."""
    decoder = _DECODERS.get(envelope.schema)
    if decoder is None:
        raise FrameError("unknown_schema", repr(envelope.schema[:80]))
    try:
        message: Message = decoder.decode(envelope.body)
    except (msgspec.MsgspecError, ValueError, ArithmeticError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError("wrong_body", f"{envelope.schema}: {error}") from None
    return message


def decode_frame(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> Frame:
    """Read a whole frame. Raises FrameError for anything that is no message of ours."""
    envelope = open_frame(data, max_bytes)
    return Frame(envelope.topic, envelope.header, read_body(envelope))
