"""Whether the structure makes sense by itself: its legs, their sizes and prices, and the market they need."""

from __future__ import annotations

import math
from collections.abc import Iterator

from services.risk.limits import Figure
from services.risk.market import OptionFacts
from services.risk.situation import Situation, Violation
from shared.messages.control import INTENT_REFUSED
from shared.options.instruments import instrument_kind

_MS = 1_000_000


def duplicate_intent(s: Situation) -> Violation | None:
    if s.has_trade:
        return Violation("duplicate_intent", f"{s.ask.intent_id} has opened a trade already")
    if s.was_refused:
        return Violation(INTENT_REFUSED, f"execution has refused {s.ask.intent_id} for good: take the next ordinal")
    if s.earlier_grant_differs:
        return Violation("duplicate_intent", f"{s.ask.intent_id} holds a grant for other legs")
    return None


def bad_structure(s: Situation) -> Violation | None:
    count, limit = len(s.ask.legs), s.config.max_legs
    if not 1 <= count <= limit:
        return Violation("bad_structure", f"{count} legs, allowed are 1 to {limit}", count, limit)
    if len({leg.symbol for leg in s.ask.legs}) < count:
        return Violation("bad_structure", "one symbol in two legs: sum them into one")
    for leg in s.ask.legs:
        if not (leg.quantity.is_finite() and leg.quantity > 0):
            return Violation("bad_structure", f"quantity {leg.quantity} of {leg.symbol} is not above 0")
        if leg.side == "sell" and instrument_kind(leg.symbol) == "spot":
            return Violation("bad_structure", f"{leg.symbol} is spot: coins that the trade did not buy are not sold")
        if s.ask.execution_mode in ("rfq", "quoting") and instrument_kind(leg.symbol) == "spot":
            detail = f"{leg.symbol} is spot, which is not traded in mode {s.ask.execution_mode}: use limit or smart"
            return Violation("bad_structure", detail)
    declared = s.ask.max_loss_usd
    if declared is not None and not 0 <= declared < math.inf:
        return Violation("bad_structure", f"max_loss_usd {declared:g} must be 0 or more", declared)
    return None


def unknown_instrument(s: Situation) -> Violation | None:
    listed = {leg.order.symbol for leg in s.legs}
    missing = [leg.symbol for leg in s.ask.legs if leg.symbol not in listed]
    if not missing:
        return None
    spot = any(instrument_kind(symbol) == "spot" for symbol in missing)
    remedy = "; coins are traded with [desk] spot = true" if spot else ""
    return Violation("unknown_instrument", f"not in the chain: {', '.join(missing)}{remedy}")


def stale_market(s: Situation) -> Violation | None:
    for underlying in s.underlyings:
        if not s.market.is_fresh(underlying, s.now_ns):
            age_ns = s.market.age_ns(underlying, s.now_ns)
            age_ms = None if age_ns is None else age_ns / _MS
            detail = f"{underlying} has no index" if age_ms is None else f"{underlying} is {age_ms / 1e3:.1f} s old"
            return Violation("stale_market", detail, age_ms, s.config.market_age_max_ms)
    for leg in s.legs:
        age_ns = s.market.symbol_age_ns(leg.order.symbol, s.now_ns)
        if age_ns is not None and abs(age_ns) > s.config.market_age_max_ms * _MS:
            detail = f"the price of {leg.order.symbol} is {age_ns / 1e9:.1f} s old"
            return Violation("stale_market", detail, age_ns / _MS, s.config.market_age_max_ms)
    return None


def last_trade(s: Situation) -> Violation | None:
    for leg in s.legs:
        left_ms = (leg.option.instrument.last_trade_ns - s.now_ns) / _MS
        if left_ms < s.config.min_time_to_last_trade_ms:
            detail = f"{leg.order.symbol} stops trading in {left_ms / 1e3:.0f} s"
            return Violation("last_trade", detail, left_ms, s.config.min_time_to_last_trade_ms)
    return None


def no_mark(s: Situation) -> Violation | None:
    for leg in s.legs:
        if not (leg.option.mark > 0 and all(map(math.isfinite, leg.option.greeks))):
            return Violation("no_mark", f"{leg.order.symbol} has no mark or no Greeks now")
    return None


def order_quantity(s: Situation) -> Violation | None:
    for leg in s.legs:
        option, quantity = leg.option.instrument, leg.order.quantity
        limit = s.config.max_order_quantity
        if quantity < option.min_quantity or quantity % option.lot_size:
            detail = f"{quantity} of {option.symbol}: at least {option.min_quantity}, in lots of {option.lot_size}"
            return Violation("order_quantity", detail, float(quantity), float(option.min_quantity))
        if quantity > limit:
            return Violation("order_quantity", f"{quantity} of {option.symbol}", float(quantity), float(limit))
    return None


def order_notional(s: Situation) -> Iterator[Figure]:
    notional = sum(_notional_per_unit(leg.option) * float(leg.order.quantity) for leg in s.legs)
    yield _notional("order_notional", notional, s.config.max_order_notional_usd)
    for strategy, limits in s.strategies:
        if limits.max_order_notional_usd is not None:
            yield _notional("strategy_order_notional", notional, limits.max_order_notional_usd, strategy)


def _notional_per_unit(option: OptionFacts) -> float:
    """Its strike; of a future or of spot, which have none, the mark."""
    return float(option.instrument.strike) if option.instrument.is_option else option.mark


def _notional(code: str, notional: float, limit: float, strategy: str = "") -> Figure:
    return Figure(
        code=code,
        scope="strategy" if strategy else "order",
        subject=strategy,
        before=math.nan,
        after=notional,
        limit=limit,
        unit="USD",
        words="strike × quantity is {} USD",
    )


def price_collar(s: Situation) -> Violation | None:
    for leg in s.legs:
        if leg.worst_price is None:
            return Violation("price_collar", f"no price is possible for {leg.order.symbol}", leg.option.mark)
        bound = float(leg.worst_price)
        if leg.order.side == "buy":
            nearest = _middle_or(leg.option.bid, leg.option)
            beyond = nearest > bound
        else:
            nearest = _middle_or(leg.option.ask, leg.option)
            beyond = nearest < bound
        if beyond:
            detail = f"the book of {leg.order.symbol} is at {nearest:g}, its mark at {leg.option.mark:g}"
            return Violation("price_collar", detail, nearest, bound)
    return None


def _middle_or(one_side: float, option: OptionFacts) -> float:
    middle = (option.bid + option.ask) / 2
    return one_side if math.isnan(middle) else middle
