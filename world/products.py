"""What one account has and does at the simulated exchange, options and futures alike."""

from __future__ import annotations

from collections.abc import Sequence

from services.exchange import model as ex
from services.exchange.core import ExchangeCore
from services.exchange.rows import Outcome
from shared.messages.venue import VenueExercise
from shared.options.instruments import instrument_kind

_EVER_NS = 1 << 62


class Products:
    """The exchange's calls about one account; those of futures are asked only where `futures` are traded."""

    def __init__(self, exchange: ExchangeCore, account_id: str, *, futures: bool) -> None:
        self._exchange = exchange
        self._account_id = account_id
        self.futures = futures

    def place(self, command: ex.PlaceOrder, now_ns: int) -> Outcome[ex.PlaceResult]:
        if _is_option(command.symbol):
            return self._exchange.place(self._account_id, command, now_ns)
        return self._exchange.futures.place(self._account_id, command, now_ns)

    def amend(self, command: ex.AmendOrder, now_ns: int) -> Outcome[ex.AmendResult]:
        if not self.futures or command.symbol is None or _is_option(command.symbol):
            return self._exchange.amend(self._account_id, command, now_ns)
        return self._exchange.futures.amend(self._account_id, command, now_ns)

    def cancel(self, command: ex.CancelOrder, symbol: str, now_ns: int) -> Outcome[ex.CancelResult]:
        if _is_option(symbol):
            return self._exchange.cancel(self._account_id, command, now_ns)
        return self._exchange.futures.cancel(self._account_id, command, now_ns)

    def order(self, client_order_id: int) -> ex.Order | None:
        found = self._exchange.order(self._account_id, client_order_id=client_order_id)
        if found is None and self.futures:
            return self._exchange.futures.order(self._account_id, client_order_id=client_order_id)
        return found

    def open_orders(self) -> Sequence[ex.Order]:
        options = self._exchange.open_orders(self._account_id)
        return [*options, *self._exchange.futures.open_orders(self._account_id)] if self.futures else options

    def order_history(self, start_ns: int | None = None) -> Sequence[ex.Order]:
        options = self._exchange.order_history(self._account_id, start_ns=start_ns)
        if not self.futures:
            return options
        return [*options, *self._exchange.futures.orders(self._account_id, start_ns or 0, _EVER_NS)]

    def fills(self, start_ns: int | None = None) -> Sequence[ex.Fill]:
        """By trade id."""
        options = self._exchange.fills(self._account_id, start_ns=start_ns)
        if not self.futures:
            return options
        futures = self._exchange.futures.fills(self._account_id, start_ns or 0, _EVER_NS)
        return sorted([*options, *futures], key=lambda fill: fill.trade_id)

    def positions(self) -> Sequence[ex.Position | ex.FuturesPosition]:
        options = self._exchange.positions(self._account_id)
        return [*options, *self._exchange.futures.positions(self._account_id)] if self.futures else options

    def funding(self, start_ns: int = 0) -> Sequence[ex.FundingPayment]:
        return self._exchange.futures.funding(self._account_id, start_ns, _EVER_NS) if self.futures else ()

    def settlements(self, start_ns: int = 0, *, deliveries: bool = True) -> Sequence[VenueExercise]:
        """Of options, and of dated futures as a desk is told them: as if their coins were paid."""
        found = [
            VenueExercise(
                symbol=one.symbol,
                quantity=one.quantity * one.side.sign,
                settlement_price=one.settlement_price,
                settlement_cash_flow_usd=one.settlement_cash_flow,
                fee_usd=one.fee,
                venue_ns=one.at_ns,
            )
            for one in self._exchange.exercise_history(self._account_id, start_ns=start_ns)
        ]
        told = self._exchange.futures.deliveries(self._account_id, start_ns, _EVER_NS)
        for delivery in told if self.futures and deliveries else ():
            quantity = delivery.quantity * delivery.side.sign
            found.append(
                VenueExercise(
                    symbol=delivery.symbol,
                    quantity=quantity,
                    settlement_price=delivery.settlement_price,
                    settlement_cash_flow_usd=quantity * delivery.settlement_price,
                    fee_usd=delivery.fee,
                    venue_ns=delivery.at_ns,
                )
            )
        return found


def _is_option(symbol: str) -> bool:
    return instrument_kind(symbol) == "option"
