"""Market data in the venue's field names and wire types: pure functions from the core's answers.

Floats are rounded to a fixed number of decimals, so that their shortest text is the decimal that is meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from itertools import starmap
from typing import Any

import msgspec
import numpy as np

from services.exchange.config import BaseConfig, FeeConfig
from services.exchange.model import F8, Chain, DeliveryPrice, Detail, Instrument, OrderBook
from services.exchange.server.wire import number_text

NS_PER_MS = 1_000_000
NO_IV = 1.7976931348623157e308
"""What the venue sends as the volatility of a last price that never was."""

PRICE_DECIMALS, IV_DECIMALS, GREEK_DECIMALS, GAMMA_DECIMALS, RATE_DECIMALS = 4, 4, 6, 10, 6
MULTIPLIERS: Mapping[str, Decimal] = {"BTC": Decimal("0.01"), "ETH": Decimal("0.1")}


def ms(at_ns: int) -> int:
    return at_ns // NS_PER_MS


def display_name(symbol: str) -> str:
    """`BTCUSD-6JUN23-24000-C` as `BTC-6JUN23-24000-C`."""
    return symbol.replace("USD-", "-", 1)


def rounded(value: float, decimals: int) -> float:
    """0 for a missing value, otherwise the float whose shortest text has at most `decimals` decimals."""
    return 0.0 if value != value else round(value, decimals) + 0.0


def instrument_row(instrument: Instrument, *, is_active: bool) -> dict[str, Any]:
    return {
        "baseCurrency": instrument.base,
        "expirationTimestamp": ms(instrument.expiry_ns),
        "isActive": is_active,
        "minQty": instrument.min_quantity,
        "startTimestamp": ms(instrument.listed_ns),
        "strike": instrument.strike,
        "symbolName": instrument.symbol,
        "tickSize": instrument.tick_size,
    }


class ChainColumns(msgspec.Struct, frozen=True):
    """The columns of a chain as lists of clean floats, shared by the REST chain and the tOption push."""

    bid: list[float]
    ask: list[float]
    bid_size: list[float]
    ask_size: list[float]
    mark: list[float]
    last: list[float]
    mark_iv: list[float]
    bid_iv: list[float]
    ask_iv: list[float]
    delta: list[float]
    gamma: list[float]
    vega: list[float]
    theta: list[float]
    rho: list[float]
    underlying: list[float]
    change: list[float]
    change_rate: list[float]
    open_interest: list[float]
    volume: list[float]


_DECIMALS: Mapping[str, int] = {
    "bid": 8,
    "ask": 8,
    "bid_size": 8,
    "ask_size": 8,
    "mark": PRICE_DECIMALS,
    "last": 8,
    "mark_iv": IV_DECIMALS,
    "bid_iv": IV_DECIMALS,
    "ask_iv": IV_DECIMALS,
    "delta": GREEK_DECIMALS,
    "gamma": GAMMA_DECIMALS,
    "vega": GREEK_DECIMALS,
    "theta": GREEK_DECIMALS,
    "rho": GREEK_DECIMALS,
    "underlying": PRICE_DECIMALS,
    "change": PRICE_DECIMALS,
    "change_rate": RATE_DECIMALS,
    "open_interest": 8,
    "volume": 8,
}
_SCALES: F8 = 10.0 ** np.array([[_DECIMALS[name]] for name in ChainColumns.__struct_fields__])


def chain_columns(chain: Chain) -> ChainColumns:
    """Missing values become 0. The change is that of the mark since 00:00 UTC."""
    change = chain.mark - chain.mark_open
    opened = np.where(chain.mark_open > 0.0, chain.mark_open, np.inf)
    derived = {"change": change, "change_rate": change / opened}
    columns = [derived[name] if name in derived else getattr(chain, name) for name in ChainColumns.__struct_fields__]
    matrix = np.array(columns)
    matrix[np.isnan(matrix)] = 0.0
    # A ratio of two integers that a float holds exactly: its shortest text has no digits beyond the decimals.
    # Adding 0 turns -0.0 into 0.0.
    return ChainColumns(*(np.rint(matrix * _SCALES) / _SCALES + 0.0).tolist())


def chain_rows(chain: Chain, positions: Mapping[str, Decimal]) -> list[dict[str, Any]]:
    """One object per expiry and strike with its call and put. `positions`: signed quantity by symbol."""
    columns = chain_columns(chain)
    strikes: dict[tuple[int, Decimal], dict[str, Any]] = {}
    for i, instrument in enumerate(chain.instruments):
        row = strikes.setdefault(
            (instrument.expiry_ns, instrument.strike),
            {"strike": instrument.strike, "callOption": None, "putOption": None},
        )
        strike = float(instrument.strike)
        mark = columns.mark[i]
        row["callOption" if instrument.is_call else "putOption"] = {
            "optionId": instrument.option_id,
            "index": instrument.index,
            "underlying": instrument.index,
            "symbol": instrument.symbol,
            "displayName": display_name(instrument.symbol),
            "baseToken": instrument.base,
            "endTime": ms(instrument.expiry_ns),
            "strike": instrument.strike,
            "type": 1 if instrument.is_call else 2,
            "lastPrice": columns.last[i],
            "markPrice": mark,
            "bid": columns.bid[i],
            "ask": columns.ask[i],
            "bidSize": columns.bid_size[i],
            "askSize": columns.ask_size[i],
            "bidIv": columns.bid_iv[i],
            "askIv": columns.ask_iv[i],
            "markIv": columns.mark_iv[i],
            "lastPriceIv": columns.mark_iv[i] if columns.last[i] else NO_IV,
            "volume": columns.volume[i],
            "openInterest": columns.open_interest[i],
            "underlyingPrice": columns.underlying[i],
            "breakeven": round(strike + mark if instrument.is_call else strike - mark, PRICE_DECIMALS),
            "changeRate": columns.change_rate[i],
            "changePrice": columns.change[i],
            "userPosition": positions.get(instrument.symbol, 0),
            "delta": columns.delta[i],
            "gamma": columns.gamma[i],
            "vega": columns.vega[i],
            "theta": columns.theta[i],
            "rho": columns.rho[i],
        }
    return list(strikes.values())


class TOptionRow(msgspec.Struct, rename={"as_": "as"}):
    """One option in a tOption push; field names are the venue's."""

    s: str
    mp: float
    lp: float
    bid: float
    ask: float
    bs: float
    as_: float
    biv: float
    aiv: float
    miv: float
    delta: float
    gamma: float
    theta: float
    vega: float
    up: float
    upv: float
    cp: float
    cr: float
    v: float
    v24: float
    oi: float
    ts: int


