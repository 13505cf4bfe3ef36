"""From criteria to instruments: selection on the columns of a chain, with the reason when nothing is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.messages.market import Instrument
from shared.messages.trades import LegOrder
from shared.options.chain import ChainView, snap_quantity
from shared.options.symbols import NS_PER_DAY, parse_option_symbol
from shared.strategy.legs import (
    ByDelta,
    ByDte,
    ByExpirySymbol,
    BySpotDistance,
    ByStrike,
    ClosestStrike,
    DteRange,
    ExpiryCriterion,
    LegSpec,
    NextExpiry,
    StrikeCriterion,
)

NO_TRADE_MARGIN_NS = 3_600 * 1_000_000_000
Mask = NDArray[np.bool_]


class Removed(msgspec.Struct, frozen=True):
    """How many candidates a criterion removed, and how many it left."""

    criterion: str
    removed: int
    left: int


class SelectionFailed(msgspec.Struct, frozen=True, kw_only=True):
    """No option fits. `removed` tells the way there; `leg_index` is None when it is not about one leg."""

    reason: str
    removed: tuple[Removed, ...] = ()
    leg_index: int | None = None

    @property
    def text(self) -> str:
        """Reason and way in one line."""
        way = ", ".join(f"{step.criterion} removed {step.removed} and left {step.left}" for step in self.removed)
        leg = "" if self.leg_index is None else f"leg {self.leg_index}: "
        return f"{leg}{self.reason}" + (f" ({way})" if way else "")


class _NoneLeft(Exception):
    """A criterion removed the last candidate."""


class _Funnel:
    """Candidates of one selection, narrowed step by step."""

    def __init__(self, count: int) -> None:
        self.rows: NDArray[np.intp] = np.arange(count)
        self.removed: list[Removed] = []

    def keep(self, criterion: str, mask: Mask) -> None:
        """Keep the candidates whose place in `rows` is True. Raises _NoneLeft."""
        before = len(self.rows)
        self.rows = self.rows[mask]
        self.removed.append(Removed(criterion, before - len(self.rows), len(self.rows)))
        if not len(self.rows):
            raise _NoneLeft(f"no option is left after {criterion}")


def select_option(
    spec: LegSpec, chain: ChainView, now_ns: int, no_trade_margin_ns: int = NO_TRADE_MARGIN_NS
) -> Instrument | SelectionFailed:
    """The option that fits the criteria of a leg.

    Removed in this order: the other type; what stops trading within `no_trade_margin_ns` ("next" is the nearest
    expiry after that); other expiries; other strikes; options without a usable mark (not above 0). Strikes are
    chosen among the listed ones, so that a missing mark is a failure and never another strike; only a choice by
    delta is made among the options that have mark and delta. Of equally near ones the first listed is taken.
    """
    funnel = _Funnel(len(chain.instruments))
    try:
        funnel.keep(f"type {spec.option_type}", chain.listed.is_call == (spec.option_type == "C"))
        last_trades_ns = chain.listed.last_trades_ns[funnel.rows]
        funnel.keep(
            f"trading for at least {no_trade_margin_ns / 60e9:.0f} min more",
            last_trades_ns - np.int64(now_ns) >= no_trade_margin_ns,
        )
        _keep_expiry(funnel, spec.expiry, chain, now_ns)
        _keep_strike(funnel, spec.strike, chain)
        if not isinstance(spec.strike, ByDelta):
            funnel.keep("a usable mark", _usable(chain.column("mark")[funnel.rows]))
    except _NoneLeft as none_left:
        return SelectionFailed(reason=str(none_left), removed=tuple(funnel.removed))
    return chain.instruments[int(funnel.rows[0])]


def resolve_legs(
    specs: Sequence[LegSpec],
    chain: ChainView | Mapping[str, ChainView],
    now_ns: int,
    no_trade_margin_ns: int = NO_TRADE_MARGIN_NS,
) -> list[LegOrder] | SelectionFailed:
    """The legs of a structure as orders, all or none. `chain`: one view, or views by index name ("BTCUSD").

    Fails too when a quantity does not fit the option's lot, minimum or maximum, and when two legs are one option.
    """
    orders: list[LegOrder] = []
    for index, spec in enumerate(specs):
        view = chain if isinstance(chain, ChainView) else chain.get(spec.underlying)
        if view is None or view.snapshot.underlying != spec.underlying:
            return SelectionFailed(reason=f"no option chain of {spec.underlying}", leg_index=index)
        found = select_option(spec, view, now_ns, no_trade_margin_ns)
        if isinstance(found, SelectionFailed):
            return msgspec.structs.replace(found, leg_index=index)
        if misfit := _quantity_misfit(spec, found):
            return SelectionFailed(reason=misfit, leg_index=index)
        if any(order.symbol == found.symbol for order in orders):
            return SelectionFailed(reason=f"{found.symbol} is another leg already", leg_index=index)
        orders.append(LegOrder(symbol=found.symbol, side=spec.order_side, quantity=spec.quantity))
    return orders


def _keep_expiry(funnel: _Funnel, criterion: ExpiryCriterion, chain: ChainView, now_ns: int) -> None:
    expiries = chain.listed.expiries_ns[funnel.rows]
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
            expiries = chain.listed.expiries_ns[funnel.rows]
            ends = {"near": float(low), "mid": (low + high + 1) / 2, "far": high + 1.0}
            goal = ends[target] if isinstance(target, str) else target
            away = np.abs((expiries - np.int64(now_ns)) / NS_PER_DAY - goal)
            funnel.keep(f"DTE nearest to {target}", expiries == expiries[int(np.argmin(away))])


def _keep_strike(funnel: _Funnel, criterion: StrikeCriterion, chain: ChainView) -> None:
    strikes = chain.listed.strikes[funnel.rows]
    index_price = chain.snapshot.index_price
    match criterion:
        case ByStrike(strike=strike):
            listed = np.array([chain.instruments[int(row)].strike == strike for row in funnel.rows])
            funnel.keep(f"strike {strike}", listed)
        case ClosestStrike(price=price):
            _keep_nearest(funnel, strikes, index_price if price is None else price, "strike")
        case BySpotDistance(pct=pct):
            out = 1 if chain.instruments[int(funnel.rows[0])].option_type == "C" else -1
            _keep_nearest(funnel, strikes, index_price * (1 + out * pct / 100), "strike")
        case ByDelta(value=value, tolerance=tolerance):
            deltas = chain.column("delta")[funnel.rows]
            funnel.keep("a usable mark and delta", _usable(chain.column("mark")[funnel.rows]) & np.isfinite(deltas))
            away = np.abs(chain.column("delta")[funnel.rows] - value)
            funnel.keep(f"delta within {tolerance:g} of {value:g}", away <= tolerance)
            _keep_nearest(funnel, chain.column("delta")[funnel.rows], value, "delta")


def _keep_nearest(funnel: _Funnel, values: NDArray[np.float64], goal: float, what: str) -> None:
    if not np.isfinite(goal):
        raise _NoneLeft("the index price is missing")
    nearest = np.zeros(len(values), dtype=np.bool_)
    nearest[int(np.argmin(np.abs(values - goal)))] = True
    funnel.keep(f"{what} nearest to {goal:g}", nearest)


def _usable(marks: NDArray[np.float64]) -> Mask:
    usable: Mask = np.isfinite(marks) & (marks > 0)
    return usable


def _quantity_misfit(spec: LegSpec, option: Instrument) -> str | None:
    if snap_quantity(spec.quantity, option.lot_size) != spec.quantity:
        return f"qty {spec.quantity} is not a multiple of the lot {option.lot_size} of {option.symbol}"
    if spec.quantity < option.min_quantity:
        return f"qty {spec.quantity} is below {option.min_quantity}, the smallest order of {option.symbol}"
    return None
