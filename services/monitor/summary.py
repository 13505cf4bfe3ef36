"""The daily summary: what a trader wants to read with the first coffee."""

from __future__ import annotations

from decimal import Decimal

from services.monitor.ended import DAY_NS, made_by
from services.monitor.findings import expiring_shorts
from services.monitor.rows import SummaryMade
from services.monitor.views import Status


def daily_summary(status: Status, last: SummaryMade | None) -> str:
    """The last 24 hours in a few lines. Equity is compared with the summary before, deposits included."""
    account = status.account
    assert account is not None, "without an account there is nothing to sum up"
    since_ns = status.now_ns - DAY_NS
    change = ""
    if last is not None:
        change = f" ({account.equity_usd - Decimal(last.equity_usd):+,.2f} since the summary before)"
    closed = made_by(status.ended_since(since_ns))
    paid = f"fees {closed.fees_usd:,.2f}" + (f" and funding {closed.funding_usd:,.2f}" if closed.funding_usd else "")
    made = f", which made {closed.net_usd:+,.2f} after {paid}" if closed.count else ""
    open_now = [trade for trade in status.trades if not trade.is_final]
    alerts = [matter for matter in status.alerts if matter.is_open]
    lines = [
        f"equity {account.equity_usd:,.2f} USD{change}, on mark {account.unrealized_pnl_usd:+,.2f}",
        f"24 h: {status.opened_since(since_ns)} opened, {closed.count} closed{made}",
        f"open trades {len(open_now)}, positions {len(account.positions)}, "
        f"margin in use {account.initial_margin_usd:,.2f}",
    ]
    lines += sorted(expiring_shorts(account, status.now_ns).values())
    if status.halts is not None and status.halts.halts:
        lines.append("HALTED: " + "; ".join(f"{halt.level} ({halt.reason})" for halt in status.halts.halts))
    if alerts:
        codes = sorted({matter.record.code for matter in alerts})
        lines.append(f"open alerts {len(alerts)}: {', '.join(codes)}")
    return "\n".join(lines)
