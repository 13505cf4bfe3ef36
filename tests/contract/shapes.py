"""Comparing JSON by shape: the same keys, the same JSON types, null only where it may be.

A recorded payload is the measure. A number with a point or an exponent admits any number, one without only integers;
a text that is a number admits only such texts. Paths are written `data.list[].price`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


class Leave(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a comparison lets pass. nullable: null or the recorded type. optional: there or not. maps: an object
    whose keys are data, all values like the first recorded one. any: not looked into."""

    nullable: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    maps: frozenset[str] = frozenset()
    any: frozenset[str] = frozenset()


def read_json(text: str | bytes) -> Any:
    return json.loads(text, parse_float=Decimal)


def differences(recorded: Any, served: Any, leave: Leave = Leave(), path: str = "") -> Iterator[str]:
    """Each way in which `served` is not of the shape of `recorded`."""
    if path in leave.any or (served is None and path in leave.nullable):
        return
    if kind_of(recorded) != kind_of(served) and (kind_of(recorded), kind_of(served)) != ("number", "integer"):
        yield f"{path}: {kind_of(recorded)} expected, not {kind_of(served)} {served!r:.60}"
        return
    if isinstance(recorded, dict):
        if path in leave.maps:
            pattern = next(iter(recorded.values()))
            for name, value in served.items():
                yield from differences(pattern, value, leave, f"{path}.{name}")
            return
        for name in recorded.keys() | served.keys():
            inside = f"{path}.{name}".lstrip(".")
            if name in recorded and name in served:
                yield from differences(recorded[name], served[name], leave, inside)
            elif inside not in leave.optional:
                yield f"{inside}: {'missing' if name in recorded else 'not documented'}"
    elif isinstance(recorded, list) and recorded:
        if not served:
            yield f"{path}: nothing to compare, the list is empty"
        for element in served:
            yield from differences(recorded[0], element, leave, f"{path}[]")


def kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, Decimal):
        return "number"
    if isinstance(value, str):
        return "number as text" if _NUMBER.fullmatch(value) else "text"
    return "object" if isinstance(value, dict) else "list"
