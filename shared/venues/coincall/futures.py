"""Perpetuals and dated futures of Coincall, over the REST client of options: one budget of calls, one breaker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from shared.messages.contracts import (
    ContractOrder,
    FundingRate,
    FuturesDelivery,
    FuturesPosition,
    FuturesSpec,
    FuturesTicker,
    LeverageRefused,
    LeverageSet,
    LeverageUnknown,
)
from shared.messages.market import Instrument
from shared.messages.on_demand import Kline, KlinePeriod, MarketTrade
from shared.messages.venue import (
    AmendAcked,
    Amendment,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    FundingPayment,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    StreamDown,
    StreamUp,
    VenueExercise,
    VenueFill,
    VenueOrder,
)
from shared.options.instruments import base_of
from shared.options.listed_futures import listed_future
from shared.venues.coincall import build, errors, history, parse, parse_futures, parse_on_demand
from shared.venues.coincall import contract_endpoints as endpoints
from shared.venues.coincall.batches import Cancelled, cancelled_together
from shared.venues.coincall.endpoints import CONFIG
from shared.venues.coincall.limits import Lane
from shared.venues.coincall.parse import NS_PER_MS, ParseError
from shared.venues.coincall.rest import RestClient
from shared.venues.coincall.sign import Value
from shared.venues.coincall.stream import Subscription, VenueStream
from shared.venues.ports import BookPush, VenueError

STREAM = "futures account"
_SUBSCRIPTIONS = (Subscription("order"), Subscription("trade"))

FuturesPush = VenueOrder | VenueFill | StreamUp | StreamDown
OpenStream = Callable[
    [
        str,
        Callable[[], Sequence[Subscription]],
        Callable[[int, msgspec.Raw, int | None], Sequence[str]],
        Callable[[StreamUp | StreamDown], None],
    ],
    VenueStream,
]

T = TypeVar("T")
_KLINES_MAX = 1_000


class CoincallFutures:
    """Futures of one account. Order calls return every outcome and are sent once; reads raise VenueError.

    What holds for options holds here: a code outside the table of refusals is an unknown outcome, which only query,
    open orders and history together resolve.
    """

    def __init__(self, rest: RestClient, open_stream: OpenStream, on_skipped: Callable[[str], None]) -> None:
        self._rest = rest
        self._open_stream = open_stream
        self._on_skipped = on_skipped

    async def specification(self, underlying: str) -> FuturesSpec:
        """Tick, lot and limits of the futures of one underlying."""
        data = await self._rest.read(CONFIG)
        return read(lambda body: parse_futures.parse_specification(body, underlying), data)

    async def instrument(self, symbol: str) -> Instrument:
        """A perpetual, whose symbol is that of its index ("BTCUSD"), or a dated future, as the desk lists it."""
        return listed_future(symbol, await self.specification(f"{base_of(symbol)}USD"))

    async def instruments(self, underlying: str) -> tuple[Instrument, ...]:
        """The futures that are listed of one underlying, by expiry, the perpetual last."""
        found = await self.specification(underlying)
        listed = [each.symbol for each in await self.tickers() if each.underlying == underlying]
        return tuple(sorted((listed_future(symbol, found) for symbol in listed), key=lambda each: each.expiry_ns))

    async def tickers(self) -> tuple[FuturesTicker, ...]:
        """All perpetuals and dated futures that are listed."""
        data = await self._rest.read(endpoints.FUTURES_SYMBOLS)
        return read(lambda body: parse_futures.parse_tickers(body, self._on_skipped), data)

    async def funding_rates(self) -> tuple[FundingRate, ...]:
        """Of the next funding of each perpetual."""
        return read(parse_futures.parse_funding_rates, await self._rest.read(endpoints.FUNDING_RATES))

    async def order_book(self, symbol: str) -> BookPush:
        data = await self._rest.read(endpoints.FUTURES_BOOK, symbol=symbol)
        return read(lambda body: parse_on_demand.parse_book(body, symbol), data)

    async def last_trades(self, symbol: str) -> tuple[MarketTrade, ...]:
        """Newest first."""
        data = await self._rest.read(endpoints.FUTURES_LAST_TRADES, symbol=symbol)
        return read(parse_on_demand.parse_last_trades, data)

    async def klines(self, symbol: str, period: KlinePeriod, start_ns: int, end_ns: int) -> tuple[Kline, ...]:
        """The bars that begin in that range, oldest first."""
        params: dict[str, Value] = {
            "period": parse_on_demand.PERIODS[period],
            "start": start_ns // NS_PER_MS,
            "end": end_ns // NS_PER_MS,
            "limit": _KLINES_MAX,
        }
        data = await self._rest.read(endpoints.FUTURES_KLINES, params, symbol=symbol)
        return read(lambda body: parse_on_demand.parse_klines(body, self._on_skipped), data)

    async def positions(self) -> tuple[FuturesPosition, ...]:
        """Those that are not flat."""
        return read(parse_futures.parse_positions, await self._rest.read(endpoints.FUTURES_POSITIONS))

    async def leverage(self, symbol: str) -> int:
        data = await self._rest.read(endpoints.GET_LEVERAGE, {"symbol": symbol})
        return read(lambda body: parse_futures.parse_leverage(body, symbol), data)

    async def set_leverage(self, symbol: str, leverage: int) -> LeverageSet | LeverageRefused | LeverageUnknown:
        """Ask for it once."""
        result = await self._rest.send(endpoints.SET_LEVERAGE, {"symbol": symbol, "leverage": leverage}, "open")
        refusal = errors.refusal_of(result, frozenset({errors.LEVERAGE_BLOCKED}))
        if refusal is not None:
            return LeverageRefused(symbol=symbol, code=refusal.code, text=refusal.text, kind=refusal.kind)
        if errors.data_of(result) is None:
            return LeverageUnknown(symbol=symbol, reason=errors.reason_of(result))
        return LeverageSet(symbol=symbol, leverage=leverage)

    async def place(self, order: ContractOrder) -> OrderAcked | OrderRefused | OutcomeUnknown:
        """Send one order, once; see `CoincallGateway.place`."""
        lane: Lane = "close" if order.reduce_only else "open"
        result = await self._rest.send(endpoints.CREATE_FUTURES_ORDER, build.contract_order(order), lane)
        return errors.place_outcome(order.client_order_id, result)

    async def amend(self, change: Amendment) -> AmendAcked | AmendRefused | AmendUnknown:
        """Ask for one amendment, once. The answer's order id may be a new one and proves nothing: what counts is the
        id under which the order is seen."""
        lane: Lane = "close" if change.reduce_only else "open"
        result = await self._rest.send(endpoints.MODIFY_FUTURES_ORDER, build.amendment(change), lane)
        return errors.amend_outcome(change.order.client_order_id, result)

    async def cancel(self, order: OrderRef) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Ask for one cancel, once."""
        result = await self._rest.send(endpoints.CANCEL_FUTURES_ORDER, build.order_reference(order), "cancel")
        return errors.cancel_outcome(order.client_order_id, result)

    async def cancel_batch(self, orders: Sequence[OrderRef]) -> tuple[Cancelled, ...]:
        """Ask for each cancel once, up to 40 in one call; outcomes in the order of `orders`."""
        return await cancelled_together(self._rest, orders, self.cancel, endpoints.BATCH_CANCEL_FUTURES)

    async def cancel_symbol(self, symbol: str) -> CancelAcked | CancelRefused | OutcomeUnknown:
        """Cancel every order of the account in one contract, stop orders too."""
        result = await self._rest.send(endpoints.CANCEL_FUTURES_SYMBOL, {}, "cancel", symbol=symbol)
        return errors.cancel_outcome(0, result)

    async def order(self, client_order_id: int) -> VenueOrder | None:
        """Query one order; None when the venue does not know it among futures."""
        answer = await self._rest.read_answer(endpoints.FUTURES_ORDER, {"clientOrderId": client_order_id})
        if errors.is_not_found(answer):
            return None
        kind = errors.kind_of(answer)
        if kind is not None:
            raise VenueError(kind, f"futures order: {errors.describe(answer)}", answer.code)
        if answer.data == b"null":
            return None
        found = read(parse.parse_order, answer.data)
        if found.client_order_id != client_order_id:
            raise VenueError(
                "unknown", f"futures order: asked for {client_order_id}, told of {found.client_order_id}"
            )
        return found

    async def open_orders(self) -> tuple[VenueOrder, ...]:
        """Resting orders and, where the venue lists them, stop orders that wait."""
        return await history.open_orders(self._rest, endpoints.FUTURES_PENDING)

    async def order_history(self, since_ns: int) -> tuple[VenueOrder, ...]:
        return await history.order_history(self._rest, since_ns, endpoints.FUTURES_HISTORY)

    async def fills(self, since_ns: int) -> tuple[VenueFill, ...]:
        return await history.fills(self._rest, since_ns, endpoints.FUTURES_FILLS)

    async def funding(self, symbol: str, since_ns: int) -> tuple[FundingPayment, ...]:
        """Payments of one perpetual since then, oldest first."""
        rows = await history.by_page(
            self._rest, endpoints.FUNDING_PAYMENTS, since_ns, parse_futures.parse_funding_payment, {"symbol": symbol}
        )
        return tuple(sorted(set(rows), key=lambda row: (row.venue_ns, row.payment_id)))

    async def deliveries(self, since_ns: int) -> tuple[FuturesDelivery, ...]:
        """Settlements of dated futures since then, oldest first."""
        rows = await history.by_page(
            self._rest, endpoints.FUTURES_DELIVERIES, since_ns, parse_futures.parse_delivery, {}
        )
        return tuple(sorted(set(rows), key=lambda row: (row.venue_ns, row.symbol)))

    async def settlements(self, since_ns: int) -> tuple[VenueExercise, ...]:
        """The same, each as if its coins were paid at the delivery price."""
        return tuple(
            VenueExercise(
                symbol=each.symbol,
                quantity=each.quantity,
                settlement_price=each.settlement_price,
                settlement_cash_flow_usd=each.quantity * each.settlement_price,
                fee_usd=each.fee_usd,
                venue_ns=each.venue_ns,
            )
            for each in await self.deliveries(since_ns)
        )

    async def stream_account(self, deliver: Callable[[FuturesPush], None]) -> None:
        """Orders and fills until cancelled; reconnects by itself. Reconcile after each StreamUp."""

        def on_data(code: int, data: msgspec.Raw, _ts_ms: int | None) -> Sequence[str]:
            match code:
                case 35:
                    deliver(parse.parse_order_frame(data))
                case 38:
                    deliver(parse_futures.parse_trade_frame(data))
                case _:
                    raise ParseError(f"data type {code} was not asked for")
            return ()

        await self._open_stream(STREAM, lambda: _SUBSCRIPTIONS, on_data, deliver).run()


def read(reader: Callable[[bytes], T], data: bytes) -> T:
    """What an answer says, or VenueError "unknown"."""
    try:
        return reader(data)
    except ParseError as error:
        raise VenueError("unknown", str(error)) from None
