"""The smart plans: a trade is opened, and closed, in chunks that keep the ratios of its legs."""

from __future__ import annotations

from decimal import Decimal

from services.execution.chunk_work import ChunkWork
from services.execution.covering import covers, opens_before
from services.execution.plan import Advice, Manner, Place, Record, final_look
from services.execution.pricing import SaleFloor, closing_bound, sale_bound
from services.execution.records import Trade
from services.execution.reduction import Reduction
from services.execution.rows import FellBack
from services.execution.scaling import scale_to_filled
from services.execution.workspace import MS, Workspace
from shared.options.chain import Quote


class SmartOpening:
    """Opens a trade chunk by chunk; in a chunk a leg waits for those that go before it, see `opens_before`.

    A chunk that cannot be completed is the last one: the trade is scaled to what was filled where that was asked for
    and can be, else what follows is the trade's policy, as with every opening.
    """

    manner = Manner()

    def advise(self, trade: Trade, work: Workspace) -> Advice:
        """What to do for this opening now."""
        advice = Advice()
        chunk = _OpeningChunk(trade, work, "open", trade.opening_since_ns, spaced=True)
        ended = {index: self._end_of(chunk, index, advice) for index in chunk.legs}
        scaling = None if chunk.given_up else scale_to_filled(trade, ended, work, advice)
        if scaling is not None:
            chunk.work_leg(scaling, ended[scaling], advice)
            return advice
        stop = chunk.given_up if trade.stop is None else trade.stop.reason
        if not stop and trade.request.policy == "atomic":
            stop = next((reason for index, reason in ended.items() if reason and not chunk.is_whole(index)), "")
        for index in chunk.legs:
            chunk.work_leg(index, stop or ended[index], advice)
        if work.book.unsettled_of(trade) or any(isinstance(action, Place) for action in advice.actions):
            return advice
        if all(map(chunk.is_whole, chunk.legs)):
            _complete(chunk, advice, "all legs are filled")
        elif stop or all(chunk.is_filled(index) or self._hopeless(chunk, index, ended) for index in chunk.legs):
            reason = stop or next((reason for reason in ended.values() if reason), "")
            if not reason:
                advice.actions += chunk.passed("every leg has its part")
            elif not chunk.given_up:
                advice.actions.append(chunk.ended(complete=False, reason=reason))
            else:
                final_look(trade, reason, work, advice)
        return advice

    def _end_of(self, chunk: ChunkWork, index: int, advice: Advice) -> str:
        trade, work = chunk.trade, chunk.work
        leg = trade.legs[index]
        if chunk.is_whole(index):
            return ""
        last_trade_ns = leg.instrument.last_trade_ns
        deadline_ns = min(trade.request.grant.deadline_ns, last_trade_ns)
        if work.now_ns >= deadline_ns:
            return "the grant's deadline passed" if deadline_ns < last_trade_ns else f"{leg.symbol} stops trading"
        advice.wake(deadline_ns)
        return chunk.end_of(index, advice)

    def _hopeless(self, chunk: ChunkWork, index: int, ended: dict[int, str]) -> bool:
        """The leg gave up, or one that must be filled before it did."""
        return bool(ended[index]) or any(ended[other] for other in chunk.waits_for(index))


class SmartClosing:
    """Closes a trade chunk by chunk; in a chunk a leg that covers another one waits for it.

    What cannot be closed so is left to the staircase: when a leg is not filled, when it cannot be priced, in time
    before the options stop trading, and when a leg is lost from outside while others are held. Chunks are spaced over
    time only where a strategy or a person asked for the close: what execution or risk closes is not stretched, nor
    what they would close by now (a deadline, a loss, a silent host, an expiry), nor what a person asks for twice.
    """

    def advise(self, trade: Trade, reduction: Reduction) -> Advice:
        """What to do for this close now."""
        work = reduction.work
        advice = Advice()
        spaced = trade.close is not None and not trade.close.is_urgent
        chunk = _ClosingChunk(trade, reduction, trade.stairs_since_ns, spaced=spaced)
        handover = chunk.given_up or self._handover(chunk, advice)
        if handover:
            if not chunk.given_up:
                advice.actions.append(chunk.ended(complete=False, reason=handover))
            row = FellBack(trade_id=trade.trade_id, purpose="close", mode="limit", reason=handover, code="chunk")
            advice.actions.append(Record(row))
            return advice
        for index in chunk.legs:
            chunk.work_leg(index, "", advice)
        if work.book.unsettled_of(trade) or any(isinstance(action, Place) for action in advice.actions):
            return advice
        if trade.is_flat:
            _complete(chunk, advice, "nothing is held")
        elif all(map(chunk.is_filled, chunk.legs)) and not chunk.is_last:
            advice.actions += chunk.passed("every leg has its part")
        return advice

    def _handover(self, chunk: _ClosingChunk, advice: Advice) -> str:
        """Why the staircase takes over; "" while the chunks go on. Wakes when the time for it comes."""
        trade, work = chunk.trade, chunk.work
        lost = _lost_beside_others(trade)
        if lost:
            return f"{lost} was closed or liquidated from outside while other legs are held"
        held = [index for index in chunk.legs if trade.legs[index].held_quantity > 0]
        for index in held:
            leg = trade.legs[index]
            reason = chunk.end_of(index, advice) or self._priceless(chunk, index, advice)
            if reason:
                return reason
            handover_ns = leg.instrument.last_trade_ns - work.config.close_patience_ms * MS
            if work.now_ns >= handover_ns:
                return f"{leg.symbol} stops trading soon"
            advice.wake(handover_ns)
        return ""

    def _priceless(self, chunk: _ClosingChunk, index: int, advice: Advice) -> str:
        """Why a leg that should have an order cannot be priced for a while already; else ""."""
        trade, work = chunk.trade, chunk.work
        if chunk.is_filled(index) or chunk.waits_for(index) or work.book.unsettled_of(trade, index):
            return ""
        leg = trade.legs[index]
        quote = work.market.quote(leg.instrument, work.now_ns)
        if not isinstance(chunk.bound(index, quote), str) and quote is not None:
            return ""
        ended = [order.state_ns for order in chunk.orders(index)]
        since_ns = max(chunk.leg_begins_ns(index), work.started_ns, *ended, 0)
        late_ns = since_ns + work.config.unpriced_alert_ms * MS
        if work.now_ns >= late_ns:
            return f"no price for {leg.symbol}"
        advice.wake(late_ns)
        return ""


