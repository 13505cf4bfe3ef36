"""How a leg names its strike and its expiry: typed criteria, and the short forms that strategy files may use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

import msgspec

from shared.options.symbols import OptionType, SymbolError, parse_option_symbol

DteTarget = Literal["near", "mid", "far"]
Cycle = Literal["weekly", "monthly", "quarterly"]
RankBy = Literal[
    "delta_mid",
    "strike_near",
    "strike_far",
    "premium_high",
    "premium_low",
    "iv_high",
    "iv_low",
    "spread_low",
    "open_interest_high",
    "volume_high",
]


class ByDelta(msgspec.Struct, frozen=True):
    """The strike whose delta is nearest to `value`, no further from it than `tolerance`.

    `value` is signed as the option's own delta: positive for calls, negative for puts.
    """

    value: float
    tolerance: float = 0.1


class ClosestStrike(msgspec.Struct, frozen=True):
    """The listed strike nearest to `price` in USD, or to the index when no price is given."""

    price: float | None = None


class ByStrike(msgspec.Struct, frozen=True):
    """Exactly this strike, in USD."""

    strike: Decimal


class BySpotDistance(msgspec.Struct, frozen=True):
    """The listed strike nearest to the index moved `pct` per cent out of the money: up for calls, down for puts."""

    pct: float


class BySpotOffset(msgspec.Struct, frozen=True):
    """The listed strike nearest to the index moved `usd` out of the money: up for calls, down for puts."""

    usd: float


class ByMoneyness(msgspec.Struct, frozen=True):
    """The strike whose ln(strike / forward) is nearest to `value`, no further from it than `tolerance`.

    0 is at the money; above 0 lies above the forward, for calls and puts alike.
    """

    value: float
    tolerance: float = 0.05


class ByPremium(msgspec.Struct, frozen=True):
    """The strike whose mark is nearest to `usd` per unit, no further from it than `tolerance_pct` per cent of it."""

    usd: float
    tolerance_pct: float = 50.0


class ByOtmProbability(msgspec.Struct, frozen=True):
    """The strike whose probability to expire out of the money is nearest to `value`, within `tolerance`.

    Black-76 at the option's own mark volatility: N(−d2) for a call, N(d2) for a put, d2 = (ln(F/K) − σ²t/2) / (σ√t).
    """

    value: float
    tolerance: float = 0.1


class FromLeg(msgspec.Struct, frozen=True):
    """The listed strike nearest to that of an earlier leg of the structure, moved by `usd` (down when negative).

    The strike must differ from that of the leg when `usd` does not round to it, and lie on the wanted side of it.
    """

    leg: int
    usd: float


class Compound(msgspec.Struct, frozen=True, kw_only=True):
    """Several constraints at once, and by what the best of the rest is chosen; made by `find_option`.

    strike_min, strike_max: USD. side_of_atm: "below" or "above" the index. distance: |strike / index − 1| in per
    cent. delta: signed as the option's own. premium: mark, USD per unit. iv: of the mark, a fraction.
    """

    side_of_atm: Literal["below", "above"] | None = None
    strike_min: float | None = None
    strike_max: float | None = None
    distance_min_pct: float | None = None
    distance_max_pct: float | None = None
    delta_min: float | None = None
    delta_max: float | None = None
    premium_min: float | None = None
    premium_max: float | None = None
    iv_min: float | None = None
    iv_max: float | None = None
    rank_by: RankBy = "strike_near"


StrikeCriterion = (
    ByDelta
    | ClosestStrike
    | ByStrike
    | BySpotDistance
    | BySpotOffset
    | ByMoneyness
    | ByPremium
    | ByOtmProbability
    | FromLeg
    | Compound
)


class NextExpiry(msgspec.Struct, frozen=True):
    """The nearest expiry that still trades for longer than the no-trade margin."""


class ByExpirySymbol(msgspec.Struct, frozen=True):
    """The expiry as the venue writes it in a symbol, "28MAR26"."""

    symbol: str


class ByDte(msgspec.Struct, frozen=True):
    """The expiry with exactly this DTE (whole days left, rounded down)."""

    days: int


class DteRange(msgspec.Struct, frozen=True):
    """An expiry with a DTE of `days_min` to `days_max`; of several the one nearest to `target`.

    target: a number of days, or "near", "mid" or "far" for the ends or the middle of the range.
    """

    days_min: int
    days_max: int
    target: float | DteTarget = "near"


class ByCycle(msgspec.Struct, frozen=True):
    """The `number`-th listed expiry of a cycle, 1 being the nearest that still trades.

    weekly: on a Friday. monthly: on the last Friday of its month. quarterly: on that of March, June, September or
    December. A monthly expiry is a weekly one too.
    """

    cycle: Cycle
    number: int = 1


ExpiryCriterion = NextExpiry | ByExpirySymbol | ByDte | DteRange | ByCycle


class Liquidity(msgspec.Struct, frozen=True, kw_only=True):
    """What a book must offer before an option is chosen; None asks nothing.

    max_spread_pct: (ask − bid) / mid × 100. max_spread_usd: ask − bid, USD per unit. min_size: in coins, of the side
    that the leg would take (the ask of a purchase). min_open_interest: in coins. What is missing does not pass.
    """

    max_spread_pct: float | None = None
    max_spread_usd: float | None = None
    min_size: float | None = None
    min_open_interest: float | None = None

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if value is not None and not _is_number(value, low=0):
                raise ValueError(f"liquidity: {field} {value!r} must be a number, 0 or more")


def liquidity_of(given: Liquidity | Mapping[str, Any] | None) -> Liquidity | None:
    """The typed form of liquidity filters. Raises ValueError naming the key."""
    if given is None or isinstance(given, Liquidity):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"liquidity {given!r} must be a Liquidity or a mapping")
    refuse_unknown("liquidity", given, set(Liquidity.__struct_fields__))
    return Liquidity(**given)


def strike_criterion(given: StrikeCriterion | Mapping[str, Any], option_type: OptionType) -> StrikeCriterion:
    """The typed form of a strike criterion, checked. A put's delta may be written 0.25 or -0.25."""
    criterion = _strike_from_mapping(given) if isinstance(given, Mapping) else given
    match criterion:
        case ByDelta(value=value, tolerance=tolerance):
            if not 0 < abs(value) < 1 or (option_type == "C" and value < 0):
                allowed = "0 to 1" if option_type == "C" else "0 to 1 or -1 to 0"
                raise ValueError(f"strike_criteria: delta {value} of a {option_type} must lie within {allowed}")
            _check_tolerance(tolerance)
            return ByDelta(value if option_type == "C" else -abs(value), tolerance)
        case ClosestStrike(price=price):
            if price is not None and not 0 < price < float("inf"):
                raise ValueError(f"strike_criteria: closestStrike to {price} must be a price above 0")
        case ByStrike(strike=strike):
            if not (strike.is_finite() and strike > 0):
                raise ValueError(f"strike_criteria: strike {strike} must be above 0")
        case BySpotDistance(pct=pct):
            if not -100 < pct < 1_000:
                raise ValueError(f"strike_criteria: spotdistance {pct} must be per cent above -100")
        case BySpotOffset(usd=usd):
            if not math.isfinite(usd):
                raise ValueError(f"strike_criteria: spotoffset {usd} must be USD")
        case ByMoneyness(value=value, tolerance=tolerance):
            if not -3 < value < 3:
                raise ValueError(f"strike_criteria: moneyness {value} must be ln(strike / forward), -3 to 3")
            _check_tolerance(tolerance)
        case ByPremium(usd=usd, tolerance_pct=tolerance_pct):
            if not 0 < usd < float("inf"):
                raise ValueError(f"strike_criteria: premium {usd} must be USD per unit above 0")
            if not 0 < tolerance_pct <= 1_000:
                raise ValueError(f"strike_criteria: tolerance_pct {tolerance_pct} must lie within 0 to 1000")
        case ByOtmProbability(value=value, tolerance=tolerance):
            if not 0 < value < 1:
                raise ValueError(f"strike_criteria: otmProbability {value} must lie within 0 to 1")
            _check_tolerance(tolerance)
        case FromLeg(leg=leg, usd=usd):
            if isinstance(leg, bool) or not isinstance(leg, int) or leg < 0:
                raise ValueError(f"strike_criteria: fromLeg {leg!r} must be the index of an earlier leg, 0 or more")
            if not math.isfinite(usd):
                raise ValueError(f"strike_criteria: fromLeg moved by {usd} must be USD")
        case Compound():
            _check_compound(criterion)
        case _:
            raise ValueError(f"strike_criteria {given!r} must be a mapping or a strike criterion")
    return criterion


