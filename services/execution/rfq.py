"""The RFQ plan: ask makers for the whole structure, take the best quote that beats the order book, else fall back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from services.execution import rows
from services.execution.halted import cancelling_halt, halt_text
from services.execution.plan import Advice, AskForQuotes, Manner, Record, TakeQuote
from services.execution.pricing import NO_FLOOR, SaleFloor, sale_bound
from services.execution.quotes import Wanted, best, judge
from services.execution.records import Leg, Trade
from services.execution.reduction import Reduction
from services.execution.rfq_rows import QuotesJudged
from services.execution.rfqs import Rfq
from services.execution.workspace import MS, SECOND, Workspace
from shared.messages.base import Side
from shared.messages.rfq import FallbackCode, JudgedQuote, RfqLeg, RfqParams
from shared.messages.trades import ExecutionMode, LegOrder
from shared.options.chain import snap_quantity
from shared.options.comparison import LegMarket, StructureLeg, Yardstick, yardstick

RfqPurpose = Literal["open", "close"]
JUDGED_MAX = 20
"""So many quotes are written down with a decision."""

_POLL_NS = SECOND


class _Task(msgspec.Struct, frozen=True, kw_only=True):
    """One structure to be traded. `held_up` says why nothing may be taken just now, "" for nothing."""

    purpose: RfqPurpose
    wanted: Wanted
    since_ns: int
    deadline_ns: int
    fallback: ExecutionMode | None
    held_up: Callable[[int], tuple[FallbackCode, str] | None]


class RfqPlan:
    """Opens a trade by one block trade, all legs at once: no leg is ever naked. At most one quote is accepted."""

    manner = Manner()

    def advise(self, trade: Trade, work: Workspace) -> Advice:
        """What to do for this opening now."""
        advice = Advice()
        live = work.book.unsettled_of(trade)
        if live:
            advice.wait(_doubt(live[0].quote_id, [order.state for order in live]))
            return advice
        opened = [leg.opened_quantity for leg in trade.legs]
        if all(quantity >= leg.quantity for quantity, leg in zip(opened, trade.legs, strict=True)):
            advice.outcome, advice.reason = "complete", "the block trade is done"
        elif any(opened):
            _end(trade, work, advice, "only a part of the block trade was executed")
        elif trade.stop is not None:
            _end(trade, work, advice, trade.stop.reason)
        else:
            _advise(trade, work, self._task(trade, work), advice)
        return advice

    def _task(self, trade: Trade, work: Workspace) -> _Task:
        grant = trade.request.grant
        return _Task(
            purpose="open",
            wanted=wanted_of(trade, "open", work),
            since_ns=trade.opening_since_ns,
            deadline_ns=min(grant.deadline_ns, *(leg.instrument.last_trade_ns for leg in trade.legs)),
            fallback=trade.request.rfq.fallback,
            held_up=lambda _: None,
        )


class RfqClosePlan:
    """Closes what a trade holds by one block trade. The venue cannot make one reduce only: it is made when nothing
    else of the trade may trade any more, and the venue's position was just seen to hold all of it."""

    def advise(self, trade: Trade, reduction: Reduction) -> Advice:
        """What to do for this close now; every failure falls back to the staircase."""
        work = reduction.work
        advice = Advice()
        live = work.book.unsettled_of(trade)
        if any(not order.quote_id and order.purpose != "open" for order in live):
            # sent by a process whose last rows were lost, and found at the venue: the staircase takes it on
            reason = "a closing order was found at the venue"
            _fall_back(trade, advice, "close", "limit", "withdrawn", reason)
        elif live:
            advice.wait(_doubt(live[0].quote_id, [order.state for order in live]))
        elif trade.is_flat:
            advice.outcome, advice.reason = "complete", "nothing is held"
        elif not trade.request.rfq.closes:
            _fall_back(trade, advice, "close", "limit", "withdrawn", "closes are not made by request for quote")
        else:
            # The stairs need that long, and nothing closes what still has no taker when trading ends. An accept whose
            # answer is lost is waited for past it: it may have closed everything.
            first = min((leg for leg in trade.legs if leg.held_quantity > 0), key=_stops_ns)
            handover_ns = _stops_ns(first) - work.config.close_patience_ms * MS
            if work.now_ns >= handover_ns:
                _fall_back(trade, advice, "close", "limit", "trading_ends", f"{first.symbol} stops trading soon")
            else:
                advice.wake(handover_ns)
                _advise(trade, work, self._task(trade, reduction, handover_ns), advice)
        return advice

    def _task(self, trade: Trade, reduction: Reduction, handover_ns: int) -> _Task:
        held = [leg for leg in trade.legs if leg.held_quantity > 0]

        def held_up(not_before_ns: int) -> tuple[FallbackCode, str] | None:
            """The position must have been looked at since the request, and lately, and hold every leg whole."""
            work, schedule = reduction.work, reduction.schedule
            fresh_ns = max(not_before_ns, work.now_ns - work.config.market_tolerance_ms * MS)
            caps = [reduction.positions.cap(trade, leg) for leg in held]
            if not schedule.looked_since(fresh_ns) or any(cap is None for cap in caps):
                schedule.want("rfq_close", work.now_ns)
                return "position_not_fresh", "the venue's position is being looked at"
            for leg, cap in zip(held, caps, strict=True):
                if cap is not None and cap < leg.held_quantity:
                    return "position_not_fresh", f"the venue holds {cap} of {leg.held_quantity} {leg.symbol}"
                if snap_quantity(leg.held_quantity, leg.instrument.lot_size) != leg.held_quantity:
                    return "not_in_lots", f"{leg.held_quantity} of {leg.symbol} is not in lots"
            return None

        return _Task(
            purpose="close",
            wanted=wanted_of(trade, "close", reduction.work),
            since_ns=trade.state_ns,
            deadline_ns=handover_ns,
            fallback="limit",
            held_up=held_up,
        )


