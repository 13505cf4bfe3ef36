"""Public endpoints: time, configuration, option market data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from services.exchange.config import BaseConfig
from services.exchange.klines import BARS_MAX, period_of
from services.exchange.model import Chain
from services.exchange.server.api import Call, Endpoint, Raw
from services.exchange.server.errors import (
    PARAMETER_EMPTY,
    PARAMETER_WRONG,
    UNKNOWN_INDEX,
    UNKNOWN_INSTRUMENT,
    ApiError,
)
from services.exchange.server.render_account import signed_quantity
from services.exchange.server.render_market import (
    MULTIPLIERS,
    chain_rows,
    delivery_price_row,
    detail_row,
    instrument_row,
    order_book_row,
    public_config,
)
from services.exchange.server.render_trades import kline_row, last_trade_row
from services.exchange.server.wire import encode, number_text, success

NS_PER_MS = 1_000_000
TIME_MS_MAX = 9_000_000_000_000
KEPT_BODIES = 64


class Rendering(msgspec.Struct, frozen=True):
    """A body and the object it was made from: valid as long as the core still answers with that object."""

    source: Any
    body: bytes


class RenderCache:
    """Bodies that many clients ask for, kept while the object behind them is the same one."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Rendering] = {}

    def body(self, key: tuple[Any, ...], source: Any, render: Callable[[], Any]) -> Raw:
        if len(self._kept) > KEPT_BODIES:
            # Expiries come and go: what is not asked for any more must not stay.
            self._kept.clear()
        kept = self._kept.get(key)
        if kept is None or kept.source is not source:
            kept = self._kept[key] = Rendering(source, success(render()))
        return Raw(kept.body)


def _base_of_index(call: Call, index: str) -> BaseConfig:
    """`BTCUSD` to the configuration of BTC; ApiError for an index that is not listed."""
    for base in call.venue.config.bases:
        if f"{base.base}USD" == index:
            return base
    raise ApiError(UNKNOWN_INDEX)


def server_time(call: Call) -> Any:
    return {"serverTime": call.now_ms}


def configuration(call: Call) -> Any:
    return public_config(call.venue.config.bases, call.venue.config.fees)


def instruments(call: Call) -> Any:
    base = call.path_params["base"].upper()
    listed = call.core.instruments(base)
    return [instrument_row(each, is_active=call.core.is_tradable(each.symbol)) for each in listed]


class ChainEndpoint:
    """The chain of an index, rendered once per step and expiry for all who ask without positions of their own."""

    def __init__(self) -> None:
        self._cache = RenderCache()

    def __call__(self, call: Call) -> Any:
        index = call.path_params["index"].upper()
        end_ms = call.fields.integer("endTime")
        if end_ms is None:
            end_ms = _end_when_absent(call, index)
        chain = call.core.chain(index, None if end_ms is None else end_ms * NS_PER_MS)
        if chain is None:
            _base_of_index(call, index)
            return []
        positions = {}
        if call.credential is not None:
            positions = {
                position.symbol: signed_quantity(position) for position in call.core.positions(call.account_id)
            }
        if positions:
            return chain_rows(chain, positions)
        return self._cache.body((index, end_ms), chain, lambda: _rows_without_positions(chain))


def _end_when_absent(call: Call, index: str) -> int | None:
    """The expiry that a chain without `endTime` shows; None is all of them."""
    match call.venue.config.switches.chain_without_end:
        case "refused":
            raise ApiError(PARAMETER_EMPTY, "endTime")
        case "nearest":
            listed = call.core.instruments(index.removesuffix("USD"))
            return listed[0].expiry_ns // NS_PER_MS if listed else None
        case _:
            return None


def _rows_without_positions(chain: Chain) -> list[dict[str, Any]]:
    return chain_rows(chain, {})


def detail(call: Call) -> Any:
    found = call.core.detail(call.path_params["symbol"])
    if found is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return detail_row(found, MULTIPLIERS.get(found.instrument.base, found.instrument.min_quantity))


