"""The taker's calls of requests for quote. What is not in the venue's table of rejections has an unknown outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from shared.messages.rfq import (
    AcceptRefused,
    AcceptUnknown,
    BlockTrade,
    QuoteAccepted,
    RfqCancelled,
    RfqCancelRefused,
    RfqCancelUnknown,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
)
from shared.venues.coincall import build, errors, parse, parse_rfq, wire, wire_rfq
from shared.venues.coincall.endpoints import (
    ACCEPT_QUOTE,
    BLOCK_TRADES,
    CANCEL_RFQ,
    CREATE_RFQ,
    QUOTES_RECEIVED,
    RFQ_LIST,
    Endpoint,
)
from shared.venues.coincall.history import windows
from shared.venues.coincall.limits import Lane
from shared.venues.coincall.parse import ParseError
from shared.venues.coincall.rest import RestClient
from shared.venues.coincall.sign import Value
from shared.venues.ports import VenueError

LIST_WINDOW_MS = 3 * 86_400_000
"""The venue's list of requests takes ranges of at most three days."""
TRADE_PAGE_SIZE = 49
"""Fewer than 50."""
_REQUEST_LIFE_NS = 3_600_000_000_000
_MAX_PAGES = 1_000


async def create(
    rest: RestClient, rfq_id: str, legs: Sequence[RfqLeg], lane: Lane
) -> RfqCreated | RfqRefused | RfqUnknown:
    """Ask for quotes, once. A request that never left is RfqRefused with code 0 and "not sent: ..."."""
    result = await rest.send(CREATE_RFQ, build.rfq(legs), lane)
    refusal = errors.refusal_of(result)
    if refusal is not None:
        return RfqRefused(rfq_id=rfq_id, kind=refusal.kind, code=refusal.code, text=refusal.text)
    data = errors.data_of(result)
    if data is None:
        return RfqUnknown(rfq_id=rfq_id, reason=errors.reason_of(result))
    try:
        request_id, created_ns, expiry_ns = parse_rfq.parse_created(data)
    except ParseError as error:
        return RfqUnknown(rfq_id=rfq_id, reason=f"taken, but the answer cannot be read: {error}")
    return RfqCreated(rfq_id=rfq_id, request_id=request_id, created_ns=created_ns, expiry_ns=expiry_ns)


async def cancel(rest: RestClient, request_id: str) -> RfqCancelled | RfqCancelRefused | RfqCancelUnknown:
    """Withdraw a request, once. A call that never left is RfqCancelRefused with code 0 and "not sent: ..."."""
    result = await rest.send(CANCEL_RFQ, {"requestId": request_id}, "cancel")
    refusal = errors.refusal_of(result, errors.ALREADY_DONE | errors.QUOTE_REFUSED)
    if refusal is not None:
        return RfqCancelRefused(request_id=request_id, code=refusal.code, text=refusal.text)
    if errors.data_of(result) is None:
        return RfqCancelUnknown(request_id=request_id, reason=errors.reason_of(result))
    return RfqCancelled(request_id=request_id)


async def accept(
    rest: RestClient, request_id: str, quote_id: str, lane: Lane
) -> QuoteAccepted | AcceptRefused | AcceptUnknown:
    """Execute a quote, once. A call that never left is AcceptRefused with code 0 and "not sent: ..."."""
    result = await rest.send(ACCEPT_QUOTE, {"requestId": request_id, "quoteId": quote_id}, lane)
    refusal = errors.refusal_of(result, errors.QUOTE_REFUSED)
    if refusal is not None:
        return AcceptRefused(
            request_id=request_id, quote_id=quote_id, kind=refusal.kind, code=refusal.code, text=refusal.text
        )
    data = errors.data_of(result)
    if data is None:
        return AcceptUnknown(request_id=request_id, quote_id=quote_id, reason=errors.reason_of(result))
    try:
        trade = parse_rfq.parse_block_trade(data)
        if (trade.request_id, trade.quote_id or quote_id) != (request_id, quote_id):
            raise ParseError(f"it is of request {trade.request_id}, quote {trade.quote_id}")
    except ParseError as error:
        reason = f"taken, but the answer cannot be read: {error}"
        return AcceptUnknown(request_id=request_id, quote_id=quote_id, reason=reason)
    return QuoteAccepted(request_id=request_id, quote_id=quote_id, trade=trade)


