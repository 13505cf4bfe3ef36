"""Structures of requests for quote as they come over the wire. Ids are numbers or texts, a request's leg says `qty`
or `quantity`, amounts are texts: all forms that were seen live are read."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.venues.coincall.wire import Id, Millis, Number, VenueId

TextId = int | str


class RequestLegRow(msgspec.Struct, frozen=True):
    instrumentName: str
    side: str
    qty: Number = None
    quantity: Number = None


class RequestRow(msgspec.Struct, frozen=True):
    """Of the answer to creating, of the list and of the channels 28 and 129."""

    requestId: TextId
    state: str
    createTime: Millis
    expiryTime: Millis
    legs: list[RequestLegRow]
    role: str | None = None


class RequestPage(msgspec.Struct, frozen=True):
    rfqList: list[msgspec.Raw] | None = None


class CreatedRow(msgspec.Struct, frozen=True):
    requestId: TextId
    createTime: Millis
    expiryTime: Millis


class QuoteLegRow(msgspec.Struct, frozen=True):
    """`side` is the maker's."""

    instrumentName: str
    side: str
    price: Decimal
    quantity: Decimal


class QuoteRow(msgspec.Struct, frozen=True):
    """Of quotes received and of channel 131."""

    quoteId: TextId
    state: str
    createTime: Millis
    expiryTime: Millis
    legs: list[QuoteLegRow]
    requestId: Id = None
    quoteSide: str | None = None


class ExecutedLegRow(msgspec.Struct, frozen=True):
    """One executed leg; `side` is the account's own."""

    instrumentName: str
    side: str
    price: Decimal
    quantity: Decimal
    orderId: VenueId
    tradeId: VenueId
    createTime: Millis
    fee: Number = None


class BlockTradeRow(msgspec.Struct, frozen=True):
    """Of the answer to accepting, which has no time of its own, of the private list and of channel 22."""

    requestId: TextId
    role: str
    legs: list[ExecutedLegRow]
    blockTradeId: Id = None
    quoteId: Id = None
    createTime: Millis | None = None
