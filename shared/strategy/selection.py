"""From criteria to instruments: selection on the columns of a chain, with the reason when nothing is left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.trades import LegOrder
from shared.options.chain import ChainView
from shared.options.normal import ndtr
from shared.options.symbols import NS_PER_DAY, NS_PER_YEAR, OptionType, parse_option_symbol
from shared.strategy.criteria import (
    ByCycle,
    ByDelta,
    ByDte,
    ByExpirySymbol,
    ByMoneyness,
    ByOtmProbability,
    ByPremium,
    BySpotDistance,
    BySpotOffset,
    ByStrike,
    ClosestStrike,
    Compound,
    DteRange,
    ExpiryCriterion,
    FromLeg,
    Liquidity,
    NextExpiry,
    StrikeCriterion,
)
from shared.strategy.legs import AnyLeg, FutureLeg, LegSpec, PerpetualLeg, SpotLeg
from shared.strategy.quantity import Chosen, quantities

NO_TRADE_MARGIN_NS = 3_600 * 1_000_000_000
Mask = NDArray[np.bool_]
F8 = NDArray[np.float64]
Rows = NDArray[np.intp]
_FRIDAY = 4
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
_BY_VALUE = (ByDelta, ByMoneyness, ByPremium, ByOtmProbability, Compound)
"""Criteria that look for a value: they choose among the options that pass the filters of the book. The others name a
strike, and fail when that one does not pass."""


class Removed(msgspec.Struct, frozen=True):
    """How many candidates a criterion removed, and how many it left."""

    criterion: str
    removed: int
    left: int

    def __str__(self) -> str:
        return f"{self.criterion} removed {self.removed} and left {self.left}"


class SelectionFailed(msgspec.Struct, frozen=True, kw_only=True):
    """No option fits. `removed` tells the way there; `leg_index` is None when it is not about one leg."""

    reason: str
    removed: tuple[Removed, ...] = ()
    leg_index: int | None = None

    @property
    def text(self) -> str:
        """Reason and way in one line."""
        way = ", ".join(map(str, self.removed))
        leg = "" if self.leg_index is None else f"leg {self.leg_index}: "
        return f"{leg}{self.reason}" + (f" ({way})" if way else "")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The option, or future, that was chosen, and how many candidates each criterion removed on the way."""

    option: Instrument
    removed: tuple[Removed, ...]

    @property
    def symbol(self) -> str:
        return self.option.symbol

    @property
    def text(self) -> str:
        """The way to the choice in one line."""
        return f"{self.symbol} ({', '.join(map(str, self.removed))})"


class _NoneLeft(Exception):
    """A criterion removed the last candidate."""


class _Funnel:
    """Candidates of one selection, narrowed step by step."""

    def __init__(self, rows: Rows, removed: Sequence[Removed] = (), kind: str = "option") -> None:
        self.rows = rows
        self.removed = list(removed)
        self._kind = kind

    def keep(self, criterion: str, mask: Mask) -> None:
        """Keep the candidates whose place in `rows` is True. Raises _NoneLeft."""
        before = len(self.rows)
        self.rows = self.rows[mask]
        left = len(self.rows)
        self.removed.append(Removed(criterion, before - left, left))
        if not left:
            raise _NoneLeft(f"no {self._kind} is left after {criterion}")


