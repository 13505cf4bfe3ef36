"""The daily summary: what a trader wants to read with the first coffee."""

from __future__ import annotations

from decimal import Decimal

from services.monitor.findings import expiring_shorts
from services.monitor.rows import SummaryMade
from services.monitor.views import Status

_DAY_NS = 86_400_000_000_000


def daily_summary(status: Status, last: SummaryMade | None) -> str:
    """The last 24 hours in a few lines. Equity is compared with the summary before, deposits included."""
    account = status.account
    assert account is not None, "without an account there is nothing to sum up"
    since_ns = status.now_ns - _DAY_NS
    change = ""
    if last is not None:
        change = f" ({account.equity_usd - Decimal(last.equity_usd):+,.2f} since the summary before)"
    closed = [trade for trade in status.trades if trade.is_final and (trade.closed_ns or 0) > since_ns]
    opened = [trade for trade in status.trades if (trade.opened_ns or 0) > since_ns]
    net = sum((trade.net_realized_usd for trade in closed), Decimal(0))
    fees = sum((trade.fees_usd for trade in closed), Decimal(0))
    funding = sum((trade.funding_usd for trade in closed), Decimal(0))
    paid = f"fees {fees:,.2f}" + (f" and funding {funding:,.2f}" if funding else "")
    made = f", which made {net:+,.2f} after {paid}" if closed else ""
    open_now = [trade for trade in status.trades if not trade.is_final]
    alerts = [matter for matter in status.alerts if matter.is_open]
    lines = [
        f"equity {account.equity_usd:,.2f} USD{change}, on mark {account.unrealized_pnl_usd:+,.2f}",
        f"24 h: {len(opened)} opened, {len(closed)} closed{made}",
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
