"""Trades, orders, fills, intents and halts: the fold of the journal. It makes no decisions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, get_args

import msgspec

from services.execution import rows
from services.execution.config import ExecutionConfig
from services.execution.differences import fold_difference
from services.execution.inquiries import InquiryBook
from services.execution.quality import MEASURED_MAX, TradeTally, fold_quality, qualities_of
from services.execution.rfqs import RfqBook
from services.execution.rows import Answer, ClosePurpose
from services.execution.states import order_may_move, trade_may_move
from services.execution.story import line_of
from shared.messages.base import Side
from shared.messages.control import Halt
from shared.messages.costs import ModeChoice, OpeningCost
from shared.messages.market import Instrument
from shared.messages.quality import PhaseQuality
from shared.messages.reconciliation import FoundDifference
from shared.messages.steps import Entry
from shared.messages.trades import (
    FINAL_ORDER_STATES,
    FINAL_TRADE_STATES,
    ExecutionMode,
    OpenTrade,
    OrderState,
    Purpose,
    Refusal,
    StoryLine,
    TradeState,
)
from shared.messages.venue import RefusalKind
from shared.strategy.evaluate import clock_exit_ns

ZERO = Decimal(0)
DAY_NS = 86_400_000_000_000
_SECOND = 1_000_000_000


class Order(msgspec.Struct, kw_only=True):
    """One order. `state_ns` is when its state last changed; `unknown_ns` when its outcome became unknown.

    `priced_ns`: when it was last asked to rest at a price. `amend_price`: where an amendment, sent at `amend_ns`,
    moves it; None when none is on its way. `amends` counts those asked for; `amend_failed`: one was in vain.
    `sighted_quantity`: the most that the venue said is filled. `assumed_quantity`: the floor of a `FillAssumed`.
    `cancel_asked`: we asked for its cancel at least once. `label`: what a quoting strategy calls it.
    `quote_id`: it stands for a leg of this accepted quote, the venue knows it by an id of its own alone; else "".
    """

    client_order_id: int
    trade_id: str
    leg_index: int
    purpose: Purpose
    attempt: int
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    created_ns: int
    state: OrderState
    reason: str
    state_ns: int
    updated_ns: int
    unknown_ns: int
    priced_ns: int
    amend_price: Decimal | None = None
    amend_ns: int = 0
    amends: int = 0
    amend_failed: bool = False
    venue_order_id: int | None = None
    fills_quantity: Decimal = ZERO
    fills_cash: Decimal = ZERO
    sighted_quantity: Decimal = ZERO
    assumed_quantity: Decimal = ZERO
    assumed_price: Decimal = ZERO
    refusal_kind: RefusalKind | None = None
    refusal_code: int | None = None
    quote_id: str = ""
    post_only: bool = False
    label: str = ""
    cancel_asked: bool = False

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_ORDER_STATES

    @property
    def is_amending(self) -> bool:
        """An amendment is on its way, and the venue was not seen yet to rest at one price or the other."""
        return self.amend_price is not None and not self.is_final

    @property
    def filled_quantity(self) -> Decimal:
        return max(self.fills_quantity, self.assumed_quantity)

    @property
    def filled_cash(self) -> Decimal:
        """Σ price × quantity over what is filled, in USD."""
        return self.fills_cash + max(ZERO, self.assumed_quantity - self.fills_quantity) * self.assumed_price

    @property
    def is_settled(self) -> bool:
        """Final, and every execution that the venue spoke of is known: nothing more will come of it."""
        return self.is_final and self.filled_quantity >= self.sighted_quantity


class Fill(msgspec.Struct):
    """One execution, as it is needed to recognise it again and to complete its fee."""

    client_order_id: int
    trade_id: str
    fee_usd: Decimal | None
    venue_ns: int


class DirectFill(msgspec.Struct):
    """How much of an execution of a direct flatten is booked to legs, with its fee."""

    quantity: Decimal
    fee_usd: Decimal
    at_ns: int


class Leg(msgspec.Struct, kw_only=True):
    """One leg, summed from the fills of the trade's own orders. Cash is Σ price × quantity in USD.

    `priceless_quantity`: closed outside at a price nobody knows, left out of P&L.
    """

    symbol: str
    side: Side
    quantity: Decimal
    instrument: Instrument
    opened_quantity: Decimal = ZERO
    opened_cash: Decimal = ZERO
    closed_quantity: Decimal = ZERO
    closed_cash: Decimal = ZERO
    priceless_quantity: Decimal = ZERO
    settled_quantity: Decimal = ZERO
    last_fill_ns: int = 0

    @property
    def held_quantity(self) -> Decimal:
        return self.opened_quantity - self.closed_quantity

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def open_price(self) -> Decimal | None:
        return self.opened_cash / self.opened_quantity if self.opened_quantity else None

    @property
    def close_price(self) -> Decimal | None:
        priced = self.closed_quantity - self.priceless_quantity
        return self.closed_cash / priced if priced else None

    @property
    def realized_pnl_usd(self) -> Decimal:
        priced = self.closed_quantity - self.priceless_quantity
        if not priced or not self.opened_quantity:
            return ZERO
        return self.sign * (self.closed_cash - self.opened_cash * priced / self.opened_quantity)


class Close(msgspec.Struct, frozen=True):
    """Why and how the trade is to be closed."""

    reason: str
    requested_by: str
    purpose: ClosePurpose
    at_ns: int


class Stop(msgspec.Struct, frozen=True):
    """Why no more opening orders go out."""

    reason: str
    void: bool


class Fallback(msgspec.Struct, frozen=True):
    """From `at_ns` on `mode` works the opening or the close."""

    purpose: Literal["open", "close"]
    mode: ExecutionMode
    reason: str
    at_ns: int


class ChunkEnd(msgspec.Struct, frozen=True):
    """A chunk that a smart plan is done with."""

    purpose: Literal["open", "close"]
    number: int
    complete: bool
    reason: str
    at_ns: int


class Trade(msgspec.Struct, kw_only=True):
    """One trade. `state_ns` is when it entered its state, `scaled_ns` when its legs were last made smaller.

    `crossings`: since when a leg of a chunk crosses the spread, by "<purpose>/<chunk>/<leg>".
    """

    trade_id: str
    number: int
    request: OpenTrade
    mode: ExecutionMode
    state: TradeState
    reason: str
    legs: list[Leg]
    created_ns: int
    state_ns: int
    updated_ns: int
    opened_ns: int | None = None
    closed_ns: int | None = None
    scaled_ns: int = 0
    fees_usd: Decimal = ZERO
    opening_fees_usd: Decimal = ZERO
    choice: ModeChoice | None = None
    opening_cost: OpeningCost | None = None
    close: Close | None = None
    stop: Stop | None = None
    fallbacks: list[Fallback] = msgspec.field(default_factory=list)
    chunks: list[ChunkEnd] = msgspec.field(default_factory=list)
    crossings: dict[str, int] = msgspec.field(default_factory=dict)
    order_ids: list[int] = msgspec.field(default_factory=list)
    attempts: dict[str, int] = msgspec.field(default_factory=dict)
    story: list[StoryLine] = msgspec.field(default_factory=list)
    tally: TradeTally = msgspec.field(default_factory=TradeTally)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_TRADE_STATES

    @property
    def is_flat(self) -> bool:
        return all(leg.held_quantity <= 0 for leg in self.legs)

    @property
    def was_filled(self) -> bool:
        return any(leg.opened_quantity > 0 for leg in self.legs)

    @property
    def hard_deadline_ns(self) -> int | None:
        """When it is closed whatever its host does: as declared, or a grace after its first exit by the clock."""
        declared_ns = self.request.hard_deadline_ns
        due_ns = clock_exit_ns(self.request.exit_conditions, self.opened_ns)
        if due_ns is None:
            return declared_ns
        enforced_ns = due_ns + round(self.request.deadline_grace_s * _SECOND)
        return enforced_ns if declared_ns is None else min(enforced_ns, declared_ns)

    @property
    def opening_mode(self) -> ExecutionMode:
        """The mode that works the opening now."""
        return next((each.mode for each in reversed(self.fallbacks) if each.purpose == "open"), self.mode)

    @property
    def opening_since_ns(self) -> int:
        """Since when that mode has had it."""
        return next((each.at_ns for each in reversed(self.fallbacks) if each.purpose == "open"), self.created_ns)

    @property
    def closing_mode(self) -> ExecutionMode:
        """The mode that works the close now, if it is an ordinary one."""
        return next((each.mode for each in reversed(self.fallbacks) if each.purpose == "close"), self.mode)

    @property
    def stairs_since_ns(self) -> int:
        """Since when the staircase has had the trade, if it has it: what was sent before was not its own."""
        if self.state != "CLOSING":
            return self.state_ns
        return max((each.at_ns for each in self.fallbacks if each.purpose == "close"), default=self.state_ns)

    def next_attempt(self, leg_index: int, purpose: Purpose) -> int:
        return self.attempts.get(f"{leg_index}/{purpose}", 0)


class Intent(msgspec.Struct, frozen=True):
    """What became of an intent: a trade, or a refusal."""

    trade_id: str | None
    refusal: Refusal | None
    at_ns: int


class Book(msgspec.Struct):
    """All of execution's durable state. Two books that folded the same rows are equal."""

    retention_ns: int
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
    direct_fills: dict[int, DirectFill] = msgspec.field(default_factory=dict)
    intents: dict[str, Intent] = msgspec.field(default_factory=dict)
    highest_ordinal: dict[str, int] = msgspec.field(default_factory=dict)
    answers: dict[str, Answer] = msgspec.field(default_factory=dict)
    inquiries: InquiryBook = msgspec.field(default_factory=InquiryBook)
    halts: list[Halt] = msgspec.field(default_factory=list)
    halt_epoch: int = 0
    quality_ns: int = 90 * DAY_NS
    measured: dict[str, PhaseQuality] = msgspec.field(default_factory=dict)
    differences: dict[str, FoundDifference] = msgspec.field(default_factory=dict)
    last_trade_number: int | None = None
    purged_ns: int = 0

    @staticmethod
    def empty(config: ExecutionConfig) -> Book:
        return Book(
            retention_ns=config.retention_days * DAY_NS,
            answers_kept=config.answers_kept,
            story_lines_max=config.story_lines_max,
            quality_ns=config.quality_days * DAY_NS,
        )

    def active_trades(self) -> Iterator[Trade]:
        return (self.trades[trade_id] for trade_id in tuple(self.active))

    def orders_of(self, trade: Trade) -> list[Order]:
        return [self.orders[number] for number in trade.order_ids]

    def unsettled_of(self, trade: Trade, leg_index: int | None = None) -> list[Order]:
        """Orders of the trade (of one leg) that may still trade, or whose executions are not all known."""
        return [
            order
            for order in map(self.orders.__getitem__, trade.order_ids)
            if order.client_order_id in self.unsettled and leg_index in (None, order.leg_index)
        ]

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
        match row:
            case rows.FeeLearned(venue_trade_id=number):
                fill = self.fills.get(number)
                return None if fill is None else self.trades.get(fill.trade_id)
            case (
                rows.OrderMoved(client_order_id=number)
                | rows.OrderSighted(client_order_id=number)
                | rows.AmendRequested(client_order_id=number)
                | rows.OrderRepriced(client_order_id=number)
                | rows.AmendFailed(client_order_id=number)
                | rows.FillSeen(client_order_id=number)
                | rows.FillAssumed(client_order_id=number)
            ):
                order = self.orders.get(number)
                return None if order is None else self.trades.get(order.trade_id)
            case (
                rows.RfqMoved(rfq_id=rfq_id)
                | rows.QuotesJudged(rfq_id=rfq_id)
                | rows.AcceptRequested(rfq_id=rfq_id)
                | rows.RfqSighted(rfq_id=rfq_id)
            ):
                return self.trades.get(self.rfqs.trade_id_of(rfq_id))
            case (
                rows.TradeRequested(trade_id=trade_id)
                | rows.TradeAdopted(trade_id=trade_id)
                | rows.TradeMoved(trade_id=trade_id)
                | rows.OpeningStopped(trade_id=trade_id)
                | rows.OpeningScaled(trade_id=trade_id)
                | rows.CloseRequested(trade_id=trade_id)
                | rows.OpeningMeasured(trade_id=trade_id)
                | rows.FellBack(trade_id=trade_id)
                | rows.MarketNoted(trade_id=trade_id)
                | rows.SpreadCrossed(trade_id=trade_id)
                | rows.ChunkEnded(trade_id=trade_id)
                | rows.RfqRequested(trade_id=trade_id)
                | rows.OrderRequested(trade_id=trade_id)
                | rows.LegClosedOutside(trade_id=trade_id)
                | rows.LegSettled(trade_id=trade_id)
                | rows.AttemptsSkipped(trade_id=trade_id)
            ):
                return self.trades.get(trade_id)
            case rows.DifferenceFound(difference=difference):
                return self.trades.get(difference.trade or "")
            case _:
                return None

    def apply(self, entry: Entry) -> None:
        """Fold one row."""
        row: rows.Row = entry.row
        at_ns = entry.at_ns
        match row:
            case rows.RequestAnswered():
                self.answers[row.request_id] = row.answer
                while len(self.answers) > self.answers_kept:
                    del self.answers[next(iter(self.answers))]
            case rows.IntentRefused():
                self._intent(row.intent_id, row.strategy, row.ordinal, Intent(None, row.refusal, at_ns))
            case rows.TradeRequested():
                self._trade_requested(row, at_ns)
            case rows.TradeAdopted():
                self._trade_adopted(row, at_ns)
            case rows.HaltRaised():
                self.halt_epoch += 1
                self.halts.append(Halt(level=row.level, reason=row.reason, raised_by=row.raised_by, raised_ns=at_ns))
            case rows.HaltsLifted():
                self.halts.clear()
            case rows.DifferenceFound() | rows.DifferencesEnded():
                fold_difference(self.differences, row, at_ns)
            case rows.InquiryAsked() | rows.InquiryTaken() | rows.InquiryAnswered() | rows.InquiryEnded():
                self.inquiries.apply(row, at_ns)
            case rows.TradeNumbersSkipped():
                self.last_trade_number = max(row.last_trade_number, self.last_trade_number or 0)
            case rows.OrderRequested():
                self._order_requested(row, at_ns)
            case (
                rows.RfqRequested()
                | rows.RfqMoved()
                | rows.QuotesJudged()
                | rows.AcceptRequested()
                | rows.RfqSighted()
            ):
                self.rfqs.apply(row, at_ns)
            case rows.OrderMoved() | rows.OrderSighted() | rows.FillSeen() | rows.FillAssumed() | rows.FeeLearned():
                self._apply_to_order(row, at_ns)
            case rows.AmendRequested() | rows.OrderRepriced() | rows.AmendFailed():
                self._apply_amendment(row, at_ns)
            case _:
                self._apply_to_trade(row, at_ns)
        trade = self.trade_of_row(row)
        if trade is not None:
            trade.updated_ns = at_ns
            fold_quality(trade, self._order_of_row(row), row, at_ns)
            line = line_of(entry)
            if line.text:
                trade.story.append(line)
            if len(trade.story) > self.story_lines_max:
                # The beginning says what was meant, the end what is happening: the middle goes.
                del trade.story[self.story_lines_max // 4]

    def _order_of_row(self, row: rows.Row) -> Order | None:
        """The order of which a row of a trade speaks."""
        match row:
            case rows.OrderRequested(client_order_id=number) | rows.FillSeen(client_order_id=number):
                return self.orders[number]
            case rows.FillAssumed(client_order_id=number):
                return self.orders[number]
            case rows.FeeLearned(venue_trade_id=number):
                return self.orders[self.fills[number].client_order_id]
            case _:
                return None

    def qualities(self) -> Iterator[PhaseQuality]:
        """How well every trade that is remembered was executed, without legs; those that are purged first."""
        yield from self.measured.values()
        for trade in self.trades.values():
            yield from qualities_of(trade, with_legs=False)

    def _intent(self, intent_id: str, strategy: str, ordinal: int, outcome: Intent) -> None:
        self.intents[intent_id] = outcome
        self.highest_ordinal[strategy] = max(ordinal, self.highest_ordinal.get(strategy, ordinal))
        self._purge(outcome.at_ns)

    def _trade_requested(self, row: rows.TradeRequested, at_ns: int) -> None:
        request = row.request
        self._intent(request.intent_id, request.strategy, request.ordinal, Intent(row.trade_id, None, at_ns))
        self.last_trade_number = row.trade_number
        self.trades[row.trade_id] = Trade(
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
        self.active[row.trade_id] = None

    def _trade_adopted(self, row: rows.TradeAdopted, at_ns: int) -> None:
        (leg,) = row.request.legs
        self.last_trade_number = row.trade_number
        self.trades[row.trade_id] = Trade(
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
        self.active[row.trade_id] = None

    def _apply_to_trade(self, row: rows.Row, at_ns: int) -> None:
        match row:
            case rows.TradeMoved():
                self._trade_moved(self.trades[row.trade_id], row, at_ns)
            case rows.OpeningStopped():
                self.trades[row.trade_id].stop = Stop(row.reason, row.void)
            case rows.OpeningScaled():
                self.trades[row.trade_id].scaled_ns = at_ns
                for leg, quantity in zip(self.trades[row.trade_id].legs, row.quantities, strict=True):
                    leg.quantity = quantity
            case rows.AttemptsSkipped():
                trade = self.trades[row.trade_id]
                for leg_index, purpose in itertools.product(range(len(trade.legs)), get_args(rows.ClosePurpose)):
                    trade.attempts[f"{leg_index}/{purpose}"] = trade.next_attempt(leg_index, purpose) + row.count
            case rows.CloseRequested():
                self.trades[row.trade_id].close = Close(row.reason, row.requested_by, row.purpose, at_ns)
            case rows.OpeningMeasured():
                self.trades[row.trade_id].opening_cost = row.cost
            case rows.MarketNoted():
                pass
            case rows.FellBack():
                fallback = Fallback(row.purpose, row.mode, row.reason, at_ns)
                self.trades[row.trade_id].fallbacks.append(fallback)
            case rows.SpreadCrossed():
                self.trades[row.trade_id].crossings[f"{row.purpose}/{row.chunk}/{row.leg_index}"] = at_ns
            case rows.ChunkEnded():
                ended = ChunkEnd(row.purpose, row.chunk, row.complete, row.reason, at_ns)
                self.trades[row.trade_id].chunks.append(ended)
            case rows.LegClosedOutside():
                self.trades[row.trade_id].fees_usd += row.fee_usd
                if row.venue_trade_id is not None:
                    booked = self.direct_fills.setdefault(row.venue_trade_id, DirectFill(ZERO, ZERO, at_ns))
                    booked.quantity += row.quantity
                    booked.fee_usd += row.fee_usd
                leg = self.trades[row.trade_id].legs[row.leg_index]
                leg.closed_quantity += row.quantity
                leg.last_fill_ns = at_ns
                if row.price is None:
                    leg.priceless_quantity += row.quantity
                else:
                    leg.closed_cash += row.quantity * row.price
            case rows.LegSettled():
                trade = self.trades[row.trade_id]
                leg = trade.legs[row.leg_index]
                leg.closed_quantity += row.quantity
                leg.settled_quantity += row.quantity
                leg.closed_cash += leg.sign * row.cash_flow_usd
                trade.fees_usd += row.fee_usd
            case _:
                raise AssertionError(f"no fold for {type(row).__name__}")

    def _trade_moved(self, trade: Trade, row: rows.TradeMoved, at_ns: int) -> None:
        assert trade_may_move(trade.state, row.state), f"{trade.trade_id}: {trade.state} to {row.state}"
        trade.state = row.state
        trade.reason = row.reason
        trade.state_ns = at_ns
        if row.state in ("OPEN", "PARTIALLY_OPEN"):
            trade.opened_ns = at_ns
        if row.state in FINAL_TRADE_STATES:
            trade.closed_ns = at_ns
            self.active.pop(trade.trade_id, None)
        else:
            trade.closed_ns = None
            self.active[trade.trade_id] = None

    def _order_requested(self, row: rows.OrderRequested, at_ns: int) -> None:
        assert row.client_order_id not in self.orders, f"order {row.client_order_id} requested twice"
        trade = self.trades[row.trade_id]
        self.orders[row.client_order_id] = Order(
            client_order_id=row.client_order_id,
            trade_id=row.trade_id,
            leg_index=row.leg_index,
            purpose=row.purpose,
            attempt=row.attempt,
            symbol=row.symbol,
            side=row.side,
            quantity=row.quantity,
            price=row.price,
            reduce_only=row.reduce_only,
            created_ns=at_ns,
            state="SENDING",
            reason=row.why,
            state_ns=at_ns,
            updated_ns=at_ns,
            unknown_ns=at_ns,
            priced_ns=at_ns,
            quote_id=row.quote_id,
            post_only=row.post_only,
            label=row.label,
        )
        trade.order_ids.append(row.client_order_id)
        if row.quote_id:
            self.rfqs.order_requested(row)
        name = f"{row.leg_index}/{row.purpose}"
        trade.attempts[name] = max(row.attempt + 1, trade.attempts.get(name, 0))
        self.unsettled[row.client_order_id] = None

    def _apply_amendment(self, row: rows.AmendRequested | rows.OrderRepriced | rows.AmendFailed, at_ns: int) -> None:
        order = self.orders[row.client_order_id]
        order.updated_ns = at_ns
        match row:
            case rows.AmendRequested():
                assert order.state == "WORKING", f"order {row.client_order_id} is amended while {order.state}"
                order.amend_price = row.price
                order.amend_ns = order.priced_ns = at_ns
                order.amends += 1
                order.reason = row.why
            case rows.OrderRepriced():
                order.price = row.price
                order.amend_price = None
            case rows.AmendFailed():
                order.amend_price = None
                order.amend_failed = True

    def _apply_to_order(
        self,
        row: rows.OrderMoved | rows.OrderSighted | rows.FillSeen | rows.FillAssumed | rows.FeeLearned,
        at_ns: int,
    ) -> None:
        if isinstance(row, rows.FeeLearned):
            fill = self.fills[row.venue_trade_id]
            self._pay_fee(self.orders[fill.client_order_id], row.fee_usd)
            fill.fee_usd = row.fee_usd
            self.feeless.pop(row.venue_trade_id, None)
            return
        order = self.orders[row.client_order_id]
        quantity, cash = order.filled_quantity, order.filled_cash
        order.updated_ns = at_ns
        match row:
            case rows.OrderMoved():
                assert order_may_move(order.state, row.state), (
                    f"order {order.client_order_id}: {order.state} to {row.state}"
                )
                order.state = row.state
                order.reason = row.reason
                order.state_ns = at_ns
                order.refusal_kind = row.refusal_kind
                order.refusal_code = row.refusal_code
                if row.state == "UNKNOWN":
                    order.unknown_ns = at_ns
                order.cancel_asked = order.cancel_asked or row.state == "CANCELLING"
                if row.state == "FILLED":
                    order.sighted_quantity = max(order.sighted_quantity, order.quantity)
            case rows.OrderSighted():
                order.venue_order_id = row.venue_order_id
                self.order_of_venue_id[row.venue_order_id] = order.client_order_id
                order.sighted_quantity = max(order.sighted_quantity, row.filled_quantity)
            case rows.FillSeen():
                self._fill_seen(order, row)
            case rows.FillAssumed():
                order.assumed_quantity = row.filled_quantity
                order.assumed_price = row.average_price
        self._count(order, order.filled_quantity - quantity, order.filled_cash - cash, at_ns)
        if order.is_settled:
            self.unsettled.pop(order.client_order_id, None)
        else:
            self.unsettled[order.client_order_id] = None

    def _fill_seen(self, order: Order, row: rows.FillSeen) -> None:
        fill = row.fill
        assert fill.venue_trade_id not in self.fills, f"fill {fill.venue_trade_id} counted twice"
        self.fills[fill.venue_trade_id] = Fill(order.client_order_id, order.trade_id, fill.fee_usd, fill.venue_ns)
        order.fills_quantity += fill.quantity
        order.fills_cash += fill.quantity * fill.price
        if fill.fee_usd is None:
            self.feeless[fill.venue_trade_id] = None
        else:
            self._pay_fee(order, fill.fee_usd)

    def _pay_fee(self, order: Order, fee_usd: Decimal) -> None:
        trade = self.trades[order.trade_id]
        trade.fees_usd += fee_usd
        if order.purpose == "open":
            trade.opening_fees_usd += fee_usd

    def _count(self, order: Order, quantity: Decimal, cash: Decimal, at_ns: int) -> None:
        """Add what one row changed about an order to its leg."""
        if not quantity and not cash:
            return
        leg = self.trades[order.trade_id].legs[order.leg_index]
        leg.last_fill_ns = at_ns
        if order.purpose == "open":
            leg.opened_quantity += quantity
            leg.opened_cash += cash
        else:
            leg.closed_quantity += quantity
            leg.closed_cash += cash

    def _purge(self, at_ns: int) -> None:
        """Forget final trades and intents older than the retention, at most once an hour of journal time."""
        if at_ns - self.purged_ns < DAY_NS // 24:
            return
        self.purged_ns = at_ns
        horizon_ns = at_ns - self.retention_ns
        gone = [
            trade
            for trade in self.trades.values()
            if trade.is_final and trade.closed_ns is not None and trade.closed_ns < horizon_ns
        ]
        numbers: set[int] = set()
        self.rfqs.forget(trade.trade_id for trade in gone)
        for trade in gone:
            for quality in qualities_of(trade, with_legs=False):
                self.measured[f"{trade.trade_id}/{quality.phase}"] = quality
            numbers.update(trade.order_ids)
            del self.trades[trade.trade_id]
        for number in numbers:
            order = self.orders.pop(number)
            self.unsettled.pop(number, None)
            if order.venue_order_id is not None:
                self.order_of_venue_id.pop(order.venue_order_id, None)
        for key in [key for key, each in self.measured.items() if each.began_ns < at_ns - self.quality_ns]:
            del self.measured[key]
        for key in list(self.measured)[:-MEASURED_MAX]:
            del self.measured[key]
        for venue_trade_id in [key for key, fill in self.fills.items() if fill.client_order_id in numbers]:
            del self.fills[venue_trade_id]
            self.feeless.pop(venue_trade_id, None)
        for venue_trade_id in [key for key, booked in self.direct_fills.items() if booked.at_ns < horizon_ns]:
            del self.direct_fills[venue_trade_id]
        for intent_id in [
            key
            for key, intent in self.intents.items()
            if intent.at_ns < horizon_ns and (intent.trade_id is None or intent.trade_id not in self.trades)
        ]:
            del self.intents[intent_id]