class Selector:
    """Selection on one chain at one moment. Legs of one type and expiry share the way to it."""

    def __init__(self, chain: ChainView, now_ns: int, no_trade_margin_ns: int = NO_TRADE_MARGIN_NS) -> None:
        self.chain = chain
        self._now_ns = now_ns
        self._margin_ns = no_trade_margin_ns
        self._begun: dict[tuple[OptionType, ExpiryCriterion], _Funnel] = {}

    def find(self, spec: LegSpec, earlier: Sequence[Instrument] = ()) -> Found | SelectionFailed:
        """The option for a leg; `earlier`: those of the legs before it.

        Removed in this order: the other type; what stops trading within the no-trade margin ("next" is the nearest
        expiry after that); other expiries; what is not far enough out of the money; other strikes; what has no
        usable mark (above 0); what the book does not offer. A criterion that names a strike chooses among the listed
        ones, so that a missing mark or a poor book is a failure and never another strike; one that looks for a value
        chooses among the options that have it and pass. Of equally near ones the first listed is taken.
        """
        funnel = _Funnel(np.arange(len(self.chain.instruments)))
        try:
            self._keep_type_and_expiry(funnel, spec)
            if spec.min_otm_pct is not None:
                self._keep_otm(funnel, spec.option_type, spec.min_otm_pct)
            by_value = isinstance(spec.strike, _BY_VALUE)
            if by_value:
                self._keep_tradable(funnel, spec)
            self._keep_strike(funnel, spec.strike, spec.option_type, earlier)
            if not by_value:
                self._keep_tradable(funnel, spec)
        except _NoneLeft as none_left:
            return SelectionFailed(reason=str(none_left), removed=tuple(funnel.removed))
        return Found(option=self.chain.instruments[int(funnel.rows[0])], removed=tuple(funnel.removed))

    def find_future(self, spec: FutureLeg) -> Found | SelectionFailed:
        """The dated future for a leg. Removed in this order: what stops trading within the no-trade margin; other
        expiries; what has no fresh mark."""
        listed, name = self.chain.listed, self.chain.snapshot.underlying
        if not listed.futures:
            on = "the venue lists none" if listed.perpetual is not None else "set [desk] futures = true"
            return SelectionFailed(reason=f"no dated future of {name} is traded here: {on}")
        funnel = _Funnel(np.arange(len(listed.futures)), kind="dated future")
        expiries_ns = np.array([future.expiry_ns for future in listed.futures], dtype=np.int64)
        last_ns = np.array([future.last_trade_ns for future in listed.futures], dtype=np.int64)
        marks = np.array([self.chain.value(each.symbol, "mark") or math.nan for each in listed.futures])
        try:
            self._keep_trading(funnel, last_ns)
            _keep_expiry(funnel, spec.expiry, expiries_ns, self._now_ns)
            funnel.keep("a fresh mark", _usable(marks[funnel.rows]))
        except _NoneLeft as none_left:
            return SelectionFailed(reason=str(none_left), removed=tuple(funnel.removed))
        return Found(option=listed.futures[int(funnel.rows[0])], removed=tuple(funnel.removed))

    def _keep_trading(self, funnel: _Funnel, last_trades_ns: NDArray[np.int64]) -> None:
        funnel.keep(
            f"trading for at least {self._margin_ns / 60e9:.0f} min more",
            last_trades_ns[funnel.rows] - np.int64(self._now_ns) >= self._margin_ns,
        )

    def _keep_type_and_expiry(self, funnel: _Funnel, spec: LegSpec) -> None:
        begun = self._begun.get((spec.option_type, spec.expiry))
        if begun is not None:
            funnel.rows, funnel.removed = begun.rows, list(begun.removed)
            return
        listed = self.chain.listed
        funnel.keep(f"type {spec.option_type}", listed.is_call == (spec.option_type == "C"))
        self._keep_trading(funnel, listed.last_trades_ns)
        _keep_expiry(funnel, spec.expiry, listed.expiries_ns, self._now_ns)
        self._begun[spec.option_type, spec.expiry] = _Funnel(funnel.rows, funnel.removed)

    def _column(self, name: str, funnel: _Funnel) -> F8:
        return self.chain.column(name)[funnel.rows]

    def _index(self) -> float:
        index_price = self.chain.snapshot.index_price
        if not math.isfinite(index_price):
            raise _NoneLeft("the index price is missing")
        return index_price

    def _keep_otm(self, funnel: _Funnel, option_type: OptionType, least_pct: float) -> None:
        out = 1 if option_type == "C" else -1
        otm_pct = out * (self.chain.listed.strikes[funnel.rows] / self._index() - 1) * 100
        funnel.keep(f"at least {least_pct:g} % out of the money", otm_pct >= least_pct)

    def _keep_tradable(self, funnel: _Funnel, spec: LegSpec) -> None:
        funnel.keep("a usable mark", _usable(self._column("mark", funnel)))
        if spec.book_filters is not None:
            self._keep_liquid(funnel, spec.book_filters, spec.order_side)

    def _keep_liquid(self, funnel: _Funnel, wanted: Liquidity, side: Side) -> None:
        if wanted.max_spread_pct is not None or wanted.max_spread_usd is not None:
            bid, ask = self._column("bid", funnel), self._column("ask", funnel)
            spread, mid = ask - bid, (ask + bid) / 2
            if wanted.max_spread_usd is not None:
                funnel.keep(f"a spread of at most {wanted.max_spread_usd:g} USD", spread <= wanted.max_spread_usd)
                bid, ask = self._column("bid", funnel), self._column("ask", funnel)
                spread, mid = ask - bid, (ask + bid) / 2
            if wanted.max_spread_pct is not None:
                funnel.keep(
                    f"a spread of at most {wanted.max_spread_pct:g} % of mid",
                    spread * 100 <= wanted.max_spread_pct * mid,
                )
        if wanted.min_size is not None:
            taken = "ask" if side == "buy" else "bid"
            funnel.keep(
                f"{taken} size of at least {wanted.min_size:g}",
                self._column(f"{taken}_size", funnel) >= wanted.min_size,
            )
        if wanted.min_open_interest is not None:
            funnel.keep(
                f"open interest of at least {wanted.min_open_interest:g}",
                self._column("open_interest", funnel) >= wanted.min_open_interest,
            )

    def _keep_strike(
        self, funnel: _Funnel, criterion: StrikeCriterion, kind: OptionType, earlier: Sequence[Instrument]
    ) -> None:
        strikes = self.chain.listed.strikes[funnel.rows]
        out = 1 if kind == "C" else -1
        match criterion:
            case ByStrike(strike=strike):
                funnel.keep(f"strike {strike}", strikes == float(strike))
            case ClosestStrike(price=price):
                _keep_nearest(funnel, strikes, self._index() if price is None else price, "strike")
            case BySpotDistance(pct=pct):
                _keep_nearest(funnel, strikes, self._index() * (1 + out * pct / 100), "strike")
            case BySpotOffset(usd=usd):
                _keep_nearest(funnel, strikes, self._index() + out * usd, "strike")
            case FromLeg():
                _keep_from_leg(funnel, strikes, criterion, earlier)
            case ByDelta(value=value, tolerance=tolerance):
                self._keep_value(funnel, "delta", self._column("delta", funnel), value, tolerance)
            case ByMoneyness(value=value, tolerance=tolerance):
                values = np.log(strikes / self._column("forward", funnel))
                self._keep_value(funnel, "moneyness", values, value, tolerance)
            case ByPremium(usd=usd, tolerance_pct=tolerance_pct):
                self._keep_value(funnel, "premium", self._column("mark", funnel), usd, usd * tolerance_pct / 100)
            case ByOtmProbability(value=value, tolerance=tolerance):
                values = self._otm_probability(funnel, out)
                self._keep_value(funnel, "probability out of the money", values, value, tolerance)
            case Compound():
                self._keep_compound(funnel, criterion)

    def _keep_value(self, funnel: _Funnel, what: str, values: F8, goal: float, tolerance: float) -> None:
        known = np.isfinite(values)
        funnel.keep(f"a {what}", known)
        away = np.abs(values[known] - goal)
        near = away <= tolerance
        funnel.keep(f"{what} within {tolerance:g} of {goal:g}", near)
        _keep_one(funnel, int(np.argmin(away[near])), f"{what} nearest to {goal:g}")

    def _otm_probability(self, funnel: _Funnel, out: int) -> F8:
        strikes = self.chain.listed.strikes[funnel.rows]
        years = (self.chain.listed.expiries_ns[funnel.rows] - np.int64(self._now_ns)) / NS_PER_YEAR
        deviation = self._column("mark_iv", funnel) * np.sqrt(years)
        d2 = np.log(self._column("forward", funnel) / strikes) / deviation - deviation / 2
        probability: F8 = ndtr(-out * d2)
        return probability

    def _keep_compound(self, funnel: _Funnel, wanted: Compound) -> None:
        if wanted.side_of_atm is not None:
            strikes, index = self.chain.listed.strikes[funnel.rows], self._index()
            funnel.keep(
                f"{wanted.side_of_atm} the index",
                strikes < index if wanted.side_of_atm == "below" else strikes > index,
            )
        for what, low, high in (
            ("strike", wanted.strike_min, wanted.strike_max),
            ("distance %", wanted.distance_min_pct, wanted.distance_max_pct),
            ("delta", wanted.delta_min, wanted.delta_max),
            ("premium", wanted.premium_min, wanted.premium_max),
            ("iv", wanted.iv_min, wanted.iv_max),
        ):
            if low is not None:
                funnel.keep(f"{what} of at least {low:g}", self._measured(what, funnel) >= low)
            if high is not None:
                funnel.keep(f"{what} of at most {high:g}", self._measured(what, funnel) <= high)
        scores = self._scores(wanted, funnel)
        funnel.keep(f"a value to rank by ({wanted.rank_by})", np.isfinite(scores))
        _keep_one(funnel, int(np.argmin(scores[np.isfinite(scores)])), f"best by {wanted.rank_by}")

    def _measured(self, what: str, funnel: _Funnel) -> F8:
        match what:
            case "strike":
                return self.chain.listed.strikes[funnel.rows]
            case "distance %":
                away: F8 = np.abs(self.chain.listed.strikes[funnel.rows] / self._index() - 1) * 100
                return away
            case "premium":
                return self._column("mark", funnel)
            case "iv":
                return self._column("mark_iv", funnel)
            case _:
                return self._column("delta", funnel)

    def _scores(self, wanted: Compound, funnel: _Funnel) -> F8:
        """What is smallest for the best."""
        scores: F8
        match wanted.rank_by:
            case "delta_mid":
                assert wanted.delta_min is not None, "checked when it was made"
                assert wanted.delta_max is not None, "checked when it was made"
                scores = np.abs(self._column("delta", funnel) - (wanted.delta_min + wanted.delta_max) / 2)
            case "strike_near" | "strike_far":
                scores = self._measured("distance %", funnel)
            case "premium_high" | "premium_low":
                scores = self._column("mark", funnel)
            case "iv_high" | "iv_low":
                scores = self._column("mark_iv", funnel)
            case "spread_low":
                bid, ask = self._column("bid", funnel), self._column("ask", funnel)
                scores = (ask - bid) / (ask + bid)
            case "open_interest_high":
                scores = self._column("open_interest", funnel)
            case "volume_high":
                scores = self._column("volume", funnel)
        return -scores if wanted.rank_by.endswith(("_high", "_far")) else scores