class _OpeningChunk(ChunkWork):
    def done(self, index: int) -> Decimal:
        return self.trade.legs[index].opened_quantity

    def goes_before(self, index: int) -> list[int]:
        return opens_before(self.trade.legs, index)

    def bound(self, index: int, quote: Quote | None) -> Decimal | str:
        leg = self.trade.legs[index]
        worst_price = self.trade.granted(leg).worst_price
        if leg.side == "buy" or quote is None:
            return worst_price
        params = self.trade.request.execution_params
        floor = SaleFloor(params.min_price_pct_of_fair, params.min_floor_price_usd)
        tick_size = leg.instrument.tick_size
        bound = sale_bound(worst_price, floor, quote, tick_size, self.work.config.wide_spread_pct)
        return f"no fair price of {leg.symbol}, which bounds its sale" if bound is None else bound

    def next_quantity(self, index: int, lacking: Decimal, advice: Advice) -> Decimal | None:
        leg = self.trade.legs[index]
        allowed = self.trade.granted(leg).max_quantity - leg.opened_quantity
        quantity = self.snapped(leg, min(lacking, leg.quantity - leg.opened_quantity, allowed))
        if quantity < leg.instrument.min_quantity:
            advice.wait(f"{quantity} of {leg.symbol} is below the minimum order")
            return None
        return quantity


class _ClosingChunk(ChunkWork):
    def __init__(self, trade: Trade, reduction: Reduction, since_ns: int, *, spaced: bool) -> None:
        super().__init__(trade, reduction.work, "close", since_ns, spaced=spaced)
        self._reduction = reduction

    def done(self, index: int) -> Decimal:
        leg = self.trade.legs[index]
        return leg.closed_quantity - leg.trimmed_quantity

    def goes_before(self, index: int) -> list[int]:
        legs = self.trade.legs
        return [number for number, other in enumerate(legs) if covers(legs[index], other)]

    def bound(self, index: int, quote: Quote | None) -> Decimal | str:
        leg = self.trade.legs[index]
        mark = None if quote is None else quote.mark
        if mark is None:
            mark = self._reduction.mark(leg.symbol)
        if mark is None:
            return f"no mark for {leg.symbol}"
        max_premium_pct = self.trade.request.execution_params.max_close_premium_pct
        return closing_bound(mark, self.side(leg), max_premium_pct, leg.instrument)

    def next_quantity(self, index: int, lacking: Decimal, advice: Advice) -> Decimal | None:
        leg = self.trade.legs[index]
        orders = self.orders(index)
        if not self._reduction.may_send(leg, orders[-1] if orders else None, advice):
            return None
        return self._reduction.quantity(leg, self.trade, advice, lacking)


def _lost_beside_others(trade: Trade) -> str:
    """The leg of which something was closed from outside, which may leave another one naked; "" for none."""
    for leg in trade.legs:
        others_are_held = any(other.held_quantity > 0 for other in trade.legs if other is not leg)
        if leg.outside_quantity > leg.settled_quantity and others_are_held:
            return leg.symbol
    return ""


def _complete(chunk: ChunkWork, advice: Advice, reason: str) -> None:
    """The plan has reached its target, be it earlier than planned: the chunk that it is at is then its last."""
    if all(end.purpose != chunk.purpose or end.number != chunk.number for end in chunk.trade.chunks):
        advice.actions.append(chunk.ended(complete=True, reason=reason))
    advice.outcome, advice.reason = "complete", reason
