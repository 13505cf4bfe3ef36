"""Carries out the cash rule: reads, sells once, follows each sale to its end, and says why it acts or does not."""

from __future__ import annotations

from decimal import Decimal

from services.execution.cash_book import FINAL_STATES, Sale
from services.execution.cash_effects import (
    CashRead,
    CashReadFailed,
    FindSale,
    ReadCash,
    SaleFound,
    SaleNotAnswered,
    SellSpot,
    WithdrawSale,
)
from services.execution.cash_rows import CashSaleMoved, CashSaleRequested
from services.execution.cash_rule import CashSeen, Sell, Wait, decide, free_of
from services.execution.comparisons import ComparisonSchedule
from services.execution.halted import halt_text
from services.execution.records import ZERO
from services.execution.winding_down import WindingDown
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns, earliest
from shared.ids import OrderKey, client_order_id, next_trade_number, parse_client_order_id
from shared.messages.cash import CashCode, CashSaleState, CashStatus
from shared.messages.contracts import ContractOrder
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

_READ_AGE_MAX_NS = 10 * SECOND
_ANSWER_NS = 60 * SECOND
_CONFIRM_NS = SECOND
_READS_BELOW = 2
"""Reads in a row that must agree before anything is sold, against one wrong figure."""
_FIRST_LOOK_NS = 300 * MS
_LOOK_FIRST_MS, _LOOK_MAX_MS = 500, 5_000
_WITHDRAW_AGAIN_NS = 5 * SECOND
_FEE_PATIENCE_NS = 20 * SECOND
_CLOCK_SKEW_NS = 60 * SECOND
_TOLD_SALES = 50
_PASSING: frozenset[CashCode] = frozenset({"off", "enough", "selling", "interval", "confirming", "not_compared"})
"""Reasons that end by themselves: nobody needs to be told."""


class _Look:
    """Of one live sale: what is volatile. A restart asks anew."""

    def __init__(self, due_ns: int) -> None:
        self.due_ns = due_ns
        self.asked_ns: int | None = None
        self.times = 0
        self.withdrawn_ns = 0
        self.ended_ns = 0


