"""How much of each leg: a fixed quantity, or a rule applied when the options are known. Rounded down to the lot."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, get_args

import msgspec

from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.options.chain import ChainView, snap_quantity
from shared.options.instruments import instrument_kind
from shared.options.payoff import PayoffLeg, payoff_figures, stressed_loss_usd, trading_fee_usd
from shared.strategy.criteria import positive_decimal, refuse_unknown
from shared.strategy.sizing import position_size

RiskBasis = Literal["maximum", "stressed"]


class ByNotional(msgspec.Struct, frozen=True):
    """So much that strike × quantity, of a future or of spot mark × quantity, is at most `usd`."""

    usd: float


class ByPremiumUsd(msgspec.Struct, frozen=True):
    """So much that mark × quantity is at most `usd`, paid or received."""

    usd: float


class ByRisk(msgspec.Struct, frozen=True, kw_only=True):
    """So much that the whole structure loses at most `pct` per cent of the account's equity.

    at: "maximum", its largest loss at the first expiry, which a structure without a bound does not have; or
    "stressed", if the underlying moved at once by `spot_pct` per cent either way and volatility by `vol_points` (0.01
    each). ratio: quantity of this leg per unit of the structure. All legs of a structure must have the same rule.
    Prices are those of the other side of the book where there is one, else marks; fees to open and to close count.
    """

    pct: float
    at: RiskBasis = "maximum"
    ratio: float = 1.0
    spot_pct: float = 20.0
    vol_points: float = 20.0


class OfLeg(msgspec.Struct, frozen=True):
    """The quantity of another leg times `ratio`, whatever rule that one has, as long as it is not this one again."""

    leg: int
    ratio: float = 1.0


class ToDelta(msgspec.Struct, frozen=True):
    """So much of a future or of spot that the structure's delta is `delta` coins, within a lot: delta is Σ signed
    quantity × delta of all legs on its underlying at the prices of the moment, this leg with them. The leg's side
    must be the one that brings it there; where it is not, nothing is opened."""

    delta: float


Quantity = Decimal | ByNotional | ByPremiumUsd | ByRisk | OfLeg | ToDelta
QuantityForm = Quantity | float | str | Mapping[str, Any]


class Chosen(msgspec.Struct, frozen=True):
    """A leg whose option is chosen and whose quantity is not yet known."""

    option: Instrument
    chain: ChainView
    side: Side
    quantity: Quantity


def quantity_of(given: QuantityForm) -> Quantity:
    """The typed form of a quantity, checked: a number in coins, or {"notional_usd": 50_000}, {"premium_usd": 500},
    {"risk_pct": 1, "at": "maximum" or "stressed", "ratio": 1, "spot_pct": 20, "vol_points": 20}, {"of_leg": 0}, or of
    a future {"to_delta": 0}.

    Raises ValueError naming the key.
    """
    rule = _from_mapping(given) if isinstance(given, Mapping) else given
    match rule:
        case ByNotional(usd=usd) | ByPremiumUsd(usd=usd):
            _check("usd", usd, math.inf)
        case OfLeg(leg=leg, ratio=ratio):
            if isinstance(leg, bool) or not isinstance(leg, int) or leg < 0:
                raise ValueError(f"qty: of_leg {leg!r} must be the index of another leg, 0 or more")
            _check("ratio", ratio, math.inf)
        case ToDelta(delta=delta):
            is_number = isinstance(delta, int | float) and not isinstance(delta, bool) and math.isfinite(delta)
            if not is_number:
                raise ValueError(f"qty: to_delta {delta!r} must be a number of coins, 0 for none")
        case ByRisk():
            _check("risk_pct", rule.pct, 100)
            _check("ratio", rule.ratio, math.inf)
            _check("spot_pct", rule.spot_pct, 99)
            _check("vol_points", rule.vol_points, 1_000)
            if rule.at not in get_args(RiskBasis):
                raise ValueError(f"qty: at {rule.at!r} must be one of {', '.join(get_args(RiskBasis))}")
        case _:
            return positive_decimal("qty", rule)
    return rule


def quantities(legs: Sequence[Chosen], equity_usd: float | None, now_ns: int) -> list[Decimal] | tuple[int, str]:
    """The quantity of each leg in coins, or the index of the leg that has none and why."""
    found: dict[int, Decimal] = {}
    units: float | str | None = None
    followed = {leg.quantity.leg for leg in legs if isinstance(leg.quantity, OfLeg)}
    # a leg that follows another one comes after all that follow none, one that follows all of them last
    for index in sorted(range(len(legs)), key=lambda place: _place_of(legs[place].quantity)):
        leg = legs[index]
        wanted: float | Decimal | str
        match leg.quantity:
            case ByRisk(ratio=ratio):
                units = _units_by_risk(legs, equity_usd, now_ns) if units is None else units
                wanted = units if isinstance(units, str) else units * ratio
            case OfLeg(leg=of, ratio=ratio):
                known = found.get(of)
                wanted = (
                    float(known) * ratio if known is not None else f"its quantity is that of leg {of}, which has none"
                )
            case ToDelta(delta=target):
                wanted = _to_delta(legs, index, found, target)
            case _:
                wanted = _wanted(leg)
                if index in followed and not isinstance(wanted, str):
                    wanted = _whole_for_followers(legs, index, wanted)
        if isinstance(wanted, str):
            return index, wanted
        if isinstance(wanted, Decimal):
            if misfit := _misfit(wanted, leg.option):
                return index, misfit
            found[index] = wanted
            continue
        found[index] = snap_quantity(wanted, leg.option.lot_size)
        if found[index] < leg.option.min_quantity:
            smallest = f"{leg.option.min_quantity}, the smallest order of {leg.option.symbol}"
            return index, f"its rule gives {wanted:.6g}, below {smallest}"
    rounded = [found[index] for index in range(len(legs))]
    if units is not None and equity_usd is not None and (passed := _past_its_risk(legs, rounded, equity_usd, now_ns)):
        return passed
    return rounded


def _root_of(legs: Sequence[Chosen], index: int) -> tuple[int, Fraction]:
    """The leg whose rule decides a leg's quantity, and how many of this leg come to one of that."""
    ratio = Fraction(1)
    for _ in legs:
        rule = legs[index].quantity
        if not isinstance(rule, OfLeg) or not 0 <= rule.leg < len(legs):
            break
        index, ratio = rule.leg, ratio * Fraction(str(rule.ratio))
    return index, ratio