def select_option(
    spec: LegSpec, chain: ChainView, now_ns: int, no_trade_margin_ns: int = NO_TRADE_MARGIN_NS
) -> Instrument | SelectionFailed:
    """The option that fits the criteria of a leg on its own; see `Selector.find` for the order of what is removed.

    chain, now_ns: a moment of the market, UTC ns. no_trade_margin_ns: what stops trading sooner is not found.

    >>> leg = LegSpec("C", "buy", "0.1", {"type": "delta", "value": 0.25}, {"dte": "next"})
    >>> select_option(leg, chain, now_ns).option_type  # chain: as `EntryView.chains` has it
    'C'
    """
    found = Selector(chain, now_ns, no_trade_margin_ns).find(spec)
    return found if isinstance(found, SelectionFailed) else found.option


def resolve_legs(
    specs: Sequence[AnyLeg],
    chain: ChainView | Mapping[str, ChainView],
    now_ns: int,
    no_trade_margin_ns: int = NO_TRADE_MARGIN_NS,
    equity_usd: float | None = None,
) -> list[LegOrder] | SelectionFailed:
    """The legs of a structure as orders, all or none. `chain`: one view, or views by index name ("BTCUSD").

    equity_usd: of the account, of which a quantity by risk is a share. now_ns: UTC ns. Fails too when a quantity does
    not fit the option's lot or minimum, and when two legs are one option.

    >>> spread = [
    ...     LegSpec("P", "sell", "0.1", {"type": "delta", "value": 0.25}, {"dte": 7}),
    ...     LegSpec("P", "buy", "0.1", {"type": "fromLeg", "leg": 0, "value": -4_000}, {"dte": 7}),
    ... ]
    >>> [order.side for order in resolve_legs(spread, chain, now_ns)]  # chain: as `EntryView.chains` has it
    ['sell', 'buy']
    """
    found = choose_legs(specs, chain, now_ns, no_trade_margin_ns)
    if isinstance(found, SelectionFailed):
        return found
    sized = quantities(found, equity_usd, now_ns)
    if isinstance(sized, tuple):
        return SelectionFailed(reason=sized[1], leg_index=sized[0])
    return [
        LegOrder(symbol=leg.option.symbol, side=leg.side, quantity=quantity)
        for leg, quantity in zip(found, sized, strict=True)
    ]


