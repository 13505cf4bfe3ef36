"""What market data exchanges with its shell beside bus messages and the pushes of `shared.venues.ports`."""

from __future__ import annotations

import msgspec

from shared.messages.market import Instrument
from shared.venues.ports import ChainPush


class InstrumentsLoaded(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the options that the venue lists for one underlying now."""

    underlying: str
    instruments: tuple[Instrument, ...]


class ReloadInstruments(msgspec.Struct, frozen=True):
    """Effect: what the venue quotes is not what our list says; read the list again."""

    underlying: str


class OpenInterestRead(msgspec.Struct, frozen=True, kw_only=True):
    """Input: the chain of one expiry as REST tells it, of which only the open interest counts."""

    chain: ChainPush


class Compared(msgspec.Struct, frozen=True):
    """Effect: the largest absolute difference between our figures and the venue's by name: of Greeks, and of implied
    volatilities where the price's tick is worth less than one volatility point. NaN where none is comparable."""

    underlying: str
    largest: dict[str, float]
