"""The venue's lists, all pages of them. Rows that show up twice while pages move count once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from shared.messages.venue import VenueExercise, VenueFill, VenueOrder, VenueTransfer
from shared.venues.coincall import parse, wire
from shared.venues.coincall.endpoints import EXERCISES, FILLS, ORDER_HISTORY, PENDING_ORDERS, TRANSFERS, Endpoint
from shared.venues.coincall.parse import NS_PER_MS, ParseError
from shared.venues.coincall.rest import RestClient
from shared.venues.coincall.sign import Value
from shared.venues.ports import VenueError

PAGE_SIZE = 500
EXERCISE_PAGE_SIZE = 50
TRANSFER_PAGE_SIZE = 50
NUMBERED_PAGE_SIZE = 50
WINDOW_MS = 89 * 86_400_000
"""The venue takes ranges of at most 90 days."""

_AHEAD_MS = 5_000
_MAX_PAGES = 10_000

T = TypeVar("T")


async def open_orders(rest: RestClient, endpoint: Endpoint = PENDING_ORDERS) -> tuple[VenueOrder, ...]:
    """Every resting order of the account. Raises VenueError.

    Beyond one page (500) an order can be missed while others vanish between two pages: absence here is no proof.
    """
    found: dict[int, VenueOrder] = {}
    for page in range(1, _MAX_PAGES):
        data = await rest.read(endpoint, {"page": page, "pageSize": PAGE_SIZE})
        try:
            numbered = parse.decoded(wire.PageNumbered, data)
            rows = [parse.parse_order(row, open_order=True) for row in numbered.rows or ()]
        except ParseError as error:
            raise VenueError("unknown", f"{endpoint.name}: {error}") from None
        found |= {order.venue_order_id: order for order in rows}
        if not rows or _is_last(numbered, page, len(rows), PAGE_SIZE):
            return tuple(found.values())
    raise _endless(endpoint)


async def order_history(
    rest: RestClient, since_ns: int, endpoint: Endpoint = ORDER_HISTORY
) -> tuple[VenueOrder, ...]:
    """Orders created since then, oldest first. Raises VenueError."""
    orders = await _by_cursor(rest, endpoint, since_ns, parse.parse_order, lambda order: order.venue_order_id)
    return tuple(sorted(orders, key=lambda order: (order.created_ns, order.venue_order_id)))


async def fills(rest: RestClient, since_ns: int, endpoint: Endpoint = FILLS) -> tuple[VenueFill, ...]:
    """Executions since then, oldest first. Raises VenueError."""
    trades = await _by_cursor(rest, endpoint, since_ns, parse.parse_fill, lambda fill: fill.venue_trade_id)
    return tuple(sorted(trades, key=lambda fill: (fill.venue_ns, fill.venue_trade_id)))


async def exercises(rest: RestClient, since_ns: int) -> tuple[VenueExercise, ...]:
    """Settlements since then, oldest first. They carry no id: equal rows are one. Raises VenueError."""
    found: dict[VenueExercise, None] = {}
    for start_ms, end_ms in windows(since_ns, rest.venue_now_ns()):
        for page in range(1, _MAX_PAGES):
            params: dict[str, Value] = {"startTime": start_ms, "endTime": end_ms}
            data = await rest.read(EXERCISES, params | {"page": page, "pageSize": EXERCISE_PAGE_SIZE})
            try:
                listed = parse.decoded(wire.PageByCursor, data)
                rows = [parse.parse_exercise(row) for row in listed.rows or ()]
            except ParseError as error:
                raise VenueError("unknown", f"{EXERCISES.name}: {error}") from None
            found |= dict.fromkeys(rows)
            if not rows or not listed.hasNext:
                break
        else:
            raise _endless(EXERCISES)
    return tuple(sorted(found, key=lambda row: (row.venue_ns, row.symbol)))


async def transfers(rest: RestClient, since_ns: int) -> tuple[VenueTransfer, ...]:
    """Completed deposits and withdrawals of those that were begun since then, oldest first. Raises VenueError."""
    found: dict[str, VenueTransfer] = {}
    for start_ms, end_ms in windows(since_ns, rest.venue_now_ns()):
        for page in range(1, _MAX_PAGES):
            params: dict[str, Value] = {"startTime": start_ms, "endTime": end_ms}
            data = await rest.read(TRANSFERS, params | {"page": page, "pageSize": TRANSFER_PAGE_SIZE})
            try:
                numbered = parse.decoded(wire.PageNumbered, data)
                rows = [parse.parse_transfer(row) for row in numbered.rows or ()]
            except ParseError as error:
                raise VenueError("unknown", f"{TRANSFERS.name}: {error}") from None
            found |= {row.transfer_id: row for row in rows if row is not None and row.transfer_id not in found}
            if not rows or _is_last(numbered, page, len(rows), TRANSFER_PAGE_SIZE):
                break
        else:
            raise _endless(TRANSFERS)
    return tuple(reversed(found.values()))


async def by_page(
    rest: RestClient,
    endpoint: Endpoint,
    since_ns: int,
    read_row: Callable[[msgspec.Raw], T],
    params: dict[str, Value],
) -> list[T]:
    """All rows since then of a list with numbered pages; one may show up twice. Raises VenueError."""
    found: list[T] = []
    for start_ms, end_ms in windows(since_ns, rest.venue_now_ns()):
        for page in range(1, _MAX_PAGES):
            asked = params | {"startTime": start_ms, "endTime": end_ms, "page": page, "pageSize": NUMBERED_PAGE_SIZE}
            data = await rest.read(endpoint, asked)
            try:
                numbered = parse.decoded(wire.PageNumbered, data)
                rows = [read_row(row) for row in numbered.rows or ()]
            except ParseError as error:
                raise VenueError("unknown", f"{endpoint.name}: {error}") from None
            found += rows
            if not rows or _is_last(numbered, page, len(rows), NUMBERED_PAGE_SIZE):
                break
        else:
            raise _endless(endpoint)
    return found


def windows(since_ns: int, now_ns: int, window_ms: int = WINDOW_MS) -> Iterator[tuple[int, int]]:
    """Ranges (start, end) in ms that cover since..now and a little more, each within what the venue allows."""
    start_ms, last_ms = since_ns // NS_PER_MS, now_ns // NS_PER_MS + _AHEAD_MS
    while True:
        end_ms = min(start_ms + window_ms, last_ms)
        yield start_ms, max(start_ms, end_ms)
        if end_ms >= last_ms:
            return
        start_ms = end_ms


async def _by_cursor(
    rest: RestClient,
    endpoint: Endpoint,
    since_ns: int,
    read_row: Callable[[msgspec.Raw], T],
    id_of: Callable[[T], int],
) -> list[T]:
    found: dict[int, T] = {}
    for start_ms, end_ms in windows(since_ns, rest.venue_now_ns()):
        cursor: int | None = None
        while True:
            params: dict[str, Value] = {"pageSize": PAGE_SIZE, "startTime": start_ms, "endTime": end_ms}
            data = await rest.read(endpoint, params if cursor is None else params | {"fromId": cursor})
            try:
                listed = parse.decoded(wire.PageByCursor, data)
                rows = {id_of(row): row for row in map(read_row, listed.rows or ())}
            except ParseError as error:
                raise VenueError("unknown", f"{endpoint.name}: {error}") from None
            found |= rows
            if not rows or not listed.hasNext:
                break
            smallest = min(rows)
            if cursor is not None and smallest >= cursor:
                raise VenueError("unknown", f"{endpoint.name}: paging does not advance past id {cursor}")
            cursor = smallest
    return list(found.values())


def _is_last(page: wire.PageNumbered, number: int, rows: int, page_size: int) -> bool:
    """By the venue's count of pages or rows, or by a page that is not full."""
    if page.pageTotal is not None:
        return number >= page.pageTotal
    if page.total is not None:
        return number * page_size >= page.total
    return rows < page_size


def _endless(endpoint: Endpoint) -> VenueError:
    return VenueError("unknown", f"{endpoint.name}: more than {_MAX_PAGES} pages")