def choose_legs(
    specs: Sequence[AnyLeg],
    chain: ChainView | Mapping[str, ChainView],
    now_ns: int,
    no_trade_margin_ns: int = NO_TRADE_MARGIN_NS,
) -> list[Chosen] | SelectionFailed:
    """The option, or future, of each leg, all or none, before its quantity is known."""
    selectors: dict[str, Selector] = {}
    chosen: list[Chosen] = []
    for index, spec in enumerate(specs):
        view = chain if isinstance(chain, ChainView) else chain.get(spec.underlying)
        if view is None or view.snapshot.underlying != spec.underlying:
            return SelectionFailed(reason=f"no option chain of {spec.underlying}", leg_index=index)
        selector = selectors.setdefault(spec.underlying, Selector(view, now_ns, no_trade_margin_ns))
        if isinstance(spec, PerpetualLeg):
            found = perpetual_of(view)
        elif isinstance(spec, SpotLeg):
            found = _spot_of(view)
        elif isinstance(spec, FutureLeg):
            found = selector.find_future(spec)
        else:
            found = selector.find(spec, [leg.option for leg in chosen])
        if isinstance(found, SelectionFailed):
            return msgspec.structs.replace(found, leg_index=index)
        if any(leg.option.symbol == found.symbol for leg in chosen):
            return SelectionFailed(reason=f"{found.symbol} is another leg already", leg_index=index)
        chosen.append(Chosen(found.option, view, spec.order_side, spec.quantity))
    return chosen


