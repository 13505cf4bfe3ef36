"""Market data of the simulated exchange, as marketdata is pushed them."""

from __future__ import annotations

import msgspec
import numpy as np

from services.exchange.config import ExchangeConfig
from services.exchange.contract_calls import ContractCalls
from services.exchange.contracts import Contract, ContractMarket, next_funding_time
from services.exchange.core import ExchangeCore
from services.marketdata.effects import FundingRead, FuturesRead
from shared.messages.contracts import FundingRate, FuturesSpec, FuturesTicker, SpotSpec
from shared.messages.market import Instrument
from shared.options.book import pack_levels
from shared.options.listed_futures import listed_future
from shared.options.symbols import LAST_TRADE_BEFORE_EXPIRY_NS
from shared.venues.ports import BookPush, ChainPush, IndexPush, OptionQuoteRow

_OFTEN_EMPTY = ("bid", "ask", "bid_size", "ask_size")
_FULL = (
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
    "underlying",
)


def _row(symbol: str, values: list[float]) -> OptionQuoteRow:
    """values: in the order of the names above."""
    return OptionQuoteRow(
        symbol=symbol,
        bid=values[0],
        ask=values[1],
        bid_size=values[2],
        ask_size=values[3],
        mark=values[4],
        mark_iv=values[5],
        bid_iv=values[6],
        ask_iv=values[7],
        delta=values[8],
        gamma=values[9],
        vega=values[10],
        theta=values[11],
        rho=values[12],
        open_interest=values[13],
        volume=values[14],
        forward=values[15],
    )


class MarketFeed:
    """Instruments, chains and index prices of every base. An empty side is 0 at the exchange, NaN in the desk."""

    def __init__(self, exchange: ExchangeCore, config: ExchangeConfig) -> None:
        self.exchange = exchange
        self.config = config

    def instruments(self, base: str) -> tuple[Instrument, ...]:
        limits = next(config for config in self.config.bases if config.base == base)
        return tuple(
            Instrument(
                symbol=listed.symbol,
                underlying=listed.index,
                option_type=listed.option_type,
                strike=listed.strike,
                expiry_ns=listed.expiry_ns,
                last_trade_ns=listed.expiry_ns - LAST_TRADE_BEFORE_EXPIRY_NS,
                tick_size=listed.tick_size,
                lot_size=listed.min_quantity,
                min_quantity=listed.min_quantity,
                max_quantity=limits.max_order_quantity,
            )
            for listed in self.exchange.instruments(base)
        )

    def chain_pushes(self, base: str) -> list[ChainPush]:
        """The chain of each expiry as marketdata is pushed it: NaN where the venue shows nothing."""
        index = f"{base}USD"
        chain = self.exchange.chain(index)
        assert chain is not None, index
        # One conversion for all and not one per value: this is most of what a second of the market costs.
        matrix = np.array([getattr(chain, name) for name in (*_OFTEN_EMPTY, *_FULL)])
        shown = matrix[: len(_OFTEN_EMPTY)]
        shown[~(shown > 0)] = np.nan
        rows = tuple(map(_row, chain.symbols, matrix.T.tolist()))
        # options are listed by expiry
        expiries, firsts = np.unique(chain.expiry_ns, return_index=True)
        ends = (*firsts[1:], len(rows))
        return [
            ChainPush(underlying=index, expiry_ns=expiry_ns, venue_ns=chain.at_ns, rows=rows[first:end])
            for expiry_ns, first, end in zip(expiries.tolist(), firsts, ends, strict=True)
        ]

    def index_push(self, base: str) -> IndexPush:
        price = self.exchange.index_price(base)
        assert price is not None, base
        return IndexPush(underlying=f"{base}USD", price=float(price), venue_ns=self.exchange.now_ns)

    def futures(self, base: str) -> tuple[Instrument, ...]:
        """The dated futures by expiry, then the perpetual."""
        limits = next(config.futures for config in self.config.bases if config.base == base)
        spec = FuturesSpec(
            underlying=f"{base}USD",
            tick_size=limits.tick_size,
            lot_size=limits.min_quantity,
            min_quantity=limits.min_quantity,
            max_quantity=limits.max_order_quantity,
            max_stop_orders=limits.max_stop_orders,
        )
        listed = [listed_future(contract.symbol, spec) for _, contract in self._contracts(base)]
        return tuple(sorted(listed, key=lambda each: (each.expiry_ns, each.last_trade_ns)))

    def pair(self, base: str) -> SpotSpec:
        """The base's pair of spot."""
        limits = next(config.spot for config in self.config.bases if config.base == base)
        return SpotSpec(
            symbol=f"{base}USDT",
            coin=base,
            tick_size=limits.tick_size,
            lot_size=limits.min_quantity,
            min_quantity=limits.min_quantity,
            max_quantity=limits.max_order_quantity,
        )

    def pair_push(self, base: str) -> BookPush:
        """The book of the pair."""
        return self._book_push(f"{base}USDT", self.exchange.spot)

    def futures_pushes(self, base: str) -> list[IndexPush | BookPush | FundingRead | FuturesRead]:
        """Index, marks, books and next funding of the futures, as marketdata is told them."""
        symbol, now_ns = f"{base}USD", self.exchange.now_ns
        futures, due_ns = self.exchange.futures, next_funding_time(now_ns)
        index = self.index_push(base)
        marks: list[FuturesTicker] = []
        told: list[IndexPush | BookPush | FundingRead | FuturesRead] = []
        for market, contract in self._contracts(base):
            mark = float(market.mark(contract))
            if contract.kind == "perpetual":
                index = msgspec.structs.replace(index, perpetual_mark=mark)
            else:
                marks.append(_ticker(contract, mark, index.price))
            told.append(self._book_push(contract.symbol, futures))
        rate = FundingRate(
            symbol=symbol, rate=futures.funding_rate(symbol, due_ns), next_funding_ns=due_ns, venue_ns=now_ns
        )
        return [index, *told, FuturesRead(tuple(marks)), FundingRead(rate)]

    def _contracts(self, base: str) -> list[tuple[ContractMarket, Contract]]:
        return [found for found in self.exchange.futures.contracts() if found[1].base == base]

    def _book_push(self, symbol: str, calls: ContractCalls) -> BookPush:
        book = calls.order_book(symbol, 5)
        assert book is not None, symbol
        bids, asks = ([(float(each.price), float(each.quantity)) for each in side] for side in (book.bids, book.asks))
        return BookPush(symbol=symbol, venue_ns=self.exchange.now_ns, bids=pack_levels(bids), asks=pack_levels(asks))


def _ticker(contract: Contract, mark: float, index_price: float) -> FuturesTicker:
    return FuturesTicker(
        symbol=contract.symbol,
        underlying=f"{contract.base}USD",
        kind="future",
        expiry_ns=contract.expiry_ns,
        last=None,
        mark=mark,
        index=index_price,
    )
