"""The simulated exchange's core behind a network that loses, delays and doubles, in the words of the desk's ports."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from services.exchange import model as ex
from services.exchange.config import ExchangeConfig
from services.exchange.core import ExchangeCore
from services.exchange.rows import Outcome
from services.exchange.server.ratelimits import Group
from services.execution.book import Book
from shared.messages.contracts import ContractOrder
from shared.messages.venue import (
    AmendAcked,
    Amendment,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    CountdownRefused,
    CountdownSet,
    CountdownUnknown,
    NewOrder,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    VenueAccount,
    VenuePosition,
)
from world.cash import VenueCash, is_spot
from world.engine import Engine
from world.faults import MS, SECOND, Faults
from world.leverage import VenueLeverage
from world.market_feed import MarketFeed
from world.private_stream import PrivateStream
from world.products import Products
from world.rates import OrderRates
from world.reads import VenueReads
from world.rfq import Network, VenueRfqs
from world.translation import placed, pushed_fill, shown_order

REFUSALS = (10531, 10532, 10536, 10540)
"""Price outside its band, nothing to reduce, and a code that means nothing to the desk."""
_TOO_MANY = 429
ORDER_TIMEOUT_NS = 3 * SECOND
REQUEST_VALIDITY_NS = 5 * SECOND
Deliver = Callable[[Any], None]


class _Shown(msgspec.Struct, frozen=True):
    """What the account had at an instant."""

    at_ns: int
    positions: tuple[VenuePosition, ...]
    coins: dict[str, Decimal]


class Venue:
    """One account at the exchange, as execution, risk and marketdata reach it over the network of `faults`."""

    def __init__(
        self,
        engine: Engine,
        faults: Faults,
        exchange: ExchangeCore,
        config: ExchangeConfig,
        account_id: str,
        *,
        futures: bool = False,
        spot: bool = False,
    ) -> None:
        self.engine = engine
        self.config = config
        self.faults = faults
        self.exchange = exchange
        self.market = MarketFeed(exchange, config)
        self.account_id = account_id
        self.products = Products(exchange, account_id, futures=futures, spot=spot)
        self.sent: Counter[int] = Counter()
        self.expired: set[int] = set()
        self.opening_orders: list[NewOrder] = []
        self.by_hand: set[int] = set()
        self.countdown_asks: list[int] = []
        self.fired_ns: dict[str, int] = {}
        self._foreign_orders: set[int] = set()
        self._away_until_ns = 0
        self._throttled_until_ns = 0
        self.stream = PrivateStream(
            engine, faults=lambda: self.faults, is_away=lambda: self.is_away, delay_ns=self._delay_ns
        )
        self._rates = OrderRates(config.rate_limits)
        network = Network(
            engine=engine,
            call=self._call,
            read=self._read,
            run=self._run,
            refusal=self._refusal,
            horizon_ns=self._horizon_ns,
            delay_ns=self._delay_ns,
        )
        self.rfqs = VenueRfqs(network, exchange, account_id)
        self.leverage = VenueLeverage(network, exchange, account_id)
        self.tell_sale: Callable[[ContractOrder], None] = lambda order: None
        self.cash = VenueCash(
            network,
            exchange,
            account_id,
            is_left_out=lambda: self._happens(self.faults.list_gaps),
            tell_sent=self._sale_sent,
        )
        self.reads = VenueReads(
            network,
            exchange,
            self.products,
            account_id,
            positions=self._shown_positions,
            coins=self._shown_coins,
            is_left_out=lambda: self._happens(self.faults.list_gaps),
        )
        self._past: deque[_Shown] = deque()
        engine.every(config.step_ms * MS, self._advance)

    @property
    def is_away(self) -> bool:
        """Nothing reaches it and nothing comes from it. Its market and its orders go on."""
        return self.engine.now_ns < self._away_until_ns

    def go_away(self, duration_ns: int) -> None:
        """Be unreachable for so long: streams break, calls and reads fail."""
        self._away_until_ns = self.engine.now_ns + duration_ns
        self.stream.drop()

    def throttle(self, duration_ns: int) -> None:
        """Refuse every request for so long because there are too many."""
        self._throttled_until_ns = self.engine.now_ns + duration_ns

    def recover(self) -> None:
        """Be reachable, willing and talkative again."""
        self._away_until_ns = self._throttled_until_ns = 0
        self.stream.talk()

    def place(self, order: NewOrder, deliver: Deliver) -> None:
        """Send one order. The answer, or `OutcomeUnknown` after 3 s, goes to `deliver`. One that arrives after its
        validity is among `expired`."""
        self.sent[order.client_order_id] += 1
        if is_spot(order.symbol):
            self.cash.of_trades.add(order.client_order_id)
        if not order.reduce_only:
            self.opening_orders.append(order)
        unknown = OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out")

        def execute() -> OrderAcked | OrderRefused:
            if self._refuses("place_order"):
                return OrderRefused(
                    client_order_id=order.client_order_id, kind="throttled", code=_TOO_MANY, text="too many requests"
                )
            if self.engine.chance(self.faults.refused):
                code = self.engine.random.choice(REFUSALS)
                return OrderRefused(
                    client_order_id=order.client_order_id, kind="rejected", code=code, text="refused at random"
                )
            result = self._run(self.products.place(placed(order), self.engine.now_ns))
            if isinstance(result, ex.Accepted):
                return OrderAcked(client_order_id=order.client_order_id, venue_order_id=result.order_id)
            return OrderRefused(
                client_order_id=order.client_order_id, kind="rejected", code=result.code, text=result.message
            )

        if not order.reduce_only and self._happens(self.faults.request_expired):
            self.expired.add(order.client_order_id)
            self.engine.after(self.engine.between_ns(13 * SECOND, 25 * SECOND), lambda: _unheard(execute()))
            self.engine.after(ORDER_TIMEOUT_NS, lambda: deliver(unknown))
            return
        self._call(execute, unknown, deliver)

    def cancel(self, order: OrderRef, deliver: Deliver) -> None:
        unknown = OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out")

        def execute() -> CancelAcked | CancelRefused:
            if self._refuses("cancel_order"):
                return CancelRefused(client_order_id=order.client_order_id, code=_TOO_MANY, text="too many requests")
            command = ex.CancelOrder(order_id=order.venue_order_id, client_order_id=order.client_order_id)

            def carry_out() -> Any:
                return self._run(self.products.cancel(command, order.symbol, self.engine.now_ns))

            resting = self.products.order(order.client_order_id)
            if resting is not None and resting.state.is_open and self._happens(self.faults.cancel_late):
                self.engine.after(self.engine.between_ns(MS, 4 * SECOND), carry_out)
                return CancelAcked(client_order_id=order.client_order_id)
            result = carry_out()
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
            if self._refuses("amend_order"):
                return AmendRefused(
                    client_order_id=number, kind="throttled", code=_TOO_MANY, text="too many requests"
                )
            if self.engine.chance(self.faults.refused):
                return refused(self.engine.random.choice(REFUSALS), "refused at random")
            command = ex.AmendOrder(
                symbol=change.order.symbol,
                order_id=change.order.venue_order_id,
                client_order_id=number,
                quantity=change.quantity,
                price=change.price,
            )
            result = self._run(self.products.amend(command, self.engine.now_ns))
            if isinstance(result, ex.Accepted):
                self._amended(change)
                return AmendAcked(client_order_id=number, venue_order_id=result.order_id)
            return refused(result.code, result.message)

        self._call(execute, AmendUnknown(client_order_id=number, reason="time-out"), deliver)

    def set_countdown(self, underlying: str, countdown_ms: int, deliver: Deliver) -> None:
        """Arm a countdown anew, or disarm it. The answer, or `CountdownUnknown` after 3 s, goes to `deliver`."""

        self.countdown_asks.append(self.engine.now_ns)

        def execute() -> CountdownSet | CountdownRefused:
            if self._is_throttled:
                return CountdownRefused(underlying=underlying, lacks_right=False, text="too many requests")
            command = ex.SetCountdown(underlying, countdown_ms)
            result = self._run(self.exchange.set_countdown(self.account_id, command, self.engine.now_ns))
            if isinstance(result, ex.CountdownsChanged):
                return CountdownSet(underlying=underlying, countdown_ms=countdown_ms)
            return CountdownRefused(underlying=underlying, lacks_right=False, text=result.message)

        self._call(execute, CountdownUnknown(underlying=underlying, reason="time-out"), deliver)

    def by_somebody(self, command: ex.PlaceOrder | ex.CancelOrder) -> None:
        """Somebody else on the account acts; what he places is `by_hand`, and `foreign` unless it reduces."""
        if isinstance(command, ex.CancelOrder):
            self._run(self.exchange.cancel(self.account_id, command, self.engine.now_ns))
            return
        outcome = self.exchange.place(self.account_id, command, self.engine.now_ns)
        if isinstance(outcome.result, ex.Accepted):
            self.by_hand.add(outcome.result.order_id)
            if not command.reduce_only:
                self._foreign_orders.add(outcome.result.order_id)
        self._push(outcome.events)

    def _sale_sent(self, order: ContractOrder) -> None:
        self.tell_sale(order)
        self.sent[order.client_order_id] += 1

    def _amended(self, change: Amendment) -> None:
        """An opening order is as much bound to its grant by its new price as by its first."""
        number = change.order.client_order_id
        sent = next((order for order in self.opening_orders if order.client_order_id == number), None)
        if sent is not None:
            price = sent.price if change.price is None else change.price
            self.opening_orders.append(msgspec.structs.replace(sent, price=price))

    def account(self) -> VenueAccount:
        summary = self.exchange.account_summary(self.account_id)
        return VenueAccount(
            equity_usd=summary.equity,
            available_margin_usd=summary.available,
            initial_margin_usd=summary.initial_margin,
            maintenance_margin_usd=summary.maintenance_margin,
            unrealized_pnl_usd=summary.unrealised_pnl,
            balances={"USDT": summary.cash} if summary.cash else {},
        )

    def positions(self) -> tuple[VenuePosition, ...]:
        return tuple(
            VenuePosition(
                symbol=position.symbol,
                quantity=position.quantity * position.side.sign,
                average_price=position.average_price,
                mark=float(position.mark_price),
                unrealized_pnl_usd=float(position.unrealised_pnl_mark),
            )
            for position in self.products.positions()
        )

    @property
    def foreign(self) -> dict[str, Decimal]:
        """What others opened, by symbol, whatever has become of it. For the checks."""
        held: dict[str, Decimal] = {}
        for fill in self.products.fills() if self._foreign_orders else ():
            if fill.order_id in self._foreign_orders:
                held[fill.symbol] = held.get(fill.symbol, Decimal(0)) + fill.side.sign * fill.quantity
        return held

    def own_positions(self) -> dict[str, Decimal]:
        """What the account holds without what others opened, by symbol. For the checks."""
        held = {position.symbol: position.quantity for position in self.positions()}
        foreign = self.foreign
        rest = {symbol: quantity - foreign.get(symbol, Decimal(0)) for symbol, quantity in held.items()}
        return {symbol: quantity for symbol, quantity in rest.items() if quantity}

    def fills_of_trades(self) -> list[ex.Fill]:
        """All executions but those of coins that no trade bought or sold. For the checks."""
        others = {fill.fill_id for fill in self.cash.fills()} if self.products.spot else ()
        return [fill for fill in self.products.fills() if fill.fill_id not in others]

    def fills_by_client_order(self, book: Book) -> dict[int, Decimal]:
        """What the venue says was filled, by client order id. For the checks."""
        filled: dict[int, Decimal] = {}
        for fill in self.rfqs.named(self.fills_of_trades(), book):
            if fill.client_order_id is not None and fill.order_id not in self.by_hand:
                filled[fill.client_order_id] = filled.get(fill.client_order_id, Decimal(0)) + fill.quantity
        return filled

    def _advance(self) -> None:
        self._push(self.exchange.advance(self.engine.now_ns).events)
        for (_, index), countdown in self.exchange.state.countdowns.items():
            if countdown.fired:
                self.fired_ns[index] = max(countdown.deadline_ns, self.fired_ns.get(index, 0))
        if self.faults.position_lag_ms:
            # Positions cost most of a step: those of every other one are enough as long as nothing is traded.
            traded = self.exchange.state.accounts[self.account_id].fills
            newest_ns = self._past[-1].at_ns if self._past else 0
            recent = bool(traded) and traded[-1].at_ns > newest_ns
            if recent or self.engine.now_ns >= newest_ns + 2 * SECOND:
                self._past.append(_Shown(self.engine.now_ns, self.positions(), self.products.coins()))
            self._then()

    def _shown_positions(self) -> tuple[VenuePosition, ...]:
        """The positions as the venue shows them: those of `position_lag_ms` ago, without one in a gap."""
        if self.faults.position_gap_ms and self.engine.now_ns % (60 * SECOND) < self.faults.position_gap_ms * MS:
            return tuple(sorted(self.positions(), key=lambda position: position.symbol))[1:]
        if not self.faults.position_lag_ms:
            return self.positions()
        then = self._then()
        return () if then is None else then.positions

    def _shown_coins(self) -> dict[str, Decimal]:
        """The coins as the venue shows them, as late as positions."""
        then = self._then() if self.faults.position_lag_ms else None
        return self.products.coins() if then is None else then.coins

    def _then(self) -> _Shown | None:
        """What there was `position_lag_ms` ago."""
        past = self._past
        shown_ns = self.engine.now_ns - self.faults.position_lag_ms * MS
        while len(past) > 1 and past[1].at_ns <= shown_ns:
            past.popleft()
        return past[0] if past else None

    def _run(self, outcome: Outcome[Any]) -> Any:
        self._push(outcome.events)
        return outcome.result

    def _call(self, execute: Callable[[], Any], unknown: Any, deliver: Deliver) -> None:
        """One order call: lost on the way, late, its answer lost, answered with a 5xx or a code nobody listed."""
        if self.is_away or self.engine.chance(self.faults.request_lost):
            self.engine.after(ORDER_TIMEOUT_NS, lambda: deliver(unknown))
            return
        there_ns = self._delay_ns()
        if self.engine.chance(self.faults.request_late):
            there_ns = self.engine.between_ns(SECOND, REQUEST_VALIDITY_NS)
        back_ns = there_ns + self._delay_ns()
        no_answer = self.engine.chance(self.faults.answer_lost) or back_ns > ORDER_TIMEOUT_NS
        odd_code = self.engine.chance(self.faults.unknown_code)
        server_error = self.engine.chance(self.faults.server_error)

        def arrive() -> None:
            if self.is_away:
                if not no_answer:
                    self.engine.after(ORDER_TIMEOUT_NS, lambda: deliver(unknown))
                return
            answer = unknown if server_error and self.engine.chance(0.5) else execute()
            if no_answer:
                return
            told = unknown if odd_code or server_error else answer
            self.engine.after(back_ns - there_ns, lambda: deliver(told))

        self.engine.after(there_ns, arrive)
        if no_answer:
            self.engine.after(ORDER_TIMEOUT_NS, lambda: deliver(unknown))

    def _push(self, events: Any) -> None:
        for event in events:
            match event:
                case ex.OrderEvent(order=order) if order.account_id == self.account_id:
                    if self.products.spot or not is_spot(order.symbol):
                        self.stream.push(shown_order(order))
                case ex.TradeEvent(fill=fill) if fill.account_id == self.account_id:
                    # Of spot it is not pushed what the fee took of the coins: the gateway drops these, see there.
                    if not is_spot(fill.symbol):
                        self.stream.push(pushed_fill(fill))
                case _:
                    push = self.rfqs.pushed(event)
                    if push is not None:
                        self.stream.push(push)

    def _happens(self, chance: float) -> bool:
        """Draws nothing where the fault is off."""
        return chance > 0 and self.engine.chance(chance)

    @property
    def _is_throttled(self) -> bool:
        return self.engine.now_ns < self._throttled_until_ns

    def _refuses(self, group: Group) -> bool:
        """There are too many calls: for a while, or of this kind in the last second."""
        return self._is_throttled or self._rates.refuses(group, self.faults, self.engine.now_ns)

    def _read_fails(self) -> bool:
        return self.is_away or self._is_throttled or self.engine.chance(self.faults.read_fails)

    def _read(self, answer: Callable[[], Any], failed: Any, deliver: Deliver) -> None:
        """One read, of what the venue shows when it arrives."""

        def arrive() -> None:
            if self._read_fails():
                deliver(failed)
            else:
                self._hand_over(answer(), deliver)

        self.engine.after(self._delay_ns(), arrive)

    def _refusal(self) -> tuple[int, str] | None:
        """Why a call about requests for quote is not taken."""
        if self._is_throttled:
            return _TOO_MANY, "too many requests"
        return (10552, "refused at random") if self.engine.chance(self.faults.refused) else None

    def _hand_over(self, answer: Any, deliver: Deliver) -> None:
        """An answer that was read now; at times it arrives when it is no longer true."""
        late_ns = 0
        if self.engine.chance(self.faults.read_late):
            late_ns = self.engine.between_ns(SECOND // 2, 6 * SECOND)
        self.engine.after(late_ns, lambda: deliver(answer))

    def _horizon_ns(self) -> int:
        return self.engine.now_ns - self.faults.query_lag_ms * MS

    def _delay_ns(self) -> int:
        return self.engine.between_ns(MS, self.faults.venue_delay_max_ms * MS)


def _unheard(answer: Any) -> None:
    """An answer that nobody waits for any more."""
