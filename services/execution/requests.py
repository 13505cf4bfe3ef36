"""What others ask of execution: each request is answered once, and a repeated one with the same answer."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from services.execution import rows
from services.execution.adoption import adopt
from services.execution.auto import LegView, choose, rfq_refused
from services.execution.cash_desk import CashDesk
from services.execution.checks import UNRECORDED_REFUSALS, CheckView, first_refusal
from services.execution.countdowns import Countdowns
from services.execution.halts import is_stretched
from services.execution.inquiry_desk import InquiryDesk
from services.execution.leverage import LeverageDesk
from services.execution.modes import OPENING_PLANS
from services.execution.order_changes import change_orders
from services.execution.quality import MEASURED_MAX, qualities_of
from services.execution.quote_requests import QuoteRequests
from services.execution.quoting import cancel_soon, drop_retry
from services.execution.records import Trade
from services.execution.reducing import reduce_trade
from services.execution.rfq import withdraw
from services.execution.states import HOLDING_STATES, OPENING_STATES
from services.execution.views import intent_refused, order_update, trade_update
from shared.ids import next_trade_number, trade_id
from shared.messages.base import Message
from shared.messages.cash import GetCash
from shared.messages.control import FlattenLatch, HaltsAnswered, LiftHalts, RaiseHalt
from shared.messages.countdowns import ListCountdowns
from shared.messages.inquiries import ListInquiries, QuoteStructure
from shared.messages.leverage import ChangeLeverage, GetLeverage
from shared.messages.quality import ListQuality, QualityList
from shared.messages.quote_requests import ListQuoteRequests
from shared.messages.quoting import ChangeOrders, OrdersChanged
from shared.messages.reconciliation import AdoptPosition, DifferenceList, ListDifferences
from shared.messages.reducing import ReduceTrade
from shared.messages.steps import Reply, Request
from shared.messages.trades import (
    CancelAccepted,
    CancelOrders,
    CloseAccepted,
    CloseTrade,
    ListOrders,
    ListTrades,
    OpenTrade,
    OrderList,
    Refusal,
    TellTrade,
    TradeAccepted,
    TradeList,
    TradeStory,
    TradeUpdate,
    unknown_request,
)
from shared.strategy.wording import DAY_NS

_LIST_MAX = 5_000
_TEXT_MAX = 500
"""Characters of a text that is journalled and published with every change that follows."""

ItemT = TypeVar("ItemT")


class Requests:
    """Answers requests. What changes something is journalled with its answer."""

    def __init__(
        self,
        view: CheckView,
        inquiries: InquiryDesk,
        quotes: QuoteRequests,
        countdowns: Countdowns,
        cash: CashDesk,
        leverage: LeverageDesk,
    ) -> None:
        self._view = view
        self._inquiries = inquiries
        self._quotes = quotes
        self._countdowns = countdowns
        self._cash = cash
        self._leverage = leverage
        self._work = view.work

    def take(self, request: Request) -> None:
        """Answer one request."""
        known = self._work.book.answers.get(request.request_id)
        if known is not None:
            self._work.send(Reply(request.request_id, known))
            return
        match request.message:
            case ListTrades() | ListOrders() | TellTrade() | ListDifferences() | ListQuality() as question:
                self._work.send(Reply(request.request_id, self._read(question)))
            case QuoteStructure() as inquiry:
                self._inquiries.ask(request.request_id, inquiry)
            case ListInquiries() as question:
                self._work.send(Reply(request.request_id, self._inquiries.history(question)))
            case ListQuoteRequests() as question:
                self._work.send(Reply(request.request_id, self._quotes.history(question)))
            case ListCountdowns():
                self._work.send(Reply(request.request_id, self._countdowns.told()))
            case GetCash():
                self._work.send(Reply(request.request_id, self._cash.status()))
            case GetLeverage() as question:
                self._leverage.ask(request.request_id, question)
            case ChangeLeverage() as change:
                self._leverage.change(request.request_id, change)
            case OpenTrade() as intent:
                self._work.send(Reply(request.request_id, self._open(intent)))
            case (
                CloseTrade()
                | ReduceTrade()
                | CancelOrders()
                | ChangeOrders()
                | RaiseHalt()
                | LiftHalts()
                | AdoptPosition() as order
            ):
                answer = self._change(order)
                if not isinstance(answer, OrdersChanged) or answer.taken:
                    self._work.record(rows.RequestAnswered(request.request_id, answer))
                self._work.send(Reply(request.request_id, answer))
            case other:
                self._work.send(Reply(request.request_id, unknown_request("execution", other)))

    def latched(self, latch: FlattenLatch) -> None:
        """Take over a halt that `flatten --direct` left behind, once."""
        if latch.latch_id in self._work.book.answers:
            return
        answer = self._halt(RaiseHalt(level="flatten", reason=latch.reason, requested_by=latch.raised_by))
        self._work.record(rows.RequestAnswered(latch.latch_id, answer))

    def _open(self, intent: OpenTrade) -> TradeAccepted | Refusal:
        """The intent's outcome; the first one counts for ever, whatever the message says the next time."""
        work = self._work
        book = work.book
        outcome = book.intents.get(intent.intent_id)
        if outcome is not None and outcome.trade_id is not None:
            return TradeAccepted(intent_id=intent.intent_id, trade_id=outcome.trade_id)
        if outcome is not None and outcome.refusal is not None:
            return outcome.refusal
        highest = book.highest_ordinal.get(intent.strategy, -1)
        if intent.ordinal <= highest:
            detail = f"ordinal {intent.ordinal} of {_short(intent.strategy)}"
            return Refusal(
                code="intent_known",
                detail=f"{detail} was used before" if intent.ordinal >= 0 else f"{detail} is below 0",
                remedy=f"go on with an ordinal above {highest}",
            )
        refusal = first_refusal(intent, self._view)
        if refusal is not None:
            if refusal.code not in UNRECORDED_REFUSALS:
                work.forget_ended()
                work.record(
                    rows.IntentRefused(
                        intent_id=intent.intent_id, strategy=intent.strategy, ordinal=intent.ordinal, refusal=refusal
                    )
                )
                told = intent_refused(intent.intent_id, refusal, work.now_ns, work.account_id)
                work.publish("exec.{account}.intent", told)
            return refusal
        number = next_trade_number(book.last_trade_number, work.now_ns)
        views = self._leg_views(intent)
        choice = choose(intent, views, rfq_refused(book, work.now_ns), work.config)
        assert choice.mode in OPENING_PLANS, "every mode has a plan"
        work.forget_ended()
        work.record(
            rows.TradeRequested(
                trade_id=trade_id(number),
                trade_number=number,
                request=msgspec.structs.replace(intent, if_broken=intent.if_broken or work.config.if_broken),
                execution_mode=choice.mode,
                instruments=tuple(view.instrument for view in views),
                choice=choice,
            )
        )
        return TradeAccepted(intent_id=intent.intent_id, trade_id=trade_id(number))

    def _leg_views(self, intent: OpenTrade) -> list[LegView]:
        market, now_ns = self._work.market, self._work.now_ns
        views = []
        for leg in intent.legs:
            instrument = market.instrument(leg.symbol)
            assert instrument is not None, "the checks let no leg without an instrument through"
            quote = market.quote(instrument, now_ns)
            views.append(LegView(leg, instrument, quote, market.index_price(instrument.underlying, now_ns)))
        return views

    def _change(
        self, order: CloseTrade | ReduceTrade | CancelOrders | ChangeOrders | RaiseHalt | LiftHalts | AdoptPosition
    ) -> rows.Answer:
        match order:
            case CloseTrade():
                return self._close(order)
            case ReduceTrade():
                return reduce_trade(order, self._work)
            case CancelOrders():
                return self._cancel(order)
            case ChangeOrders():
                return change_orders(order, self._view)
            case RaiseHalt():
                return self._halt(order)
            case AdoptPosition():
                return adopt(order, self._view)
            case LiftHalts():
                self._view.guards.lift_halts(_short(order.requested_by))
                return HaltsAnswered(state=self._view.guards.halt_state())

    def _close(self, order: CloseTrade) -> CloseAccepted | Refusal:
        trade = self._work.book.trades.get(order.trade_id)
        if trade is None:
            return _no_trade(order.trade_id)
        if not trade.is_final and trade.state != "SETTLING" and trade.close is None:
            self._work.record(
                rows.CloseRequested(
                    trade_id=trade.trade_id,
                    reason=_short(order.reason),
                    requested_by=_short(order.requested_by),
                    purpose="close",
                )
            )
            if trade.state in HOLDING_STATES or trade.state in OPENING_STATES:
                self._work.move(trade, "PENDING_CLOSE", _short(order.reason))
        else:
            self._close_again(order, trade)
        return CloseAccepted(trade_id=trade.trade_id, state=trade.state)

    def _close_again(self, order: CloseTrade, trade: Trade) -> None:
        """A close that is under way, or over, is wanted again. A host repeats what it does not see done; a person, or
        risk, who asks again means it; and what somebody else wants closed is not to be rolled."""
        close, by, reason = trade.close, _short(order.requested_by), _short(order.reason)
        by_host = by.startswith("strategy ")
        if is_stretched(trade) and not by_host:
            self._work.record(rows.CloseHurried(trade_id=trade.trade_id, reason=reason, requested_by=by))
        elif close is not None and not close.joined and (by, reason) != (close.requested_by, close.reason):
            if trade.state == "CLOSED" and (by_host or trade.rolled_to):
                return
            self._work.record(rows.CloseJoined(trade_id=trade.trade_id, reason=reason, requested_by=by))

    def _cancel(self, order: CancelOrders) -> CancelAccepted | Refusal:
        """Cancel working orders. An opening ends with that; a close goes on with a new order. Quoting ends when a
        trade's orders are cancelled as such, and goes on when it is one order, or those of a symbol."""
        work = self._work
        book = work.book
        if order.trade_id is not None and order.trade_id not in book.trades:
            return _no_trade(order.trade_id)
        if order.client_order_id is not None and order.client_order_id not in book.orders:
            return Refusal(
                code="no_such_order",
                detail=f"order {order.client_order_id} is not known",
                remedy="see the open ones: voldesk orders",
            )
        chosen = [
            book.orders[number]
            for number in tuple(book.unsettled)
            if order.client_order_id in (None, number)
            and order.trade_id in (None, book.orders[number].trade_id)
            and order.symbol in (None, book.orders[number].symbol)
            and order.strategy in (None, book.trades[book.orders[number].trade_id].request.strategy)
            and not book.orders[number].is_final
            and not (order.keeps_stops and book.orders[number].is_protective)
        ]
        waiting = [book.orders[number] for trade in book.active_trades() for number in tuple(trade.turned_away)]
        dropped = tuple(
            each.client_order_id
            for each in waiting
            if order.client_order_id in (None, each.client_order_id)
            and order.trade_id in (None, each.trade_id)
            and order.symbol in (None, each.symbol)
            and order.strategy in (None, book.trades[each.trade_id].request.strategy)
            and drop_retry(each, work, f"cancelled by {_short(order.requested_by)}")
        )
        told: list[int] = []
        for each in chosen:
            trade = book.trades[each.trade_id]
            reason = f"cancelled by {_short(order.requested_by)}"
            one_quote = trade.by_strategy and (order.client_order_id or order.symbol) is not None
            if each.purpose == "open" and trade.stop is None and trade.state in OPENING_STATES and not one_quote:
                work.record(rows.OpeningStopped(trade_id=trade.trade_id, reason=reason, void=False))
            if trade.by_strategy and trade.close is None and trade.state in (*OPENING_STATES, *HOLDING_STATES):
                # quoting may go on, and nothing else would come back to an order that is on its way
                cancel_soon(each, work, reason)
            else:
                work.cancel(each, reason)
            if each.cancel_asked or not trade.by_strategy:
                told.append(each.client_order_id)
        for trade in tuple(book.active_trades()):
            if (
                (order.client_order_id or order.symbol) is None
                and order.trade_id in (None, trade.trade_id)
                and order.strategy in (None, trade.request.strategy)
            ):
                reason = f"cancelled by {_short(order.requested_by)}"
                if trade.by_strategy and trade.stop is None and trade.state in OPENING_STATES:
                    work.record(rows.OpeningStopped(trade_id=trade.trade_id, reason=reason, void=False))
                withdraw(trade, work, reason)
        return CancelAccepted(client_order_ids=(*told, *dropped))

    def _halt(self, order: RaiseHalt) -> HaltsAnswered:
        self._view.guards.raise_halt(order.level, _short(order.reason), _short(order.requested_by))
        if order.level != "no_new_trades":
            # an order of ours that no row speaks of is found and withdrawn now, not within a minute
            self._view.schedule.want("halt", self._work.now_ns)
        return HaltsAnswered(state=self._view.guards.halt_state())

    def _read(self, question: ListTrades | ListOrders | TellTrade | ListDifferences | ListQuality) -> Message:
        book = self._work.book
        match question:
            case ListTrades():
                trades = [trade for trade in book.trades.values() if question.include_final or not trade.is_final]
                return TradeList(trades=tuple(map(self._trade, _newest(trades, question.limit))))
            case ListOrders():
                orders = [
                    order
                    for order in book.orders.values()
                    if question.trade_id in (None, order.trade_id) and (question.include_final or not order.is_final)
                ]
                return OrderList(
                    orders=tuple(
                        order_update(order, self._work.account_id) for order in _newest(orders, question.limit)
                    )
                )
            case ListDifferences():
                return self._differences(question)
            case ListQuality():
                return self._quality(question)
            case TellTrade():
                trade = book.trades.get(question.trade_id)
                if trade is None:
                    return _no_trade(question.trade_id)
                return TradeStory(
                    trade=self._trade(trade),
                    orders=tuple(order_update(order, self._work.account_id) for order in book.orders_of(trade)),
                    lines=tuple(trade.story),
                    quality=tuple(qualities_of(trade, with_legs=True)),
                )

    def _quality(self, question: ListQuality) -> QualityList:
        book = self._work.book
        kept_since_ns = self._work.now_ns - self._work.config.quality_days * DAY_NS
        since_ns = max(question.since_ns, kept_since_ns)
        phases = sorted(
            (each for each in book.qualities() if each.began_ns >= since_ns), key=lambda each: each.began_ns
        )
        newest = phases[-min(max(question.limit, 0), MEASURED_MAX) :] if question.limit > 0 else []
        return QualityList(phases=tuple(newest), kept_since_ns=kept_since_ns)

    def _differences(self, question: ListDifferences) -> DifferenceList:
        schedule = self._view.schedule
        if question.compare:
            schedule.want("operator", self._work.now_ns)
        return DifferenceList(
            differences=tuple(reversed(self._work.book.differences.values())),
            at_ns=self._work.now_ns,
            compared_ns=schedule.looked_ns,
            unconfirmed=tuple(sorted(self._view.positions.unconfirmed)),
        )

    def _trade(self, trade: Trade) -> TradeUpdate:
        return trade_update(trade, self._work.book, self._work.account_id, self._work.waiting.get(trade.trade_id, ""))


def _newest(items: list[ItemT], limit: int) -> list[ItemT]:
    """The last `limit` items, newest first."""
    return items[: -min(max(limit, 0), _LIST_MAX) - 1 : -1]


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}…"


def _no_trade(name: str) -> Refusal:
    return Refusal(
        code="no_such_trade", detail=f"trade {_short(name)} is not known", remedy="see them: voldesk trades"
    )
