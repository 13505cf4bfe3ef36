"""Messages of the bus for people and for programs: what JSON cannot hold is given a form that loses nothing.

Decimals and integers beyond 2^53 are text, NaN is null, infinities are text, a chain's matrix is its columns by name,
other bytes are base64.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from shared.bus.frames import Frame
from shared.messages.base import schema_id
from shared.messages.market import CHAIN_COLUMNS, ChainSnapshot
from voldesk.views import iso

_EXACT_IN_JSON = 2**53
_LIST_SHOWN = 6


def frame_json(frame: Frame) -> dict[str, Any]:
    """Header and body of a frame."""
    header = frame.header
    return {
        "topic": frame.topic,
        "schema": schema_id(type(frame.message)),
        "publisher": header.publisher,
        "epoch": json_value(header.epoch),
        "sequence": json_value(header.sequence),
        "message_id": header.message_id,
        "cause_id": header.cause_id,
        "published_at": iso(header.published_ns),
        "body": _body_json(frame.message),
    }


def frame_line(frame: Frame) -> str:
    """A frame on one line: time, topic, then the fields; what is long is only counted."""
    at = (iso(frame.header.published_ns) or "")[11:23]
    fields = []
    for name, value in _fields(frame.message).items():
        if name == "matrix" and isinstance(frame.message, ChainSnapshot):
            columns = len(frame.message.matrix) // 8 // len(CHAIN_COLUMNS)
            fields.append(f"matrix={len(CHAIN_COLUMNS)}×{columns}")
        else:
            fields.append(f"{name}={_short(name, value)}")
    return f"{at} {frame.topic} {' '.join(fields)}"


def json_value(value: Any) -> Any:
    """One value in the form of this module's docstring."""
    match value:
        case bool() | None | str():
            return value
        case int():
            return value if abs(value) <= _EXACT_IN_JSON else str(value)
        case float():
            return value if math.isfinite(value) else None if math.isnan(value) else f"{value:+}"
        case Decimal():
            return format(value, "f")
        case bytes():
            return base64.b64encode(value).decode()
        case msgspec.Struct():
            return {name: json_value(part) for name, part in _fields(value).items()}
        case Mapping():
            return {str(name): json_value(part) for name, part in value.items()}
        case _:
            return [json_value(part) for part in value]


def _body_json(message: msgspec.Struct) -> dict[str, Any]:
    body = {name: json_value(part) for name, part in _fields(message).items() if name != "matrix"}
    if isinstance(message, ChainSnapshot):
        body["columns"] = _columns(message.matrix)
    return body


def _columns(matrix: bytes) -> dict[str, list[float | None]] | str:
    """The rows of the matrix by name; base64 when it does not have the form of the catalogue."""
    rows = len(CHAIN_COLUMNS)
    if len(matrix) % (8 * rows):
        return base64.b64encode(matrix).decode()
    values = struct.unpack(f"<{len(matrix) // 8}d", matrix)
    count = len(values) // rows
    return {
        name: [json_value(value) for value in values[row * count : (row + 1) * count]]
        for row, name in enumerate(CHAIN_COLUMNS)
    }


def _fields(structure: msgspec.Struct) -> dict[str, Any]:
    """Its fields in order, after its kind where it is one of several."""
    config = structure.__struct_config__
    fields = {name: getattr(structure, name) for name in structure.__struct_fields__}
    return {"kind": config.tag, **fields} if config.tag_field == "kind" else fields


def _short(name: str, value: Any) -> str:
    if name.endswith("_ns") and isinstance(value, int) and value > _EXACT_IN_JSON:
        return iso(value) or ""
    match value:
        case None:
            return "-"
        case str():
            return value if value and " " not in value else f'"{value}"'
        case float():
            return f"{value:.10g}"
        case Decimal() | bool() | int():
            return str(json_value(value)).lower() if isinstance(value, bool) else str(json_value(value))
        case bytes():
            return f"{len(value)} bytes"
        case msgspec.Struct():
            return "{" + " ".join(f"{part}={_short(part, held)}" for part, held in _fields(value).items()) + "}"
        case Mapping():
            return "{" + " ".join(f"{part}={_short(str(part), held)}" for part, held in value.items()) + "}"
        case _ if len(value) > _LIST_SHOWN:
            return f"[{len(value)} of them]"
        case _:
            return "[" + ", ".join(_short("", part) for part in value) + "]"