def _whole_step(parts: Iterable[tuple[Fraction, Decimal]]) -> Fraction:
    """The smallest number of units of which each part, so many coins of it in a unit and its lot, is whole lots."""
    steps = [Fraction(lot) / ratio for ratio, lot in parts]
    return Fraction(math.lcm(*(step.numerator for step in steps)), math.gcd(*(step.denominator for step in steps)))


def _whole_for_followers(legs: Sequence[Chosen], index: int, wanted: float | Decimal) -> float | Decimal | str:
    """So much less of an option that those which follow it are whole lots too: put on its lot alone, a protective
    leg would lose a part that what it protects keeps. A quantity that is fixed is refused instead."""
    own = legs[index].option
    if not own.is_option:
        return wanted
    roots = [(leg.option, *_root_of(legs, number)) for number, leg in enumerate(legs)]
    step = _whole_step(
        (ratio, option.lot_size) for option, root, ratio in roots if root == index and option.is_option
    )
    whole = Decimal(step.numerator) / Decimal(step.denominator)
    fitting = snap_quantity(wanted, whole)
    if fitting == wanted or (fitting and not isinstance(wanted, Decimal)):
        return fitting
    return f"qty {wanted:.6g}: legs that follow it are whole lots at multiples of {whole:f} of {own.symbol} only"