def perpetual_of(chain: ChainView) -> Found | SelectionFailed:
    """The perpetual of a chain, or why it cannot be traded now."""
    listed, name = chain.listed.perpetual, chain.snapshot.underlying
    if listed is None:
        return SelectionFailed(reason=f"no perpetual of {name} is traded here: set [desk] futures = true")
    if chain.value(listed.symbol, "mark") is None:
        return SelectionFailed(reason=f"nothing fresh is known of the perpetual {listed.symbol}")
    return Found(option=listed, removed=())


def _spot_of(chain: ChainView) -> Found | SelectionFailed:
    listed, name = chain.listed.spot, chain.snapshot.underlying
    if listed is None:
        return SelectionFailed(reason=f"no pair of spot of {name} is looked at here: set [desk] spot = true")
    if chain.value(listed.symbol, "mark") is None:
        return SelectionFailed(reason=f"the book of {listed.symbol} is not fresh, or has no bid or no ask")
    return Found(option=listed, removed=())


def _keep_expiry(funnel: _Funnel, criterion: ExpiryCriterion, listed_ns: NDArray[np.int64], now_ns: int) -> None:
    expiries = listed_ns[funnel.rows]
    days = (expiries - np.int64(now_ns)) // NS_PER_DAY
    match criterion:
        case NextExpiry():
            funnel.keep("the next expiry", expiries == expiries.min())
        case ByExpirySymbol(symbol=symbol):
            wanted = parse_option_symbol(f"BTCUSD-{symbol}-1-C").expiry_ns
            funnel.keep(f"expiry {symbol}", expiries == wanted)
        case ByDte(days=wanted_days):
            funnel.keep(f"DTE {wanted_days}", days == wanted_days)
        case DteRange(days_min=low, days_max=high, target=target):
            funnel.keep(f"DTE {low} to {high}", (days >= low) & (days <= high))
            expiries = listed_ns[funnel.rows]
            ends = {"near": float(low), "mid": (low + high + 1) / 2, "far": high + 1.0}
            goal = ends[target] if isinstance(target, str) else target
            away = np.abs((expiries - np.int64(now_ns)) / NS_PER_DAY - goal)
            funnel.keep(f"DTE nearest to {target}", expiries == expiries[int(np.argmin(away))])
        case ByCycle(cycle=cycle, number=number):
            funnel.keep(f"a {cycle} expiry", _in_cycle(expiries, cycle))
            expiries = listed_ns[funnel.rows]
            ahead = np.unique(expiries)
            wanted = ahead[number - 1] if number <= len(ahead) else -1
            funnel.keep(f"the {cycle} expiry number {number}", expiries == wanted)


