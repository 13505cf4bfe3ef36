"""What may be lost, what was lost, and how often the desk may try."""

from __future__ import annotations

from services.risk.breaches import daily_loss_pct, drawdown_pct
from services.risk.situation import Situation, Violation


def no_equity(s: Situation) -> Violation | None:
    return None if s.equity_usd > 0 else Violation("no_equity", "equity is not above 0", s.equity_usd, 0.0)


def drawdown(s: Situation) -> Violation | None:
    fall, limit = drawdown_pct(s.known_account.equity_usd, s.peak_equity_usd), s.config.max_drawdown_pct
    if fall < limit:
        return None
    return Violation("drawdown", f"equity is {fall:.1f} % below its peak", fall, limit)


def daily_loss(s: Situation) -> Violation | None:
    loss, limit = daily_loss_pct(s.known_account.equity_usd, s.day_start_equity_usd), s.config.max_daily_loss_pct
    if loss < limit:
        return None
    return Violation("daily_loss", f"equity has lost {loss:.1f} % since 00:00 UTC", loss, limit)


def grant_rate(s: Situation) -> Violation | None:
    limit = s.config.max_grants_per_minute
    if s.grants_last_minute < limit:
        return None
    return Violation("grant_rate", "too many grants in the last 60 s", s.grants_last_minute, limit)


def open_trades(s: Situation) -> Violation | None:
    limit = s.config.max_open_trades
    if s.open_trades < limit:
        return None
    return Violation("open_trades", f"{s.open_trades} trades are open or granted", s.open_trades, limit)


def trade_risk(s: Situation) -> Violation | None:
    loss = s.max_loss_usd
    if loss is None:
        if s.config.allow_unbounded_loss:
            return None
        return Violation("unbounded_loss", "nothing bounds the loss: declare max_loss_usd or add protective legs")
    share, limit = loss / s.equity_usd * 100, s.config.max_trade_risk_pct
    if share <= limit:
        return None
    return Violation("trade_risk", f"may lose {loss:,.0f} USD, {share:.1f} % of equity", share, limit)
