"""Dated futures of BTC as tests list and quote them, beside the perpetual."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.messages.market import ChainSnapshot, FutureQuote, Instrument, InstrumentList
from shared.options.chain import ChainView, OptionList, list_id_of
from shared.options.instruments import expiry_and_last_trade_ns
from tests.unit.perpetuals import PERPETUAL, quoted


def future(symbol: str) -> Instrument:
    """Listed as the perpetual is, but for its expiry."""
    times = expiry_and_last_trade_ns(symbol)
    assert times is not None, symbol
    return msgspec.structs.replace(PERPETUAL, symbol=symbol, expiry_ns=times[0], last_trade_ns=times[1])


def future_quote(symbol: str, mark: float, received_ns: int) -> FutureQuote:
    near = quoted(mark, received_ns=received_ns)
    return FutureQuote(
        symbol=symbol,
        bid=near.bid,
        ask=near.ask,
        bid_size=near.bid_size,
        ask_size=near.ask_size,
        mark=mark,
        venue_ns=received_ns,
        received_ns=received_ns,
    )


def with_futures(listed: InstrumentList, *symbols: str) -> InstrumentList:
    """The same list, with the perpetual and these futures beside it."""
    futures = tuple(map(future, symbols))
    list_id = list_id_of(listed.instruments, PERPETUAL, None, futures)
    return msgspec.structs.replace(listed, list_id=list_id, perpetual=PERPETUAL, futures=futures)


def chain_with_futures(
    chain: ChainSnapshot, listed: InstrumentList, marks: Mapping[str, float], perpetual_mark: float = 100_000.0
) -> ChainSnapshot:
    """The same chain of a list with futures, of which those in `marks` are quoted, and the perpetual."""
    quotes = tuple(future_quote(symbol, mark, chain.received_ns) for symbol, mark in marks.items())
    perpetual = quoted(perpetual_mark, received_ns=chain.received_ns)
    return msgspec.structs.replace(chain, list_id=listed.list_id, perpetual=perpetual, futures=quotes)


def view_with_futures(view: ChainView, marks: Mapping[str, float], *unquoted: str) -> ChainView:
    """The same view with the perpetual and futures, some of which may have no price."""
    plain = InstrumentList(underlying="BTCUSD", list_id=view.listed.list_id, instruments=view.instruments)
    listed = with_futures(plain, *sorted((*marks, *unquoted), key=lambda symbol: future(symbol).expiry_ns))
    return ChainView(chain_with_futures(view.snapshot, listed, marks), OptionList(listed))
