"""The topics of the spot sockets, whose protocol is their own: requests, acknowledgements and frames. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from services.exchange.klines import Period
from services.exchange.server.channels import (
    CODE_HEARTBEAT,
    FRAME_CHARACTERS_MAX,
    Channel,
    Heartbeat,
    Subscription,
    Topic,
    check_echo,
    frame_object,
)
from services.exchange.server.errors import PARAMETER_EMPTY, PARAMETER_ERROR, PARAMETER_WRONG, ApiError
from services.exchange.server.wire import encode
from services.exchange.switches import Switches

SpotSocket = Literal["spot", "spot_private"]

BOOK = Channel("spot", "market.<SYM>.mbp.<N>", 0, "symbol")
TRADES = Channel("spot", "market.<SYM>.trade.detail", 0, "symbol")
KLINE = Channel("spot", "market.<SYM>.kline.<interval>", 0, "kline")
BEST = Channel("spot", "market.<SYM>.bbo", 0, "symbol")
OVERVIEW_ALL = Channel("spot", "market.overviewv2", 0, "all")
OVERVIEW = Channel("spot", "market.<SYM>.overviewv2", 0, "symbol")
ORDERS = Channel("spot_private", "order", 0, "account")
FILLS = Channel("spot_private", "trade", 0, "account")
SPOT_CHANNELS = (BOOK, TRADES, KLINE, BEST, OVERVIEW_ALL, OVERVIEW, ORDERS, FILLS)

BOOK_DEPTHS = ("1", "50", "100", "200")
INTERVALS: dict[str, Period] = {
    "1min": "m1",
    "5min": "m5",
    "15min": "m15",
    "30min": "m30",
    "60min": "h1",
    "4hour": "h4",
    "1day": "d1",
    "1week": "w1",
    "1mon": "mn1",
}
_INTERVAL_OF = {period: interval for interval, period in INTERVALS.items()}
_PLAIN = {"overviewv2": OVERVIEW, "bbo": BEST, "trade.detail": TRADES}


class Ping(msgspec.Struct, frozen=True):
    """A client's `{"ping": n}`, or its answer to the server's, which needs none."""

    answer: str | None


def parse_spot_request(socket: SpotSocket, text: str) -> Heartbeat | Ping | Subscription:
    """A client's frame; `payload` of a subscription is its whole object. Raises ApiError saying what is wrong."""
    if len(text) > FRAME_CHARACTERS_MAX:
        raise ApiError(PARAMETER_ERROR, text="Parameter error: the frame is too long")
    fields = frame_object(text)
    action = fields.get("action")
    if fields.get("c") == CODE_HEARTBEAT or (isinstance(action, str) and action.lower() == "heartbeat"):
        return Heartbeat()
    check_echo(fields)
    if "ping" in fields:
        return Ping(encode({"pong": fields["ping"]}).decode())
    if "pong" in fields:
        return Ping(None)
    for name, subscribe in (("sub", True), ("unsub", False)):
        if name in fields:
            return _subscription(socket, fields, name, subscribe=subscribe)
    raise ApiError(PARAMETER_EMPTY, "sub")


def _subscription(socket: SpotSocket, fields: dict[str, Any], name: str, *, subscribe: bool) -> Subscription:
    topic = fields[name]
    found = _topic(topic) if isinstance(topic, str) else None
    if found is None or found[0].socket != socket:
        raise ApiError(PARAMETER_WRONG, name)
    channel, symbol, period = found
    return Subscription(subscribe, channel, (symbol,) if symbol else (), 0, fields, period)


def _topic(text: str) -> tuple[Channel, str, str] | None:
    """Channel, symbol, and depth or period."""
    if text in ("order", "trade"):
        return (ORDERS if text == "order" else FILLS), "", ""
    if text == "market.overviewv2":
        return OVERVIEW_ALL, "", ""
    market, _, rest = text.partition(".")
    symbol, _, kind = rest.partition(".")
    if market != "market" or not symbol:
        return None
    if kind in _PLAIN:
        return _PLAIN[kind], symbol, ""
    stream, _, detail = kind.partition(".")
    if stream == "mbp" and detail in BOOK_DEPTHS:
        return BOOK, symbol, detail
    if stream == "kline" and detail in INTERVALS:
        return KLINE, symbol, INTERVALS[detail]
    return None


def topic_text(topic: Topic) -> str:
    """As clients name it."""
    detail = _INTERVAL_OF.get(topic.period, topic.period)  # type: ignore[call-overload]
    name = topic.channel.data_type.replace("<SYM>", topic.subject)
    return str(name.replace("<N>", detail).replace("<interval>", detail))


def spot_frame(topic: Topic, tick: Any, ts_ms: int) -> str:
    return encode({"ch": topic_text(topic), "ts": ts_ms, "status": "ok", "tick": tick}).decode()


def spot_ack(request: Subscription, ts_ms: int, switches: Switches) -> str | None:
    """The venue's form is not documented: see the switch `spot_ack`."""
    name = "sub" if request.subscribe else "unsub"
    match switches.spot_ack:
        case "none":
            return None
        case "action":
            action = "SUBSCRIBE" if request.subscribe else "UNSUBSCRIBE"
            return encode({"action": action, "dataType": request.payload[name], "result": "success"}).decode()
    told = {"id": request.payload.get("id"), "status": "ok", f"{name}bed": request.payload[name], "ts": ts_ms}
    return encode(told).decode()
