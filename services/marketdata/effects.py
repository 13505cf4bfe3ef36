"""What market data exchanges with its shell beside bus messages and the pushes of `shared.venues.ports`."""

from __future__ import annotations

import msgspec

from shared.messages.market import Instrument


class InstrumentsLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the options that the venue lists for one underlying now."""

    underlying: str
    instruments: tuple[Instrument, ...]


class ReloadInstruments(msgspec.Struct, frozen=True):
    """Effect: what the venue quotes is not what our list says; read the list again."""

    underlying: str


class GreeksCompared(msgspec.Struct, frozen=True):
    """Effect: the largest absolute difference between our Greeks and the venue's; NaN where none is comparable."""

    underlying: str
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float