def _stops_ns(leg: Leg) -> int:
    return leg.instrument.last_trade_ns


def wanted_of(trade: Trade, purpose: RfqPurpose, work: Workspace) -> Wanted:
    """What a quote must be for: the whole structure within the worst prices of its grant and the floors of its sales
    at this moment's market, or all that is held."""
    if purpose == "open":
        return Wanted(
            legs=tuple(StructureLeg(leg.symbol, leg.side, leg.quantity) for leg in trade.legs),
            action="buy",
            worst_prices={leg.symbol: trade.granted(leg).worst_price for leg in trade.legs},
            floors=_floors(trade, work),
        )
    held = [leg for leg in trade.legs if leg.held_quantity > 0]
    return Wanted(
        legs=tuple(StructureLeg(leg.symbol, leg.side, leg.held_quantity) for leg in held),
        action="sell",
        worst_prices={},
    )


def _floors(trade: Trade, work: Workspace) -> dict[str, Decimal | None]:
    """See `Wanted`."""
    params = trade.request.execution_params
    floor = SaleFloor(params.min_price_pct_of_fair, params.min_floor_price_usd)
    if floor == NO_FLOOR:
        return {}
    floors: dict[str, Decimal | None] = {}
    for leg in trade.legs:
        if leg.side != "sell":
            continue
        worst_price, quote = trade.granted(leg).worst_price, work.market.quote(leg.instrument, work.now_ns)
        floors[leg.symbol] = None
        if quote is not None:
            tick_size = leg.instrument.tick_size
            floors[leg.symbol] = sale_bound(worst_price, floor, quote, tick_size, work.config.wide_spread_pct)
    return floors


def judged_quotes(trade: Trade, work: Workspace, rfq: Rfq) -> list[JudgedQuote]:
    """Every quote on a request that collects, judged against the market of this moment, the cheapest first."""
    return _judged(trade, work, wanted_of(trade, rfq.purpose, work), rfq, trade.request.rfq)[1]


