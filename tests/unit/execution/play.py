"""A dialogue with an execution core: what goes in at which millisecond, and everything that comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeVar
from zlib import crc32

import msgspec
import numpy as np

from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.effects import CancelBatch, CancelOrder, FetchSnapshot, PlaceOrder, QueryOrder
from services.execution.rows import Row
from shared.messages.base import Message, Side
from shared.messages.grants import signed
from shared.messages.market import ChainSnapshot, Instrument, InstrumentList
from shared.messages.steps import Entry, Inbound, Publish, RaiseAlert, Reply, Request, Tick
from shared.messages.system import Heartbeat
from shared.messages.trades import (
    CancelOrders,
    CloseTrade,
    ExecutionParams,
    Grant,
    GrantLeg,
    LegOrder,
    LimitPhase,
    OpenTrade,
    OrderUpdate,
    TradeUpdate,
)
from shared.messages.venue import (
    FundingPayment,
    NewOrder,
    OrderAcked,
    OrderQueried,
    StreamUp,
    VenueExercise,
    VenueFill,
    VenueOrder,
    VenueOrderState,
    VenuePosition,
    VenueSnapshot,
)
from shared.options.chain import list_id_of, pack_columns

MS = 1_000_000
SECOND = 1_000_000_000
T0 = 1_790_000_000 * SECOND
KEY = b"0123456789abcdef0123456789abcdef"
ACCOUNT = "a1"
EXPIRY_NS = T0 + 7 * 86_400 * SECOND
CALL = "BTCUSD-28SEP26-100000-C"
HIGH_CALL = "BTCUSD-28SEP26-110000-C"
PUT = "BTCUSD-28SEP26-90000-P"
LOW_PUT = "BTCUSD-28SEP26-80000-P"
MARKS: dict[str, float] = {CALL: 1000.0, HIGH_CALL: 300.0, PUT: 900.0, LOW_PUT: 250.0}
ItemT = TypeVar("ItemT")

D = Decimal


def instrument(symbol: str, expiry_ns: int = EXPIRY_NS) -> Instrument:
    return Instrument(
        symbol=symbol,
        underlying="BTCUSD",
        option_type="C" if symbol.endswith("C") else "P",
        strike=D(symbol.split("-")[2]),
        expiry_ns=expiry_ns,
        last_trade_ns=expiry_ns - 900 * SECOND,
        tick_size=D(1),
        lot_size=D("0.01"),
        min_quantity=D("0.01"),
        max_quantity=D(1000),
    )


def listing(expiry_ns: int = EXPIRY_NS) -> InstrumentList:
    instruments = tuple(instrument(symbol, expiry_ns) for symbol in MARKS)
    return InstrumentList(underlying="BTCUSD", list_id=list_id_of(instruments), instruments=instruments)


def chain(
    at_ns: int,
    instruments: InstrumentList,
    marks: Mapping[str, float] = MARKS,
    half_spread: float = 10.0,
    bookless: Iterable[str] = (),
    markless: Iterable[str] = (),
    size: float = 50.0,
) -> ChainSnapshot:
    """A chain with bid and ask `half_spread` around mark, `size` each; no book or no mark where named."""
    symbols = [each.symbol for each in instruments.instruments]
    middle = np.array([marks[symbol] for symbol in symbols])
    gone = np.array([symbol in set(bookless) for symbol in symbols])
    columns = {
        "bid": np.where(gone, np.nan, middle - half_spread),
        "ask": np.where(gone, np.nan, middle + half_spread),
        "bid_size": np.where(gone, np.nan, size),
        "ask_size": np.where(gone, np.nan, size),
        "mark": np.where([symbol in set(markless) for symbol in symbols], np.nan, middle),
    }
    return ChainSnapshot(
        underlying="BTCUSD",
        list_id=instruments.list_id,
        venue_ns=at_ns,
        received_ns=at_ns,
        index_price=100_000.0,
        index_received_ns=at_ns,
        matrix=pack_columns(columns, len(symbols)),
    )


def leg(symbol: str, side: Side, quantity: str = "1") -> LegOrder:
    return LegOrder(symbol=symbol, side=side, quantity=D(quantity))


def intent(*legs: LegOrder, ordinal: int = 0, now_ns: int = T0, halt_epoch: int = 0, **changes: Any) -> OpenTrade:
    """An intent with a grant that covers it, signed; worst prices 20 % past mark."""
    strategy = changes.pop("strategy", "demo")
    grant = Grant(
        grant_id=f"g{ordinal}",
        intent_id=f"{strategy}-{ordinal}",
        account_id=ACCOUNT,
        legs=tuple(
            GrantLeg(
                symbol=each.symbol,
                side=each.side,
                max_quantity=each.quantity,
                worst_price=D(str(MARKS.get(each.symbol, 1000.0))) * (D("1.2") if each.side == "buy" else D("0.8")),
            )
            for each in legs
        ),
        deadline_ns=changes.pop("deadline_ns", now_ns + 600 * SECOND),
        halt_epoch=halt_epoch,
        issued_ns=now_ns,
        margin_usd=1000.0,
        max_loss_usd=None,
    )
    grant = changes.pop("grant", None) or signed(grant, KEY)
    base = OpenTrade(
        intent_id=f"{strategy}-{ordinal}",
        account_id=ACCOUNT,
        strategy=strategy,
        ordinal=ordinal,
        legs=legs,
        execution_mode="limit",
        execution_params=ExecutionParams(phases=(LimitPhase(),)),
        policy="atomic",
        exit_conditions=(),
        hard_deadline_ns=None,
        max_loss_usd=None,
        if_host_silent="hold",
        host_silent_after_s=60.0,
        valid_until_ns=now_ns + 30 * SECOND,
        grant=grant,
    )
    return msgspec.structs.replace(base, **changes)


def beat(service: str, at_ns: int, *strategies: str, ready: bool = True) -> Heartbeat:
    return Heartbeat(
        service=service,
        account_id=ACCOUNT,
        mode="paper",
        venue="sim",
        pid=1,
        epoch=1,
        started_ns=T0,
        beat_ns=at_ns,
        starts=1,
        ready=ready,
        detail="",
        event_sequences={},
        strategies=strategies,
    )


def venue_id(order: NewOrder) -> int:
    """The id that the venue of these tests gives to an order."""
    return 5_000_000 + hash((order.client_order_id >> 21, order.client_order_id & (1 << 21) - 1)) % 1_000_000_000


def acked(order: NewOrder) -> OrderAcked:
    return OrderAcked(client_order_id=order.client_order_id, venue_order_id=venue_id(order))


def seen(order: NewOrder, state: VenueOrderState, filled: str = "0") -> VenueOrder:
    return VenueOrder(
        venue_order_id=venue_id(order),
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        filled_quantity=D(filled),
        price=order.price,
        average_price=order.price if D(filled) else None,
        state=state,
        reduce_only=order.reduce_only,
        created_ns=T0,
        updated_ns=T0,
    )


def fill(
    order: NewOrder, number: int, quantity: str | Decimal | None = None, fee: str | None = "0.5", at_ns: int = T0
) -> VenueFill:
    return VenueFill(
        venue_trade_id=number,
        venue_order_id=venue_id(order),
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity if quantity is None else D(quantity),
        price=order.price,
        fee_usd=None if fee is None else D(fee),
        is_taker=True,
        venue_ns=at_ns,
    )


def gone(script: Script, number: int) -> VenueOrder:
    """The venue reports this order cancelled, with what was filled of it."""
    order = script.core.book.orders[number]
    assert order.venue_order_id is not None
    return VenueOrder(
        venue_order_id=order.venue_order_id,
        client_order_id=number,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        filled_quantity=order.filled_quantity,
        price=order.price,
        average_price=None,
        state="cancelled",
        reduce_only=order.reduce_only,
        created_ns=0,
        updated_ns=0,
    )


def position(symbol: str, quantity: str, mark: float | None = None) -> VenuePosition:
    return VenuePosition(
        symbol=symbol, quantity=D(quantity), average_price=D(1), mark=mark, unrealized_pnl_usd=None, delta=None
    )


class Script:
    """One core in a dialogue. Market data and heartbeats flow once a second unless switched off."""

    def __init__(
        self,
        config: ExecutionConfig | None = None,
        *,
        expiry_ns: int = EXPIRY_NS,
        begins_ns: int = T0,
    ) -> None:
        self.config = config or ExecutionConfig()
        self.listing = listing(expiry_ns)
        self.entries: list[Entry] = []
        self.effects: list[Any] = []
        self.now_ns = begins_ns
        self.chain_options: dict[str, Any] = {}
        self.market_on = True
        self.risk_on = True
        self.host_on = True
        self.answered_for = ("demo",)
        self.requests = 0
        self._beat_ns = begins_ns
        self.core = self._new_core()

    def _new_core(self) -> ExecutionCore:
        return ExecutionCore(self.config, account_id=ACCOUNT, desk_number=7, grant_key=KEY)

    def started(self, *positions: VenuePosition) -> Script:
        """Start, hear the market and risk, and agree with the venue."""
        self._take(self.core.start(self.now_ns))
        self.on(StreamUp())
        self.market()
        self.beats()
        self.snapshot(positions=positions)
        self.effects.clear()
        return self

    def restarted(self) -> Script:
        """The process dies; a new one folds the journal. Not compared with the venue yet."""
        self.core = self._new_core()
        for entry in self.entries:
            self.core.apply(entry)
        self.effects.clear()
        self._take(self.core.start(self.now_ns))
        self.on(StreamUp())
        self.market()
        self.beats()
        return self

    def _take(self, step: Any) -> None:
        self.entries += step.rows
        self.effects += step.effects

    def on(self, item: Any) -> Script:
        """One input, now."""
        self._take(self.core.handle(item, self.now_ns))
        return self

    def inbound(self, message: Message) -> Script:
        return self.on(Inbound("t", message, f"m{len(self.entries)}", "p", 1))

    def market(self) -> None:
        self.inbound(self.listing)
        self.inbound(chain(self.now_ns, self.listing, **self.chain_options))

    def beats(self) -> None:
        if self.risk_on:
            self.inbound(beat("risk", self.now_ns))
        if self.host_on:
            self.inbound(beat("strategy", self.now_ns, *self.answered_for))

    def ask(self, message: Message, request_id: str | None = None) -> Any:
        """A request, and its answer."""
        self.requests += 1
        request_id = request_id or f"r{self.requests}"
        before = len(self.effects)
        self.on(Request(request_id, message, "c"))
        answers = [e.message for e in self.effects[before:] if isinstance(e, Reply) and e.request_id == request_id]
        assert len(answers) == 1, answers
        return answers[0]

    def open(self, *legs: LegOrder, **changes: Any) -> str:
        """Open a trade; its id."""
        changes.setdefault("now_ns", self.now_ns)
        answer = self.ask(intent(*legs, **changes))
        return str(answer.trade_id)

    def close(self, trade_id: str, requested_by: str = "operator") -> Any:
        return self.ask(CloseTrade(trade_id=trade_id, reason="enough", requested_by=requested_by))

    def cancel(self, **which: Any) -> Any:
        return self.ask(CancelOrders(requested_by="operator", **which))

    def wait(self, ms: int) -> Script:
        """Let time pass: ticks when due, the market and heartbeats once a second."""
        end_ns = self.now_ns + ms * MS
        while True:
            deadline_ns = self.core.next_deadline_ns()
            due_ns = min(self._beat_ns + SECOND, deadline_ns or end_ns + 1)
            if due_ns > end_ns:
                break
            self.now_ns = max(due_ns, self.now_ns)
            if self.now_ns >= self._beat_ns + SECOND:
                self._beat_ns = self.now_ns
                if self.market_on:
                    self.inbound(chain(self.now_ns, self.listing, **self.chain_options))
                self.beats()
            self.on(Tick())
        self.now_ns = end_ns
        return self.on(Tick())

    def snapshot(
        self,
        *,
        orders: Iterable[VenueOrder] = (),
        fills: Iterable[VenueFill] = (),
        positions: Iterable[VenuePosition] = (),
        exercises: Iterable[VenueExercise] = (),
        funding: Iterable[FundingPayment] = (),
        coins: Mapping[str, str] | None = None,
        asked_ns: int | None = None,
    ) -> Script:
        """The venue as it is read now."""
        return self.on(
            VenueSnapshot(
                trigger="test",
                asked_ns=self.now_ns if asked_ns is None else asked_ns,
                since_ns=0,
                orders=tuple(orders),
                fills=tuple(fills),
                positions=tuple(positions),
                exercises=tuple(exercises),
                funding=tuple(funding),
                coins={pair: D(held) for pair, held in (coins or {}).items()},
            )
        )

    def taken(self, positions: Iterable[VenuePosition], orders: Iterable[VenueOrder] = ()) -> Script:
        """The venue as it is read now, with the executions of somebody else that took what is missing."""
        shown = {each.symbol: each.quantity for each in positions}
        ours: dict[str, D] = {}
        for trade in self.core.book.active_trades():
            for leg in trade.legs:
                ours[leg.symbol] = ours.get(leg.symbol, D(0)) + leg.sign * leg.held_quantity
        fills = [
            VenueFill(
                venue_trade_id=8_000_000 + crc32(f"{symbol} {shown.get(symbol)}".encode()),
                venue_order_id=8_000_000 + number,
                client_order_id=None,
                symbol=symbol,
                side="sell" if held > 0 else "buy",
                quantity=abs(held - shown.get(symbol, D(0))),
                price=D(100),
                fee_usd=D(0),
                is_taker=True,
                venue_ns=self.now_ns,
            )
            for number, (symbol, held) in enumerate(sorted(ours.items()))
            if held and shown.get(symbol, D(0)) != held
        ]
        return self.snapshot(positions=positions, fills=fills, orders=orders)

    def queried(
        self, order: NewOrder, found: VenueOrder | None, *fills: VenueFill, asked_ns: int | None = None
    ) -> Script:
        return self.on(
            OrderQueried(
                client_order_id=order.client_order_id,
                asked_ns=self.now_ns if asked_ns is None else asked_ns,
                order=found,
                fills=fills,
            )
        )

    def fills_all(self, order: NewOrder, number: int) -> Script:
        """The venue takes the order and fills it at once."""
        return self.on(acked(order)).on(fill(order, number)).on(seen(order, "filled", str(order.quantity)))

    def cancels_all(self, order: NewOrder, filled: str = "0") -> Script:
        """The venue confirms that the order is gone."""
        return self.on(seen(order, "cancelled", filled))

    def take(self, kind: type[ItemT]) -> list[ItemT]:
        """The effects of this kind since they were last taken."""
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return found

    def placed(self) -> list[NewOrder]:
        return [effect.order for effect in self.take(PlaceOrder)]

    def cancelled(self) -> list[int]:
        """Those asked for since the last call, alone or in batches."""
        refs = [effect.order for effect in self.take(CancelOrder)]
        return [ref.client_order_id for ref in (*refs, *(o for b in self.take(CancelBatch) for o in b.orders))]

    def queries(self) -> list[int]:
        return [effect.client_order_id for effect in self.take(QueryOrder)]

    def fetches(self) -> list[str]:
        return [effect.trigger for effect in self.take(FetchSnapshot)]

    def alerts(self) -> list[str]:
        return [effect.code for effect in self.take(RaiseAlert) if not effect.resolved]

    def published(self, kind: type[ItemT]) -> list[ItemT]:
        return [e.message for e in self.effects if isinstance(e, Publish) and isinstance(e.message, kind)]

    def rows(self, kind: type[ItemT]) -> list[ItemT]:
        return [entry.row for entry in self.entries if isinstance(entry.row, kind)]

    def trade(self, trade_id: str) -> TradeUpdate:
        """The newest published state of a trade."""
        return [update for update in self.published(TradeUpdate) if update.trade_id == trade_id][-1]

    def state(self, trade_id: str) -> str:
        return self.core.book.trades[trade_id].state

    def held(self, trade_id: str) -> list[Decimal]:
        return [each.held_quantity for each in self.core.book.trades[trade_id].legs]

    def order(self, order: NewOrder) -> OrderUpdate:
        return [u for u in self.published(OrderUpdate) if u.client_order_id == order.client_order_id][-1]

    def opened(self, *legs: LegOrder, **changes: Any) -> str:
        """A trade that is open: every order of it filled at once."""
        trade_id = self.open(*legs, **changes)
        number = 1000 * (len(self.core.book.fills) + 1)
        for _ in range(10):
            for order in self.placed():
                number += 1
                self.fills_all(order, number)
        assert self.state(trade_id) == "OPEN"
        # Later than any snapshot's uncertainty about these fills.
        self.wait(5_000)
        self.snapshot(positions=self.positions())
        self.effects.clear()
        return trade_id

    def positions(self) -> list[VenuePosition]:
        """Positions at the venue that agree with the book."""
        book = self.core.book
        symbols = {each.symbol for trade in book.active_trades() for each in trade.legs}
        return [
            position(symbol, str(book.net_quantity(symbol)), MARKS[symbol])
            for symbol in sorted(symbols)
            if book.net_quantity(symbol)
        ]

    def refolded(self) -> ExecutionCore:
        """Another core that folded the same journal, through its wire form."""
        core = self._new_core()
        data = msgspec.msgpack.encode([entry.row for entry in self.entries])
        for entry, row in zip(self.entries, msgspec.msgpack.decode(data, type=list[Row]), strict=True):
            core.apply(Entry(entry.at_ns, entry.cause_id, row))
        return core
