"""Market data of the simulated exchange, as marketdata is pushed them."""

from __future__ import annotations

import numpy as np

from services.exchange.config import ExchangeConfig
from services.exchange.core import ExchangeCore
from shared.messages.market import Instrument
from shared.options.symbols import LAST_TRADE_BEFORE_EXPIRY_NS
from shared.venues.ports import ChainPush, IndexPush, OptionQuoteRow

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
_FIELDS = (*_OFTEN_EMPTY, *_FULL[:-1], "forward")


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

    def chain_push(self, index: str, expiry_ns: int) -> ChainPush:
        """The chain of one expiry as marketdata is pushed it: NaN where the venue shows nothing."""
        chain = self.exchange.chain(index, expiry_ns)
        assert chain is not None, (index, expiry_ns)
        # One conversion per column and not per value: this is most of what a second of the market costs.
        columns = [np.where(column > 0, column, np.nan) for column in (getattr(chain, name) for name in _OFTEN_EMPTY)]
        columns += [getattr(chain, name) for name in _FULL]
        names = [(name, column.tolist()) for name, column in zip(_FIELDS, columns, strict=True)]
        rows = tuple(
            OptionQuoteRow(symbol=symbol, **{name: values[row] for name, values in names})
            for row, symbol in enumerate(chain.symbols)
        )
        return ChainPush(underlying=index, expiry_ns=expiry_ns, venue_ns=chain.at_ns, rows=rows)

    def index_push(self, base: str) -> IndexPush:
        price = self.exchange.index_price(base)
        assert price is not None, base
        return IndexPush(underlying=f"{base}USD", price=float(price), venue_ns=self.exchange.now_ns)
