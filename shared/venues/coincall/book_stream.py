"""Order books and trades over a socket of their own, open only while some are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from shared.tasks import spawn
from shared.venues.coincall.parse import ParseError
from shared.venues.coincall.parse_on_demand import parse_book_frame, parse_last_trades_frame
from shared.venues.coincall.stream import Subscription, VenueStream
from shared.venues.ports import BookPush, LastTradesPush

_ORDER_BOOK, _LAST_TRADE = 5, 6
STREAM = "books"

OnData = Callable[[int, msgspec.Raw, int | None], Sequence[str]]


class CoincallBookStream:
    """See `BookStream` of the ports.

    The socket is apart from that of the chains, so that books can fail without them. A book may rightly be silent,
    so its silence alone ends no connection: who uses it compares it with what REST says, and asks to `renew` it.
    """

    def __init__(
        self,
        deliver: Callable[[BookPush | LastTradesPush], None],
        make_stream: Callable[[Callable[[], Sequence[Subscription]], OnData], VenueStream],
    ) -> None:
        self._deliver = deliver
        self._books: dict[str, Subscription] = {}
        self._trades: dict[str, Subscription] = {}
        self._changed = asyncio.Event()
        self._connection: asyncio.Task[None] | None = None
        self._stream = make_stream(lambda: (*self._books.values(), *self._trades.values()), self._on_data)

    def want(self, symbols: Sequence[str]) -> None:
        self._books, self._trades = (
            {symbol: Subscription(data_type, (("symbol", symbol),), optional=True) for symbol in symbols}
            for data_type in ("orderBook", "lastTrade")
        )
        if not self._books and self._connection is not None:
            self._connection.cancel()
        self._stream.refresh()
        self._changed.set()

    def renew(self, symbol: str) -> None:
        subscription = self._books.get(symbol)
        if subscription is not None:
            self._stream.renew(subscription)

    async def run(self) -> None:
        changed: asyncio.Task[bool] | None = None
        try:
            while True:
                if self._books and self._connection is None:
                    self._connection = spawn(self._stream.run(), name="coincall books", on_error=_raised_by_run)
                self._changed.clear()
                changed = spawn(self._changed.wait(), name="coincall books wanted")
                connection = self._connection
                await asyncio.wait([changed, *([connection] if connection else [])], return_when="FIRST_COMPLETED")
                changed.cancel()
                if connection is not None and connection.done():
                    if not connection.cancelled():
                        connection.result()
                    self._connection = None
        finally:
            for task in (self._connection, changed):
                if task is not None:
                    task.cancel()
            self._connection = None

    def _on_data(self, code: int, data: msgspec.Raw, ts_ms: int | None) -> Sequence[str]:
        if code == _ORDER_BOOK:
            self._deliver(parse_book_frame(data, ts_ms))
        elif code == _LAST_TRADE:
            for push in parse_last_trades_frame(data):
                self._deliver(push)
        else:
            raise ParseError(f"data type {code} was not asked for")
        return ()


def _raised_by_run(_error: BaseException) -> None:
    """Whoever awaits `run` gets it."""
