"""The simulated exchange's core behind a network that loses, delays and doubles, in the words of the desk's ports."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from services.exchange import model as ex
from services.exchange.config import ExchangeConfig
from services.exchange.core import ExchangeCore
from services.exchange.rows import Outcome
from shared.messages.market import Instrument
from shared.messages.venue import (
    AmendAcked,
    Amendment,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    NewOrder,
    OrderAcked,
    OrderQueried,
    OrderQueryFailed,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueAccount,
    VenueExercise,
    VenueFill,
    VenueOrder,
    VenueOrderState,
    VenuePosition,
    VenueSnapshot,
    VenueSnapshotFailed,
)
from shared.options.symbols import LAST_TRADE_BEFORE_EXPIRY_NS
from shared.venues.ports import ChainPush, IndexPush, OptionQuoteRow
from world.engine import Engine
from world.faults import MS, SECOND, Faults

REFUSALS = (10531, 10532, 10536, 10540)
"""Price outside its band, nothing to reduce, and a code that means nothing to the desk."""
ORDER_TIMEOUT_NS = 3 * SECOND
REQUEST_VALIDITY_NS = 5 * SECOND
Deliver = Callable[[Any], None]

_STATES: dict[ex.OrderState, VenueOrderState] = {
    ex.OrderState.NEW: "new",
    ex.OrderState.PARTIALLY_FILLED: "partial",
    ex.OrderState.FILLED: "filled",
    ex.OrderState.CANCELLED: "cancelled",
    ex.OrderState.INVALID: "invalid",
    ex.OrderState.CANCELLED_BY_EXERCISE: "exercised",
}


class Venue:
    """One account at the exchange, as execution, risk and marketdata reach it over the network of `faults`."""

    def __init__(
        self, engine: Engine, faults: Faults, exchange: ExchangeCore, config: ExchangeConfig, account_id: str
    ) -> None:
        self.engine = engine
        self.config = config
        self.faults = faults
        self.exchange = exchange
        self.account_id = account_id
        self.sent: Counter[int] = Counter()
        self.opening_orders: list[NewOrder] = []
        self.by_hand: set[int] = set()
        self.foreign: dict[str, Decimal] = {}
        self._stream: Deliver | None = None
        self._drop_stream: Callable[[], None] = lambda: None
        self._away_until_ns = 0
        self._past_positions: deque[tuple[int, tuple[VenuePosition, ...]]] = deque()
        engine.every(config.step_ms * MS, self._advance)

    @property
    def is_away(self) -> bool:
        """Nothing reaches it and nothing comes from it. Its market and its orders go on."""
        return self.engine.now_ns < self._away_until_ns

    def go_away(self, duration_ns: int) -> None:
        """Be unreachable for so long: streams break, calls and reads fail."""
        self._away_until_ns = self.engine.now_ns + duration_ns
        self._drop_stream()

    def place(self, order: NewOrder, deliver: Deliver) -> None:
        """Send one order. The answer, or `OutcomeUnknown` after 3 s, goes to `deliver`."""
        self.sent[order.client_order_id] += 1
        if not order.reduce_only:
            self.opening_orders.append(order)
        unknown = OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out")

        def execute() -> OrderAcked | OrderRefused:
            if self.engine.chance(self.faults.refused):
                code = self.engine.random.choice(REFUSALS)
                return OrderRefused(
                    client_order_id=order.client_order_id, kind="rejected", code=code, text="refused at random"
                )
            result = self._run(self.exchange.place(self.account_id, _to_venue(order), self.engine.now_ns))
            if isinstance(result, ex.Accepted):
                return OrderAcked(client_order_id=order.client_order_id, venue_order_id=result.order_id)
            return OrderRefused(
                client_order_id=order.client_order_id, kind="rejected", code=result.code, text=result.message
            )

        self._call(execute, unknown, deliver)

    def cancel(self, order: OrderRef, deliver: Deliver) -> None:
        unknown = OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out")

        def execute() -> CancelAcked | CancelRefused:
            command = ex.CancelOrder(order_id=order.venue_order_id, client_order_id=order.client_order_id)
            result = self._run(self.exchange.cancel(self.account_id, command, self.engine.now_ns))
            if isinstance(result, ex.Accepted):
                return CancelAcked(client_order_id=order.client_order_id)
            return CancelRefused(client_order_id=order.client_order_id, code=result.code, text=result.message)

        self._call(execute, unknown, deliver)

    def amend(self, change: Amendment, deliver: Deliver) -> None:
        """Send one amendment. The answer, or `AmendUnknown` after 3 s, goes to `deliver`."""
        number = change.order.client_order_id

        def refused(code: int, text: str) -> AmendRefused:
            return AmendRefused(client_order_id=number, kind="rejected", code=code, text=text)

        def execute() -> AmendAcked | AmendRefused:
            if self.engine.chance(self.faults.refused):
                return refused(self.engine.random.choice(REFUSALS), "refused at random")
            command = ex.AmendOrder(
                symbol=change.order.symbol,
                order_id=change.order.venue_order_id,
                client_order_id=number,
                quantity=change.quantity,
                price=change.price,
            )
            result = self._run(self.exchange.amend(self.account_id, command, self.engine.now_ns))
            if isinstance(result, ex.Accepted):
                return AmendAcked(client_order_id=number, venue_order_id=result.order_id)
            return refused(result.code, result.message)

        self._call(execute, AmendUnknown(client_order_id=number, reason="time-out"), deliver)

    def intrude(self) -> None:
        """Somebody else uses the account: closes a part of a position at any price, or cancels one of our orders."""
        open_orders = self.exchange.open_orders(self.account_id)
        if open_orders and self.engine.chance(0.5):
            chosen = self.engine.random.choice(open_orders)
            self._run(
                self.exchange.cancel(
                    self.account_id,
                    ex.CancelOrder(order_id=chosen.order_id, client_order_id=None),
                    self.engine.now_ns,
                )
            )
            return
        positions = self.positions()
        if not positions:
            return
        position = self.engine.random.choice(positions)
        chain = next(c for c in self._chains() if position.symbol in c.symbols)
        row = chain.symbols.index(position.symbol)
        price = float(chain.bid[row] if position.quantity > 0 else chain.ask[row])
        if not price > 0:
            return
        order = ex.PlaceOrder(
            symbol=position.symbol,
            side=ex.Side.SELL if position.quantity > 0 else ex.Side.BUY,
            quantity=abs(position.quantity) / self.engine.random.choice((1, 2)),
            price=Decimal(repr(price)),
            order_type=ex.OrderType.LIMIT,
            time_in_force="IOC",
            client_order_id=None,
            reduce_only=True,
        )
        result = self.exchange.place(self.account_id, order, self.engine.now_ns)
        if isinstance(result.result, ex.Accepted):
            self.by_hand.add(result.result.order_id)
        self._push(result.events)

    def query(self, client_order_id: int, deliver: Deliver) -> None:
        """Look one order up by query, open orders and history; what is younger than the venue's lag is not seen."""
        asked_ns = self.engine.now_ns

        def answer() -> OrderQueried | OrderQueryFailed:
            if self.is_away or self.engine.chance(self.faults.read_fails):
                return OrderQueryFailed(client_order_id=client_order_id, reason="down: connection reset")
            order = self.exchange.order(self.account_id, client_order_id=client_order_id)
            seen = order is not None and order.created_ns <= self._horizon_ns()
            fills = self._fills(0)
            return OrderQueried(
                client_order_id=client_order_id,
                asked_ns=asked_ns,
                order=_order(order) if seen and order is not None else None,
                fills=tuple(fill for fill in fills if seen and fill.client_order_id == client_order_id),
            )

        self.engine.after(self._delay_ns(), lambda: deliver(answer()))

    def snapshot(self, trigger: str, since_ns: int, deliver: Deliver) -> None:
        """Read orders, fills, positions and exercises one after the other, so that the parts can disagree."""
        asked_ns = self.engine.now_ns
        parts: dict[str, Any] = {}

        def orders() -> None:
            visible = [
                order
                for order in (
                    *self.exchange.open_orders(self.account_id),
                    *self.exchange.order_history(self.account_id, start_ns=since_ns),
                )
                if order.created_ns <= self._horizon_ns()
            ]
            parts["orders"] = tuple(_order(order) for order in visible)

        def fills() -> None:
            parts["fills"] = self._fills(since_ns)

        def rest() -> None:
            if self.is_away or self.engine.chance(self.faults.read_fails):
                deliver(VenueSnapshotFailed(trigger=trigger, reason="down: connection reset"))
                return
            deliver(
                VenueSnapshot(
                    trigger=trigger,
                    asked_ns=asked_ns,
                    since_ns=since_ns,
                    orders=parts["orders"],
                    fills=parts["fills"],
                    positions=self._shown_positions(),
                    exercises=self._exercises(since_ns),
                )
            )

        when_ns = asked_ns
        for part in (orders, fills, rest):
            when_ns += self._delay_ns()
            self.engine.at(when_ns, part)

    def connect(self, deliver: Deliver) -> Callable[[], None]:
        """Subscribe the private stream. It breaks and returns by itself; the result disconnects it for good."""
        live = True

        def put(item: Any) -> None:
            if live:
                deliver(item)

        def drop() -> None:
            if not live or self._stream is None:
                return
            self._stream = None
            put(StreamDown(reason="connection closed"))
            self.engine.after(self.engine.between_ns(SECOND // 2, 5 * SECOND), up)

        def up() -> None:
            if not live:
                return
            if self.is_away:
                self.engine.after(self.engine.between_ns(SECOND // 2, 5 * SECOND), up)
                return
            self._stream = put
            self._drop_stream = drop
            put(StreamUp())
            if self.faults.stream_drop_per_minute:
                wait_s = self.engine.random.expovariate(self.faults.stream_drop_per_minute / 60)
                self.engine.after(int(wait_s * SECOND), drop)

        def disconnect() -> None:
            nonlocal live
            live = False
            self._stream = None

        self.engine.after(self._delay_ns(), up)
        return disconnect

    def account(self) -> VenueAccount:
        summary = self.exchange.account_summary(self.account_id)
        return VenueAccount(
            equity_usd=summary.equity,
            available_margin_usd=summary.available,
            initial_margin_usd=summary.initial_margin,
            maintenance_margin_usd=summary.maintenance_margin,
            unrealized_pnl_usd=summary.unrealised_pnl,
        )

    def positions(self) -> tuple[VenuePosition, ...]:
        return tuple(
            VenuePosition(
                symbol=position.symbol,
                quantity=position.quantity * position.side.sign,
                average_price=position.average_price,
                mark=position.mark_price,
                unrealized_pnl_usd=float(position.unrealised_pnl_mark),
            )
            for position in self.exchange.positions(self.account_id)
        )

    def own_positions(self) -> dict[str, Decimal]:
        """What the account holds without what others opened, by symbol. For the checks."""
        held = {position.symbol: position.quantity for position in self.positions()}
        rest = {symbol: held.get(symbol, Decimal(0)) - self.foreign.get(symbol, Decimal(0)) for symbol in held}
        return {symbol: quantity for symbol, quantity in rest.items() if quantity}

    def instruments(self, base: str) -> tuple[Instrument, ...]:
        limits = next(config for config in self.config.bases if config.base == base)
        return tuple(
            Instrument(
                symbol=listed.symbol,
                underlying=listed.index,
                option_type=listed.option_type,
                strike=listed.strike,
                expiry_ns=listed.expiry_ns,
                last_trade_ns=listed.expiry_ns - LAST_TRADE_BEFORE_EXPIRY_NS,
                tick_size=listed.tick_size,
                lot_size=listed.min_quantity,
                min_quantity=listed.min_quantity,
                max_quantity=limits.max_order_quantity,
            )
            for listed in self.exchange.instruments(base)
        )

    def chain_push(self, index: str, expiry_ns: int) -> ChainPush:
        """The chain of one expiry as marketdata is pushed it: NaN where the venue shows nothing."""
        chain = self.exchange.chain(index, expiry_ns)
        assert chain is not None, (index, expiry_ns)
        columns = {
            "bid": _blank(chain.bid),
            "ask": _blank(chain.ask),
            "bid_size": _blank(chain.bid_size),
            "ask_size": _blank(chain.ask_size),
            "mark": chain.mark,
            "mark_iv": chain.mark_iv,
            "bid_iv": chain.bid_iv,
            "ask_iv": chain.ask_iv,
            "delta": chain.delta,
            "gamma": chain.gamma,
            "vega": chain.vega,
            "theta": chain.theta,
            "rho": chain.rho,
            "open_interest": chain.open_interest,
            "volume": chain.volume,
            "forward": chain.underlying,
        }
        rows = tuple(
            OptionQuoteRow(symbol=symbol, **{name: float(column[row]) for name, column in columns.items()})
            for row, symbol in enumerate(chain.symbols)
        )
        return ChainPush(underlying=index, expiry_ns=expiry_ns, venue_ns=chain.at_ns, rows=rows)

    def index_push(self, base: str) -> IndexPush:
        price = self.exchange.index_price(base)
        assert price is not None, base
        return IndexPush(underlying=f"{base}USD", price=float(price), venue_ns=self.exchange.now_ns)

    def fills_by_client_order(self) -> dict[int, Decimal]:
        """What the venue says was filled, by client order id. For the checks."""
        filled: dict[int, Decimal] = {}
        for fill in self.exchange.fills(self.account_id):
            if fill.client_order_id is not None and fill.order_id not in self.by_hand:
                filled[fill.client_order_id] = filled.get(fill.client_order_id, Decimal(0)) + fill.quantity
        return filled

    def _chains(self) -> Iterator[Any]:
        for base in self.config.bases:
            for expiry_ns in {listed.expiry_ns for listed in self.exchange.instruments(base.base)}:
                yield self.exchange.chain(f"{base.base}USD", expiry_ns)

    def _advance(self) -> None:
        self._push(self.exchange.advance(self.engine.now_ns).events)
        if self.faults.position_lag_ms:
            self._past_positions.append((self.engine.now_ns, self.positions()))
            self._shown_positions()

    def _shown_positions(self) -> tuple[VenuePosition, ...]:
        """The positions as the venue shows them: those of `position_lag_ms` ago."""
        if not self.faults.position_lag_ms:
            return self.positions()
        past = self._past_positions
        shown_ns = self.engine.now_ns - self.faults.position_lag_ms * MS
        while len(past) > 1 and past[1][0] <= shown_ns:
            past.popleft()
        return past[0][1] if past else ()

    def _run(self, outcome: Outcome[Any]) -> Any:
        self._push(outcome.events)
        return outcome.result

    def _call(self, execute: Callable[[], Any], unknown: OutcomeUnknown | AmendUnknown, deliver: Deliver) -> None:
        """One order call: lost on the way, late, its answer lost, or answered with a code that nobody listed."""
        if self.is_away or self.engine.chance(self.faults.request_lost):
            self.engine.after(ORDER_TIMEOUT_NS, lambda: deliver(unknown))
            return
        there_ns = self._delay_ns()
        if self.engine.chance(self.faults.request_late):
            there_ns = self.engine.between_ns(SECOND, REQUEST_VALIDITY_NS)
        back_ns = there_ns + self._delay_ns()
        no_answer = self.engine.chance(self.faults.answer_lost) or back_ns > ORDER_TIMEOUT_NS
        odd_code = self.engine.chance(self.faults.unknown_code)

        def arrive() -> None:
            if self.is_away:
                if not no_answer:
                    self.engine.after(ORDER_TIMEOUT_NS, lambda: deliver(unknown))
                return
            answer = execute()
            if no_answer:
                return
            told = unknown if odd_code else answer
            self.engine.after(back_ns - there_ns, lambda: deliver(told))

        self.engine.after(there_ns, arrive)
        if no_answer:
            self.engine.after(ORDER_TIMEOUT_NS, lambda: deliver(unknown))

    def _push(self, events: Any) -> None:
        for event in events:
            match event:
                case ex.OrderEvent(order=order) if order.account_id == self.account_id:
                    self._push_one(_order(order))
                case ex.TradeEvent(fill=fill) if fill.account_id == self.account_id:
                    self._push_one(_fill(fill, with_fee=False))
                case _:
                    pass

    def _push_one(self, item: VenueOrder | VenueFill) -> None:
        if self.engine.chance(self.faults.stream_lost):
            return
        copies = 2 if self.engine.chance(self.faults.stream_duplicate) else 1
        for _ in range(copies):
            late_ns = self.engine.between_ns(0, self.faults.stream_reorder_ms * MS)
            self.engine.after(self._delay_ns() + late_ns, lambda: self._stream and self._stream(item))

    def _fills(self, since_ns: int) -> tuple[VenueFill, ...]:
        fills = self.exchange.fills(self.account_id, start_ns=since_ns)
        return tuple(_fill(fill, with_fee=True) for fill in fills if fill.at_ns <= self._horizon_ns())

    def _exercises(self, since_ns: int) -> tuple[VenueExercise, ...]:
        return tuple(
            VenueExercise(
                symbol=exercise.symbol,
                quantity=exercise.quantity * exercise.side.sign,
                settlement_price=exercise.settlement_price,
                settlement_cash_flow_usd=exercise.settlement_cash_flow,
                fee_usd=exercise.fee,
                venue_ns=exercise.at_ns,
            )
            for exercise in self.exchange.exercise_history(self.account_id, start_ns=since_ns)
        )

    def _horizon_ns(self) -> int:
        return self.engine.now_ns - self.faults.query_lag_ms * MS

    def _delay_ns(self) -> int:
        return self.engine.between_ns(MS, self.faults.venue_delay_max_ms * MS)


def _to_venue(order: NewOrder) -> ex.PlaceOrder:
    return ex.PlaceOrder(
        symbol=order.symbol,
        side=ex.Side.BUY if order.side == "buy" else ex.Side.SELL,
        quantity=order.quantity,
        price=order.price,
        order_type=ex.OrderType.POST_ONLY if order.post_only else ex.OrderType.LIMIT,
        time_in_force=order.time_in_force,
        client_order_id=order.client_order_id,
        reduce_only=order.reduce_only,
    )


def _order(order: ex.Order) -> VenueOrder:
    return VenueOrder(
        venue_order_id=order.order_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side="buy" if order.side is ex.Side.BUY else "sell",
        quantity=order.quantity,
        filled_quantity=order.filled,
        price=order.price,
        average_price=order.average_price,
        state=_STATES[order.state],
        reduce_only=order.reduce_only,
        created_ns=order.created_ns,
        updated_ns=order.updated_ns,
    )


def _fill(fill: ex.Fill, *, with_fee: bool) -> VenueFill:
    return VenueFill(
        venue_trade_id=fill.trade_id,
        venue_order_id=fill.order_id,
        client_order_id=fill.client_order_id,
        symbol=fill.symbol,
        side="buy" if fill.side is ex.Side.BUY else "sell",
        quantity=fill.quantity,
        price=fill.price,
        fee_usd=fill.fee if with_fee else None,
        is_taker=fill.is_taker,
        venue_ns=fill.at_ns,
    )


def _blank(column: ex.F8) -> ex.F8:
    """The exchange shows 0 where a side is empty; the desk says NaN."""
    return np.where(column > 0, column, np.nan)
