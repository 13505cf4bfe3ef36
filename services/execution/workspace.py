"""What the parts of the core share: the book, the volatile views, and the step that is being decided."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.execution import rows
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.effects import AmendOrder, CancelOrder, PlaceOrder
from services.execution.hedges import hedged_trade
from services.execution.hosts import HostsHeard
from services.execution.market import MarketView
from services.execution.pnl_changes import changes_money
from services.execution.quotes import QuoteView
from services.execution.records import Order, Trade
from services.execution.rolling import later_in_chain
from shared.ids import MAX_ATTEMPTS, OrderKey, client_order_id
from shared.messages.alert_kinds import ENDED_BY_A_PERSON
from shared.messages.base import Side, opposite
from shared.messages.space import ON_DISK, JournalSpace, space_alerts
from shared.messages.steps import Entry, Publish, RaiseAlert, Step
from shared.messages.system import Severity
from shared.messages.topics import topic_of
from shared.messages.trades import OrderFilled, Purpose, TradeState
from shared.messages.venue import Amendment, NewOrder, OrderRef, VenueFill
from shared.strategy.wording import DAY_NS

MS = 1_000_000
SECOND = 1_000_000_000
_ALERTS_KEPT = 2_000
_TELL_OF_AN_ORDER = frozenset[type](
    {
        *(rows.OrderRequested, rows.OrderMoved, rows.OrderSighted, rows.FillSeen, rows.FillAssumed),
        *(rows.StopTriggered, rows.AmendRequested, rows.OrderRepriced, rows.AmendFailed),
    }
)
"""Rows after which an order is looked at, and told of, anew."""

_TRADED_REMEMBERED_NS = _FORGETS_EVERY_NS = 3_600 * SECOND


class Workspace:
    """One per core. `begin` opens a step; `record` and `send` add to it."""

    def __init__(self, config: ExecutionConfig, *, account_id: str, desk_number: int) -> None:
        self.config = config
        self.account_id = account_id
        self.desk_number = desk_number
        self.book = Book.empty(config)
        self.market = MarketView(config.market_tolerance_ms * MS)
        self.quotes = QuoteView()
        self.now_ns = 0
        self.started_ns = 0
        self.hosts = HostsHeard()

        self.cause_id = ""
        self.step = Step()
        self.touched_trades: dict[str, None] = {}
        self.touched_orders: dict[int, None] = {}
        self.waiting: dict[str, str] = {}
        self.last_traded_ns: dict[str, int] = {}
        self.space = ON_DISK
        self.is_winding_down = False
        self._alerts: dict[tuple[str, str], str] = {}
        self._topics: dict[str, str] = {}

    def begin(self, now_ns: int, cause_id: str) -> None:
        """Start a new step. Time never runs backwards here, whatever the caller's clock does."""
        self.now_ns = max(now_ns, self.now_ns)
        self.cause_id = cause_id
        self.step = Step()
        self.touched_trades = {}
        self.touched_orders = {}

    def record(self, row: rows.Row) -> None:
        """Decide a fact: it is applied at once and journalled before any effect of this step."""
        entry = Entry(self.now_ns, self.cause_id, row)
        trade = self.book.apply(entry)
        self.step.rows.append(entry)
        if trade is not None:
            self.touched_trades[trade.trade_id] = None
            ends = trade.is_final or isinstance(row, rows.TradeMoved)
            if ends and (hedged := hedged_trade(trade, self.book)) is not None:
                self.touched_trades[hedged.trade_id] = None
            if trade.rolled_to and changes_money(row):
                # what the chain made until them is part of what is told of them
                self.touched_trades |= {later.trade_id: None for later in later_in_chain(self.book, trade)}
        if type(row) in _TELL_OF_AN_ORDER:
            number: int = row.client_order_id  # type: ignore[union-attr]  # each of them has one
            self.touched_orders[number] = None
            if isinstance(row, rows.FillSeen):
                order = self.book.orders[number]
                self._traded(order.symbol)
                self.publish_fill(order, row.fill)

    def _traded(self, symbol: str) -> None:
        # Options expire and new ones are listed for ever: keep only what a comparison may still ask for.
        horizon_ns = self.now_ns - _TRADED_REMEMBERED_NS
        self.last_traded_ns = {symbol: at_ns for symbol, at_ns in self.last_traded_ns.items() if at_ns > horizon_ns}
        self.last_traded_ns[symbol] = self.now_ns

    def publish_fill(self, order: Order, fill: VenueFill) -> None:
        """Tell of an execution; again when its fee has become known."""
        self.publish(
            "exec.{account}.fill",
            OrderFilled(
                client_order_id=order.client_order_id,
                venue_trade_id=fill.venue_trade_id,
                account_id=self.account_id,
                trade_id=order.trade_id,
                leg_index=order.leg_index,
                purpose=order.purpose,
                symbol=order.symbol,
                side=order.side,
                quantity=fill.quantity,
                price=fill.price,
                fee_usd=fill.fee_usd,
                is_taker=fill.is_taker,
                venue_ns=fill.venue_ns,
            ),
        )

    def send(self, effect: Any) -> None:
        self.step.effects.append(effect)

    def publish(self, pattern: str, message: Any) -> None:
        topic = self._topics.get(pattern)
        if topic is None:
            topic = self._topics[pattern] = topic_of(pattern, account=self.account_id)
        self.step.effects.append(Publish(topic, message, self.cause_id))

    def alert(self, code: str, severity: Severity, subject: str, text: str, *, stage: str = "") -> None:
        """Tell a person, once per (code, subject) until it is resolved.

        What a person ends is told again when it says something else: nothing here sees its end, and it may have been
        acknowledged since. stage: another one is news also while nobody has acknowledged the last.
        """
        told = self._alerts.get((code, subject))
        if told is not None and (told == text or code not in ENDED_BY_A_PERSON):
            return
        self._alerts[code, subject] = text
        if len(self._alerts) > _ALERTS_KEPT:
            del self._alerts[next(iter(self._alerts))]
        self.send(RaiseAlert(code=code, severity=severity, subject=subject, text=text, stage=stage))

    def resolve(self, code: str, subject: str, text: str) -> None:
        """Say that what `alert` told is over."""
        if (code, subject) in self._alerts:
            del self._alerts[code, subject]
            self.send(RaiseAlert(code=code, severity="info", subject=subject, text=text, resolved=True))

    def take_space(self, space: JournalSpace) -> None:
        """Know where rows go from now on, and tell a person."""
        for alert in space_alerts(self.space, space, "execution"):
            self.send(alert)
        self.space = space

    def can_place(self, trade: Trade, leg_index: int, purpose: Purpose) -> bool:
        """False when the ids of this leg and purpose are used up."""
        return trade.next_attempt(leg_index, purpose) < MAX_ATTEMPTS

    def place(
        self,
        trade: Trade,
        leg_index: int,
        purpose: Purpose,
        quantity: Decimal,
        price: Decimal,
        why: str,
        *,
        post_only: bool = False,
        label: str = "",
        retry_of: int | None = None,
        trigger_price: Decimal | None = None,
        at_market: bool = False,
    ) -> int:
        """Journal a new order and send it, once; returns its id."""
        row = self._order(
            trade,
            leg_index,
            purpose,
            quantity,
            price,
            why,
            post_only=post_only,
            label=label,
            retry_of=retry_of,
            trigger_price=trigger_price,
            at_market=at_market,
        )
        self.send(
            PlaceOrder(
                NewOrder(
                    client_order_id=row.client_order_id,
                    symbol=row.symbol,
                    side=row.side,
                    quantity=quantity,
                    price=price,
                    reduce_only=row.reduce_only,
                    post_only=post_only,
                    trigger_price=trigger_price,
                    at_market=at_market,
                )
            )
        )
        return row.client_order_id

    def stand_in(
        self, trade: Trade, leg_index: int, purpose: Purpose, quantity: Decimal, price: Decimal, quote_id: str
    ) -> None:
        """Journal an order that stands for one leg of a quote which is about to be accepted. It is never sent itself,
        and cannot be reduce only."""
        self._order(trade, leg_index, purpose, quantity, price, f"leg of quote {quote_id}", quote_id)

    def _order(
        self,
        trade: Trade,
        leg_index: int,
        purpose: Purpose,
        quantity: Decimal,
        price: Decimal,
        why: str,
        quote_id: str = "",
        *,
        post_only: bool = False,
        label: str = "",
        retry_of: int | None = None,
        trigger_price: Decimal | None = None,
        at_market: bool = False,
    ) -> rows.OrderRequested:
        leg = trade.legs[leg_index]
        attempt = trade.next_attempt(leg_index, purpose)
        key = OrderKey(
            desk=self.desk_number,
            trade_number=trade.number,
            leg_index=leg_index,
            purpose=purpose,
            attempt=attempt,
        )
        side: Side = leg.side if purpose == "open" else opposite(leg.side)
        row = rows.OrderRequested(
            client_order_id=client_order_id(key),
            trade_id=trade.trade_id,
            leg_index=leg_index,
            purpose=purpose,
            attempt=attempt,
            symbol=leg.symbol,
            side=side,
            quantity=quantity,
            price=price,
            reduce_only=purpose != "open" and not quote_id,
            why=why,
            quote_id=quote_id,
            post_only=post_only,
            label=label,
            retry_of=retry_of,
            forgets_before_ns=self._forgets_before(trade),
            trigger_price=trigger_price,
            at_market=at_market,
        )
        self.record(row)
        return row

    def _forgets_before(self, trade: Trade) -> int | None:
        """A few orders that ended unfilled are forgotten at once, every now and then."""
        kept_ns = self.config.unfilled_orders_kept_s * SECOND
        due = trade.by_strategy and self.now_ns - trade.forgot_ns >= kept_ns // 8
        return self.now_ns - kept_ns if due else None

    def forget_ended(self) -> None:
        """Let go of what ended longer ago than is kept, at most once an hour."""
        if self.now_ns - self.book.forgot_ns < _FORGETS_EVERY_NS:
            return
        self.record(
            rows.EndedForgotten(
                before_ns=self.now_ns - self.config.retention_days * DAY_NS,
                quality_before_ns=self.now_ns - self.config.quality_days * DAY_NS,
            )
        )

    def cancel(self, order: Order, why: str) -> None:
        """Cancel a working order; in any other state there is nothing to cancel yet, or no more."""
        if order.state != "WORKING" or order.quote_id:
            return
        self.record(rows.OrderMoved(client_order_id=order.client_order_id, state="CANCELLING", reason=why))
        self.send(CancelOrder(self.ref(order)))

    def amend(self, order: Order, price: Decimal, why: str) -> None:
        """Journal that a working order is moved to `price`, and ask for it, once. Its quantity stays."""
        assert order.state == "WORKING", f"order {order.client_order_id} is {order.state}"
        assert not order.is_amending, f"order {order.client_order_id} is being amended"
        self.record(rows.AmendRequested(client_order_id=order.client_order_id, price=price, why=why))
        self.send(AmendOrder(Amendment(order=self.ref(order), price=price, reduce_only=order.reduce_only)))

    def ref(self, order: Order) -> OrderRef:
        return OrderRef(
            client_order_id=order.client_order_id, venue_order_id=order.venue_order_id, symbol=order.symbol
        )

    def move(self, trade: Trade, state: TradeState, reason: str) -> None:
        self.record(rows.TradeMoved(trade_id=trade.trade_id, state=state, reason=reason))


def backoff_ns(first_ms: int, max_ms: int, times: int) -> int:
    """first, 2 × first, 4 × first ... up to max; a late answer may find nothing counted yet (`times` < 0)."""
    return min(max_ms, first_ms << min(max(times, 0), 30)) * MS


def earliest(*wakes: int | None) -> int | None:
    """The first of the instants that are given."""
    first: int | None = None
    for wake in wakes:
        if wake is not None and (first is None or wake < first):
            first = wake
    return first
