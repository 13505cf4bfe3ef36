"""REST where a stream is silent: options first, and nothing that cannot be read keeps the rest from being."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from services.marketdata.core import MarketdataCore
from services.marketdata.effects import BookRead, MarketRead
from shared.options.instruments import underlying_of
from shared.venues.coincall import CoincallGateway
from shared.venues.ports import VenueError

_REFUSED_PAUSE_NS = 30_000_000_000
"""How long what the venue refuses is not asked for again."""

_MS = 1_000_000


class SilentPoll:
    """Reads what was not received for `silence_ms`. A venue that is away or throttles ends a round; what it refuses,
    or answers with what cannot be read, is left out of it and tried again later."""

    def __init__(
        self,
        gateway: CoincallGateway,
        pairs: tuple[str, ...],
        put: Callable[[Any], None],
        now_ns: Callable[[], int],
        log: Any,
        silence_ms: int,
    ) -> None:
        self._gateway = gateway
        self._pairs = pairs
        self._put = put
        self._now_ns = now_ns
        self._log = log
        self._silence_ms = silence_ms
        self._due_ns: dict[str, int] = {}

    async def round(self, core: MarketdataCore, underlying: str) -> None:
        """One look at everything of an underlying. Raises VenueError when the venue is away or throttles."""
        now_ns, silence_ms = self._now_ns, self._silence_ms
        if core.index_is_silent(underlying, now_ns(), silence_ms):
            await self._tried(f"index of {underlying}", partial(self._read_index, underlying))
        for expiry_ns in core.silent_expiries(underlying, now_ns(), silence_ms):
            await self._tried(f"{underlying} {expiry_ns}", partial(self._read_chain, underlying, expiry_ns))
        for symbol in core.silent_futures(underlying, now_ns(), silence_ms):
            await self._tried(symbol, partial(self._read_future, symbol))
        pair = next((name for name in self._pairs if underlying_of(name) == underlying), "")
        spot = core.spot(pair)
        if spot is not None and spot.is_silent(now_ns(), silence_ms * _MS):
            await self._tried(pair, partial(self._read_pair, pair))

    async def _tried(self, what: str, read: Callable[[], Awaitable[None]]) -> None:
        if self._now_ns() < self._due_ns.get(what, 0):
            return
        self._due_ns.pop(what, None)
        try:
            await read()
        except VenueError as error:
            if error.kind not in ("rejected", "unknown"):
                raise
            self._log.info("poll failed", what=what, kind=error.kind, reason=str(error))
            now_ns = self._now_ns()
            # what has expired is never asked for again
            self._due_ns = {name: due_ns for name, due_ns in self._due_ns.items() if due_ns > now_ns}
            self._due_ns[what] = now_ns + _REFUSED_PAUSE_NS

    async def _read_future(self, symbol: str) -> None:
        self._put(await self._gateway.futures.order_book(symbol))

    async def _read_index(self, underlying: str) -> None:
        self._put(MarketRead(push=await self._gateway.index_price(underlying)))

    async def _read_chain(self, underlying: str, expiry_ns: int) -> None:
        self._put(MarketRead(push=await self._gateway.chain(underlying, expiry_ns)))

    async def _read_pair(self, pair: str) -> None:
        asked_ns = self._now_ns()
        self._put(BookRead(asked_ns=asked_ns, book=await self._gateway.spot.order_book(pair)))
        self._put(await self._gateway.spot.ticker(pair))
