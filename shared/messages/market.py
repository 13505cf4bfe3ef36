"""Market data: instrument lists, option chains as columns, index prices."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Message
from shared.messages.contracts import SpotSpec

CHAIN_COLUMNS: tuple[str, ...] = (
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
    "forward",
)
"""Rows of the matrix of a `ChainSnapshot`. Prices in USD per unit, volatilities as fractions (0.5 = 50 %), Greeks
per unit as in docs/conventions.md, open interest and volume in coins of the underlying. A missing value is NaN, never
zero."""

_COMPARED = ("mark_iv", "bid_iv", "ask_iv", "delta", "gamma", "vega", "theta", "rho")

COMPARISON_COLUMNS: tuple[str, ...] = tuple(f"{source}_{name}" for source in ("own", "venue") for name in _COMPARED)
"""Rows of the matrix of a `ChainComparison`, ours first, then the venue's in the same order and units as in
`CHAIN_COLUMNS`. Never summed, never mixed. A missing value is NaN."""


NEVER_NS = 7_258_118_400_000_000_000
"""2200-01-01T00:00:00Z: when that which does not expire expires."""


class Instrument(msgspec.Struct, frozen=True, array_like=True):
    """One listed option. `last_trade_ns` is the instant from which the venue takes no more orders.

    A future or a coin of spot is written as what it is worth: a call of strike 0, which expires at its expiry; a
    perpetual and spot at NEVER_NS.
    """

    symbol: str
    underlying: str
    option_type: Literal["C", "P"]
    strike: Decimal
    expiry_ns: int
    last_trade_ns: int
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal

    @property
    def is_option(self) -> bool:
        """Whether it is neither a perpetual nor a dated future nor spot."""
        return bool(self.strike)

    @property
    def is_perpetual(self) -> bool:
        return not self.strike and self.expiry_ns == NEVER_NS and not self.is_spot

    @property
    def is_spot(self) -> bool:
        """Whether it is a coin against USDT, such as `BTCUSDT`."""
        return not self.strike and self.symbol == f"{self.underlying}T"


class InstrumentList(Message, frozen=True, kw_only=True, tag="instrument_list.1"):
    """The instruments behind the columns of the chains that carry `list_id` (a hash of the content).

    perpetual, futures: the underlying's, and its dated ones by expiry, on a desk that trades futures; spot: its pair
    against USDT, on a desk that looks at spot. They have no column.
    """

    underlying: str
    list_id: str
    instruments: tuple[Instrument, ...]
    perpetual: Instrument | None = None
    spot: SpotSpec | None = None
    futures: tuple[Instrument, ...] = ()

    @property
    def key(self) -> str:
        return self.list_id


class PerpetualQuote(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Prices of a perpetual in USD per coin, sizes in coins; a missing one is NaN.

    funding_rate: of the next funding, a fraction of quantity × mark that longs pay when it is positive, NaN when it
    is not known; next_funding_ns: when that is, 0 when it is not known.
    """

    bid: float
    ask: float
    bid_size: float
    ask_size: float
    mark: float
    funding_rate: float
    next_funding_ns: int
    venue_ns: int
    received_ns: int


class SpotQuote(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Prices of a spot pair in USDT per coin, sizes in coins; a missing one is NaN. last: of the last trade."""

    bid: float
    ask: float
    bid_size: float
    ask_size: float
    last: float
    venue_ns: int
    received_ns: int


class FutureQuote(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Prices of a dated future in USD per coin, sizes in coins; a missing one is NaN."""

    symbol: str
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    mark: float
    venue_ns: int
    received_ns: int


class ChainSnapshot(Message, frozen=True, kw_only=True, array_like=True, tag="chain.1"):
    """The option chain of one underlying.

    `matrix` holds float64, little-endian, shape (len(CHAIN_COLUMNS), n), row-major, n = the length of the
    instrument list with `list_id`. Read it through `shared.options.chain.ChainView`: in a chain that was received it
    is a part of the frame, not a copy. `received_ns` is the receipt of the *oldest* part; an age is measured from it.
    `index_price` is NaN when there is none. `perpetual` has an age of its own, and is None while nothing fresh is
    known of it and on a desk without futures; so `spot`, on a desk that looks at spot. `futures` are the dated ones
    of which something fresh is known, each with an age of its own.
    """

    underlying: str
    list_id: str
    venue_ns: int
    received_ns: int
    index_price: float
    index_received_ns: int
    matrix: memoryview
    perpetual: PerpetualQuote | None = None
    spot: SpotQuote | None = None
    futures: tuple[FutureQuote, ...] = ()


class ChainComparison(Message, frozen=True, kw_only=True, array_like=True, tag="chain_comparison.1"):
    """Our implied volatilities and Greeks beside the venue's, for every option of one underlying.

    `own_mark_iv` is solved from the venue's mark, `own_bid_iv` and `own_ask_iv` from bid and ask, on the forward that
    the venue gives; our Greeks are of the venue's mark volatility. `matrix` is as in `ChainSnapshot`, with the rows
    of COMPARISON_COLUMNS.
    """

    underlying: str
    list_id: str
    computed_ns: int
    received_ns: int
    matrix: bytes


class IndexPrice(Message, frozen=True, kw_only=True, tag="index_price.1"):
    """The index of one underlying in USD."""

    underlying: str
    price: float
    venue_ns: int
    received_ns: int
