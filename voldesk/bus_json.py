"""Messages of the bus for people and for programs: what JSON cannot hold is given a form that loses nothing.

Decimals and integers beyond 2^53 are text, NaN is null, infinities are text, a chain's matrix is its columns by
name, an order book's levels are pairs of price and size, other bytes are base64.
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
from shared.messages.market import CHAIN_COLUMNS, COMPARISON_COLUMNS, ChainComparison, ChainSnapshot
from shared.messages.on_demand import OrderBook
from shared.views import iso

_EXACT_IN_JSON = 2**53
_LIST_SHOWN = 6
_COLUMNS: dict[type[msgspec.Struct], tuple[str, ...]] = {
    ChainSnapshot: CHAIN_COLUMNS,
    ChainComparison: COMPARISON_COLUMNS,
}


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
        columns = _COLUMNS.get(type(frame.message), ())
        if name == "matrix" and columns:
            fields.append(f"matrix={len(columns)}×{len(value) // 8 // len(columns)}")
        elif name in ("bids", "asks") and isinstance(frame.message, OrderBook):
            fields.append(f"{name}={len(value) // 16} levels")
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
    if isinstance(message, ChainSnapshot | ChainComparison):
        body["columns"] = _columns(message.matrix, _COLUMNS[type(message)])
    if isinstance(message, OrderBook):
        body |= {"bids": levels_of(message.bids), "asks": levels_of(message.asks)}
    return body


def levels_of(packed: bytes) -> list[list[float]] | str:
    """Pairs of price and size, best first; base64 when it does not have the form of the catalogue."""
    if len(packed) % 16:
        return base64.b64encode(packed).decode()
    values = struct.unpack(f"<{len(packed) // 8}d", packed)
    count = len(values) // 2
    return [list(level) for level in zip(values[:count], values[count:], strict=True)]


def _columns(matrix: bytes | memoryview, names: tuple[str, ...]) -> dict[str, list[float | None]] | str:
    """The rows of the matrix by name; base64 when it does not have the form of the catalogue."""
    rows = len(names)
    if len(matrix) % (8 * rows):
        return base64.b64encode(matrix).decode()
    values = struct.unpack(f"<{len(matrix) // 8}d", matrix)
    count = len(values) // rows
    return {
        name: [json_value(value) for value in values[row * count : (row + 1) * count]]
        for row, name in enumerate(names)
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
