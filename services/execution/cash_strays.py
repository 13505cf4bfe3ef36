"""Orders at the venue that are the desk's by their ids and that its journal does not have, as after it was lost."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from services.execution.cash_book import DAY_NS
from services.execution.cash_effects import FindStrays, StraysFound, StraysNotFound, WithdrawSale
from services.execution.cash_sales import ANSWER_NS
from services.execution.records import ZERO
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns
from shared.ids import parse_client_order_id, trade_id
from shared.messages.venue import OPEN_VENUE_STATES, OrderRef, VenueFill, VenueOrder

_CLOCK_SKEW_NS = 60 * SECOND
_LOOK_FIRST_MS, _LOOK_MAX_MS = 500, 30_000


class StrayWatch:
    """Withdraws them, and knows what they sold of the pair within a day. Nothing may be sold before it `is_clear`:
    all open orders and the fills of the day were read, after what the last process or a stray did must show in them.
    """

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._config = work.config.cash
        self._open: dict[int, VenueOrder] = {}
        self._fills: dict[int, VenueFill] = {}
        self._shows_ns = 0
        self._due_ns = 0
        self._asked_ns: int | None = None
        self._times = 0
        self._told = ""
        self.is_clear = False

    def begin(self) -> None:
        """After a start: what the last process sent may still arrive."""
        config = self._work.config
        self._shows_ns = self._work.now_ns + (config.order_validity_ms + config.evidence_margin_ms) * MS
        self._due_ns = self._work.now_ns

    @property
    def text(self) -> str:
        """Why it is not clear; "" when it is."""
        if self.is_clear:
            return ""
        if self._open:
            numbers = ", ".join(map(str, self._open))
            return f"the venue has {numbers}, the desk's by its id and in no row of the journal: withdrawn"
        return f"what the desk sold before is being looked for{self._told}"

    def is_stuck(self) -> bool:
        """Whether it is not clear for longer than a person need not know."""
        patience_ns = self._work.config.query_alert_after_ms * MS
        return not self.is_clear and self._work.now_ns > self._shows_ns + patience_ns

    @property
    def settled_ns(self) -> int:
        """From then on a reading shows what strays sold."""
        newest_ns = max((fill.venue_ns for fill in self._fills.values()), default=0)
        return newest_ns + self._work.config.settled_view_ms * MS

    def used_usd(self, now_ns: int) -> Decimal:
        """What counts against the cap: what they sold within 24 hours, and what they may still sell."""
        begin_ns = now_ns - DAY_NS
        sold = sum((each.quantity * each.price for each in self._fills.values() if each.venue_ns > begin_ns), ZERO)
        open_usd = ((each.quantity - each.filled_quantity) * each.price for each in self._open.values())
        return sold + sum(open_usd, ZERO)

    def saw(self, orders: Iterable[VenueOrder]) -> None:
        """What is open at the venue: a stray among it is withdrawn, and looked for until it is gone and counted."""
        self._open = {
            order.client_order_id: order
            for order in orders
            if order.client_order_id is not None
            and order.state in OPEN_VENUE_STATES
            and self._is_unknown(order.client_order_id)
        }
        if not self._open:
            return
        if self.is_clear:
            self._times = 0
            self._due_ns = self._work.now_ns + SECOND
        self.is_clear = False
        self._shows_ns = max(self._shows_ns, self._work.now_ns + self._work.config.settled_view_ms * MS)
        for number, order in self._open.items():
            ref = OrderRef(client_order_id=number, venue_order_id=order.venue_order_id, symbol=order.symbol)
            self._work.send(WithdrawSale(ref))
            text = f"{order.symbol}: order {number} is the desk's by its id and in no row of the journal: withdrawn"
            self._work.alert("order_unknown_to_journal", "critical", str(number), text)

    def _is_unknown(self, number: int | None) -> bool:
        work = self._work
        if number is None or number in work.book.cash.sales:
            return False
        key = parse_client_order_id(number, work.desk_number)
        return key is not None and trade_id(key.trade_number) not in work.book.trades

    def look(self) -> int | None:
        """Ask for what is due; returns when to look again."""
        work = self._work
        if self._config.mode == "off" or self.is_clear or work.is_winding_down:
            return None
        if self._asked_ns is not None and work.now_ns < self._asked_ns + ANSWER_NS:
            return self._asked_ns + ANSWER_NS
        if work.now_ns < self._due_ns:
            return self._due_ns
        self._asked_ns = work.now_ns
        work.send(FindStrays(symbol=self._config.symbol, since_ns=work.now_ns - DAY_NS - _CLOCK_SKEW_NS))
        return work.now_ns + ANSWER_NS

    def found(self, item: StraysFound | StraysNotFound) -> None:
        """What that brought."""
        work = self._work
        self._asked_ns = None
        self._due_ns = work.now_ns + backoff_ns(_LOOK_FIRST_MS, _LOOK_MAX_MS, self._times)
        self._times += 1
        if isinstance(item, StraysNotFound):
            self._told = f": {item.reason}"
            return
        self._told = ""
        for fill in item.fills:
            if fill.side == "sell" and self._is_unknown(fill.client_order_id):
                self._fills[fill.venue_trade_id] = fill
        self.saw(item.orders)
        self.is_clear = not self._open and item.asked_ns > self._shows_ns
        if not self.is_clear and not self._open:
            self._due_ns = max(work.now_ns + MS, min(self._due_ns, self._shows_ns + MS))
