"""What a person wants to hear of a trade."""

from __future__ import annotations

from shared.messages.system import Severity
from shared.messages.trades import TradeUpdate

TRADE_NOTICES = frozenset({"trade_opened", "trade_closed", "trade_failed"})


def trade_notice(trade: TradeUpdate) -> tuple[str, Severity, str] | None:
    """Code, severity and text of what a person wants to hear of this state."""
    name = f"trade {trade.trade_id} of {trade.strategy}"
    match trade.state:
        case "OPEN" | "PARTIALLY_OPEN":
            legs = ", ".join(f"{leg.side} {leg.filled_quantity:f} {leg.symbol}" for leg in trade.legs)
            severity: Severity = "info" if trade.state == "OPEN" else "warning"
            return "trade_opened", severity, f"{name} is {trade.state}: {legs}{_premium(trade)}"
        case "CLOSED" | "SETTLED":
            return "trade_closed", "info", f"{name} is {trade.state}: {_result(trade)} ({trade.reason})"
        case "FAILED":
            return "trade_failed", "warning", f"{name} has failed: {trade.reason}"
        case _:
            return None


def _premium(trade: TradeUpdate) -> str:
    if not trade.entry_premium_usd:
        return ""
    return (
        f"; premium {'paid' if trade.entry_premium_usd > 0 else 'received'} {abs(trade.entry_premium_usd):,.2f} USD"
    )


def _result(trade: TradeUpdate) -> str:
    """What it made in all first: a phone shows the beginning of a text."""
    paid = f"fees {trade.fees_usd:,.2f}" + ("" if trade.fees_complete else " so far")
    if trade.funding_usd:
        paid = f"{paid}, funding {trade.funding_usd:,.2f}"
    return f"{trade.net_realized_usd:+,.2f} USD, which is {trade.realized_pnl_usd:+,.2f} less {paid}"
