"""Coincall behind the desk's ports: market data, account and option orders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from shared.messages.market import Instrument
from shared.messages.on_demand import Kline, KlinePeriod, MarketTrade
from shared.messages.rfq import (
    AcceptRefused,
    AcceptUnknown,
    BlockTrade,
    QuoteAccepted,
    RfqCancelled,
    RfqCancelRefused,
    RfqCancelUnknown,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
)
from shared.messages.venue import (
    AmendAcked,
    Amendment,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    CountdownRefused,
    CountdownSet,
    CountdownUnknown,
    FundingPayment,
    NewOrder,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueAccount,
    VenueExercise,
    VenueFill,
    VenueHolding,
    VenueOrder,
    VenuePosition,
    VenueTransfer,
)
from shared.tasks import spawn
from shared.venues.coincall import (
    book_stream,
    build,
    endpoints,
    errors,
    history,
    parse,
    parse_on_demand,
    parse_rfq,
    rfq,
    sign,
    spot_stream,
    wire,
)
from shared.venues.coincall.batches import Amended, Batches, Cancelled, Placed, cancelled_together
from shared.venues.coincall.book_stream import CoincallBookStream
from shared.venues.coincall.endpoints import CoincallEndpoints
from shared.venues.coincall.futures import CoincallFutures
from shared.venues.coincall.limits import Lane
from shared.venues.coincall.liveness import LivenessLimits
from shared.venues.coincall.parse import NS_PER_MS, ParseError
from shared.venues.coincall.rest import KeyPair, OnCall, OnWait, RestClient
from shared.venues.coincall.spot import CoincallSpot
from shared.venues.coincall.stream import Subscription, VenueStream
from shared.venues.ports import AccountPush, BookPush, ChainPush, IndexPush, KeyInfo, LastTradesPush, VenueError

_CHAIN, _SPOT_PRICE, _FUTURES_BOOK = 4, 30, 32
_ACCOUNT_CHANNELS: dict[int, Callable[[msgspec.Raw], AccountPush]] = {
    11: parse.parse_order_frame,
    15: parse.parse_trade_frame,
    22: parse_rfq.parse_block_trade,
    129: parse_rfq.parse_rfq,
    131: parse_rfq.parse_quote,
}
_ACCOUNT_SUBSCRIPTIONS = (
    Subscription("order"),
    Subscription("trade"),
    Subscription("rfqTaker", optional=True),
    Subscription("quoteReceived", optional=True),
    Subscription("blockTradeDetail", optional=True),
)
"""An account without requests for quote still has its orders."""

T = TypeVar("T")


class CoincallGateway:
    """MarketGateway and TradingGateway of one Coincall account.

    Underlyings are the venue's pairs ("BTCUSD"). `budget_share` is this process's part of those rate limits of
    the venue in which several processes meet: they count per user. `orders_per_s`: how many order calls of each kind,
    where the venue's pages disagree; None is the stricter figure. `on_call(endpoint, outcome, seconds)` is told of
    every REST call, `on_wait(limit group, seconds)` of every one that had to wait for room in a rate limit,
    `on_stream(name, is up)` of every stream that came up or was lost, `on_skipped(reason)` of every row and frame
    that could not be used. Time-outs, repetition and outcomes follow the tables in `endpoints` and `errors`.
    """

    def __init__(
        self,
        endpoints: CoincallEndpoints,
        api_key: KeyPair,
        *,
        budget_share: float = 1.0,
        orders_per_s: int | None = None,
        on_call: OnCall | None = None,
        on_wait: OnWait | None = None,
        on_stream: Callable[[str, bool], None] | None = None,
        on_skipped: Callable[[str], None] | None = None,
        backoff_s: Sequence[float] = (1.0, 2.0, 4.0),
        liveness: LivenessLimits | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._api_key = api_key
        self._rest = RestClient(
            endpoints.rest,
            api_key,
            budget_share=budget_share,
            orders_per_s=orders_per_s,
            backoff_s=backoff_s,
            on_call=on_call,
            on_wait=on_wait,
        )
        self._batches = Batches(self._rest, self.place, self.amend)
        self._on_skipped = on_skipped or _ignore
        self._unnamed_expiries_ns: dict[str, int] = {}
        self._on_stream = on_stream or _ignore
        self._liveness = liveness
        self.futures = CoincallFutures(self._rest, self._futures_stream, self._on_skipped)
        """Perpetuals and dated futures of the same account."""
        self.spot = CoincallSpot(self._rest, self._spot_stream, self._on_skipped)
        """Its coins."""

    def __repr__(self) -> str:
        return f"CoincallGateway({self._endpoints.rest})"

    @property
    def breaker_is_open(self) -> bool:
        """Whether the venue failed so often that no opening order is sent and reads are probes."""
        return self._rest.breaker_is_open

    @property
    def clock_offset_ns(self) -> int:
        """Venue clock minus ours as it was measured last; 0 before."""
        return self._rest.clock_offset_ns

    async def start(self) -> None:
        """Measure the venue's clock, if it answers; every call works without this too."""
        try:
            await self._rest.measure_offset_ns()
        except VenueError as error:
            self._on_skipped(f"the venue's clock could not be measured: {error}")

    async def keep_warm(self) -> None:
        """Keep connections open that orders can leave on at once, until cancelled."""
        await self._rest.keep_warm()

    async def close(self) -> None:
        await self._rest.close()

    async def server_time_offset_ns(self) -> int:
        return await self._rest.measure_offset_ns()

    async def key_info(self) -> KeyInfo:
        return _parsed(parse.parse_key_info, await self._rest.read(endpoints.KEY_INFO))

    async def instruments(self, underlying: str) -> tuple[Instrument, ...]:
        """Tradable options of a pair. Raises VenueError."""
        listed = await self._rest.read(endpoints.INSTRUMENTS, base=underlying.removesuffix("USD"))
        config = await self._rest.read(endpoints.CONFIG)
        options = _parsed(lambda data: parse.parse_instruments(data, config, underlying, self._on_skipped), listed)
        self._remember_expiries(options)
        return options

    def _remember_expiries(self, options: Sequence[Instrument]) -> None:
        """Those that symbols do not tell, until they are over: in its last minutes an option is listed no more and
        still pushed."""
        now_ns = self._rest.venue_now_ns()
        kept = {symbol: expiry_ns for symbol, expiry_ns in self._unnamed_expiries_ns.items() if expiry_ns > now_ns}
        for option in options:
            kept.pop(option.symbol, None)
            if option.expiry_ns != parse.option_of(option.symbol).expiry_ns:
                kept[option.symbol] = option.expiry_ns
        self._unnamed_expiries_ns = kept

    async def funding_payments(self, symbol: str, since_ns: int) -> tuple[FundingPayment, ...]:
        """Funding of one perpetual since then, oldest first."""
        return await self.futures.funding(symbol, since_ns)

    async def future(self, symbol: str) -> Instrument:
        """A perpetual or dated future as the desk lists it."""
        return await self.futures.instrument(symbol)

    async def chain(self, underlying: str, expiry_ns: int) -> ChainPush:
        params: dict[str, sign.Value] = {"endTime": expiry_ns // NS_PER_MS}
        data = await self._rest.read(endpoints.CHAIN, params, index=underlying)
        venue_ns = self._rest.venue_now_ns()
        return _parsed(lambda body: parse.parse_chain(body, underlying, expiry_ns, venue_ns, self._on_skipped), data)

    async def index_price(self, underlying: str) -> IndexPush:
        data = await self._rest.read(endpoints.FUTURES_SYMBOL, {"symbol": underlying})
        venue_ns = self._rest.venue_now_ns()
        return _parsed(lambda body: parse.parse_index(body, underlying, venue_ns), data)

    async def order_book(self, symbol: str) -> BookPush:
        data = await self._rest.read(endpoints.ORDER_BOOK, symbol=symbol)
        return _parsed(lambda body: parse_on_demand.parse_book(body, symbol), data)

    async def last_trades(self, symbol: str) -> tuple[MarketTrade, ...]:
        return _parsed(parse_on_demand.parse_last_trades, await self._rest.read(endpoints.LAST_TRADES, symbol=symbol))

    async def klines(self, symbol: str, period: KlinePeriod, start_ns: int, end_ns: int) -> tuple[Kline, ...]:
        params: dict[str, sign.Value] = {
            "period": parse_on_demand.PERIODS[period],
            "start": start_ns // NS_PER_MS,
            "end": end_ns // NS_PER_MS,
        }
        data = await self._rest.read(endpoints.KLINES, params, symbol=symbol)
        return _parsed(lambda body: parse_on_demand.parse_klines(body, self._on_skipped), data)

    async def account(self) -> VenueAccount:
        return _parsed(parse.parse_account, await self._rest.read(endpoints.ACCOUNT_SUMMARY))

    async def holdings(self, *needed: str) -> dict[str, VenueHolding]:
        """The assets of the account, those without any too; USDT is always among them. Raises VenueError when it or
        one that is `needed` cannot be read; others are left out then."""
        summary = await self._rest.read(endpoints.ACCOUNT_SUMMARY)
        return _parsed(lambda body: parse.parse_holdings(body, needed), summary)

    async def positions(self) -> tuple[VenuePosition, ...]:
        return _parsed(parse.parse_positions, await self._rest.read(endpoints.POSITIONS))

    async def transfers(self, since_ns: int) -> tuple[VenueTransfer, ...]:
        return await history.transfers(self._rest, since_ns)

    async def place(self, order: NewOrder) -> OrderAcked | OrderRefused | OutcomeUnknown:
        """Send one order, once. A call that never left is OrderRefused, kind "throttled", code 0, "not sent: ..."."""
        result = await self._rest.send(
            endpoints.CREATE_ORDER, build.new_order(order), "close" if order.reduce_only else "open"
        )
        return errors.place_outcome(order.client_order_id, result)

    async def amend(self, change: Amendment) -> AmendAcked | AmendRefused | AmendUnknown:
        """Ask for one amendment, once. One that never left is AmendRefused with code 0 and "not sent: ..."."""
        lane: Lane = "close" if change.reduce_only else "open"
        result = await self._rest.send(endpoints.MODIFY_ORDER, build.amendment(change), lane)
        return errors.amend_outcome(change.order.client_order_id, result)

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Ask for one cancel, once. One that never left is CancelRefused with code 0 and "not sent: ..."."""
        result = await self._rest.send(endpoints.CANCEL_ORDER, build.order_reference(order), "cancel")
        return errors.cancel_outcome(order.client_order_id, result)

    async def cancel_all(self, underlying: str) -> CancelAcked | CancelRefused | OutcomeUnknown:
        result = await self._rest.send(endpoints.CANCEL_INDEX, {}, "cancel", index=underlying)
        return errors.cancel_outcome(0, result)

    async def place_batch(self, orders: Sequence[NewOrder]) -> tuple[Placed, ...]:
        return await self._batches.place(orders)

    async def amend_batch(self, changes: Sequence[Amendment]) -> tuple[Amended, ...]:
        return await self._batches.amend(changes)

    async def cancel_batch(self, orders: Sequence[OrderRef]) -> tuple[Cancelled, ...]:
        return await cancelled_together(self._rest, orders, self.cancel)

    async def set_countdown(
        self, underlying: str, countdown_ms: int
    ) -> CountdownSet | CountdownRefused | CountdownUnknown:
        """Have the venue cancel every order of the underlying after so long, counted anew; 0: never."""
        result = await self._rest.send(endpoints.SET_COUNTDOWN, build.countdown(underlying, countdown_ms), "cancel")
        return errors.countdown_outcome(underlying, countdown_ms, result)

    async def order(self, client_order_id: int) -> VenueOrder | None:
        answer = await self._rest.read_answer(endpoints.SINGLE_ORDER, {"clientOrderId": client_order_id})
        if errors.is_not_found(answer):
            return None
        kind = errors.kind_of(answer)
        if kind is not None:
            raise VenueError(kind, f"order: {errors.describe(answer)}", answer.code)
        if answer.data == b"null":
            return None
        found = _parsed(parse.parse_order, answer.data)
        if found.client_order_id != client_order_id:
            raise VenueError("unknown", f"order: asked for {client_order_id}, told of {found.client_order_id}")
        return found

    async def create_rfq(
        self, rfq_id: str, legs: Sequence[RfqLeg], *, closes: bool
    ) -> RfqCreated | RfqRefused | RfqUnknown:
        return await rfq.create(self._rest, rfq_id, legs, "close" if closes else "open")

    async def cancel_rfq(self, request_id: str) -> RfqCancelled | RfqCancelRefused | RfqCancelUnknown:
        return await rfq.cancel(self._rest, request_id)

    async def accept_quote(
        self, request_id: str, quote_id: str, *, closes: bool
    ) -> QuoteAccepted | AcceptRefused | AcceptUnknown:
        return await rfq.accept(self._rest, request_id, quote_id, "close" if closes else "open")

    async def quotes_received(self, request_id: str) -> tuple[VenueQuote, ...]:
        return await rfq.quotes_received(self._rest, request_id, self._on_skipped)

    async def rfqs(self, since_ns: int) -> tuple[VenueRfq, ...]:
        return await rfq.requests(self._rest, since_ns)

    async def block_trades(self, since_ns: int) -> tuple[BlockTrade, ...]:
        return await rfq.block_trades(self._rest, since_ns)

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        return await history.open_orders(self._rest)

    async def order_history(self, since_ns: int) -> tuple[VenueOrder, ...]:
        return await history.order_history(self._rest, since_ns)

    async def fills(self, since_ns: int) -> tuple[VenueFill, ...]:
        return await history.fills(self._rest, since_ns)

    async def exercises(self, since_ns: int) -> tuple[VenueExercise, ...]:
        return await history.exercises(self._rest, since_ns)

    async def deliveries(self, since_ns: int) -> tuple[VenueExercise, ...]:
        return await self.futures.settlements(since_ns)

    async def stream_account(self, deliver: Callable[[AccountPush | StreamUp | StreamDown], None]) -> None:
        """Orders, trades and requests for quote of the account until cancelled; see the port."""

        def on_data(code: int, data: msgspec.Raw, _ts_ms: int | None) -> Sequence[str]:
            read = _ACCOUNT_CHANNELS.get(code)
            if read is None:
                raise ParseError(f"data type {code} was not asked for")
            deliver(read(data))
            return ()

        await self._stream(
            "account",
            self._endpoints.ws_options,
            lambda: _ACCOUNT_SUBSCRIPTIONS,
            on_data,
            deliver,
        ).run()

    async def stream_market(
        self,
        underlyings: Sequence[str],
        expiries_ns: Callable[[str], Sequence[int]],
        deliver: Callable[[ChainPush | IndexPush | BookPush | StreamUp | StreamDown], None],
        futures: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Chains over the option socket, indices and books of futures over the futures socket until cancelled.

        Each socket reports its own StreamUp and StreamDown; a reason begins with "chains" or "indices".
        """

        def wanted_chains() -> list[Subscription]:
            return [
                Subscription("tOption", (("symbol", name), ("end", expiry // NS_PER_MS)), _chain_stream(name, expiry))
                for name in underlyings
                for expiry in expiries_ns(name)
            ]

        def wanted_indices() -> list[Subscription]:
            indices = [Subscription("spotPrice", (("symbol", name),), _index_stream(name)) for name in underlyings]
            books = [Subscription("orderBook", (("symbol", name),), optional=True) for name in futures()]
            return [*indices, *books]

        def on_chain(code: int, data: msgspec.Raw, ts_ms: int | None) -> Sequence[str]:
            if code != _CHAIN:
                raise ParseError(f"data type {code} was not asked for")
            pushes = parse.parse_chain_frame(data, ts_ms, self._on_skipped, self._unnamed_expiries_ns)
            for push in pushes:
                deliver(push)
            return [_chain_stream(push.underlying, push.expiry_ns) for push in pushes]

        def on_index(code: int, data: msgspec.Raw, ts_ms: int | None) -> Sequence[str]:
            if code == _FUTURES_BOOK:
                deliver(parse_on_demand.parse_book_frame(data, ts_ms))
                return ()
            if code != _SPOT_PRICE:
                raise ParseError(f"data type {code} was not asked for")
            push = parse.parse_index_frame(data, ts_ms)
            deliver(push)
            return (_index_stream(push.underlying),)

        chains = self._stream("chains", self._endpoints.ws_options, wanted_chains, on_chain, deliver)
        indices = self._stream("indices", self._endpoints.ws_futures, wanted_indices, on_index, deliver)
        tasks = [spawn(chains.run(), name="coincall chains"), spawn(indices.run(), name="coincall indices")]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def book_stream(
        self, deliver: Callable[[BookPush | LastTradesPush | StreamUp | StreamDown], None]
    ) -> CoincallBookStream:
        """Order books and trades of the option socket; see the port."""
        return CoincallBookStream(
            deliver,
            lambda wanted, on_data: self._stream(
                book_stream.STREAM, self._endpoints.ws_options, wanted, on_data, deliver
            ),
        )

    def _futures_stream(
        self,
        name: str,
        wanted: Callable[[], Sequence[Subscription]],
        on_data: Callable[[int, msgspec.Raw, int | None], Sequence[str]],
        on_state: Callable[[StreamUp | StreamDown], None],
    ) -> VenueStream:
        return self._stream(name, self._endpoints.ws_futures, wanted, on_data, on_state)

    def _spot_stream(
        self,
        name: str,
        private: bool,
        wanted: Callable[[], Sequence[Subscription]],
        on_data: Callable[[int, msgspec.Raw, int | None], Sequence[str]],
        on_state: Callable[[StreamUp | StreamDown], None],
    ) -> VenueStream:
        def address() -> str:
            if not private:
                return self._endpoints.ws_spot
            ts_ms = self._rest.venue_now_ns() // NS_PER_MS
            return sign.spot_stream_url(
                self._endpoints.ws_spot_private, self._api_key.key, self._api_key.secret, ts_ms
            )

        return self._made(name, address, wanted, on_data, on_state, spot_stream.read_frame)

    def _stream(
        self,
        name: str,
        base: str,
        wanted: Callable[[], Sequence[Subscription]],
        on_data: Callable[[int, msgspec.Raw, int | None], Sequence[str]],
        on_state: Callable[[StreamUp | StreamDown], None],
    ) -> VenueStream:
        def address() -> str:
            ts_ms = self._rest.venue_now_ns() // NS_PER_MS
            return sign.stream_url(base, self._api_key.key, self._api_key.secret, ts_ms)

        return self._made(name, address, wanted, on_data, on_state)

    def _made(
        self,
        name: str,
        address: Callable[[], str],
        wanted: Callable[[], Sequence[Subscription]],
        on_data: Callable[[int, msgspec.Raw, int | None], Sequence[str]],
        on_state: Callable[[StreamUp | StreamDown], None],
        read_frame: Callable[[bytes], wire.Frame] | None = None,
    ) -> VenueStream:
        def told(state: StreamUp | StreamDown) -> None:
            self._on_stream(name, isinstance(state, StreamUp))
            on_state(state)

        return VenueStream(
            name,
            address=address,
            wanted=wanted,
            on_data=on_data,
            on_state=told,
            on_skipped=self._on_skipped,
            limits=self._liveness,
            read_frame=read_frame,
        )


def _parsed(reader: Callable[[bytes], T], data: bytes) -> T:
    try:
        return reader(data)
    except ParseError as error:
        raise VenueError("unknown", str(error)) from None


def _chain_stream(underlying: str, expiry_ns: int) -> str:
    return f"chain {underlying} {expiry_ns // NS_PER_MS}"


def _index_stream(underlying: str) -> str:
    return f"index {underlying}"


def _ignore(*_: object) -> None:
    return None
