"""Somebody else on the account: closes our positions by hand, cancels our orders, and trades for himself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from services.exchange import model as ex
from world.desk import Desk
from world.faults import SECOND

_LOTS = Decimal("0.1")


class Intruder:
    """Acts at moments of a Poisson process.

    What he opens for himself is in the deepest options of the chain, which no strategy chooses: so it stays known
    what is whose. His orders are in `venue.by_hand`, what he holds in `venue.foreign`.
    """

    def __init__(self, desk: Desk, pause_s: float, until_ns: int) -> None:
        self._desk = desk
        self._venue = desk.venue
        when_ns = desk.engine.now_ns
        while pause_s:
            when_ns += int(desk.engine.random.expovariate(1 / pause_s) * SECOND)
            if when_ns >= until_ns:
                break
            desk.engine.at(when_ns, self._act)

    def _act(self) -> None:
        self._desk.engine.random.choice((self._cancel, self._close, self._close, self._open, self._rest))()

    def _cancel(self) -> None:
        """Cancel one of the open orders."""
        venue = self._venue
        open_orders = venue.exchange.open_orders(venue.account_id)
        if open_orders:
            chosen = self._desk.engine.random.choice(open_orders)
            venue.by_somebody(ex.CancelOrder(order_id=chosen.order_id, client_order_id=None))

    def _close(self) -> None:
        """Close a half or all of a position of the desk at the price of the book."""
        held = self._venue.own_positions()
        if not held:
            return
        symbol = self._desk.engine.random.choice(sorted(held))
        if self._is_closed_by_block(symbol):
            return
        quantity = held[symbol]
        price = self._price(symbol, buying=quantity < 0)
        if price > 0:
            part = abs(quantity) / self._desk.engine.random.choice((1, 2))
            self._place(symbol, ex.Side.SELL if quantity > 0 else ex.Side.BUY, part, price, reduce_only=True)

    def _is_closed_by_block(self, symbol: str) -> bool:
        """Whether the desk asks makers to close it just now. A block trade cannot be reduce only: who closes the same
        by hand in the second in which a quote is taken turns the position over, which no desk could know of."""
        return any(
            rfq.purpose == "close" and any(leg.symbol == symbol for leg in rfq.legs)
            for rfq in self._desk.book.rfqs.live_rfqs()
        )

    def _open(self) -> None:
        """Buy something for himself."""
        symbol = self._deep_symbol()
        price = self._price(symbol, buying=True)
        if price > 0:
            self._place(symbol, ex.Side.BUY, _LOTS, price)

    def _rest(self) -> None:
        """Leave an order in the book, at the price of the best bid."""
        symbol = self._deep_symbol()
        price = self._price(symbol, buying=False)
        if price > 0:
            self._place(symbol, ex.Side.BUY, _LOTS, price, time_in_force="GTC")

    def _deep_symbol(self) -> str:
        """A call with the lowest or a put with the highest strike."""
        chain = self._desk.engine.random.choice(self._chains())
        calls = [symbol for symbol in chain.symbols if symbol.endswith("-C")]
        puts = [symbol for symbol in chain.symbols if symbol.endswith("-P")]

        def strike(symbol: str) -> float:
            return float(symbol.split("-")[2])

        deepest: str = min(calls, key=strike) if self._desk.engine.chance(0.5) else max(puts, key=strike)
        return deepest

    def _price(self, symbol: str, *, buying: bool) -> float:
        chain = next((one for one in self._chains() if symbol in one.symbols), None)
        if chain is None:
            return 0.0
        row = chain.symbols.index(symbol)
        return float(chain.ask[row] if buying else chain.bid[row])

    def _chains(self) -> list[Any]:
        exchange = self._venue.exchange
        return [
            exchange.chain(f"{base.base}USD", expiry_ns)
            for base in self._venue.config.bases
            for expiry_ns in dict.fromkeys(listed.expiry_ns for listed in exchange.instruments(base.base))
        ]

    def _place(
        self,
        symbol: str,
        side: ex.Side,
        quantity: Decimal,
        price: float,
        *,
        time_in_force: str = "IOC",
        reduce_only: bool = False,
    ) -> None:
        self._venue.by_somebody(
            ex.PlaceOrder(
                symbol=symbol,
                side=side,
                quantity=quantity,
                price=Decimal(repr(price)),
                order_type=ex.OrderType.LIMIT,
                time_in_force=time_in_force,  # type: ignore[arg-type]
                client_order_id=None,
                reduce_only=reduce_only,
            )
        )
