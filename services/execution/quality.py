"""How well a trade is executed, as a fold over the journal: what was paid against what the market was at arrival.

Two phases: the opening, and everything that reduces. Arrival is when the intent is accepted, or the close begins.
What the market was then, and the deltas while legs are out of proportion, are facts in rows (`MarketNoted`); all else
is summed from orders and executions. Definitions and signs: docs/execution-quality.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, get_args

import msgspec

from services.execution import rows
from services.execution.rows import LegQuote
from services.execution.states import OPENING_STATES
from shared.messages.base import Side, opposite
from shared.messages.quality import LegQuality, Phase, PhaseQuality

if TYPE_CHECKING:
    from services.execution.records import Leg, Order, Trade

ZERO = Decimal(0)
MEASURED_MAX = 10_000
"""Openings and closes of purged trades that are remembered."""

_MILLIONTH = Decimal("0.000001")
_REDUCING_STATES = frozenset({"PENDING_CLOSE", "CLOSING", "UNWINDING", "BROKEN"})
_REBALANCES = (
    rows.FillSeen,
    rows.FillAssumed,
    rows.LegClosedOutside,
    rows.LegSettled,
    rows.TradeAdopted,
    rows.TradeMoved,
    rows.TradeRequested,
    rows.MarketNoted,
)
"""Rows that change what is held, in which phase, or which deltas are known."""


class LegTally(msgspec.Struct):
    """What the legs of the book do not say. Cash is Σ price × quantity in USD.

    told_cash: of executions whose role is known, maker_cash: of those that rested. other_quantity, other_cash: held
    or gone by no order of the trade: adopted, closed outside, settled.
    """

    orders: int = 0
    told_cash: Decimal = ZERO
    maker_cash: Decimal = ZERO
    fees_usd: Decimal = ZERO
    last_fill_ns: int | None = None
    other_quantity: Decimal = ZERO
    other_cash: Decimal = ZERO


class PhaseTally(msgspec.Struct):
    """One phase. `began_ns` and `quotes` are of its arrival."""

    began_ns: int | None = None
    quotes: list[LegQuote | None] = msgspec.field(default_factory=list)
    legs: dict[int, LegTally] = msgspec.field(default_factory=dict)
    naked_s: float = 0.0
    naked_delta_s: float = 0.0
    delta_missing: bool = False

    def leg(self, index: int) -> LegTally:
        return self.legs.setdefault(index, LegTally())

    @property
    def is_noted(self) -> bool:
        return bool(self.quotes)


class TradeTally(msgspec.Struct):
    """Both phases, and what is held out of proportion since `since_ns`: `running` is the phase that it counts in.

    naked_delta: signed, in coins; None while a delta that it needs was never noted.
    """

    open: PhaseTally = msgspec.field(default_factory=PhaseTally)
    close: PhaseTally = msgspec.field(default_factory=PhaseTally)
    running: Phase | None = None
    since_ns: int = 0
    unbalanced: bool = False
    naked_delta: float | None = 0.0
    deltas: list[float | None] = msgspec.field(default_factory=list)

    def phase(self, phase: Phase) -> PhaseTally:
        return self.open if phase == "open" else self.close


MEASURED = frozenset[type](
    {
        *_REBALANCES,
        *(rows.TradeRequested, rows.CloseRequested, rows.MarketNoted, rows.OrderRequested, rows.OrderRepriced),
        rows.FeeLearned,
    }
)
"""Rows that `fold_quality` takes something from."""


def fold_quality(trade: Trade, order: Order | None, row: rows.Row, at_ns: int) -> None:
    """Take a row that was applied to the trade; `order` is the one it speaks of."""
    tally = trade.tally
    match row:
        case _ if order is not None and trade.reduces_surplus(order):
            pass  # what undoes a mistake of the opening is neither part of it nor of the close
        case rows.TradeRequested():
            tally.open.began_ns = at_ns
        case rows.CloseRequested() if tally.close.began_ns is None:
            tally.close.began_ns = at_ns
        case rows.TradeMoved(state=state) if state in _REDUCING_STATES and tally.close.began_ns is None:
            tally.close.began_ns = at_ns
        case rows.MarketNoted():
            _noted(tally, row)
        case rows.OrderRequested() | rows.OrderRepriced():
            # a price that was moved is a round as much as an order that took another's place
            assert order is not None
            _leg_of(tally, order).orders += 1
        case rows.FillSeen(fill=fill):
            assert order is not None
            leg = _leg_of(tally, order)
            cash = fill.price * fill.quantity
            leg.told_cash += cash
            leg.maker_cash += ZERO if fill.is_taker else cash
            leg.fees_usd += fill.fee_usd or ZERO
            leg.last_fill_ns = at_ns
        case rows.FillAssumed():
            assert order is not None
            _leg_of(tally, order).last_fill_ns = at_ns
        case rows.FeeLearned(fee_usd=fee_usd):
            assert order is not None
            _leg_of(tally, order).fees_usd += fee_usd
        case rows.TradeAdopted():
            for index, held in enumerate(trade.legs):
                tally.open.leg(index).other_quantity = held.opened_quantity
                tally.open.leg(index).other_cash = held.opened_cash
        case rows.LegClosedOutside(leg_index=index, quantity=quantity, price=price):
            tally.close.leg(index).other_quantity += quantity
            tally.close.leg(index).other_cash += quantity * (price or ZERO)
        case rows.LegSettled(leg_index=index, quantity=quantity):
            tally.close.leg(index).other_quantity += quantity
            tally.close.leg(index).other_cash += trade.legs[index].sign * row.cash_flow_usd
    if isinstance(row, _REBALANCES):
        _rebalance(trade, at_ns)


def _noted(tally: TradeTally, row: rows.MarketNoted) -> None:
    known = tally.deltas or [None] * len(row.quotes)
    tally.deltas = [
        before if quote is None or quote.delta is None else quote.delta
        for before, quote in zip(known, row.quotes, strict=True)
    ]
    if row.moment != "fill":
        tally.phase(row.moment).quotes = list(row.quotes)


def _leg_of(tally: TradeTally, order: Order) -> LegTally:
    return tally.phase("open" if order.purpose == "open" else "close").leg(order.leg_index)


def _rebalance(trade: Trade, at_ns: int) -> None:
    """Count the time since the last row, then look at what is held now."""
    tally = trade.tally
    if tally.unbalanced and tally.running is not None:
        seconds = max(0, at_ns - tally.since_ns) / 1e9
        phase = tally.phase(tally.running)
        phase.naked_s += seconds
        if tally.naked_delta is None:
            phase.delta_missing |= seconds > 0
        else:
            phase.naked_delta_s += seconds * abs(tally.naked_delta)
    tally.since_ns = at_ns
    tally.running = "open" if trade.state in OPENING_STATES else "close" if trade.state in _REDUCING_STATES else None
    if trade.by_strategy:
        # each leg is quoted by itself: there is no structure of which one could be out of proportion
        return
    excess = excess_quantities(trade.legs)
    tally.unbalanced = any(excess)
    tally.naked_delta = naked_delta(trade.legs, excess, tally.deltas)


def excess_quantities(legs: list[Leg]) -> list[Decimal]:
    """Of each leg what is held beyond the part of the structure that is whole; all 0 for a structure of one leg."""
    held = [max(ZERO, leg.held_quantity) for leg in legs]
    if len(legs) == 1 or not any(held):
        return [ZERO] * len(legs)
    whole = min(quantity / leg.quantity for quantity, leg in zip(held, legs, strict=True))
    return [_rounded(quantity - whole * leg.quantity) for quantity, leg in zip(held, legs, strict=True)]


def _rounded(quantity: Decimal) -> Decimal:
    """Without what a division left behind."""
    return ZERO if abs(quantity) < Decimal("1e-12") else quantity


def naked_delta(legs: list[Leg], excess: list[Decimal], deltas: list[float | None]) -> float | None:
    """Σ signed excess × delta, in coins; None when the delta of a leg with an excess is not known."""
    total = 0.0
    for index, (leg, quantity) in enumerate(zip(legs, excess, strict=True)):
        if not quantity:
            continue
        delta = deltas[index] if index < len(deltas) else None
        if delta is None:
            return None
        total += leg.sign * float(quantity) * delta
    return total


def slippage_usd(side: Side, quantity: Decimal, cash: Decimal, reference: float) -> Decimal:
    """What `quantity` for Σ price × quantity = `cash` cost more than at `reference` (USD per unit): > 0 is a cost."""
    paid_more = cash - Decimal(repr(reference)) * quantity
    return paid_more if side == "buy" else -paid_more


def qualities_of(trade: Trade, *, with_legs: bool) -> Iterator[PhaseQuality]:
    """The phases in which an order of the trade traded."""
    for phase in get_args(Phase):
        quality = phase_quality(trade, phase)
        if quality.filled_usd or any(leg.quantity for leg in quality.legs):
            yield quality if with_legs else msgspec.structs.replace(quality, legs=())


def phase_quality(trade: Trade, phase: Phase) -> PhaseQuality:
    """One phase as it stands after the newest row of the trade."""
    tally = trade.tally.phase(phase)
    began_ns = trade.created_ns if tally.began_ns is None else tally.began_ns
    pairs = [
        _leg_quality(trade, phase, index, tally.legs.get(index, LegTally()), began_ns)
        for index in range(len(trade.legs))
    ]
    legs = [leg for leg, _ in pairs]
    traded = [(leg, cash) for leg, cash in pairs if leg.quantity]
    measured = bool(traded) and all(leg.arrival_mid is not None for leg, _ in traded)
    premium = sum((_at(leg.arrival_mid, leg.quantity) for leg, _ in traded), ZERO) if measured else None
    slippage = sum((leg.slippage_usd or ZERO for leg, _ in traded), ZERO) if measured else None
    fills_ns = [each.last_fill_ns for each in tally.legs.values() if each.last_fill_ns is not None]
    told = sum((each.told_cash for each in tally.legs.values()), ZERO)
    maker = sum((each.maker_cash for each in tally.legs.values()), ZERO)
    return PhaseQuality(
        trade_id=trade.trade_id,
        strategy=trade.request.strategy,
        mode=trade.opening_mode if phase == "open" else trade.closing_mode,
        phase=phase,
        began_ns=began_ns,
        filled_usd=_money(sum((cash for _, cash in traded), ZERO)),
        premium_usd=None if premium is None else _money(premium),
        slippage_usd=slippage,
        slippage_bp=_basis_points(slippage, premium),
        improvement_usd=sum((leg.improvement_usd or ZERO for leg, _ in traded), ZERO) if measured else None,
        orders=sum(leg.orders for leg in legs),
        chunks=sum(chunk.purpose == phase for chunk in trade.chunks),
        time_to_fill_s=(max(fills_ns) - began_ns) / 1e9 if fills_ns else None,
        maker_share=float(maker / told) if told else None,
        fees_usd=_money(sum((leg.fees_usd for leg in legs), ZERO)),
        naked_s=tally.naked_s,
        naked_delta_s=None if tally.delta_missing else tally.naked_delta_s,
        legs=tuple(legs),
    )


def _leg_quality(
    trade: Trade, phase: Phase, index: int, tally: LegTally, began_ns: int
) -> tuple[LegQuality, Decimal]:
    """A leg, and Σ price × quantity of its executions."""
    leg = trade.legs[index]
    opening = phase == "open"
    side: Side = leg.side if opening else opposite(leg.side)
    quantity = leg.opened_quantity if opening else leg.closed_quantity - leg.trimmed_quantity
    cash = leg.opened_cash if opening else leg.closed_cash - leg.trimmed_cash
    quantity, cash = quantity - tally.other_quantity, cash - tally.other_cash
    quotes = trade.tally.phase(phase).quotes
    quote = quotes[index] if index < len(quotes) else None
    mid = None if quote is None else quote.mid
    far = None if quote is None or mid is None else (quote.ask if side == "buy" else quote.bid)
    decided = trade.request.decision_prices if opening else ()
    slippage = None if mid is None or not quantity else slippage_usd(side, quantity, cash, mid)
    return (
        LegQuality(
            symbol=leg.symbol,
            side=side,
            quantity=quantity,
            average_price=_money(cash / quantity) if quantity else None,
            arrival_mid=mid,
            decision_price=decided[index] if index < len(decided) else None,
            slippage_usd=None if slippage is None else _money(slippage),
            slippage_bp=_basis_points(slippage, _at(mid, quantity)),
            improvement_usd=None if far is None or not quantity else _money(-slippage_usd(side, quantity, cash, far)),
            orders=tally.orders,
            time_to_fill_s=None if tally.last_fill_ns is None else (tally.last_fill_ns - began_ns) / 1e9,
            maker_share=float(tally.maker_cash / tally.told_cash) if tally.told_cash else None,
            fees_usd=_money(tally.fees_usd),
        ),
        cash,
    )


def _at(mid: float | None, quantity: Decimal) -> Decimal:
    return ZERO if mid is None else Decimal(repr(mid)) * quantity


def _basis_points(slippage: Decimal | None, premium: Decimal | None) -> float | None:
    return float(slippage / premium) * 10_000 if slippage is not None and premium else None


def _money(value: Decimal) -> Decimal:
    """To a millionth, in plain notation."""
    return Decimal(format(value.quantize(_MILLIONTH).normalize(), "f"))
