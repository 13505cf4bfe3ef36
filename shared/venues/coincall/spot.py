"""Spot of Coincall, over the REST client of options: one budget of calls, one breaker. Coins are in the account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from shared.messages.contracts import ContractOrder, SpotSpec, SpotTicker
from shared.messages.on_demand import Kline, KlinePeriod, MarketTrade
from shared.messages.venue import (
    CancelAcked,
    CancelRefused,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueFill,
    VenueOrder,
)
from shared.venues.coincall import build, errors, parse_spot, spot_stream
from shared.venues.coincall import contract_endpoints as endpoints
from shared.venues.coincall.endpoints import Endpoint
from shared.venues.coincall.errors import NOT_SENT_CODE
from shared.venues.coincall.futures import read
from shared.venues.coincall.history import windows
from shared.venues.coincall.limits import Lane
from shared.venues.coincall.parse import NS_PER_MS
from shared.venues.coincall.rest import RestClient
from shared.venues.coincall.sign import Value
from shared.venues.coincall.spot_stream import (
    ACCOUNT_STREAM,
    ACCOUNT_TOPICS,
    OpenSpotStream,
    SpotMarketStream,
    SpotPush,
)
from shared.venues.ports import BookPush, VenueError

LIST_MAX = 1_000
"""Rows of one answer. The lists of spot have no pages: a full one is asked for again from its newest row on."""
_TRADES_MAX = 100

T = TypeVar("T", VenueOrder, VenueFill)


class CoincallSpot:
    """Spot of one account, by the rules of option orders: each call is sent once, every outcome is returned, a code
    outside the table of refusals is an unknown outcome. There are neither amendments nor reduce-only orders."""

    def __init__(self, rest: RestClient, open_stream: OpenSpotStream, on_skipped: Callable[[str], None]) -> None:
        self._rest = rest
        self._open_stream = open_stream
        self._on_skipped = on_skipped

    async def specifications(self) -> tuple[SpotSpec, ...]:
        """The pairs against USDT that can be traded."""
        data = await self._rest.read(endpoints.SPOT_INSTRUMENTS, {"limit": LIST_MAX})
        return read(lambda body: parse_spot.parse_specifications(body, self._on_skipped), data)

    async def ticker(self, symbol: str) -> SpotTicker:
        """Last price and index of one pair."""
        data = await self._rest.read(endpoints.SPOT_OVERVIEW, {"symbol": symbol})
        found = read(parse_spot.parse_ticker, data)
        if found.symbol != symbol:
            raise VenueError("unknown", f"overview of {found.symbol}, asked for {symbol}")
        return found

    async def order_book(self, symbol: str, depth: int = 50) -> BookPush:
        data = await self._rest.read(endpoints.SPOT_BOOK, {"symbol": symbol, "depth": depth})
        return read(lambda body: parse_spot.parse_book(body, symbol), data)

    async def last_trades(self, symbol: str) -> tuple[MarketTrade, ...]:
        """Newest first."""
        data = await self._rest.read(endpoints.SPOT_LAST_TRADES, {"symbol": symbol, "limit": _TRADES_MAX})
        return read(parse_spot.parse_trades, data)

    async def klines(self, symbol: str, period: KlinePeriod, start_ns: int, end_ns: int) -> tuple[Kline, ...]:
        """The bars that begin in that range, oldest first."""
        params: dict[str, Value] = {
            "symbol": symbol,
            "interval": parse_spot.INTERVALS[period],
            "start": start_ns // NS_PER_MS,
            "end": end_ns // NS_PER_MS,
            "limit": LIST_MAX,
        }
        data = await self._rest.read(endpoints.SPOT_KLINES, params)
        return read(lambda body: parse_spot.parse_klines(body, period), data)

    def market_stream(self, symbols: Sequence[str], deliver: Callable[[SpotPush], None]) -> SpotMarketStream:
        """Books, trades and tickers of these pairs by the public socket, which needs no key."""
        return SpotMarketStream(symbols, deliver, self._open_stream)

    async def stream_account(self, deliver: Callable[[VenueOrder | VenueFill | StreamUp | StreamDown], None]) -> None:
        """Orders and fills until cancelled; reconnects by itself. Reconcile after each StreamUp."""
        await self._open_stream(
            ACCOUNT_STREAM, True, lambda: ACCOUNT_TOPICS, spot_stream.account_reader(deliver), deliver
        ).run()

    async def place(self, order: ContractOrder) -> OrderAcked | OrderRefused | OutcomeUnknown:
        """Send one order, once. What spot cannot do is refused here: OrderRefused with code 0 and "not sent: ..."."""
        wrong = _impossible(order)
        if wrong is not None:
            return OrderRefused(
                client_order_id=order.client_order_id, kind="rejected", code=NOT_SENT_CODE, text=f"not sent: {wrong}"
            )
        lane: Lane = "close" if order.side == "sell" else "open"
        result = await self._rest.send(endpoints.CREATE_SPOT_ORDER, build.spot_order(order), lane)
        return errors.place_outcome(order.client_order_id, result)

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Ask for one cancel, once."""
        params: dict[str, Value] = {name: str(value) for name, value in build.order_reference(order).items()}
        result = await self._rest.send(endpoints.CANCEL_SPOT_ORDER, params, "cancel")
        return errors.cancel_outcome(order.client_order_id, result)

    async def cancel_symbol(self, symbol: str) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Cancel every order of the account in one pair (client_order_id 0 in the answer)."""
        result = await self._rest.send(endpoints.CANCEL_SPOT_SYMBOL, {"symbol": symbol}, "cancel")
        return errors.cancel_outcome(0, result)

    async def order(self, client_order_id: int) -> VenueOrder | None:
        """Query one order; None when the venue does not know it among those of spot."""
        answer = await self._rest.read_answer(endpoints.SPOT_ORDER, {"clientOrderId": str(client_order_id)})
        if errors.is_not_found(answer):
            return None
        kind = errors.kind_of(answer)
        if kind is not None:
            raise VenueError(kind, f"spot order: {errors.describe(answer)}", answer.code)
        if answer.data == b"null":
            return None
        found = read(parse_spot.parse_order, answer.data)
        if found.client_order_id != client_order_id:
            raise VenueError("unknown", f"spot order: asked for {client_order_id}, told of {found.client_order_id}")
        return found

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        data = await self._rest.read(endpoints.SPOT_OPEN_ORDERS)
        rows = read(lambda body: parse_spot.parse_rows(body, parse_spot.parse_order, self._on_skipped), data)
        return tuple(row for row in rows if row is not None)

    async def order_history(self, symbol: str, since_ns: int) -> tuple[VenueOrder, ...]:
        """Orders of one pair created since then, open ones too, oldest first."""
        rows = await self._since(
            endpoints.SPOT_ALL_ORDERS,
            symbol,
            since_ns,
            parse_spot.parse_order,
            lambda row: (row.created_ns, row.venue_order_id),
        )
        return tuple(rows)

    async def fills(self, symbol: str, since_ns: int) -> tuple[VenueFill, ...]:
        """Executions in one pair since then, oldest first."""
        rows = await self._since(
            endpoints.SPOT_FILLS,
            symbol,
            since_ns,
            parse_spot.parse_fill,
            lambda row: (row.venue_ns, row.venue_trade_id),
        )
        return tuple(rows)

    async def _since(
        self,
        endpoint: Endpoint,
        symbol: str,
        since_ns: int,
        read_row: Callable[[msgspec.Raw], T],
        key_of: Callable[[T], tuple[int, int]],
    ) -> list[T]:
        """All rows of a list that tells the newest first; a full answer is gone on with before its oldest row."""
        found: dict[tuple[int, int], T] = {}
        for start_ms, last_ms in windows(since_ns, self._rest.venue_now_ns()):
            end_ms = last_ms
            while True:
                params: dict[str, Value] = {
                    "symbol": symbol,
                    "limit": LIST_MAX,
                    "startTime": start_ms,
                    "endTime": end_ms,
                }
                data = await self._rest.read(endpoint, params)
                listed = read(lambda body: parse_spot.parse_rows(body, read_row, self._on_skipped), data)
                rows = [row for row in listed if row is not None]
                if len(listed) >= LIST_MAX and not rows:
                    raise VenueError("unknown", f"{endpoint.name}: none of {LIST_MAX} rows can be read")
                found |= {key_of(row): row for row in rows}
                oldest_ms = min((key_of(row)[0] for row in rows), default=0) // NS_PER_MS
                if len(listed) < LIST_MAX or oldest_ms <= start_ms:
                    break
                if oldest_ms >= end_ms:
                    raise VenueError("unknown", f"{endpoint.name}: more than {LIST_MAX} rows in one millisecond")
                end_ms = oldest_ms
        return [found[key] for key in sorted(found)]


def _impossible(order: ContractOrder) -> str | None:
    if order.order_type in ("stop_limit", "stop_market"):
        return "spot has no stop orders"
    if order.time_in_force != "GTC":
        return f"spot has no time in force {order.time_in_force}"
    return "spot has no reduce-only orders" if order.reduce_only else None
