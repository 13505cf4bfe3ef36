"""Coincall's structures of futures to our messages; as `parse.py`: rows about money must all be readable."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

import msgspec

from shared.messages.contracts import (
    FundingRate,
    FuturesDelivery,
    FuturesPosition,
    FuturesSpec,
    FuturesTicker,
)
from shared.messages.venue import FundingPayment, VenueFill
from shared.options.instruments import base_of, future_expiry_ns, instrument_kind
from shared.venues.coincall.parse import (
    NS_PER_MS,
    ParseError,
    client_order_id_of,
    decoded,
    decoded_list,
    exact,
    side_of,
    signed,
)
from shared.venues.coincall.wire import Id, Measure, Millis, Number, VenueId


class SpecRow(msgspec.Struct, frozen=True):
    tickSize: Decimal
    minQty: Decimal
    limitMaxQty: Decimal
    triggerLimit: int = 0


class ConfigRow(msgspec.Struct, frozen=True):
    futuresConfig: dict[str, msgspec.Raw] = {}


class TickerRow(msgspec.Struct, frozen=True):
    symbol: str
    indexPrice: float
    price: Measure = None
    markPrice: Measure = None


class FundingRateRow(msgspec.Struct, frozen=True):
    symbol: str
    rate: Decimal
    nextFundingTime: Millis
    ts: Millis


class PositionRow(msgspec.Struct, frozen=True):
    symbol: str
    tradeSide: int
    qty: Decimal
    avgPrice: Decimal
    initMargin: Decimal
    maintMargin: Decimal
    leverage: int
    markPrice: Measure = None
    upnl: Measure = None
    elp: Number = None


class LeverageRow(msgspec.Struct, frozen=True):
    symbol: str
    currentLeverage: int


class FundingRow(msgspec.Struct, frozen=True):
    id: int
    symbol: str
    tradeSide: int
    qty: Decimal
    fundFee: Decimal
    fundRate: Decimal
    ctime: Millis


class DeliveryRow(msgspec.Struct, frozen=True):
    symbol: str
    time: Millis
    qty: Decimal
    tradeSide: int
    entryPrice: Decimal
    settlementPrice: Decimal
    settlementPnL: Decimal
    fees: Number = None


class TradeFrame(msgspec.Struct, frozen=True):
    """A push of the trade channel: short names, everything text."""

    s: str
    oid: VenueId
    tid: VenueId
    si: int
    mpr: Decimal
    mq: Decimal
    ts: Millis
    it: int | None = None
    coid: Id = None


def parse_specification(data: bytes, underlying: str) -> FuturesSpec:
    """The public configuration's part about futures; the lot is the smallest quantity."""
    listed = decoded(ConfigRow, data).futuresConfig.get(underlying)
    if listed is None:
        raise ParseError(f"the public configuration has no futuresConfig for {underlying}")
    row = decoded(SpecRow, listed)
    tick, lot = exact(row.tickSize), exact(row.minQty)
    if tick <= 0 or lot <= 0:
        raise ParseError(f"futures of {underlying}: tickSize {tick} and minQty {lot} must be above 0")
    return FuturesSpec(
        underlying=underlying,
        tick_size=tick,
        lot_size=lot,
        min_quantity=lot,
        max_quantity=exact(row.limitMaxQty),
        max_stop_orders=row.triggerLimit,
    )


def parse_tickers(data: bytes, skipped: Callable[[str], None]) -> tuple[FuturesTicker, ...]:
    """Symbol information. A row that cannot be read is reported to `skipped` and left out."""
    tickers = []
    for item in decoded_list(msgspec.Raw, data):
        try:
            tickers.append(_ticker(decoded(TickerRow, item)))
        except (ParseError, ValueError) as error:
            skipped(f"futures symbol: {error}")
    return tuple(tickers)


def _ticker(row: TickerRow) -> FuturesTicker:
    kind = instrument_kind(row.symbol)
    if kind not in ("perpetual", "future"):
        raise ParseError(f"{row.symbol} is neither a perpetual nor a dated future")
    if not 0 < row.indexPrice < math.inf:
        raise ParseError(f"index price {row.indexPrice} of {row.symbol} is not above 0")
    return FuturesTicker(
        symbol=row.symbol,
        underlying=f"{base_of(row.symbol)}USD",
        kind="perpetual" if kind == "perpetual" else "future",
        expiry_ns=future_expiry_ns(row.symbol) if kind == "future" else None,
        last=row.price or None,
        mark=row.markPrice or None,
        index=row.indexPrice,
    )


def parse_funding_rates(data: bytes) -> tuple[FundingRate, ...]:
    return tuple(
        FundingRate(
            symbol=row.symbol,
            rate=exact(row.rate),
            next_funding_ns=row.nextFundingTime * NS_PER_MS,
            venue_ns=row.ts * NS_PER_MS,
        )
        for row in decoded_list(FundingRateRow, data)
    )


def parse_positions(data: bytes) -> tuple[FuturesPosition, ...]:
    """Those that are not flat. The venue's `upnl` of futures is by mark."""
    positions = []
    for row in decoded_list(PositionRow, data):
        quantity = signed(row.tradeSide, row.qty)
        if quantity:
            positions.append(
                FuturesPosition(
                    symbol=row.symbol,
                    quantity=quantity,
                    average_price=exact(row.avgPrice),
                    mark=row.markPrice if row.markPrice and math.isfinite(row.markPrice) else None,
                    unrealized_pnl_usd=row.upnl,
                    initial_margin_usd=exact(row.initMargin),
                    maintenance_margin_usd=exact(row.maintMargin),
                    leverage=row.leverage,
                    liquidation_price=exact(row.elp) if row.elp else None,
                )
            )
    return tuple(positions)


def parse_leverage(data: bytes, symbol: str) -> int:
    row = decoded(LeverageRow, data)
    if row.symbol != symbol:
        raise ParseError(f"leverage of {row.symbol}, asked for {symbol}")
    return row.currentLeverage


def parse_funding_payment(data: msgspec.Raw | bytes) -> FundingPayment:
    row = decoded(FundingRow, data)
    return FundingPayment(
        payment_id=row.id,
        symbol=row.symbol,
        quantity=signed(row.tradeSide, row.qty),
        rate=exact(row.fundRate),
        amount_usd=exact(row.fundFee),
        venue_ns=row.ctime * NS_PER_MS,
    )


def parse_delivery(data: msgspec.Raw | bytes) -> FuturesDelivery:
    row = decoded(DeliveryRow, data)
    return FuturesDelivery(
        symbol=row.symbol,
        quantity=signed(row.tradeSide, row.qty),
        entry_price=exact(row.entryPrice),
        settlement_price=exact(row.settlementPrice),
        pnl_usd=exact(row.settlementPnL),
        fee_usd=exact(row.fees or Decimal(0)),
        venue_ns=row.time * NS_PER_MS,
    )


def parse_trade_frame(data: msgspec.Raw | bytes) -> VenueFill:
    """A push of the trade channel. The sign of its fee is not documented: `fee_usd` is None."""
    frame = decoded(TradeFrame, data)
    return VenueFill(
        venue_trade_id=frame.tid,
        venue_order_id=frame.oid,
        client_order_id=client_order_id_of(frame.coid, frame.oid),
        symbol=frame.s,
        side=side_of(frame.si),
        quantity=exact(frame.mq),
        price=exact(frame.mpr),
        fee_usd=None,
        is_taker=bool(frame.it),
        venue_ns=frame.ts * NS_PER_MS,
    )
