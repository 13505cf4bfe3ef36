"""How much of a leg a closing order may reduce now, and what stands against one: the same for every closing plan."""

from __future__ import annotations

from decimal import Decimal

from services.execution.comparisons import ComparisonSchedule
from services.execution.covering import covers
from services.execution.plan import Advice, slice_of
from services.execution.positions import PositionWitness
from services.execution.records import NOTHING_TO_REDUCE, Leg, Order, Trade
from services.execution.rows import ClosePurpose
from services.execution.spot_checks import sellable
from services.execution.states import HOLDING_STATES
from services.execution.workspace import MS, SECOND, Workspace

POLL_NS = SECOND


def close_purpose(trade: Trade) -> ClosePurpose:
    """Under which purpose the trade's orders reduce it now."""
    if trade.close is not None:
        return trade.close.purpose
    return "unwind" if trade.opened_ns is None or is_kept(trade) else "close"


def is_kept(trade: Trade) -> bool:
    """Whether it is open and nobody asked to close it: what reduces it then undoes what is too much of it."""
    return trade.state in HOLDING_STATES and trade.close is None


class Reduction:
    """What a closing plan knows beside the trade: the venue's positions, and when they were looked at."""

    def __init__(self, work: Workspace, schedule: ComparisonSchedule, positions: PositionWitness) -> None:
        self.work = work
        self.schedule = schedule
        self.positions = positions

    def mark(self, symbol: str) -> float | None:
        """The venue's own mark of the position, for when there is none from market data."""
        return self.positions.mark(symbol)

    def may_send(self, leg: Leg, last: Order | None, advice: Advice) -> bool:
        """True when a new order may reduce the leg now, for all that is known of this leg alone; else `advice` says
        what it waits for.

        `last` is the leg's last closing order: one refused for want of a position is looked into first.
        """
        work = self.work
        if leg.held_quantity <= 0:
            return False
        if work.now_ns >= leg.instrument.last_trade_ns:
            expiry_ns = leg.instrument.expiry_ns
            advice.wait(
                f"{leg.symbol} no longer trades and settles at expiry", expiry_ns if work.now_ns < expiry_ns else None
            )
            return False
        if (
            last is not None
            and last.refusal_code == NOTHING_TO_REDUCE
            and not self.schedule.looked_since(last.state_ns)
        ):
            self.schedule.want("reduce_only_refused", work.now_ns)
            advice.wait(f"the venue sees no {leg.symbol} to reduce: comparing")
            return False
        return True

    def quantity(self, leg: Leg, trade: Trade, advice: Advice, wanted: Decimal | None = None) -> Decimal | None:
        """What one order may reduce: what is held (`wanted` of it), as far as the venue's position goes, in lots.

        None when that is below the minimum order; `advice` then says so.
        """
        work = self.work
        held = sellable(trade, leg, work) if leg.instrument.is_spot else leg.held_quantity
        quantity = held if wanted is None else min(wanted, held)
        cap = self.positions.cap(trade, leg)
        if cap is not None and cap < quantity:
            self.schedule.want("close_quantity", work.now_ns + work.config.confirm_ms * MS)
            quantity = cap
        quantity = slice_of(quantity, leg.instrument)
        if quantity < leg.instrument.min_quantity:
            why = f"{quantity} of {leg.symbol} is below the minimum order"
            if quantity <= 0:
                why = f"the venue holds no {leg.symbol} for this trade: comparing"
            advice.wait(why, work.now_ns + POLL_NS)
            return None
        return quantity

    def unpriced(self, trade: Trade, leg: Leg, why: str, advice: Advice) -> None:
        """A leg that must be closed has no price: look for one, wait, and tell a person when that takes long."""
        work = self.work
        if not self.schedule.looked_since(work.now_ns - work.config.market_tolerance_ms * MS):
            # The position carries the venue's own mark: a close must not depend on the market data service.
            self.schedule.want("unpriced", work.now_ns)
        advice.wait(why, work.now_ns + POLL_NS)
        if work.now_ns >= trade.state_ns + work.config.unpriced_alert_ms * MS:
            work.alert(
                "close_unpriced",
                "critical",
                f"{trade.trade_id}/{leg.symbol}",
                f"{trade.trade_id} cannot close: {why}",
            )


def covered_leg(trade: Trade, index: int, work: Workspace) -> str | None:
    """What this leg still covers: a short option, or a future."""
    leg = trade.legs[index]
    for other_index, other in enumerate(trade.legs):
        if (
            covers(leg, other)
            and (other.held_quantity > 0 or work.book.unsettled_of(trade, other_index))
            and work.now_ns < other.instrument.expiry_ns
        ):
            return other.symbol
    return None
