"""What the account would hold after the trade with outstanding grants: positions, Greeks, concentration, margin."""

from __future__ import annotations

import math
from collections.abc import Iterator

from services.risk.limits import Figure
from services.risk.situation import LIMITED_GREEKS, Situation, Violation

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
    before, after, least = s.greeks_before_and_after
    for position, name in enumerate(LIMITED_GREEKS):
        yield Figure(
            code=f"{name}_limit",
            before=before[position],
            after=after[position],
            least_before=least[position],
            limit=getattr(s.config, f"max_{name}_usd"),
            unit="USD",
            words=f"portfolio {name} would be {{}} USD",
        )


def underlying_greek_limits(s: Situation) -> Iterator[Figure]:
    for underlying, limits in s.config.underlyings.items():
        before, after, least = s.greeks_by_underlying.get(underlying, (_NONE, _NONE, _NONE))
        for position, name in enumerate(LIMITED_GREEKS):
            limit: float | None = getattr(limits, f"max_{name}_usd")
            if limit is not None:
                yield Figure(
                    code=f"underlying_{name}",
                    scope="underlying",
                    subject=underlying,
                    before=before[position],
                    after=after[position],
                    least_before=least[position],
                    limit=limit,
                    unit="USD",
                    words=f"{name} of {underlying} would be {{}} USD",
                )


def concentration(s: Situation) -> Iterator[Figure]:
    equity = s.equity_usd
    for underlying, (before, after) in s.notional_by_underlying.items():
        own = s.config.underlyings.get(underlying)
        limit = s.config.max_underlying_notional_pct
        if own is not None and own.max_notional_pct is not None:
            limit = own.max_notional_pct
        yield Figure(
            code="underlying_concentration",
            scope="underlying",
            subject=underlying,
            before=before / equity * 100,
            after=after / equity * 100,
            least_before=_surely(s, before / equity * 100),
            limit=limit,
            unit="%",
            words=f"quantity × index of {underlying} would be {{}} % of equity",
        )
    for expiry, (before, after) in s.notional_by_expiry.items():
        yield Figure(
            code="expiry_concentration",
            scope="expiry",
            subject=expiry,
            before=before / equity * 100,
            after=after / equity * 100,
            least_before=_surely(s, before / equity * 100),
            limit=s.config.max_expiry_notional_pct,
            unit="%",
            words=f"quantity × index of {expiry} would be {{}} % of equity",
        )


def _surely(s: Situation, before: float) -> float:
    """The least that a figure is before the request: nothing, where it counts grants that may never be filled."""
    return 0.0 if s.outstanding else before


def stress_unknown(s: Situation) -> Violation | None:
    if math.isfinite(s.stressed_loss_before_and_after[1]):
        return None
    return Violation("stress_unknown", "a position or a grant has no volatility now: its stressed loss is not known")


def stressed_loss(s: Situation) -> Iterator[Figure]:
    before, after = s.stressed_loss_before_and_after
    yield Figure(
        code="stressed_loss",
        before=before / s.equity_usd * 100,
        after=after / s.equity_usd * 100,
        least_before=_surely(s, before / s.equity_usd * 100),
        limit=s.config.max_stressed_loss_pct,
        unit="%",
        words=f"the worst scenario would cost {after:,.0f} USD, {{}} % of equity",
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
