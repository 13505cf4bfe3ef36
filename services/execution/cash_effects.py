"""What the cash rule asks the shell to do at the venue, and what comes back."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from services.execution.cash_rule import CashSeen
from shared.messages.contracts import ContractOrder
from shared.messages.venue import OrderRef, VenueFill, VenueOrder


class ReadCash(msgspec.Struct, frozen=True, kw_only=True):
    """Read the account's coins and the open sales of the pair; its market only with fewer USDT than `below_usdt`, as
    nothing is decided by it otherwise. Comes back as CashRead or CashReadFailed."""

    asset: str
    symbol: str
    below_usdt: Decimal


class SellSpot(msgspec.Struct, frozen=True):
    """Send the order, once. Comes back as OrderAcked, OrderRefused or OutcomeUnknown."""

    order: ContractOrder


class WithdrawSale(msgspec.Struct, frozen=True):
    """Cancel the order. Comes back as CancelAcked, CancelRefused or OutcomeUnknown."""

    order: OrderRef


class FindSale(msgspec.Struct, frozen=True, kw_only=True):
    """Look for the order: single query, then open orders and history, and its fills. Comes back as SaleFound or
    SaleNotAnswered."""

    client_order_id: int
    symbol: str
    since_ns: int


class FindStrays(msgspec.Struct, frozen=True, kw_only=True):
    """Read all open orders of spot, and the fills of the pair since then. Comes back as StraysFound or
    StraysNotFound."""

    symbol: str
    since_ns: int


CashEffect = ReadCash | SellSpot | WithdrawSale | FindSale | FindStrays


class CashRead(msgspec.Struct, frozen=True):
    """Input: what was asked for at `asked_ns`. open_sales: those in the pair, whoever placed them."""

    asked_ns: int
    seen: CashSeen
    open_sales: tuple[VenueOrder, ...] = ()


class CashReadFailed(msgspec.Struct, frozen=True):
    """Input: it cannot be told now."""

    reason: str


class SaleFound(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the order as the venue has it; None: neither query, open orders nor history have it."""

    client_order_id: int
    asked_ns: int
    order: VenueOrder | None
    fills: tuple[VenueFill, ...] = ()


class SaleNotAnswered(msgspec.Struct, frozen=True):
    """Input: the venue could not be asked."""

    client_order_id: int
    reason: str


class StraysFound(msgspec.Struct, frozen=True, kw_only=True):
    """Input: open orders of any pair and fills of one, whoever placed them."""

    asked_ns: int
    orders: tuple[VenueOrder, ...]
    fills: tuple[VenueFill, ...]


class StraysNotFound(msgspec.Struct, frozen=True):
    """Input: the venue could not be asked."""

    reason: str


CashFact = CashRead | CashReadFailed | SaleFound | SaleNotAnswered | StraysFound | StraysNotFound
