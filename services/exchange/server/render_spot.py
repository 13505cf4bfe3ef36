"""Spot in the venue's field names and wire types: texts for private amounts, numbers for public ones."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from services.exchange.contracts import Contract, ContractMarket
from services.exchange.model import (
    Fill,
    KLine,
    MarketTrade,
    Order,
    OrderBook,
    OrderEvent,
    OrderState,
    Side,
    TradeEvent,
)
from services.exchange.server.render_futures import DayFigures
from services.exchange.server.render_market import ms
from services.exchange.server.wire import number_text

_STATUS = {OrderState.NEW: 0, OrderState.FILLED: 1, OrderState.PARTIALLY_FILLED: 2}
CANCELLED = 3
MarketPrice = Literal["zero", "average"]
_SIDES = {Side.BUY: "buy", Side.SELL: "sell"}


def instrument_row(contract: Contract) -> dict[str, Any]:
    lot, most = number_text(contract.min_quantity), contract.config.max_order_quantity
    return {
        "symbol": contract.symbol,
        "baseCoin": contract.base,
        "quoteCoin": "USDT",
        "enableTrading": 1,
        "lotSizeFilter": {
            "basePrecision": lot,
            "quotePrecision": number_text(contract.min_quantity * contract.tick_size),
            "maxOrderSize": int(most),
            "minQty": lot,
            "maxQty": number_text(most),
            "maxMarketQty": number_text(most),
        },
        "priceFilter": {"tickSize": number_text(contract.tick_size)},
    }


def kline_row(bar: KLine, end_ns: int) -> dict[str, Any]:
    return {
        "endTime": ms(end_ns),
        "open": bar.open,
        "close": bar.close,
        "low": bar.low,
        "high": bar.high,
        "volume": bar.volume,
        "volumeUsd": bar.volume * bar.close,
    }


def book_row(book: OrderBook, sequence: int) -> dict[str, Any]:
    return {
        "s": book.symbol,
        "b": [[price, size] for price, size in book.bids],
        "a": [[price, size] for price, size in book.asks],
        "ts": ms(book.at_ns),
        "u": sequence,
    }


def trade_row(trade: MarketTrade) -> dict[str, Any]:
    return {
        "tradeId": str(trade.trade_id),
        "symbol": trade.symbol,
        "price": trade.price,
        "qty": trade.quantity,
        "side": int(trade.side),
        "ts": ms(trade.at_ns),
    }


def overview_row(contract: Contract, market: ContractMarket, day: DayFigures) -> dict[str, Any]:
    """`cp` is the change, `r` its rate, as in the table of the REST call."""
    return {
        "s": contract.symbol,
        "base": contract.base,
        "quote": "USDT",
        "o": day.open,
        "h": day.high,
        "l": day.low,
        "c": day.last,
        "a": day.volume,
        "v": day.value,
        "i": market.index_price,
        "cp": day.change,
        "r": day.rate,
        "hasOption": True,
    }


def overview_push(contract: Contract, market: ContractMarket, day: DayFigures) -> dict[str, Any]:
    """The fields of the socket: those of the REST call but for `hasOption`."""
    return {name: value for name, value in overview_row(contract, market, day).items() if name != "hasOption"}


def _status(order: Order) -> int:
    return _STATUS.get(order.state, CANCELLED)


def _price(order: Order, market_price: MarketPrice) -> Decimal:
    """What an order reports as its price; that of a market order is not documented."""
    if not order.order_type.is_market:
        return order.price
    return (order.average_price or Decimal(0)) if market_price == "average" else Decimal(0)


def _client_order_id(order: Order | Fill) -> str:
    return str(order.client_order_id or order.order_id)


def order_row(order: Order, user_id: int, market_price: MarketPrice) -> dict[str, Any]:
    """`clientOrderId` is the order's id where none was given."""
    received = order.symbol.removesuffix("USDT") if order.side is Side.BUY else "USDT"
    return {
        "id": order.order_id,
        "orderId": order.order_id,
        "clientOrderId": _client_order_id(order),
        "userId": user_id,
        "symbol": order.symbol,
        "displaySymbol": f"{order.symbol.removesuffix('USDT')}/USDT",
        "price": number_text(_price(order, market_price)),
        "avgPrice": number_text(order.average_price or Decimal(0)),
        "qty": number_text(order.quantity),
        "fillQty": number_text(order.filled),
        "remainQty": number_text(order.remaining),
        "fee": number_text(order.fee),
        "feeCurrency": received if order.fee else None,
        "status": _status(order),
        "tradeSide": int(order.side),
        "tradeType": int(order.order_type),
        "ts": ms(order.created_ns),
        "updateTime": ms(order.updated_ns),
    }


def fill_row(fill: Fill, user_id: int) -> dict[str, Any]:
    return {
        "id": fill.fill_id,
        "orderId": fill.order_id,
        "clientOrderId": _client_order_id(fill),
        "tradeId": str(fill.trade_id),
        "userId": user_id,
        "symbol": fill.symbol,
        "displaySymbol": f"{fill.symbol.removesuffix('USDT')}/USDT",
        "tradeSide": int(fill.side),
        "price": number_text(fill.price),
        "qty": number_text(fill.quantity),
        "isTaker": int(fill.is_taker),
        "fee": number_text(fill.fee),
        "feeCurrency": fill.fee_coin,
        "ts": ms(fill.at_ns),
        "updateTime": ms(fill.at_ns),
    }


def order_push(event: OrderEvent, market_price: MarketPrice) -> dict[str, Any]:
    """Sides are words here. A fill and the end of an order add what was traded."""
    order = event.order
    push: dict[str, Any] = {
        "orderId": order.order_id,
        "clientOrderId": _client_order_id(order),
        "symbol": order.symbol,
        "price": number_text(_price(order, market_price)),
        "qty": number_text(order.quantity),
        "tradeSide": _SIDES[order.side],
        "tradeType": int(order.order_type),
        "status": _status(order),
        "createTime": ms(order.created_ns),
    }
    if order.state is OrderState.NEW:
        return push
    push["avgPrice"] = number_text(order.average_price or Decimal(0))
    push["filledQty"] = number_text(order.filled)
    if _status(order) == CANCELLED:
        push["canceledQty"] = number_text(order.remaining)
        return push
    push["remainQty"] = number_text(order.remaining)
    if event.fill is not None:
        push["matchPrice"] = number_text(event.fill.price)
        push["matchQty"] = number_text(event.fill.quantity)
        push["matchTime"] = ms(event.fill.at_ns)
        push["tradeId"] = str(event.fill.trade_id)
        push["isTaker"] = int(event.fill.is_taker)
    return push


def trade_push(event: TradeEvent, user_id: int, fee_is_negative: bool) -> dict[str, Any]:
    """`volume` is the value of the fill, USDT; rate and fee are negative when paid, or as configured."""
    fill, sign = event.fill, -1 if fee_is_negative else 1
    return {
        "symbol": fill.symbol,
        "clientOrderId": _client_order_id(fill),
        "feeRate": number_text(sign * fill.fee_rate),
        "tradeFee": number_text(sign * fill.fee),
        "price": number_text(fill.price),
        "volume": number_text(fill.price * fill.quantity),
        "matchVolume": number_text(fill.quantity),
        "remainVolume": number_text(event.remaining),
        "isTaker": str(int(fill.is_taker)),
        "tradeSide": str(int(fill.side)),
        "orderId": fill.order_id,
        "userId": user_id,
        "tradeId": str(fill.trade_id),
        "ts": ms(fill.at_ns),
    }
