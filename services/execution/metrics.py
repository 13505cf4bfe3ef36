"""What execution measures beside what every service does: trades, orders, hops of an order, differences, money."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol, get_args

from services.execution import rows
from services.execution.book import Book
from services.execution.cash_metrics import CashMetrics
from services.execution.cash_rows import CashSaleMoved, CashSaleRequested
from services.execution.effects import AmendBatch, AmendOrder, CancelBatch, CancelOrder, PlaceBatch, PlaceOrder
from services.execution.inquiry_metrics import InquiryMetrics
from services.execution.inquiry_rows import InquiryAnswered, InquiryAsked, InquiryEnded, InquiryTaken
from services.execution.quality import phase_quality
from services.execution.records import ZERO, Trade
from services.execution.rfq_metrics import RfqMetrics
from services.execution.rfq_rows import AcceptRequested, QuotesJudged, RfqMoved, RfqRequested, RfqSighted
from services.execution.smart_metrics import SmartMetrics
from services.execution.states import HOLDING_STATES
from shared.messages.quality import Phase
from shared.messages.reconciliation import ReconciliationReport
from shared.messages.steps import Entry, Publish, Reply
from shared.messages.trades import (
    FINAL_ORDER_STATES,
    FINAL_TRADE_STATES,
    HaltLevel,
    OrderState,
    TradeAccepted,
    TradeState,
    TradeUpdate,
)
from shared.messages.venue import (
    AmendAcked,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    OrderAcked,
    OrderRefused,
    OutcomeUnknown,
)
from shared.metrics import Metrics

_REMEMBERED = 10_000
_LIVE_TRADE_STATES = tuple(state for state in get_args(TradeState) if state not in FINAL_TRADE_STATES)
_LIVE_ORDER_STATES = tuple(state for state in get_args(OrderState) if state not in FINAL_ORDER_STATES)

SLIPPAGE_BUCKETS_BP = (-1000.0, -500.0, -200.0, -100.0, -50.0, -20.0, 0.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
FILL_BUCKETS_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0)

Outcome = (
    OrderAcked
    | OrderRefused
    | OutcomeUnknown
    | AmendAcked
    | AmendRefused
    | AmendUnknown
    | CancelAcked
    | CancelRefused
)
_OUTCOMES: dict[type, tuple[str, str]] = {
    OrderAcked: ("place", "acked"),
    OrderRefused: ("place", "refused"),
    AmendAcked: ("amend", "acked"),
    AmendRefused: ("amend", "refused"),
    AmendUnknown: ("amend", "unknown"),
    CancelAcked: ("cancel", "acked"),
    CancelRefused: ("cancel", "refused"),
}


_NOT_COUNTED = frozenset[type]({rows.AmendRequested, rows.OrderRepriced, rows.OrderSighted})
"""Most rows of a strategy that quotes."""


class Host(Protocol):
    """What is read of the core's host."""

    @property
    def performed_ns(self) -> int: ...

    def cause_of(self, cause_id: str) -> tuple[str, int]: ...


