"""Execution's decisions: intents in, orders and the truth about trades out."""

from __future__ import annotations

from typing import Any

import msgspec

from services.execution import rows
from services.execution.amending import amendment_refused
from services.execution.arrivals import note_arrivals, note_deltas
from services.execution.book import Book
from services.execution.cash_desk import CashDesk
from services.execution.cash_effects import (
    CashRead,
    CashReadFailed,
    SaleFound,
    SaleNotAnswered,
    StraysFound,
    StraysNotFound,
)
from services.execution.checks import CheckView
from services.execution.comparisons import ComparisonSchedule
from services.execution.config import ExecutionConfig
from services.execution.countdowns import COUNTDOWN_FIRED, Countdowns
from services.execution.evidence import Evidence
from services.execution.facts import Facts
from services.execution.halts import Guards
from services.execution.inquiry_desk import InquiryDesk
from services.execution.leverage import LeverageDesk
from services.execution.lifecycle import Lifecycle
from services.execution.order_changes import withdrawn_together
from services.execution.quote_requests import QuoteRequests
from services.execution.reconcile import Reconciler
from services.execution.records import Order, Trade
from services.execution.requests import Requests
from services.execution.rfq_desk import RfqDesk
from services.execution.states import OPENING_STATES
from services.execution.views import intent_refused, order_update, trade_update
from services.execution.winding_down import WindDown, WindingDown
from services.execution.workspace import MS, SECOND, Workspace, earliest
from shared.messages.contracts import (
    LeverageRead,
    LeverageReadFailed,
    LeverageRefused,
    LeverageSet,
    LeverageUnknown,
)
from shared.messages.control import DirectFlattenRecord, FlattenLatch
from shared.messages.market import ChainSnapshot, InstrumentList
from shared.messages.on_demand import OrderBookAnswer
from shared.messages.space import JournalSpace
from shared.messages.steps import Entry, Inbound, LoopStalled, ReplyReceived, Request, Step, Tick, Together
from shared.messages.system import Heartbeat
from shared.messages.trades import TradeUpdate
from shared.messages.venue import (
    AmendAcked,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    CountdownRefused,
    CountdownSet,
    CountdownUnknown,
    OrderAcked,
    OrderQueried,
    OrderQueryFailed,
    OrderRefused,
    OrdersListed,
    OrdersListFailed,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueFill,
    VenueOrder,
    VenueSnapshot,
    VenueSnapshotFailed,
)
from shared.strategy.wording import DAY_NS

_SEEN_LATER = frozenset[type]({AmendAcked, CancelAcked})
_ORDERS_TOLD_AGAIN = 200
"""The newest orders of a trade whose strategy works them that a new process publishes again."""


_REFUSALS_TOLD_AGAIN_NS = 3_600 * SECOND
"""How far back refused intents are told of again: risk keeps the room of an unused grant for minutes."""


