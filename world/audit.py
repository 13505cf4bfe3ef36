"""What execution decided, row by row, against what it could know at that moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

from services.exchange import model as ex
from services.execution.book import Book, Leg, Order, Trade
from services.execution.config import ExecutionConfig
from services.execution.rows import AmendRequested, FillAssumed, FillSeen, OrderRequested, TradeMoved
from shared.bus.frames import Frame
from shared.ids import parse_client_order_id, trade_id
from shared.messages.market import ChainSnapshot, InstrumentList
from shared.messages.steps import Entry, Inbound, LoopStalled
from shared.messages.system import Heartbeat
from shared.messages.trades import TradeUpdate
from world.faults import MS, SECOND
from world.violations import Violation

ZERO = Decimal(0)


class Witness:
    """Sees what execution is handed, and when: the service itself forgets it with its process.

    A batch counts as known at once: an order decided in it before its last message is judged leniently.
    """

    def __init__(self) -> None:
        self._risk_ns: list[int] = []
        self._chains: dict[str, list[tuple[int, int]]] = {}
        self._lists: set[str] = set()

    def on_start(self, now_ns: int) -> None:
        """Execution starts: it knows no prices, and every service gets its full silence again."""
        self._risk_ns.append(now_ns)
        self._lists.clear()
        for seen in self._chains.values():
            seen.append((now_ns, 0))

    def on_batch(self, items: Sequence[Any], now_ns: int) -> None:
        for item in items:
            match item:
                case LoopStalled() | Inbound(message=Heartbeat(service="risk")):
                    self._risk_ns.append(now_ns)
                case Inbound(message=InstrumentList(list_id=list_id)):
                    self._lists.add(list_id)
                case Inbound(message=ChainSnapshot() as chain) if chain.list_id in self._lists:
                    self._chains.setdefault(chain.underlying, []).append((now_ns, chain.received_ns))
                case _:
                    pass

    def risk_silence_ns(self, at_ns: int) -> int:
        """How long risk had been silent."""
        index = bisect_right(self._risk_ns, at_ns)
        return at_ns - (self._risk_ns[index - 1] if index else 0)

    def chain_age_ns(self, underlying: str, at_ns: int) -> int:
        """The age of the newest chain that could be read."""
        seen = self._chains.get(underlying, [])
        index = bisect_right(seen, at_ns, key=itemgetter(0))
        return at_ns - (seen[index - 1][1] if index else 0)


def decision_violations(entries: Iterable[Entry], config: ExecutionConfig, witness: Witness) -> Iterator[Violation]:
    """Broken promises in the journal, each row judged by the state before it; a fill by the state after it."""
    book = Book.empty(config)
    decided_ns = 0
    for entry in entries:
        row, at_ns = entry.row, entry.at_ns
        if at_ns > decided_ns:
            yield from _overdue(book, decided_ns)
            decided_ns = at_ns
        match row:
            case OrderRequested(purpose="open"):
                yield from _opening(book, row, at_ns, config, witness)
            case OrderRequested():
                yield from _closing(book, row)
            case AmendRequested():
                yield from _amending(book, row, at_ns, config, witness)
            case TradeMoved():
                yield from _moving(book.trades[row.trade_id], book, row, at_ns)
            case _:
                pass
        book.apply(entry)
        if isinstance(row, FillSeen | FillAssumed):
            yield from _nets(book, book.orders[row.client_order_id].symbol)


def silent_changes(published: Iterable[Frame]) -> Iterator[Violation]:
    """Changes of a trade's state that were told without a reason."""
    states: dict[str, str] = {}
    for frame in published:
        update = frame.message
        if isinstance(update, TradeUpdate):
            earlier = states.get(update.trade_id, update.state)
            states[update.trade_id] = update.state
            if update.state != earlier and not update.reason:
                text = f"{update.trade_id} was told to be {update.state} after {earlier} without a reason"
                yield Violation("reason_given", text)


def flip_violations(fills: Iterable[ex.Fill], desk_number: int) -> Iterator[Violation]:
    """At the venue no trade closed more of a leg than it had opened by then."""
    held: dict[tuple[str, int], Decimal] = {}
    for fill in sorted(fills, key=lambda one: one.fill_id):
        key = parse_client_order_id(fill.client_order_id or 0, desk_number)
        if key is not None:
            place = (trade_id(key.trade_number), key.leg_index)
            held[place] = held.get(place, ZERO) + (fill.quantity if key.purpose == "open" else -fill.quantity)
            if held[place] < 0:
                text = f"{place[0]} leg {place[1]} was closed by {-held[place]} more than it held"
                yield Violation("no_flip", text)


