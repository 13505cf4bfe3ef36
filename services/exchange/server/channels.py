"""The WebSocket channels as data, and the frames of requests and acknowledgements. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from services.exchange.klines import period_of
from services.exchange.server.errors import PARAMETER_EMPTY, PARAMETER_ERROR, PARAMETER_WRONG, ApiError
from services.exchange.server.wire import INT64_MAX, encode

ChannelKind = Literal["account", "all", "symbol", "chain", "kline"]
SocketName = Literal["options", "futures", "spot", "spot_private"]
SOCKET_PATHS: dict[SocketName, str] = {
    "options": "/options",
    "futures": "/futures",
    "spot": "/spot/ws",
    "spot_private": "/spot/ws/private",
}

CODE_HEARTBEAT, CODE_DATA = 11, 20
SYMBOLS_PER_REQUEST_MAX = 100
FRAME_CHARACTERS_MAX = 65_536


class Channel(msgspec.Struct, frozen=True):
    """`data_type` is the name in requests, `code` the `dt` of its data frames; spot has topics instead, and no codes.

    kind "account": private, without payload. "all": one stream for everybody, without payload. "symbol": one or
    several symbols. "chain": an index and an expiry. "kline": one or several symbols and a period.
    """

    socket: SocketName
    data_type: str
    code: int
    kind: ChannelKind


CHANNELS: tuple[Channel, ...] = (
    Channel("options", "kline", 2, "kline"),
    Channel("options", "bsInfo", 3, "symbol"),
    Channel("options", "tOption", 4, "chain"),
    Channel("options", "orderBook", 5, "symbol"),
    Channel("options", "lastTrade", 6, "symbol"),
    Channel("options", "accountBalance", 7, "account"),
    Channel("options", "order", 11, "account"),
    Channel("options", "position", 12, "account"),
    Channel("options", "trade", 15, "account"),
    Channel("options", "blockTradeDetail", 22, "account"),
    Channel("options", "blockTradePublic", 23, "all"),
    Channel("options", "lastTradeV2", 24, "symbol"),
    Channel("options", "positionEvent", 27, "account"),
    Channel("options", "rfqMaker", 28, "account"),
    Channel("options", "rfqTaker", 129, "account"),
    Channel("options", "rfqQuote", 130, "account"),
    Channel("options", "quoteReceived", 131, "account"),
    Channel("futures", "spotPrice", 30, "symbol"),
    Channel("futures", "kline", 31, "kline"),
    Channel("futures", "orderBook", 32, "symbol"),
    Channel("futures", "lastTrade", 33, "symbol"),
    Channel("futures", "order", 35, "account"),
    Channel("futures", "position", 36, "account"),
    Channel("futures", "trade", 38, "account"),
    Channel("futures", "lastTradeV2", 43, "symbol"),
    Channel("futures", "premiumIndex", 44, "symbol"),
    Channel("futures", "positionEvent", 46, "account"),
)
_BY_NAME = {(channel.socket, channel.data_type): channel for channel in CHANNELS}


class Topic(msgspec.Struct, frozen=True):
    """What one subscription follows: a symbol (k-lines: and a period; books of spot: and a depth as period), a chain
    (index and `end_ms`), an account's private stream or, with an empty subject, a stream for all."""

    channel: Channel
    subject: str
    end_ms: int = 0
    period: str = ""


class Heartbeat(msgspec.Struct, frozen=True):
    """The client says that it is there."""


class Subscription(msgspec.Struct, frozen=True):
    """`payload` as sent, to be echoed. `symbols` is empty for private channels, and on unsubscribing from all."""

    subscribe: bool
    channel: Channel
    symbols: tuple[str, ...]
    end_ms: int
    payload: Any
    period: str = ""


