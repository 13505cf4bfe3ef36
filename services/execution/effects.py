"""What execution asks its shell to do at the venue. Every outcome comes back as an input."""

from __future__ import annotations

from typing import Any

import msgspec

from services.execution.cash_effects import CashEffect, SellSpot
from shared.messages.rfq import RfqLeg
from shared.messages.venue import Amendment, NewOrder, OrderRef


class PlaceOrder(msgspec.Struct, frozen=True):
    """Send the order, once. Comes back as OrderAcked, OrderRefused or OutcomeUnknown."""

    order: NewOrder


class AmendOrder(msgspec.Struct, frozen=True):
    """Change a resting order, once. Comes back as AmendAcked, AmendRefused or AmendUnknown."""

    change: Amendment


class CancelOrder(msgspec.Struct, frozen=True):
    """Cancel the order. Comes back as CancelAcked, CancelRefused or OutcomeUnknown."""

    order: OrderRef


class PlaceBatch(msgspec.Struct, frozen=True):
    """Send each order, once, in the venue's batches where the account may. Each comes back as with PlaceOrder; when
    the margin does not suffice for one, what has not left yet comes back refused."""

    orders: tuple[NewOrder, ...]


class AmendBatch(msgspec.Struct, frozen=True):
    """Change each order, once. Each comes back as with AmendOrder."""

    changes: tuple[Amendment, ...]


class CancelBatch(msgspec.Struct, frozen=True):
    """Cancel each order. Each comes back as with CancelOrder."""

    orders: tuple[OrderRef, ...]


class SetCountdown(msgspec.Struct, frozen=True):
    """Have the venue cancel every order of the underlying after `countdown_ms`, counted anew from now; 0: never.
    Comes back as CountdownSet, CountdownRefused or CountdownUnknown."""

    underlying: str
    countdown_ms: int


class ReadLeverage(msgspec.Struct, frozen=True):
    """Read the leverage of a contract. Comes back as LeverageRead or LeverageReadFailed."""

    symbol: str


class SetLeverage(msgspec.Struct, frozen=True):
    """Set the leverage of a contract, once. Comes back as LeverageSet, LeverageRefused or LeverageUnknown."""

    symbol: str
    leverage: int


class QueryOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Look for the order: single query, then open orders and history, and its fills.

    `since_ns`: how far back history and fills are read. `alone`: by single query and no other way, as it is known to
    be in no list. Comes back as OrderQueried or OrderQueryFailed.
    """

    client_order_id: int
    venue_order_id: int | None
    symbol: str
    since_ns: int
    alone: bool = False


class QueryOrders(msgspec.Struct, frozen=True, kw_only=True):
    """Look for many orders at once: in open orders, then in the history since `since_ns`, with their fills.

    Comes back as OrdersListed or OrdersListFailed.
    """

    orders: tuple[OrderRef, ...]
    since_ns: int


class FetchSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Read orders, fills, positions and exercises. Comes back as VenueSnapshot or VenueSnapshotFailed.

    funding_of: perpetuals whose funding payments are read too, those since `funding_since_ns`. deliveries: those of
    dated futures are read too. coins_of: pairs of spot whose coins in the account are read too.
    """

    trigger: str
    since_ns: int
    funding_of: tuple[str, ...] = ()
    funding_since_ns: int = 0
    deliveries: bool = False
    coins_of: tuple[str, ...] = ()


class CreateRfq(msgspec.Struct, frozen=True, kw_only=True):
    """Ask makers for quotes, once. Comes back as RfqCreated, RfqRefused or RfqUnknown. `rfq_id` is ours.

    `closes`: it is to close a trade, and is let through where what opens is held back.
    """

    rfq_id: str
    legs: tuple[RfqLeg, ...]
    closes: bool = False


class FetchQuotes(msgspec.Struct, frozen=True, kw_only=True):
    """Read the quotes on a request. Comes back as QuotesFetched or QuotesFailed."""

    request_id: str


class AcceptQuote(msgspec.Struct, frozen=True, kw_only=True):
    """Execute a quote, once. Comes back as QuoteAccepted, AcceptRefused or AcceptUnknown. `closes`: as CreateRfq."""

    request_id: str
    quote_id: str
    closes: bool = False


class CancelRfq(msgspec.Struct, frozen=True, kw_only=True):
    """Withdraw a request. Comes back as RfqCancelled, RfqCancelRefused or RfqCancelUnknown."""

    request_id: str


class QueryRfqs(msgspec.Struct, frozen=True, kw_only=True):
    """List the account's requests as taker. Comes back as RfqsFetched or RfqsFailed."""

    since_ns: int


class QueryBlockTrades(msgspec.Struct, frozen=True, kw_only=True):
    """List the account's block trades. Comes back as BlockTradesFetched or BlockTradesFailed."""

    since_ns: int


RfqEffect = CreateRfq | FetchQuotes | AcceptQuote | CancelRfq | QueryRfqs | QueryBlockTrades
OrderEffect = PlaceOrder | AmendOrder | CancelOrder | PlaceBatch | AmendBatch | CancelBatch
LeverageEffect = ReadLeverage | SetLeverage
Query = QueryOrder | QueryOrders | FetchSnapshot
Effect = OrderEffect | SetCountdown | LeverageEffect | Query | RfqEffect | CashEffect
"""Execution's own effects, beside Publish, Reply and RaiseAlert."""


def may_go_unwritten(effect: Any) -> bool:
    """Whether an effect may be carried out while its row waits for space on a full disk: never one that opens."""
    match effect:
        case PlaceOrder(order=order):
            return order.reduce_only
        case AmendOrder(change=change):
            return change.reduce_only
        case PlaceBatch(orders=orders):
            return all(order.reduce_only for order in orders)
        case AmendBatch(changes=changes):
            return all(change.reduce_only for change in changes)
        case CreateRfq() | AcceptQuote() | SellSpot() | SetLeverage():
            return False
        case _:
            return True
