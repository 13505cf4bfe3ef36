"""Perpetuals and dated futures in the venue's field names and wire types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.exchange.contract_calls import ContractCalls
from services.exchange.contracts import Contract, ContractMarket, next_funding_time
from services.exchange.model import (
    Delivery,
    Fill,
    FundingPayment,
    FuturesPosition,
    Order,
    OrderBook,
    OrderState,
    TradeEvent,
)
from services.exchange.server.render_market import PRICE_DECIMALS, ms, rounded
from services.exchange.server.wire import number_text
from services.exchange.switches import Switches
from shared.options.instruments import base_of

POSITION_OPEN, POSITION_CLOSED = "1", "2"
PERPETUAL_CODE = "E"
_EIGHT = Decimal("0.00000001")
_SIX = Decimal("0.000001")


def futures_name(symbol: str) -> str:
    """`BTCUSDT Perp` of BTCUSD, `BTCUSDT 26JUN26` of BTCUSD-26JUN26."""
    return f"{base_of(symbol)}USDT {symbol.partition('-')[2] or 'Perp'}"


class DayFigures:
    """A contract's prices of the last 24 hours at the tape's trades."""

    def __init__(self, calls: ContractCalls, market: ContractMarket, contract: Contract) -> None:
        bars = market.day_bars(contract)
        self.last = calls.last_price(contract.symbol)
        self.mark = market.mark(contract)
        self.open = bars[0].open if bars else self.mark
        self.high = max([self.last, *(bar.high for bar in bars)])
        self.low = min([self.last, *(bar.low for bar in bars)])
        self.volume = sum((bar.volume for bar in bars), Decimal(0))
        self.value = sum((bar.volume * bar.close for bar in bars), Decimal(0)).quantize(_SIX)
        self.change = self.last - self.open
        self.rate = (self.change / self.open).quantize(_SIX)


def symbol_row(
    contract: Contract, market: ContractMarket, day: DayFigures, number: int, now_ns: int
) -> dict[str, Any]:
    """Of symbol information; `ts` is no epoch at the venue either."""
    at = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return {
        "contractId": number,
        "symbol": contract.symbol,
        "symbolName": f"{contract.base}/USD",
        "displayName": futures_name(contract.symbol),
        "baseToken": contract.base,
        "quoteToken": "USD",
        "price": day.last,
        "changeRate": day.rate,
        "changePrice": day.change,
        "markPrice": day.mark,
        "indexPrice": market.index_price,
        "price24hHigh": day.high,
        "price24hLow": day.low,
        "price24hOpen": day.open,
        "volumeUsd24h": day.value,
        "volume24h": day.volume,
        "ts": int(at.strftime("%Y%m%d%H%M%S")),
        "hasOption": True,
        "sortIdx": number,
    }


def ticker_row(
    contract: Contract, market: ContractMarket, day: DayFigures, book: OrderBook, now_ns: int
) -> dict[str, Any]:
    """Of the instruments by ticker: everything text. A dated future has no funding: 0."""
    due_ns, is_dated = next_funding_time(now_ns), contract.kind == "future"
    rate = number_text(Decimal(0) if is_dated else market.funding_rate(due_ns))
    following = number_text(Decimal(0) if is_dated else market.funding_rate(next_funding_time(due_ns)))
    return {
        "ticker_id": f"{contract.base}-{contract.symbol.removeprefix(contract.base)}",
        "base_currency": contract.base,
        "quote_currency": "USD",
        "last_price": number_text(day.last),
        "base_volume": number_text(day.volume),
        "usd_volume": number_text(day.value),
        "quote_volume": number_text(day.value),
        "bid": number_text(book.bids[0].price if book.bids else Decimal(0)),
        "ask": number_text(book.asks[0].price if book.asks else Decimal(0)),
        "high": number_text(day.high),
        "low": number_text(day.low),
        "product_type": "Future" if is_dated else "Perpetual",
        "open_interest": "0",
        "open_interest_usd": "0",
        "index_price": number_text(market.index_price),
        "funding_rate": rate,
        "next_funding_rate": following,
        "next_funding_rate_timestamp": 0 if is_dated else ms(due_ns),
        "contract_type": "Vanilla",
        "contract_price": number_text(day.mark),
        "contract_price_currency": "USD",
    }


def funding_row(contract: Contract, market: ContractMarket, number: int, now_ns: int) -> dict[str, Any]:
    due_ns = next_funding_time(now_ns)
    return {
        "symbol": contract.symbol,
        "rate": number_text(market.funding_rate(due_ns)),
        "contractId": str(number),
        "nextFundingTime": ms(due_ns),
        "ts": ms(now_ns),
    }


def ticker_book_row(ticker: str, book: OrderBook) -> dict[str, Any]:
    return {
        "symbol": ticker,
        "bids": [[number_text(price), number_text(size)] for price, size in book.bids],
        "asks": [[number_text(price), number_text(size)] for price, size in book.asks],
        "timestamp": ms(book.at_ns),
    }


def book_row(book: OrderBook) -> dict[str, Any]:
    return {
        "symbol": book.symbol,
        "bids": [{"size": number_text(size), "price": number_text(price)} for price, size in book.bids],
        "asks": [{"size": number_text(size), "price": number_text(price)} for price, size in book.asks],
    }


def _price_of(order: Order) -> Decimal:
    """A market order shows none."""
    return Decimal(0) if order.order_type.is_market else order.price


def _order_fields(order: Order) -> dict[str, Any]:
    return {
        "clientOrderId": order.client_order_id,
        "orderId": order.order_id,
        "symbol": order.symbol,
        "displayName": futures_name(order.symbol),
        "qty": order.quantity,
        "fillQty": order.filled,
        "price": _price_of(order),
        "avgPrice": order.average_price or Decimal("0E-8"),
        "tradeSide": int(order.side),
        "tradeType": int(order.order_type),
        "createTime": ms(order.created_ns),
        "reduceOnly": int(order.reduce_only),
        "leverage": order.leverage,
    }


def _stop_fields(order: Order) -> dict[str, Any]:
    expression = None
    if order.trigger_price is not None:
        expression = "GE" if order.triggers_above else "LE"
    return {"expression": expression, "triggerPrice": order.trigger_price}


def pending_row(order: Order, initial_margin: Decimal) -> dict[str, Any]:
    return {
        "id": order.order_id,
        **_order_fields(order),
        **_stop_fields(order),
        "remainQty": order.remaining,
        "initMargin": initial_margin,
        "timeInForce": order.time_in_force,
    }


def single_order_row(order: Order, waiting_state: int) -> dict[str, Any]:
    """A stop order that waits has `waiting_state`."""
    return {
        **_order_fields(order),
        "remainQty": order.remaining,
        "updateTime": ms(order.updated_ns),
        "fee": order.fee,
        "state": waiting_state if waits(order) else int(order.state),
        "timeInForce": order.time_in_force,
    }


def history_row(order: Order) -> dict[str, Any]:
    return {
        **_order_fields(order),
        **_stop_fields(order),
        "fee": order.fee,
        "rpnl": order.realised_pnl,
        "state": int(order.state),
    }


def fill_row(fill: Fill) -> dict[str, Any]:
    return {
        "id": fill.fill_id,
        "contractId": fill.option_id,
        "symbol": fill.symbol,
        "displayName": futures_name(fill.symbol),
        "tradeSide": int(fill.side),
        "tradeType": int(fill.order_type),
        "price": fill.price,
        "qty": fill.quantity,
        "markPrice": rounded(fill.mark_price, PRICE_DECIMALS),
        "indexPrice": fill.index_price,
        "orderId": fill.order_id,
        "tradeId": fill.trade_id,
        "fee": fill.fee,
        "time": ms(fill.at_ns),
        "leverage": fill.leverage,
        "isTaker": int(fill.is_taker),
    }


def position_row(position: FuturesPosition, user_id: int) -> dict[str, Any]:
    """`roi` is a ratio of the value, `upnl` by mark."""
    value = position.value
    sign = position.side.sign
    return {
        "id": position.position_id,
        "positionId": position.position_id,
        "updateTime": ms(position.updated_ns),
        "userId": user_id,
        "symbol": position.symbol,
        "displayName": futures_name(position.symbol),
        "baseToken": base_of(position.symbol),
        "quoteToken": "USD",
        "tradeSide": int(position.side),
        "qty": position.quantity,
        "value": value,
        "initMargin": position.initial_margin,
        "maintMargin": position.maintenance_margin,
        "avgPrice": position.average_price,
        "markPrice": position.mark_price,
        "roi": (position.unrealised_pnl_mark / value).quantize(_SIX) if value else Decimal(0),
        "upnl": position.unrealised_pnl_mark,
        "delta": sign * position.quantity,
        "elp": position.liquidation_price,
        "leverage": position.leverage,
    }


def funding_payment_row(payment: FundingPayment) -> dict[str, Any]:
    return {
        "id": payment.payment_id,
        "symbol": payment.symbol,
        "displayName": futures_name(payment.symbol),
        "tradeSide": int(payment.side),
        "qty": payment.quantity,
        "fundFee": payment.amount,
        "fundRate": payment.rate,
        "ctime": ms(payment.at_ns),
    }


def delivery_row(delivery: Delivery) -> dict[str, Any]:
    return {
        "symbol": delivery.symbol,
        "time": ms(delivery.at_ns),
        "qty": delivery.quantity,
        "tradeSide": int(delivery.side),
        "entryPrice": delivery.entry_price,
        "settlementPrice": delivery.settlement_price,
        "settlementPnL": delivery.pnl,
        "fees": delivery.fee,
    }


def premium_row(symbol: str, premium: float, rate: Decimal, at_ns: int) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "premiumIndex": number_text(Decimal(repr(premium)).quantize(_EIGHT)),
        "fundingRate": number_text(rate),
        "minute": f"{_at(at_ns):%Y-%m-%d %H:%M}",
    }


def premium_push(symbol: str, premium: float, at_ns: int) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "premiumIndex": Decimal(repr(premium)).quantize(_EIGHT),
        "minute": f"{_at(at_ns):%Y-%m-%d %H:%M:%S}",
        "ts": ms(at_ns),
    }


def trade_push(event: TradeEvent, *, fee_is_negative: bool) -> dict[str, str]:
    """Everything text, with short names; rate and fee are negative when paid, as in the venue's sample."""
    fill, sign = event.fill, -1 if fee_is_negative else 1
    return {
        "s": fill.symbol,
        "oid": str(fill.order_id),
        "coid": str(fill.client_order_id or 0),
        "tid": str(fill.trade_id),
        "si": str(int(fill.side)),
        "mpr": number_text(fill.price),
        "mq": number_text(fill.quantity),
        "mv": number_text(fill.price * fill.quantity),
        "rq": number_text(event.remaining),
        "it": str(int(fill.is_taker)),
        "fr": number_text(sign * fill.fee_rate),
        "tf": number_text(sign * fill.fee),
        "ts": str(ms(fill.at_ns)),
    }


