"""Bytes and messages that nobody well-meaning would send, for tests of what becomes of them.

`absurd` makes well-typed messages with values that no desk has; `hostile_frames` makes bytes from a seed, so that a
run against real sockets can be repeated exactly.
"""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from shared.bus.frames import FrameError, Header, encode_frame, open_frame, read_body, schema_ids
from shared.messages.base import Message, schema_id
from shared.messages.topics import TOPICS

INT64_MAX = (1 << 63) - 1
TEXTS = (
    "",
    "*",
    "demo",
    "demo-0",
    "main",
    "a1",
    "buy",
    "t1",
    "\0",
    "../../etc/passwd",
    "é\u202e\U0001f4a3",
    "x" * 5_000,
)
COUNTS = (0, 1, -1, 2, 500, 1 << 31, -(1 << 63), INT64_MAX, (1 << 64) - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"))
DECIMALS = ("0", "1", "-1", "0.01", "1e30", "-1e30", "1e-60", "0.12345678901234567890123456789", "100")
WILD_DECIMALS = (
    "NaN",
    "sNaN",
    "Infinity",
    "1e999999",
    "-1e999999999999999999",
    "1e-999999999999999999",
    "0e-999999999",
    "0e999999999",
    "9" * 5_000,
)


def all_messages(base: type[Message] = Message) -> list[type[Message]]:
    """Every message of the contract."""
    found = [kind for child in base.__subclasses__() for kind in (child, *all_messages(child))]
    return sorted((kind for kind in found if kind.__module__.startswith("shared.messages.")), key=schema_id)


def absurd(kind: Any, known: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """Values of a type of a message, as absurd as their type allows; `known` are texts that mean something here."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _of_struct(kind, known)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of(*(absurd(argument, known) for argument in arguments))
    if origin is tuple:
        return st.lists(absurd(arguments[0], known), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(absurd(arguments[0], known), absurd(arguments[1], known), max_size=3)
    return _LEAVES[kind](known)


@functools.cache
def _of_struct(kind: type[msgspec.Struct], known: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """One for each, made when it is drawn from: a structure may hold itself."""

    def build() -> st.SearchStrategy[Any]:
        return st.builds(kind, **{field.name: absurd(field.type, known) for field in msgspec.structs.fields(kind)})

    return st.deferred(build)


_LEAVES: dict[Any, Callable[[tuple[str, ...]], st.SearchStrategy[Any]]] = {
    str: lambda known: st.sampled_from((*known, *known, *TEXTS)) | st.text(max_size=20),
    int: lambda _: st.sampled_from(COUNTS) | st.integers(-(1 << 63), (1 << 64) - 1),
    float: lambda _: st.sampled_from(FLOATS) | st.floats(),
    bool: lambda _: st.booleans(),
    bytes: lambda _: st.binary(max_size=64),
    memoryview: lambda _: st.binary(max_size=64).map(memoryview),
    Decimal: lambda _: st.sampled_from((*DECIMALS, *WILD_DECIMALS)).map(Decimal),
    type(None): lambda _: st.none(),
}


def as_received(message: Message) -> Message | None:
    """The message as a reader of the bus gets it; None when it is refused at the socket."""
    header = Header("stranger", 1, 1, "m", "", 1)
    try:
        return read_body(open_frame(encode_frame("request", header, message))[1])
    except (FrameError, UnicodeEncodeError):
        return None


def refusal_of(data: bytes) -> str | None:
    """Why the bytes are no message of ours; None when they are one. Whatever else is raised is a defect."""
    try:
        _, opened = open_frame(data)
        read_body(opened)
    except FrameError as error:
        return error.kind
    return None


def wire(topic: bytes, *fields: Any) -> bytes:
    """A frame with whatever in it, unchecked."""
    return topic + b"\0" + msgspec.msgpack.encode(list(fields))


class Forger:
    """Hostile bytes around the valid frames it was given, from one seed. The same seed makes the same bytes."""

    def __init__(self, seed: int, topic: str, publisher: str, samples: list[Message], large_bytes: int) -> None:
        self._draw = random.Random(seed)
        self._topic = topic
        self._publisher = publisher
        self._samples = samples
        self._large_bytes = large_bytes
        self._schemas = sorted(schema_ids())
        self._count = 0

    def frames(self, count: int) -> Iterator[bytes]:
        """`count` frames, every kind in turn."""
        kinds = (
            self._noise,
            self._noise_after_topic,
            self._truncated,
            self._bits_flipped,
            self._future_schema,
            self._wrong_body,
            self._wrong_header,
            self._nested,
            self._huge_length,
            self._bad_text,
            self._endless_number,
            self._unknown_topic,
            self._other_publisher,
            self._other_message,
            self._wild_sequence,
            self._extra_fields,
            self._empty,
        )
        for number in range(count):
            yield self._large() if number % 211 == 210 else kinds[number % len(kinds)]()

    def _valid(self, **changes: Any) -> bytes:
        self._count += 1
        header = {
            "publisher": self._publisher,
            "epoch": 1 + self._draw.randrange(3),
            "sequence": self._count,
            "message_id": f"forged.{self._count}",
            "cause_id": "",
            "published_ns": 1,
        }
        topic = changes.pop("topic", self._topic)
        message = changes.pop("message", None) or self._draw.choice(self._samples)
        return encode_frame(topic, Header(**{**header, **changes}), message)

    def _fields(self) -> list[Any]:
        fields: list[Any] = msgspec.msgpack.decode(self._valid().partition(b"\0")[2])
        return fields

    def _bytes_topic(self) -> bytes:
        return self._topic.encode()

    def _noise(self) -> bytes:
        return self._draw.randbytes(self._draw.randint(1, 300))

    def _noise_after_topic(self) -> bytes:
        return self._bytes_topic() + b"\0" + self._draw.randbytes(self._draw.randint(0, 200))

    def _truncated(self) -> bytes:
        valid = self._valid()
        return valid[: self._draw.randrange(len(valid))]

    def _bits_flipped(self) -> bytes:
        changed = bytearray(self._valid())
        for _ in range(self._draw.randint(1, 8)):
            changed[self._draw.randrange(len(changed))] ^= 1 << self._draw.randrange(8)
        return bytes(changed)

    def _future_schema(self) -> bytes:
        fields = self._fields()
        fields[0] = f"{fields[0].partition('.')[0]}.{self._draw.randint(50, 99)}"
        fields[7]["schema" if isinstance(fields[7], dict) else 0] = fields[0]
        return wire(self._bytes_topic(), *fields)

    def _wrong_body(self) -> bytes:
        fields = self._fields()
        fields[7] = self._draw.choice([None, 7, "text", [], {}, {"schema": 3}, [1, 2], {"schema": self._schemas[0]}])
        return wire(self._bytes_topic(), *fields)

    def _wrong_header(self) -> bytes:
        fields = self._fields()
        at = self._draw.randrange(7)
        fields[at] = self._draw.choice([None, -1, 1.5, "", "x" * 100_000, [], {}, (1 << 64) - 1, True, b"\xff"])
        return wire(self._bytes_topic(), *fields[: self._draw.choice([8, 8, 8, 5])])

    def _nested(self) -> bytes:
        depth = self._draw.choice([100, 5_000, 100_000])
        opening = self._draw.choice([b"\x91", b"\x81\xa1a"])
        return self._bytes_topic() + b"\0" + self._head() + opening * depth + b"\xc0"

    def _huge_length(self) -> bytes:
        declared = self._draw.choice([b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
        return self._bytes_topic() + b"\0" + self._head() + declared + b"\xff\xff\xff\xff" + self._draw.randbytes(8)

    def _bad_text(self) -> bytes:
        return self._bytes_topic() + b"\0" + self._head()[:-1] + b"\xa4\xff\xfe\xed\xa0"

    def _endless_number(self) -> bytes:
        order = self._draw.choice(["1e999999", "NaN", "-1e999999999999999999", "9" * 100_000, "Infinity"])
        return self._bytes_topic() + b"\0" + _with_decimals(self._valid().partition(b"\0")[2], order)

    def _unknown_topic(self) -> bytes:
        prefix = self._topic.partition(".")[0]
        topic = self._draw.choice([f"{prefix}.nobody.knows.this", f"{prefix}.{'x' * 400}", f"{prefix}."])
        return self._valid(topic=topic)

    def _other_publisher(self) -> bytes:
        return self._valid(publisher=self._draw.choice(["nobody", "", "p" * 60, "monitor"]))

    def _other_message(self) -> bytes:
        other = [row.pattern for row in TOPICS]
        pattern = self._draw.choice(other).replace("{account}", "main").replace("{service}", self._publisher)
        return self._valid(topic=pattern.replace("{underlying}", "BTCUSD").replace("{strategy}", "demo"))

    def _wild_sequence(self) -> bytes:
        return self._valid(sequence=self._draw.choice([0, 1, INT64_MAX, 1 << 40, self._draw.randint(1, 1_000)]))

    def _extra_fields(self) -> bytes:
        fields = self._fields()
        if isinstance(fields[7], dict):
            fields[7] |= {"nobody_knows": [1, 2], "x" * 500: None}
        else:
            fields[7] += [1, {"nobody": "knows"}]
        return wire(self._bytes_topic(), *fields, "a ninth", {"and": "a tenth"})

    def _empty(self) -> bytes:
        return b""

    def _large(self) -> bytes:
        return self._bytes_topic() + b"\0" + bytes(self._large_bytes)

    def _head(self) -> bytes:
        """An array of eight whose first seven are in order; the body is missing."""
        fields = self._fields()[:7]
        return b"\x98" + b"".join(map(msgspec.msgpack.encode, fields))


def _with_decimals(array: bytes, text: str) -> bytes:
    """The frame's array with every text that is a number replaced."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [changed(each) for each in value]
        if isinstance(value, str) and value.replace(".", "", 1).isdigit():
            return text
        return value

    fields = msgspec.msgpack.decode(array)
    return msgspec.msgpack.encode([*fields[:7], changed(fields[7])])
