"""Trades, orders, fills, intents and halts: the fold of the journal. It makes no decisions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast, get_args

import msgspec

from services.execution import rows
from services.execution.cash_book import CashBook
from services.execution.cash_rows import CashRow, CashSaleMoved, CashSaleRequested
from services.execution.config import ExecutionConfig
from services.execution.differences import fold_difference
from services.execution.direct_fold import NotedOrder, fold_direct
from services.execution.inquiries import InquiryBook
from services.execution.inquiry_rows import InquiryAnswered, InquiryAsked, InquiryEnded, InquiryTaken
from services.execution.order_fold import (
    fold_amendment,
    fold_order,
    fold_order_requested,
    fold_stop_triggered,
    fold_unwanted,
)
from services.execution.purging import forget_ended
from services.execution.quality import MEASURED, fold_quality, qualities_of
from services.execution.records import ZERO, DirectFill, Fill, Intent, Order, Trade
from services.execution.rfq_rows import AcceptRequested, QuotesJudged, RfqMoved, RfqRequested, RfqSighted
from services.execution.rfqs import RfqBook
from services.execution.rolling import carry_pnl
from services.execution.rows import Answer
from services.execution.story import line_of
from services.execution.trade_fold import fold_intent, fold_trade, fold_trade_adopted, fold_trade_requested
from shared.messages.control import Halt
from shared.messages.quality import PhaseQuality
from shared.messages.reconciliation import FoundDifference
from shared.messages.steps import Entry

_OF_AN_ORDER = frozenset[type](
    {
        *(rows.OrderMoved, rows.OrderSighted, rows.FillSeen, rows.FillAssumed),
        *(rows.AmendRequested, rows.OrderRepriced, rows.AmendFailed, rows.RetryDropped, rows.StopTriggered),
        *(rows.CancelAwaited,),
    }
)
_OF_A_REQUEST = frozenset[type]({RfqMoved, QuotesJudged, AcceptRequested, RfqSighted})
_OF_A_TRADE = frozenset[type](kind for kind in get_args(rows.Row) if "trade_id" in kind.__struct_fields__)
"""Rows by what they name. Asked for every row, several times: a set answers at once."""


class Book(msgspec.Struct):
    """All of execution's durable state. Two books that folded the same rows are equal.

    funding: payments that are booked. perpetuals: when what a trade holds of each changed last. forgot_ns: when ended
    trades were last let go of. leverage_asked: changes of leverage without an outcome, by request.
    unfilled_kept_ns: a reader remembers orders that ended unfilled for at least this long; the service for as long as
    its rows say.
    """

    answers_kept: int
    story_lines_max: int
    trades: dict[str, Trade] = msgspec.field(default_factory=dict)
    active: dict[str, None] = msgspec.field(default_factory=dict)
    orders: dict[int, Order] = msgspec.field(default_factory=dict)
    order_of_venue_id: dict[int, int] = msgspec.field(default_factory=dict)
    unsettled: dict[int, None] = msgspec.field(default_factory=dict)
    rfqs: RfqBook = msgspec.field(default_factory=RfqBook)
    fills: dict[int, Fill] = msgspec.field(default_factory=dict)
    feeless: dict[int, None] = msgspec.field(default_factory=dict)
    funding: dict[int, None] = msgspec.field(default_factory=dict)
    perpetuals: dict[str, int] = msgspec.field(default_factory=dict)
    direct_fills: dict[int, DirectFill] = msgspec.field(default_factory=dict)
    direct_orders: dict[int, NotedOrder] = msgspec.field(default_factory=dict)
    intents: dict[str, Intent] = msgspec.field(default_factory=dict)
    highest_ordinal: dict[str, int] = msgspec.field(default_factory=dict)
    answers: dict[str, Answer] = msgspec.field(default_factory=dict)
    leverage_asked: dict[str, rows.LeverageAsked] = msgspec.field(default_factory=dict)
    inquiries: InquiryBook = msgspec.field(default_factory=InquiryBook)
    cash: CashBook = msgspec.field(default_factory=CashBook)
    halts: list[Halt] = msgspec.field(default_factory=list)
    halt_epoch: int = 0
    unfilled_kept_ns: int = 0
    measured: dict[str, PhaseQuality] = msgspec.field(default_factory=dict)
    differences: dict[str, FoundDifference] = msgspec.field(default_factory=dict)
    compared_ns: int = 0
    last_trade_number: int | None = None
    forgot_ns: int = 0

    @staticmethod
    def empty(config: ExecutionConfig) -> Book:
        return Book(answers_kept=config.answers_kept, story_lines_max=config.story_lines_max)

    def active_trades(self) -> Iterator[Trade]:
        return (self.trades[trade_id] for trade_id in tuple(self.active))

    def orders_of(self, trade: Trade) -> list[Order]:
        return [self.orders[number] for number in trade.order_ids]

    def orders_since(self, trade: Trade, since_ns: int) -> list[Order]:
        """Its orders that were asked for at `since_ns` or later, oldest first."""
        orders = map(self.orders.__getitem__, reversed(trade.order_ids))
        return list(itertools.takewhile(lambda order: order.created_ns >= since_ns, orders))[::-1]

    def unsettled_of(self, trade: Trade, leg_index: int | None = None) -> list[Order]:
        """Orders of the trade (of one leg) that may still trade, or whose executions are not all known."""
        live = map(self.orders.__getitem__, trade.live)
        return list(live) if leg_index is None else [order for order in live if order.leg_index == leg_index]

    def net_quantity(self, symbol: str) -> Decimal:
        """What all trades together hold of a symbol by their own fills; short < 0."""
        return sum(
            (
                leg.sign * leg.held_quantity
                for trade in self.active_trades()
                for leg in trade.legs
                if leg.symbol == symbol
            ),
            ZERO,
        )

    def trade_of_row(self, row: rows.Row) -> Trade | None:
        """The trade that a row speaks of; None if it speaks of none that is still known."""
        kind, spoken = type(row), cast(Any, row)
        if kind in _OF_AN_ORDER:
            order = self.orders.get(spoken.client_order_id)
            return None if order is None else self.trades.get(order.trade_id)
        if kind in _OF_A_TRADE:
            return self.trades.get(spoken.trade_id)
        if kind in _OF_A_REQUEST:
            return self.trades.get(self.rfqs.trade_id_of(spoken.rfq_id))
        match row:
            case rows.FeeLearned(venue_trade_id=number):
                fill = self.fills.get(number)
                return None if fill is None else self.trades.get(fill.trade_id)
            case rows.DifferenceFound(difference=difference):
                return self.trades.get(difference.trade or "")
            case _:
                return None

    def apply(self, entry: Entry) -> Trade | None:
        """Fold one row; the trade that it speaks of, if that is still known."""
        row: rows.Row = entry.row
        at_ns = entry.at_ns
        match row:
            # The rows of orders come first, as they are most of a long journal.
            case rows.OrderMoved():
                fold_order(self, row, at_ns)
            case rows.AmendRequested() | rows.OrderRepriced() | rows.AmendFailed():
                fold_amendment(self, row, at_ns)
            case rows.OrderRequested():
                fold_order_requested(self, row, at_ns)
            case rows.OrderSighted() | rows.FillSeen() | rows.FillAssumed() | rows.FeeLearned():
                fold_order(self, row, at_ns)
            case rows.RequestAnswered():
                self.answers[row.request_id] = row.answer
                self.leverage_asked.pop(row.request_id, None)
                while len(self.answers) > self.answers_kept:
                    del self.answers[next(iter(self.answers))]
            case rows.LeverageAsked():
                self.leverage_asked[row.request_id] = row
            case rows.IntentRefused():
                fold_intent(self, row.intent_id, row.strategy, row.ordinal, Intent(None, row.refusal, at_ns))
            case rows.TradeRequested():
                fold_trade_requested(self, row, at_ns)
            case rows.TradeAdopted():
                fold_trade_adopted(self, row, at_ns)
            case rows.HaltRaised():
                self.halt_epoch += 1
                self.halts.append(Halt(level=row.level, reason=row.reason, raised_by=row.raised_by, raised_ns=at_ns))
            case rows.HaltsLifted():
                self.halts.clear()
            case rows.HaltEpochCarried(halt_epoch=epoch):
                self.halt_epoch = max(self.halt_epoch, epoch)
            case rows.DifferenceFound() | rows.DifferencesEnded():
                fold_difference(self.differences, row, at_ns)
            case rows.DirectFlattenFound():
                fold_direct(self.direct_orders, row)
            case rows.VenueCompared(asked_ns=asked_ns):
                self.compared_ns = asked_ns
            case InquiryAsked() | InquiryTaken() | InquiryAnswered() | InquiryEnded():
                self.inquiries.apply(row, at_ns)
            case CashSaleRequested() | CashSaleMoved():
                self._apply_cash(row, at_ns)
            case rows.EndedForgotten():
                forget_ended(self, row, at_ns)
            case rows.TradeNumbersSkipped():
                self.last_trade_number = max(row.last_trade_number, self.last_trade_number or 0)
            case RfqRequested() | RfqMoved() | QuotesJudged() | AcceptRequested() | RfqSighted():
                self.rfqs.apply(row, at_ns)
            case rows.StopTriggered():
                fold_stop_triggered(self, row, at_ns)
            case rows.RetryDropped() | rows.CancelAwaited():
                fold_unwanted(self, row, at_ns)
            case _:
                fold_trade(self, row, at_ns)
        trade = self.trade_of_row(row)
        if trade is not None:
            # whoever reads updates takes none that is older, and after a restart the clock may have been set back
            trade.updated_ns = max(trade.updated_ns, at_ns)
            if trade.rolled_to:
                carry_pnl(self, trade)
            if type(row) in MEASURED:
                fold_quality(trade, self._order_of_row(row), row, at_ns)
            line = line_of(entry)
            if line.text:
                trade.story.append(line)
            if len(trade.story) > self.story_lines_max:
                # The beginning says what was meant, the end what is happening: the middle goes.
                del trade.story[self.story_lines_max // 4]
        return trade

    def _apply_cash(self, row: CashRow, at_ns: int) -> None:
        self.cash.apply(row, at_ns)
        if isinstance(row, CashSaleRequested):
            self.last_trade_number = max(row.trade_number, self.last_trade_number or 0)

    def qualities(self) -> Iterator[PhaseQuality]:
        """How well every trade that is remembered was executed, without legs; those that are purged first."""
        yield from self.measured.values()
        for trade in self.trades.values():
            yield from qualities_of(trade, with_legs=False)

    def _order_of_row(self, row: rows.Row) -> Order | None:
        """The order of which a row of a trade speaks."""
        match row:
            case rows.OrderRequested(client_order_id=number) | rows.FillSeen(client_order_id=number):
                return self.orders[number]
            case rows.FillAssumed(client_order_id=number) | rows.OrderRepriced(client_order_id=number):
                return self.orders[number]
            case rows.FeeLearned(venue_trade_id=number):
                return self.orders[self.fills[number].client_order_id]
            case _:
                return None