def expiry_criterion(given: ExpiryCriterion | Mapping[str, Any]) -> ExpiryCriterion:
    """The typed form of an expiry criterion, checked."""
    criterion = _expiry_from_mapping(given) if isinstance(given, Mapping) else given
    match criterion:
        case NextExpiry():
            pass
        case ByExpirySymbol(symbol=symbol):
            try:
                parse_option_symbol(f"BTCUSD-{symbol}-1-C")
            except SymbolError:
                raise ValueError(f"expiry_criteria: symbol {symbol!r} must look like '28MAR26'") from None
        case ByDte(days=days):
            if isinstance(days, bool) or not isinstance(days, int) or days < 0:
                raise ValueError(f"expiry_criteria: dte {days!r} must be 'next' or whole days, 0 or more")
        case DteRange(days_min=low, days_max=high, target=target):
            if not 0 <= low <= high:
                raise ValueError(f"expiry_criteria: dte_min {low} and dte_max {high} must be 0 <= dte_min <= dte_max")
            if isinstance(target, str):
                if target not in get_args(DteTarget):
                    raise ValueError(f"expiry_criteria: target {target!r} must be days, 'near', 'mid' or 'far'")
            elif not low <= target <= high:
                raise ValueError(f"expiry_criteria: target {target} must lie within {low} to {high} days")
        case ByCycle(cycle=cycle, number=number):
            if cycle not in get_args(Cycle):
                raise ValueError(f"expiry_criteria: cycle {cycle!r} must be one of {', '.join(get_args(Cycle))}")
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise ValueError(f"expiry_criteria: {cycle} {number!r} must be a whole number, 1 for the nearest")
        case _:
            raise ValueError(f"expiry_criteria {given!r} must be a mapping or an expiry criterion")
    return criterion


