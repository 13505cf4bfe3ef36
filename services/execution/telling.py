"""What execution decided, as lines of the log, each with its trade, intent and strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services.execution import rows
from services.execution.book import Book
from services.execution.cash_rows import CashSaleMoved, CashSaleRequested
from services.execution.inquiry_rows import InquiryAsked, InquiryEnded
from services.execution.rfq_rows import AcceptRequested, QuotesJudged, RfqMoved, RfqRequested, RfqSighted
from shared.ids import trade_id, trade_number_of_order
from shared.log_lines import Level, Told
from shared.messages.trades import OpenTrade, OrderState, Refusal, TradeState

_ORDER_EVENTS: dict[OrderState, str] = {
    "SENDING": "order sent",
    "WORKING": "order acked",
    "CANCELLING": "order cancel sent",
    "UNKNOWN": "order unknown",
    "FILLED": "order filled",
    "CANCELLED": "order cancelled",
    "REFUSED": "order refused",
    "NEVER_PLACED": "order never placed",
    "EXPIRED": "order expired",
}
_TRADE_LEVELS: dict[TradeState, Level] = {"BROKEN": "error", "FAILED": "warning", "UNWINDING": "warning"}
_SHOWN: dict[type, tuple[str, tuple[str, ...]]] = {
    rows.OpeningStopped: ("opening stopped", ("reason", "void")),
    rows.OpeningScaled: ("opening scaled", ("quantities", "reason")),
    rows.LegOverfilled: ("leg overfilled", ("leg_index", "quantity", "done")),
    rows.ReductionWanted: ("reduction wanted", ("keep", "reason", "requested_by")),
    rows.CloseHurried: ("close hurried", ("reason", "requested_by")),
    rows.CloseJoined: ("close asked for again", ("reason", "requested_by")),
    rows.CloseRequested: ("close requested", ("purpose", "reason", "requested_by")),
    rows.FellBack: ("fell back", ("purpose", "mode", "reason", "code")),
    rows.SpreadCrossed: ("spread crossed", ("purpose", "chunk", "leg_index", "reason")),
    rows.ChunkEnded: ("chunk ended", ("purpose", "chunk", "planned", "complete", "reason")),
    rows.AmendRequested: ("order amend sent", ("price", "why")),
    rows.OrderRepriced: ("order amended", ("price", "reason")),
    rows.AmendFailed: ("order not amended", ("reason",)),
    rows.StopTriggered: ("stop order triggered", ()),
    rows.RetryDropped: ("order not tried again", ("reason",)),
    rows.CancelAwaited: ("order cancel awaited", ("reason",)),
    rows.FillAssumed: ("fill assumed", ("filled_quantity", "average_price")),
    rows.LegClosedOutside: (
        "leg closed outside",
        ("leg_index", "quantity", "price", "reason", "fee_usd", "venue_trade_id"),
    ),
    rows.CoinsLeft: ("coins left", ("leg_index", "quantity", "reason")),
    rows.LegSettled: ("leg settled", ("leg_index", "quantity", "settlement_price", "cash_flow_usd", "fee_usd")),
    rows.FundingBooked: ("funding booked", ("leg_index", "quantity", "rate", "received_usd", "payment_id")),
    rows.AttemptsSkipped: ("order ids left out", ("count", "reason")),
    RfqRequested: ("quotes requested", ("rfq_id", "purpose", "attempt", "notional_usd")),
    RfqMoved: ("request for quote moved", ("rfq_id", "state", "reason", "request_id", "refusal_kind")),
    AcceptRequested: ("quote accept sent", ("rfq_id", "quote_id")),
    RfqSighted: ("accepted quote sighted", ("rfq_id", "what", "reason")),
    InquiryAsked: ("quotes inquired", ("inquiry_id", "requested_by")),
    InquiryEnded: ("inquiry ended", ("inquiry_id", "reason")),
    CashSaleRequested: ("cash sale sent", ("client_order_id", "symbol", "quantity", "price", "reserved_usd", "why")),
    CashSaleMoved: (
        "cash sale moved",
        ("client_order_id", "state", "reason", "venue_order_id", "filled_quantity", "average_price", "fee_usd"),
    ),
    rows.LeverageAsked: ("leverage asked", ("symbol", "leverage", "requested_by")),
    rows.TradeNumbersSkipped: ("trade numbers left out", ("last_trade_number", "reason")),
    rows.HaltEpochCarried: ("halt epoch carried ahead", ("halt_epoch", "reason")),
    rows.HaltRaised: ("halt raised", ("level", "reason", "raised_by")),
    rows.HaltsLifted: ("halts lifted", ("lifted_by",)),
}
_WARNED = frozenset[type](
    {
        rows.OpeningStopped,
        rows.LegOverfilled,
        rows.FillAssumed,
        rows.LegClosedOutside,
        rows.AmendFailed,
        rows.HaltRaised,
    }
)
_QUIET = frozenset[type]({rows.OrderRequested, rows.OrderMoved, rows.AmendRequested, rows.OrderRepriced})
_WARNED_ORDERS = frozenset({"UNKNOWN", "REFUSED", "NEVER_PLACED"})
_RENAMED = {"level": "halt_level", "mode": "execution_mode"}
"""Names that every line has for something else."""


class ExecutionNarrator:
    """Orders of a trade that quotes are of level debug, what trades or goes wrong in it is not: it may move thousands
    of them a minute."""

    hears: frozenset[type] = frozenset()

    def __init__(self, book: Callable[[], Book]) -> None:
        self._book = book

    def is_quiet(self, row: Any) -> bool:
        """Whether it speaks of an order of a trade that quotes, and of nothing that a person is to see."""
        if type(row) not in _QUIET or (type(row) is rows.OrderMoved and row.state in _WARNED_ORDERS):
            return False
        book = self._book()
        order = book.orders.get(row.client_order_id)
        trade = None if order is None else book.trades.get(order.trade_id)
        return trade is not None and trade.mode == "quoting"

    def told(self, what: Any) -> Iterable[Told]:
        match what:
            case rows.OrderRequested() | rows.OrderMoved() | rows.FillSeen():
                yield self._order(what)
            case rows.TradeMoved():
                fields = {**self._of_trade(what.trade_id), "state": what.state, "reason": what.reason}
                yield Told("execution", "trade moved", fields, _TRADE_LEVELS.get(what.state, "info"))
            case rows.TradeRequested():
                yield Told("execution", "trade accepted", _accepted(what))
            case rows.TradeAdopted():
                fields = {**_accepted(what), "adopted_by": what.adopted_by, "entry_price": what.entry_price}
                yield Told("execution", "position adopted", fields)
            case rows.IntentRefused(refusal=refusal):
                names = {"intent_id": what.intent_id, "strategy": what.strategy}
                yield Told("execution", "intent refused", {**names, **_refused(refusal)}, "warning")
            case rows.RequestAnswered(answer=Refusal() as refusal):
                fields = {"request_id": what.request_id, **_refused(refusal)}
                yield Told("execution", "request refused", fields, "warning")
            case rows.OpeningMeasured(cost=cost):
                fields = {**self._of_trade(what.trade_id), "execution_mode": cost.mode}
                fields |= {"actual_usd": cost.actual_usd, "over_usd": cost.over_usd}
                yield Told("execution", "opening measured", fields)
            case QuotesJudged():
                fields = {**self._of_rfq(what.rfq_id), "quotes": len(what.quotes), "chosen": what.chosen}
                fields |= {"book_cost_usd": what.book_cost_usd, "mark_cost_usd": what.mark_cost_usd}
                yield Told("execution", "quotes judged", fields)
            case rows.DifferenceFound(difference=difference):
                found = {"trade_id": difference.trade, "kind": difference.kind, "detail": difference.detail}
                yield Told("execution", "difference found", {**found, "trigger": what.trigger}, "warning")
            case rows.DirectFlattenFound(run_id=run_id, raised_by=raised_by, reason=reason, orders=orders):
                sent = {"run_id": run_id, "raised_by": raised_by, "reason": reason, "orders": len(orders)}
                yield Told("execution", "direct flatten found", sent, "warning")
            case _ if type(what) in _SHOWN:
                yield self._shown(what)

    def _shown(self, row: Any) -> Told:
        event, names = _SHOWN[type(row)]
        level: Level = "warning" if type(row) in _WARNED else "info"
        if (number := getattr(row, "client_order_id", None)) is not None:
            known: dict[str, object] = self._of_order(number)
            if level == "info" and self._is_quoting(known):
                level = "debug"
        elif (rfq_id := getattr(row, "rfq_id", None)) is not None:
            known = self._of_rfq(rfq_id)
        else:
            known = self._of_trade(getattr(row, "trade_id", ""))
        shown = {_RENAMED.get(name, name): getattr(row, name) for name in names}
        return Told("execution", event, {**known, **shown}, level)

    def _order(self, row: rows.OrderRequested | rows.OrderMoved | rows.FillSeen) -> Told:
        fields = self._of_order(row.client_order_id)
        quiet: Level = "debug" if self._is_quoting(fields) else "info"
        match row:
            case rows.OrderRequested():
                fields |= {"symbol": row.symbol, "side": row.side, "quantity": row.quantity, "price": row.price}
                fields |= {"purpose": row.purpose, "leg_index": row.leg_index, "attempt": row.attempt, "why": row.why}
                fields |= {"reduce_only": row.reduce_only or None, "quote_id": row.quote_id, "label": row.label}
                event = "order found" if row.adopted else "quote leg" if row.quote_id else "order sent"
                return Told("execution", event, fields, quiet)
            case rows.FillSeen(fill=fill):
                fields |= {"symbol": fill.symbol, "side": fill.side, "quantity": fill.quantity, "price": fill.price}
                fields |= {"fee_usd": fill.fee_usd, "venue_trade_id": fill.venue_trade_id}
                fields |= {"venue_order_id": fill.venue_order_id, "is_taker": fill.is_taker}
                return Told("execution", "fill", fields)
            case rows.OrderMoved():
                fields |= {"reason": row.reason, "venue_order_id": row.venue_order_id or fields.get("venue_order_id")}
                fields |= {"refusal_kind": row.refusal_kind, "refusal_code": row.refusal_code}
                level = "warning" if row.state in _WARNED_ORDERS else quiet
                return Told("execution", _ORDER_EVENTS[row.state], fields, level)

    def _of_order(self, client_order_id: int) -> dict[str, object]:
        number = trade_number_of_order(client_order_id)
        fields: dict[str, object] = {} if number is None else self._of_trade(trade_id(number))
        fields["client_order_id"] = client_order_id
        order = self._book().orders.get(client_order_id)
        fields["venue_order_id"] = None if order is None else order.venue_order_id
        return fields

    def _of_rfq(self, rfq_id: str) -> dict[str, object]:
        rfq = self._book().rfqs.rfqs.get(rfq_id)
        return {"rfq_id": rfq_id, **({} if rfq is None else self._of_trade(rfq.trade_id))}

    def _of_trade(self, name: str) -> dict[str, object]:
        trade = self._book().trades.get(name)
        if trade is None:
            return {"trade_id": name}
        return {"trade_id": name, "strategy": trade.request.strategy, "intent_id": trade.request.intent_id}

    def _is_quoting(self, fields: Mapping[str, object]) -> bool:
        trade = self._book().trades.get(str(fields.get("trade_id")))
        return trade is not None and trade.mode == "quoting"


def _accepted(row: rows.TradeRequested | rows.TradeAdopted) -> dict[str, object]:
    request: OpenTrade = row.request
    fields: dict[str, object] = {
        "trade_id": row.trade_id,
        "strategy": request.strategy,
        "intent_id": request.intent_id,
        "legs": ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in request.legs),
        "policy": request.policy,
        "grant_id": request.grant.grant_id,
    }
    if isinstance(row, rows.TradeRequested):
        fields |= {"execution_mode": row.execution_mode, "why": row.choice.reason if row.choice is not None else None}
    return fields


def _refused(refusal: Refusal) -> dict[str, object]:
    return {"code": refusal.code, "detail": refusal.detail, "remedy": refusal.remedy}
