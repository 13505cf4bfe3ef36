"""The venue's two styles of pages, over sequences whose ids ascend with time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

import msgspec

from services.exchange.server.errors import PARAMETER_WRONG, ApiError
from services.exchange.server.wire import Fields

T = TypeVar("T")
Direction = Literal["NEXT", "PREV"]

DAY_MS = 86_400_000
RANGE_MAX_MS = 90 * DAY_MS
PAGE_SIZE_DEFAULT = 20


class CursorPage(msgspec.Struct, Generic[T], frozen=True):
    """Newest first. What `has_next` and `has_previous` say depends on the direction: see `cursor_page`."""

    items: list[T]
    has_next: bool
    has_previous: bool


class NumberedPage(msgspec.Struct, Generic[T], frozen=True):
    """Newest first. `total` counts all, `page_total` the pages."""

    items: list[T]
    page_total: int
    total: int


class TimeRange(msgspec.Struct, frozen=True):
    """Both ends belong to it; milliseconds."""

    start_ms: int
    end_ms: int


def page_size_of(fields: Fields, size_max: int) -> int:
    """`pageSize`, 20 when absent; ApiError outside 1..size_max."""
    size = fields.integer("pageSize")
    if size is None:
        return PAGE_SIZE_DEFAULT
    if not 1 <= size <= size_max:
        raise ApiError(PARAMETER_WRONG, "pageSize")
    return size


def time_range_of(fields: Fields, now_ms: int, default_start_ms: int) -> TimeRange:
    """`startTime` and `endTime`; ApiError when they are swapped or more than 90 days apart."""
    end_ms = fields.integer("endTime")
    start_ms = fields.integer("startTime")
    if end_ms is None:
        end_ms = now_ms
    if start_ms is None:
        start_ms = min(default_start_ms, end_ms)
    if start_ms > end_ms:
        raise ApiError(PARAMETER_WRONG, "startTime")
    if end_ms - start_ms > RANGE_MAX_MS:
        raise ApiError(PARAMETER_WRONG, "startTime")
    return TimeRange(start_ms, end_ms)


def direction_of(fields: Fields) -> Direction:
    """`direction`, NEXT when absent; ApiError for another word."""
    match (fields.text("direction") or "NEXT").upper():
        case "NEXT":
            return "NEXT"
        case "PREV":
            return "PREV"
        case _:
            raise ApiError(PARAMETER_WRONG, "direction")


def cursor_page(
    items: Sequence[T],
    id_of: Callable[[T], int],
    *,
    from_id: int | None,
    page_size: int,
    direction: Direction = "NEXT",
) -> CursorPage[T]:
    """A page next to `from_id`, newest first; `items` ascend by id, `from_id` None or 0 asks for the newest page.

    NEXT: ids below it; more of the older ones is `has_next`, not being the first page `has_previous`. PREV: ids above
    it; more of the newer ones is `has_next`, older ones than the page `has_previous`.
    """
    if direction == "PREV" and from_id:
        newer = [item for item in items if id_of(item) > from_id]
        return CursorPage(
            newer[:page_size][::-1], has_next=len(newer) > page_size, has_previous=len(newer) < len(items)
        )
    older = [item for item in items if not from_id or id_of(item) < from_id]
    page = older[-page_size:][::-1]
    return CursorPage(page, has_next=len(older) > page_size, has_previous=bool(from_id) and len(older) < len(items))


def numbered_page(items: Sequence[T], *, page: int, page_size: int) -> NumberedPage[T]:
    """Page `page` (from 1) of the items, which ascend by id, newest first."""
    if page < 1:
        raise ApiError(PARAMETER_WRONG, "page")
    newest_first = items[::-1]
    start = (page - 1) * page_size
    return NumberedPage(list(newest_first[start : start + page_size]), -(-len(items) // page_size), len(items))