def t_option_rows(chain: Chain) -> list[TOptionRow]:
    """The options of an expiry. `oi` is 0 as at the venue, whose REST chain alone knows open interest."""
    columns = chain_columns(chain)
    return list(
        starmap(
            TOptionRow,
            zip(
                chain.symbols,
                columns.mark,
                columns.last,
                columns.bid,
                columns.ask,
                columns.bid_size,
                columns.ask_size,
                columns.bid_iv,
                columns.ask_iv,
                columns.mark_iv,
                columns.delta,
                columns.gamma,
                columns.theta,
                columns.vega,
                columns.underlying,
                columns.underlying,
                columns.change,
                columns.change_rate,
                columns.volume,
                columns.volume,
                [0.0] * len(chain.symbols),
                [ms(chain.at_ns)] * len(chain.symbols),
                strict=True,
            ),
        )
    )


def detail_row(detail: Detail, multiplier: Decimal) -> dict[str, Any]:
    instrument = detail.instrument
    mark = rounded(detail.mark_price, PRICE_DECIMALS)
    opened = rounded(detail.mark_open, PRICE_DECIMALS)
    strike = float(instrument.strike)
    return {
        "optionId": instrument.option_id,
        "symbol": instrument.symbol,
        "index": instrument.index,
        "displayName": display_name(instrument.symbol),
        "endTime": ms(instrument.expiry_ns),
        "remainTime": max(0, ms(instrument.expiry_ns - detail.at_ns)),
        "strike": instrument.strike,
        "markPrice": mark,
        "underlyingPrice": rounded(detail.underlying_price, PRICE_DECIMALS),
        "indexPrice": detail.index_price,
        "lastPrice": detail.last_price or 0,
        "premium": mark,
        "iv": rounded(detail.mark_iv, IV_DECIMALS),
        "multiplier": multiplier,
        "type": 1 if instrument.is_call else 2,
        "volume": detail.volume,
        "volumeUsd": detail.volume_usd,
        "openInterest": detail.open_interest,
        "changeRate": rounded((mark - opened) / opened, RATE_DECIMALS) if opened else 0,
        "changePrice": rounded(mark - opened, PRICE_DECIMALS),
        "price24hHigh": rounded(detail.high, PRICE_DECIMALS),
        "price24hLow": rounded(detail.low, PRICE_DECIMALS),
        "price24hOpen": opened,
        "volume24h": detail.volume,
        "volumeUsd24h": detail.volume_usd,
        "breakeven": rounded(strike + mark if instrument.is_call else strike - mark, PRICE_DECIMALS),
        "delta": rounded(detail.delta, GREEK_DECIMALS),
        "gamma": rounded(detail.gamma, GAMMA_DECIMALS),
        "vega": rounded(detail.vega, GREEK_DECIMALS),
        "theta": rounded(detail.theta, GREEK_DECIMALS),
        "rho": rounded(detail.rho, GREEK_DECIMALS),
    }