def positive_decimal(field: str, given: Decimal | float | str) -> Decimal:
    """`given` in plain notation. Raises ValueError naming the field."""
    try:
        number = Decimal(repr(given) if isinstance(given, float) else given)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"{field} {given!r} must be a number above 0") from None
    if not (number.is_finite() and number > 0):
        raise ValueError(f"{field} {given!r} must be a number above 0")
    return Decimal(format(number, "f"))


def refuse_unknown(field: str, given: Mapping[str, Any], known: set[str]) -> None:
    """Raises ValueError when `given` has a key that is not among `known`."""
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"{field}: unknown key {unknown[0]!r}; allowed are {', '.join(sorted(known))}")


def _check_tolerance(tolerance: float) -> None:
    if not 0 < tolerance <= 1:
        raise ValueError(f"strike_criteria: tolerance {tolerance} must lie within 0 to 1")


def _check_compound(criterion: Compound) -> None:
    for name in ("strike", "distance", "delta", "premium", "iv"):
        suffix = "_pct" if name == "distance" else ""
        low, high = (getattr(criterion, f"{name}_{end}{suffix}") for end in ("min", "max"))
        for value in (low, high):
            if value is not None and not _is_number(value):
                raise ValueError(f"find_option: {name} {value!r} must be a number")
        if low is not None and high is not None and low > high:
            raise ValueError(f"find_option: {name} from {low:g} to {high:g} is empty: put the smaller value first")
    if criterion.rank_by not in get_args(RankBy):
        raise ValueError(f"find_option: rank_by {criterion.rank_by!r} must be one of {', '.join(get_args(RankBy))}")
    if criterion.rank_by == "delta_mid" and (criterion.delta_min is None or criterion.delta_max is None):
        raise ValueError("find_option: rank_by 'delta_mid' needs delta={'min': ..., 'max': ...}")


