"""Chains of rolls: which trade took the place of which, and what the trades before it came to."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from services.execution.records import ZERO, Roll, Trade
from shared.messages.trades import OpenTrade, Refusal, RollLink

if TYPE_CHECKING:
    from services.execution.book import Book

_MONEY = Decimal("0.000001")


def link_roll(book: Book, trade: Trade) -> None:
    """Fold of an accepted successor: it and its predecessor know of one another."""
    earlier = book.trades.get(trade.request.rolled_from)
    if earlier is None:
        return
    earlier.rolled_to = trade.trade_id
    before = earlier.roll
    trade.roll = Roll(
        chain_id=earlier.trade_id if before is None else before.chain_id,
        number=1 if before is None else before.number + 1,
        earlier_pnl_usd=chain_pnl_usd(earlier),
    )


def carry_pnl(book: Book, trade: Trade) -> None:
    """Fold of a change of a trade that was rolled already, as by a fee that comes late: those after it in its chain
    keep what those before them came to. It ends where nothing changes any more."""
    while (successor := book.trades.get(trade.rolled_to)) is not None and successor.roll is not None:
        earlier_usd = chain_pnl_usd(trade)
        if successor.roll.earlier_pnl_usd == earlier_usd:
            return
        successor.roll = msgspec.structs.replace(successor.roll, earlier_pnl_usd=earlier_usd)
        trade = successor


def later_in_chain(book: Book, trade: Trade) -> Iterator[Trade]:
    """The trades that it was rolled into, the next one first, as far as they are remembered."""
    while (successor := book.trades.get(trade.rolled_to)) is not None:
        yield successor
        trade = successor


def chain_pnl_usd(trade: Trade) -> Decimal:
    """Realised P&L of a trade and of those before it in its chain, fees and funding deducted."""
    own_usd = sum((leg.realized_pnl_usd for leg in trade.legs), ZERO).quantize(_MONEY)
    earlier_usd = ZERO if trade.roll is None else trade.roll.earlier_pnl_usd
    return own_usd - trade.fees_usd - trade.funding_usd + earlier_usd


def close_cost_usd(trade: Trade) -> Decimal | None:
    """What was closed since its close was asked for did cost, USD before fees, paid > 0: what was closed before, as
    of a surplus, is no part of it. None while no close was asked for, or if a price is not known."""
    close = trade.close
    if close is None or sum((leg.priceless_quantity for leg in trade.legs), ZERO) > close.priceless_before:
        return None
    before = close.cash_before or (ZERO,) * len(trade.legs)
    return sum((leg.sign * (was - leg.closed_cash) for leg, was in zip(trade.legs, before, strict=True)), ZERO)


def roll_link(trade: Trade) -> RollLink | None:
    """Its place in a chain as it is published, None if it is no successor."""
    if trade.roll is None:
        return None
    return RollLink(
        chain_id=trade.roll.chain_id,
        number=trade.roll.number,
        rolled_from=trade.request.rolled_from,
        earlier_pnl_usd=trade.roll.earlier_pnl_usd,
    )


def roll_refusal(intent: OpenTrade, book: Book) -> Refusal | None:
    """Why a successor is not opened: its predecessor must be known, of the same strategy, ended and not rolled yet,
    and nobody else closed any of it; limits of prices must be there for every leg or for none."""
    if intent.price_limits and (
        len(intent.price_limits) != len(intent.legs)
        or not all(limit.is_finite() and limit >= 0 for limit in intent.price_limits)
    ):
        return Refusal(
            code="bad_params",
            detail=f"price_limits must be {len(intent.legs)} prices of 0 or more, one for each leg",
            remedy="give all or none",
        )
    if not intent.rolled_from:
        return None
    earlier = book.trades.get(intent.rolled_from)
    name = intent.rolled_from[:100]
    if earlier is None or earlier.request.strategy != intent.strategy:
        problem = "is not known" if earlier is None else f"is of strategy {earlier.request.strategy}"
    elif not earlier.is_final:
        problem = f"is {earlier.state}"
    elif earlier.rolled_to:
        problem = f"was rolled to {earlier.rolled_to} already"
    elif earlier.close is not None and earlier.close.joined:
        problem = f"was to be closed, whatever came of its roll: {earlier.close.joined}"
    elif not earlier.was_filled:
        problem = "held nothing"
    elif lost := [leg.symbol for leg in earlier.legs if leg.outside_quantity > leg.settled_quantity]:
        problem = f"lost {', '.join(lost)} from outside"
    else:
        return None
    return Refusal(
        code="bad_roll",
        detail=f"rolled_from: trade {name} {problem}",
        remedy="roll a trade of the same strategy, once, after it has ended",
    )