async def quotes_received(
    rest: RestClient, request_id: str, on_skipped: Callable[[str], None]
) -> tuple[VenueQuote, ...]:
    """All quotes on a request, whatever their state. One that cannot be read is reported and left out: it stands for
    itself, and the others may be good. Raises VenueError."""
    data = await rest.read(QUOTES_RECEIVED, {"requestId": request_id})
    found: dict[str, VenueQuote] = {}
    for row in _rows(QUOTES_RECEIVED, data):
        try:
            quote = parse_rfq.parse_quote(row)
        except ParseError as error:
            on_skipped(f"quote: {error}")
            continue
        if quote.request_id in ("", request_id):
            found[quote.quote_id] = msgspec.structs.replace(quote, request_id=request_id)
    return tuple(found.values())


async def requests(rest: RestClient, since_ns: int) -> tuple[VenueRfq, ...]:
    """This account's requests as taker, created since then, oldest first. Raises VenueError, of kind "rejected" with
    HTTP 404 for accounts that may not read the list."""
    found: dict[str, VenueRfq] = {}
    for start_ms, end_ms in windows(since_ns, rest.venue_now_ns(), LIST_WINDOW_MS):
        params: dict[str, Value] = {"role": "TAKER", "startTime": start_ms, "endTime": end_ms}
        data = await rest.read(RFQ_LIST, params)
        try:
            page = parse.decoded(wire_rfq.RequestPage, data)
            rows = [parse_rfq.parse_rfq(row) for row in page.rfqList or ()]
        except ParseError as error:
            raise VenueError("unknown", f"{RFQ_LIST.name}: {error}") from None
        found |= {row.request_id: row for row in rows if row.role == "taker"}
    return tuple(sorted(found.values(), key=lambda row: (row.created_ns, row.request_id)))


async def block_trades(rest: RestClient, since_ns: int) -> tuple[BlockTrade, ...]:
    """This account's block trades since then, oldest first. Raises VenueError.

    The list goes by id, and a trade's id is its quote's: one that is a request's life younger may follow.
    """
    found: dict[str, BlockTrade] = {}
    cursor: int | None = None
    for _ in range(_MAX_PAGES):
        params: dict[str, Value] = {"pageSize": TRADE_PAGE_SIZE}
        data = await rest.read(BLOCK_TRADES, params if cursor is None else params | {"fromId": cursor})
        try:
            page = _page(data)
            rows = [parse_rfq.parse_block_trade(row) for row in page.rows or ()]
            ids = [int(row.block_trade_id or row.quote_id) for row in rows]
        except ValueError as error:
            raise VenueError("unknown", f"{BLOCK_TRADES.name}: {error}") from None
        found |= {row.block_trade_id or row.quote_id: row for row in rows if row.venue_ns >= since_ns}
        oldest_ns = min((row.venue_ns for row in rows), default=0)
        if not rows or not page.hasNext or oldest_ns < since_ns - _REQUEST_LIFE_NS:
            return tuple(sorted(found.values(), key=lambda row: (row.venue_ns, row.block_trade_id)))
        if cursor is not None and min(ids) >= cursor:
            raise VenueError("unknown", f"{BLOCK_TRADES.name}: paging does not advance past id {cursor}")
        cursor = min(ids)
    raise VenueError("unknown", f"{BLOCK_TRADES.name}: more than {_MAX_PAGES} pages")


def _page(data: bytes) -> wire.PageByCursor:
    """A page; a venue that answers with a bare list has nothing more to show."""
    if data.lstrip().startswith(b"["):
        return wire.PageByCursor(rows=parse.decoded_list(msgspec.Raw, data))
    return parse.decoded(wire.PageByCursor, data)


def _rows(endpoint: Endpoint, data: bytes) -> list[msgspec.Raw]:
    try:
        return parse.decoded_list(msgspec.Raw, data)
    except ParseError as error:
        raise VenueError("unknown", f"{endpoint.name}: {error}") from None
