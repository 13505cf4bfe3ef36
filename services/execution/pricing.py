"""Where a limit price is put. Floats decide, the snap makes the order price, and never past the bound."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Literal

import msgspec

from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.trades import LimitPhase
from shared.options.chain import Quote, snap_price

CloseStep = Literal["mark", "mid", "cross"]
STAIRCASE: tuple[CloseStep, ...] = ("mark", "mid", "cross")
PRICE_REFUSALS: frozenset[int] = frozenset({10531, 10532})
"""The venue's codes for a price outside its band around mark."""

FUTURE_PREMIUM_MAX_PCT = 2.0
"""What is a small share of an option's price is a large one of a coin's, whose book is about a basis point wide."""


def _is_wide(quote: Quote, wide_spread_pct: float) -> bool:
    mid = quote.mid
    if mid is None or quote.bid is None or quote.ask is None or mid <= 0 or quote.ask < quote.bid:
        return True
    return (quote.ask - quote.bid) / mid * 100 > wide_spread_pct


def fair_middle(quote: Quote, wide_spread_pct: float) -> float | None:
    """Mid; mark where the book is empty, crossed or too wide to have a middle; None when there is no mark either."""
    if not _is_wide(quote, wide_spread_pct):
        return quote.mid
    return quote.mark


def fair_price(quote: Quote, wide_spread_pct: float) -> float | None:
    """Mark inside the spread, else mid, else the one side that is there; a missing side bounds nothing.

    Where the book is empty, crossed or too wide to have a middle, and mark is not inside it, the fair price is mark;
    None when nothing of all that is known.
    """
    bid, ask, mark = quote.bid, quote.ask, quote.mark
    if bid is not None and ask is not None:
        if mark is not None and bid <= mark <= ask:
            return mark
        return fair_middle(quote, wide_spread_pct)
    if mark is None:
        return bid if ask is None else ask
    if bid is not None:
        return max(bid, mark)
    return mark if ask is None else min(ask, mark)


def _toward_other_side(quote: Quote, side: Side, aggression: float, wide_spread_pct: float) -> float | None:
    """The fair price moved `aggression` (0 to 1) of the way to the other side, where that is still ahead."""
    fair = fair_price(quote, wide_spread_pct)
    far = quote.ask if side == "buy" else quote.bid
    if fair is None or far is None or (far <= fair if side == "buy" else far >= fair):
        return fair
    return fair + (far - fair) * aggression


class SaleFloor(msgspec.Struct, frozen=True):
    """What an opening sale asks for at least; None for no such bound."""

    pct_of_fair: float | None = None
    price_usd: Decimal | None = None


NO_FLOOR = SaleFloor()


def sale_bound(
    worst_price: Decimal, floor: SaleFloor, quote: Quote, tick: Decimal, wide_spread_pct: float
) -> Decimal | None:
    """The lowest price of an opening sale, None when the fair price that it hangs on is not known."""
    bounds = [worst_price]
    if floor.price_usd is not None:
        bounds.append(floor.price_usd)
    if floor.pct_of_fair is not None:
        fair = fair_price(quote, wide_spread_pct)
        if fair is None:
            return None
        bounds.append(snap_price(fair * floor.pct_of_fair / 100, tick, up=True))
    return max(bounds)


def snap_within(wanted: float, bound: Decimal | None, side: Side, instrument: Instrument) -> Decimal | None:
    """The tick at `wanted` or better, and not past `bound`: a buy is rounded down, a sale up. None if none exists.

    A buy wanted below the first tick is put on it when the bound allows.
    """
    tick = instrument.tick_size
    buying = side == "buy"
    price = snap_price(wanted, tick, up=not buying)
    if bound is not None:
        limit = snap_price(bound, tick, up=not buying)
        price = min(price, limit) if buying else max(price, limit)
    if price >= tick:
        return price
    if not buying:
        return snap_price(tick, tick, up=True)
    return tick if bound is None or bound >= tick else None


def opening_price(
    side: Side,
    phase: LimitPhase,
    quote: Quote | None,
    worst_price: Decimal,
    instrument: Instrument,
    wide_spread_pct: float,
    floor: SaleFloor = NO_FLOOR,
) -> Decimal | str:
    """The price of an opening order in this phase, or why there is none yet. `floor` binds sales."""
    if quote is None:
        return f"no fresh market for {instrument.symbol}"
    middle = fair_middle(quote, wide_spread_pct)
    wanted: float | None
    match phase.pricing:
        case "aggressive":
            move = phase.buffer_pct / 100
            wanted = None if middle is None else middle * (1 + move if side == "buy" else 1 - move)
        case "mid":
            wanted = middle
        case "passive" | "top_of_book":
            own = quote.bid if side == "buy" else quote.ask
            wanted = quote.mark if own is None else own
        case "mark":
            wanted = quote.mark
        case "fair":
            wanted = _toward_other_side(quote, side, phase.fair_aggression, wide_spread_pct)
    bound: Decimal | None = worst_price
    if side == "sell":
        bound = sale_bound(worst_price, floor, quote, instrument.tick_size, wide_spread_pct)
    if wanted is None or bound is None:
        return f"neither a usable book nor a mark for {instrument.symbol}"
    price = snap_within(wanted, bound, side, instrument)
    return f"no tick of {instrument.symbol} is within {bound}" if price is None else price


def closing_bound(mark: float, side: Side, max_premium_pct: float, instrument: Instrument) -> Decimal:
    """How far a close may go: mark moved `max_premium_pct` against us, at least by one tick, on the safe tick. Of a
    future at most FUTURE_PREMIUM_MAX_PCT."""
    if not instrument.is_option:
        max_premium_pct = min(max_premium_pct, FUTURE_PREMIUM_MAX_PCT)
    return _bound(mark, side, max_premium_pct, instrument.tick_size)


@lru_cache(maxsize=1_024)
def _bound(mark: float, side: Side, premium_pct: float, tick_size: Decimal) -> Decimal:
    """Of one mark it is asked for each order that a strategy quotes."""
    room = max(mark * premium_pct / 100, float(tick_size))
    bound = mark + room if side == "buy" else max(0.0, mark - room)
    return snap_price(bound, tick_size, up=side == "sell")


def closing_price(
    side: Side,
    step: CloseStep,
    quote: Quote | None,
    mark: float | None,
    max_premium_pct: float,
    instrument: Instrument,
    wide_spread_pct: float,
    cross_buffer_pct: float = 0.0,
    *,
    waits: bool = False,
) -> Decimal | str:
    """The price of a closing order on one step of the staircase, or why there is none.

    `mark` may come from elsewhere than the chain (the venue's position), so that a close does not depend on the
    market data service. waits: where a book is known and nobody is on its other side, the order that should cross
    stays at the middle: makers take their quotes back for moments, and what rests at the bound then is traded there
    by the first who comes.
    """
    if mark is None:
        return f"no mark for {instrument.symbol}"
    bound = closing_bound(mark, side, max_premium_pct, instrument)
    middle = mark if quote is None else fair_middle(quote, wide_spread_pct)
    far = None if quote is None else (quote.ask if side == "buy" else quote.bid)
    wanted = mark
    if step == "mid" and middle is not None:
        wanted = middle
    elif step == "cross" and far is not None:
        past = cross_buffer_pct / 100
        wanted = far * (1 + past if side == "buy" else 1 - past)
    elif step == "cross":
        wanted = middle if waits and quote is not None and middle is not None else float(bound)
    price = snap_within(wanted, bound, side, instrument)
    return f"no tick of {instrument.symbol} is within {bound}" if price is None else price
