"""Rows of spot that cannot be read: somebody else's are left out, the desk's are not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shared.ids import OrderKey, client_order_id
from shared.venues.coincall import parse_spot
from shared.venues.coincall.parse import ParseError

ORDER = {"orderId": 1, "symbol": "BTCUSDT", "qty": "1", "price": "100", "tradeSide": 2, "status": 0, "ts": 1}
FILL = {"orderId": 1, "tradeId": 2, "symbol": "BTCUSDT", "tradeSide": 2, "price": "100", "qty": "1", "ts": 1}
OURS = str(client_order_id(OrderKey(desk=7, trade_number=1, leg_index=0, purpose="close", attempt=0)))


def orders(*rows: dict[str, Any]) -> tuple[list[Any], list[str]]:
    skipped: list[str] = []
    data = msgspec.json.encode(list(rows))
    return parse_spot.parse_rows(data, parse_spot.parse_order, skipped.append), skipped


def test_an_order_without_a_price_is_read() -> None:
    (order,) = orders({**ORDER, "price": None})[0]
    assert order.price == 0
    assert order.quantity == 1


@pytest.mark.parametrize("price", [{}, {"price": None}])
def test_a_pushed_order_without_a_price_is_read(price: dict[str, Any]) -> None:
    frame = {"orderId": 1, "symbol": "BTCUSDT", "qty": "1", "tradeSide": "buy", "status": 1, "createTime": 1}
    order = parse_spot.parse_order_frame(msgspec.json.encode({**frame, **price, "filledQty": "1"}))
    assert (order.price, order.side, order.state) == (0, "buy", "filled")


def test_a_row_of_somebody_else_that_cannot_be_read_is_left_out_and_told() -> None:
    found, skipped = orders({**ORDER, "qty": "much"}, {**ORDER, "qty": "much", "clientOrderId": "42"}, ORDER)
    assert [row is None for row in found] == [True, True, False]
    assert len(skipped) == 2


@pytest.mark.parametrize("row", [{**ORDER, "qty": "much", "clientOrderId": OURS}, {"orderId": 1}])
def test_a_row_that_is_the_desks_or_may_be_must_be_readable(row: dict[str, Any]) -> None:
    with pytest.raises(ParseError):
        orders(ORDER, row)


@pytest.mark.parametrize(("coin", "fee"), [("USDT", 2), ("BTC", 200), ("CALL", None)])
def test_a_fee_in_a_third_coin_is_not_known_and_the_fill_is(coin: str, fee: int | None) -> None:
    fill = parse_spot.parse_fill(msgspec.json.encode({**FILL, "fee": "2", "feeCurrency": coin}))
    assert fill.quantity == 1
    assert fill.fee_usd == fee


def test_a_pair_that_cannot_be_read_does_not_hide_the_others() -> None:
    sizes = {"basePrecision": "0.001", "minQty": "0.001", "maxQty": "9"}
    pair = {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "priceFilter": {"tickSize": "1"}}
    bad = {**pair, "symbol": "ODDUSDT", "lotSizeFilter": {**sizes, "minQty": "1E+99"}}
    skipped: list[str] = []
    data = msgspec.json.encode([bad, {**pair, "lotSizeFilter": sizes}])
    assert [each.symbol for each in parse_spot.parse_specifications(data, skipped.append)] == ["BTCUSDT"]
    assert len(skipped) == 1
