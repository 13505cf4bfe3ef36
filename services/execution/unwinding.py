"""What undoing a failed opening costs, and when that is more than its trader allowed."""

from __future__ import annotations

from services.execution.records import Trade
from services.execution.reduction import Reduction, close_purpose


def unwinding_loss_usd(trade: Trade, reduction: Reduction) -> float | None:
    """The loss on what was opened if the rest is closed now, before fees: what was closed at its price, what is held
    at the other side of the book, without one at mark. None while a price is missing."""
    work = reduction.work
    loss_usd = 0.0
    for leg in trade.legs:
        loss_usd -= float(leg.realized_pnl_usd)
        if leg.held_quantity <= 0 or leg.open_price is None:
            continue
        quote = work.market.quote(leg.instrument, work.now_ns)
        price = None if quote is None else (quote.bid if leg.side == "buy" else quote.ask)
        if price is None:
            price = None if quote is None else quote.mark
        if price is None:
            price = reduction.mark(leg.symbol)
        if price is None:
            return None
        loss_usd -= leg.sign * float(leg.held_quantity) * (price - float(leg.open_price))
    return loss_usd


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
