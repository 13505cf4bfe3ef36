"""What anybody may look at: chains, details, books. Looking changes nothing."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from services.exchange.accounts import ExchangeState
from services.exchange.listing import NS_PER_DAY
from services.exchange.model import F8, Chain, Detail, Instrument, Level, OrderBook, Side
from services.exchange.quotes import BaseMarket
from services.exchange.valuation import Valuation

MAX_DEPTH = 100


class Traded(NamedTuple):
    """Quantity, premium in USD, and the highest and lowest prices, if any, of one option in one UTC day."""

    quantity: Decimal
    value: Decimal
    prices: tuple[Decimal, ...]


class Views:
    """Reads state and market at the current step."""

    def __init__(self, state: ExchangeState, valuation: Valuation, origin_ns: int, step_ns: int) -> None:
        self._state = state
        self._valuation = valuation
        self._origin_ns = origin_ns
        self._step_ns = step_ns
        self._chains: dict[str, tuple[tuple[int, int, int], dict[int | None, Chain]]] = {}

    def chain(self, market: BaseMarket, expiry_ns: int | None) -> Chain | None:
        """All options or those of one expiry; kept until step, list, orders or trades change."""
        key = (market.step, market.listing.version, self._state.revision)
        cached = self._chains.get(market.config.base)
        if cached is None or cached[0] != key:
            cached = self._chains[market.config.base] = (key, {None: self._build(market)})
        chains = cached[1]
        if expiry_ns is not None and expiry_ns not in chains:
            first, end = np.searchsorted(market.listing.expiry_ns, [expiry_ns, expiry_ns + 1])
            if first == end:
                return None
            chains[expiry_ns] = _slice(chains[None], slice(int(first), int(end)))
        return chains[expiry_ns]

    def detail(self, symbol: str) -> Detail | None:
        """One option; None when it is not listed."""
        found = self._valuation.option(symbol)
        if found is None:
            return None
        market, option, quote = found
        traded = self._traded(market, symbol, quote.row)
        mark_open = float(self._open_marks(market)[quote.row])
        interest = market.open_interest()[quote.row]
        return Detail(
            instrument=option,
            at_ns=market.at_ns,
            index_price=quote.index_price,
            underlying_price=quote.underlying,
            mark_price=quote.mark,
            mark_iv=quote.mark_iv,
            last_price=self._valuation.last_price(market, symbol),
            mark_open=mark_open,
            high=max(quote.mark, mark_open, *map(float, traded.prices)),
            low=min(quote.mark, mark_open, *map(float, traded.prices)),
            volume=traded.quantity,
            volume_usd=traded.value,
            open_interest=Decimal(repr(float(interest))),
            delta=quote.delta,
            gamma=quote.gamma,
            vega=quote.vega,
            theta=quote.theta,
            rho=quote.rho,
        )

    def order_book(self, symbol: str, depth: int) -> OrderBook | None:
        """Makers' and clients' orders added up per price; None when the option is not listed."""
        found = self._valuation.option(symbol)
        if found is None:
            return None
        market, option, _ = found
        depth = min(max(depth, 1), MAX_DEPTH)
        return OrderBook(
            symbol=symbol,
            strike=option.strike,
            bids=self._side(market, option, Side.BUY)[:depth],
            asks=self._side(market, option, Side.SELL)[:depth],
            at_ns=market.at_ns,
        )

    def _side(self, market: BaseMarket, option: Instrument, side: Side) -> tuple[Level, ...]:
        sizes: dict[Decimal, Decimal] = {}
        for price, size in market.makers(option.symbol, side, self._state.consumed):
            sizes[price] = sizes.get(price, Decimal(0)) + size
        for order in self._state.resting(option.symbol, side):
            sizes[order.price] = sizes.get(order.price, Decimal(0)) + order.remaining
        return tuple(Level(*item) for item in sorted(sizes.items(), reverse=side is Side.BUY))

    def _build(self, market: BaseMarket) -> Chain:
        listing, columns = market.listing, market.columns()
        bid, ask, bid_size, ask_size = market.best_of_chain(self._state.consumed)
        for side, price, size in ((Side.BUY, bid, bid_size), (Side.SELL, ask, ask_size)):
            self._add_clients(market, side, price, size)
        volume, last = market.tape_volume_and_last()
        for symbol in self._state.trades:
            row = listing.row(symbol)
            if row is not None:
                volume[row] = float(self._traded(market, symbol, row).quantity)
                last[row] = float(self._valuation.last_price(market, symbol) or np.nan)
        bid_iv, ask_iv = market.implied(np.stack((bid, ask)))
        chain = Chain(
            index=f"{market.config.base}USD",
            step=market.step,
            at_ns=market.at_ns,
            index_price=market.index_price,
            instruments=listing.instruments,
            symbols=listing.symbols,
            strike=listing.strike,
            is_call=listing.is_call,
            expiry_ns=listing.expiry_ns,
            underlying=columns.underlying,
            bid=bid,
            ask=ask,
            bid_size=bid_size,
            ask_size=ask_size,
            mark=columns.mark,
            mark_iv=columns.mark_iv,
            bid_iv=bid_iv,
            ask_iv=ask_iv,
            delta=columns.delta,
            gamma=columns.gamma,
            vega=columns.vega,
            theta=columns.theta,
            rho=columns.rho,
            open_interest=market.open_interest(),
            volume=volume,
            last=last,
            mark_open=self._open_marks(market),
        )
        _freeze(getattr(chain, name) for name in _COLUMNS)
        return chain

    def _add_clients(self, market: BaseMarket, side: Side, prices: F8, sizes: F8) -> None:
        """Put resting orders into the best prices and sizes of one side, in place."""
        for symbol in self._state.open_by_symbol:
            row = market.listing.row(symbol)
            orders = self._state.resting(symbol, side) if row is not None else []
            if not orders:
                continue
            best = orders[0].price
            same = sum((order.remaining for order in orders if order.price == best), Decimal(0))
            better = not prices[row] or (float(best) - prices[row]) * side.sign > 0
            if better:
                prices[row], sizes[row] = float(best), float(same)
            elif float(best) == prices[row]:
                sizes[row] = float(Decimal(repr(float(sizes[row]))) + same)

    def _open_marks(self, market: BaseMarket) -> F8:
        """Marks at 00:00 UTC of the current day, or at the start of the market."""
        midnight = market.at_ns // NS_PER_DAY * NS_PER_DAY
        first = max((midnight - self._origin_ns) // self._step_ns, 0)
        return market.open_marks(first, self._origin_ns + first * self._step_ns)

    def _traded(self, market: BaseMarket, symbol: str, row: int) -> Traded:
        """The trades of the current UTC day, the tape's and the clients'."""
        tick, lot, day = market.config.tick_size, market.config.min_quantity, market.tape_day()
        quantity, value = int(day.lots[row]) * lot, int(day.lot_ticks[row]) * lot * tick
        prices: tuple[Decimal, ...] = ()
        if quantity:
            prices = (int(day.high_ticks[row]) * tick, int(day.low_ticks[row]) * tick)
        volume = self._state.volumes.get(symbol)
        if volume is None or volume.day != market.at_ns // NS_PER_DAY:
            return Traded(quantity, value, prices)
        return Traded(quantity + volume.quantity, value + volume.value, (*prices, volume.high, volume.low))


_COLUMNS = (
    "strike",
    "is_call",
    "expiry_ns",
    "underlying",
    "bid",
    "ask",
    "bid_size",
    "ask_size",
    "mark",
    "mark_iv",
    "bid_iv",
    "ask_iv",
    "delta",
    "gamma",
    "vega",
    "theta",
    "rho",
    "open_interest",
    "volume",
    "last",
    "mark_open",
)


def _freeze(arrays: Iterable[F8]) -> None:
    for array in arrays:
        array.setflags(write=False)


def _slice(chain: Chain, rows: slice) -> Chain:
    """The rows of one expiry, as views of the same arrays."""
    columns = {name: getattr(chain, name)[rows] for name in _COLUMNS}
    return Chain(
        index=chain.index,
        step=chain.step,
        at_ns=chain.at_ns,
        index_price=chain.index_price,
        instruments=chain.instruments[rows],
        symbols=chain.symbols[rows],
        **columns,
    )