def _in_cycle(expiries: NDArray[np.int64], cycle: str) -> Mask:
    dates = (expiries // NS_PER_DAY).astype("datetime64[D]")
    in_cycle: Mask = (expiries // NS_PER_DAY + _EPOCH_WEEKDAY) % 7 == _FRIDAY
    if cycle == "weekly":
        return in_cycle
    months = dates.astype("datetime64[M]")
    in_cycle &= (dates + np.timedelta64(7, "D")).astype("datetime64[M]") != months
    if cycle == "quarterly":
        in_cycle &= months.astype(np.int64) % 3 == 2
    return in_cycle


def _keep_from_leg(funnel: _Funnel, strikes: F8, criterion: FromLeg, earlier: Sequence[Instrument]) -> None:
    if criterion.leg >= len(earlier):
        raise _NoneLeft(f"leg {criterion.leg} does not come before this one, from which its strike is measured")
    base = float(earlier[criterion.leg].strike)
    if criterion.usd == 0:
        funnel.keep(f"the strike of leg {criterion.leg}, {base:g}", strikes == base)
        return
    side = "above" if criterion.usd > 0 else "below"
    # a wing that falls on the body again would be no wing
    beyond = strikes > base if criterion.usd > 0 else strikes < base
    funnel.keep(f"{side} leg {criterion.leg} at {base:g}", beyond)
    _keep_nearest(funnel, strikes[beyond], base + criterion.usd, "strike")


def _keep_nearest(funnel: _Funnel, values: F8, goal: float, what: str) -> None:
    _keep_one(funnel, int(np.argmin(np.abs(values - goal))), f"{what} nearest to {goal:g}")


def _keep_one(funnel: _Funnel, place: int, criterion: str) -> None:
    only = np.zeros(len(funnel.rows), dtype=np.bool_)
    only[place] = True
    funnel.keep(criterion, only)


def _usable(marks: F8) -> Mask:
    usable: Mask = np.isfinite(marks) & (marks > 0)
    return usable
