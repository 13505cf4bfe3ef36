"""A small simulated exchange on hand-moved time, for tests."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from services.exchange.config import AccountConfig, BaseConfig, ExchangeConfig, IndexConfig, ListingConfig, TapeConfig
from services.exchange.core import ExchangeCore
from services.exchange.events import ExchangeEvent
from services.exchange.model import (
    Accepted,
    AmendOrder,
    CancelOrder,
    Chain,
    Fill,
    Instrument,
    Order,
    OrderEvent,
    OrderType,
    PlaceOrder,
    PlaceResult,
    Rejection,
    SelfTradePrevention,
    Side,
)
from services.exchange.rows import ExchangeRow, Outcome

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
# Monday 2026-01-12 10:00:00 UTC; the first daily expires on the 13th, the first weekly on Friday the 16th.
T0 = 1_768_212_000 * SECOND_NS
A, B = "alice", "bob"
D = Decimal


def small_config(seed: int = 7, **changes: Any) -> ExchangeConfig:
    """One base, two expiries, some fourteen strikes, three accounts; a calm index without jumps, no public tape."""
    base = BaseConfig(
        base="BTC",
        index=IndexConfig(initial_price=100_000.0, vol=0.5, jumps_per_day=0.0),
        listing=ListingConfig(
            dailies=1,
            weeklies=1,
            monthlies=0,
            quarterlies=0,
            strike_steps=(D(1_000), D(1_000), D(5_000), D(5_000)),
            strikes_per_side=(5, 5, 5, 5),
            wing_strikes=2,
        ),
        tape=TapeConfig(trades_per_hour=0),
        tick_size=D("0.1"),
        min_quantity=D("0.01"),
        max_order_quantity=D(1_000),
        max_position_quantity=D(1_000),
    )
    accounts = tuple(AccountConfig(account_id=name, initial_balance_usd=D(1_000_000)) for name in (A, B, "carol"))
    config = ExchangeConfig(seed=seed, bases=(base,), accounts=accounts)
    return msgspec.structs.replace(config, **changes)


def with_base(config: ExchangeConfig, **changes: Any) -> ExchangeConfig:
    """The same configuration with fields of its base changed."""
    return msgspec.structs.replace(config, bases=(msgspec.structs.replace(config.bases[0], **changes),))


class Venue:
    """An exchange core, its time and all that it has returned."""

    def __init__(self, config: ExchangeConfig | None = None, started_ns: int = T0) -> None:
        self.config = config or small_config()
        self.started_ns = started_ns
        self.core = ExchangeCore(self.config, started_ns)
        self.now_ns = started_ns
        self.rows: list[ExchangeRow] = []
        self.events: list[ExchangeEvent] = []

    def keep(self, rows: Sequence[ExchangeRow], events: Sequence[ExchangeEvent]) -> None:
        self.rows += rows
        self.events += events

    def send(self, account_id: str, command: PlaceOrder) -> PlaceResult:
        outcome: Outcome[PlaceResult] = self.core.place(account_id, command, self.now_ns)
        self.keep(outcome.rows, outcome.events)
        self.last_events = outcome.events
        return outcome.result

    def order(
        self,
        account_id: str,
        side: Side,
        symbol: str,
        quantity: str | Decimal,
        price: str | Decimal | None,
        **fields: Any,
    ) -> PlaceResult:
        command = PlaceOrder(
            symbol=symbol, side=side, quantity=D(quantity), price=None if price is None else D(price), **fields
        )
        return self.send(account_id, command)

    def accepted(self, *arguments: Any, **fields: Any) -> Order:
        """Place an order that must be accepted; the order as it is after matching."""
        result = self.order(*arguments, **fields)
        assert isinstance(result, Accepted), result
        order = self.core.order(arguments[0], result.order_id)
        assert order is not None
        return order

    def refused(self, *arguments: Any, **fields: Any) -> int:
        """Place an order that must be refused; the code. Nothing may have changed."""
        revision = self.core.state.revision
        result = self.order(*arguments, **fields)
        assert isinstance(result, Rejection), result
        assert self.core.state.revision == revision
        return result.code

    def amend(self, account_id: str, order_id: int, **fields: Any) -> Accepted | Rejection:
        outcome = self.core.amend(account_id, AmendOrder(order_id=order_id, **fields), self.now_ns)
        self.keep(outcome.rows, outcome.events)
        return outcome.result

    def cancel(self, account_id: str, **fields: Any) -> Accepted | Rejection:
        outcome = self.core.cancel(account_id, CancelOrder(**fields), self.now_ns)
        self.keep(outcome.rows, outcome.events)
        return outcome.result

    def wait(self, nanoseconds: int) -> Sequence[ExchangeEvent]:
        self.now_ns += nanoseconds
        advance = self.core.advance(self.now_ns)
        self.keep(advance.rows, advance.events)
        return advance.events

    def jump(self, pct: float) -> Sequence[ExchangeEvent]:
        """Move the index and go to the next step."""
        outcome = self.core.move_index("BTC", pct, self.now_ns)
        self.keep(outcome.rows, outcome.events)
        return self.wait(self.config.step_ms * 1_000_000)

    def chain(self) -> Chain:
        chain = self.core.chain("BTCUSD")
        assert chain is not None
        return chain

    def option(self, strike: int = 100_000, kind: str = "C", expiry: int = 1) -> Instrument:
        """The option of the nth expiry (0 the daily, 1 the weekly)."""
        expiry_ns = sorted({option.expiry_ns for option in self.core.instruments("BTC")})[expiry]
        return next(
            option
            for option in self.core.instruments("BTC")
            if option.expiry_ns == expiry_ns and option.strike == strike and option.option_type == kind
        )

    def best(self, symbol: str) -> tuple[Decimal, Decimal]:
        """Best bid and ask of a two-sided book."""
        book = self.core.order_book(symbol)
        assert book is not None
        assert book.bids
        assert book.asks
        return book.bids[0].price, book.asks[0].price

    def fills(self, account_id: str) -> Sequence[Fill]:
        return self.core.fills(account_id)

    def position(self, account_id: str, symbol: str) -> Decimal:
        return self.core.state.position(account_id, symbol)

    def buy_from_makers(self, account_id: str, symbol: str, quantity: str) -> Order:
        """A market-taking buy that must fill; for setting up positions."""
        return self._take(account_id, Side.BUY, symbol, quantity)

    def sell_to_makers(self, account_id: str, symbol: str, quantity: str) -> Order:
        return self._take(account_id, Side.SELL, symbol, quantity)

    def kinds(self, account_id: str) -> list[str]:
        """What the last command reported about orders of the account, in order."""
        return [
            event.kind
            for event in self.last_events
            if isinstance(event, OrderEvent) and event.order.account_id == account_id
        ]

    def assert_books_balance(self) -> None:
        """Every dollar is on an account, with the makers or paid in fees."""
        state = self.core.state
        given = sum((account.initial_balance_usd for account in self.config.accounts), D(0))
        given += sum((t.amount for account in state.accounts.values() for t in account.transfers), D(0))
        held = sum((account.cash for account in state.accounts.values()), D(0))
        assert held + state.makers_cash + state.fees_collected == given

    def _take(self, account_id: str, side: Side, symbol: str, quantity: str) -> Order:
        book = self.core.order_book(symbol)
        assert book is not None
        levels = book.asks if side is Side.BUY else book.bids
        needed, price = D(quantity), None
        for level in levels:
            price = level.price
            needed -= level.quantity
            if needed <= 0:
                break
        order = self.accepted(account_id, side, symbol, quantity, price)
        assert order.filled == D(quantity), (order, levels)
        return order


POST_ONLY = OrderType.POST_ONLY
STP = SelfTradePrevention