def _is_number(value: object, low: float = -math.inf) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and float(value) >= low
    )


_STRIKE_FORMS: Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], StrikeCriterion]]] = {
    "delta": (("value", "tolerance"), lambda g: ByDelta(float(g["value"]), float(g.get("tolerance", 0.1)))),
    "closeststrike": (
        ("value",),
        lambda g: ClosestStrike(None if g.get("value") is None else float(g["value"])),
    ),
    "strike": (("value",), lambda g: ByStrike(positive_decimal("strike", g["value"]))),
    "spotdistance": (("value",), lambda g: BySpotDistance(float(g["value"]))),
    "spotoffset": (("value",), lambda g: BySpotOffset(float(g["value"]))),
    "moneyness": (
        ("value", "tolerance"),
        lambda g: ByMoneyness(float(g["value"]), float(g.get("tolerance", 0.05))),
    ),
    "premium": (
        ("value", "tolerance_pct"),
        lambda g: ByPremium(float(g["value"]), float(g.get("tolerance_pct", 50.0))),
    ),
    "otmprobability": (
        ("value", "tolerance"),
        lambda g: ByOtmProbability(float(g["value"]), float(g.get("tolerance", 0.1))),
    ),
    "fromleg": (("leg", "value"), lambda g: FromLeg(g["leg"], float(g["value"]))),
}
"""The short form of each strike criterion: its keys beside "type", and how it is read."""


def _strike_from_mapping(given: Mapping[str, Any]) -> StrikeCriterion:
    kind = str(given.get("type", "")).lower()
    if kind not in _STRIKE_FORMS:
        raise ValueError(
            f"strike_criteria: type {given.get('type')!r} must be 'delta', 'closestStrike', 'strike', "
            "'spotdistance', 'spotOffset', 'moneyness', 'premium', 'otmProbability' or 'fromLeg'"
        )
    keys, read = _STRIKE_FORMS[kind]
    refuse_unknown("strike_criteria", given, {"type", *keys})
    needed = [key for key in ("leg", "value") if key in keys and kind != "closeststrike"]
    for key in needed:
        if key not in given:
            raise ValueError(f"strike_criteria: type {given['type']!r} needs a {key}")
    try:
        return read(given)
    except (TypeError, ValueError):
        above = " above 0" if kind == "strike" else ""
        raise ValueError(f"strike_criteria: value {given.get('value')!r} must be a number{above}") from None


def _expiry_from_mapping(given: Mapping[str, Any]) -> ExpiryCriterion:
    if "symbol" in given:
        refuse_unknown("expiry_criteria", given, {"symbol"})
        return ByExpirySymbol(str(given["symbol"]).upper())
    if "dte" in given:
        refuse_unknown("expiry_criteria", given, {"dte"})
        return NextExpiry() if given["dte"] == "next" else ByDte(given["dte"])
    for low, high in (("dte_min", "dte_max"), ("min_days", "max_days")):
        if low in given and high in given:
            refuse_unknown("expiry_criteria", given, {low, high, "target"})
            return DteRange(_days(low, given), _days(high, given), given.get("target", "near"))
    for cycle in get_args(Cycle):
        if cycle in given:
            refuse_unknown("expiry_criteria", given, {cycle})
            return ByCycle(cycle, given[cycle])
    raise ValueError(
        f"expiry_criteria {dict(given)!r} must have 'symbol', 'dte' (days or 'next'), 'dte_min' and 'dte_max', "
        "'weekly', 'monthly' or 'quarterly' (1 for the nearest)"
    )


def _days(key: str, given: Mapping[str, Any]) -> int:
    try:
        days = int(given[key])
        is_whole = days == float(given[key])
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise ValueError(f"expiry_criteria: {key} {given[key]!r} must be whole days")
    return days