def notional_usd(legs: tuple[LegOrder, ...] | tuple[StructureLeg, ...], strikes: Mapping[str, Decimal]) -> float:
    """Σ strike × quantity, which is what the venue's minimum for block trades is about."""
    return float(sum((strikes[leg.symbol] * leg.quantity for leg in legs), Decimal(0)))


def withdraw(trade: Trade, work: Workspace, reason: str) -> None:
    """The operator cancels: an opening ends, a close goes on by the staircase. A quote that was taken stays taken."""
    live = [rfq for rfq in work.book.rfqs.live_rfqs() if rfq.trade_id == trade.trade_id]
    if (
        any(rfq.purpose == "open" for rfq in live)
        and trade.stop is None
        and trade.state in ("PENDING_OPEN", "OPENING")
    ):
        work.record(rows.OpeningStopped(trade_id=trade.trade_id, reason=reason, void=False))
    if any(rfq.purpose == "close" for rfq in live) and trade.state == "CLOSING" and trade.closing_mode == "rfq":
        row = rows.FellBack(trade_id=trade.trade_id, purpose="close", mode="limit", reason=reason, code="withdrawn")
        work.record(row)


def is_wanted(rfq: Rfq, trade: Trade | None, work: Workspace) -> bool:
    """False when the trade has no use for a quote on this request any more."""
    if trade is None or work.is_winding_down or work.book.rfqs.of_trade(trade.trade_id, rfq.purpose)[-1] is not rfq:
        return False
    if rfq.purpose == "open":
        opening = trade.state in ("PENDING_OPEN", "OPENING") and trade.opening_mode == "rfq"
        return opening and trade.stop is None and trade.close is None
    closing = trade.state == "CLOSING" and trade.closing_mode == "rfq"
    return closing and trade.close is not None and trade.close.purpose == "close"


def _advise(trade: Trade, work: Workspace, task: _Task, advice: Advice) -> None:
    """From the request to the decision, for either purpose; nothing of the trade is live or in doubt."""
    rfqs = work.book.rfqs.of_trade(trade.trade_id, task.purpose)
    last = rfqs[-1] if rfqs else None
    nothing_taken = last is None or last.state not in ("ACCEPTING", "ACCEPT_UNKNOWN")
    if nothing_taken and work.space.level != "disk":
        # It cannot be reduce only, so it counts as what opens.
        _give_up(trade, work, task, advice, "journal_full", "no quote is asked for or taken on a full disk")
        return
    if nothing_taken and (halt := cancelling_halt(work.book)) is not None:
        _give_up(trade, work, task, advice, "withdrawn", halt_text(halt))
        return
    if last is None or (last.is_lost and len(rfqs) < work.config.rfq_creates_max):
        # A lost one may be at the venue: harmless, as only an accepted quote trades; it is withdrawn when found.
        _request(trade, work, task, advice)
        return
    if last.is_lost:
        _give_up(trade, work, task, advice, "create_lost", f"the venue did not answer {len(rfqs)} requests for quote")
        return
    match last.state:
        case "REQUESTING":
            advice.wait("waits for the venue to take the request for quote")
        case "REFUSED" if last.is_throttled:
            again_ns = last.state_ns + work.config.attempt_interval_ms * MS
            if len(rfqs) >= work.config.rfq_creates_max:
                _give_up(trade, work, task, advice, "rfq_throttled", f"too many requests for quote: {last.reason}")
            elif work.now_ns < again_ns:
                advice.wait("asks for quotes again, the last request was one too many", again_ns)
            else:
                _request(trade, work, task, advice)
        case "REFUSED":
            _give_up(trade, work, task, advice, "rfq_refused", f"the venue refuses the request: {last.reason}")
        case "COLLECTING":
            _collect(trade, work, task, last, advice)
        case "ACCEPTING" | "ACCEPT_UNKNOWN":
            advice.wait("waits for the executions of the accepted quote")
        case _:
            _ended(trade, work, task, last, advice)