class CashDesk:
    """At most one sale is live at a time. A sale is journalled before it is sent, is sent once, and while its outcome
    is unknown nothing more is sold: it is looked for until query, open orders and history tell, or all lack it longer
    after its request than the venue may still act on that.
    """

    def __init__(self, work: Workspace, schedule: ComparisonSchedule, winding_down: WindingDown) -> None:
        self._work = work
        self._config = work.config.cash
        self._schedule = schedule
        self._winding_down = winding_down
        self._looks: dict[int, _Look] = {}
        self._seen: CashSeen | None = None
        self._read_ns = 0
        self._asked_ns: int | None = None
        self._next_ns = 0
        self._below = 0
        self._hold_until_ns = 0

    def begin(self) -> None:
        """After the fold: what was being sent when the last process died is unknown."""
        for number in tuple(self._work.book.cash.live):
            sale = self._work.book.cash.sales[number]
            if sale.state == "SENDING":
                self._move(sale, "UNKNOWN", "execution restarted before an outcome was known")
        self.distrust()

    def distrust(self) -> None:
        """Time has passed that nobody saw: read anew, and what was sent before may still arrive."""
        config = self._work.config
        self._hold_until_ns = self._work.now_ns + (config.order_validity_ms + config.evidence_margin_ms) * MS
        self._below = 0
        self._asked_ns = None
        self._next_ns = self._work.now_ns
        self._looks = {number: _Look(self._work.now_ns) for number in self._work.book.cash.live}

    def knows(self, number: int) -> bool:
        """Whether an order is a sale of the cash rule."""
        return number in self._work.book.cash.sales

    def status(self) -> CashStatus:
        """For a person: what it would do now, and why it does or does not act."""
        work, config, seen = self._work, self._config, self._seen
        decision = self._decide()
        sells = isinstance(decision, Sell)
        sales = list(work.book.cash.sales.values())[-_TOLD_SALES:]
        return CashStatus(
            account_id=work.account_id,
            mode=config.mode,
            asset=config.asset,
            symbol=config.symbol,
            minimum_usdt=config.minimum_usdt,
            target_usdt=config.target,
            keep=config.keep,
            cap_usd=config.cap_usd,
            used_usd=work.book.cash.used_usd(work.now_ns),
            usdt=None if seen is None else seen.usdt,
            held=None if seen is None else seen.asset.cash,
            free=None if seen is None else free_of(config, seen),
            read_ns=self._read_ns,
            code="would_sell" if isinstance(decision, Sell) else decision.code,
            detail=decision.detail,
            quantity=decision.quantity if sells and isinstance(decision, Sell) else ZERO,
            price=decision.price if sells and isinstance(decision, Sell) else ZERO,
            sales=tuple(sale.told() for sale in reversed(sales)),
        )

    def look(self) -> int | None:
        """Ask for what is due; returns when to look again."""
        wakes = [self._tend(self._work.book.cash.sales[number]) for number in tuple(self._work.book.cash.live)]
        return earliest(*wakes, self._check())

    def _check(self) -> int | None:
        work, config = self._work, self._config
        if config.mode == "off" or work.is_winding_down:
            return None
        if self._asked_ns is not None and work.now_ns < self._asked_ns + _ANSWER_NS:
            return self._asked_ns + _ANSWER_NS
        if work.now_ns < self._next_ns:
            return self._next_ns
        self._asked_ns, self._next_ns = work.now_ns, work.now_ns + config.check_s * SECOND
        work.send(ReadCash(asset=config.asset, symbol=config.symbol, below_usdt=config.minimum_usdt))
        return work.now_ns + _ANSWER_NS

    def read(self, read: CashRead | CashReadFailed) -> None:
        """Decide on what was read."""
        work, config = self._work, self._config
        self._asked_ns = None
        if isinstance(read, CashReadFailed):
            self._below = 0
            return
        if work.now_ns - read.asked_ns > _READ_AGE_MAX_NS:
            self._below, self._next_ns = 0, work.now_ns
            return
        self._withdraw_strays(read)
        self._seen, self._read_ns = read.seen, read.asked_ns
        self._below = self._below + 1 if read.seen.usdt < config.minimum_usdt else 0
        decision = self._decide()
        if isinstance(decision, Wait) and decision.code == "confirming":
            self._next_ns = min(self._next_ns, work.now_ns + _CONFIRM_NS)
        self._tell(decision)
        if isinstance(decision, Sell) and config.mode == "on":
            self._sell(decision)

    def _withdraw_strays(self, read: CashRead) -> None:
        """An order that is the desk's by its id and no live sale, as after a lost journal, must go."""
        work = self._work
        for order in read.open_sales:
            number = order.client_order_id
            if (
                number is None
                or number in work.book.cash.live
                or parse_client_order_id(number, work.desk_number) is None
            ):
                continue
            known = work.book.cash.sales.get(number)
            if known is not None and read.asked_ns <= known.updated_ns + work.config.settled_view_ms * MS:
                continue
            ref = OrderRef(client_order_id=number, venue_order_id=order.venue_order_id, symbol=order.symbol)
            work.send(WithdrawSale(ref))
            text = (
                f"{order.symbol}: order {number} is the desk's by its id and no live sale of the cash rule: withdrawn"
            )
            work.alert("order_unknown_to_journal", "critical", str(number), text)

    def _decide(self) -> Sell | Wait:
        """What follows from the newest reading and all else that is known."""
        work, config, seen = self._work, self._config, self._seen
        if config.mode == "off":
            return Wait("off", "[execution.cash] mode is off")
        if seen is None:
            return Wait("not_read", "the account has not been read yet")
        if work.now_ns - self._read_ns > config.check_s * SECOND + _ANSWER_NS:
            return Wait("not_read", f"the account was read {(work.now_ns - self._read_ns) // SECOND} s ago")
        if seen.usdt >= config.minimum_usdt:
            return decide(config, seen, ZERO)
        return self._held_back() or decide(config, seen, work.book.cash.used_usd(work.now_ns))

    def _held_back(self) -> Wait | None:
        """Why nothing is sold now, whatever account and market say."""
        work, book = self._work, self._work.book
        if book.cash.live:
            number = next(iter(book.cash.live))
            return Wait("selling", f"sale {number} is {book.cash.sales[number].state}")
        if book.halts:
            return Wait("halted", halt_text(book.halts[-1]))
        if work.is_winding_down:
            return Wait("stopping", "execution stops")
        if work.space.level != "disk":
            return Wait("disk_full", f"the journal cannot be written: {work.space.reason}")
        if not self._schedule.synced:
            return Wait("not_compared", "orders and positions have not been compared with the venue yet")
        last_ns = max((sale.requested_ns for sale in book.cash.sales.values()), default=0)
        left_ns = last_ns + self._config.interval_s * SECOND - work.now_ns
        if last_ns and left_ns > 0:
            return Wait("interval", f"the next sale is allowed in {-(-left_ns // SECOND)} s")
        if self._below < _READS_BELOW:
            return Wait("confirming", "the account is read once more before anything is sold")
        return None

    def _tell(self, decision: Sell | Wait) -> None:
        """An alert while USDT are short and nothing that is under way ends it."""
        work, config = self._work, self._config
        if isinstance(decision, Wait) and decision.code == "enough":
            work.resolve("cash_low", config.asset, f"USDT are above the minimum again: {decision.detail}")
        elif isinstance(decision, Sell) and config.mode == "dry_run":
            work.alert("cash_low", "warning", config.asset, f"dry run: would sell, {decision.detail}")
        elif isinstance(decision, Wait) and decision.code not in _PASSING and self._seen is not None:
            work.alert(
                "cash_low",
                "warning",
                config.asset,
                f"{self._seen.usdt:f} USDT are below the minimum of {config.minimum_usdt:f} and nothing is sold: "
                f"{decision.detail}",
            )

    def _sell(self, decision: Sell) -> None:
        work = self._work
        number = next_trade_number(work.book.last_trade_number, work.now_ns)
        key = OrderKey(desk=work.desk_number, trade_number=number, leg_index=0, purpose="close", attempt=0)
        row = CashSaleRequested(
            client_order_id=client_order_id(key),
            trade_number=number,
            symbol=self._config.symbol,
            quantity=decision.quantity,
            price=decision.price,
            reserved_usd=decision.reserved_usd,
            why=decision.detail,
        )
        work.record(row)
        self._below = 0
        self._looks[row.client_order_id] = _Look(work.now_ns + work.config.sending_guard_ms * MS)
        work.send(
            SellSpot(
                ContractOrder(
                    client_order_id=row.client_order_id,
                    symbol=row.symbol,
                    side="sell",
                    quantity=row.quantity,
                    price=row.price,
                )
            )
        )

    def outcome(self, item: OrderAcked | OrderRefused | OutcomeUnknown | CancelAcked | CancelRefused) -> None:
        """What the venue said of a sale."""
        sale = self._work.book.cash.sales[item.client_order_id]
        if sale.is_final:
            return
        match item:
            case OrderAcked(venue_order_id=venue_id) if sale.state in ("SENDING", "UNKNOWN"):
                self._move(sale, "WORKING", "acknowledged", venue_order_id=venue_id)
                self._look_at(sale, _FIRST_LOOK_NS)
            case OrderRefused() if sale.state in ("SENDING", "UNKNOWN") and sale.venue_order_id is None:
                reason = f"{item.code}: {item.text}"
                self._move(sale, "REFUSED", reason)
                text = f"the venue refuses to sell {sale.quantity:f} in {sale.symbol}: {reason}"
                self._work.alert("cash_low", "warning", self._config.asset, text)
            case OutcomeUnknown(reason=reason) if sale.state == "SENDING":
                self._move(sale, "UNKNOWN", reason)
                self._look_at(sale, 0)
            case _:
                self._look_at(sale, 0)

    def found(self, item: SaleFound | SaleNotAnswered) -> None:
        """What a query brought."""
        sale = self._work.book.cash.sales.get(item.client_order_id)
        look = self._looks.get(item.client_order_id)
        if sale is None or sale.is_final or look is None:
            return
        look.asked_ns = None
        look.due_ns = self._work.now_ns + backoff_ns(_LOOK_FIRST_MS, _LOOK_MAX_MS, look.times)
        look.times += 1
        if isinstance(item, SaleNotAnswered):
            return
        if item.order is None:
            self._absent(sale, item)
        elif item.order.state in OPEN_VENUE_STATES:
            self._open(sale, item.order)
        else:
            self._ended(sale, item, item.order, look)

    def _absent(self, sale: Sale, item: SaleFound) -> None:
        """Only what was never seen at the venue, and cannot arrive there any more, was never placed."""
        work, config = self._work, self._work.config
        gone_ns = sale.requested_ns + (config.order_validity_ms + config.evidence_margin_ms) * MS
        gone_ns = max(gone_ns, sale.requested_ns + config.sending_guard_ms * MS, self._hold_until_ns)
        if sale.state in ("SENDING", "UNKNOWN") and not item.fills and item.asked_ns > gone_ns:
            self._move(sale, "NEVER_PLACED", "query, open orders and history of the venue lack it")
            return
        if work.now_ns > sale.state_ns + config.query_alert_after_ms * MS:
            text = f"{sale.symbol}: sale {sale.client_order_id} is {sale.state} and in no list of the venue"
            work.alert("order_unresolved", "critical", str(sale.client_order_id), text)

    def _open(self, sale: Sale, order: VenueOrder) -> None:
        state: CashSaleState = "CANCELLING" if sale.state == "CANCELLING" else "WORKING"
        if state != sale.state or order.filled_quantity > sale.filled_quantity:
            so_far = f"{order.filled_quantity:f} of {sale.quantity:f} are sold"
            self._move(
                sale,
                state,
                sale.reason if state == "CANCELLING" else so_far,
                venue_order_id=order.venue_order_id,
                seen=order,
            )

    def _ended(self, sale: Sale, item: SaleFound, order: VenueOrder, look: _Look) -> None:
        """The end is final once its fills, and so the fee, are told; they may lag for a while."""
        work = self._work
        known = sum((fill.quantity for fill in item.fills), ZERO)
        fees = [fill.fee_usd for fill in item.fills]
        look.ended_ns = look.ended_ns or work.now_ns
        complete = known >= order.filled_quantity and None not in fees
        if not complete and work.now_ns < look.ended_ns + _FEE_PATIENCE_NS:
            return
        fee_usd = sum((fee for fee in fees if fee is not None), ZERO) if complete else None
        filled = order.filled_quantity
        state: CashSaleState = "FILLED" if order.state == "filled" else "CANCELLED"
        reason = f"{filled:f} of {sale.quantity:f} were sold"
        if sale.state == "CANCELLING" and state == "CANCELLED":
            reason += f"; {sale.reason}"
        self._move(sale, state, reason, venue_order_id=order.venue_order_id, seen=order, fee_usd=fee_usd)
        if not filled:
            text = f"a sale of {sale.quantity:f} in {sale.symbol} traded nothing: {sale.reason}"
            work.alert("cash_low", "warning", self._config.asset, text)
        else:
            value = filled * (order.average_price or sale.price)
            fee = "a fee that is not known" if fee_usd is None else f"a fee of {fee_usd:.2f}"
            text = f"sold {filled:f} {self._config.asset} for {value:.2f} USDT with {fee}: {sale.why}"
            work.alert("cash_sold", "info", str(sale.client_order_id), text)

    def _tend(self, sale: Sale) -> int | None:
        """Withdraw a sale whose time is over, and ask for one that is due."""
        work = self._work
        look = self._looks.setdefault(sale.client_order_id, _Look(work.now_ns))
        if sale.state == "SENDING":
            guard_ns = sale.requested_ns + work.config.sending_guard_ms * MS
            if work.now_ns < guard_ns:
                return guard_ns
            self._move(sale, "UNKNOWN", "no outcome came back")
            look.due_ns = work.now_ns
        rest_ns = sale.requested_ns + self._config.rest_s * SECOND
        why = self._withdrawn_for(rest_ns)
        if sale.state == "WORKING" and why:
            self._move(sale, "CANCELLING", why)
        if sale.state == "CANCELLING" and work.now_ns >= look.withdrawn_ns + _WITHDRAW_AGAIN_NS:
            look.withdrawn_ns = work.now_ns
            work.send(
                WithdrawSale(
                    OrderRef(
                        client_order_id=sale.client_order_id,
                        venue_order_id=sale.venue_order_id,
                        symbol=sale.symbol,
                    )
                )
            )
        if look.asked_ns is not None and work.now_ns < look.asked_ns + _ANSWER_NS:
            return look.asked_ns + _ANSWER_NS
        if work.now_ns >= look.due_ns:
            look.asked_ns = work.now_ns
            since_ns = sale.requested_ns - _CLOCK_SKEW_NS
            work.send(FindSale(client_order_id=sale.client_order_id, symbol=sale.symbol, since_ns=since_ns))
            return work.now_ns + _ANSWER_NS
        return min(look.due_ns, rest_ns) if sale.state == "WORKING" and rest_ns > work.now_ns else look.due_ns

    def _withdrawn_for(self, rest_ns: int) -> str:
        """Why what rests of a sale is withdrawn now; "" while it may rest."""
        work = self._work
        if work.book.halts:
            return halt_text(work.book.halts[-1])
        if work.is_winding_down and self._winding_down.choice != "leave_all":
            return "execution stops"
        return f"it rested for {self._config.rest_s} s" if work.now_ns >= rest_ns else ""

    def _look_at(self, sale: Sale, in_ns: int) -> None:
        look = self._looks.setdefault(sale.client_order_id, _Look(self._work.now_ns))
        look.due_ns = self._work.now_ns + in_ns
        look.times = 0

    def _move(
        self,
        sale: Sale,
        state: CashSaleState,
        reason: str,
        *,
        venue_order_id: int | None = None,
        seen: VenueOrder | None = None,
        fee_usd: Decimal | None = None,
    ) -> None:
        work = self._work
        work.record(
            CashSaleMoved(
                client_order_id=sale.client_order_id,
                state=state,
                reason=reason,
                venue_order_id=venue_order_id,
                filled_quantity=None if seen is None else seen.filled_quantity,
                average_price=None if seen is None else seen.average_price,
                fee_usd=fee_usd,
            )
        )
        if state in FINAL_STATES:
            # what it brought is to be seen before anything else is decided
            self._next_ns, self._below = work.now_ns, 0
            self._looks.pop(sale.client_order_id, None)
            work.resolve("order_unresolved", str(sale.client_order_id), f"sale {sale.client_order_id} is {state}")
