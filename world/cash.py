"""Spot at the simulated exchange, behind the same network as its orders, in the words of the cash rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal

from services.exchange import model as ex
from services.exchange.core import ExchangeCore
from services.execution.cash_effects import (
    CashEffect,
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
from shared.messages.contracts import ContractOrder, SpotSpec
from shared.messages.venue import (
    OPEN_VENUE_STATES,
    CancelAcked,
    CancelRefused,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    VenueFill,
    VenueOrder,
)
from world.rfq import Deliver, Network
from world.translation import listed_fill, shown_order

ZERO = Decimal(0)
_EVER_NS = 1 << 62
_DEPTH = 50
_DOWN = "down: connection reset"


def is_spot(symbol: str) -> bool:
    """Whether this is a pair of spot."""
    return symbol.endswith("USDT")


class VenueCash:
    """The coins and USDT of one account, and its orders of spot.

    is_left_out: whether a list lacks this one of its orders. tell_sent: told of each sale before anything becomes of
    it. `foreign`: the orders that somebody else placed. `of_trades`: client order ids of orders that are legs of
    trades, and not the rule's.
    """

    def __init__(
        self,
        network: Network,
        exchange: ExchangeCore,
        account_id: str,
        is_left_out: Callable[[], bool],
        tell_sent: Callable[[ContractOrder], None],
    ) -> None:
        self._network = network
        self._exchange = exchange
        self._account_id = account_id
        self._is_left_out = is_left_out
        self._tell_sent = tell_sent
        self.foreign: set[int] = set()
        self.of_trades: set[int] = set()

    def perform(self, effect: CashEffect, asked_ns: int, deliver: Deliver) -> None:
        """Carry out one effect; `asked_ns` is the time of the machine that asks."""
        match effect:
            case SellSpot(order=order):
                self._tell_sent(order)
                self._sell(order, deliver)
            case WithdrawSale(order=ref):
                self._withdraw(ref, deliver)
            case ReadCash():
                self._network.read(lambda: self._seen(effect, asked_ns), CashReadFailed(_DOWN), deliver)
            case FindSale(client_order_id=number):
                failed = SaleNotAnswered(number, _DOWN)
                self._network.read(lambda: self._found(effect, asked_ns), failed, deliver)
            case FindStrays():
                self._network.read(lambda: self._strays(effect, asked_ns), StraysNotFound(_DOWN), deliver)

    def fills(self) -> list[ex.Fill]:
        """All of spot but those of trades. For the checks."""
        return [fill for fill in self._all_fills() if fill.client_order_id not in self.of_trades]

    def fills_of_trades(self) -> list[ex.Fill]:
        """Those of spot that are of trades. For the checks."""
        return [fill for fill in self._all_fills() if fill.client_order_id in self.of_trades]

    def _all_fills(self) -> Sequence[ex.Fill]:
        return self._exchange.spot.fills(self._account_id, 0, _EVER_NS)

    def order(self, client_order_id: int) -> ex.Order | None:
        """One order of spot, whatever the venue shows of it. For the checks."""
        return self._exchange.spot.order(self._account_id, client_order_id=client_order_id)

    def coins(self, coin: str) -> Decimal:
        """What there is of a coin. For the checks."""
        return self._asset(coin).cash

    def rest_foreign(self, symbol: str, share: Decimal) -> None:
        """Somebody else offers a share of the coins that are free, a little above the book."""
        book = self._book(symbol)
        if book.asks:
            self._offer_foreign(symbol, share, book.asks[0].price, "GTC")

    def sell_foreign(self, symbol: str, share: Decimal) -> None:
        """Somebody else sells a share of the coins that are free, as far as the best bid takes them."""
        book = self._book(symbol)
        if book.bids:
            self._offer_foreign(symbol, share, book.bids[0].price, "IOC")

    def sold_foreign(self, symbol: str) -> Decimal:
        """What somebody else sold of a pair. For the checks."""
        fills = (fill for fill in self._all_fills() if fill.order_id in self.foreign and fill.symbol == symbol)
        return sum((fill.quantity for fill in fills), ZERO)

    def withdraw_foreign(self) -> None:
        """Somebody else takes back what he offers."""
        for order in self._exchange.spot.open_orders(self._account_id):
            if order.order_id in self.foreign:
                command = ex.CancelOrder(order_id=order.order_id, client_order_id=None)
                now_ns = self._network.engine.now_ns
                self._network.run(self._exchange.spot.cancel(self._account_id, command, now_ns))

    def _book(self, symbol: str) -> ex.OrderBook:
        book = self._exchange.spot.order_book(symbol, 1)
        assert book is not None, symbol
        return book

    def _offer_foreign(
        self, symbol: str, share: Decimal, price: Decimal, time_in_force: Literal["GTC", "IOC"]
    ) -> None:
        found = self._exchange.spot.find(symbol)
        assert found is not None, symbol
        lot = found[1].min_quantity
        quantity = self._asset(symbol.removesuffix("USDT")).free * share // lot * lot
        if quantity <= 0:
            return
        command = ex.PlaceOrder(
            symbol=symbol,
            side=ex.Side.SELL,
            quantity=quantity,
            price=price,
            order_type=ex.OrderType.LIMIT,
            time_in_force=time_in_force,
            client_order_id=None,
            reduce_only=False,
        )
        result = self._network.run(self._exchange.spot.place(self._account_id, command, self._network.engine.now_ns))
        if isinstance(result, ex.Accepted):
            self.foreign.add(result.order_id)

    def _sell(self, order: ContractOrder, deliver: Deliver) -> None:
        number = order.client_order_id

        def execute() -> OrderAcked | OrderRefused:
            refusal = self._network.refusal()
            if refusal is not None:
                kind = "throttled" if refusal[0] == 429 else "rejected"
                return OrderRefused(client_order_id=number, kind=kind, code=refusal[0], text=refusal[1])  # type: ignore[arg-type]
            command = ex.PlaceOrder(
                symbol=order.symbol,
                side=ex.Side.SELL if order.side == "sell" else ex.Side.BUY,
                quantity=order.quantity,
                price=order.price,
                order_type=ex.OrderType.LIMIT,
                time_in_force="GTC",
                client_order_id=number,
                reduce_only=False,
            )
            result = self._network.run(
                self._exchange.spot.place(self._account_id, command, self._network.engine.now_ns)
            )
            if isinstance(result, ex.Accepted):
                return OrderAcked(client_order_id=number, venue_order_id=result.order_id)
            return OrderRefused(client_order_id=number, kind="rejected", code=result.code, text=result.message)

        self._network.call(execute, OutcomeUnknown(client_order_id=number, reason="time-out"), deliver)

    def _withdraw(self, ref: OrderRef, deliver: Deliver) -> None:
        number = ref.client_order_id

        def execute() -> CancelAcked | CancelRefused:
            refusal = self._network.refusal()
            if refusal is not None:
                return CancelRefused(client_order_id=number, code=refusal[0], text=refusal[1])
            command = ex.CancelOrder(order_id=ref.venue_order_id, client_order_id=number)
            result = self._network.run(
                self._exchange.spot.cancel(self._account_id, command, self._network.engine.now_ns)
            )
            if isinstance(result, ex.Accepted):
                return CancelAcked(client_order_id=number)
            return CancelRefused(client_order_id=number, code=result.code, text=result.message)

        self._network.call(execute, OutcomeUnknown(client_order_id=number, reason="time-out"), deliver)

    def _seen(self, read: ReadCash, asked_ns: int) -> CashRead:
        spot, coin = self._exchange.spot, self._asset(read.asset)
        usdt = self._exchange.account_summary(self._account_id).cash
        resting = tuple(shown_order(order) for order in spot.open_orders(self._account_id) if self._is_seen(order))
        sales = tuple(order for order in resting if order.symbol == read.symbol and order.side == "sell")
        found = spot.find(read.symbol) if usdt < read.below_usdt else None
        book = None if found is None else spot.order_book(read.symbol, _DEPTH)
        seen = CashSeen(
            usdt=usdt,
            asset=coin,
            claimed=sum((order.quantity - order.filled_quantity for order in sales), ZERO),
            spec=None
            if found is None
            else SpotSpec(
                symbol=read.symbol,
                coin=read.asset,
                tick_size=found[1].tick_size,
                lot_size=found[1].min_quantity,
                min_quantity=found[1].min_quantity,
                max_quantity=found[1].config.max_order_quantity,
            ),
            index=None if found is None else found[0].index_price,
            bids=() if book is None else tuple((level.price, level.quantity) for level in book.bids),
            asks=() if book is None else tuple((level.price, level.quantity) for level in book.asks),
        )
        return CashRead(asked_ns, seen, sales)

    def _found(self, query: FindSale, asked_ns: int) -> SaleFound:
        order = self.order(query.client_order_id)
        shown = None if order is None or not self._is_seen(order) else shown_order(order)
        told = shown is None or shown.filled_quantity or shown.state not in OPEN_VENUE_STATES
        return SaleFound(
            client_order_id=query.client_order_id,
            asked_ns=asked_ns,
            order=shown,
            fills=tuple(
                fill
                for fill in (self._shown_fills(query.symbol, query.since_ns) if told else ())
                if fill.client_order_id == query.client_order_id
            ),
        )

    def _strays(self, query: FindStrays, asked_ns: int) -> StraysFound:
        orders: tuple[VenueOrder, ...] = tuple(
            shown_order(order)
            for order in self._exchange.spot.open_orders(self._account_id)
            if self._is_seen(order) and not self._is_left_out()
        )
        return StraysFound(
            asked_ns=asked_ns, orders=orders, fills=tuple(self._shown_fills(query.symbol, query.since_ns))
        )

    def _shown_fills(self, symbol: str, since_ns: int) -> list[VenueFill]:
        horizon_ns = self._network.horizon_ns()
        return [
            listed_fill(fill)
            for fill in self._exchange.spot.fills(self._account_id, since_ns, _EVER_NS)
            if fill.symbol == symbol and fill.at_ns <= horizon_ns
        ]

    def _is_seen(self, order: ex.Order) -> bool:
        return order.created_ns <= self._network.horizon_ns()

    def _asset(self, coin: str) -> Holding:
        assets = self._exchange.account_summary(self._account_id).assets
        found = next((asset for asset in assets if asset.coin == coin), None)
        return Holding(ZERO, ZERO) if found is None else Holding(found.quantity, found.free)
