"""A strategy file that changed while its host runs: what its shell found, as inputs of the core."""

from __future__ import annotations

import msgspec

from services.strategy.loaded import LoadedStrategy


class StrategyReloaded(msgspec.Struct, frozen=True, kw_only=True):
    """The changed file was validated and is loaded: from now on this runs. Open trades keep their exits."""

    loaded: LoadedStrategy


class ReloadRefused(msgspec.Struct, frozen=True, kw_only=True):
    """The changed file cannot be used: what ran before goes on. reason: with file and line."""

    name: str
    reason: str
