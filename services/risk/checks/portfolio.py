"""What the account would hold after the trade, outstanding grants included: positions, Greeks, margin."""

from __future__ import annotations

import math
from collections.abc import Callable

from services.risk.situation import Situation, Violation


def position_limit(s: Situation) -> Violation | None:
    for leg in s.ask.legs:
        after, limit = s.position_after(leg), s.config.max_position_quantity
        if after > limit:
            return Violation("position_limit", f"{leg.symbol} would be {after}", float(after), float(limit))
    return None


def greeks_unknown(s: Situation) -> Violation | None:
    if not s.known_account.greeks_complete:
        return Violation("greeks_unknown", "a position has no Greeks now: the portfolio limits cannot be judged")
    if not all(math.isfinite(value) for values in s.greeks_before_and_after for value in values):
        return Violation("greeks_unknown", "an outstanding grant has no Greeks now")
    return None


def greek_limit(position: int, name: str) -> Callable[[Situation], Violation | None]:
    code, field = f"{name}_limit", f"max_{name}_usd"

    def check(s: Situation) -> Violation | None:
        before, after = (values[position] for values in s.greeks_before_and_after)
        limit: float = getattr(s.config, field)
        if after <= limit or after < before:
            return None
        return Violation(code, f"portfolio {name} would be {after:,.0f} USD", after, limit)

    return check


def margin(s: Situation) -> Violation | None:
    needed = s.margin_usd + s.outstanding_margin_usd
    available = float(s.known_account.available_margin_usd)
    if needed <= available:
        return None
    return Violation("margin", f"needs {needed:,.0f} USD with outstanding grants", needed, available)


def margin_utilisation(s: Situation) -> Violation | None:
    used = float(s.known_account.initial_margin_usd) + s.margin_usd + s.outstanding_margin_usd
    after, limit = used / s.equity_usd * 100, s.config.max_margin_utilisation_pct
    if after <= limit:
        return None
    return Violation("margin_utilisation", f"would be {after:.1f} % of equity", after, limit)
