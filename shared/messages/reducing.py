"""Taking back a part of what a trade holds, while the rest of it stays open."""

from __future__ import annotations

from decimal import Decimal

from shared.messages.base import Message


class ReduceTrade(Message, frozen=True, kw_only=True, tag="reduce_trade.1"):
    """Close what an open trade of one leg holds beyond `keep` (> 0, in base coin), reduce-only; the rest stays open.

    What it is to hold only ever becomes less: a `keep` that is not below what it is to hold already changes nothing.
    """

    trade_id: str
    keep: Decimal
    reason: str
    requested_by: str


class ReductionAccepted(Message, frozen=True, kw_only=True, tag="reduction_accepted.1"):
    """keep: what the trade is to hold from now on at most."""

    trade_id: str
    keep: Decimal
