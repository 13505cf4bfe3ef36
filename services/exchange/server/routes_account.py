"""Signed queries about the account: fills, positions, exercises, balances, user, key, transfers."""

from __future__ import annotations

from typing import Any

from services.exchange.server.api import Call, Endpoint
from services.exchange.server.paging import (
    DAY_MS,
    RANGE_MAX_MS,
    cursor_page,
    direction_of,
    numbered_page,
    page_size_of,
    time_range_of,
)
from services.exchange.server.render_account import (
    exercise_row,
    fill_row,
    key_info_row,
    position_row,
    summary_row,
    transfer_row,
    user_info_row,
)

NS_PER_MS = 1_000_000
TRADE_PAGE_MAX, EXERCISE_PAGE_MAX = 500, 50


def trade_history(call: Call) -> Any:
    size = page_size_of(call.fields, TRADE_PAGE_MAX)
    span = time_range_of(call.fields, call.now_ms, call.now_ms - DAY_MS)
    fills = call.core.fills(call.account_id, span.start_ms * NS_PER_MS, (span.end_ms + 1) * NS_PER_MS - 1)
    from_id = call.fields.integer("fromId")
    direction = direction_of(call.fields)
    page = cursor_page(fills, lambda fill: fill.trade_id, from_id=from_id, page_size=size, direction=direction)
    return {
        "list": [fill_row(fill) for fill in page.items],
        "hasNext": page.has_next,
        "hasPre": page.has_previous,
    }


def positions(call: Call) -> Any:
    return [position_row(position, call.signer.user_id) for position in call.core.positions(call.account_id)]


def exercise_history(call: Call) -> Any:
    size = page_size_of(call.fields, EXERCISE_PAGE_MAX)
    span = time_range_of(call.fields, call.now_ms, call.now_ms - RANGE_MAX_MS)
    symbol = call.fields.text("symbol")
    exercises = [
        exercise
        for exercise in call.core.exercise_history(
            call.account_id, span.start_ms * NS_PER_MS, (span.end_ms + 1) * NS_PER_MS - 1
        )
        if symbol is None or exercise.symbol == symbol
    ]
    number = _page_number(call)
    page = numbered_page(exercises, page=number, page_size=size)
    rows = [exercise_row(exercise) for exercise in page.items]
    return {"list": rows, "hasNext": number < page.page_total, "hasPrev": number > 1}


def _page_number(call: Call) -> int:
    number = call.fields.integer("page")
    return 1 if number is None else number


def account_summary(call: Call) -> Any:
    return summary_row(call.core.account_summary(call.account_id), call.signer.user_id)


def user_info(call: Call) -> Any:
    return user_info_row(call.signer)


def key_info(call: Call) -> Any:
    return key_info_row(call.signer)


def transfer_history(call: Call) -> Any:
    """Deposits (`type=0`), withdrawals (`type=1`) or both (-1, the default), newest first."""
    size = page_size_of(call.fields, TRADE_PAGE_MAX)
    kind = call.fields.integer("type")
    start_ms = call.fields.integer("startTime")
    end_ms = call.fields.integer("endTime")
    transfers = [
        transfer
        for transfer in call.core.transfers(call.account_id)
        if kind in (None, -1, 0 if transfer.amount >= 0 else 1)
        and (start_ms is None or transfer.at_ns >= start_ms * NS_PER_MS)
        and (end_ms is None or transfer.at_ns < (end_ms + 1) * NS_PER_MS)
    ]
    page = numbered_page(transfers, page=_page_number(call), page_size=size)
    rows = [transfer_row(transfer) for transfer in page.items]
    return {"list": rows, "pageTotal": page.page_total, "total": page.total}


def account_endpoints() -> list[Endpoint]:
    return [
        Endpoint("GET", "/open/option/trade/history/v1", "read", "history", trade_history),
        Endpoint("GET", "/open/option/position/get/v1", "read", "positions", positions),
        Endpoint("GET", "/open/settle/exercise/history/v1", "read", "history", exercise_history),
        Endpoint("GET", "/open/account/summary/v1", "read", "account", account_summary),
        Endpoint("GET", "/open/account/historyList/v1", "read", "history", transfer_history),
        Endpoint("GET", "/open/user/info/v1", "read", "account", user_info),
        Endpoint("GET", "/open/auth/user/query-api", "read", "key_info", key_info),
    ]
