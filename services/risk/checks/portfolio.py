"""What the account would hold after the trade with outstanding grants: positions, Greeks, concentration, margin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

from services.risk.changes import Use
from services.risk.limits import Figure
from services.risk.situation import LIMITED_GREEKS, Situation, Violation
from shared.messages.risk import LimitScope

_NONE = (0.0,) * len(LIMITED_GREEKS)


def position_limit(s: Situation) -> Iterator[Figure]:
    limit = s.config.max_position_quantity
    for symbol in s.asked_or_largest:
        before, after = s.position_against(symbol, limit)
        yield Figure(
            code="position_limit",
            scope="option",
            subject=symbol,
            before=float(before),
            after=float(after),
            limit=float(limit),
            unit="coins",
            words=f"{symbol} would be {after}",
        )


def greeks_unknown(s: Situation) -> Violation | None:
    if not s.known_account.greeks_complete:
        return Violation("greeks_unknown", "a position has no Greeks now: the portfolio limits cannot be judged")
    if not all(math.isfinite(value) for values in s.greeks_before_and_after for value in values):
        return Violation("greeks_unknown", "an outstanding grant has no Greeks now")
    return None


def greek_limits(s: Situation) -> Iterator[Figure]:
    before, after, growth = s.greeks_before_and_after
    for position, name in enumerate(LIMITED_GREEKS):
        yield Figure(
            code=f"{name}_limit",
            before=before[position],
            after=after[position],
            worst_change=growth[position],
            limit=getattr(s.config, f"max_{name}_usd"),
            unit="USD",
            words=f"portfolio {name} would be {{}} USD",
        )


def underlying_greek_limits(s: Situation) -> Iterator[Figure]:
    for underlying, limits in s.config.underlyings.items():
        before, after, growth = s.greeks_by_underlying.get(underlying, (_NONE, _NONE, _NONE))
        for position, name in enumerate(LIMITED_GREEKS):
            limit: float | None = getattr(limits, f"max_{name}_usd")
            if limit is not None:
                yield Figure(
                    code=f"underlying_{name}",
                    scope="underlying",
                    subject=underlying,
                    before=before[position],
                    after=after[position],
                    worst_change=growth[position],
                    touched=underlying in s.underlyings,
                    limit=limit,
                    unit="USD",
                    words=f"{name} of {underlying} would be {{}} USD",
                )


def concentration(s: Situation) -> Iterator[Figure]:
    for underlying, use in s.notional_by_underlying.items():
        own = s.config.underlyings.get(underlying)
        limit = s.config.max_underlying_notional_pct
        if own is not None and own.max_notional_pct is not None:
            limit = own.max_notional_pct
        yield _of_equity(s, use, "underlying_concentration", "underlying", underlying, limit)
    for expiry, use in s.notional_by_expiry.items():
        yield _of_equity(s, use, "expiry_concentration", "expiry", expiry, s.config.max_expiry_notional_pct)


def _of_equity(s: Situation, use: Use, code: str, scope: LimitScope, subject: str, limit: float) -> Figure:
    return Figure(
        code=code,
        scope=scope,
        subject=subject,
        before=use.before / s.equity_usd * 100,
        after=use.after / s.equity_usd * 100,
        worst_change=use.worst_change,
        touched=use.touched,
        limit=limit,
        unit="%",
        words=f"quantity × index of {subject} would be {{}} % of equity",
    )


def stress_unknown(s: Situation) -> Violation | None:
    if math.isfinite(s.stressed_loss.after):
        return None
    return Violation("stress_unknown", "a position or a grant has no volatility now: its stressed loss is not known")


def stressed_loss(s: Situation) -> Iterator[Figure]:
    use = s.stressed_loss
    yield Figure(
        code="stressed_loss",
        before=use.before / s.equity_usd * 100,
        after=use.after / s.equity_usd * 100,
        worst_change=use.worst_change,
        limit=s.config.max_stressed_loss_pct,
        unit="%",
        words=f"the worst scenario would cost {use.after:,.0f} USD, {{}} % of equity",
    )


def margin(s: Situation) -> Iterator[Figure]:
    granted = s.outstanding_margin_usd
    yield Figure(
        code="margin",
        before=granted,
        after=s.margin_usd + granted,
        limit=float(s.known_account.available_margin_usd),
        unit="USD",
        words="needs {} USD with outstanding grants",
    )


def cash(s: Situation) -> Iterator[Figure]:
    """Coins are paid in USDT, as options are, which equity in other assets is none of."""
    balance = s.known_account.balances.get("USDT", Decimal(0))
    if not any(leg.option.instrument.is_spot for leg in s.legs):
        return
    before, after = s.purchases_usd
    yield Figure(
        code="cash",
        before=before,
        after=after,
        limit=float(balance),
        unit="USDT",
        words="coins and options would cost {} USDT with outstanding grants",
    )


def margin_utilisation(s: Situation) -> Iterator[Figure]:
    used = float(s.known_account.initial_margin_usd) + s.outstanding_margin_usd
    yield Figure(
        code="margin_utilisation",
        before=used / s.equity_usd * 100,
        after=(used + s.margin_usd) / s.equity_usd * 100,
        limit=s.config.max_margin_utilisation_pct,
        unit="%",
        words="would be {} % of equity",
    )


def hedge_room(s: Situation) -> Iterator[Figure]:
    """Of a trade that is to be hedged: whether its hedge at its largest could be held beside it. One whose hedge is
    refused runs unhedged."""
    coins = s.ask.hedge_coins
    if not coins or not s.legs:
        return
    underlying = s.underlyings[0]
    margin_usd = coins * s.market.index(underlying) * s.config.futures_initial_fraction
    most_usd = s.equity_usd * s.config.max_margin_utilisation_pct / 100 - float(s.known_account.initial_margin_usd)
    before = s.margin_usd + s.outstanding_margin_usd
    yield Figure(
        code="hedge_margin",
        before=before,
        after=before + margin_usd,
        limit=min(float(s.known_account.available_margin_usd), most_usd),
        unit="USD",
        words=f"with the margin of its hedge, {coins:g} coins at most, needs {{}} USD",
    )
    held, limit = float(s.holdings.quantities.get(underlying, 0)), float(s.config.max_position_quantity)
    least, most = s.ask.hedge_least_coins, s.ask.hedge_most_coins
    if not (least or most):
        least, most = -coins, coins
    yield Figure(
        code="hedge_position",
        scope="option",
        subject=underlying,
        before=abs(held),
        after=max(abs(held + least), abs(held + most)),
        limit=limit,
        unit="coins",
        words=f"its hedge could make {underlying} {{}}",
    )
