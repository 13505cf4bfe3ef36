"""What happens at an expiry: orders end, positions are exercised, the price is published."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from services.exchange.accounts import ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.model import DeliveryPrice, Instrument, OrderState
from services.exchange.quotes import BaseMarket
from services.exchange.rows import ExpirySettled
from services.exchange.settlement import exercise, settlement_price
from services.exchange.transaction import Transaction


class Settling:
    """Decides; every change goes through the transaction that is passed in."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, markets: Mapping[str, BaseMarket]) -> None:
        self._config = config
        self._state = state
        self._markets = markets
        self._step_ns = config.step_ms * 1_000_000

    def settle(self, until_ns: int, step_of: Callable[[int], int], transaction: Transaction) -> None:
        """Settle every expiry until an instant."""
        if not self._config.switches.expiry_pushes:
            transaction.finish()
        told = len(transaction.events)
        end = OrderState(self._config.switches.expired_order_state)
        for base, market in self._markets.items():
            for expiry_ns in market.listing.expiries():
                if expiry_ns > until_ns or (base, expiry_ns) in self._state.settled:
                    continue
                price = settlement_price(market.path, step_of(expiry_ns), self._step_ns)
                options = [option for option in market.listing.instruments if option.expiry_ns == expiry_ns]
                for option in options:
                    for order_id in tuple(self._state.open_by_symbol.get(option.symbol, ())):
                        transaction.close(order_id, end)
                    self._exercise(option, price, transaction)
                delivery = DeliveryPrice(base, expiry_ns, price)
                transaction.commit(ExpirySettled(delivery=delivery, at_ns=expiry_ns))
        transaction.finish()
        if not self._config.switches.expiry_pushes:
            del transaction.events[told:]

    def _exercise(self, option: Instrument, price: Decimal, transaction: Transaction) -> None:
        for account_id, account in self._state.accounts.items():
            holding = account.holdings.get(option.symbol)
            if holding is not None:
                settled = exercise(
                    self._config.fees,
                    option,
                    exercise_id=transaction.next_id(),
                    account_id=account_id,
                    position=holding.quantity,
                    average_price=holding.average_price,
                    settlement=price,
                )
                transaction.exercise(settled)
