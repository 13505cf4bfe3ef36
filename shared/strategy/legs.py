"""What to trade: a leg as criteria, and the structures that are made of legs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast

import msgspec

from shared.messages.base import Side
from shared.options.symbols import OptionType, SymbolError, parse_option_symbol

DteTarget = Literal["near", "mid", "far"]


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


StrikeCriterion = ByDelta | ClosestStrike | ByStrike | BySpotDistance


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


ExpiryCriterion = NextExpiry | ByExpirySymbol | ByDte | DteRange


class LegSpec(msgspec.Struct, frozen=True):
    """One leg of a structure as criteria.

    side: "buy" or "sell", or the venue's 1 (buy) and 2 (sell). qty: in base coin, above 0. strike_criteria and
    expiry_criteria: typed, or the short forms {"type": "delta", "value": 0.25}, {"type": "closestStrike"},
    {"type": "strike", "value": 70000}, {"type": "spotdistance", "value": 5} (per cent) and {"symbol": "28MAR26"},
    {"dte": 7}, {"dte": "next"}, {"dte_min": 5, "dte_max": 9, "target": 7}. underlying: "BTC" or "BTCUSD".
    After construction the fields hold the typed forms. Raises ValueError naming the field and what is allowed.
    """

    option_type: OptionType
    side: Side | Literal[1, 2]
    qty: Decimal | float | str
    strike_criteria: StrikeCriterion | Mapping[str, Any]
    expiry_criteria: ExpiryCriterion | Mapping[str, Any]
    underlying: str = "BTC"

    def __post_init__(self) -> None:
        if self.option_type not in ("C", "P"):
            raise ValueError(f"option_type {self.option_type!r} must be 'C' or 'P'")
        for field, value in (
            ("side", side_of(self.side)),
            ("qty", _quantity(self.qty)),
            ("strike_criteria", strike_criterion(self.strike_criteria, self.option_type)),
            ("expiry_criteria", expiry_criterion(self.expiry_criteria)),
            ("underlying", index_name(self.underlying)),
        ):
            msgspec.structs.force_setattr(self, field, value)

    @property
    def order_side(self) -> Side:
        return cast(Side, self.side)

    @property
    def quantity(self) -> Decimal:
        return cast(Decimal, self.qty)

    @property
    def strike(self) -> StrikeCriterion:
        return cast(StrikeCriterion, self.strike_criteria)

    @property
    def expiry(self) -> ExpiryCriterion:
        return cast(ExpiryCriterion, self.expiry_criteria)


def straddle(
    qty: Decimal | float | str,
    dte: int | Literal["next"] = "next",
    side: Side | Literal[1, 2] = 1,
    underlying: str = "BTC",
    expiry_criteria: ExpiryCriterion | Mapping[str, Any] | None = None,
) -> list[LegSpec]:
    """A call and a put at the strike nearest to the index. `expiry_criteria` takes the place of `dte`."""
    expiry = {"dte": dte} if expiry_criteria is None else expiry_criteria
    return [LegSpec(kind, side, qty, ClosestStrike(), expiry, underlying) for kind in ("C", "P")]


def strangle(
    qty: Decimal | float | str,
    call_delta: float = 0.25,
    put_delta: float = -0.25,
    dte: int | Literal["next"] = "next",
    side: Side | Literal[1, 2] = 1,
    underlying: str = "BTC",
    expiry_criteria: ExpiryCriterion | Mapping[str, Any] | None = None,
) -> list[LegSpec]:
    """A call and a put out of the money, by delta. `expiry_criteria` takes the place of `dte`."""
    expiry = {"dte": dte} if expiry_criteria is None else expiry_criteria
    return [
        LegSpec("C", side, qty, {"type": "delta", "value": call_delta}, expiry, underlying),
        LegSpec("P", side, qty, {"type": "delta", "value": put_delta}, expiry, underlying),
    ]


def index_name(underlying: str) -> str:
    """The venue's name of an underlying: "BTC" and "BTCUSD" both give "BTCUSD"."""
    name = underlying.upper()
    base = name.removesuffix("USD")
    if not base.isalnum():
        raise ValueError(f"underlying {underlying!r} must be a coin such as 'BTC' or an index such as 'BTCUSD'")
    return f"{base}USD"


