"""JSON as the venue writes and reads it: exact decimals as numbers, ids beyond 2^53, envelopes.

Incoming numbers keep their text (`NumberText`), because the signature covers it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import unquote, unquote_plus

import msgspec

from services.exchange.server.errors import PARAMETER_EMPTY, PARAMETER_ERROR, PARAMETER_WRONG, ApiError

T = TypeVar("T")

_encoder = msgspec.json.Encoder(decimal_format="number")
NUMBER_DIGITS_MAX = 40
NESTING_MAX = 32
INT64_MAX = 2**63 - 1


class NumberText(str):
    """A JSON number as it was written: `0.50` stays `0.50`."""

    __slots__ = ()


def encode(value: Any) -> bytes:
    """JSON bytes; a Decimal becomes a number with exactly its digits, a NaN becomes null."""
    return _encoder.encode(value)


def success(data: Any) -> bytes:
    return encode({"code": 0, "msg": "Success", "i18nArgs": None, "data": data})


def failure(error: ApiError) -> bytes:
    return encode({"code": error.code, "msg": error.text, "i18nArgs": None, "data": None})


def number_text(value: Decimal) -> str:
    """The plain notation of a decimal, for the fields that are numbers inside strings."""
    return format(value, "f")


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The top-level fields of a JSON body, numbers as `NumberText`; an empty body has none.

    Raises ApiError (parameter error) for anything that is not one object of moderate depth.
    """
    if not body.strip():
        return {}
    try:
        fields = json.loads(
            body.decode("utf-8"), parse_float=NumberText, parse_int=NumberText, parse_constant=_no_constant
        )
        if b"\\u" in body:
            # half a surrogate pair is JSON and no text: it can be neither signed nor answered
            json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(PARAMETER_ERROR, text="Parameter error: the body is not JSON") from error
    if not isinstance(fields, dict):
        raise ApiError(PARAMETER_ERROR, text="Parameter error: the body is not an object")
    if _depth_exceeds(fields, NESTING_MAX):
        raise ApiError(PARAMETER_ERROR, text="Parameter error: the body is nested too deeply")
    return fields


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def parse_pairs(text: str, *, form: bool) -> dict[str, str]:
    """`a=1&b=2` to fields. In a form `+` is a blank; in a query it stays a plus, since keys contain it."""
    decode = unquote_plus if form else unquote
    fields: dict[str, str] = {}
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            fields[decode(name)] = decode(value)
    return fields


class Fields:
    """Typed access to the merged parameters of one request; a missing or wrong one is an ApiError that names it."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters as they came."""
        return self._values

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool | dict | list):
            raise ApiError(PARAMETER_WRONG, name)
        return str(value)

    def need_text(self, name: str) -> str:
        return _needed(self.text(name), name)

    def integer(self, name: str) -> int | None:
        """A 64-bit integer, as number or text; `1.0` counts, `1.5` does not."""
        value = self.decimal(name)
        if value is None:
            return None
        if value != value.to_integral_value() or abs(value) > INT64_MAX:
            raise ApiError(PARAMETER_WRONG, name)
        return int(value)

    def need_integer(self, name: str) -> int:
        return _needed(self.integer(name), name)

    def decimal(self, name: str) -> Decimal | None:
        """A finite decimal of at most 40 digits, as number or text."""
        text = self.text(name)
        return None if text is None else decimal_of(text, name)

    def boolean(self, name: str) -> bool:
        value = self._values.get(name)
        if value is None or value == "":
            return False
        if isinstance(value, bool):
            return value
        match str(value).lower():
            case "true" | "1":
                return True
            case "false" | "0":
                return False
            case _:
                raise ApiError(PARAMETER_WRONG, name)

    def integers(self, name: str) -> list[int] | None:
        values = self._values.get(name)
        if values is None:
            return None
        if not isinstance(values, list):
            raise ApiError(PARAMETER_WRONG, name)
        return [Fields({name: value}).need_integer(name) for value in values]


def _needed(value: T | None, name: str) -> T:
    if value is None:
        raise ApiError(PARAMETER_EMPTY, name)
    return value


def decimal_of(text: str, name: str) -> Decimal:
    """A finite decimal in plain range, or ApiError naming the parameter."""
    if len(text) > NUMBER_DIGITS_MAX:
        raise ApiError(PARAMETER_WRONG, name)
    try:
        value = Decimal(text)
    except ArithmeticError as error:
        raise ApiError(PARAMETER_WRONG, name) from error
    if not value.is_finite() or (value and abs(value.adjusted()) > NUMBER_DIGITS_MAX):
        raise ApiError(PARAMETER_WRONG, name)
    return Decimal(format(value, "f"))