def _past_its_risk(
    legs: Sequence[Chosen], rounded: Sequence[Decimal], equity_usd: float, now_ns: int
) -> tuple[int, str] | None:
    """The first leg by risk and why, where the structure would lose more than its share once each leg is on its lot:
    what was cut off a protective leg may cost more than what was cut off the others saves."""
    index, rule = next((index, leg.quantity) for index, leg in enumerate(legs) if isinstance(leg.quantity, ByRisk))
    loss_usd = _loss_usd(legs, [float(quantity) for quantity in rounded], rule, now_ns)
    if isinstance(loss_usd, str):
        return index, loss_usd
    allowed_usd = equity_usd * rule.pct / 100
    if loss_usd <= allowed_usd * (1 + 1e-9):
        return None
    lots = " : ".join(f"{quantity:f}" for quantity in rounded)
    loses = f"it would lose {loss_usd:,.2f} USD, more than {allowed_usd:,.2f}"
    return index, f"in whole lots, {lots}, {loses}: use ratios that whole lots can keep"


def _place_of(quantity: Quantity) -> int:
    return 2 if isinstance(quantity, ToDelta) else int(isinstance(quantity, OfLeg))


def _to_delta(legs: Sequence[Chosen], index: int, known: Mapping[int, Decimal], target: float) -> float | str:
    """What brings the delta of all legs on its underlying to the target, before the lot; or why nothing does."""
    own = legs[index]
    delta = 0.0
    for number, leg in enumerate(legs):
        if number == index or leg.option.underlying != own.option.underlying:
            continue
        if number not in known:
            return "only one leg can bring the structure's delta to a target"
        of_one = leg.chain.value(leg.option.symbol, "delta")
        if of_one is None:
            return f"no delta of {leg.option.symbol}, from which its quantity would follow"
        delta += float(known[number]) * of_one * (1 if leg.side == "buy" else -1)
    wanted = (target - delta) * (1 if own.side == "buy" else -1)
    if wanted < 0:
        other = "sold" if own.side == "buy" else "bought"
        return f"the delta of the other legs is {delta:+.4f}: to bring it to {target:g} it would have to be {other}"
    return wanted


def _wanted(leg: Chosen) -> float | Decimal | str:
    """What a rule that looks at its own leg alone gives before the lot, or why nothing."""
    match leg.quantity:
        case ByNotional(usd=usd) if leg.option.is_option:
            return usd / float(leg.option.strike)
        case ByNotional(usd=usd) | ByPremiumUsd(usd=usd):
            mark = leg.chain.value(leg.option.symbol, "mark")
            if mark is None or mark <= 0:
                return f"no mark of {leg.option.symbol}, from which its quantity would follow"
            return usd / mark
        case Decimal() as fixed:
            return fixed
        case other:
            raise AssertionError(f"{other} does not look at its own leg alone")


def payoff_leg(leg: Chosen, quantity: float) -> PayoffLeg | str:
    """A chosen leg at the price that it would trade at now: the other side of the book, else mark; or why none.

    `quantity` in coins, > 0; the leg's side gives the sign.
    """
    quote = leg.chain.quote(leg.option.symbol)
    mark = None if quote is None else quote.mark
    across = None if quote is None else quote.ask if leg.side == "buy" else quote.bid
    price_usd = across if across is not None and across > 0 else mark
    if price_usd is None:
        return f"no price of {leg.option.symbol}"
    return PayoffLeg(
        is_call=leg.option.option_type == "C",
        strike=float(leg.option.strike),
        expiry_ns=leg.option.expiry_ns,
        quantity=quantity if leg.side == "buy" else -quantity,
        price=price_usd,
        iv=leg.chain.value(leg.option.symbol, "mark_iv") or math.nan if leg.option.is_option else 0.0,
        forward_ratio=leg.chain.forward_ratio(leg.option.symbol),
    )


