"""What is listed: options as the venue says now, futures and spot pairs as they could be read last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from services.marketdata.effects import InstrumentsLoaded
from shared.messages.contracts import SpotSpec
from shared.messages.market import Instrument
from shared.options.instruments import underlying_of
from shared.venues.coincall import CoincallGateway
from shared.venues.ports import VenueError

T = TypeVar("T")


class Listings:
    """Reads the lists. One of futures or spot that cannot be read keeps no option from being shown, and takes nothing
    away that was listed before: `is_partial` says that it is to be read again soon."""

    def __init__(
        self, gateway: CoincallGateway, log: Any, underlyings: Sequence[str], *, futures: bool, pairs: Sequence[str]
    ):
        self._gateway = gateway
        self._log = log
        self._underlyings = underlyings
        self._with_futures = futures
        self._pairs = pairs
        self._futures: dict[str, tuple[Instrument, ...]] = {}
        self._spot: dict[str, SpotSpec] = {}
        self.is_partial = False

    async def read(self, take: Callable[[InstrumentsLoaded], None]) -> None:
        """Hand over what is listed of each underlying. Raises VenueError when options cannot be read."""
        self.is_partial = False
        for underlying in self._underlyings:
            options = await self._gateway.instruments(underlying)
            if self._with_futures:
                known = self._futures.get(underlying, ())
                read = self._gateway.futures.instruments
                self._futures[underlying] = await self._kept(f"futures of {underlying}", read(underlying), known)
            if self._pairs and underlying == self._underlyings[0]:
                self._spot = await self._kept("spot pairs", self._listed_pairs(), self._spot)
            futures = self._futures.get(underlying, ())
            take(
                InstrumentsLoaded(
                    underlying=underlying,
                    instruments=options,
                    perpetual=next((each for each in futures if each.is_perpetual), None),
                    spot=self._spot.get(underlying),
                    futures=tuple(each for each in futures if not each.is_perpetual),
                )
            )

    async def _kept(self, what: str, reading: Awaitable[T], known: T) -> T:
        """What is read, or what was before."""
        try:
            return await reading
        except VenueError as error:
            self.is_partial = True
            self._log.warning(
                "a list cannot be read: what it had stays", what=what, kind=error.kind, reason=str(error)
            )
            return known

    async def _listed_pairs(self) -> dict[str, SpotSpec]:
        listed = await self._gateway.spot.specifications()
        pairs = {underlying_of(each.symbol): each for each in listed if each.symbol in self._pairs}
        for symbol in self._pairs:
            if underlying_of(symbol) not in pairs:
                self._log.warning("there is no spot pair", symbol=symbol)
        return pairs
