"""What accounts are worth at the current step: positions, margin, available cash."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from services.exchange.accounts import Account, ExchangeState, Holding
from services.exchange.config import ExchangeConfig
from services.exchange.contract_valuation import ContractValuation
from services.exchange.contracts import ContractMarket, Contracts
from services.exchange.margin import UnitMargin, order_freeze, short_margin
from services.exchange.matching import closable
from services.exchange.model import AccountSummary, FuturesPosition, Instrument, Order, Position, Side
from services.exchange.quotes import BaseMarket, Quote
from shared.options.instruments import instrument_kind

ZERO = Decimal(0)
_FREEZES_KEPT = 256
_UNITS_KEPT = 2_000
# With 6 decimals the text of a Decimal, 0 included, never takes an exponent.
_FIGURE = Decimal("0.000001")


class Valuation:
    """Reads state and market; changes neither."""

    def __init__(
        self,
        config: ExchangeConfig,
        state: ExchangeState,
        markets: Mapping[str, BaseMarket],
        contracts: Contracts,
    ) -> None:
        self.contracts = contracts
        self.of_contracts = ContractValuation(config, state, contracts)
        self._config = config
        self._state = state
        self._markets = markets
        self._freezes: dict[int, tuple[Order, UnitMargin, Decimal, Decimal]] = {}
        self._freezes_max = _FREEZES_KEPT
        self._units: dict[str, tuple[Quote, UnitMargin]] = {}
        self._currency = "BTC" if "BTC" in markets else next(iter(markets))

    def market_of(self, symbol: str) -> BaseMarket | None:
        """The market whose index the symbol names, whether or not the option is listed."""
        return self._markets.get(symbol.partition("-")[0].removesuffix("USD"))

    def market_at_ns(self, base: str) -> int:
        """The time of the current step of a base's market."""
        return self._markets[base].at_ns

    def makers_of(self, symbol: str) -> BaseMarket | ContractMarket:
        """Where the makers quote a listed instrument."""
        market = self.market_of(symbol) if instrument_kind(symbol) == "option" else self.contracts.need(symbol)[0]
        assert market is not None, symbol
        return market

    def option(self, symbol: str) -> tuple[BaseMarket, Instrument, Quote] | None:
        """A listed option with its quote."""
        market = self.market_of(symbol)
        row = None if market is None else market.listing.row(symbol)
        if market is None or row is None:
            return None
        quote = market.quote(symbol)
        assert quote is not None, symbol
        return market, market.listing.instruments[row], quote

    def unit_margin(self, symbol: str) -> UnitMargin:
        """Margin of one unit short of a listed option."""
        _, option, quote = self._listed(symbol)
        known = self._units.get(symbol)
        if known is None or known[0] is not quote:
            if len(self._units) > _UNITS_KEPT:
                self._units.clear()
            unit = short_margin(
                self._config.margin,
                index=float(quote.index_price),
                strike=float(option.strike),
                mark=quote.mark,
                is_call=option.is_call,
            )
            known = self._units[symbol] = (quote, unit)
        return known[1]

    def frozen(self, account_id: str, symbol: str, orders: Iterable[Order]) -> dict[int, Decimal]:
        """What orders of one account in one instrument would freeze if they were its open orders, by order id."""
        if instrument_kind(symbol) != "option":
            return self.of_contracts.frozen(account_id, symbol, orders)
        _, _, quote = self._listed(symbol)
        position = self._state.position(account_id, symbol)
        fees, unit, index = self._config.fees, self.unit_margin(symbol), quote.index_price
        if position:
            return order_freeze(fees, orders, position, unit, index)
        # Without a position no order depends on another, and most have not changed since they were looked at last.
        frozen = {}
        for order in orders:
            known = self._freezes.get(order.order_id)
            if known is None or known[0] is not order or known[1] is not unit or known[2] != index:
                (amount,) = order_freeze(fees, (order,), position, unit, index).values()
                known = self._freezes[order.order_id] = (order, unit, index, amount)
            frozen[order.order_id] = known[3]
        if len(self._freezes) > self._freezes_max:
            self._forget_freezes()
        return frozen

    def _forget_freezes(self) -> None:
        """Orders that have ended, or were never placed, are asked about no more; the next look is as far off as there
        are open ones now."""
        orders = self._state.orders
        self._freezes = {number: known for number, known in self._freezes.items() if orders.get(number) is known[0]}
        self._freezes_max = max(_FREEZES_KEPT, 2 * len(self._freezes))

    def prepare(self, account_id: str) -> None:
        """Quote everything the account holds or has orders in, in one go per base."""
        account = self._state.accounts[account_id]
        symbols = {*account.holdings, *(self._state.orders[number].symbol for number in account.open_order_ids)}
        for base, market in self._markets.items():
            of_base = sorted(symbol for symbol in symbols if symbol.startswith(f"{base}USD-"))
            if of_base:
                market.prepare(of_base)

    def summary(self, account_id: str) -> AccountSummary:
        """Figures of one account; delta in units of BTC (of the first base where there is no BTC)."""
        self.prepare(account_id)
        account = self._state.accounts[account_id]
        initial = maintenance = option_value = unrealised = ZERO
        delta = 0.0
        for symbol, holding in account.holdings.items():
            if instrument_kind(symbol) != "option":
                continue
            _, _, quote = self._listed(symbol)
            mark = exact(quote.mark)
            option_value += holding.quantity * mark
            unrealised += holding.quantity * (mark - holding.average_price)
            delta += float(holding.quantity) * quote.delta * float(quote.index_price)
            if holding.quantity < 0:
                unit = self.unit_margin(symbol)
                initial -= holding.quantity * unit.initial
                maintenance -= holding.quantity * unit.maintenance
        contracts = self.of_contracts.figures(account)
        initial += contracts.initial
        maintenance += contracts.maintenance
        delta += contracts.delta
        freeze = self._frozen_total(account)
        margin_balance = account.cash + contracts.pnl
        equity = margin_balance + option_value + contracts.asset_value
        currency_price = self._markets[self._currency].index_price
        return AccountSummary(
            account_id=account_id,
            cash=account.cash,
            option_value=option_value.quantize(_FIGURE),
            equity=equity.quantize(_FIGURE),
            margin_balance=margin_balance,
            available=margin_balance - initial - freeze,
            order_freeze=freeze,
            initial_margin=initial,
            maintenance_margin=maintenance,
            initial_margin_ratio=_ratio(initial, margin_balance),
            maintenance_margin_ratio=_ratio(maintenance, margin_balance),
            unrealised_pnl=(unrealised + contracts.pnl).quantize(_FIGURE),
            delta=delta / float(currency_price),
            btc_value=(equity / currency_price).quantize(_FIGURE),
            futures_pnl=contracts.pnl.quantize(_FIGURE),
            asset_value=contracts.asset_value.quantize(_FIGURE),
            assets=contracts.assets,
        )

    def available_after(self, account_id: str, moves: Mapping[str, Decimal], cash: Decimal) -> Decimal:
        """What would be available if positions moved by these signed quantities and cash by `cash`, USD."""
        self.prepare(account_id)
        account = self._state.accounts[account_id]
        positions = {symbol: holding.quantity for symbol, holding in account.holdings.items()}
        for symbol, quantity in moves.items():
            positions[symbol] = positions.get(symbol, ZERO) + quantity
        contracts = self.of_contracts.figures(account)
        needed = contracts.initial - contracts.pnl
        orders = self._state.open_orders(account_id)
        for symbol in {*positions, *(order.symbol for order in orders)}:
            if instrument_kind(symbol) != "option":
                needed += sum(self.frozen(account_id, symbol, _of(orders, symbol)).values(), ZERO)
                continue
            _, _, quote = self._listed(symbol)
            position, unit = positions.get(symbol, ZERO), self.unit_margin(symbol)
            needed += max(-position, ZERO) * unit.initial
            frozen = order_freeze(self._config.fees, _of(orders, symbol), position, unit, quote.index_price)
            needed += sum(frozen.values(), ZERO)
        return account.cash + cash - needed

    def futures_position(self, account_id: str, symbol: str, holding: Holding, side: Side) -> FuturesPosition:
        """As `position`, of a perpetual or dated future."""
        summary = self.summary(account_id)
        return self.of_contracts.position(
            account_id, symbol, holding, side, summary.margin_balance, summary.maintenance_margin
        )

    def position(self, account_id: str, symbol: str, holding: Holding, side: Side) -> Position:
        """A position at the current mark; `side` is that of an open one, or the last one of a closed one."""
        market, _, quote = self._listed(symbol)
        mark = exact(quote.mark)
        last = self.last_price(market, symbol)
        unit = self.unit_margin(symbol)
        short = max(-holding.quantity, ZERO)
        greeks = self._config.switches.position_greeks
        # Adding 0.0 below makes a negative zero positive.
        scale = float(abs(holding.quantity)) if greeks in ("total", "signed_total") else 1.0
        if greeks.startswith("signed") and holding.quantity < 0:
            scale = -scale
        return Position(
            position_id=holding.position_id,
            account_id=account_id,
            symbol=symbol,
            side=side,
            quantity=abs(holding.quantity),
            locked=self._locked(account_id, symbol, holding.quantity),
            average_price=holding.average_price,
            mark_price=quote.mark,
            last_price=last,
            index_price=quote.index_price,
            unrealised_pnl_mark=_pnl(holding, mark),
            unrealised_pnl_last=_pnl(holding, mark if last is None else last),
            realised_pnl=holding.realised_pnl.quantize(_FIGURE),
            initial_margin=short * unit.initial,
            maintenance_margin=short * unit.maintenance,
            delta=quote.delta * scale + 0.0,
            gamma=quote.gamma * scale + 0.0,
            vega=quote.vega * scale + 0.0,
            theta=quote.theta * scale + 0.0,
            rho=quote.rho * scale + 0.0,
            updated_ns=holding.updated_ns,
        )

    def last_price(self, market: BaseMarket, symbol: str) -> Decimal | None:
        """Price of the last public trade of a listed option, USD: a client's, or the tape's of today or yesterday."""
        trades = self._state.trades.get(symbol)
        row = market.listing.row(symbol)
        day = market.tape_day()
        step = -1 if row is None else int(day.last_step[row])
        if row is not None and step >= 0 and (not trades or trades[-1].at_ns < market.time_of(step)):
            return int(day.last_ticks[row]) * market.config.tick_size
        return trades[-1].price if trades else None

    def _listed(self, symbol: str) -> tuple[BaseMarket, Instrument, Quote]:
        found = self.option(symbol)
        assert found is not None, f"{symbol} is held or ordered but not listed"
        return found

    def _frozen_total(self, account: Account) -> Decimal:
        by_symbol: dict[str, list[Order]] = {}
        for order in self._state.open_orders(account.account_id):
            by_symbol.setdefault(order.symbol, []).append(order)
        return sum(
            (
                sum(self.frozen(account.account_id, symbol, orders).values(), ZERO)
                for symbol, orders in by_symbol.items()
            ),
            ZERO,
        )

    def _locked(self, account_id: str, symbol: str, position: Decimal) -> Decimal:
        side = Side.SELL if position > 0 else Side.BUY
        against = (order for order in self._state.open_orders(account_id, symbol) if order.side is side)
        return min(sum((order.remaining for order in against), ZERO), closable(position, side))


def _of(orders: Iterable[Order], symbol: str) -> list[Order]:
    return [order for order in orders if order.symbol == symbol]


def exact(value: float) -> Decimal:
    """A float figure (mark, Greek) as a Decimal of 8 decimals."""
    return Decimal(format(value, ".8f"))


def _pnl(holding: Holding, price: Decimal) -> Decimal:
    return (holding.quantity * (price - holding.average_price)).quantize(_FIGURE)


def _ratio(margin: Decimal, balance: Decimal) -> Decimal | None:
    if not margin:
        return ZERO
    return (margin / balance).quantize(Decimal("0.000001")) if balance > 0 else None
