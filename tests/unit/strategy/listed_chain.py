"""The whole chain that the simulated exchange lists at a moment, as a host sees it."""

from __future__ import annotations

from functools import cache

import numpy as np

from services.exchange.config import BTC, ExchangeConfig
from services.exchange.core import ExchangeCore
from shared.messages.market import ChainSnapshot, InstrumentList
from shared.options.chain import ChainView, OptionList, list_id_of, pack_columns
from tests.unit.dated_futures import view_with_futures
from world.market_feed import MarketFeed

_OF_THE_BOOK = ("bid", "ask", "bid_size", "ask_size")
_OTHERS = ("mark", "mark_iv", "delta", "gamma", "vega", "theta", "open_interest")


@cache
def listed_chain(at_ns: int, seed: int = 1) -> ChainView:
    """BTC with its dailies, weeklies, monthlies and quarterlies, and its futures at their marks; an empty side of a
    book is NaN."""
    config = ExchangeConfig(seed=seed, bases=(BTC,))
    exchange = ExchangeCore(config, at_ns)
    instruments = MarketFeed(exchange, config).instruments("BTC")
    chain = exchange.chain("BTCUSD")
    index_price = exchange.index_price("BTC")
    assert chain is not None
    assert index_price is not None
    columns = {name: np.where(getattr(chain, name) > 0, getattr(chain, name), np.nan) for name in _OF_THE_BOOK}
    columns |= {name: getattr(chain, name) for name in _OTHERS} | {"forward": chain.underlying}
    list_id = list_id_of(instruments)
    snapshot = ChainSnapshot(
        underlying="BTCUSD",
        list_id=list_id,
        venue_ns=at_ns,
        received_ns=at_ns,
        index_price=float(index_price),
        index_received_ns=at_ns,
        matrix=pack_columns(columns, len(instruments)),
    )
    listed = InstrumentList(underlying="BTCUSD", list_id=list_id, instruments=instruments)
    contracts = [found for found in exchange.futures.contracts() if found[1].kind == "future"]
    marks = {contract.symbol: float(market.mark(contract)) for market, contract in contracts}
    return view_with_futures(ChainView(snapshot, OptionList(listed)), marks)