class ExecutionMetrics:
    """An observer of the host; the shell tells it of outcomes, and once a second of the book."""

    def __init__(self, metrics: Metrics, host: Host, book: Callable[[], Book], now_ns: Callable[[], int]) -> None:
        self._host = host
        self._book = book
        self._now_ns = now_ns
        self._requested: set[str] = set()
        self._accepted: OrderedDict[str, int] = OrderedDict()
        self._on_the_way: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._booked: dict[str, tuple[float, float, float]] = {}
        self._realized: dict[str, float] = {}
        self._fees: dict[str, float] = {}
        self._funding: dict[str, float] = {}
        self._declare_trades(metrics)
        self._declare_orders(metrics)
        self._declare_safety(metrics)
        self._rfqs = RfqMetrics(metrics)
        self._smart = SmartMetrics(metrics)
        self._inquiries = InquiryMetrics(metrics)
        self._cash = CashMetrics(metrics)

    def _declare_trades(self, metrics: Metrics) -> None:
        self._trades = metrics.table("voldesk_trades", "Trades that are not final, by state", "state")
        self._trades_requested = metrics.counters(
            "voldesk_trades_requested_total", "Intents that became a trade", "strategy"
        )
        self._trades_ended = metrics.counters(
            "voldesk_trades_ended_total", "Trades that became final, by state", "strategy", "state"
        )
        self._realized_usd = metrics.table(
            "voldesk_realized_pnl_usd",
            "Realised P&L before fees of all trades that execution remembered at its start and had since",
            "strategy",
        )
        self._slippage_bp = metrics.histograms(
            "voldesk_slippage_bp",
            "Slippage of openings and closes against the mid at arrival, in bp of premium; a cost is above 0",
            "strategy",
            "execution_mode",
            "phase",
            buckets=SLIPPAGE_BUCKETS_BP,
        )
        self._time_to_fill = metrics.histograms(
            "voldesk_time_to_fill_seconds",
            "From the arrival of an intent, or the beginning of a close, to its last execution",
            "strategy",
            "execution_mode",
            "phase",
            buckets=FILL_BUCKETS_S,
        )
        self._fees_usd = metrics.table("voldesk_fees_usd", "Fees of the same trades, paid > 0", "strategy")
        self._funding_usd = metrics.table(
            "voldesk_funding_usd", "Funding of perpetuals of the same trades, paid > 0", "strategy"
        )

    def _declare_orders(self, metrics: Metrics) -> None:
        self._orders = metrics.table(
            "voldesk_orders", "Orders that may still trade, by state; UNKNOWN counts as exposure", "state"
        )
        self._orders_requested = metrics.counters("voldesk_orders_requested_total", "Orders, once each", "purpose")
        self._orders_ended = metrics.counters(
            "voldesk_orders_ended_total",
            "Orders by what became of them, at each time it was decided",
            "purpose",
            "outcome",
        )
        self._orders_refused = metrics.counters(
            "voldesk_orders_refused_total", "Orders that were certainly not taken, by kind of refusal", "kind"
        )
        self._orders_unknown = metrics.counter("voldesk_orders_unknown_total", "Orders whose outcome became unknown")
        self._fills = metrics.counters("voldesk_fills_total", "Executions of our orders, once each", "purpose")
        self._intent_to_order = metrics.histogram(
            "voldesk_intent_to_order_seconds",
            "From the publishing of an intent until the first order of its trade was handed to the venue's gateway, "
            "journal included; the wait for a rate limit comes after it",
        )
        self._order_to_ack = metrics.histograms(
            "voldesk_order_to_ack_seconds",
            "From handing an order (place), an amendment or a cancel to the gateway until its outcome: acked, "
            "refused, unknown; the wait for a rate limit included",
            "call",
            "outcome",
        )

    def _declare_safety(self, metrics: Metrics) -> None:
        self._halts = metrics.table("voldesk_halts", "Halts in force, by level", "level")
        self._halts_raised = metrics.counters("voldesk_halts_raised_total", "Halts raised, by level", "level")
        self._reconciliations = metrics.counters(
            "voldesk_reconciliations_total", "Comparisons with the venue, by what triggered them", "trigger"
        )
        self._differences = metrics.counters(
            "voldesk_reconciliation_differences_total", "Differences that they found, once each, by kind", "kind"
        )
        self._standing = metrics.table(
            "voldesk_reconciliation_differences",
            "Orders and positions at the venue that are not the desk's and stand now, by kind",
            "kind",
        )
        self._synced = metrics.gauge(
            "voldesk_reconciled", "1 when the venue was compared since the last start, reconnect or stall, else 0"
        )

    def begin(self) -> None:
        """Take over the book that was folded from the journal."""
        for trade in self._book().trades.values():
            self._account(trade.trade_id, trade.request.strategy, *_money(trade))

    hears = frozenset[type](
        {
            *(PlaceOrder, PlaceBatch, AmendOrder, AmendBatch, CancelOrder, CancelBatch),
            *(TradeAccepted, TradeUpdate, ReconciliationReport),
        }
    )

    def committed(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if type(entry.row) not in _NOT_COUNTED:
                self._count(entry.row)

    def performed(self, effect: Any, cause_id: str) -> None:
        match effect:
            case PlaceOrder(order=order):
                self._placed(order.client_order_id)
            case AmendOrder(change=change):
                self._left("amend", change.order.client_order_id)
            case PlaceBatch(orders=orders):
                for order in orders:
                    self._placed(order.client_order_id)
            case AmendBatch(changes=changes):
                for change in changes:
                    self._left("amend", change.order.client_order_id)
            case CancelBatch(orders=refs):
                for ref in refs:
                    self._left("cancel", ref.client_order_id)
            case CancelOrder(order=ref):
                self._left("cancel", ref.client_order_id)
            case Reply(message=TradeAccepted(trade_id=trade_id)):
                self._answered(trade_id, cause_id)
            case Publish(message=TradeUpdate() as trade):
                money = float(trade.realized_pnl_usd), float(trade.fees_usd), float(trade.funding_usd)
                self._account(trade.trade_id, trade.strategy, *money)
            case Publish(message=ReconciliationReport() as report):
                self._reconciliations(report.trigger).inc()

    def outcome(self, item: Outcome) -> None:
        """The venue's answer to an order or a cancel, or that there was none."""
        if isinstance(item, OutcomeUnknown):
            placed = ("place", item.client_order_id) in self._on_the_way
            call, outcome = "place" if placed else "cancel", "unknown"
        else:
            call, outcome = _OUTCOMES[type(item)]
        since_ns = self._on_the_way.pop((call, item.client_order_id), None)
        if since_ns is not None:
            self._order_to_ack(call, outcome).observe((self._now_ns() - since_ns) / 1e9)

    def watch(self, *, is_synced: bool) -> None:
        """Set the gauges from the book."""
        book = self._book()
        trades = Counter(trade.state for trade in book.active_trades())
        self._trades.show({state: trades[state] for state in _LIVE_TRADE_STATES})
        orders = Counter(book.orders[number].state for number in book.unsettled)
        self._orders.show({state: orders[state] for state in (*_LIVE_ORDER_STATES, *orders)})
        halts = Counter(halt.level for halt in book.halts)
        self._halts.show({level: halts[level] for level in get_args(HaltLevel)})
        self._synced.set(is_synced)
        standing = Counter(found.difference.kind for found in book.differences.values() if found.stands)
        self._standing.show({kind: standing[kind] for kind in ("foreign_order", "foreign_position")})
        self._rfqs.watch(book.rfqs)
        self._inquiries.watch(book.inquiries)
        self._cash.watch(book.cash, self._now_ns())
        self._realized_usd.show(dict(self._realized))
        self._fees_usd.show(dict(self._fees))
        self._funding_usd.show(dict(self._funding))
        if len(self._booked) > len(book.trades) + _REMEMBERED:
            self._booked = {name: booked for name, booked in self._booked.items() if name in book.trades}

    def words(self) -> dict[str, object]:
        """For the health line."""
        book = self._book()
        return {
            "open_trades": len(book.active),
            "live_orders": len(book.unsettled),
            "unknown_orders": sum(book.orders[number].state == "UNKNOWN" for number in book.unsettled),
            "halts": len(book.halts),
        }

    def _count(self, row: rows.Row) -> None:
        book = self._book()
        match row:
            case rows.TradeRequested(trade_id=trade_id, request=request):
                self._requested.add(trade_id)
                self._trades_requested(request.strategy).inc()
            case rows.TradeMoved(trade_id=trade_id, state=state) if state in HOLDING_STATES:
                self._executed(trade_id, "open")
            case rows.TradeMoved(trade_id=trade_id, state=state) if state in FINAL_TRADE_STATES:
                if book.trades[trade_id].opened_ns is None:
                    self._executed(trade_id, "open")
                self._executed(trade_id, "close")
                self._requested.discard(trade_id)
                self._accepted.pop(trade_id, None)
                self._trades_ended(book.trades[trade_id].request.strategy, state).inc()
            case rows.OrderRequested(purpose=purpose):
                self._orders_requested(purpose).inc()
            case rows.OrderMoved(client_order_id=number, state=state):
                if state in FINAL_ORDER_STATES and number in book.orders:
                    self._orders_ended(book.orders[number].purpose, state).inc()
                if state == "UNKNOWN":
                    self._orders_unknown.inc()
                if row.refusal_kind is not None:
                    self._orders_refused(row.refusal_kind).inc()
            case rows.FillSeen(client_order_id=number):
                self._fills(book.orders[number].purpose).inc()
            case rows.HaltRaised(level=level):
                self._halts_raised(level).inc()
            case rows.DifferenceFound(difference=difference):
                self._differences(difference.kind).inc()
            case rows.FellBack():
                self._rfqs.fell_back(row)
            case rows.ChunkEnded() | rows.SpreadCrossed():
                self._smart.count(row)
            case InquiryAsked() | InquiryTaken() | InquiryAnswered() | InquiryEnded():
                self._inquiries.count(row)
            case CashSaleRequested() | CashSaleMoved():
                self._cash.count(row)
            case RfqRequested() | RfqMoved() | QuotesJudged() | AcceptRequested() | RfqSighted():
                self._rfqs.count(row, book.rfqs.rfqs.get(row.rfq_id))

    def _executed(self, trade_id: str, phase: Phase) -> None:
        """An opening or a close is over: how well it was executed."""
        quality = phase_quality(self._book().trades[trade_id], phase)
        if quality.slippage_bp is not None:
            self._slippage_bp(quality.strategy, quality.mode, phase).count(quality.slippage_bp)
        if quality.orders and quality.time_to_fill_s is not None:
            self._time_to_fill(quality.strategy, quality.mode, phase).observe(quality.time_to_fill_s)

    def _answered(self, trade_id: str, cause_id: str) -> None:
        """Note when the intent of a new trade was published; a repeated intent is no new trade."""
        if trade_id in self._requested:
            self._requested.discard(trade_id)
            _, published_ns = self._host.cause_of(cause_id)
            if published_ns:
                _remember(self._accepted, trade_id, published_ns)

    def _placed(self, number: int) -> None:
        self._left("place", number)
        order = self._book().orders.get(number)
        since_ns = None if order is None else self._accepted.pop(order.trade_id, None)
        if since_ns is not None:
            self._intent_to_order.observe((self._host.performed_ns - since_ns) / 1e9)

    def _left(self, call: str, number: int) -> None:
        _remember(self._on_the_way, (call, number), self._host.performed_ns)

    def _account(
        self, trade_id: str, strategy: str, realized_usd: float, fees_usd: float, funding_usd: float
    ) -> None:
        before = self._booked.get(trade_id, (0.0, 0.0, 0.0))
        now = self._booked[trade_id] = (realized_usd, fees_usd, funding_usd)
        for sums, value, value_before in zip((self._realized, self._fees, self._funding), now, before, strict=True):
            sums[strategy] = sums.get(strategy, 0.0) + value - value_before


def _money(trade: Trade) -> tuple[float, float, float]:
    realized_usd = float(sum((leg.realized_pnl_usd for leg in trade.legs), ZERO))
    return realized_usd, float(trade.fees_usd), float(trade.funding_usd)


def _remember(kept: OrderedDict[Any, int], key: Any, at_ns: int) -> None:
    kept[key] = at_ns
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)
