"""The spot pair of BTC as tests list and quote it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.messages.contracts import SpotSpec
from shared.messages.market import ChainSnapshot, InstrumentList, SpotQuote
from shared.options.chain import ChainView, OptionList, list_id_of

PAIR = SpotSpec(
    symbol="BTCUSDT",
    coin="BTC",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.0001"),
    min_quantity=Decimal("0.0002"),
    max_quantity=Decimal(100),
)


def with_pair(listed: InstrumentList) -> InstrumentList:
    """The same list, with the pair beside it."""
    list_id = list_id_of(listed.instruments, listed.perpetual, PAIR, listed.futures)
    return msgspec.structs.replace(listed, list_id=list_id, spot=PAIR)


def chain_with_pair(
    chain: ChainSnapshot, listed: InstrumentList, bid: float = 99_990.0, ask: float = 100_010.0
) -> ChainSnapshot:
    """The same chain of a list with a pair, quoted."""
    quote = SpotQuote(
        bid=bid,
        ask=ask,
        bid_size=2.0,
        ask_size=2.0,
        last=bid,
        venue_ns=chain.received_ns,
        received_ns=chain.received_ns,
    )
    return msgspec.structs.replace(chain, list_id=listed.list_id, spot=quote)


def view_with_pair(view: ChainView, bid: float = 99_990.0, ask: float = 100_010.0) -> ChainView:
    """The same view with the pair."""
    listed = with_pair(InstrumentList(underlying="BTCUSD", list_id=view.listed.list_id, instruments=view.instruments))
    return ChainView(chain_with_pair(view.snapshot, listed, bid, ask), OptionList(listed))
