"""Where the P&L of a trade comes from: delta, gamma, theta, vega, execution, and what these leave. Pure.

Per leg and interval, of what was held at its beginning (signed quantity q, Greeks of one unit at its beginning):

    delta      q × delta × ΔS             S the index, USD
    gamma      q × gamma × ΔS² / 2
    theta      q × theta × Δt             days of 24 h
    vega       q × vega × 100 × Δσ        σ the volatility of the mark as a fraction
    execution  what was traded in the interval, against the marks at its end
    residual   the rest, so that all six sum to the P&L before fees

Taylor's expansion to the second order in the price and the first in time and volatility; docs/conventions.md has the
units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from shared.messages.account import AccountSnapshot, Position
from shared.messages.trades import LegStatus, TradeUpdate

_NS = 1_000_000_000
_DAY_NS = 86_400 * _NS
_FORGOTTEN_NS = 7 * _DAY_NS


class UnitMark(msgspec.Struct, frozen=True):
    """One unit of an option held long, at an instant. What is not known is None; the Greeks are known together."""

    mark: float
    index: float | None = None
    iv: float | None = None
    greeks: tuple[float, float, float, float] | None = None
    """delta, gamma, vega, theta, as in docs/conventions.md."""


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """P&L before fees, USD, by what it came from. unattributed_s: of so much time nothing could be attributed."""

    delta_usd: float = 0.0
    gamma_usd: float = 0.0
    theta_usd: float = 0.0
    vega_usd: float = 0.0
    execution_usd: float = 0.0
    residual_usd: float = 0.0
    unattributed_s: float = 0.0

    @property
    def pnl_usd(self) -> float:
        """The P&L: the sum of the six."""
        return (
            self.delta_usd + self.gamma_usd + self.theta_usd + self.vega_usd + self.execution_usd + self.residual_usd
        )

    def __add__(self, other: Parts) -> Parts:
        return Parts(**{name: getattr(self, name) + getattr(other, name) for name in PART_FIELDS})

    def __sub__(self, other: Parts) -> Parts:
        return Parts(**{name: getattr(self, name) - getattr(other, name) for name in PART_FIELDS})


PART_FIELDS: tuple[str, ...] = Parts.__struct_fields__
PART_NAMES: tuple[str, ...] = tuple(name for name in PART_FIELDS if name.endswith("_usd"))
"""What the P&L is the sum of."""


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a trade between two samples: enough to go on after a restart."""

    trade_id: str
    at_ns: int
    pnl_usd: float
    held: tuple[float, ...]
    marks: tuple[UnitMark | None, ...]
    parts: Parts
    paid_usd: float = 0.0
    """Fees and funding."""


class TradePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A trade at an instant. pnl_usd, unrealized_usd before fees and funding, which are paid > 0; parts: since its
    opening. Greeks of what it holds, 0 when it holds nothing, None when they are not known."""

    trade_id: str
    at_ns: int
    pnl_usd: float
    unrealized_usd: float
    fees_usd: float
    delta: float | None
    gamma: float | None
    vega: float | None
    theta: float | None
    parts: Parts
    funding_usd: float = 0.0

    @property
    def net_usd(self) -> float:
        """After fees and funding."""
        return self.pnl_usd - self.fees_usd - self.funding_usd


class TradeSample(TradePoint, frozen=True, kw_only=True):
    """A trade as it was sampled, with what the next sample goes on from."""

    strategy: str
    followed: Followed


def unit_marks(account: AccountSnapshot) -> dict[str, UnitMark]:
    """Every option held that has a mark, by symbol."""
    return {
        position.symbol: _unit_mark(position, position.mark)
        for position in account.positions
        if position.mark is not None and position.quantity
    }


def _unit_mark(position: Position, mark: float) -> UnitMark:
    quantity, sums = float(position.quantity), position.greeks
    greeks = (
        None
        if sums is None
        else (sums.delta / quantity, sums.gamma / quantity, sums.vega / quantity, sums.theta / quantity)
    )
    return UnitMark(mark, position.index_price, position.mark_iv, greeks)


def leg_parts(quantity: float, begin: UnitMark, end: UnitMark, seconds: float, gap_s: float) -> Parts:
    """What a constant position made between two instants; all of it is residual over a gap or without Greeks. A
    volatility is needed where there is vega: a perpetual has neither."""
    move_usd = quantity * (end.mark - begin.mark)
    if begin.greeks is None or begin.index is None or end.index is None or seconds > gap_s:
        return Parts(residual_usd=move_usd, unattributed_s=seconds)
    delta, gamma, vega, theta = begin.greeks
    iv_change = 0.0 if begin.iv is None or end.iv is None else end.iv - begin.iv
    if vega and (begin.iv is None or end.iv is None):
        return Parts(residual_usd=move_usd, unattributed_s=seconds)
    change = end.index - begin.index
    delta_usd = quantity * delta * change
    gamma_usd = quantity * gamma * change * change / 2
    theta_usd = quantity * theta * seconds * _NS / _DAY_NS
    vega_usd = quantity * vega * 100 * iv_change
    return Parts(
        delta_usd=delta_usd,
        gamma_usd=gamma_usd,
        theta_usd=theta_usd,
        vega_usd=vega_usd,
        residual_usd=move_usd - delta_usd - gamma_usd - theta_usd - vega_usd,
    )


class Follower:
    """Follows the trades of the desk from sample to sample.

    gap_s: over a longer time nothing is attributed to Greeks. followed: what an earlier process knew.
    """

    def __init__(self, gap_s: float, followed: Iterable[Followed] = ()) -> None:
        self._gap_s = gap_s
        self._followed = {each.trade_id: each for each in followed}

    def sample(self, trades: Iterable[TradeUpdate], marks: Mapping[str, UnitMark], at_ns: int) -> list[TradeSample]:
        """Every trade that is open or has changed since the last time. One that holds what has no mark is left for
        the next time, and its interval is the longer for it."""
        samples = []
        for trade in trades:
            if not any(leg.filled_quantity for leg in trade.legs):
                continue
            sample = self._sample(trade, marks, at_ns)
            if sample is not None:
                self._followed[trade.trade_id] = sample.followed
                samples.append(sample)
        for trade_id, each in list(self._followed.items()):
            if at_ns - each.at_ns > _FORGOTTEN_NS and not any(each.held):
                del self._followed[trade_id]
        return samples

    def _sample(self, trade: TradeUpdate, marks: Mapping[str, UnitMark], now_ns: int) -> TradeSample | None:
        before = self._followed.get(trade.trade_id)
        held = tuple(_signed(leg, leg.held_quantity) for leg in trade.legs)
        at_ns = now_ns
        if trade.is_final:
            at_ns = trade.closed_ns or trade.updated_ns
            if before is not None:
                at_ns = max(at_ns, before.at_ns)
            elif now_ns - at_ns > _FORGOTTEN_NS:
                return None
        current = tuple(marks.get(leg.symbol) for leg in trade.legs)
        unrealized = _unrealized(trade.legs, held, current)
        if unrealized is None:
            return None
        pnl_usd = float(trade.realized_pnl_usd) + unrealized
        paid_usd = float(trade.fees_usd + trade.funding_usd)
        is_over = before is not None and trade.is_final and not any(before.held)
        if is_over and before is not None and (before.pnl_usd, before.paid_usd) == (pnl_usd, paid_usd):
            # what was paid may be known later than the close
            return None
        opened_ns = trade.opened_ns or trade.created_ns
        parts = self._parts(before, trade.legs, current, pnl_usd, at_ns, opened_ns)
        followed = Followed(
            trade_id=trade.trade_id,
            at_ns=at_ns,
            pnl_usd=pnl_usd,
            held=held,
            marks=current,
            parts=parts,
            paid_usd=paid_usd,
        )
        return TradeSample(
            trade_id=trade.trade_id,
            strategy=trade.strategy,
            at_ns=at_ns,
            pnl_usd=pnl_usd,
            unrealized_usd=unrealized,
            fees_usd=float(trade.fees_usd),
            funding_usd=float(trade.funding_usd),
            **_greeks(held, current),
            parts=parts,
            followed=followed,
        )

    def _parts(
        self,
        before: Followed | None,
        legs: tuple[LegStatus, ...],
        current: tuple[UnitMark | None, ...],
        pnl_usd: float,
        at_ns: int,
        opened_ns: int,
    ) -> Parts:
        if before is None:
            # nobody saw what it made until now: of a trade just opened it is what its fills were worth
            seconds = max(at_ns - opened_ns, 0) / _NS
            if seconds > self._gap_s:
                return Parts(residual_usd=pnl_usd, unattributed_s=seconds)
            return Parts(execution_usd=pnl_usd)
        seconds = (at_ns - before.at_ns) / _NS
        made, unattributed_s = Parts(), 0.0
        for leg, held, begin, end in zip(legs, before.held, before.marks, current, strict=True):
            if not held or begin is None:
                continue
            if end is None:
                # closed meanwhile, so that nobody tells its mark: what it made since the last one is of the execution
                if seconds <= self._gap_s or leg.close_price is None:
                    continue
                end = UnitMark(float(leg.close_price))
            part = leg_parts(held, begin, end, seconds, self._gap_s)
            unattributed_s = max(unattributed_s, part.unattributed_s)
            made = made + part
        parts = before.parts + made
        parts = msgspec.structs.replace(
            parts,
            execution_usd=parts.execution_usd + (pnl_usd - before.pnl_usd - made.pnl_usd),
            unattributed_s=before.parts.unattributed_s + unattributed_s,
        )
        # exact: the rounding of many small sums goes where everything goes that nothing explains
        return msgspec.structs.replace(parts, residual_usd=parts.residual_usd + (pnl_usd - parts.pnl_usd))


def _signed(leg: LegStatus, quantity: Decimal) -> float:
    return float(quantity) if leg.side == "buy" else -float(quantity)


def _unrealized(
    legs: tuple[LegStatus, ...], held: tuple[float, ...], marks: tuple[UnitMark | None, ...]
) -> float | None:
    """Σ held × (mark − open price), USD; None while one is missing."""
    total = 0.0
    for leg, quantity, mark in zip(legs, held, marks, strict=True):
        if quantity:
            if mark is None or leg.open_price is None:
                return None
            total += quantity * (mark.mark - float(leg.open_price))
    return total


def _greeks(held: tuple[float, ...], marks: tuple[UnitMark | None, ...]) -> dict[str, float | None]:
    names = ("delta", "gamma", "vega", "theta")
    sums = [0.0] * len(names)
    for quantity, mark in zip(held, marks, strict=True):
        if quantity:
            if mark is None or mark.greeks is None:
                return dict.fromkeys(names)
            sums = [total + quantity * each for total, each in zip(sums, mark.greeks, strict=True)]
    return dict(zip(names, sums, strict=True))