class ExecutionCore:
    """One account's trades and orders.

    Inputs: Request (OpenTrade, CloseTrade, ReduceTrade, CancelOrders, RaiseHalt, LiftHalts, ListTrades, ListOrders,
    TellTrade, QuoteStructure, ListInquiries, ListQuoteRequests, GetCash, GetLeverage, ChangeLeverage);
    Inbound (InstrumentList, ChainSnapshot, Heartbeat); ReplyReceived (OrderBookAnswer); the venue facts of
    `shared.messages.venue` and `rfq`; Tick; LoopStalled; FlattenLatch; DirectFlattenRecord; WindDown; JournalSpace.
    Any other input is ignored. Facts about orders may come as one `Together`. Effects: those of `effects.py`,
    Publish, Reply, SendRequest, RaiseAlert.

    Raises ValueError for a desk number that does not fit a client order id.
    """

    gathers: frozenset[type] = frozenset(
        {
            *(OrderAcked, OrderRefused, OutcomeUnknown, CancelAcked, CancelRefused),
            *(AmendAcked, AmendRefused, AmendUnknown, VenueOrder, VenueFill),
        }
    )
    """What the venue says of a batch of orders arrives all at once."""

    def __init__(
        self,
        config: ExecutionConfig,
        *,
        account_id: str,
        desk_number: int,
        grant_key: bytes,
    ) -> None:
        if not 0 <= desk_number < 256:
            raise ValueError(f"desk_number {desk_number} must be 0 to 255: it is 8 bits of every order id")
        self._work = Workspace(config, account_id=account_id, desk_number=desk_number)
        self._facts = Facts(self._work)
        self._evidence = Evidence(self._work, self._facts)
        self._schedule = ComparisonSchedule(self._work)
        self._reconciler = Reconciler(self._work, self._facts, self._evidence, self._schedule)
        self._guards = Guards(self._work)
        self._rfq_desk = RfqDesk(self._work, self._facts, self._schedule, self._reconciler.positions)
        self._countdowns = Countdowns(self._work)
        self._winding_down = WindingDown(self._work, self._countdowns)
        self._lifecycle = Lifecycle(
            self._work, self._guards, self._schedule, self._reconciler.positions, self._rfq_desk, self._winding_down
        )
        self._cash = CashDesk(self._work, self._schedule, self._winding_down)
        self._inquiries = InquiryDesk(self._work)
        self._quote_requests = QuoteRequests(self._work, self._inquiries)
        self._leverage = LeverageDesk(self._work, self._schedule, self._reconciler.positions)
        self._requests = Requests(
            CheckView(self._work, self._guards, self._schedule, self._reconciler.positions, grant_key),
            self._inquiries,
            self._quote_requests,
            self._countdowns,
            self._cash,
            self._leverage,
        )
        self._told: dict[str, TradeUpdate] = {}
        """What was told last of each trade that is not final."""

        self._wake_ns: int | None = None
        self._started = False

    @property
    def book(self) -> Book:
        """The durable state, to read: two cores that folded the same rows have equal books."""
        return self._work.book

    @property
    def is_synced(self) -> bool:
        """True when the venue was compared since the last start, reconnect or stall."""
        return self._schedule.synced

    def restore(self, state: Book) -> None:
        """Go on from this book, as if the rows that made it had been folded."""
        self._work.book = state

    @property
    def winding_down(self) -> WindingDown:
        """What was chosen for the end of the process, and what is left of it to do."""
        return self._winding_down

    def apply(self, entry: Entry) -> None:
        """Fold one row of the journal."""
        self._work.book.apply(entry)

    def next_deadline_ns(self) -> int | None:
        """When `Tick` is due next."""
        return self._wake_ns

    def start(self, now_ns: int) -> Step:
        """Take up work after the fold: what was being sent when the last process died is unknown."""
        work = self._work
        work.begin(now_ns, "")
        work.started_ns = work.now_ns
        self._started = True
        self._guards.begin()
        for trade in work.book.trades.values():
            # of what has just ended too: the venue's list of positions may still show it
            for leg in trade.legs:
                work.last_traded_ns[leg.symbol] = max(leg.last_fill_ns, work.last_traded_ns.get(leg.symbol, 0))
        for number in tuple(work.book.unsettled):
            order = work.book.orders[number]
            if order.state == "SENDING":
                self._facts.move(order, "UNKNOWN", "execution restarted before an outcome was known")
        self._rfq_desk.begin()
        self._inquiries.begin()
        self._cash.begin()
        self._leverage.begin()
        self._countdowns.begin()
        self._schedule.begin()
        self._evidence.hold()
        self._republish()
        self._advance()
        return work.step

    def _republish(self) -> None:
        """The bus of a new process holds nothing: give it what a late joiner needs."""
        work = self._work
        since_ns = work.now_ns - work.config.republish_days * DAY_NS
        for trade in work.book.trades.values():
            if not trade.is_final or trade.closed_ns is None or trade.closed_ns >= since_ns:
                work.touched_trades[trade.trade_id] = None
        for trade in work.book.active_trades():
            # last: where more are told of than the bus keeps, it is the first that a late joiner does not hear of
            work.touched_trades.pop(trade.trade_id, None)
            work.touched_trades[trade.trade_id] = None
        for number in work.book.unsettled:
            work.touched_orders[number] = None
        for intent_id, intent in work.book.intents.items():
            if intent.refusal is not None and intent.at_ns >= work.now_ns - _REFUSALS_TOLD_AGAIN_NS:
                told = intent_refused(intent_id, intent.refusal, intent.at_ns, work.account_id)
                work.publish("exec.{account}.intent", told)
        for trade in work.book.active_trades():
            if trade.by_strategy:
                # what ended just before the process died was not told to the strategy that placed it
                work.touched_orders |= dict.fromkeys(trade.order_ids[-_ORDERS_TOLD_AGAIN:])
        self._guards.publish()

    def handle(self, item: Any, now_ns: int) -> Step:
        """Decide on one input."""
        work = self._work
        cause_id = ""
        if isinstance(item, Inbound):
            cause_id = item.message_id
        elif isinstance(item, Request):
            cause_id = item.request_id
        elif isinstance(item, FlattenLatch):
            cause_id = item.latch_id
        work.begin(now_ns, cause_id)
        if not self._started:
            self._started = True
            self._guards.begin()
        if isinstance(item, Inbound):
            if not self._take_message(item.message):
                return work.step
        elif isinstance(item, Request):
            self._requests.take(item)
        elif isinstance(item, FlattenLatch):
            self._requests.latched(item)
        elif isinstance(item, DirectFlattenRecord):
            self._reconciler.positions.direct.take(item)
        elif isinstance(item, JournalSpace):
            self._guards.take_space(item)
            if item.unwritten:
                self._schedule.hold()
        elif isinstance(item, WindDown):
            self._winding_down.begin(item)
        elif isinstance(item, LoopStalled):
            self._guards.begin()
            self._schedule.distrust("stall")
            self._evidence.hold()
            self._cash.distrust()
            self._countdowns.begin()
        elif not isinstance(item, Tick):
            items = item.items if isinstance(item, Together) else (item,)
            for each in items:
                self._take_fact(each)
            if all(map(self._proves_nothing, items)):
                return work.step
        self._advance()
        return work.step

    def _take_message(self, message: Any) -> bool:
        """Take in what was published; False when nothing can follow from it that is not due by the clock anyway."""
        match message:
            case ChainSnapshot():
                self._work.market.take_chain(message)
            case InstrumentList():
                self._work.market.take_list(message)
            case Heartbeat():
                return self._guards.heard(message)
            case _:
                return False
        return True

    def _take_fact(self, item: Any) -> None:
        """A fact from the venue; one about an order that nobody knows is left to the reconciliation."""
        match item:
            case VenueOrder():
                self._facts.sighting(item, None)
            case VenueFill():
                self._take_fill(item)
            case AmendAcked() | AmendRefused() | AmendUnknown():
                self._take_amendment(item)
            case OrderAcked() | OrderRefused() | OutcomeUnknown() | CancelAcked() | CancelRefused():
                self._take_outcome(item)
            case OrderQueried():
                self._evidence.answered(item)
            case OrderQueryFailed(client_order_id=number):
                self._evidence.failed(number)
            case OrdersListed():
                self._evidence.listed(item)
            case OrdersListFailed():
                self._evidence.list_failed(item)
            case VenueSnapshot():
                self._reconciler.compare(item)
            case VenueSnapshotFailed(reason=reason):
                self._schedule.failed(reason)
            case StreamUp():
                self._schedule.stream_up = True
                self._schedule.distrust("stream_up")
            case StreamDown():
                self._schedule.stream_up = False
                self._schedule.want("stream_down", self._work.now_ns)
            case CountdownSet() | CountdownRefused() | CountdownUnknown():
                self._countdowns.take(item)
            case LeverageSet() | LeverageRefused() | LeverageUnknown() | LeverageRead() | LeverageReadFailed():
                self._leverage.take(item)
            case CashRead() | CashReadFailed():
                self._cash.read(item)
            case SaleFound() | SaleNotAnswered():
                self._cash.sales.found(item)
            case StraysFound() | StraysNotFound():
                self._cash.strays.found(item)
            case ReplyReceived(message=OrderBookAnswer(book=book)):
                self._work.market.take_book(book)
            case _:
                self._rfq_desk.take(item)
                self._inquiries.take(item)

    def _proves_nothing(self, item: Any) -> bool:
        """An acknowledgement of what must still be seen: nothing follows from it that is not due by the clock."""
        return type(item) in _SEEN_LATER and not self._cash.knows(item.client_order_id)

    def _take_fill(self, fill: VenueFill) -> None:
        if self._facts.fill(fill) and fill.fee_usd is None:
            self._schedule.want_fees()

    def _take_outcome(self, item: OrderAcked | OrderRefused | OutcomeUnknown | CancelAcked | CancelRefused) -> None:
        order = self._work.book.orders.get(item.client_order_id)
        if order is None:
            if self._cash.knows(item.client_order_id):
                self._cash.sales.outcome(item)
            return
        match item:
            case OrderAcked():
                self._facts.acked(order, item.venue_order_id)
                self._work.resolve("venue_auth", self._work.account_id, "the venue takes orders with this key again")
            case OrderRefused() if order.state in ("SENDING", "UNKNOWN"):
                if order.venue_order_id is None and order.filled_quantity == 0:
                    self._refused(order, item)
            case OutcomeUnknown() if order.state == "SENDING":
                self._facts.move(order, "UNKNOWN", item.reason)
            case OutcomeUnknown() | CancelRefused() if order.state == "CANCELLING":
                self._evidence.doubt(order)
            case _:
                return

    def _take_amendment(self, item: AmendAcked | AmendRefused | AmendUnknown) -> None:
        """An acknowledgement proves nothing: the price is believed when it is seen at the venue."""
        order = self._work.book.orders.get(item.client_order_id)
        if order is None:
            return
        match item:
            case AmendRefused():
                amendment_refused(order, f"{item.code}: {item.text}", self._work)
                if item.kind == "rejected":
                    self._evidence.doubt(order)
            case AmendUnknown() if order.is_amending:
                self._evidence.doubt(order)
            case _:
                return

    def _refused(self, order: Order, item: OrderRefused) -> None:
        self._work.record(
            rows.OrderMoved(
                client_order_id=item.client_order_id,
                state="REFUSED",
                reason=f"{item.code}: {item.text}",
                refusal_kind=item.kind,
                refusal_code=item.code,
            )
        )
        if item.code == COUNTDOWN_FIRED:
            leg = self._work.book.trades[order.trade_id].legs[order.leg_index]
            self._countdowns.fired(leg.instrument.underlying)
        if item.kind == "auth":
            self._work.alert(
                "venue_auth",
                "critical",
                self._work.account_id,
                f"the venue refuses the key with code {item.code} for order {item.client_order_id}: check its rights "
                "and addresses",
            )

    def _advance(self) -> None:
        """Everything that follows from what is known now, then publish what changed."""
        work = self._work
        note_arrivals(work)
        wakes = [self._guards.look(), self._evidence.look(), self._rfq_desk.look(), self._inquiries.look()]
        concerned = [work.book.trades[trade_id] for trade_id in {**work.book.active, **work.touched_trades}]
        if work.book.halts:
            # What still opens is withdrawn before anything is closed.
            concerned.sort(key=lambda trade: trade.state not in OPENING_STATES)
        wakes += [self._lifecycle.advance(trade) for trade in concerned]
        wakes += [self._evidence.look(), self._rfq_desk.look(), self._countdowns.look()]
        wakes += [self._cash.look(), self._leverage.look(), self._schedule.advance()]
        note_arrivals(work)
        note_deltas(work)
        for number in work.touched_orders:
            if number in work.book.orders:
                work.publish("exec.{account}.order", order_update(work.book.orders[number], work.account_id))
        for trade_id in work.touched_trades:
            if trade_id in work.book.trades:
                self._tell_trade(work.book.trades[trade_id])
        self._quote_requests.tell()
        work.step.effects = withdrawn_together(work.step.effects)
        wake_ns = earliest(*wakes)
        self._wake_ns = None if wake_ns is None else max(wake_ns, work.now_ns + MS)

    def _tell_trade(self, trade: Trade) -> None:
        """Publish it, if more of it is new than when a row spoke of it: each order of a strategy that quotes does."""
        work = self._work
        waiting = work.waiting.get(trade.trade_id, "")
        update = trade_update(trade, work.book, work.account_id, waiting)
        told = self._told.get(trade.trade_id)
        if told is not None and msgspec.structs.replace(told, updated_ns=update.updated_ns) == update:
            return
        if trade.is_final:
            self._told.pop(trade.trade_id, None)
        else:
            self._told[trade.trade_id] = update
        work.publish("exec.{account}.trade", update)