def _request(trade: Trade, work: Workspace, task: _Task, advice: Advice) -> None:
    params = trade.request.rfq
    legs = task.wanted.legs
    strikes = {leg.symbol: leg.instrument.strike for leg in trade.legs}
    notional = notional_usd(legs, strikes)
    if notional < params.min_notional_usd:
        text = f"notional {notional:.0f} USD is below the minimum {params.min_notional_usd:.0f} USD"
        _give_up(trade, work, task, advice, "below_min_notional", text)
        return
    end_ns = min(task.since_ns + math.ceil(params.timeout_s * SECOND), task.deadline_ns)
    stale = [leg.symbol for leg in legs if _market_of(trade, leg, work).mark is None]
    if work.now_ns >= end_ns:
        code: FallbackCode = "no_fresh_market" if stale else "create_lost"
        _give_up(trade, work, task, advice, code, f"no quote was asked for in {params.timeout_s:g} s")
        return
    if stale:
        advice.wait(f"no fresh market for {stale[0]}", min(end_ns, work.now_ns + _POLL_NS))
        return
    sides: list[Side] = [task.wanted.side_of(leg) for leg in legs]
    if params.request_sides == "buy_if_all_sell" and set(sides) == {"sell"}:
        # The maker's bid for it is then the quote that we hit.
        sides = ["buy"] * len(sides)
    asked = tuple(
        RfqLeg(symbol=leg.symbol, side=side, quantity=leg.quantity) for leg, side in zip(legs, sides, strict=True)
    )
    advice.actions.append(AskForQuotes(task.purpose, asked, notional))


def _collect(trade: Trade, work: Workspace, task: _Task, rfq: Rfq, advice: Advice) -> None:
    params = trade.request.rfq
    window_ns = rfq.state_ns + math.ceil(params.window_s * SECOND)
    end_ns = min(rfq.state_ns + math.ceil(params.timeout_s * SECOND), task.deadline_ns)
    if work.now_ns < min(window_ns, end_ns):
        given = sum(quote.state == "open" for quote in work.quotes.of(rfq.request_id))
        advice.wait(f"collects quotes, {given} so far", min(window_ns, end_ns))
        return
    measure, judged = _judged(trade, work, task.wanted, rfq, params)
    chosen = best(judged) if work.now_ns < task.deadline_ns else None
    why_not = task.held_up(rfq.created_ns) if chosen is not None else None
    row = QuotesJudged(
        rfq_id=rfq.rfq_id,
        book_cost_usd=measure.book_cost_usd,
        mark_cost_usd=measure.mark_cost_usd,
        quotes=tuple(judged[:JUDGED_MAX]),
        chosen="" if chosen is None or why_not is not None else chosen.quote_id,
    )
    if chosen is not None and why_not is None:
        quote = work.quotes.quote(rfq.request_id, chosen.quote_id)
        assert quote is not None
        advice.actions.append(TakeQuote(rfq.rfq_id, quote, row))
        return
    code, reason = why_not or _no_quote(judged)
    if work.now_ns < end_ns:
        advice.wait(reason, min(end_ns, work.now_ns + _POLL_NS))
        return
    advice.actions.append(Record(row))
    _give_up(trade, work, task, advice, code, reason)


def _judged(
    trade: Trade, work: Workspace, wanted: Wanted, rfq: Rfq, params: RfqParams
) -> tuple[Yardstick, list[JudgedQuote]]:
    """Every quote against the market of this moment, the cheapest first."""
    markets = {leg.symbol: _market_of(trade, leg, work) for leg in wanted.legs}
    measure = yardstick(wanted.legs, wanted.action, markets)
    judged = [
        judge(
            quote,
            wanted,
            measure,
            params,
            now_ns=work.now_ns,
            seen_ns=work.quotes.seen_ns(rfq.request_id, quote.quote_id),
            tolerance_ns=work.config.market_tolerance_ms * MS,
            margin_ns=work.config.rfq_quote_margin_ms * MS,
        )
        for quote in work.quotes.of(rfq.request_id)
    ]
    return measure, sorted(judged, key=lambda each: math.inf if each.cost_usd is None else each.cost_usd)