def side_of(side: object) -> Side:
    """Our word for "buy", "sell", 1 or 2. Raises ValueError for anything else."""
    if side == "buy" or (side == 1 and not isinstance(side, bool)):
        return "buy"
    if side == "sell" or side == 2:
        return "sell"
    raise ValueError(f"side {side!r} must be 'buy' or 'sell' (or 1 for buy, 2 for sell)")


def strike_criterion(given: StrikeCriterion | Mapping[str, Any], option_type: OptionType) -> StrikeCriterion:
    """The typed form of a strike criterion, checked. A put's delta may be written 0.25 or -0.25."""
    criterion = _strike_from_mapping(given) if isinstance(given, Mapping) else given
    match criterion:
        case ByDelta(value=value, tolerance=tolerance):
            if not 0 < abs(value) < 1 or (option_type == "C" and value < 0):
                allowed = "0 to 1" if option_type == "C" else "0 to 1 or -1 to 0"
                raise ValueError(f"strike_criteria: delta {value} of a {option_type} must lie within {allowed}")
            if not 0 < tolerance <= 1:
                raise ValueError(f"strike_criteria: tolerance {tolerance} must lie within 0 to 1")
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
                if target not in ("near", "mid", "far"):
                    raise ValueError(f"expiry_criteria: target {target!r} must be days, 'near', 'mid' or 'far'")
            elif not low <= target <= high:
                raise ValueError(f"expiry_criteria: target {target} must lie within {low} to {high} days")
        case _:
            raise ValueError(f"expiry_criteria {given!r} must be a mapping or an expiry criterion")
    return criterion


def _quantity(given: Decimal | float | str) -> Decimal:
    try:
        quantity = Decimal(repr(given) if isinstance(given, float) else given)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"qty {given!r} must be a number above 0") from None
    if not (quantity.is_finite() and quantity > 0):
        raise ValueError(f"qty {given!r} must be a number above 0")
    return Decimal(format(quantity, "f"))


def _strike_from_mapping(given: Mapping[str, Any]) -> StrikeCriterion:
    kind = str(given.get("type", "")).lower()
    known = {
        "delta": {"type", "value", "tolerance"},
        "closeststrike": {"type", "value"},
        "strike": {"type", "value"},
        "spotdistance": {"type", "value"},
    }
    if kind not in known:
        raise ValueError(
            f"strike_criteria: type {given.get('type')!r} must be "
            "'delta', 'closestStrike', 'strike' or 'spotdistance'"
        )
    _refuse_unknown("strike_criteria", given, known[kind])
    if "value" not in given and kind != "closeststrike":
        raise ValueError(f"strike_criteria: type {given['type']!r} needs a value")
    try:
        match kind:
            case "delta":
                return ByDelta(float(given["value"]), float(given.get("tolerance", 0.1)))
            case "closeststrike":
                return ClosestStrike(None if given.get("value") is None else float(given["value"]))
            case "strike":
                return ByStrike(_quantity(given["value"]))
            case _:
                return BySpotDistance(float(given["value"]))
    except (TypeError, ValueError):
        raise ValueError(f"strike_criteria: value {given.get('value')!r} must be a number") from None


def _expiry_from_mapping(given: Mapping[str, Any]) -> ExpiryCriterion:
    if "symbol" in given:
        _refuse_unknown("expiry_criteria", given, {"symbol"})
        return ByExpirySymbol(str(given["symbol"]).upper())
    if "dte" in given:
        _refuse_unknown("expiry_criteria", given, {"dte"})
        return NextExpiry() if given["dte"] == "next" else ByDte(given["dte"])
    if "dte_min" in given and "dte_max" in given:
        _refuse_unknown("expiry_criteria", given, {"dte_min", "dte_max", "target"})
        return DteRange(int(given["dte_min"]), int(given["dte_max"]), given.get("target", "near"))
    raise ValueError(
        f"expiry_criteria {dict(given)!r} must have 'symbol', 'dte' (days or 'next'), or 'dte_min' and 'dte_max'"
    )


def _refuse_unknown(field: str, given: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"{field}: unknown key {unknown[0]!r}; allowed are {', '.join(sorted(known))}")
