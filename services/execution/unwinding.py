"""What undoing a failed opening costs, and when that is more than its trader allowed."""

from __future__ import annotations

from decimal import Decimal

from services.execution.records import Leg, Trade
from services.execution.reduction import Reduction, close_purpose


def unwinding_loss_usd(trade: Trade, reduction: Reduction) -> float | None:
    """The loss on what was opened if the rest is closed now, before fees: what was closed at its price, what is held
    at the other side of the book, without one at mark. None while a price is missing."""
    loss_usd = float(trade.funding_usd)
    for leg in trade.legs:
        loss_usd -= float(leg.realized_pnl_usd)
        left_usd = _loss_usd(leg, leg.held_quantity, reduction)
        if left_usd is None:
            return None
        loss_usd += left_usd
    return loss_usd


def surplus_loss_usd(trade: Trade, reduction: Reduction) -> float | None:
    """The same of what an opening that is over filled beyond its size, and of nothing else of the trade. What is to
    be reduced since is closed as if a person asked, without a bound, with what was too much before."""
    loss_usd = 0.0
    for leg in trade.legs:
        if leg.target_quantity < leg.quantity:
            continue
        if leg.open_price is not None:
            loss_usd -= leg.sign * float(leg.trimmed_cash - leg.trimmed_quantity * leg.open_price)
        left_usd = _loss_usd(leg, leg.surplus_quantity, reduction)
        if left_usd is None:
            return None
        loss_usd += left_usd
    return loss_usd


def _loss_usd(leg: Leg, quantity: Decimal, reduction: Reduction) -> float | None:
    """On so much of the leg, at the other side of the book or else at mark; None without either."""
    if quantity <= 0 or leg.open_price is None:
        return 0.0
    quote = reduction.work.market.quote(leg.instrument, reduction.work.now_ns)
    price = None if quote is None else (quote.bid if leg.side == "buy" else quote.ask)
    if price is None:
        price = None if quote is None else quote.mark
    if price is None:
        price = reduction.mark(leg.symbol)
    return None if price is None else -leg.sign * float(quantity) * (price - float(leg.open_price))


def beyond_allowance(trade: Trade, reduction: Reduction) -> str:
    """Why the unwinding stops, "" while it may go on. What a person or a rule asked to close has no such bound, and a
    missing price stops nothing."""
    most_usd = trade.request.execution_params.max_unwind_cost_usd
    if most_usd is None or trade.is_flat or close_purpose(trade) != "unwind":
        return ""
    loss_usd = unwinding_loss_usd(trade, reduction)
    if loss_usd is None or loss_usd <= most_usd:
        return ""
    return f"unwinding would cost {loss_usd:.2f} USD, more than the {most_usd:g} allowed"
