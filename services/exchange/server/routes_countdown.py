"""The countdown of market makers: set, get, heartbeat. Its path says futures, it serves the options here."""

from __future__ import annotations

from typing import Any

from services.exchange.model import SetCountdown
from services.exchange.server.api import Call, Endpoint
from services.exchange.server.errors import PARAMETER_WRONG, ApiError

OPTIONS = 1


def _need_options(call: Call) -> None:
    """`type` 2 (futures) and 3 (spot) exist at the venue; what they would cancel does not exist here."""
    if call.fields.need_integer("type") != OPTIONS:
        raise ApiError(PARAMETER_WRONG, "type")


def set_countdown(call: Call) -> Any:
    index = call.fields.need_text("symbol")
    _need_options(call)
    command = SetCountdown(index, call.fields.need_integer("countdownTime"))
    call.venue.execute(lambda core, now_ns: core.set_countdown(call.account_id, command, now_ns))
    return True


def countdowns(call: Call) -> Any:
    _need_options(call)
    return [
        {"type": OPTIONS, "symbol": index, "countdownTime": countdown.countdown_ms}
        for index, countdown in call.core.countdowns(call.account_id)
    ]


def heartbeat(call: Call) -> Any:
    """The symbols, comma-separated, whose countdowns run anew; the others are left out."""
    indices = [text.strip() for text in call.fields.need_text("symbols").split(",")]
    _need_options(call)
    return call.venue.execute(lambda core, now_ns: core.restart_countdowns(call.account_id, indices, now_ns)).indices


def countdown_endpoints() -> list[Endpoint]:
    root = "/open/futures/countdown/cancel"
    return [
        Endpoint("POST", f"{root}/v1", "market_maker", "countdown", set_countdown),
        Endpoint("GET", f"{root}/get/v1", "market_maker", "countdown", countdowns),
        Endpoint("POST", f"{root}/heartbeat/v1", "market_maker", "countdown", heartbeat),
    ]