def _units_by_risk(legs: Sequence[Chosen], equity_usd: float | None, now_ns: int) -> float | str:
    """How many units of the structure the share of the equity allows, before the lot; or why none."""
    rules = {index: leg.quantity for index, leg in enumerate(legs) if isinstance(leg.quantity, ByRisk)}
    rule = next(iter(rules.values()))
    ratios: list[Fraction] = []
    for index in range(len(legs)):
        root, ratio = _root_of(legs, index)
        own = rules.get(root)
        if own is None or msgspec.structs.replace(own, ratio=rule.ratio) != rule:
            return "by risk all legs of a structure must have the same rule, as their loss is one"
        ratios.append(Fraction(str(own.ratio)) * ratio)
    if len({leg.option.underlying for leg in legs}) > 1:
        return "by risk all legs must be of one underlying"
    if equity_usd is None or not math.isfinite(equity_usd):
        return "the account's equity is not known, of which the risk is a share"
    loss_usd = _loss_usd(legs, [float(ratio) for ratio in ratios], rule, now_ns)
    if isinstance(loss_usd, str):
        return loss_usd
    # a lot far below any venue's, as each leg is put on its own lot afterwards
    tiny = Decimal("1e-9")
    size = position_size(equity_usd, loss_usd, risk_pct=rule.pct, lot_size=tiny, min_quantity=tiny)
    if not size.quantity:
        return f"no room: {size.reason}"
    step = _whole_step((ratio, leg.option.lot_size) for leg, ratio in zip(legs, ratios, strict=True))
    # where no whole lots keep the ratios, each leg is put on its own, and their loss looked at once more
    return float(Fraction(size.quantity) // step * step or size.quantity)


def _loss_usd(legs: Sequence[Chosen], quantities: Sequence[float], rule: ByRisk, now_ns: int) -> float | str:
    """What the structure loses at worst by the rule, > 0 with fees to open and to close; or why that is not known.

    quantities: of each leg, in coins, > 0.
    """
    parts: list[PayoffLeg] = []
    for leg, quantity in zip(legs, quantities, strict=True):
        priced = payoff_leg(leg, quantity)
        if isinstance(priced, str):
            return priced
        parts.append(priced)
    index_price = legs[0].chain.snapshot.index_price
    if rule.at == "maximum":
        loss = payoff_figures(parts).max_loss_usd
        if math.isinf(loss):
            return "its largest loss has no bound: size it by {'at': 'stressed'}, or add protective legs"
    else:
        loss = stressed_loss_usd(parts, index_price, now_ns, spot_pct=rule.spot_pct, vol_points=rule.vol_points)
    loss += sum(
        2 * trading_fee_usd(part.price, index_price, part.quantity, kind=instrument_kind(leg.option.symbol))
        for leg, part in zip(legs, parts, strict=True)
    )
    if not math.isfinite(loss) or loss <= 0:
        return "its loss cannot be computed: a volatility or the index is missing"
    return loss


def _misfit(quantity: Decimal, option: Instrument) -> str | None:
    if snap_quantity(quantity, option.lot_size) != quantity:
        return f"qty {quantity} is not a multiple of the lot {option.lot_size} of {option.symbol}"
    if quantity < option.min_quantity:
        return f"qty {quantity} is below {option.min_quantity}, the smallest order of {option.symbol}"
    return None


def _from_mapping(given: Mapping[str, Any]) -> Quantity:
    try:
        if "notional_usd" in given:
            refuse_unknown("qty", given, {"notional_usd"})
            return ByNotional(float(given["notional_usd"]))
        if "premium_usd" in given:
            refuse_unknown("qty", given, {"premium_usd"})
            return ByPremiumUsd(float(given["premium_usd"]))
        if "of_leg" in given:
            refuse_unknown("qty", given, {"of_leg", "ratio"})
            return OfLeg(given["of_leg"], given.get("ratio", 1.0))
        if "to_delta" in given:
            refuse_unknown("qty", given, {"to_delta"})
            return ToDelta(given["to_delta"])
        if "risk_pct" in given:
            refuse_unknown("qty", given, {"risk_pct", "at", "ratio", "spot_pct", "vol_points"})
            return ByRisk(pct=given["risk_pct"], **{key: value for key, value in given.items() if key != "risk_pct"})
    except TypeError:
        raise ValueError(f"qty {dict(given)!r} must have a number") from None
    raise ValueError(
        f"qty {dict(given)!r} must be a number, or have 'notional_usd', 'premium_usd', 'risk_pct', 'of_leg' or "
        "'to_delta'"
    )


def _check(name: str, value: object, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value <= high or math.isinf(value):  # type: ignore[operator,arg-type]
        upto = "" if math.isinf(high) else f", at most {high:g}"
        raise ValueError(f"qty: {name} {value!r} must be a number above 0{upto}")
