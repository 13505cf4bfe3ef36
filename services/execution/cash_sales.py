"""Follows each sale of the cash rule to its end, and looks on after it for what the venue may still bring."""

from __future__ import annotations

from decimal import Decimal

from services.execution.cash_book import DAY_NS, FINAL_STATES, Sale
from services.execution.cash_effects import FindSale, SaleFound, SaleNotAnswered, WithdrawSale
from services.execution.cash_rows import CashSaleMoved
from services.execution.halted import halt_text
from services.execution.records import ZERO
from services.execution.winding_down import WindingDown
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns, earliest
from shared.messages.cash import CashSaleState
from shared.messages.venue import (
    OPEN_VENUE_STATES,
    CancelAcked,
    CancelRefused,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    VenueOrder,
)

ANSWER_NS = 60 * SECOND
_FIRST_LOOK_NS = 300 * MS
_LOOK_FIRST_MS, _LOOK_MAX_MS = 500, 5_000
_WITHDRAW_AGAIN_NS = 5 * SECOND
_FEE_PATIENCE_NS = 20 * SECOND
_CLOCK_SKEW_NS = 60 * SECOND
_DOUBT_NS = 300 * SECOND
_DOUBT_FIRST_MS, _DOUBT_MAX_MS = 5_000, 60_000
_DOUBTS_KEPT = 10


class _Look:
    """Of one sale: what is volatile. A restart asks anew."""

    def __init__(self, due_ns: int) -> None:
        self.due_ns = due_ns
        self.asked_ns: int | None = None
        self.times = 0
        self.withdrawn_ns = 0
        self.ended_ns = 0
        self.query_told = ""
        self.cancel_told = ""

    @property
    def told(self) -> str:
        return "; ".join(filter(None, (self.query_told, self.cancel_told)))


