"""Where a smart plan quotes, and where it crosses the spread. Floats decide, the snap makes the order price."""

from __future__ import annotations

from decimal import Decimal

from services.execution.pricing import fair_middle, snap_within
from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.smart import SmartParams
from shared.options.chain import Quote


def quoting_price(
    side: Side,
    params: SmartParams,
    quote: Quote | None,
    bound: Decimal | None,
    instrument: Instrument,
    wide_spread_pct: float,
) -> Decimal | str:
    """The price at which an order of this side is quoted, never past `bound`; or why there is none yet."""
    if quote is None:
        return f"no fresh market for {instrument.symbol}"
    middle = fair_middle(quote, wide_spread_pct)
    own = quote.bid if side == "buy" else quote.ask
    wanted: float | None
    match params.quoting_strategy:
        case "mid":
            wanted = middle
        case "mark":
            wanted = middle if quote.mark is None else quote.mark
        case "top_of_book":
            wanted = middle if own is None else own
        case "top_of_book_offset_pct":
            wanted = middle if own is None else _towards(own, middle, params.spread_pct, side)
    if wanted is None:
        return f"neither a usable book nor a mark for {instrument.symbol}"
    return _snapped(wanted, side, bound, instrument)


def crossing_price(
    side: Side,
    quote: Quote | None,
    bound: Decimal | None,
    instrument: Instrument,
    wide_spread_pct: float,
    cross_buffer_pct: float,
) -> Decimal | str:
    """The price that takes the other side of the book, never past `bound`; the middle while nobody is there."""
    if quote is None:
        return f"no fresh market for {instrument.symbol}"
    far = quote.ask if side == "buy" else quote.bid
    past = cross_buffer_pct / 100
    wanted = fair_middle(quote, wide_spread_pct) if far is None else far * (1 + past if side == "buy" else 1 - past)
    if wanted is None:
        return f"neither a usable book nor a mark for {instrument.symbol}"
    return _snapped(wanted, side, bound, instrument)


def _towards(own: float, middle: float | None, spread_pct: float, side: Side) -> float:
    moved = own * (1 + spread_pct / 100 if side == "buy" else 1 - spread_pct / 100)
    if middle is None:
        return moved
    # A mark on the wrong side of the book is no reason to quote behind it.
    return max(own, min(moved, middle)) if side == "buy" else min(own, max(moved, middle))


def _snapped(wanted: float, side: Side, bound: Decimal | None, instrument: Instrument) -> Decimal | str:
    price = snap_within(wanted, bound, side, instrument)
    return f"no tick of {instrument.symbol} is within {bound}" if price is None else price
