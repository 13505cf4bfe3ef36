"""What the simulated exchange shows of one account's orders, fills and settlements, and what its lists leave out;
and of its market what is read on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from services.exchange import model as ex
from services.exchange.contracts import next_funding_time
from services.exchange.core import ExchangeCore
from services.exchange.klines import period_of
from services.marketdata.effects import ReadKey, VenueRead, VenueReadFailed
from shared.messages.contracts import FundingRate
from shared.messages.on_demand import PERIOD_NS, GetFundingRate, GetKlines, GetOrderBook, Kline
from shared.messages.venue import (
    FundingPayment,
    OrderQueried,
    OrderQueryFailed,
    OrderRef,
    OrdersListed,
    OrdersListFailed,
    VenueFill,
    VenuePosition,
    VenueSnapshot,
    VenueSnapshotFailed,
)
from shared.options.book import pack_levels
from shared.options.instruments import base_of
from shared.venues.ports import BookPush
from world.products import Products
from world.rfq import Deliver, Network
from world.translation import listed_fill, shown_order


class VenueReads:
    """Answers reads over the network. What is younger than its horizon is not seen.

    positions, coins: as the venue shows them. is_left_out: whether a list lacks this one of its orders.
    """

    def __init__(
        self,
        network: Network,
        exchange: ExchangeCore,
        products: Products,
        account_id: str,
        positions: Callable[[], tuple[VenuePosition, ...]],
        coins: Callable[[], dict[str, Decimal]],
        is_left_out: Callable[[], bool],
    ) -> None:
        self._network = network
        self._exchange = exchange
        self._products = products
        self._account_id = account_id
        self._positions = positions
        self._coins = coins
        self._is_left_out = is_left_out

    def query(self, client_order_id: int, asked_ns: int, deliver: Deliver, *, alone: bool = False) -> None:
        """Look one order up by query, open orders and history, or, `alone`, by query only, which shows as much.

        asked_ns: when it was asked, by the desk's clock.
        """

        def answer() -> OrderQueried:
            order = self._products.order(client_order_id)
            seen = order is not None and order.created_ns <= self._network.horizon_ns()
            return OrderQueried(
                client_order_id=client_order_id,
                asked_ns=asked_ns,
                order=shown_order(order) if seen and order is not None else None,
                fills=_fills_of(order.order_id, self._fills(0)) if seen and order is not None else (),
                alone=alone,
            )

        failed = OrderQueryFailed(client_order_id=client_order_id, reason="down: connection reset")
        self._network.read(answer, failed, deliver)

    def list_orders(self, orders: Sequence[OrderRef], since_ns: int, asked_ns: int, deliver: Deliver) -> None:
        """Look many orders up by open orders and history."""
        numbers = tuple(ref.client_order_id for ref in orders)

        def answer() -> OrdersListed:
            shown = {order.client_order_id: order for order in self._orders(since_ns)}
            fills = self._fills(since_ns)
            missing = tuple(number for number in numbers if number not in shown)
            of_missing = [ref.venue_order_id for ref in orders if ref.client_order_id in missing]
            return OrdersListed(
                asked_ns=asked_ns,
                found=tuple(
                    OrderQueried(
                        client_order_id=number,
                        asked_ns=asked_ns,
                        order=shown_order(shown[number]),
                        fills=_fills_of(shown[number].order_id, fills),
                    )
                    for number in numbers
                    if number in shown
                ),
                missing=missing,
                fills=tuple(fill for order_id in of_missing for fill in _fills_of(order_id, fills)),
            )

        failed = OrdersListFailed(client_order_ids=numbers, reason="down: connection reset")
        self._network.read(answer, failed, deliver)

    def snapshot(
        self,
        trigger: str,
        since_ns: int,
        asked_ns: int,
        deliver: Deliver,
        funding_of: Sequence[str] = (),
        funding_since_ns: int = 0,
        *,
        deliveries: bool = False,
        coins_of: Sequence[str] = (),
    ) -> None:
        """Read orders, fills, positions and exercises one after the other, so that the parts can disagree."""
        engine, parts = self._network.engine, dict[str, Any]()

        def orders() -> None:
            parts["orders"] = tuple(map(shown_order, self._orders(since_ns)))
            engine.after(self._network.delay_ns(), fills)

        def fills() -> None:
            parts["fills"] = self._fills(since_ns)
            self._network.read(rest, VenueSnapshotFailed(trigger=trigger, reason="down: connection reset"), deliver)

        def rest() -> VenueSnapshot:
            return VenueSnapshot(
                trigger=trigger,
                asked_ns=asked_ns,
                since_ns=since_ns,
                orders=parts["orders"],
                fills=parts["fills"],
                positions=self._positions(),
                coins=self._held_of(coins_of),
                exercises=tuple(self._products.settlements(since_ns, deliveries=deliveries)),
                funding=self._funding(funding_of, funding_since_ns),
            )

        engine.after(self._network.delay_ns(), orders)

    def market(self, key: ReadKey, deliver: Deliver) -> None:
        """Read k-lines or the funding rate of a perpetual, or the order book of an option."""

        def answer() -> VenueRead | VenueReadFailed:
            if isinstance(key, GetOrderBook):
                return self._order_book(key)
            now_ns, futures = self._exchange.now_ns, self._exchange.futures
            if futures.find(key.symbol) is None:
                return VenueReadFailed(key=key, kind="rejected", reason=f"{key.symbol} is not listed")
            match key:
                case GetKlines(symbol=symbol, period=period, periods=periods):
                    of_venue = period_of(f"{period[-1]}{period[:-1]}")
                    assert of_venue is not None, period
                    begin_ns = now_ns - periods * PERIOD_NS[period]
                    bars = futures.klines(symbol, of_venue, begin_ns, now_ns, periods)
                    return VenueRead(key=key, value=tuple(map(_kline, bars or ())))
                case GetFundingRate(symbol=symbol):
                    told = FundingRate(
                        symbol=symbol,
                        rate=futures.funding_rate(symbol, now_ns),
                        next_funding_ns=next_funding_time(now_ns),
                        venue_ns=now_ns,
                    )
                    return VenueRead(key=key, value=told)
                case _:
                    return VenueReadFailed(key=key, kind="rejected", reason="nobody asks for it in the world")

        self._network.read(answer, VenueReadFailed(key=key, kind="down", reason="connection reset"), deliver)

    def _order_book(self, key: GetOrderBook) -> VenueRead | VenueReadFailed:
        book = self._exchange.order_book(key.symbol)
        if book is None:
            return VenueReadFailed(key=key, kind="rejected", reason=f"{key.symbol} is not listed")
        push = BookPush(symbol=key.symbol, venue_ns=0, bids=_packed(book.bids), asks=_packed(book.asks))
        return VenueRead(key=key, value=push)

    def _orders(self, since_ns: int) -> list[ex.Order]:
        """Open orders and history since then."""
        orders = (
            *self._products.open_orders(),
            *self._products.order_history(since_ns),
        )
        horizon_ns = self._network.horizon_ns()
        return [order for order in orders if order.created_ns <= horizon_ns and not self._is_left_out()]

    def _fills(self, since_ns: int) -> tuple[VenueFill, ...]:
        fills = self._products.fills(since_ns)
        return tuple(listed_fill(fill) for fill in fills if fill.at_ns <= self._network.horizon_ns())

    def _held_of(self, pairs: Sequence[str]) -> dict[str, Decimal]:
        coins = self._coins() if pairs else {}
        return {pair: coins.get(base_of(pair), Decimal(0)) for pair in pairs}

    def _funding(self, symbols: Sequence[str], since_ns: int) -> tuple[FundingPayment, ...]:
        return tuple(
            FundingPayment(
                payment_id=payment.payment_id,
                symbol=payment.symbol,
                quantity=payment.quantity * payment.side.sign,
                rate=payment.rate,
                amount_usd=payment.amount,
                venue_ns=payment.at_ns,
            )
            for payment in (self._products.funding(since_ns) if symbols else ())
            if payment.symbol in symbols
        )


def _packed(levels: Sequence[ex.Level]) -> bytes:
    return pack_levels([(float(level.price), float(level.quantity)) for level in levels])


def _kline(bar: ex.KLine) -> Kline:
    return Kline(
        start_ns=bar.start_ns,
        open=float(bar.open),
        high=float(bar.high),
        low=float(bar.low),
        close=float(bar.close),
        volume=float(bar.volume),
    )


def _fills_of(venue_order_id: int | None, fills: Sequence[VenueFill]) -> tuple[VenueFill, ...]:
    return tuple(fill for fill in fills if venue_order_id is not None and fill.venue_order_id == venue_order_id)
