"""Option chains for the pages that show them: heard from the first look on, the newest of each underlying."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.bus import Bus
from shared.messages.market import ChainSnapshot, IndexPrice, InstrumentList
from shared.messages.steps import Inbound, StreamSynced

if TYPE_CHECKING:
    from shared.options.chain import ChainView, OptionList


_LOOKS, _LOOK_PAUSE_S = 25, 0.1
"""A chain is published once a second."""


class Market:
    """Nothing is subscribed to before somebody looks: chains are most of the bus's bytes."""

    def __init__(self, bus: Bus, underlyings: tuple[str, ...]) -> None:
        self.underlyings = underlyings
        self._bus = bus
        self._heard: set[str] = set()
        self._lists: dict[str, OptionList] = {}
        self._chains: dict[str, ChainSnapshot] = {}
        self._index: dict[str, IndexPrice] = {}

    def chain(self, underlying: str) -> ChainView | None:
        """The newest chain; None while none was heard, or its list of instruments is missing."""
        # imported here because arrays take memory that a desk without a viewer does not need
        from shared.options.chain import ChainView

        self._listen(underlying, "instruments", "chain", "index")
        snapshot = self._chains.get(underlying)
        listed = None if snapshot is None else self._lists.get(snapshot.list_id)
        return None if snapshot is None or listed is None else ChainView(snapshot, listed)

    async def next_chain(self, underlying: str) -> ChainView | None:
        """The newest chain, waited for a moment when it is looked at for the first time."""
        for _ in range(_LOOKS):
            view = self.chain(underlying)
            if view is not None:
                return view
            await asyncio.sleep(_LOOK_PAUSE_S)
        return None

    def index_price(self, underlying: str) -> float | None:
        """The newest index in USD; None before the first."""
        self._listen(underlying, "index")
        index = self._index.get(underlying)
        return None if index is None else index.price

    async def next_index_price(self, underlying: str) -> float | None:
        """The newest index, waited for a moment when it is looked at for the first time."""
        for _ in range(_LOOKS):
            price = self.index_price(underlying)
            if price is not None:
                return price
            await asyncio.sleep(_LOOK_PAUSE_S)
        return None

    def _listen(self, underlying: str, *names: str) -> None:
        topics = {f"md.{underlying}.{name}" for name in names} - self._heard
        if topics and underlying in self.underlyings:
            self._heard |= topics
            self._bus.subscribe("marketdata", sorted(topics), self._hear)

    def _hear(self, item: Inbound | StreamSynced) -> None:
        # imported here, as above
        from shared.options.chain import OptionList

        match item:
            case Inbound(message=InstrumentList() as listed):
                self._lists = {
                    key: each
                    for key, each in self._lists.items()
                    if key in {c.list_id for c in self._chains.values()}
                }
                self._lists[listed.list_id] = OptionList(listed)
            case Inbound(message=ChainSnapshot() as snapshot):
                self._chains[snapshot.underlying] = snapshot
            case Inbound(message=IndexPrice() as index):
                self._index[index.underlying] = index
            case _:
                pass
