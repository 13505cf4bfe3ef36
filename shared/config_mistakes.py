"""A value that does not fit its struct, said so that whoever wrote it knows which key it is and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

_AT_PATH = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$?(?P<where>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<field>[^`]*)`")
_ENUM = "Invalid enum value"
_STEP = re.compile(r"([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class Mistake(NamedTuple):
    """text: the key and what is wrong with it, behind the name of the section. unknown: the name of a key that does
    not exist, else ""; then text is where it stands."""

    text: str
    remedy: str
    unknown: str = ""


def read_mistake(error: Exception, raw: Any, kind: Any) -> Mistake:
    """What `error` says, which `msgspec.convert(raw, kind)` raised."""
    match = _AT_PATH.match(str(error))
    assert match is not None
    what, where = " ".join(match["what"].split()), (match["where"] or "").lstrip(".")
    if unknown := _UNKNOWN.search(what):
        return Mistake(f" {where}".rstrip(), "", unknown["field"])
    if missing := _MISSING.search(what):
        return Mistake(f" {f'{where}.' if where else ''}{missing['field']} is missing", "add it")
    allowed = _allowed(inspect.type_info(kind), _STEP.findall(where)) if what.startswith(_ENUM) else []
    remedy = f"use one of: {', '.join(map(str, allowed))}" if allowed else "correct the value"
    if where.startswith("[...]") and isinstance(raw, dict):
        where = _first_wrong(raw, kind) + where.removeprefix("[...]")
    return Mistake(f" {where}: {what}" if where else f": {what}", remedy)


def _first_wrong(raw: dict[str, Any], kind: Any) -> str:
    for name, value in raw.items():
        try:
            msgspec.convert({name: value}, kind)
        except (msgspec.ValidationError, ValueError, ArithmeticError):
            return name
    return ""


def _allowed(info: inspect.Type, steps: list[tuple[str, str]]) -> list[Any]:
    """The values that the field at `steps` may have; none where it is not one of a few."""
    if isinstance(info, inspect.UnionType):
        return _first(_allowed(each, steps) for each in info.types)
    if isinstance(info, inspect.Metadata):
        return _allowed(info.type, steps)
    if not steps:
        if isinstance(info, inspect.LiteralType):
            return list(info.values)
        return [member.value for member in info.cls] if isinstance(info, inspect.EnumType) else []
    (name, _), *rest = steps
    if isinstance(info, inspect.StructType):
        return _first(_allowed(field.type, rest) for field in info.fields if field.encode_name == name)
    if isinstance(info, inspect.DictType):
        return _allowed(info.value_type, rest)
    return _allowed(info.item_type, rest) if isinstance(info, inspect.ListType | inspect.VarTupleType) else []


def _first(found: Iterable[list[Any]]) -> list[Any]:
    return next((values for values in found if values), [])
