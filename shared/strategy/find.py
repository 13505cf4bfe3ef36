"""Compound selection: several constraints on one option at once, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from shared.messages.base import Side
from shared.options.chain import ChainView
from shared.options.symbols import OptionType
from shared.strategy.criteria import Compound, ExpiryCriterion, Liquidity, RankBy, refuse_unknown
from shared.strategy.legs import LegSpec
from shared.strategy.quantity import QuantityForm
from shared.strategy.selection import NO_TRADE_MARGIN_NS, Found, SelectionFailed, Selector

_STRIKE_KEYS = {"below_atm", "above_atm", "min", "max", "min_distance_pct", "max_distance_pct"}
_RANGE_KEYS = {"min", "max"}


class OptionSearch(msgspec.Struct, frozen=True):
    """Constraints on one option: search a chain with `on`, or trade what it finds with `leg`."""

    spec: LegSpec

    def on(
        self, chain: ChainView, now_ns: int, no_trade_margin_ns: int = NO_TRADE_MARGIN_NS
    ) -> Found | SelectionFailed:
        """What fits best on a chain; both answers say how many candidates each constraint removed (`.text`)."""
        if chain.snapshot.underlying != self.spec.underlying:
            return SelectionFailed(reason=f"no option chain of {self.spec.underlying}")
        return Selector(chain, now_ns, no_trade_margin_ns).find(self.spec)

    def leg(self, side: Side | Literal[1, 2], qty: QuantityForm) -> LegSpec:
        """A leg that trades what is found; filters of size then look at the side that it takes."""
        return LegSpec(
            self.spec.option_type,
            side,
            qty,
            self.spec.strike,
            self.spec.expiry,
            self.spec.underlying,
            self.spec.min_otm_pct,
            self.spec.liquidity,
        )


def find_option(
    *,
    option_type: OptionType,
    expiry: ExpiryCriterion | Mapping[str, Any],
    strike: Mapping[str, Any] | None = None,
    delta: Mapping[str, float] | None = None,
    premium: Mapping[str, float] | None = None,
    iv: Mapping[str, float] | None = None,
    rank_by: RankBy = "strike_near",
    underlying: str = "BTC",
    min_otm_pct: float | None = None,
    liquidity: Liquidity | Mapping[str, Any] | None = None,
) -> OptionSearch:
    """Constraints that one option must all meet, and by what the best of those that do is chosen.

    expiry: as of a leg. strike: below_atm, above_atm (True), min, max (USD), min_distance_pct, max_distance_pct
    (per cent of the index). delta (signed as the option's own), premium (mark, USD per unit) and iv (fraction) take
    min and max. rank_by: "delta_mid" is nearest to the middle of the deltas, "strike_near" to the index; the others
    say what is highest or lowest. Raises ValueError naming the key.

    >>> search = find_option(
    ...     option_type="P",
    ...     expiry={"min_days": 6, "max_days": 13, "target": "near"},
    ...     strike={"below_atm": True, "min_distance_pct": 0.5},
    ...     delta={"min": -0.45, "max": -0.15},
    ...     rank_by="delta_mid",
    ... )
    >>> search.leg("sell", "0.1").order_side
    'sell'
    """
    given = {} if strike is None else strike
    refuse_unknown("find_option: strike", given, _STRIKE_KEYS)
    for field, bounds in (("delta", delta), ("premium", premium), ("iv", iv)):
        refuse_unknown(f"find_option: {field}", bounds or {}, _RANGE_KEYS)
    below, above = bool(given.get("below_atm")), bool(given.get("above_atm"))
    if below and above:
        raise ValueError("find_option: strike cannot be below_atm and above_atm at once: give one of them")
    low, high = (0.0, 1.0) if option_type == "C" else (-1.0, 0.0)
    for key, value in (delta or {}).items():
        if isinstance(value, int | float) and not low <= value <= high:
            raise ValueError(
                f"find_option: delta: {key} {value!r} of a {option_type} must lie within {low:g} to {high:g}"
            )
    criterion = Compound(
        side_of_atm="below" if below else "above" if above else None,
        strike_min=given.get("min"),
        strike_max=given.get("max"),
        distance_min_pct=given.get("min_distance_pct"),
        distance_max_pct=given.get("max_distance_pct"),
        delta_min=(delta or {}).get("min"),
        delta_max=(delta or {}).get("max"),
        premium_min=(premium or {}).get("min"),
        premium_max=(premium or {}).get("max"),
        iv_min=(iv or {}).get("min"),
        iv_max=(iv or {}).get("max"),
        rank_by=rank_by,
    )
    return OptionSearch(LegSpec(option_type, "buy", 1, criterion, expiry, underlying, min_otm_pct, liquidity))
