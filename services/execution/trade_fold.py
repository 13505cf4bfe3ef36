"""The fold of the rows that speak of an intent, or of a trade and its legs as a whole."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, get_args

import msgspec

from services.execution import rows
from services.execution.records import ZERO, ChunkEnd, Close, DirectFill, Fallback, Intent, Leg, Stop, Trade
from services.execution.rolling import link_roll
from services.execution.states import trade_may_move
from shared.messages.trades import FINAL_TRADE_STATES

_PAYMENTS_KEPT = 1_000

if TYPE_CHECKING:
    from services.execution.book import Book


def fold_intent(book: Book, intent_id: str, strategy: str, ordinal: int, outcome: Intent) -> None:
    """The outcome of an intent, under its id."""
    book.intents[intent_id] = outcome
    book.highest_ordinal[strategy] = max(ordinal, book.highest_ordinal.get(strategy, ordinal))


def fold_trade_requested(book: Book, row: rows.TradeRequested, at_ns: int) -> None:
    """An intent was accepted: its trade, with nothing filled."""
    request = row.request
    fold_intent(book, request.intent_id, request.strategy, request.ordinal, Intent(row.trade_id, None, at_ns))
    book.last_trade_number = row.trade_number
    book.trades[row.trade_id] = Trade(
        trade_id=row.trade_id,
        number=row.trade_number,
        request=request,
        mode=row.execution_mode,
        state="PENDING_OPEN",
        reason="",
        legs=[
            Leg(symbol=leg.symbol, side=leg.side, quantity=leg.quantity, instrument=instrument)
            for leg, instrument in zip(request.legs, row.instruments, strict=True)
        ],
        created_ns=at_ns,
        state_ns=at_ns,
        updated_ns=at_ns,
        choice=row.choice,
    )
    hedged = book.trades.get(request.hedge_of)
    if hedged is not None:
        hedged.hedges.append(row.trade_id)
    book.active[row.trade_id] = None
    link_roll(book, book.trades[row.trade_id])


def fold_trade_adopted(book: Book, row: rows.TradeAdopted, at_ns: int) -> None:
    """A position that was there already: a trade of one leg, opened at its entry price by no order of ours."""
    (leg,) = row.request.legs
    book.last_trade_number = row.trade_number
    book.trades[row.trade_id] = Trade(
        trade_id=row.trade_id,
        number=row.trade_number,
        request=row.request,
        mode=row.request.execution_mode,
        state="OPEN",
        reason=f"adopted by {row.adopted_by}",
        legs=[
            Leg(
                symbol=leg.symbol,
                side=leg.side,
                quantity=leg.quantity,
                instrument=row.instrument,
                opened_quantity=leg.quantity,
                opened_cash=leg.quantity * row.entry_price,
                last_fill_ns=at_ns,
            )
        ],
        created_ns=at_ns,
        state_ns=at_ns,
        updated_ns=at_ns,
        opened_ns=at_ns,
    )
    book.trades[row.trade_id].legs[0].moved(at_ns, leg.quantity)
    book.active[row.trade_id] = None


def fold_trade(book: Book, row: rows.Row, at_ns: int) -> None:
    """A row of a trade that speaks of none of its orders."""
    match row:
        case rows.TradeMoved():
            _moved(book, book.trades[row.trade_id], row, at_ns)
        case rows.OpeningStopped():
            book.trades[row.trade_id].stop = Stop(row.reason, row.void)
        case rows.OpeningScaled():
            trade = book.trades[row.trade_id]
            trade.scaled_ns = at_ns
            trade.scaled_chunk = sum(chunk.purpose == "open" for chunk in trade.chunks)
            for leg, quantity in zip(trade.legs, row.quantities, strict=True):
                leg.quantity = quantity
        case rows.LegOverfilled():
            book.trades[row.trade_id].overfilled_ns = at_ns
            book.trades[row.trade_id].legs[row.leg_index].overfilled_quantity = row.quantity
        case rows.ReductionWanted():
            book.trades[row.trade_id].reduced_ns = at_ns
            book.trades[row.trade_id].legs[0].keep_quantity = row.keep
        case rows.AttemptsSkipped():
            trade = book.trades[row.trade_id]
            for leg_index, purpose in itertools.product(range(len(trade.legs)), get_args(rows.ClosePurpose)):
                trade.attempts[f"{leg_index}/{purpose}"] = trade.next_attempt(leg_index, purpose) + row.count
        case rows.CloseRequested():
            trade = book.trades[row.trade_id]
            trade.close = _close(trade, row, at_ns)
        case rows.CloseHurried():
            trade = book.trades[row.trade_id]
            if trade.close is not None:
                trade.close = msgspec.structs.replace(trade.close, hurried=True, joined=_joined(trade.close, row))
        case rows.CloseJoined():
            trade = book.trades[row.trade_id]
            if trade.close is not None:
                trade.close = msgspec.structs.replace(trade.close, joined=_joined(trade.close, row))
        case rows.OpeningMeasured():
            book.trades[row.trade_id].opening_cost = row.cost
        case rows.MarketNoted():
            pass
        case rows.FellBack():
            fallback = Fallback(row.purpose, row.mode, row.reason, at_ns)
            book.trades[row.trade_id].fallbacks.append(fallback)
        case rows.SpreadCrossed():
            book.trades[row.trade_id].crossings[f"{row.purpose}/{row.chunk}/{row.leg_index}"] = at_ns
        case rows.ChunkEnded():
            ended = ChunkEnd(row.purpose, row.chunk, row.complete, row.reason, at_ns)
            book.trades[row.trade_id].chunks.append(ended)
        case rows.LegClosedOutside():
            book.trades[row.trade_id].fees_usd += row.fee_usd
            if row.venue_trade_id is not None:
                booked = book.direct_fills.setdefault(row.venue_trade_id, DirectFill(ZERO, ZERO, at_ns))
                booked.quantity += row.quantity
                booked.fee_usd += row.fee_usd
            leg = book.trades[row.trade_id].legs[row.leg_index]
            leg.closed_quantity += row.quantity
            leg.outside_quantity += row.quantity
            leg.moved(at_ns, -row.quantity)
            if leg.instrument.is_perpetual:
                book.perpetuals[leg.symbol] = max(at_ns, book.perpetuals.get(leg.symbol, 0))
            leg.last_fill_ns = at_ns
            if row.price is None:
                leg.priceless_quantity += row.quantity
            else:
                leg.closed_cash += row.quantity * row.price
        case rows.CoinsLeft():
            book.trades[row.trade_id].legs[row.leg_index].left_quantity += row.quantity
        case rows.FundingBooked():
            book.trades[row.trade_id].funding_usd -= row.received_usd
            book.funding[row.payment_id] = None
            while len(book.funding) > _PAYMENTS_KEPT:
                del book.funding[next(iter(book.funding))]
        case rows.LegSettled():
            trade = book.trades[row.trade_id]
            leg = trade.legs[row.leg_index]
            leg.closed_quantity += row.quantity
            leg.outside_quantity += row.quantity
            leg.settled_quantity += row.quantity
            leg.closed_cash += leg.sign * row.cash_flow_usd
            trade.fees_usd += row.fee_usd
        case _:
            raise AssertionError(f"no fold for {type(row).__name__}")


def _moved(book: Book, trade: Trade, row: rows.TradeMoved, at_ns: int) -> None:
    assert trade_may_move(trade.state, row.state), f"{trade.trade_id}: {trade.state} to {row.state}"
    trade.state = row.state
    trade.reason = row.reason
    trade.state_ns = at_ns
    if row.state in ("OPEN", "PARTIALLY_OPEN"):
        trade.opened_ns = at_ns
    if row.state in FINAL_TRADE_STATES:
        trade.closed_ns = at_ns
        book.active.pop(trade.trade_id, None)
    else:
        trade.closed_ns = None
        book.active[trade.trade_id] = None


def _joined(close: Close, row: rows.CloseHurried | rows.CloseJoined) -> str:
    return close.joined or f"{row.requested_by}: {row.reason}"


def _close(trade: Trade, row: rows.CloseRequested, at_ns: int) -> Close:
    """A flatten that overrides a close leaves it known when the first was asked for."""
    close = Close(row.reason, row.requested_by, row.purpose, at_ns)
    if trade.close is not None:
        before, priceless = trade.close.cash_before, trade.close.priceless_before
    else:
        before = tuple(leg.closed_cash for leg in trade.legs)
        priceless = sum((leg.priceless_quantity for leg in trade.legs), ZERO)
    return msgspec.structs.replace(close, cash_before=before, priceless_before=priceless)