def _moving(trade: Trade, book: Book, row: TradeMoved, at_ns: int) -> Iterator[Violation]:
    """A change of state: with a reason, whole where it must be, and given up only after a look for late fills."""
    if not row.reason:
        yield Violation("reason_given", f"{row.trade_id} became {row.state} without a reason")
    if row.state == "OPEN" and any(leg.opened_quantity < leg.quantity for leg in trade.legs):
        yield Violation("whole_or_flat", f"{row.trade_id} became OPEN without all of its legs")
    if row.state == "PARTIALLY_OPEN" and trade.request.policy == "atomic":
        yield Violation("whole_or_flat", f"{row.trade_id} is atomic and became PARTIALLY_OPEN")
    if row.state in ("CLOSED", "FAILED", "SETTLED") and not trade.is_flat:
        yield Violation("whole_or_flat", f"{row.trade_id} became {row.state} and holds something")
    stopped = trade.close is not None or (trade.stop is not None and trade.stop.void)
    if trade.state == "OPENING" and row.state in ("FAILED", "UNWINDING", "PARTIALLY_OPEN") and not stopped:
        ended_ns = max((order.state_ns for order in book.orders_of(trade)), default=None)
        look_ns = round(trade.request.execution_params.final_look_s * SECOND)
        if ended_ns is not None and at_ns < ended_ns + look_ns:
            waited_ms = (at_ns - ended_ns) // MS
            yield Violation(
                "final_look_taken", f"{row.trade_id} became {row.state} {waited_ms} ms after its last order ended"
            )


def _overdue(book: Book, decided_ns: int) -> Iterator[Violation]:
    """A step looks at every trade: none is left past its deadline by a step that came after it."""
    for trade in book.active_trades():
        deadline_ns = trade.hard_deadline_ns
        if deadline_ns is None or trade.close is not None or trade.state == "SETTLING":
            continue
        if trade.created_ns < decided_ns and deadline_ns <= decided_ns:
            late_ms = (decided_ns - deadline_ns) // MS
            yield Violation(
                "deadline_enforced", f"{trade.trade_id} is {trade.state} {late_ms} ms past its hard deadline"
            )


def _opening(
    book: Book, row: OrderRequested, at_ns: int, config: ExecutionConfig, witness: Witness
) -> Iterator[Violation]:
    if row.adopted:
        return
    trade, leg = _place(book, row)
    yield from _exposing(book, trade, leg, f"opening order {row.client_order_id}", at_ns, config, witness)


def _amending(
    book: Book, row: AmendRequested, at_ns: int, config: ExecutionConfig, witness: Witness
) -> Iterator[Violation]:
    """An amendment that opens is as much inside the grant as an order; one of an order is on its way at a time."""
    order = book.orders[row.client_order_id]
    name = f"the amendment of order {row.client_order_id} to {row.price}"
    if order.is_amending:
        yield Violation("sent_once", f"{name} was sent while the one to {order.amend_price} was on its way")
    if order.purpose != "open":
        return
    trade = book.trades[order.trade_id]
    leg = trade.legs[order.leg_index]
    yield from _exposing(book, trade, leg, name, at_ns, config, witness)
    worst = trade.request.grant.legs[order.leg_index].worst_price
    if row.price > worst if order.side == "buy" else row.price < worst:
        yield Violation("inside_grant", f"{name} is past its grant's {worst}")


def _exposing(
    book: Book, trade: Trade, leg: Leg, name: str, at_ns: int, config: ExecutionConfig, witness: Witness
) -> Iterator[Violation]:
    grant = trade.request.grant
    if at_ns > grant.deadline_ns:
        late_ms = (at_ns - grant.deadline_ns) / MS
        yield Violation("grant_in_time", f"{name} was sent {late_ms:.0f} ms after its grant's deadline")
    if book.halts:
        yield Violation("no_opening_under_halt", f"{name} was sent under the halt {book.halts[-1].reason!r}")
    if grant.halt_epoch != book.halt_epoch:
        epochs = f"{grant.halt_epoch} of {book.halt_epoch}"
        yield Violation("no_opening_under_halt", f"{name} was sent under halt epoch {epochs}")
    silence_ns = witness.risk_silence_ns(at_ns)
    if silence_ns > config.risk_silence_max_ms * MS:
        yield Violation("risk_heard", f"{name} was sent with risk silent for {silence_ns / MS:.0f} ms")
    age_ns = witness.chain_age_ns(leg.instrument.underlying, at_ns)
    if age_ns > config.market_tolerance_ms * MS:
        yield Violation("fresh_prices", f"{name} was priced on a chain {age_ns / MS:.0f} ms old")


def _closing(book: Book, row: OrderRequested) -> Iterator[Violation]:
    if row.adopted:
        return
    trade, leg = _place(book, row)
    at_work: list[Order] = [
        order for order in book.unsettled_of(trade, row.leg_index) if order.purpose != "open" and not order.is_final
    ]
    waiting = sum((order.quantity - order.filled_quantity for order in at_work), ZERO)
    if row.quantity + waiting > leg.held_quantity:
        yield Violation(
            "close_within_holding",
            f"order {row.client_order_id} closes {row.quantity} beside {waiting} at work, "
            f"{trade.trade_id} holds {leg.held_quantity} {leg.symbol}",
        )


def _nets(book: Book, symbol: str) -> Iterator[Violation]:
    sides: dict[str, str] = {
        leg.side: trade.trade_id
        for trade in book.active_trades()
        for leg in trade.legs
        if leg.symbol == symbol and leg.held_quantity > 0
    }
    if len(sides) > 1:
        text = f"{sides['buy']} is long and {sides['sell']} is short of {symbol}: the venue nets them"
        yield Violation("no_netting", text)


def _place(book: Book, row: OrderRequested) -> tuple[Trade, Leg]:
    trade = book.trades[row.trade_id]
    return trade, trade.legs[row.leg_index]
