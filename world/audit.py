"""What execution decided, row by row, against what it could know at that moment."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from operator import itemgetter
from typing import Any

from services.exchange import model as ex
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.records import Leg, Order, Trade
from services.execution.rows import (
    AmendRequested,
    FillAssumed,
    FillSeen,
    OpeningScaled,
    OrderMoved,
    OrderRequested,
    TradeMoved,
    TradeRequested,
)
from services.risk.config import RiskConfig
from shared.bus.frames import Frame
from shared.ids import parse_client_order_id, trade_id
from shared.messages.market import ChainSnapshot, InstrumentList
from shared.messages.steps import Entry, Inbound, LoopStalled
from shared.messages.system import Heartbeat
from shared.messages.trades import TradeUpdate
from shared.messages.venue import StreamUp, VenueSnapshot
from world.faults import MS, SECOND
from world.limits import WIDE
from world.violations import Violation

ZERO = Decimal(0)
_MENDED_NS = 150 * SECOND
"""So long a venue that is away, and a service that is down, may keep a trade from what it has to do."""


class _Process:
    """What one process of execution was handed, by its clock, which never runs backwards."""

    def __init__(self, started_ns: int) -> None:
        self.risk_ns = [started_ns]
        self.chains: dict[str, list[tuple[int, int]]] = {}
        self.lists: set[str] = set()
        self.snapshots: list[tuple[int, VenueSnapshot]] = []
        self.doubts_ns = [started_ns]
        self.looks_ns: list[tuple[int, int]] = []


class Knowledge:
    """What a process knew at an instant."""

    def __init__(self, process: _Process, at_ns: int) -> None:
        self.at_ns = at_ns
        self._process = process

    @property
    def risk_silence_ns(self) -> int:
        """How long risk had been silent."""
        heard_ns = self._process.risk_ns
        return self.at_ns - heard_ns[bisect_right(heard_ns, self.at_ns) - 1]

    @property
    def is_in_doubt(self) -> bool:
        """Whether something may have been missed since the newest look at the venue was asked for."""
        doubts_ns, looks_ns = self._process.doubts_ns, self._process.looks_ns
        # What came in the batch of this instant may have come after what is judged.
        doubt_ns = doubts_ns[max(0, bisect_left(doubts_ns, self.at_ns) - 1)]
        given = bisect_right(looks_ns, self.at_ns, key=itemgetter(0))
        return not given or looks_ns[given - 1][1] < doubt_ns

    @property
    def snapshot(self) -> VenueSnapshot | None:
        """The newest look at the venue that the process had been given; None if that cannot be said, as the clock was
        set back while it looked."""
        seen = self._process.snapshots
        given = seen[: bisect_right(seen, self.at_ns, key=itemgetter(0))]
        given_ns, newest = max(given, key=lambda each: each[1].asked_ns, default=(0, None))
        return None if newest is None or newest.asked_ns > given_ns else newest

    def chain_age_ns(self, underlying: str) -> int:
        """The age of the newest chain that the process could read; all of time if there was none."""
        seen = self._process.chains.get(underlying, [])
        index = bisect_right(seen, self.at_ns, key=itemgetter(0))
        return self.at_ns - (seen[index - 1][1] if index else 0)


class Witness:
    """Sees what execution is handed, and when: the service itself forgets it with its process.

    A row is judged by what its process knew; `number` is its place in the journal. A batch counts as known at once:
    an order decided in it before its last message is judged leniently.
    """

    def __init__(self) -> None:
        self._written: list[int] = []
        self._processes: list[_Process] = []

    def on_start(self, now_ns: int, written: int = 0) -> None:
        """A process starts that finds so many rows: it knows no prices, and every service gets its full silence."""
        self._written.append(written)
        self._processes.append(_Process(now_ns))

    def on_batch(self, items: Sequence[Any], now_ns: int) -> None:
        seen = self._processes[-1]
        for item in items:
            if isinstance(item, LoopStalled | StreamUp):
                seen.doubts_ns.append(now_ns)
            match item:
                case LoopStalled() | Inbound(message=Heartbeat(service="risk")):
                    seen.risk_ns.append(now_ns)
                case Inbound(message=InstrumentList(list_id=list_id)):
                    seen.lists.add(list_id)
                case Inbound(message=ChainSnapshot() as chain) if chain.list_id in seen.lists:
                    seen.chains.setdefault(chain.underlying, []).append((now_ns, chain.received_ns))
                case VenueSnapshot() as snapshot:
                    seen.snapshots.append((now_ns, snapshot))
                    earlier_ns = seen.looks_ns[-1][1] if seen.looks_ns else 0
                    seen.looks_ns.append((now_ns, max(earlier_ns, snapshot.asked_ns)))
                case _:
                    pass

    def _process_of(self, number: int) -> _Process:
        return self._processes[bisect_right(self._written, number) - 1]

    def knew(self, number: int, at_ns: int) -> Knowledge:
        return Knowledge(self._process_of(number), at_ns)


def decision_violations(
    entries: Iterable[Entry], config: ExecutionConfig, witness: Witness, limits: RiskConfig | None = None
) -> Iterator[Violation]:
    """Broken promises in the journal, each row judged by the state before it; a fill by the state after it.

    limits: those of the risk service that gave the grants.
    """
    limits = limits or WIDE
    book = Book.empty(config)
    decided_ns = 0
    ended_ns: dict[str, int] = {}
    for number, entry in enumerate(entries):
        row, at_ns = entry.row, entry.at_ns
        if at_ns > decided_ns:
            yield from _overdue(book, decided_ns)
            yield from _too_much(book, decided_ns)
            decided_ns = at_ns
        known = witness.knew(number, at_ns)
        if (
            isinstance(row, AmendRequested) or (isinstance(row, OrderRequested) and not row.adopted)
        ) and known.is_in_doubt:
            text = f"order {row.client_order_id} was sent or moved before the venue was looked at again"
            yield Violation("looks_first", text)
        match row:
            case OrderRequested(purpose="open"):
                yield from _opening(book, row, known, config)
            case OrderRequested():
                yield from _closing(book, row)
                yield from _taking_from_others(book, row, known, config)
            case AmendRequested():
                yield from _amending(book, row, known, config)
            case OpeningScaled():
                yield from _scaling(book.trades[row.trade_id], row)
            case TradeRequested():
                yield from _one_more(book, row, limits)
            case TradeMoved():
                yield from _moving(book.trades[row.trade_id], ended_ns.get(row.trade_id), row, at_ns)
            case _:
                pass
        book.apply(entry)
        if isinstance(row, OrderMoved) and (order := book.orders[row.client_order_id]).is_final:
            # the last one to end: by a clock that was set back meanwhile, an earlier one seems to be later
            ended_ns[order.trade_id] = at_ns
        if isinstance(row, FillSeen | FillAssumed):
            symbol = book.orders[row.client_order_id].symbol
            yield from _nets(book, symbol)
            if abs(book.net_quantity(symbol)) > limits.max_position_quantity:
                holding = ", ".join(
                    trade.trade_id
                    for trade in book.active_trades()
                    if any(leg.symbol == symbol and leg.held_quantity for leg in trade.legs)
                )
                held = f"{book.net_quantity(symbol)} {symbol} of {limits.max_position_quantity}"
                text = f"trades hold {held}: {holding}"
                yield Violation("within_limits", text)


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


def _moving(trade: Trade, ended_ns: int | None, row: TradeMoved, at_ns: int) -> Iterator[Violation]:
    """A change of state: with a reason, whole where it must be, and given up only after a look for late fills.

    ended_ns: when its last order ended.
    """
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
        look_ns = round(trade.request.execution_params.final_look_s * SECOND)
        if ended_ns is not None and at_ns < ended_ns + look_ns:
            waited_ms = (at_ns - ended_ns) // MS
            yield Violation(
                "final_look_taken", f"{row.trade_id} became {row.state} {waited_ms} ms after its last order ended"
            )


def _scaling(trade: Trade, row: OpeningScaled) -> Iterator[Violation]:
    """A smaller structure keeps the ratios of its legs to the lot, and no leg has more than its share already."""
    filled = max(new / leg.quantity for new, leg in zip(row.quantities, trade.legs, strict=True))
    for new, leg in zip(row.quantities, trade.legs, strict=True):
        behind = filled * leg.quantity - new
        if behind >= leg.instrument.lot_size or new > leg.quantity:
            text = f"{row.trade_id} is scaled to {new} of {leg.quantity} {leg.symbol}, {filled:.4f} of another leg"
            yield Violation("whole_or_flat", text)
        if leg.opened_quantity > new:
            text = f"{row.trade_id} is scaled to {new} {leg.symbol}, of which {leg.opened_quantity} is open"
            yield Violation("whole_or_flat", text)


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


def _too_much(book: Book, decided_ns: int) -> Iterator[Violation]:
    """An atomic trade does not stay open with more than it was to hold, where nothing stops it from reducing that."""
    for trade in book.active_trades():
        if trade.state != "OPEN" or trade.by_strategy or trade.request.policy != "atomic" or trade.close is not None:
            continue
        since_ns = trade.overfilled_ns or max(leg.last_fill_ns for leg in trade.legs)
        if decided_ns < since_ns + _MENDED_NS or book.unsettled_of(trade):
            continue
        for leg in trade.legs:
            if leg.surplus_quantity > 0:
                text = f"{trade.trade_id} is open with {leg.surplus_quantity} {leg.symbol} too much for a long time"
                yield Violation("surplus_reduced", text)


def _opening(book: Book, row: OrderRequested, known: Knowledge, config: ExecutionConfig) -> Iterator[Violation]:
    if row.adopted:
        return
    trade, leg = _place(book, row)
    lacks = leg.quantity - leg.opened_quantity
    if not trade.by_strategy and row.quantity > lacks:
        text = f"order {row.client_order_id} opens {row.quantity} {leg.symbol}, {row.trade_id} lacks {lacks}"
        yield Violation("not_overfilled", text)
    yield from _exposing(book, trade, leg, f"opening order {row.client_order_id}", known, config)


def _amending(book: Book, row: AmendRequested, known: Knowledge, config: ExecutionConfig) -> Iterator[Violation]:
    """An amendment that opens is as much inside the grant as an order; one of an order is on its way at a time."""
    order = book.orders[row.client_order_id]
    name = f"the amendment of order {row.client_order_id} to {row.price}"
    if order.is_amending:
        yield Violation("sent_once", f"{name} was sent while the one to {order.amend_price} was on its way")
    if order.purpose != "open":
        return
    trade = book.trades[order.trade_id]
    leg = trade.legs[order.leg_index]
    yield from _exposing(book, trade, leg, name, known, config)
    worst = trade.request.grant.legs[order.leg_index].worst_price
    if row.price > worst if order.side == "buy" else row.price < worst:
        yield Violation("inside_grant", f"{name} is past its grant's {worst}")


def _exposing(
    book: Book, trade: Trade, leg: Leg, name: str, known: Knowledge, config: ExecutionConfig
) -> Iterator[Violation]:
    grant = trade.request.grant
    at_ns = known.at_ns
    if at_ns > grant.deadline_ns:
        late_ms = (at_ns - grant.deadline_ns) / MS
        yield Violation("grant_in_time", f"{name} was sent {late_ms:.0f} ms after its grant's deadline")
    if book.halts:
        yield Violation("no_opening_under_halt", f"{name} was sent under the halt {book.halts[-1].reason!r}")
    if grant.halt_epoch != book.halt_epoch:
        epochs = f"{grant.halt_epoch} of {book.halt_epoch}"
        yield Violation("no_opening_under_halt", f"{name} was sent under halt epoch {epochs}")
    silence_ns = known.risk_silence_ns
    if silence_ns > config.risk_silence_max_ms * MS:
        yield Violation("risk_heard", f"{name} was sent with risk silent for {silence_ns / MS:.0f} ms")
    age_ns = known.chain_age_ns(leg.instrument.underlying)
    if age_ns > config.market_tolerance_ms * MS:
        yield Violation("fresh_prices", f"{name} was priced on a chain {age_ns / MS:.0f} ms old")


def _closing(book: Book, row: OrderRequested) -> Iterator[Violation]:
    if row.adopted:
        return
    trade, leg = _place(book, row)
    kept = trade.request.if_broken == "hold" and trade.opened_ns is not None and trade.close is None
    if trade.state == "BROKEN" and kept:
        text = f"order {row.client_order_id} closes {leg.symbol} of {trade.trade_id}, which was to be held if broken"
        yield Violation("broken_as_declared", text)
    at_work: list[Order] = [
        order for order in book.unsettled_of(trade, row.leg_index) if order.purpose != "open" and not order.is_final
    ]
    waiting = sum((order.quantity - order.filled_quantity for order in at_work), ZERO)
    if row.purpose == "unwind" and trade.opened_ns is not None and row.quantity + waiting > leg.surplus_quantity:
        text = f"order {row.client_order_id} takes {row.quantity} of {leg.surplus_quantity} too much {leg.symbol}"
        yield Violation("surplus_reduced", text)
    if row.quantity + waiting > leg.held_quantity:
        yield Violation(
            "close_within_holding",
            f"order {row.client_order_id} closes {row.quantity} beside {waiting} at work, "
            f"{trade.trade_id} holds {leg.held_quantity} {leg.symbol}",
        )


def _taking_from_others(
    book: Book, row: OrderRequested, known: Knowledge, config: ExecutionConfig
) -> Iterator[Violation]:
    """What a close may take of the venue's position, where the last look at it contains all that was done since."""
    snapshot = known.snapshot
    if snapshot is None or row.adopted:
        return
    trade, leg = _place(book, row)
    alike = [
        (other, part)
        for other in book.trades.values()
        for part in other.legs
        if part.symbol == leg.symbol and part.side == leg.side
    ]
    touched_ns = max(part.last_fill_ns for _, part in alike)
    if any(book.orders[number].symbol == leg.symbol for number in book.unsettled):
        return
    if snapshot.asked_ns <= touched_ns + config.settled_view_ms * MS:
        return
    shown = sum((one.quantity for one in snapshot.positions if one.symbol == leg.symbol), ZERO)
    shown = snapshot.coins.get(leg.symbol, shown)
    claimed = sum((part.held_quantity for other, part in alike if other is not trade and not other.is_final), ZERO)
    if claimed and row.quantity > max(ZERO, shown * leg.sign - claimed):
        yield Violation(
            "close_within_position",
            f"order {row.client_order_id} closes {row.quantity} {leg.symbol}, the venue showed {shown}, "
            f"other trades hold {claimed}",
        )


def _one_more(book: Book, row: TradeRequested, limits: RiskConfig) -> Iterator[Violation]:
    """A trade that is broken may have been over when this one was granted; a hedge takes no place."""
    others = sum(trade.state != "BROKEN" and not trade.request.hedge_of for trade in book.active_trades())
    if not row.request.hedge_of and others >= limits.max_open_trades:
        text = f"{row.trade_id} is begun beside {others} trades of at most {limits.max_open_trades}"
        yield Violation("within_limits", text)


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
