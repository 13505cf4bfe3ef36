"""Public trades and k-lines in the venue's field names and wire types."""

from __future__ import annotations

from typing import Any

from services.exchange.model import KLine, MarketTrade
from services.exchange.server.render_market import display_name, ms
from services.exchange.server.wire import number_text


def last_trade_row(trade: MarketTrade) -> dict[str, Any]:
    return {
        "symbol": trade.symbol,
        "displayName": display_name(trade.symbol),
        "price": number_text(trade.price),
        "qty": number_text(trade.quantity),
        "time": ms(trade.at_ns),
        "tradeSide": int(trade.side),
    }


def last_trade_push(trade: MarketTrade) -> dict[str, Any]:
    return {
        "s": trade.symbol,
        "q": number_text(trade.quantity),
        "pr": number_text(trade.price),
        "sd": int(trade.side),
        "ts": ms(trade.at_ns),
    }


def last_trade_v2_push(trade: MarketTrade) -> dict[str, str]:
    return {
        "matchPrice": number_text(trade.price),
        "matchQty": number_text(trade.quantity),
        "matchValue": number_text(trade.price * trade.quantity),
        "symbol": trade.symbol,
        "tradeId": str(trade.trade_id),
        "tradeSide": str(int(trade.side)),
        "tradeTime": str(ms(trade.at_ns)),
    }


def kline_row(bar: KLine) -> dict[str, Any]:
    return {
        "open": bar.open,
        "close": bar.close,
        "low": bar.low,
        "high": bar.high,
        "volume": bar.volume,
        "time": ms(bar.start_ns),
        "period": bar.period.upper(),
    }


def kline_push(bar: KLine) -> dict[str, Any]:
    return {
        "s": bar.symbol,
        "pe": bar.period.upper(),
        "open": bar.open,
        "high": bar.high,
        "low": bar.low,
        "close": bar.close,
        "v": bar.volume,
        "ts": ms(bar.start_ns),
    }