def order_book(call: Call) -> Any:
    book = call.core.order_book(call.path_params["symbol"])
    if book is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return order_book_row(book)


def last_trades(call: Call) -> Any:
    symbol = call.path_params["symbol"]
    switches = call.venue.config.switches
    if call.core.instrument(symbol) is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    rows = [last_trade_row(trade) for trade in call.core.market_trades(symbol, switches.last_trades_count)]
    return rows if switches.last_trades_order == "newest_first" else rows[::-1]


def klines(call: Call) -> Any:
    """Bars of one option, oldest first. `limit` of 1, which the documentation demands, does not limit."""
    fields = call.fields
    text = fields.need_text("period")
    period = period_of(text)
    start_ms, end_ms = fields.need_integer("start"), fields.need_integer("end")
    limit = fields.integer("limit")
    if period is None:
        raise ApiError(PARAMETER_WRONG, "period")
    if not 0 <= start_ms <= end_ms <= TIME_MS_MAX:
        raise ApiError(PARAMETER_WRONG, "start")
    if limit is not None and limit < 1:
        raise ApiError(PARAMETER_WRONG, "limit")
    count = BARS_MAX if limit in (None, 1) else min(limit, BARS_MAX)
    bars = call.core.klines(call.path_params["symbol"], period, start_ms * NS_PER_MS, end_ms * NS_PER_MS, count)
    if bars is None:
        raise ApiError(UNKNOWN_INSTRUMENT)
    return [kline_row(bar) for bar in bars]


def delivery_prices(call: Call) -> Any:
    base = _base_of_index(call, call.fields.need_text("symbol").upper())
    rows = [delivery_price_row(delivery) for delivery in call.core.delivery_prices(base.base)]
    return Raw(encode({"code": 0, "msg": "Success", "i18nArgs": None, "data": rows, "records_total": len(rows)}))


def estimated_expiration_price(call: Call) -> Any:
    index = call.fields.text("index")
    end_ms = call.fields.integer("endTime")
    if index is None and end_ms is None:
        raise ApiError(PARAMETER_EMPTY, "index")
    bases = [_base_of_index(call, index.upper())] if index is not None else list(call.venue.config.bases)
    rows = []
    for base in bases:
        expiries_ns = sorted({each.expiry_ns for each in call.core.instruments(base.base)})
        for expiry_ns in expiries_ns:
            if end_ms is not None and expiry_ns != end_ms * NS_PER_MS:
                continue
            price = call.core.estimated_expiration_price(f"{base.base}USD", expiry_ns)
            if price is not None:
                rows.append(
                    {
                        "estimatedExpirationPrice": number_text(price),
                        "index": f"{base.base}USD",
                        "endTime": expiry_ns // NS_PER_MS,
                    }
                )
    return rows


def market_endpoints() -> list[Endpoint]:
    return [
        Endpoint("GET", "/time", "public", "market_data", server_time),
        Endpoint("GET", "/open/public/config/v1", "public", "public_config", configuration),
        Endpoint("GET", "/open/option/getInstruments/{base}", "public", "market_data", instruments),
        Endpoint("GET", "/open/option/get/v1/{index}", "public", "market_data", ChainEndpoint()),
        Endpoint("GET", "/open/option/detail/v1/{symbol}", "public", "market_data", detail),
        Endpoint("GET", "/open/option/order/orderbook/v1/{symbol}", "public", "order_book", order_book),
        Endpoint("GET", "/open/option/trade/lasttrade/v1/{symbol}", "public", "market_data", last_trades),
        Endpoint("GET", "/open/option/market/kline/history/v1/{symbol}", "public", "market_data", klines),
        Endpoint("GET", "/open/option/get-delivery-prices/v1", "public", "delivery_prices", delivery_prices),
        Endpoint(
            "GET",
            "/open/option/getEstimatedExpirationPrice/v1",
            "public",
            "market_data",
            estimated_expiration_price,
        ),
    ]
