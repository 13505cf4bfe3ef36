"""Where a limit price is put. Floats decide, the snap makes the order price, and never past the bound."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.trades import LimitPhase
from shared.options.chain import Quote, snap_price

CloseStep = Literal["mark", "mid", "cross"]
PRICE_REFUSALS: frozenset[int] = frozenset({10531, 10532})
"""The venue's codes for a price outside its band around mark."""


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
) -> Decimal | str:
    """The price of an opening order in this phase, or why there is none yet."""
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
    if wanted is None:
        return f"neither a usable book nor a mark for {instrument.symbol}"
    price = snap_within(wanted, worst_price, side, instrument)
    return f"no tick of {instrument.symbol} is within {worst_price}" if price is None else price


def closing_bound(mark: float, side: Side, max_premium_pct: float, instrument: Instrument) -> Decimal:
    """How far a close may go: mark moved `max_premium_pct` against us, at least by one tick, on the safe tick."""
    room = max(mark * max_premium_pct / 100, float(instrument.tick_size))
    bound = mark + room if side == "buy" else max(0.0, mark - room)
    return snap_price(bound, instrument.tick_size, up=side == "sell")


def closing_price(
    side: Side,
    step: CloseStep,
    quote: Quote | None,
    mark: float | None,
    max_premium_pct: float,
    instrument: Instrument,
    wide_spread_pct: float,
    cross_buffer_pct: float = 0.0,
) -> Decimal | str:
    """The price of a closing order on one step of the staircase, or why there is none.

    `mark` may come from elsewhere than the chain (the venue's position), so that a close does not depend on the
    market data service.
    """
    if mark is None:
        return f"no mark for {instrument.symbol}"
    bound = closing_bound(mark, side, max_premium_pct, instrument)
    middle = mark if quote is None else fair_middle(quote, wide_spread_pct)
    far = None if quote is None else (quote.ask if side == "buy" else quote.bid)
    wanted = mark
    if step == "mid" and middle is not None:
        wanted = middle
    elif step == "cross":
        past = cross_buffer_pct / 100
        wanted = float(bound) if far is None else far * (1 + past if side == "buy" else 1 - past)
    price = snap_within(wanted, bound, side, instrument)
    return f"no tick of {instrument.symbol} is within {bound}" if price is None else price
