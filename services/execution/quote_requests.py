"""Requests for quote as a person follows them: what makers quoted so far, against the book and the marks of this
moment, and what came of those that are over. It decides nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from services.execution.inquiries import Inquiry
from services.execution.inquiry_answer import markets_of, sides_of
from services.execution.inquiry_desk import InquiryDesk
from services.execution.records import Trade
from services.execution.rfq import judged_quotes
from services.execution.rfqs import Rfq
from services.execution.workspace import SECOND, Workspace
from shared.messages.base import Side
from shared.messages.inquiries import SideQuotes, StructureQuotes
from shared.messages.quote_requests import (
    AT_WORK,
    DirectionCost,
    ListQuoteRequests,
    QuoteBoard,
    QuoteRequest,
    QuoteRequestList,
    RequestQuote,
)
from shared.messages.rfq import JudgedQuote, VenueQuote
from shared.messages.trades import LegOrder

_LIST_MAX = 200
_AGAIN_NS = SECOND
"""The book moves while quotes are collected: so often the board is published though no quote came."""

_Key = tuple[tuple[object, ...], ...]


class QuoteRequests:
    """Answers `ListQuoteRequests`, and publishes the board while something is on it."""

    def __init__(self, work: Workspace, inquiries: InquiryDesk) -> None:
        self._work = work
        self._inquiries = inquiries
        self._told: _Key = ()
        self._told_ns = 0

    def history(self, asked: ListQuoteRequests) -> QuoteRequestList:
        """The newest, of one trade where one is named."""
        book = self._work.book
        trade_rfqs: Iterable[str] = book.rfqs.by_trade.get(asked.trade_id, ()) if asked.trade_id else book.rfqs.rfqs
        rfqs = [book.rfqs.rfqs[rfq_id] for rfq_id in trade_rfqs]
        inquiries = [] if asked.trade_id else list(book.inquiries.inquiries.values())
        limit = min(max(asked.limit, 0), _LIST_MAX)
        # both are in the order in which they were made: older ones than these are not among the newest of all
        newest = [self._of_rfq(each) for each in rfqs[len(rfqs) - min(limit, len(rfqs)) :]]
        newest += [self._of_inquiry(each) for each in inquiries[len(inquiries) - min(limit, len(inquiries)) :]]
        newest.sort(key=lambda each: each.asked_ns, reverse=True)
        return QuoteRequestList(at_ns=self._work.now_ns, requests=tuple(newest[:limit]))

    def tell(self) -> None:
        """Publish what is at work when it is not as it was told, or a while ago."""
        book, now_ns = self._work.book, self._work.now_ns
        if not (book.rfqs.live or book.inquiries.live or self._told):
            return
        rfqs = [each for each in book.rfqs.live_rfqs() if each.state in AT_WORK]
        inquiries = [each for each in book.inquiries.live_inquiries() if each.answer is None]
        key: _Key = (
            *((each.rfq_id, each.state, *_marks(self._work.quotes.of(each.request_id))) for each in rfqs),
            *((each.inquiry_id, each.state, *_marks(self._inquiries.quotes(each))) for each in inquiries),
        )
        if key == self._told and (not key or now_ns - self._told_ns < _AGAIN_NS):
            return
        self._told, self._told_ns = key, now_ns
        requests = (*map(self._of_rfq, rfqs), *map(self._of_inquiry, inquiries))
        board = QuoteBoard(account_id=self._work.account_id, at_ns=now_ns, requests=requests)
        self._work.publish("rfq.{account}.quotes", board)

    def _of_rfq(self, rfq: Rfq) -> QuoteRequest:
        trade = self._work.book.trades[rfq.trade_id]
        sides = {leg.symbol: leg.side for leg in trade.legs}
        legs = tuple(
            LegOrder(symbol=each.symbol, side=sides[each.symbol], quantity=each.quantity) for each in rfq.legs
        )
        wanted: Side = "buy" if rfq.purpose == "open" else "sell"
        is_collecting = rfq.state == "COLLECTING"
        if is_collecting:
            costs, quotes = self._live(trade, rfq, legs, wanted)
        else:
            costs, quotes = _as_judged(rfq, wanted)
        params = trade.request.rfq
        return QuoteRequest(
            rfq_id=rfq.rfq_id,
            request_id=rfq.request_id,
            trade_id=rfq.trade_id,
            asked_by=trade.request.strategy,
            purpose=rfq.purpose,
            state=rfq.state,
            reason=rfq.reason,
            legs=legs,
            wanted=wanted,
            asked_ns=rfq.created_ns,
            judged_ns=rfq.state_ns + math.ceil(params.window_s * SECOND) if is_collecting else None,
            ends_ns=rfq.state_ns + math.ceil(params.timeout_s * SECOND) if is_collecting else None,
            is_collecting=is_collecting,
            costs=costs,
            quotes=quotes,
            chosen=rfq.quote_id,
        )

    def _live(
        self, trade: Trade, rfq: Rfq, legs: tuple[LegOrder, ...], wanted: Side
    ) -> tuple[tuple[DirectionCost, ...], tuple[RequestQuote, ...]]:
        work = self._work
        given = work.quotes.of(rfq.request_id)
        sides, others = sides_of(legs, given, markets_of(legs, work.market, work.now_ns))
        ended = {quote.quote_id for quote in given if quote.state != "open"}
        verdicts = {each.quote_id: each.verdict for each in judged_quotes(trade, work, rfq)}
        quotes = []
        for each in _quotes_of(sides):
            is_ours = each.direction == wanted
            verdict = verdicts.get(each.quote_id) if is_ours else "not_open" if each.quote_id in ended else None
            quotes.append(msgspec.structs.replace(each, verdict=verdict))
        quotes += [
            RequestQuote(quote_id=each.quote_id, direction=None, verdict=verdicts.get(each.quote_id))
            for each in others
        ]
        return _costs_of(sides), tuple(quotes)

    def _of_inquiry(self, inquiry: Inquiry) -> QuoteRequest:
        is_collecting = inquiry.state == "COLLECTING" and inquiry.answer is None
        answer = self._inquiries.answer_so_far(inquiry) if is_collecting else inquiry.answer
        sides = answer.sides if isinstance(answer, StructureQuotes) else ()
        ends_ns = inquiry.collected_until_ns if is_collecting else None
        reason = "" if answer is None else answer.reason if isinstance(answer, StructureQuotes) else answer.detail
        return QuoteRequest(
            rfq_id=inquiry.inquiry_id,
            request_id=inquiry.request_id,
            trade_id="",
            asked_by=inquiry.requested_by,
            purpose="inquiry",
            state=inquiry.state,
            reason="" if is_collecting else reason,
            legs=inquiry.legs,
            wanted=None,
            asked_ns=inquiry.asked_ns,
            judged_ns=ends_ns,
            ends_ns=ends_ns,
            is_collecting=is_collecting,
            costs=_costs_of(sides),
            quotes=tuple(_quotes_of(sides)),
        )


def _marks(quotes: Iterable[VenueQuote]) -> tuple[tuple[str, str], ...]:
    return tuple((quote.quote_id, quote.state) for quote in quotes)


def _costs_of(sides: Iterable[SideQuotes]) -> tuple[DirectionCost, ...]:
    return tuple(
        DirectionCost(
            direction=side.action,
            book_cost_usd=side.book_cost_usd,
            mark_cost_usd=side.mark_cost_usd,
            shallow=side.shallow,
        )
        for side in sides
    )


def _quotes_of(sides: Iterable[SideQuotes]) -> list[RequestQuote]:
    return [
        RequestQuote(
            quote_id=quote.quote_id,
            direction=side.action,
            cost_usd=quote.cost_usd,
            improvement_usd=quote.improvement_usd,
            improvement_pct=quote.improvement_pct,
            over_mark_pct=quote.over_mark_pct,
            prices=quote.prices,
            expiry_ns=quote.expiry_ns,
        )
        for side in sides
        for quote in side.quotes
    ]


def _as_judged(rfq: Rfq, wanted: Side) -> tuple[tuple[DirectionCost, ...], tuple[RequestQuote, ...]]:
    """As it was written down when it was decided."""
    if not rfq.judged:
        return (), ()
    cost = DirectionCost(direction=wanted, book_cost_usd=rfq.book_cost_usd, mark_cost_usd=rfq.mark_cost_usd)
    return (cost,), tuple(_judged_quote(each, wanted) for each in rfq.judged)


def _judged_quote(judged: JudgedQuote, wanted: Side) -> RequestQuote:
    is_ours = judged.cost_usd is not None
    return RequestQuote(
        quote_id=judged.quote_id,
        direction=wanted if is_ours else None,
        cost_usd=judged.cost_usd,
        improvement_usd=judged.improvement_usd,
        improvement_pct=judged.improvement_pct,
        over_mark_pct=judged.over_mark_pct,
        verdict=judged.verdict,
    )
