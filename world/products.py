"""What one account has and does at the simulated exchange: options, futures and spot alike."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from services.exchange import model as ex
from services.exchange.contract_calls import ContractCalls
from services.exchange.core import ExchangeCore
from services.exchange.rows import Outcome
from shared.messages.venue import VenueExercise
from shared.options.instruments import InstrumentKind, instrument_kind

_EVER_NS = 1 << 62


class Products:
    """The exchange's calls about one account; those of futures, and of spot, only where these are traded."""

    def __init__(self, exchange: ExchangeCore, account_id: str, *, futures: bool, spot: bool = False) -> None:
        self._exchange = exchange
        self._account_id = account_id
        self.futures = futures
        self.spot = spot
        self._contracts = tuple(
            calls for calls, is_traded in ((exchange.futures, futures), (exchange.spot, spot)) if is_traded
        )
        """The exchange's calls about what is traded beside options."""

    def place(self, command: ex.PlaceOrder, now_ns: int) -> Outcome[ex.PlaceResult]:
        """Spot has no reduce-only orders: as the desk's gateway does it, they are sent as plain ones."""
        kind = instrument_kind(command.symbol)
        if kind == "option":
            return self._exchange.place(self._account_id, command, now_ns)
        if kind == "spot":
            command = msgspec.structs.replace(command, reduce_only=False)
        return self._calls(kind).place(self._account_id, command, now_ns)

    def amend(self, command: ex.AmendOrder, now_ns: int) -> Outcome[ex.AmendResult]:
        if not self.futures or command.symbol is None or instrument_kind(command.symbol) == "option":
            return self._exchange.amend(self._account_id, command, now_ns)
        return self._exchange.futures.amend(self._account_id, command, now_ns)

    def cancel(self, command: ex.CancelOrder, symbol: str, now_ns: int) -> Outcome[ex.CancelResult]:
        kind = instrument_kind(symbol)
        if kind == "option":
            return self._exchange.cancel(self._account_id, command, now_ns)
        return self._calls(kind).cancel(self._account_id, command, now_ns)

    def order(self, client_order_id: int) -> ex.Order | None:
        found = self._exchange.order(self._account_id, client_order_id=client_order_id)
        for calls in self._contracts:
            found = found or calls.order(self._account_id, client_order_id=client_order_id)
        return found

    def open_orders(self) -> Sequence[ex.Order]:
        options = self._exchange.open_orders(self._account_id)
        others = [order for calls in self._contracts for order in calls.open_orders(self._account_id)]
        return [*options, *others] if others else options

    def order_history(self, start_ns: int | None = None) -> Sequence[ex.Order]:
        options = self._exchange.order_history(self._account_id, start_ns=start_ns)
        since_ns = start_ns or 0
        others = [order for calls in self._contracts for order in calls.orders(self._account_id, since_ns, _EVER_NS)]
        return [*options, *others] if others else options

    def fills(self, start_ns: int | None = None) -> Sequence[ex.Fill]:
        """By trade id."""
        options = self._exchange.fills(self._account_id, start_ns=start_ns)
        since_ns = start_ns or 0
        others = [fill for calls in self._contracts for fill in calls.fills(self._account_id, since_ns, _EVER_NS)]
        return sorted([*options, *others], key=lambda fill: fill.trade_id) if others else options

    def coins(self) -> dict[str, Decimal]:
        """What the account owns of each coin, whoever bought it."""
        assets = self._exchange.account_summary(self._account_id).assets
        return {asset.coin: asset.quantity for asset in assets}

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

    def _calls(self, kind: InstrumentKind) -> ContractCalls:
        return self._exchange.spot if kind == "spot" else self._exchange.futures
