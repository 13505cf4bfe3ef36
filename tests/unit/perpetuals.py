"""The perpetual of BTC as tests list and quote it."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.messages.market import NEVER_NS, ChainSnapshot, Instrument, InstrumentList, PerpetualQuote
from shared.options.chain import ChainView, OptionList, list_id_of

PERPETUAL = Instrument(
    symbol="BTCUSD",
    underlying="BTCUSD",
    option_type="C",
    strike=Decimal(0),
    expiry_ns=NEVER_NS,
    last_trade_ns=NEVER_NS,
    tick_size=Decimal("0.1"),
    lot_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    max_quantity=Decimal(100),
)


def quoted(mark: float = 100_000.0, *, half_spread: float = 5.0, received_ns: int = 0) -> PerpetualQuote:
    return PerpetualQuote(
        bid=mark - half_spread,
        ask=mark + half_spread,
        bid_size=10.0,
        ask_size=10.0,
        mark=mark,
        funding_rate=0.0001,
        next_funding_ns=received_ns + 1,
        venue_ns=received_ns,
        received_ns=received_ns,
    )


def with_perpetual(listed: InstrumentList) -> InstrumentList:
    """The same list, with the perpetual beside it."""
    list_id = list_id_of(listed.instruments, PERPETUAL)
    return msgspec.structs.replace(listed, list_id=list_id, perpetual=PERPETUAL)


def chain_with(chain: ChainSnapshot, listed: InstrumentList, mark: float = 100_000.0) -> ChainSnapshot:
    """The same chain of a list with a perpetual, quoted."""
    perpetual = quoted(mark, received_ns=chain.received_ns)
    return msgspec.structs.replace(chain, list_id=listed.list_id, perpetual=perpetual)


def view_with(view: ChainView, mark: float = 100_000.0) -> ChainView:
    """The same view with a perpetual."""
    listed = with_perpetual(
        InstrumentList(underlying="BTCUSD", list_id=view.listed.list_id, instruments=view.instruments)
    )
    return ChainView(chain_with(view.snapshot, listed, mark), OptionList(listed))
