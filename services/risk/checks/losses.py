"""What may be lost, what was lost, and how often the desk may try."""

from __future__ import annotations

from collections.abc import Iterator

from services.risk.breaches import daily_loss_pct, drawdown_pct, measures
from services.risk.limits import Figure
from services.risk.situation import Situation, Violation
from shared.ids import is_hedge_name


def no_equity(s: Situation) -> Violation | None:
    return None if s.equity_usd > 0 else Violation("no_equity", "equity is not above 0", s.equity_usd, 0.0)


def fallen(s: Situation) -> Iterator[Figure]:
    """Drawdown and loss of the day as they are shown; their checks are below, and breaches.py halts on them."""
    for measure in measures(s.config, s.known_account.equity_usd, s.peak_equity_usd, s.day_start_equity_usd):
        yield Figure(
            code=measure.code, before=measure.value, after=measure.value, limit=measure.limit, unit="%", words="{} %"
        )


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


def unbounded_loss(s: Situation) -> Violation | None:
    if s.max_loss_usd is not None or s.config.allow_unbounded_loss or s.is_reducing_hedge:
        return None
    return Violation("unbounded_loss", "nothing bounds the loss: declare max_loss_usd or add protective legs")


def grant_rate(s: Situation) -> Iterator[Figure]:
    yield _count(
        "grant_rate",
        sum(s.granted_lately.values()),
        s,
        s.config.max_grants_per_minute,
        "grants/min",
        "grants in 60 s",
    )
    for strategy, limits in s.strategies:
        if limits.max_grants_per_minute is not None:
            count, limit = s.granted_lately.get(strategy, 0), limits.max_grants_per_minute
            yield _count("strategy_grant_rate", count, s, limit, "grants/min", "grants in 60 s", strategy)


def order_rate(s: Situation) -> Iterator[Figure]:
    """A further trade sends at least one order for each leg."""
    for code, count, limit, unit, words in (
        ("open_orders", s.open_orders, s.config.max_open_orders, "orders", "orders at work"),
        ("order_rate", s.orders_last_minute, s.config.max_orders_per_minute, "orders/min", "orders in 60 s"),
    ):
        yield Figure(
            code=code,
            before=count,
            after=count + len(s.ask.legs),
            limit=limit,
            unit=unit,
            words=f"would be {{}} {words}, legs included",
        )


def open_trades(s: Situation) -> Iterator[Figure]:
    """A hedge takes no place: it belongs to a trade that has one, and each adjustment is one more."""
    if is_hedge_name(s.ask.strategy):
        return
    trades = sum(not is_hedge_name(one.strategy) for one in s.at_risk)
    yield _count("open_trades", trades, s, s.config.max_open_trades, "trades", "trades open or granted")
    for strategy, limits in s.strategies:
        if limits.max_open_trades is not None:
            count, limit = sum(one.strategy == strategy for one in s.at_risk), limits.max_open_trades
            yield _count("strategy_open_trades", count, s, limit, "trades", "trades open or granted", strategy)


def _count(code: str, count: int, s: Situation, limit: int, unit: str, words: str, strategy: str = "") -> Figure:
    return Figure(
        code=code,
        scope="strategy" if strategy else "account",
        subject=strategy,
        before=count,
        after=count + bool(s.ask.legs),
        limit=limit,
        unit=unit,
        words=f"would be {{}} {words}" + (f" of {strategy}" if strategy else ""),
    )


def trade_risk(s: Situation) -> Iterator[Figure]:
    """Of the trade that is asked for; shown is that of the trade with most at risk. A hedge that takes away delta is
    let through: without it more is at risk."""
    if s.is_reducing_hedge:
        return
    yield _trade_risk(s, s.config.max_trade_risk_pct, "")
    for strategy, limits in s.strategies:
        if limits.max_trade_risk_pct is not None:
            yield _trade_risk(s, limits.max_trade_risk_pct, strategy)


def _trade_risk(s: Situation, limit: float, strategy: str) -> Figure:
    largest = max((one.usd for one in s.at_risk if strategy in ("", one.strategy)), default=0.0)
    return Figure(
        code="strategy_trade_risk" if strategy else "trade_risk",
        scope="strategy" if strategy else "trade",
        subject=strategy,
        before=0.0 if s.ask.legs else largest / s.equity_usd * 100,
        after=s.risk_usd / s.equity_usd * 100,
        limit=limit,
        unit="%",
        words=f"may lose {s.risk_usd:,.0f} USD, {{}} % of equity",
    )


def total_risk(s: Situation) -> Iterator[Figure]:
    """Of all trades together; a hedge that takes away delta is let through here too."""
    if s.is_reducing_hedge:
        return
    yield _total_risk(s, s.config.max_total_risk_pct, "")
    for strategy, limits in s.strategies:
        if limits.max_total_risk_pct is not None:
            yield _total_risk(s, limits.max_total_risk_pct, strategy)


def _total_risk(s: Situation, limit: float, strategy: str) -> Figure:
    before = sum(one.usd for one in s.at_risk if strategy in ("", one.strategy))
    return Figure(
        code="strategy_total_risk" if strategy else "total_risk",
        scope="strategy" if strategy else "account",
        subject=strategy,
        before=before / s.equity_usd * 100,
        after=(before + s.risk_usd) / s.equity_usd * 100,
        limit=limit,
        unit="%",
        words="all trades" + (f" of {strategy}" if strategy else "") + " together may lose {} % of equity",
    )
