"""Signatures and the texts they cover (venue reference, sections 3 and 17.2). The secret is used as text."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from urllib.parse import quote, urlencode

import msgspec

Value = str | int | bool | Decimal | None | list["Value"] | dict[str, "Value"]
"""A request parameter. A Decimal is written in plain notation with the digits it holds; null fields are left out."""

VALIDITY_WINDOW_MS = 5_000


def value_text(value: Value) -> str:
    """One parameter as the signed text has it: strings bare, numbers as sent, nested values as compact JSON."""
    if isinstance(value, str):
        return value
    return json_text(value)


def json_text(value: Value) -> str:
    """Compact JSON, key order kept, nulls inside objects left out, non-ASCII not escaped."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{','.join([json_text(item) for item in value])}]"
    return f"{{{','.join([f'{_name(name)}:{json_text(item)}' for name, item in value.items() if item is not None])}}}"


_encode = msgspec.json.Encoder().encode


def _text(value: str) -> str:
    return _encode(value).decode()


_name = lru_cache(maxsize=1_024)(_text)
"""Of parameters there are some dozens."""


def json_body(params: Mapping[str, Value]) -> bytes:
    """The body whose fields `prehash` signs, digit for digit."""
    fields = [f"{_name(name)}:{json_text(value)}" for name, value in params.items() if value is not None]
    return f"{{{','.join(fields)}}}".encode()


def query_text(params: Mapping[str, Value]) -> str:
    """The query string of a GET or the body of a form, percent-encoded."""
    return urlencode(
        [(name, value_text(value)) for name, value in params.items() if value is not None], quote_via=quote
    )


def prehash(
    method: str, path: str, params: Mapping[str, Value], key: str, ts_ms: int, window_ms: int = VALIDITY_WINDOW_MS
) -> str:
    """The text to sign: parameters sorted by name, not percent-encoded, then key, time and validity window."""
    pairs = [f"{name}={value_text(value)}" for name in sorted(params) if (value := params[name]) is not None]
    pairs += [f"uuid={key}", f"ts={ts_ms}", f"x-req-ts-diff={window_ms}"]
    return f"{method}{path}?{'&'.join(pairs)}"


def stream_login_text(key: str, ts_ms: int) -> str:
    """The text to sign for the handshake of the option and futures sockets."""
    return f"GET/users/self/verify?apiKey={key}&ts={ts_ms}"


def signature(secret: str, text: str) -> str:
    """HMAC-SHA256 as upper-case hex."""
    signing = _keyed(secret).copy()
    signing.update(text.encode())
    return signing.hexdigest().upper()


@lru_cache(maxsize=8)
def _keyed(secret: str) -> hmac.HMAC:
    """What every signature with this secret begins with."""
    return hmac.new(secret.encode(), digestmod=hashlib.sha256)


def stream_url(base: str, key: str, secret: str, ts_ms: int) -> str:
    """The address of an authenticated socket. The key stays raw: the venue refuses a percent-encoded one.

    It contains the key and a signature: keep it out of logs and errors.
    """
    sign = signature(secret, stream_login_text(key, ts_ms))
    return f"{base}?code=10&uuid={key}&ts={ts_ms}&sign={sign}&apiKey={key}"


def spot_stream_url(base: str, key: str, secret: str, ts_ms: int) -> str:
    """The address of the private socket of spot, by the same signature; see `stream_url`."""
    sign = signature(secret, stream_login_text(key, ts_ms))
    return f"{base}?ts={ts_ms}&sign={sign}&apiKey={key}"
