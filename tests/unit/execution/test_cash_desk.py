"""The cash rule over time: each sale is sent once and followed to its end, whatever is lost, before the next one."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.book import Book
from services.execution.cash_config import CashConfig
from services.execution.cash_effects import (
    CashRead,
    CashReadFailed,
    FindSale,
    FindStrays,
    ReadCash,
    SaleFound,
    SaleNotAnswered,
    SellSpot,
    StraysFound,
    StraysNotFound,
    WithdrawSale,
)
from services.execution.cash_rule import CashSeen, Holding
from services.execution.config import ExecutionConfig
from services.execution.effects import may_go_unwritten
from services.execution.winding_down import WindDown
from shared.ids import parse_client_order_id
from shared.messages.cash import CashStatus, GetCash
from shared.messages.contracts import ContractOrder
from shared.messages.control import LiftHalts, RaiseHalt
from shared.messages.space import JournalSpace
from shared.messages.steps import LoopStalled, RaiseAlert
from shared.messages.venue import (
    CancelAcked,
    OrderAcked,
    OrderRefused,
    OutcomeUnknown,
    StreamUp,
    VenueFill,
    VenueOrder,
    VenueOrderState,
)
from tests.unit.execution.play import CALL, Script, leg
from tests.unit.execution.test_cash_rule import PAIR

RULE = CashConfig(mode="on", minimum_usdt=D(1_000), target_usdt=D(2_000), cap_usd=D(4_000), keep=D("0.1"), rest_s=5)
NEVER_NS = 2**62
BID, INDEX, ASK = D(99_990), D(100_000), D(100_010)


class Venue:
    """The account and its orders in one pair. What an order does is told to it: nothing happens by itself."""

    def __init__(self, usdt: str = "500", coins: str = "1") -> None:
        self.usdt, self.coins = D(usdt), D(coins)
        self.orders: dict[int, VenueOrder] = {}
        self.fills: list[VenueFill] = []
        self.lag_ns = 0

    def take(self, order: ContractOrder, now_ns: int) -> int:
        assert order.client_order_id not in self.orders, "sent twice"
        assert order.side == "sell"
        assert order.price is not None
        self.orders[order.client_order_id] = VenueOrder(
            venue_order_id=len(self.orders) + 1,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side="sell",
            quantity=order.quantity,
            filled_quantity=D(0),
            price=order.price,
            average_price=None,
            state="new",
            reduce_only=False,
            created_ns=now_ns,
            updated_ns=now_ns,
        )
        assert self.claimed <= self.coins, "more than is there"
        return len(self.orders)

    def fill(self, number: int, quantity: D, now_ns: int, price: D = BID) -> None:
        order = self.orders[number]
        filled = order.filled_quantity + quantity
        state: VenueOrderState = "filled" if filled == order.quantity else "partial"
        self.orders[number] = msgspec.structs.replace(order, filled_quantity=filled, average_price=price, state=state)
        fee = quantity * price / 1_000
        self.coins -= quantity
        self.usdt += quantity * price - fee
        self.fills.append(
            VenueFill(
                venue_trade_id=len(self.fills) + 1,
                venue_order_id=order.venue_order_id,
                client_order_id=number,
                symbol=order.symbol,
                side="sell",
                quantity=quantity,
                price=price,
                fee_usd=fee,
                is_taker=True,
                venue_ns=now_ns,
            )
        )

    def cancel(self, number: int) -> None:
        order = self.orders.get(number)
        if order is not None and order.state in ("new", "partial"):
            self.orders[number] = msgspec.structs.replace(order, state="cancelled")

    @property
    def resting(self) -> list[VenueOrder]:
        return [order for order in self.orders.values() if order.state in ("new", "partial")]

    @property
    def claimed(self) -> D:
        return sum((order.quantity - order.filled_quantity for order in self.resting), D(0))

    @property
    def sold(self) -> D:
        return sum((fill.quantity for fill in self.fills), D(0))

    def seen(self, now_ns: int = NEVER_NS) -> CashSeen:
        """The account; what traded less than the lag ago does not show."""
        late = [fill for fill in self.fills if fill.venue_ns > now_ns - self.lag_ns]
        coins = self.coins + sum((fill.quantity for fill in late), D(0))
        return CashSeen(
            usdt=self.usdt - sum((fill.quantity * fill.price - (fill.fee_usd or 0) for fill in late), D(0)),
            asset=Holding(coins, coins - self.claimed),
            claimed=self.claimed,
            spec=PAIR,
            index=INDEX,
            bids=((BID, D(3)),),
            asks=((ASK, D(3)),),
        )

    def found(self, number: int, now_ns: int) -> SaleFound:
        """The order and its fills; of what is younger than the lag, neither its row nor its fills show anything."""
        order = self.orders.get(number)
        fills = tuple(
            fill for fill in self.fills if fill.client_order_id == number and fill.venue_ns <= now_ns - self.lag_ns
        )
        filled = sum((fill.quantity for fill in fills), D(0))
        if order is not None and order.created_ns > now_ns - self.lag_ns:
            order = None
        elif order is not None and filled < order.filled_quantity:
            state: VenueOrderState = "cancelled" if order.state == "cancelled" else "new"
            price = order.average_price if filled else None
            order = msgspec.structs.replace(order, filled_quantity=filled, average_price=price, state=state)
        return SaleFound(client_order_id=number, asked_ns=now_ns, order=order, fills=fills)

    def strays(self, now_ns: int) -> StraysFound:
        return StraysFound(asked_ns=now_ns, orders=tuple(self.resting), fills=tuple(self.fills))


class Desk(Script):
    """Execution with the cash rule beside that venue, which answers reads and queries unless told otherwise."""

    def __init__(self, rule: CashConfig = RULE, **venue: str) -> None:
        super().__init__(ExecutionConfig(cash=rule))
        self.venue = Venue(**venue)
        self.answers = True
        self.sells: list[ContractOrder] = []
        self.alerts: list[RaiseAlert] = []
        self._take(self.core.start(self.now_ns))
        # until what a process before it may have sent can no longer arrive
        self.wait(7_500)
        self.on(StreamUp())
        self.market()
        self.beats()
        self.snapshot()
        self.work()

    def work(self) -> Desk:
        """Let the venue answer what was asked, until nothing is asked any more. Sales are collected, not taken."""
        while True:
            effects, self.effects = self.effects, []
            asked = False
            for effect in effects:
                asked |= self.answer(effect)
            if not asked:
                return self

    def answer(self, effect: Any) -> bool:
        match effect:
            case SellSpot(order=order):
                assert not may_go_unwritten(effect)
                self.sells.append(order)
            case RaiseAlert():
                self.alerts.append(effect)
            case ReadCash() if self.answers:
                self.on(CashRead(self.now_ns, self.venue.seen(self.now_ns), tuple(self.venue.resting)))
                return True
            case ReadCash():
                self.on(CashReadFailed("down"))
                return True
            case FindSale(client_order_id=number) if self.answers:
                self.on(self.venue.found(number, self.now_ns))
                return True
            case FindSale(client_order_id=number):
                self.on(SaleNotAnswered(number, "down"))
                return True
            case FindStrays() if self.answers:
                self.on(self.venue.strays(self.now_ns))
                return True
            case FindStrays():
                self.on(StraysNotFound("down"))
                return True
            case WithdrawSale(order=ref) if self.answers:
                self.venue.cancel(ref.client_order_id)
                self.on(CancelAcked(client_order_id=ref.client_order_id))
                return True
            case _:
                pass
        return False

    def pass_time(self, seconds: float, *, until_sold: bool = False) -> Desk:
        before = len(self.sells)
        for _ in range(round(seconds * 2)):
            self.wait(500)
            self.snapshot()
            self.work()
            if until_sold and len(self.sells) > before:
                break
        return self

    def reborn(self) -> Desk:
        """Killed and started again; what the venue was being asked is lost."""
        self.effects.clear()
        self.restarted()
        self.snapshot()
        self.work()
        return self

    def accept(self) -> int:
        """The venue takes the newest sale and says so."""
        order = self.sells[-1]
        venue_id = self.venue.take(order, self.now_ns)
        self.on(OrderAcked(client_order_id=order.client_order_id, venue_order_id=venue_id))
        self.work()
        return order.client_order_id

    def status(self) -> CashStatus:
        answer = self.ask(GetCash())
        assert isinstance(answer, CashStatus)
        return answer

    def told(self, code: str) -> list[str]:
        return [alert.text for alert in self.alerts if alert.code == code and not alert.resolved]


def selling(**venue: str) -> Desk:
    """A desk that has just sent its first sale."""
    desk = Desk(**venue).pass_time(2)
    assert len(desk.sells) == 1
    return desk


def test_a_second_reading_confirms_the_first_before_anything_is_sold() -> None:
    desk = Desk()
    assert desk.status().code == "confirming"
    assert not desk.sells
    desk.pass_time(2)
    (order,) = desk.sells
    assert (order.symbol, order.side, order.quantity, order.price) == ("BTCUSDT", "sell", D("0.01501"), D("99500.00"))
    key = parse_client_order_id(order.client_order_id, 7)
    assert key is not None
    assert key.purpose == "close"
    assert desk.core.book.last_trade_number == key.trade_number


def test_a_sale_is_followed_to_its_end_and_told() -> None:
    desk = selling()
    number = desk.accept()
    desk.venue.fill(number, D("0.01501"), desk.now_ns)
    desk.pass_time(3)
    (sale,) = desk.status().sales
    assert (sale.state, sale.filled_quantity, sale.average_price) == ("FILLED", D("0.01501"), BID)
    assert sale.fee_usd == D("0.01501") * BID / 1_000
    assert desk.status().used_usd == D("0.01501") * BID
    (text,) = desk.told("cash_sold")
    assert "sold 0.01501 BTC for 1500.85 USDT" in text
    assert desk.status().code == "enough"
    assert desk.pass_time(120).sells == desk.sells[:1]
    assert not desk.told("cash_low")


def test_what_does_not_trade_is_withdrawn_and_tried_again_after_the_interval() -> None:
    desk = selling()
    number = desk.accept()
    desk.venue.fill(number, D("0.006"), desk.now_ns)
    desk.pass_time(10)
    assert desk.venue.orders[number].state == "cancelled"
    (sale,) = desk.status().sales
    assert (sale.state, sale.filled_quantity) == ("CANCELLED", D("0.006"))
    assert sale.reason == "0.006 of 0.01501 were sold; it rested for 5 s"
    assert desk.status().code == "enough"
    desk.pass_time(80)
    assert len(desk.sells) == 1, "the first part was enough"
    desk.venue.usdt -= 500
    desk.pass_time(30)
    assert len(desk.sells) == 2
    assert desk.sells[1].client_order_id != number


@pytest.mark.parametrize("arrived", [True, False])
def test_an_unknown_outcome_is_looked_for_and_never_sent_again(arrived: bool) -> None:
    desk = selling()
    (order,) = desk.sells
    if arrived:
        desk.venue.take(order, desk.now_ns)
        desk.venue.fill(order.client_order_id, order.quantity, desk.now_ns)
    desk.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="no answer"))
    desk.work()
    if not arrived:
        desk.pass_time(4)
        assert desk.status().code == "selling"
        assert len(desk.sells) == 1
    desk.pass_time(8)
    (sale,) = desk.status().sales
    assert sale.state == ("FILLED" if arrived else "NEVER_PLACED")
    desk.pass_time(70)
    assert len(desk.sells) == (1 if arrived else 2)


@pytest.mark.parametrize("arrived", [True, False])
def test_a_kill_between_journal_and_answer_doubles_nothing(arrived: bool) -> None:
    desk = selling()
    (order,) = desk.sells
    if arrived:
        desk.venue.take(order, desk.now_ns)
    desk.reborn()
    (sale,) = desk.status().sales
    assert sale.state == ("WORKING" if arrived else "UNKNOWN")
    desk.pass_time(6)
    assert len(desk.sells) == 1, "nothing may be sent while the first may still arrive"
    if arrived:
        desk.venue.fill(order.client_order_id, D("0.006"), desk.now_ns)
    desk.pass_time(10)
    (sale,) = [each for each in desk.status().sales if each.client_order_id == order.client_order_id]
    assert sale.state == ("CANCELLED" if arrived else "NEVER_PLACED")
    assert sale.filled_quantity == (D("0.006") if arrived else 0)


def test_a_refusal_is_told_and_not_repeated_before_the_interval() -> None:
    desk = selling()
    (order,) = desk.sells
    desk.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=10_529, text="no coins"))
    desk.work()
    (text,) = desk.told("cash_low")
    assert "10529: no coins" in text
    assert len(desk.pass_time(50).sells) == 1
    assert len(desk.pass_time(30).sells) == 2


def test_a_halt_withdraws_what_rests_and_nothing_is_sold_until_it_is_lifted() -> None:
    desk = selling()
    number = desk.accept()
    desk.ask(RaiseHalt(level="no_new_trades", reason="drill", requested_by="eva"))
    desk.work()
    assert desk.venue.orders[number].state == "cancelled"
    desk.pass_time(80)
    assert desk.status().code == "halted"
    assert len(desk.sells) == 1
    assert any("drill" in text for text in desk.told("cash_low"))
    desk.ask(LiftHalts(requested_by="eva"))
    desk.pass_time(30)
    assert len(desk.sells) == 2


def test_the_end_of_the_process_withdraws_what_rests_and_says_what_is_left() -> None:
    desk = selling()
    number = desk.accept()
    desk.answers = False
    desk.on(WindDown("leave", "stop"))
    desk.work()
    assert [str(number) in text for text in desk.core.winding_down.left()] == [True]
    desk.answers = True
    desk.pass_time(12)
    assert desk.venue.orders[number].state == "cancelled"
    assert desk.core.winding_down.left() == []
    assert len(desk.sells) == 1


def test_a_full_disk_a_stall_and_a_silent_venue_sell_nothing() -> None:
    desk = Desk()
    desk.on(JournalSpace(level="reserve", reason="no space left"))
    desk.work()
    assert desk.pass_time(20).sells == []
    assert desk.status().code == "disk_full"
    desk.on(JournalSpace(level="disk", reason=""))
    desk.answers = False
    desk.on(LoopStalled(gap_ns=3 * 10**9))
    desk.work()
    assert desk.pass_time(120).sells == []
    assert desk.status().code == "not_read"
    desk.answers = True
    assert len(desk.pass_time(20).sells) == 1


def test_a_dry_run_says_what_it_would_sell_and_sends_nothing() -> None:
    desk = Desk(msgspec.structs.replace(RULE, mode="dry_run")).pass_time(60)
    assert not desk.sells
    assert not desk.core.book.cash.sales
    status = desk.status()
    assert (status.code, status.quantity, status.price) == ("would_sell", D("0.01501"), D("99500.00"))
    (text,) = desk.told("cash_low")
    assert text.startswith("dry run: would sell")
    desk.venue.usdt = D(5_000)
    desk.pass_time(20)
    assert [alert.code for alert in desk.alerts if alert.resolved] == ["cash_low"]


def test_a_rule_that_is_off_asks_the_venue_nothing() -> None:
    script = Script().started()
    script.wait(120_000)
    assert not [each for each in script.effects if isinstance(each, ReadCash)]
    answer = script.ask(GetCash())
    assert answer.code == "off"


def test_what_cannot_be_sold_is_told_once_and_its_end_too() -> None:
    desk = Desk(coins="0.1").pass_time(60)
    assert not desk.sells
    (text,) = desk.told("cash_low")
    assert "0 BTC are free to be sold, 0.1 are kept" in text
    desk.venue.usdt = D(1_000)
    desk.pass_time(20)
    assert [(alert.code, alert.resolved) for alert in desk.alerts][-1] == ("cash_low", True)


def test_an_order_of_the_desk_that_no_row_tells_of_is_withdrawn() -> None:
    desk = selling()
    number = desk.accept()
    venue, sent = desk.venue, desk.sells
    lost = Desk()
    lost.venue, lost.now_ns = venue, desk.now_ns
    lost.pass_time(20)
    assert venue.orders[number].state == "cancelled"
    assert [alert.subject for alert in lost.alerts if alert.code == "order_unknown_to_journal"] == [str(number)]
    assert not {order.client_order_id for order in lost.sells} & {order.client_order_id for order in sent}


def test_the_numbers_of_sales_and_trades_are_never_the_same() -> None:
    desk = selling()
    sale = parse_client_order_id(desk.sells[0].client_order_id, 7)
    trade_id = desk.open(leg(CALL, "buy"))
    assert sale is not None
    assert trade_id == f"t{sale.trade_number + 1}"


ACTS = (
    "time",
    "accept",
    "lose_accepted",
    "lose",
    "fill",
    "spend",
    "kill",
    "silence",
    "answers",
    "halt",
    "lift",
    "stall",
    "refuse",
    "arrive_late",
    "lag",
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_lost_the_books_agree_and_cap_and_kept_coins_hold(data: st.DataObject) -> None:
    desk = Desk()
    handled: set[int] = set()
    lost: list[tuple[ContractOrder, int]] = []
    for act in data.draw(st.lists(st.sampled_from(ACTS), max_size=40)):
        fresh = [order for order in desk.sells if order.client_order_id not in handled]
        match act:
            case "accept" | "lose_accepted" if fresh:
                number = fresh[0].client_order_id
                handled.add(number)
                venue_id = desk.venue.take(fresh[0], desk.now_ns)
                if act == "accept":
                    desk.on(OrderAcked(client_order_id=number, venue_order_id=venue_id))
                else:
                    desk.on(OutcomeUnknown(client_order_id=number, reason="lost"))
            case "lose" if fresh:
                handled.add(fresh[0].client_order_id)
                lost.append((fresh[0], desk.now_ns))
                desk.on(OutcomeUnknown(client_order_id=fresh[0].client_order_id, reason="lost"))
            case "arrive_late" if lost:
                order, signed_ns = lost.pop()
                if desk.now_ns <= signed_ns + desk.config.order_validity_ms * 10**6:
                    desk.venue.take(order, desk.now_ns)
            case "lag":
                desk.venue.lag_ns = data.draw(st.sampled_from([0, 10**9, 19 * 10**8]))
            case "refuse" if fresh:
                handled.add(fresh[0].client_order_id)
                refusal = OrderRefused(client_order_id=fresh[0].client_order_id, kind="rejected", code=1, text="no")
                desk.on(refusal)
            case "fill" if desk.venue.resting:
                rests = desk.venue.resting[0]
                left = rests.quantity - rests.filled_quantity
                part = data.draw(st.sampled_from([left, min(left, D("0.001"))]))
                desk.venue.fill(int(rests.client_order_id or 0), part, desk.now_ns)
            case "spend":
                desk.venue.usdt -= data.draw(st.sampled_from([D(10), D(900)]))
            case "kill":
                # what was on its way is lost: it may have arrived before, or never
                handled |= {order.client_order_id for order in fresh}
                lost += [(order, desk.now_ns) for order in fresh]
                desk.reborn()
            case "silence" | "answers":
                desk.answers = act == "answers"
            case "halt":
                desk.ask(RaiseHalt(level="cancel_all", reason="x", requested_by="y"))
            case "lift":
                desk.ask(LiftHalts(requested_by="y"))
            case "stall":
                desk.on(LoopStalled(gap_ns=3 * 10**9))
            case _:
                # what nobody answered within the deadline of the call is unknown
                for order in fresh:
                    handled.add(order.client_order_id)
                    lost.append((order, desk.now_ns))
                    desk.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="late"))
                desk.pass_time(data.draw(st.sampled_from([1, 8, 40])), until_sold=True)
        desk.work()
        book = desk.core.book.cash
        assert len(book.live) <= 1
        assert len({order.client_order_id for order in desk.sells}) == len(desk.sells)
        assert desk.venue.coins - desk.venue.claimed >= RULE.keep
        assert book.used_usd(desk.now_ns) <= RULE.cap_usd
        assert desk.venue.sold * BID <= RULE.cap_usd
    desk.answers = True
    for order in [order for order in desk.sells if order.client_order_id not in handled]:
        desk.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="late"))
    desk.ask(RaiseHalt(level="cancel_all", reason="end", requested_by="y"))
    desk.pass_time(40)
    book = desk.core.book.cash
    assert not book.live
    assert not desk.venue.resting
    assert sum((sale.filled_quantity for sale in book.sales.values()), D(0)) == desk.venue.sold
    paid = sum((sale.fee_usd or D(0) for sale in book.sales.values()), D(0))
    assert paid == sum((fill.fee_usd or D(0) for fill in desk.venue.fills), D(0))
    folded = Book.empty(desk.config)
    for entry in desk.entries:
        folded.apply(entry)
    assert folded.cash == book
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(folded), type=Book) == desk.core.book
