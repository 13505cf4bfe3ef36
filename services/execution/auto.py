"""Which mode trades a structure, and what each is expected to cost: pure figures over quotes of one moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.pricing import fair_middle, fair_price
from services.execution.records import Trade
from services.execution.rfq import notional_usd
from services.execution.workspace import SECOND
from shared.messages.base import Side
from shared.messages.costs import ModeChoice, ModeCost, OpeningCost
from shared.messages.market import Instrument
from shared.messages.smart import SmartParams
from shared.messages.trades import LegOrder, LimitPhase, OpenTrade
from shared.options.chain import Quote

PlannedMode = Literal["limit", "rfq", "smart", "quoting"]
_REFUSED_FOR_NS = 600 * SECOND


class LegView(msgspec.Struct, frozen=True):
    """One leg and its market now; `index_price` in USD, None while it is not known."""

    order: LegOrder
    instrument: Instrument
    quote: Quote | None
    index_price: float | None


def choose(intent: OpenTrade, legs: Sequence[LegView], rfq_refused: str, config: ExecutionConfig) -> ModeChoice:
    """The mode that opens this intent, with the expected cost of each.

    `auto`: by request for quote when it can be made, else by smart for several legs and by limit for one; a mode that
    was asked for stays. `rfq_refused`: why the venue would take no request for quote now, "" when it may.
    """
    infeasible = _rfq_infeasible(intent, legs, rfq_refused)
    mode: PlannedMode
    if intent.execution_mode != "auto":
        mode, reason = intent.execution_mode, "as asked for"
    elif not infeasible:
        mode, reason = "rfq", "the notional is large enough to request quotes"
    elif len(legs) > 1:
        mode, reason = "smart", f"{len(legs)} legs; not by rfq: {infeasible}"
    else:
        mode, reason = "limit", f"one leg; not by rfq: {infeasible}"
    middles = tuple(_middle(leg, config) for leg in legs)
    return ModeChoice(
        mode=mode,
        reason=reason,
        costs=(
            _cost("limit", "", legs, config, lambda leg: _limit_offset(leg, intent.execution_params.phases, config)),
            _cost("smart", "", legs, config, lambda leg: _smart_offset(leg, intent.smart, config)),
            _cost("rfq", infeasible, legs, config, lambda leg: _rfq_offset(leg, config)),
        ),
        arrival_mids=middles,
    )


def rfq_refused(book: Book, now_ns: int) -> str:
    """Why the venue would take no request for quote of this account just now: it refused the last one; "" if not."""
    last = next((rfq for rfq in reversed(book.rfqs.rfqs.values()) if not rfq.is_throttled), None)
    if last is None or last.state != "REFUSED" or now_ns - last.state_ns > _REFUSED_FOR_NS:
        return ""
    return f"the venue refused the last request: {last.reason}"


def opening_cost(trade: Trade, *, fees_complete: bool) -> OpeningCost | None:
    """What opening the trade cost beyond the middle at arrival; None without a fill or without a known middle."""
    choice = trade.choice
    if choice is None or not trade.was_filled or len(choice.arrival_mids) != len(trade.legs):
        return None
    paid_usd = float(trade.opening_fees_usd)
    filled = asked = 0.0
    for leg, middle in zip(trade.legs, choice.arrival_mids, strict=True):
        if middle is None:
            return None
        paid_usd += leg.sign * (float(leg.opened_cash) - middle * float(leg.opened_quantity))
        filled += middle * float(leg.opened_quantity)
        asked += middle * float(leg.quantity)
    expected_usd = choice.expected_usd(choice.mode)
    share = filled / asked if asked > 0 else 1.0
    return OpeningCost(
        mode=choice.mode,
        expected_usd=None if expected_usd is None else expected_usd * share,
        actual_usd=paid_usd,
        fees_usd=float(trade.opening_fees_usd),
        fees_complete=fees_complete,
    )


def _rfq_infeasible(intent: OpenTrade, legs: Sequence[LegView], refused: str) -> str:
    future = next((leg.order.symbol for leg in legs if not leg.instrument.is_option), None)
    if future is not None:
        return f"{future} is a future, which makers are not asked for"
    strikes = {leg.order.symbol: leg.instrument.strike for leg in legs}
    notional = notional_usd(intent.legs, strikes)
    least = intent.rfq.min_notional_usd
    if notional < least:
        return f"notional {notional:,.0f} USD (strike x quantity) is below {least:,.0f}"
    underlyings = sorted({leg.instrument.underlying for leg in legs})
    if len(underlyings) > 1:
        return f"legs of {' and '.join(underlyings)} are not quoted together"
    return refused


def _middle(leg: LegView, config: ExecutionConfig) -> float | None:
    return None if leg.quote is None else fair_middle(leg.quote, config.wide_spread_pct)


def _far(quote: Quote, side: Side) -> float | None:
    return quote.ask if side == "buy" else quote.bid


def _half_spread(leg: LegView, config: ExecutionConfig) -> float | None:
    """What taking the other side of the book gives away against its middle, USD per unit."""
    middle = _middle(leg, config)
    far = None if leg.quote is None else _far(leg.quote, leg.order.side)
    if middle is None or far is None:
        return None
    return far - middle if leg.order.side == "buy" else middle - far


def _limit_offset(leg: LegView, phases: Sequence[LimitPhase], config: ExecutionConfig) -> float | None:
    """Part of it trades at the price of the first phase, the rest at that of the last."""
    first, last = (_phase_offset(leg, phase, config) for phase in (phases[0], phases[-1]))
    if first is None or last is None:
        return None
    share = config.expected_quote_fill_share
    return share * first + (1 - share) * last


def _phase_offset(leg: LegView, phase: LimitPhase, config: ExecutionConfig) -> float | None:
    middle, half = _middle(leg, config), _half_spread(leg, config)
    if middle is None or half is None or leg.quote is None:
        return None
    match phase.pricing:
        case "aggressive":
            return min(middle * phase.buffer_pct / 100, half)
        case "passive" | "top_of_book":
            return -half
        case "fair":
            fair = fair_price(leg.quote, config.wide_spread_pct)
            offset = 0.0 if fair is None else (fair - middle) * (1 if leg.order.side == "buy" else -1)
            return offset + (half - offset) * phase.fair_aggression
        case "mid" | "mark":
            return 0.0


def _smart_offset(leg: LegView, params: SmartParams, config: ExecutionConfig) -> float | None:
    """Part of it trades where it is quoted, the rest across the spread, if that is crossed at all."""
    middle, half = _middle(leg, config), _half_spread(leg, config)
    if middle is None or half is None:
        return None
    match params.quoting_strategy:
        case "mid" | "mark":
            quoted = 0.0
        case "top_of_book":
            quoted = -half
        case "top_of_book_offset_pct":
            quoted = min(0.0, middle * params.spread_pct / 100 - half)
    share = config.expected_quote_fill_share if params.aggressive_attempts else 1.0
    return share * quoted + (1 - share) * half


def _rfq_offset(leg: LegView, config: ExecutionConfig) -> float | None:
    """Quotes are better than the book by a share of its price, but not better than its middle."""
    half = _half_spread(leg, config)
    far = None if leg.quote is None else _far(leg.quote, leg.order.side)
    if half is None or far is None:
        return None
    return half - min(half, far * config.expected_rfq_improvement_pct / 100) if half > 0 else half


def _cost(
    mode: PlannedMode,
    infeasible: str,
    legs: Sequence[LegView],
    config: ExecutionConfig,
    offset_of: Callable[[LegView], float | None],
) -> ModeCost:
    spread_usd = fees_usd = 0.0
    rate = config.block_fee_rate if mode == "rfq" else config.fee_rate
    for leg in legs:
        middle, offset = _middle(leg, config), offset_of(leg)
        if middle is None or offset is None or leg.index_price is None:
            return ModeCost(mode=mode, infeasible=infeasible)
        quantity = float(leg.order.quantity)
        price = max(0.0, middle + offset if leg.order.side == "buy" else middle - offset)
        spread_usd += quantity * offset
        if leg.instrument.is_option:
            fees_usd += quantity * min(rate * leg.index_price, config.fee_cap_fraction * price)
        else:
            linear_rate = config.spot_fee_rate if leg.instrument.is_spot else config.futures_fee_rate
            fees_usd += quantity * linear_rate * price
    return ModeCost(mode=mode, infeasible=infeasible, spread_usd=spread_usd, fees_usd=fees_usd)
