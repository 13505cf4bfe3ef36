"""The book as messages."""

from __future__ import annotations

from decimal import Decimal

from services.execution.book import Book
from services.execution.chunks import chunk_progress
from services.execution.hedges import ended_hedges
from services.execution.records import ZERO, Order, Trade
from services.execution.rolling import close_cost_usd, roll_link
from services.execution.states import OPENING_STATES
from shared.messages.trades import IntentRefused, LegStatus, OrderUpdate, Refusal, TradeUpdate

_MONEY = Decimal("0.000001")


def plain(value: Decimal) -> Decimal:
    """Rounded to a millionth, in plain notation without trailing zeros."""
    return Decimal(format(value.quantize(_MONEY).normalize(), "f"))


def exact(value: Decimal) -> Decimal:
    """Every digit of a sum, in plain notation without trailing zeros."""
    return Decimal(format(value.normalize(), "f"))


def _plain_or_none(value: Decimal | None) -> Decimal | None:
    return None if value is None else plain(value)


def grant_is_open(trade: Trade, book: Book) -> bool:
    """True until the opening has ended, by filling, unwinding or failing, and no opening order can fill any more."""
    if trade.state in OPENING_STATES or trade.state == "UNWINDING":
        return True
    return any(order.purpose == "open" for order in book.unsettled_of(trade))


def trade_update(trade: Trade, book: Book, account_id: str, waiting: str = "") -> TradeUpdate:
    """The trade as it is published; `waiting` says why nothing happens to it just now."""
    request = trade.request
    cost_usd = close_cost_usd(trade)
    ended_hedges_usd, ended_hedges_ns = ended_hedges(trade, book)
    return TradeUpdate(
        trade_id=trade.trade_id,
        account_id=account_id,
        strategy=request.strategy,
        ordinal=request.ordinal,
        intent_id=request.intent_id,
        state=trade.state,
        reason="; ".join(part for part in (trade.reason, waiting) if part),
        legs=tuple(
            LegStatus(
                symbol=leg.symbol,
                side=leg.side,
                quantity=leg.quantity,
                filled_quantity=leg.opened_quantity,
                closed_quantity=leg.closed_quantity,
                open_price=_plain_or_none(leg.open_price),
                close_price=_plain_or_none(leg.close_price),
                keep_quantity=leg.keep_quantity,
                fee_quantity=leg.fee_quantity + leg.left_quantity,
            )
            for leg in trade.legs
        ),
        execution_mode=trade.mode,
        policy=request.policy,
        exit_conditions=request.exit_conditions,
        hard_deadline_ns=trade.hard_deadline_ns,
        created_ns=trade.created_ns,
        opened_ns=trade.opened_ns,
        closed_ns=trade.closed_ns,
        updated_ns=trade.updated_ns,
        realized_pnl_usd=plain(sum((leg.realized_pnl_usd for leg in trade.legs), ZERO)),
        fees_usd=exact(trade.fees_usd),
        entry_premium_usd=exact(trade.entry_premium_usd),
        grant=request.grant,
        grant_open=grant_is_open(trade, book),
        funding_usd=exact(trade.funding_usd),
        hedge_of=request.hedge_of,
        fees_complete=trade.fees_are_complete,
        choice=trade.choice,
        opening_cost=trade.opening_cost,
        opening_chunks=chunk_progress(trade, "open"),
        closing_chunks=chunk_progress(trade, "close"),
        if_broken=request.if_broken,
        roll=roll_link(trade),
        rolled_to=trade.rolled_to,
        close_reason="" if trade.close is None else trade.close.reason,
        close_joined="" if trade.close is None else trade.close.joined,
        close_by="" if trade.close is None else trade.close.requested_by,
        ended_hedges_usd=plain(ended_hedges_usd),
        ended_hedges_ns=ended_hedges_ns,
        close_cost_usd=None if cost_usd is None else exact(cost_usd),
    )


def intent_refused(intent_id: str, refusal: Refusal, at_ns: int, account_id: str) -> IntentRefused:
    return IntentRefused(
        intent_id=intent_id,
        account_id=account_id,
        code=refusal.code,
        detail=refusal.detail,
        at_ns=at_ns,
        against=refusal.against,
    )


def order_update(order: Order, account_id: str) -> OrderUpdate:
    filled = order.filled_quantity
    return OrderUpdate(
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        account_id=account_id,
        trade_id=order.trade_id,
        leg_index=order.leg_index,
        purpose=order.purpose,
        attempt=order.attempt,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        price=order.price,
        filled_quantity=filled,
        average_price=plain(order.filled_cash / filled) if filled else None,
        state=order.state,
        reason=order.reason,
        reduce_only=order.reduce_only,
        created_ns=order.created_ns,
        updated_ns=order.updated_ns,
        amend_price=None if order.amend_price is None or order.is_final else order.amend_price,
        amends=order.amends,
        post_only=order.post_only,
        label=order.label,
        trigger_price=order.trigger_price,
        at_market=order.at_market,
        waits=order.trigger_price is not None and order.is_waiting and order.state in ("WORKING", "CANCELLING"),
    )
