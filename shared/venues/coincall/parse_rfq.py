"""Requests, quotes and block trades of the venue to our messages. Pure; raises ParseError like `parse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from shared.messages.base import Side
from shared.messages.rfq import BlockTrade, QuoteLeg, QuoteState, RfqLeg, RfqRole, VenueQuote, VenueRfq, VenueRfqState
from shared.messages.venue import VenueFill
from shared.venues.coincall import wire, wire_rfq
from shared.venues.coincall.parse import NS_PER_MS, ParseError, decoded, exact

_REQUEST_STATES: dict[str, VenueRfqState] = {
    "ACTIVE": "active",
    "CANCELLED": "cancelled",
    "FILLED": "filled",
    "TRADED_AWAY": "traded_away",
    "EXPIRED": "expired",
}
_QUOTE_STATES: dict[str, QuoteState] = {
    "OPEN": "open",
    "CANCELLED": "cancelled",
    "CANCEL": "cancelled",
    "FILLED": "filled",
    "EXPIRED": "expired",
}
"""Venue reference, section 6. Its older pages write CANCEL."""

_SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}
_ROLES: dict[str, RfqRole] = {"TAKER": "taker", "MAKER": "maker"}

T = TypeVar("T")


def parse_rfq(data: msgspec.Raw | bytes) -> VenueRfq:
    """A row of the list of requests, or a push of channel 129, which is the taker's."""
    row = decoded(wire_rfq.RequestRow, data)
    return VenueRfq(
        request_id=_id(row.requestId),
        state=_word(_REQUEST_STATES, row.state, "request state"),
        legs=tuple(_request_leg(leg) for leg in row.legs),
        created_ns=row.createTime * NS_PER_MS,
        expiry_ns=row.expiryTime * NS_PER_MS,
        role="taker" if row.role is None else _word(_ROLES, row.role, "role"),
    )


def parse_created(data: bytes) -> tuple[str, int, int]:
    """Id, creation and expiry (ns) out of the answer to creating a request."""
    row = decoded(wire_rfq.CreatedRow, data)
    return _id(row.requestId), row.createTime * NS_PER_MS, row.expiryTime * NS_PER_MS


def parse_quote(data: msgspec.Raw | bytes) -> VenueQuote:
    """A row of quotes received, or a push of channel 131."""
    row = decoded(wire_rfq.QuoteRow, data)
    if not row.legs:
        raise ParseError(f"quote {row.quoteId} has no legs")
    return VenueQuote(
        quote_id=_id(row.quoteId),
        request_id="" if row.requestId is None else _id(row.requestId),
        quote_side=_quote_side(row.quoteSide),
        state=_word(_QUOTE_STATES, row.state, "quote state"),
        legs=tuple(
            QuoteLeg(
                symbol=leg.instrumentName,
                side=_word(_SIDES, leg.side, "side"),
                quantity=exact(leg.quantity),
                price=exact(leg.price),
            )
            for leg in row.legs
        ),
        created_ns=row.createTime * NS_PER_MS,
        expiry_ns=row.expiryTime * NS_PER_MS,
    )


def parse_block_trade(data: msgspec.Raw | bytes) -> BlockTrade:
    """The answer to an accept, a row of the private list, or a push of channel 22: always our side of each leg."""
    row = decoded(wire_rfq.BlockTradeRow, data)
    if not row.legs:
        raise ParseError(f"block trade of request {row.requestId} has no legs")
    role = _word(_ROLES, row.role, "role")
    newest_ms = max(leg.createTime for leg in row.legs)
    return BlockTrade(
        block_trade_id="" if row.blockTradeId is None else _id(row.blockTradeId),
        request_id=_id(row.requestId),
        quote_id="" if row.quoteId is None else _id(row.quoteId),
        role=role,
        legs=tuple(_executed_leg(leg, role) for leg in row.legs),
        venue_ns=(newest_ms if row.createTime is None else row.createTime) * NS_PER_MS,
    )


def _executed_leg(leg: wire_rfq.ExecutedLegRow, role: RfqRole) -> VenueFill:
    return VenueFill(
        venue_trade_id=leg.tradeId,
        venue_order_id=leg.orderId,
        client_order_id=None,
        symbol=leg.instrumentName,
        side=_word(_SIDES, leg.side, "side"),
        quantity=exact(leg.quantity),
        price=exact(leg.price),
        fee_usd=None if leg.fee is None else exact(leg.fee),
        is_taker=role == "taker",
        venue_ns=leg.createTime * NS_PER_MS,
        is_block=True,
    )


def _request_leg(leg: wire_rfq.RequestLegRow) -> RfqLeg:
    quantity = leg.qty if leg.quantity is None else leg.quantity
    if quantity is None:
        raise ParseError(f"a request's leg of {leg.instrumentName} has neither quantity nor qty")
    return RfqLeg(symbol=leg.instrumentName, side=_word(_SIDES, leg.side, "side"), quantity=exact(quantity))


def _quote_side(text: str | None) -> Side | None:
    if not text:
        return None
    return _word(_SIDES, text, "quoteSide")


def _word(table: Mapping[str, T], text: str, what: str) -> T:
    found = table.get(text.upper())
    if found is None:
        raise ParseError(f"{what} {text[:40]!r} is none of {', '.join(table)}")
    return found


def _id(given: wire_rfq.TextId | wire.Id) -> str:
    """An id as text, whichever way it was written."""
    text = str(given)
    if not text or len(text) > 64:
        raise ParseError(f"{text[:80]!r} is no id")
    return text