def parse_request(socket: SocketName, text: str) -> Heartbeat | Subscription:
    """A client's frame. Raises ApiError saying what is wrong with it."""
    if len(text) > FRAME_CHARACTERS_MAX:
        raise ApiError(PARAMETER_ERROR, text="Parameter error: the frame is too long")
    fields = frame_object(text)
    if fields.get("c") == CODE_HEARTBEAT:
        return Heartbeat()
    action = fields.get("action")
    match action.lower() if isinstance(action, str) else None:
        case "heartbeat":
            return Heartbeat()
        case "subscribe":
            return _subscription(socket, fields, subscribe=True)
        case "unsubscribe":
            return _subscription(socket, fields, subscribe=False)
        case _:
            raise ApiError(PARAMETER_WRONG, "action")


def frame_object(text: str) -> dict[str, Any]:
    """The frame's object; a heartbeat in single quotes, which one client sends, is read as if in double ones."""
    for candidate in (text, text.replace("'", '"')):
        try:
            fields = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        if isinstance(fields, dict):
            return fields
    raise ApiError(PARAMETER_ERROR, text="Parameter error: the frame is not a JSON object")


def _subscription(socket: SocketName, fields: dict[str, Any], *, subscribe: bool) -> Subscription:
    data_type = fields.get("dataType")
    channel = _BY_NAME.get((socket, data_type)) if isinstance(data_type, str) else None
    if channel is None:
        raise ApiError(PARAMETER_WRONG, "dataType")
    payload = fields.get("payload")
    check_echo(payload)
    if channel.kind in ("account", "all"):
        return Subscription(subscribe, channel, (), 0, None)
    details = payload if isinstance(payload, dict) else {}
    symbols = _symbols(details.get("symbol"))
    if not symbols and subscribe:
        raise ApiError(PARAMETER_EMPTY, "payload.symbol")
    end_ms = 0
    if channel.kind == "chain" and symbols:
        end_ms = _end_ms(details.get("end"))
    period = ""
    if channel.kind == "kline" and (subscribe or details.get("period") is not None):
        period = _period(details.get("period"))
    return Subscription(subscribe, channel, symbols, end_ms, payload, period)


def _period(value: Any) -> str:
    period = period_of(value) if isinstance(value, str) else None
    if period is None:
        raise ApiError(PARAMETER_WRONG, "payload.period")
    return period


def check_echo(payload: Any) -> None:
    """The payload comes back in the acknowledgement: what JSON of ours cannot say (half a surrogate pair, an integer
    of 30 digits) is refused."""
    try:
        encode(payload)
    except (ValueError, ArithmeticError, RecursionError, msgspec.MsgspecError) as error:
        raise ApiError(PARAMETER_WRONG, "payload") from error


def _symbols(value: Any) -> tuple[str, ...]:
    values: Sequence[Any] = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(each, str) and each for each in values):
        raise ApiError(PARAMETER_WRONG, "payload.symbol")
    if len(values) > SYMBOLS_PER_REQUEST_MAX:
        raise ApiError(PARAMETER_WRONG, "payload.symbol")
    return tuple(values)


def _end_ms(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < INT64_MAX:
        raise ApiError(PARAMETER_WRONG, "payload.end")
    return value


HEARTBEAT_ACK = encode({"c": CODE_HEARTBEAT, "rc": 1}).decode()


def subscription_ack(request: Subscription) -> str:
    ack: dict[str, Any] = {
        "action": "SUBSCRIBE" if request.subscribe else "UNSUBSCRIBE",
        "dataType": request.channel.data_type,
        "result": "success",
    }
    if request.channel.kind not in ("account", "all"):
        ack["payload"] = request.payload
    return encode(ack).decode()


def refusal(error: ApiError) -> str:
    """The venue's form of a refused request is not documented; this one has neither `c` nor fields of data."""
    return encode({"action": "ERROR", "result": "fail", "code": error.code, "msg": error.text}).decode()


def data_frame(code: int, data: Any, ts_ms: int) -> str:
    return encode({"dt": code, "c": CODE_DATA, "d": data, "ts": ts_ms}).decode()
