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
            legs = ", ".join(f"{leg.side} {leg.filled_quantity} {leg.symbol}" for leg in trade.legs)
            severity: Severity = "info" if trade.state == "OPEN" else "warning"
            return "trade_opened", severity, f"{name} is {trade.state}: {legs}"
        case "CLOSED" | "SETTLED":
            so_far = "" if trade.fees_complete else " so far"
            text = f"{name} is {trade.state}: realised {trade.realized_pnl_usd} USD before fees"
            text = f"{text}, fees {trade.fees_usd} USD{so_far}"
            if trade.funding_usd:
                text = f"{text}, funding {trade.funding_usd:f} USD"
            return "trade_closed", "info", f"{text} ({trade.reason})"
        case "FAILED":
            return "trade_failed", "warning", f"{name} has failed: {trade.reason}"
        case _:
            return None
