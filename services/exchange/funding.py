"""What time does to futures: funding of perpetuals every eight hours, delivery of dated futures at their expiry."""

from collections.abc import Callable
from decimal import Decimal

from services.exchange.accounts import ExchangeState
from services.exchange.config import ExchangeConfig
from services.exchange.contract_trading import ContractTrading
from services.exchange.contracts import Contract, Contracts
from services.exchange.market import IndexPath
from services.exchange.model import Delivery, FundingPayment, Side
from services.exchange.settlement import settlement_price
from services.exchange.transaction import Transaction

AMOUNT_STEP = Decimal("0.00000001")


class Funding:
    """Decides; every change goes through the transaction that is passed in."""

    def __init__(
        self,
        config: ExchangeConfig,
        state: ExchangeState,
        contracts: Contracts,
        trading: ContractTrading,
        path_of: Callable[[str], IndexPath],
    ) -> None:
        self._config = config
        self._state = state
        self._contracts = contracts
        self._trading = trading
        self._path_of = path_of
        self._step_ns = config.step_ms * 1_000_000

    def charge(self, at_ns: int, transaction: Transaction) -> None:
        """Let longs pay shorts quantity * mark * rate in every perpetual; a negative rate is paid by shorts."""
        if not self._config.switches.funding_pushes:
            transaction.finish()
        told = len(transaction.events)
        for market, contract in self._contracts.of_kind("perpetual"):
            rate, mark = market.funding_rate(at_ns), market.mark(contract)
            for account_id, account in self._state.accounts.items():
                holding = account.holdings.get(contract.symbol)
                if holding is not None:
                    payment = FundingPayment(
                        payment_id=transaction.next_id(),
                        account_id=account_id,
                        symbol=contract.symbol,
                        side=Side.BUY if holding.quantity > 0 else Side.SELL,
                        quantity=abs(holding.quantity),
                        mark_price=mark,
                        rate=rate,
                        amount=(-holding.quantity * mark * rate).quantize(AMOUNT_STEP),
                        at_ns=at_ns,
                    )
                    transaction.pay_funding(payment)
        transaction.finish()
        if not self._config.switches.funding_pushes:
            del transaction.events[told:]

    def deliver(self, at_ns: int, step_of: Callable[[int], int], transaction: Transaction) -> None:
        """Settle the dated futures that expire at or before an instant, before they leave the list."""
        for _, contract in tuple(self._contracts.of_kind("future")):
            if contract.expiry_ns is not None and contract.expiry_ns <= at_ns:
                step, path = step_of(contract.expiry_ns), self._path_of(contract.base)
                mean = self._config.switches.dated_settlement == "mean"
                price = settlement_price(path, step, self._step_ns) if mean else path.exact_price(step)
                self._trading.end_all(contract.symbol, transaction)
                self._settle(contract, price, contract.expiry_ns, transaction)
        transaction.finish()

    def _settle(self, contract: Contract, price: Decimal, at_ns: int, transaction: Transaction) -> None:
        for account_id, account in self._state.accounts.items():
            holding = account.holdings.get(contract.symbol)
            if holding is not None:
                quantity = abs(holding.quantity)
                delivery = Delivery(
                    delivery_id=transaction.next_id(),
                    account_id=account_id,
                    symbol=contract.symbol,
                    side=Side.BUY if holding.quantity > 0 else Side.SELL,
                    quantity=quantity,
                    entry_price=holding.average_price,
                    settlement_price=price,
                    pnl=holding.quantity * (price - holding.average_price),
                    fee=quantity * price * self._config.fees.delivery,
                    at_ns=at_ns,
                )
                transaction.deliver(delivery)
