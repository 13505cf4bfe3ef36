"""Authentication of REST requests and WebSocket handshakes: pure text and HMAC-SHA256.

Rules and tolerated variants: the venue's signing section. The signed text is built from the parsed request, so
blanks in a JSON body do not matter; numbers count as they were written.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring
from typing import Any
from urllib.parse import unquote

import msgspec

from services.exchange.server.errors import (
    INVALID_TIMESTAMP,
    TIMESTAMP_EXPIRED,
    UNKNOWN_KEY,
    ApiError,
)
from services.exchange.server.wire import NumberText
from services.exchange.switches import Switches

DEFAULT_WINDOW_MS = 5_000
FUTURE_TOLERANCE_MS = 1_000
NS_PER_MS = 1_000_000
DEFAULT_SWITCHES = Switches()


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """One API key of one account. `secret` is used as text, not hex-decoded."""

    api_key: str
    secret: str
    account_id: str
    user_id: int
    read_only: bool
    market_maker: bool = False
    rfq_quotes: bool = False
    mmp: bool = False

    def __repr__(self) -> str:
        return f"Credential({self.account_id}, {'read only' if self.read_only else 'trading'})"


class SignedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the signature covers. `path` and `query` as received, undecoded; `query_fields` and `body_fields` parsed.

    Form fields are strings; JSON fields may be None, bool, str, `NumberText`, list or dict.
    """

    method: str
    path: str
    query: str
    query_fields: Mapping[str, str]
    body_fields: Mapping[str, Any]


def authenticate_request(
    keys: Mapping[str, Credential],
    headers: Mapping[str, str],
    request: SignedRequest,
    now_ms: int,
    switches: Switches = DEFAULT_SWITCHES,
) -> Credential:
    """The credential that signed the request. `headers` have lower-case names.

    Raises ApiError: unknown key 10560, bad time stamp 10561, expired or from the future 10557, bad signature 4003
    or as configured.
    """
    credential = keys.get(headers.get("x-cc-apikey", ""))
    if credential is None:
        raise ApiError(UNKNOWN_KEY)
    timestamp = _integer(headers.get("ts", ""))
    window_text = headers.get("x-req-ts-diff", str(DEFAULT_WINDOW_MS))
    window_ms = _integer(window_text)
    if timestamp is None or window_ms is None:
        raise ApiError(INVALID_TIMESTAMP)
    if timestamp >= now_ms + FUTURE_TOLERANCE_MS or now_ms - timestamp > window_ms:
        raise ApiError(TIMESTAMP_EXPIRED)
    signature = _signature(headers.get("sign", ""), switches)
    tail = f"uuid={credential.api_key}&ts={headers['ts']}"
    if "x-req-ts-diff" in headers or switches.absent_window == "signed":
        tail += f"&x-req-ts-diff={window_text}"
    for prehash in prehash_variants(request, tail):
        if hmac.compare_digest(sign(credential.secret, prehash), signature):
            return credential
    raise ApiError(switches.signature_code)


def _signature(text: str, switches: Switches) -> bytes:
    return (text.upper() if switches.lower_case_signature else text).encode()


def sign(secret: str, prehash: str) -> bytes:
    """HMAC-SHA256 as upper-case hex."""
    return hmac.new(secret.encode(), prehash.encode(), hashlib.sha256).hexdigest().upper().encode()


def prehash_variants(request: SignedRequest, tail: str) -> Iterator[str]:
    """The documented text first, then those of clients in use: parameters in the order of the URL, as received or
    decoded; sorted but still percent-encoded; nested objects with sorted keys."""
    fields = {**request.query_fields, **request.body_fields}
    texts = [_joined(sorted(_signable(fields, sort_nested=False)))]
    if request.query:
        texts.append(request.query)
        texts.append("&".join(sorted(request.query.split("&"))))
        texts.append(_joined(_signable(request.query_fields, sort_nested=False)))
    if any(isinstance(value, dict | list) for value in fields.values()):
        texts.append(_joined(sorted(_signable(fields, sort_nested=True))))
    for path in dict.fromkeys((request.path, unquote(request.path))):
        for text in dict.fromkeys(texts):
            yield f"{request.method}{path}?{text}&{tail}" if text else f"{request.method}{path}?{tail}"


def _signable(fields: Mapping[str, Any], *, sort_nested: bool) -> list[tuple[str, str]]:
    return [(name, _value_text(value, sort_nested)) for name, value in fields.items() if value is not None]


def _joined(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs)


def _value_text(value: Any, sort_nested: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return compact_json(value, sort_nested)


def compact_json(value: Any, sort_keys: bool = False) -> str:
    """JSON without blanks, keys as sent (or sorted), null fields of objects dropped, non-ASCII kept."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, NumberText):
        return str(value)
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, list):
        return "[" + ",".join(compact_json(item, sort_keys) for item in value) + "]"
    items = [(name, item) for name, item in value.items() if item is not None]
    if sort_keys:
        items.sort(key=lambda pair: pair[0])
    return "{" + ",".join(f"{encode_basestring(name)}:{compact_json(item, sort_keys)}" for name, item in items) + "}"


def authenticate_socket(
    keys: Mapping[str, Credential], query: str, now_ms: int, switches: Switches = DEFAULT_SWITCHES
) -> Credential | None:
    """The credential of a WebSocket handshake, from its query text; None is a refusal (HTTP 403).

    The key is taken literally (`+` is a plus), then percent-decoded. Both signed texts pass: `apiKey=` and `uuid=`.
    """
    parts = dict(pair.partition("=")[::2] for pair in query.split("&"))
    raw_key = parts.get("apiKey") or parts.get("uuid", "")
    credential = keys.get(raw_key) or keys.get(unquote(raw_key))
    timestamp = _integer(parts.get("ts", ""))
    if credential is None or timestamp is None:
        return None
    window_ms = switches.socket_ts_window_ms
    if window_ms and (timestamp >= now_ms + FUTURE_TOLERANCE_MS or now_ms - timestamp > window_ms):
        return None
    signature = _signature(parts.get("sign", ""), switches)
    for name in ("apiKey", "uuid"):
        prehash = f"GET/users/self/verify?{name}={credential.api_key}&ts={parts['ts']}"
        if hmac.compare_digest(sign(credential.secret, prehash), signature):
            return credential
    return None


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 16 else None
