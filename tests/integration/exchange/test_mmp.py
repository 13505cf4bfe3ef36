"""Market-maker protection over HTTP: for those who have the right, with the venue's fields, codes and odd answers."""

from __future__ import annotations

import pytest

from tests.integration.exchange.harness import MAKER_KEY, OTHER_KEY, READ_ONLY_KEY, RunningExchange
from tests.integration.exchange.test_rest import resting_price, tradable

SET, GET, RESET = (
    f"/open/mmp/{name}-mmp{end}/v1" for name, end in (("set", "-config"), ("get", "-config"), ("reset", ""))
)
PROTECTION = {
    "indexName": "BTCUSD",
    "intervalTime": "60000",
    "frozenTime": "0",
    "qtyLimit": "0.05",
    "deltaLimit": "9",
}


async def test_a_protection_is_set_fires_refuses_and_is_reset(exchange: RunningExchange) -> None:
    maker, other = exchange.client(MAKER_KEY), exchange.client(OTHER_KEY)
    call = await tradable(maker)
    order = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 0.1, "price": resting_price(call)}
    assert (await maker.create(**order, mmp=True))["code"] == 60008
    assert (await maker.post(SET, **PROTECTION))["data"] is True
    resting = await maker.create(**order, mmp=True)
    assert resting["code"] == 0
    best = (await maker.data(f"/open/option/order/orderbook/v1/{call['symbol']}"))["asks"][0]
    inside = float(best["price"]) - 1
    offered = await maker.create(**(order | {"tradeSide": 2, "price": inside}), mmp=True)
    assert offered["code"] == 0
    taken = await other.create(**(order | {"qty": 0.05, "price": inside}))
    assert taken["code"] == 0
    for answer in (resting, offered):
        seen = await maker.data("/open/option/order/singleQuery/v1", orderId=answer["data"])
        assert (seen["state"], seen["mmp"]) == (3, True)
    state = await maker.data(GET, indexName="BTCUSD")
    assert (state["mmpFrozen"], state["mmpFrozenUntil"]) == (True, "")
    assert (state["intervalTime"], state["frozenTime"], float(state["qtyLimit"])) == (60_000, 0, 0.05)
    assert (await maker.create(**order, mmp=True))["code"] == 10001
    assert (await maker.create(**order))["code"] == 0
    assert (await maker.raw_post(RESET, indexName="BTCUSD", instType="OPTION")).json() == {
        "code": "0",
        "msg": "",
        "data": [{"result": True}],
    }
    assert not (await maker.data(GET, indexName="BTCUSD"))["mmpFrozen"]
    assert (await maker.create(**order, mmp=True))["code"] == 0


@pytest.mark.parametrize("key", [OTHER_KEY, READ_ONLY_KEY])
async def test_without_the_right_it_is_not_allowed(exchange: RunningExchange, key: object) -> None:
    client = exchange.client(key)  # type: ignore[arg-type]
    refused = await client.get(GET, indexName="BTCUSD")
    assert (refused["code"], refused["msg"]) == (10554, "not.allow")


async def test_what_is_wrong_is_named(exchange: RunningExchange) -> None:
    maker = exchange.client(MAKER_KEY)
    assert await maker.data(GET, indexName="BTCUSD") is None
    assert (await maker.get(GET, indexName="DOGEUSD"))["code"] == 10579
    assert (await maker.post(SET, **(PROTECTION | {"indexName": "DOGEUSD"})))["code"] == 10579
    assert (await maker.post(SET, **(PROTECTION | {"intervalTime": "5"})))["code"] == 10573
    assert (await maker.post(SET, **(PROTECTION | {"qtyLimit": "0"})))["code"] == 10573
    assert (await maker.post(SET, indexName="BTCUSD"))["code"] == 10570
    assert (await maker.post(RESET, indexName="BTCUSD", instType="SPOT"))["code"] == 10573
    assert (await maker.post(RESET, indexName="BTCUSD"))["code"] == 60008