def position_push(
    position: FuturesPosition, user_id: int, switches: Switches, *, expired: bool = False
) -> dict[str, str]:
    """Everything text; `upnl` by mark, the `...lp` fields by last price. `expired`: a delivery has ended it."""
    shown_open = bool(position.quantity) or (expired and switches.expired_position_state == "open")
    value = position.value
    roi = (position.unrealised_pnl_last / value).quantize(_SIX) if value else Decimal(0)
    return {
        "s": position.symbol,
        "uid": str(user_id),
        "si": str(int(position.side)),
        "q": number_text(position.quantity),
        "ap": number_text(position.average_price),
        "mp": number_text(position.mark_price),
        "lp": number_text(position.last_price),
        "le": str(position.leverage),
        "im": number_text(position.initial_margin),
        "mm": number_text(position.maintenance_margin),
        "tim": "",
        "tmm": "",
        "elp": number_text(position.liquidation_price or Decimal(0)),
        "os": POSITION_OPEN if shown_open else POSITION_CLOSED,
        "upnl": number_text(position.unrealised_pnl_mark),
        "upnlblp": number_text(position.unrealised_pnl_last),
        "roiblp": number_text(roi),
        "ctp": PERPETUAL_CODE if position.is_perpetual else switches.dated_contract_code,
    }


def spot_price_push(base: str, index_price: Decimal, day: DayFigures, now_ns: int) -> dict[str, Any]:
    """The feed of the perpetual's prices, whose `ip` is the index."""
    return {
        "s": f"{base}USD",
        "pr": day.last,
        "mp": day.mark,
        "ip": index_price,
        "h": day.high,
        "l": day.low,
        "cp": day.change,
        "cr": day.rate,
        "pr0": day.open,
        "oi": 0,
        "uv24": day.value,
        "v24": day.volume,
        "ts": ms(now_ns),
    }


def order_fields(order: Order) -> Mapping[str, Any]:
    """What the order channel adds for futures: leverage, and the price that a client gave."""
    return {"le": order.leverage, "pr": number_text(_price_of(order))}


def waits(order: Order) -> bool:
    return order.state is OrderState.WAITING


def _at(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
