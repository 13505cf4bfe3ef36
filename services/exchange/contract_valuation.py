"""What futures and coins add to an account's figures at the current step."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from services.exchange.accounts import Account, ExchangeState, Holding
from services.exchange.config import ExchangeConfig
from services.exchange.contract_margin import (
    ZERO,
    futures_freeze,
    liquidation_price,
    maintenance_margin,
    spot_freeze,
    tier_of,
)
from services.exchange.contracts import Contract, ContractMarket, Contracts
from services.exchange.model import AssetBalance, FuturesPosition, Order, Side
from shared.options.instruments import instrument_kind

_FIGURE = Decimal("0.000001")


class ContractFigures(NamedTuple):
    """USD, not rounded; `delta` is that of futures and coins in USD of the underlying."""

    pnl: Decimal
    initial: Decimal
    maintenance: Decimal
    assets: tuple[AssetBalance, ...]
    delta: float

    @property
    def asset_value(self) -> Decimal:
        return sum((asset.value for asset in self.assets), ZERO)


class ContractValuation:
    """Reads state and market; changes neither."""

    def __init__(self, config: ExchangeConfig, state: ExchangeState, contracts: Contracts) -> None:
        self._config = config
        self._state = state
        self._contracts = contracts

    def leverage(self, account_id: str, symbol: str) -> int:
        """That which the account has set, or the contract's default."""
        _, contract = self._contracts.need(symbol)
        return self._state.accounts[account_id].leverage.get(symbol, contract.futures.default_leverage)

    def frozen(self, account_id: str, symbol: str, orders: Iterable[Order]) -> dict[int, Decimal]:
        """What orders of one account in one contract would freeze if they were its orders, USDT by order id."""
        if instrument_kind(symbol) == "spot":
            return spot_freeze(orders)
        position = self._state.position(account_id, symbol)
        return futures_freeze(orders, position, self.leverage(account_id, symbol), self._config.fees.futures_taker)

    def free_coins(self, account_id: str, coin: str, without: int | None = None) -> Decimal:
        """Coins that no open order would sell, the order `without` left out."""
        held = self._state.accounts[account_id].assets.get(coin, ZERO)
        orders = self._state.open_orders(account_id, f"{coin}USDT")
        return held - sum(
            (order.remaining for order in orders if order.side is Side.SELL and order.order_id != without), ZERO
        )

    def figures(self, account: Account) -> ContractFigures:
        pnl = initial = maintenance = ZERO
        delta = 0.0
        for symbol, holding in account.holdings.items():
            if instrument_kind(symbol) == "option":
                continue
            market, contract = self._contracts.need(symbol)
            mark, value = market.mark(contract), abs(holding.quantity) * holding.average_price
            pnl += holding.quantity * (mark - holding.average_price)
            initial += value / self.leverage(account.account_id, symbol)
            maintenance += maintenance_margin(value)
            delta += float(holding.quantity * market.index_price)
        assets = tuple(self._asset(account, coin) for coin in sorted(account.assets))
        return ContractFigures(pnl, initial, maintenance, assets, delta + float(sum(a.value for a in assets)))

    def _asset(self, account: Account, coin: str) -> AssetBalance:
        quantity = account.assets[coin]
        found = self._contracts.find(f"{coin}USDT")
        price = ZERO if found is None else found[0].index_price
        free = self.free_coins(account.account_id, coin)
        return AssetBalance(coin=coin, quantity=quantity, free=free, value=quantity * price)

    def last_price(self, market: ContractMarket, contract: Contract) -> Decimal:
        """Price of the last public trade, the tape's or a client's; the mark before the first."""
        trades = self._state.trades.get(contract.symbol)
        newest = [*market.newest_prints(contract, 1), *([trades[-1]] if trades else [])]
        return max(newest, key=lambda trade: trade.at_ns).price if newest else market.mark(contract)

    def position(
        self,
        account_id: str,
        symbol: str,
        holding: Holding,
        side: Side,
        margin_balance: Decimal,
        maintenance: Decimal,
    ) -> FuturesPosition:
        """At the current mark; `side` is that of an open one, or the last one of a closed one. `margin_balance` and
        `maintenance` are the account's."""
        market, contract = self._contracts.need(symbol)
        mark, last = market.mark(contract), self.last_price(market, contract)
        quantity, entry = holding.quantity, holding.average_price
        value = abs(quantity) * entry
        leverage = self.leverage(account_id, symbol)
        liquidation = None
        if quantity:
            liquidation = liquidation_price(quantity, mark, margin_balance, maintenance, tier_of(value).rate)
        return FuturesPosition(
            position_id=holding.position_id,
            account_id=account_id,
            symbol=symbol,
            is_perpetual=contract.kind == "perpetual",
            side=side,
            quantity=abs(quantity),
            average_price=entry,
            mark_price=mark,
            last_price=last,
            value=value.quantize(_FIGURE),
            unrealised_pnl_mark=(quantity * (mark - entry)).quantize(_FIGURE),
            unrealised_pnl_last=(quantity * (last - entry)).quantize(_FIGURE),
            realised_pnl=holding.realised_pnl.quantize(_FIGURE),
            initial_margin=(value / leverage).quantize(_FIGURE),
            maintenance_margin=maintenance_margin(value).quantize(_FIGURE),
            leverage=leverage,
            liquidation_price=liquidation,
            updated_ns=holding.updated_ns,
        )