class SaleFollower:
    """While the outcome of a sale is unknown it is looked for until query, open orders and history tell, or all lack
    it longer after it became unknown than the venue may still act on it. What was given up like this is looked for
    on, for minutes and after a restart: if it appears after all it is live again.
    """

    def __init__(self, work: Workspace, winding_down: WindingDown) -> None:
        self._work = work
        self._config = work.config.cash
        self._winding_down = winding_down
        self.endings = 0
        """How many sales have ended in this process."""

        self._looks: dict[int, _Look] = {}
        self._hold_until_ns = 0
        self.key_refused = ""
        """Why the venue refuses the key, "" while it does not. Another try brings nothing but another refusal."""

    def begin(self) -> None:
        """After the fold: what was being sent when the last process died is unknown."""
        for number in tuple(self._work.book.cash.live):
            sale = self._work.book.cash.sales[number]
            if sale.state == "SENDING":
                self._move(sale, "UNKNOWN", "execution restarted before an outcome was known")

    def distrust(self) -> None:
        """Time has passed that nobody saw: what was sent before may still arrive."""
        work = self._work
        self._hold_until_ns = work.now_ns + (work.config.order_validity_ms + work.config.evidence_margin_ms) * MS
        begin_ns = work.now_ns - DAY_NS
        given_up = [
            sale.client_order_id
            for sale in work.book.cash.sales.values()
            if sale.state == "NEVER_PLACED" and sale.updated_ns > begin_ns
        ]
        self._looks = {number: _Look(work.now_ns) for number in (*given_up[-_DOUBTS_KEPT:], *work.book.cash.live)}

    def sent(self, number: int) -> None:
        """This sale was sent now."""
        self._looks[number] = _Look(self._work.now_ns + self._work.config.sending_guard_ms * MS)

    def doubt(self, number: int) -> None:
        """The venue shows an order of which the journal says that it is over: look for it now."""
        look = self._looks.setdefault(number, _Look(self._work.now_ns))
        if look.asked_ns is None:
            look.due_ns = self._work.now_ns

    def look(self) -> int | None:
        """Ask for what is due; returns when to look again."""
        sales = self._work.book.cash.sales
        for number in [number for number in self._looks if number not in sales]:
            del self._looks[number]
        wakes = [self._tend(sales[number]) for number in tuple(self._work.book.cash.live)]
        wakes += [self._ask(sales[number], self._looks[number]) for number in self._looks if sales[number].is_final]
        return earliest(*wakes)

    def text(self) -> str:
        """Of the oldest live sale: its state, for how long, and what the venue said last; "" without one."""
        work = self._work
        for number in work.book.cash.live:
            sale = work.book.cash.sales[number]
            look = self._looks.get(number)
            text = f"sale {number} is {sale.state} since {(work.now_ns - sale.state_ns) // SECOND} s"
            return f"{text}: {look.told}" if look is not None and look.told else text
        return ""

    def is_stuck(self) -> bool:
        """Whether a live sale is older than a person need not know."""
        book = self._work.book.cash
        return any(self._work.now_ns >= self._late_ns(book.sales[number]) for number in book.live)

    def outcome(self, item: OrderAcked | OrderRefused | OutcomeUnknown | CancelAcked | CancelRefused) -> None:
        """What the venue said of a sale."""
        sale = self._work.book.cash.sales[item.client_order_id]
        if sale.is_final:
            if isinstance(item, OrderAcked) or (isinstance(item, OutcomeUnknown) and sale.state == "NEVER_PLACED"):
                self.doubt(sale.client_order_id)
            return
        match item:
            case OrderAcked(venue_order_id=venue_id) if sale.state in ("SENDING", "UNKNOWN"):
                self._move(sale, "WORKING", "acknowledged", venue_order_id=venue_id)
                self._look_at(sale, _FIRST_LOOK_NS)
            case OrderRefused() if sale.state in ("SENDING", "UNKNOWN") and sale.venue_order_id is None:
                self._refused(sale, item)
            case OutcomeUnknown(reason=reason) if sale.state == "SENDING":
                self._move(sale, "UNKNOWN", reason)
                self._look_at(sale, 0)
            case CancelRefused():
                self._look_at(sale, 0).cancel_told = f"the cancel is refused, {item.code}: {item.text}"
            case OutcomeUnknown(reason=reason):
                self._look_at(sale, 0).cancel_told = f"the cancel is not answered: {reason}"
            case _:
                self._look_at(sale, 0)

    def _refused(self, sale: Sale, item: OrderRefused) -> None:
        reason = f"{item.code}: {item.text}"
        self._move(sale, "REFUSED", reason)
        if item.kind == "auth":
            self.key_refused = reason
        text = f"the venue refuses to sell {sale.quantity:f} in {sale.symbol}: {reason}"
        self._work.alert("cash_low", "warning", self._config.asset, text)

    def found(self, item: SaleFound | SaleNotAnswered) -> None:
        """What a query brought."""
        work = self._work
        sale, look = work.book.cash.sales.get(item.client_order_id), self._looks.get(item.client_order_id)
        if sale is None or look is None:
            return
        look.asked_ns = None
        first_ms, most_ms = (_DOUBT_FIRST_MS, _DOUBT_MAX_MS) if sale.is_final else (_LOOK_FIRST_MS, _LOOK_MAX_MS)
        look.due_ns = work.now_ns + backoff_ns(first_ms, most_ms, look.times)
        look.times += 1
        if isinstance(item, SaleNotAnswered):
            look.query_told = f"the query is not answered: {item.reason}"
            return
        order = item.order
        look.query_told = "no list of the venue has it" if order is None else f"the venue has it as {order.state}"
        if sale.is_final and not self._appeared(sale, item):
            if item.asked_ns > sale.updated_ns + _DOUBT_NS or sale.state != "NEVER_PLACED":
                del self._looks[sale.client_order_id]
        elif order is None:
            self._absent(sale, item)
        elif order.state in OPEN_VENUE_STATES:
            look.ended_ns = 0
            self._open(sale, order)
        else:
            self._ended(sale, item, order, look)

    def _appeared(self, sale: Sale, item: SaleFound) -> bool:
        """Take back into the books what was over there and is not, or traded more, at the venue."""
        order = item.order
        traded = max(_quantity_of(item), ZERO if order is None else order.filled_quantity)
        is_open = order is not None and order.state in OPEN_VENUE_STATES
        is_new = sale.state in ("NEVER_PLACED", "REFUSED") and (order is not None or traded > 0)
        if not is_open and not is_new and traded <= sale.filled_quantity:
            return False
        text = f"{sale.symbol}: sale {sale.client_order_id} was {sale.state} and appeared at the venue after all"
        self._move(sale, "UNKNOWN", "it appeared at the venue after all")
        self._work.alert("order_unresolved", "critical", str(sale.client_order_id), text)
        return True

    def _absent(self, sale: Sale, item: SaleFound) -> None:
        """Only what was never seen at the venue, and cannot arrive there any more, was never placed. A request may be
        signed until its outcome is unknown, and is valid from then on."""
        config = self._work.config
        gone_ns = sale.state_ns + (config.order_validity_ms + config.evidence_margin_ms) * MS
        gone_ns = max(gone_ns, self._hold_until_ns)
        seen = sale.venue_order_id is not None or sale.filled_quantity or item.fills
        if sale.state == "UNKNOWN" and not seen and item.asked_ns > gone_ns:
            self._move(sale, "NEVER_PLACED", "query, open orders and history of the venue lack it")

    def _open(self, sale: Sale, order: VenueOrder) -> None:
        state: CashSaleState = "CANCELLING" if sale.state == "CANCELLING" else "WORKING"
        if state != sale.state or order.filled_quantity > sale.filled_quantity:
            so_far = f"{order.filled_quantity:f} of {sale.quantity:f} are sold"
            self._move(
                sale,
                state,
                sale.reason if state == "CANCELLING" else so_far,
                venue_order_id=order.venue_order_id,
                filled=max(order.filled_quantity, sale.filled_quantity),
                average_price=order.average_price,
            )

    def _ended(self, sale: Sale, item: SaleFound, order: VenueOrder, look: _Look) -> None:
        """The end is final once its fills, and so the fee, are told; they may lag for a while. The row of the order
        may lag behind its fills: what is not wholly sold is looked at once more when the lists have settled."""
        work = self._work
        sold = _quantity_of(item)
        filled = max(order.filled_quantity, sold, sale.filled_quantity)
        fees = [fill.fee_usd for fill in item.fills]
        look.ended_ns = look.ended_ns or work.now_ns
        settled_ns = look.ended_ns + work.config.settled_view_ms * MS
        if filled < sale.quantity and item.asked_ns <= settled_ns:
            look.due_ns = settled_ns + MS
            return
        complete = sold >= filled and None not in fees
        if not complete and work.now_ns < look.ended_ns + _FEE_PATIENCE_NS:
            return
        fee_usd = sum((fee for fee in fees if fee is not None), ZERO) if complete else None
        state: CashSaleState = "FILLED" if order.state == "filled" or filled >= sale.quantity else "CANCELLED"
        reason = f"{filled:f} of {sale.quantity:f} were sold"
        if sale.state == "CANCELLING" and state == "CANCELLED":
            reason += f"; {sale.reason}"
        average_price = order.average_price
        if sold and (average_price is None or sold > order.filled_quantity):
            average_price = sum((fill.quantity * fill.price for fill in item.fills), ZERO) / sold
        self._move(
            sale,
            state,
            reason,
            venue_order_id=order.venue_order_id,
            filled=filled,
            average_price=average_price,
            fee_usd=fee_usd,
        )
        if not filled:
            text = f"a sale of {sale.quantity:f} in {sale.symbol} traded nothing: {sale.reason}"
            work.alert("cash_low", "warning", self._config.asset, text)
        else:
            value = filled * (average_price or sale.price)
            fee = "a fee that is not known" if fee_usd is None else f"a fee of {fee_usd:.2f}"
            coin = sale.symbol.removesuffix("USDT")
            text = f"sold {filled:f} {coin} for {value:.2f} USDT with {fee}: {sale.why}"
            work.alert("cash_sold", "info", str(sale.client_order_id), text)

    def _tend(self, sale: Sale) -> int | None:
        """Withdraw a sale whose time is over, tell of one that does not end, and ask for one that is due."""
        work = self._work
        look = self._looks.setdefault(sale.client_order_id, _Look(work.now_ns))
        if sale.state == "SENDING":
            guard_ns = sale.requested_ns + work.config.sending_guard_ms * MS
            if work.now_ns < guard_ns:
                return guard_ns
            self._move(sale, "UNKNOWN", "no outcome came back")
            look.due_ns = work.now_ns
        rest_ns = self._rest_ns(sale)
        why = self._withdrawn_for(rest_ns)
        if sale.state == "WORKING" and why:
            self._move(sale, "CANCELLING", why)
        is_over = sale.state == "CANCELLING" or bool(why)
        if is_over and work.now_ns >= look.withdrawn_ns + _WITHDRAW_AGAIN_NS:
            look.withdrawn_ns = work.now_ns
            ref = OrderRef(
                client_order_id=sale.client_order_id, venue_order_id=sale.venue_order_id, symbol=sale.symbol
            )
            work.send(WithdrawSale(ref))
        late_ns = self._late_ns(sale)
        if work.now_ns >= late_ns:
            text = f"{sale.symbol}: {self._age_text(sale)}: {look.told or 'the venue has not answered'}"
            work.alert("order_unresolved", "critical", str(sale.client_order_id), text)
        ahead = [at_ns for at_ns in (rest_ns, late_ns) if at_ns > work.now_ns]
        return earliest(self._ask(sale, look), *ahead)

    def _age_text(self, sale: Sale) -> str:
        age_s = (self._work.now_ns - sale.requested_ns) // SECOND
        return f"sale {sale.client_order_id} is {sale.state} ({sale.reason}), {age_s} s after it was asked for"

    def _ask(self, sale: Sale, look: _Look) -> int:
        """Ask for the order if that is due; returns when to look again."""
        work = self._work
        if look.asked_ns is not None and work.now_ns < look.asked_ns + ANSWER_NS:
            return look.asked_ns + ANSWER_NS
        if work.now_ns < look.due_ns:
            return look.due_ns
        look.asked_ns = work.now_ns
        since_ns = sale.requested_ns - _CLOCK_SKEW_NS
        work.send(FindSale(client_order_id=sale.client_order_id, symbol=sale.symbol, since_ns=since_ns))
        return work.now_ns + ANSWER_NS

    def _rest_ns(self, sale: Sale) -> int:
        return sale.requested_ns + self._config.rest_s * SECOND

    def _late_ns(self, sale: Sale) -> int:
        """From then on a person must know of a live sale, whatever the venue answers."""
        patience_ns = self._work.config.query_alert_after_ms * MS
        late_ns = self._rest_ns(sale) + patience_ns
        return min(late_ns, sale.state_ns + patience_ns) if sale.state in ("UNKNOWN", "CANCELLING") else late_ns

    def _withdrawn_for(self, rest_ns: int) -> str:
        """Why what rests of a sale is withdrawn now; "" while it may rest."""
        work = self._work
        if work.book.halts:
            return halt_text(work.book.halts[-1])
        if work.is_winding_down and self._winding_down.choice != "leave_all":
            return "execution stops"
        return f"it rested for {self._config.rest_s} s" if work.now_ns >= rest_ns else ""

    def _look_at(self, sale: Sale, in_ns: int) -> _Look:
        look = self._looks.setdefault(sale.client_order_id, _Look(self._work.now_ns))
        look.due_ns = self._work.now_ns + in_ns
        look.times = 0
        return look

    def _move(
        self,
        sale: Sale,
        state: CashSaleState,
        reason: str,
        *,
        venue_order_id: int | None = None,
        filled: Decimal | None = None,
        average_price: Decimal | None = None,
        fee_usd: Decimal | None = None,
    ) -> None:
        work = self._work
        work.record(
            CashSaleMoved(
                client_order_id=sale.client_order_id,
                state=state,
                reason=reason,
                venue_order_id=venue_order_id,
                filled_quantity=filled,
                average_price=average_price,
                fee_usd=fee_usd,
            )
        )
        if state in FINAL_STATES:
            self._looks.pop(sale.client_order_id, None)
            if state == "NEVER_PLACED":
                self._looks[sale.client_order_id] = _Look(work.now_ns + _DOUBT_FIRST_MS * MS)
            self.endings += 1
            work.resolve("order_unresolved", str(sale.client_order_id), f"sale {sale.client_order_id} is {state}")


def _quantity_of(item: SaleFound) -> Decimal:
    """What its fills tell that it sold."""
    return sum((fill.quantity for fill in item.fills), ZERO)