def _market_of(trade: Trade, wanted: StructureLeg, work: Workspace) -> LegMarket:
    instrument = next(leg.instrument for leg in trade.legs if leg.symbol == wanted.symbol)
    return work.market.leg_market(instrument, wanted.quantity, work.now_ns)


def _no_quote(judged: list[JudgedQuote]) -> tuple[FallbackCode, str]:
    if not any(each.verdict != "not_open" for each in judged):
        return "no_quotes", "no maker gave a quote"
    # Our side of a two-way quote is what it failed on; the other side is always wrong.
    nearest = next((each for each in judged if each.cost_usd is not None and each.verdict != "not_open"), None)
    if nearest is None:
        return "no_good_quote", f"no usable quote among {len(judged)}: {judged[0].verdict.replace('_', ' ')}"
    figures = [f"{nearest.cost_usd:.2f} USD"]
    if nearest.improvement_usd is not None:
        figures.append(f"{nearest.improvement_usd:+.2f} USD against the book")
    if nearest.over_mark_pct is not None:
        figures.append(f"{nearest.over_mark_pct:+.2f} % against mark")
    return "no_good_quote", f"best quote {', '.join(figures)}: {nearest.verdict.replace('_', ' ')}"


def _ended(trade: Trade, work: Workspace, task: _Task, rfq: Rfq, advice: Advice) -> None:
    """The request is over, and nothing of it was executed."""
    refused = [work.book.orders[number] for number in rfq.order_ids if number in work.book.orders]
    if any(order.state == "REFUSED" for order in refused):
        _give_up(trade, work, task, advice, "accept_refused", f"the venue refuses the accept: {refused[0].reason}")
    elif refused:
        _give_up(trade, work, task, advice, "accept_lost", f"the accept never reached the venue: {refused[0].reason}")
    else:
        _give_up(trade, work, task, advice, "gone", f"the request for quote ended: {rfq.reason}")


def _give_up(trade: Trade, work: Workspace, task: _Task, advice: Advice, code: FallbackCode, reason: str) -> None:
    if code == "no_quotes":
        work.alert("rfq_no_quotes", "warning", trade.trade_id, f"{trade.trade_id}: {reason} to {task.purpose} it")
    if task.fallback is None:
        _end(trade, work, advice, f"{code}: {reason}")
    else:
        _fall_back(trade, advice, task.purpose, task.fallback, code, reason)


def _fall_back(
    trade: Trade, advice: Advice, purpose: RfqPurpose, mode: ExecutionMode, code: FallbackCode, reason: str
) -> None:
    row = rows.FellBack(trade_id=trade.trade_id, purpose=purpose, mode=mode, reason=reason, code=code)
    advice.actions.append(Record(row))


def _end(trade: Trade, work: Workspace, advice: Advice, reason: str) -> None:
    """Give an opening up, but only when no execution has come for a while: it would have to be undone."""
    ended_ns = max((order.state_ns for order in work.book.orders_of(trade)), default=None)
    look_ns = 0 if ended_ns is None else ended_ns + math.ceil(trade.request.execution_params.final_look_s * SECOND)
    if work.now_ns < look_ns:
        advice.wait(f"waits for late executions: {reason}", look_ns)
    else:
        advice.outcome, advice.reason = "given_up", reason


def _doubt(quote_id: str, states: list[str]) -> str:
    if not quote_id:
        return f"an order is {states[0]}"
    if "UNKNOWN" in states:
        return f"whether quote {quote_id} was executed is not known yet: the venue is asked"
    return f"quote {quote_id} is being executed"
