"""Answers the exit conditions that look at the structure of a trade: its expiries, strikes, payoff and short legs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

import numpy as np

from shared.messages.conditions import (
    BeforeExpiry,
    BreakevenTouched,
    CreditMultiple,
    DteExit,
    MaxProfitShare,
    PriceBasis,
    ShortLegDelta,
    ShortStrikeTouched,
    TimeElapsed,
    UnderlyingBeyond,
)
from shared.messages.trades import TradeUpdate
from shared.options.instruments import expiry_and_last_trade_ns, underlying_of
from shared.options.payoff import PayoffLeg, payoff_at, payoff_figures
from shared.options.symbols import OptionSymbol, SymbolError, dte, parse_option_symbol
from shared.strategy.pnl import is_counted, signed, trade_pnl
from shared.strategy.views import ExitView, Verdict
from shared.strategy.wording import DAY_NS, HOUR_NS, duration_text, left_text

StructureExit = (
    DteExit
    | BeforeExpiry
    | TimeElapsed
    | MaxProfitShare
    | CreditMultiple
    | UnderlyingBeyond
    | ShortStrikeTouched
    | ShortLegDelta
    | BreakevenTouched
)
WIDE_SPREAD_PCT = 10.0
"""A book whose spread is wider than this share of its middle has no middle that says what an option is worth."""


def structure_exit(condition: StructureExit, view: ExitView, now_ns: int) -> Verdict:
    """Must the trade be closed as far as this condition goes?"""
    match condition:
        case DteExit() | BeforeExpiry() | TimeElapsed():
            return _expiry_exit(condition, view, now_ns)
        case MaxProfitShare():
            return _max_profit_share(condition, view, now_ns)
        case CreditMultiple(multiple=multiple):
            return _credit_multiple(condition, multiple, view, now_ns)
        case UnderlyingBeyond():
            return _underlying_beyond(condition, view, now_ns)
        case ShortStrikeTouched(buffer_pct=buffer_pct):
            return _short_strike(buffer_pct, view, now_ns)
        case ShortLegDelta(limit=limit):
            return _short_leg_delta(limit, view, now_ns)
        case BreakevenTouched(buffer_pct=buffer_pct):
            return _breakeven(buffer_pct, view, now_ns)
        case _:
            assert_never(condition)


def net_pnl(view: ExitView, price: PriceBasis, now_ns: int) -> float | str:
    """P&L of the trade and of all that hedged it, USD after fees so far, at marks or middles (hedges at marks).
    A text says why there is none."""
    pnl = trade_pnl(view.trade, lambda index: leg_price(view, index, price, now_ns))
    if isinstance(pnl, str):
        return pnl
    net_usd = pnl.net_usd + float(view.trade.ended_hedges_usd)
    for hedge in view.hedges:
        if is_counted(hedge, view.trade):
            continue
        marks = [view.symbol_value(leg.symbol, "mark", now_ns) for leg in hedge.legs]
        made = trade_pnl(hedge, marks.__getitem__)
        if isinstance(made, str):
            return made
        net_usd += made.net_usd
    return net_usd


def leg_price(view: ExitView, index: int, price: PriceBasis, now_ns: int) -> float | str:
    """What a leg's option is worth, USD per unit: its mark, or the middle of its book where that is no wider than
    `WIDE_SPREAD_PCT`; never one side of it."""
    mark = view.leg_value(index, "mark", now_ns)
    if price == "mark":
        return mark
    bid, ask = view.leg_value(index, "bid", now_ns), view.leg_value(index, "ask", now_ns)
    if isinstance(bid, float) and isinstance(ask, float) and 0 < bid <= ask:
        middle = (bid + ask) / 2
        if (ask - bid) * 100 <= WIDE_SPREAD_PCT * middle:
            return middle
    return mark


def expiry_due_ns(
    condition: DteExit | BeforeExpiry | TimeElapsed, symbols: Sequence[str], opened_ns: int
) -> int | None:
    """When an exit by expiry is due for legs in these symbols; None where none of them expires."""
    expiring = [times for times in map(expiry_and_last_trade_ns, symbols) if times is not None]
    if not expiring:
        return None
    first_ns = min(expiry_ns for expiry_ns, _ in expiring)
    match condition:
        case DteExit(days=days):
            # one nanosecond before, the whole days left are one more
            return first_ns - (days + 1) * DAY_NS + 1
        case BeforeExpiry(hours=hours):
            return min(last_trade_ns for _, last_trade_ns in expiring) - round(hours * HOUR_NS)
        case TimeElapsed(pct=pct):
            return opened_ns + round((first_ns - opened_ns) * pct / 100)


def _option(symbol: str) -> OptionSymbol | None:
    try:
        return parse_option_symbol(symbol)
    except SymbolError:
        return None


def _held(trade: TradeUpdate) -> list[int]:
    return [index for index, leg in enumerate(trade.legs) if leg.held_quantity > 0]


def _expiry_exit(condition: DteExit | BeforeExpiry | TimeElapsed, view: ExitView, now_ns: int) -> Verdict:
    symbols = [view.trade.legs[index].symbol for index in _held(view.trade)]
    due_ns = expiry_due_ns(condition, symbols, view.opened_ns)
    if due_ns is None:
        return Verdict(False, "no leg that is held expires")
    match condition:
        case DteExit(days=days):
            first_ns = min(times[0] for times in map(expiry_and_last_trade_ns, symbols) if times is not None)
            reason = f"DTE {dte(now_ns, first_ns)}, closes at {days}"
        case BeforeExpiry(hours=hours):
            reason = f"closes {duration_text(hours)} before the last trade, {left_text(due_ns - now_ns)}"
        case TimeElapsed(pct=pct):
            reason = f"closes after {pct:g} % of its time, {left_text(due_ns - now_ns)}"
    return Verdict(now_ns >= due_ns, reason)


def _opened(view: ExitView) -> list[PayoffLeg] | str:
    """What was filled of the legs, at the prices of their opening; or why it has no payoff."""
    legs: list[PayoffLeg] = []
    for leg in view.trade.legs:
        option = _option(leg.symbol)
        if option is None or underlying_of(leg.symbol) != view.underlying:
            return "the legs have no payoff of one underlying"
        if leg.filled_quantity == 0:
            continue
        if leg.open_price is None:
            return f"no entry price of {leg.symbol}"
        legs.append(
            PayoffLeg(
                is_call=option.is_call,
                strike=float(option.strike),
                expiry_ns=option.expiry_ns,
                quantity=signed(leg, leg.filled_quantity),
                price=float(leg.open_price),
            )
        )
    return legs or "nothing was filled"


def _max_profit_share(condition: MaxProfitShare, view: ExitView, now_ns: int) -> Verdict:
    legs = _opened(view)
    if isinstance(legs, str):
        return Verdict.wait(legs)
    most = payoff_figures(legs).max_profit_usd
    if not math.isfinite(most) or most <= 0:
        return Verdict.wait("the structure has no largest profit of which to take a share: use profit_target")
    pnl = net_pnl(view, condition.price, now_ns)
    if isinstance(pnl, str):
        return Verdict.wait(pnl)
    share = f"P&L {pnl:.2f} USD is {pnl / most * 100:.0f} % of the most it can make, {most:.2f} USD"
    return Verdict(pnl >= condition.pct / 100 * most, f"{share}; closes at {condition.pct:g} %")


def _credit_multiple(condition: CreditMultiple, multiple: float, view: ExitView, now_ns: int) -> Verdict:
    credit = -float(view.trade.entry_premium_usd)
    if credit <= 0:
        return Verdict.wait("the trade received no credit: use max_loss")
    pnl = net_pnl(view, condition.price, now_ns)
    if isinstance(pnl, str):
        return Verdict.wait(pnl)
    bound = multiple * credit
    return Verdict(pnl <= -bound, f"P&L {pnl:.2f} USD, bound -{bound:.2f} USD ({multiple:g} × the credit)")


def _underlying_beyond(condition: UnderlyingBeyond, view: ExitView, now_ns: int) -> Verdict:
    index = view.fresh_index(now_ns)
    if isinstance(index, str):
        return Verdict.wait(index)
    above, below = condition.above, condition.below
    beyond = (above is not None and index >= above) or (below is not None and index <= below)
    bounds = [f"{word} {at:,.0f}" for word, at in (("at least", above), ("at most", below)) if at is not None]
    return Verdict(beyond, f"{view.underlying} is at {index:,.2f}, closes at {' or '.join(bounds)}")


def _short_strike(buffer_pct: float, view: ExitView, now_ns: int) -> Verdict:
    index = view.fresh_index(now_ns)
    if isinstance(index, str):
        return Verdict.wait(index)
    shown = []
    for place in _held(view.trade):
        leg, option = view.trade.legs[place], _option(view.trade.legs[place].symbol)
        if leg.side == "buy" or option is None:
            continue
        out = 1 if option.is_call else -1
        left = out * (float(option.strike) - index)
        left_pct = left / index * 100
        if left <= buffer_pct * index / 100:
            return Verdict(True, f"the index {index:,.2f} is {left_pct:.1f} % from the short {leg.symbol}")
        shown.append(f"{leg.symbol} {left_pct:.1f} %")
    if not shown:
        return Verdict(False, "no short leg is held")
    return Verdict(False, f"short strikes are away: {', '.join(shown)}; closes at {buffer_pct:g} %")


def _short_leg_delta(limit: float, view: ExitView, now_ns: int) -> Verdict:
    shown, missing = [], None
    for place in _held(view.trade):
        leg = view.trade.legs[place]
        if leg.side == "buy" or _option(leg.symbol) is None:
            continue
        delta = view.leg_value(place, "delta", now_ns)
        if isinstance(delta, str):
            missing = delta
            continue
        text = f"|delta| of the short {leg.symbol} is {abs(delta):.2f}"
        if abs(delta) >= limit:
            return Verdict(True, f"{text}, limit {limit:g}")
        shown.append(text)
    if missing is not None:
        return Verdict.wait(missing)
    return Verdict(False, "; ".join(shown) + f", limit {limit:g}" if shown else "no short leg is held")


def _breakeven(buffer_pct: float, view: ExitView, now_ns: int) -> Verdict:
    index = view.fresh_index(now_ns)
    if isinstance(index, str):
        return Verdict.wait(index)
    legs = _opened(view)
    if isinstance(legs, str):
        return Verdict.wait(legs)
    if len({leg.expiry_ns for leg in legs}) > 1:
        return Verdict.wait("legs of several expiries have no breakeven of their own")
    at = index * (1 + np.array([-buffer_pct, 0.0, buffer_pct]) / 100)
    worst = float(payoff_at(legs, at).min())
    breakevens = ", ".join(f"{price:,.0f}" for price in payoff_figures(legs).breakevens) or "none"
    return Verdict(worst <= 0, f"index {index:,.2f}, breakevens {breakevens}, closes within {buffer_pct:g} % of one")