def bs_info_row(detail: Detail, *, as_text: bool) -> dict[str, Any]:
    """One option in a bsInfo push. `oi` is 0 on the live venue too: the chain has the open interest."""
    mark = rounded(detail.mark_price, PRICE_DECIMALS)
    opened = rounded(detail.mark_open, PRICE_DECIMALS)
    numbers: dict[str, Any] = {
        "mp": mark,
        "lp": detail.last_price or Decimal(0),
        "ip": detail.index_price,
        "up": rounded(detail.underlying_price, PRICE_DECIMALS),
        "iv": rounded(detail.mark_iv, IV_DECIMALS),
        "delta": rounded(detail.delta, GREEK_DECIMALS),
        "gamma": rounded(detail.gamma, GAMMA_DECIMALS),
        "vega": rounded(detail.vega, GREEK_DECIMALS),
        "theta": rounded(detail.theta, GREEK_DECIMALS),
        "h": rounded(detail.high, PRICE_DECIMALS),
        "l": rounded(detail.low, PRICE_DECIMALS),
        "pr0": opened,
        "cp": rounded(mark - opened, PRICE_DECIMALS),
        "cr": rounded((mark - opened) / opened, RATE_DECIMALS) if opened else 0.0,
        "uv": detail.volume_usd,
        "uv24": detail.volume_usd,
        "v": detail.volume,
        "v24": detail.volume,
        "oi": Decimal(0),
    }
    if as_text:
        numbers = {
            name: number_text(value) if isinstance(value, Decimal) else repr(value) for name, value in numbers.items()
        }
    times = {"rt": max(0, ms(detail.instrument.expiry_ns - detail.at_ns)), "ts": ms(detail.at_ns)}
    return {"s": detail.instrument.symbol, **numbers, **times}


def order_book_row(book: OrderBook) -> dict[str, Any]:
    return {
        "optionName": book.symbol,
        "displayName": None,
        "strike": book.strike,
        "bids": [{"price": number_text(price), "size": number_text(size)} for price, size in book.bids],
        "asks": [{"price": number_text(price), "size": number_text(size)} for price, size in book.asks],
    }


def order_book_push(book: OrderBook) -> dict[str, Any]:
    return {
        "s": book.symbol,
        "asks": [{"pr": number_text(price), "sz": number_text(size)} for price, size in book.asks],
        "bids": [{"pr": number_text(price), "sz": number_text(size)} for price, size in book.bids],
        "ts": ms(book.at_ns),
    }


def delivery_price_row(delivery: DeliveryPrice) -> dict[str, Any]:
    day = datetime.fromtimestamp(delivery.expiry_ns // 1_000_000_000, UTC).date()
    return {"date": day.isoformat(), "delivery_price": delivery.price}


def _decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def public_config(bases: Iterable[BaseConfig], fees: FeeConfig) -> dict[str, Any]:
    """`optionConfig` and `futuresConfig`, keyed by pair."""
    options: dict[str, Any] = {}
    futures: dict[str, Any] = {}
    for base in bases:
        pair = f"{base.base}USD"
        decimals = _decimals(base.tick_size)
        common = {
            "symbol": pair,
            "base": base.base,
            "settle": "USD",
            "priceDecimal": decimals,
            "tickDecimal": decimals,
        }
        options[pair] = {
            **common,
            "takerFee": fees.taker,
            "makerFee": fees.maker,
            "multiplier": MULTIPLIERS.get(base.base, Decimal(1)),
            "qtyDecimal": _decimals(base.min_quantity),
            "greeksDecimal": GREEK_DECIMALS,
            "tickSize": base.tick_size,
            "limitMaxQty": base.max_order_quantity,
            "marketMaxQty": base.max_order_quantity / 10,
            "maxOrderNumber": base.max_open_orders,
            "maxPositionQty": base.max_position_quantity,
            "minQty": base.min_quantity,
        }
        futures[pair] = {
            **common,
            "takerFee": fees.futures_taker,
            "makerFee": fees.futures_maker,
            "priceDecimal": _decimals(base.futures.tick_size),
            "tickDecimal": _decimals(base.futures.tick_size),
            "tickSize": base.futures.tick_size,
            "qtyDecimal": _decimals(base.futures.min_quantity),
            "limitMaxQty": base.futures.max_order_quantity,
            "marketMaxQty": base.futures.max_order_quantity,
            "maxOrderNumber": base.futures.max_open_orders,
            "minQty": base.futures.min_quantity,
            "positionQty": base.futures.max_position_quantity,
            "triggerLimit": base.futures.max_stop_orders,
        }
    return {"optionConfig": options, "futuresConfig": futures, "spotConfig": {}}
