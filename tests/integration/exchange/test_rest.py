"""Every endpoint over real HTTP: envelope, field names and wire types of the reference."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from tests.integration.exchange.harness import (
    MAKER_KEY,
    OTHER_KEY,
    READ_ONLY_KEY,
    TRADING_KEY,
    USER_ID,
    RestClient,
    RunningExchange,
    StillClock,
    now_ms,
    signed_headers,
    small_config,
    tradable,
    with_server,
)

NUM = (int, Decimal)
NUMSTR = re.compile(r"-?\d+(\.\d+)?")
SYMBOL = re.compile(r"(BTC|ETH)USD-\d{1,2}[A-Z]{3}\d{2}-\d+(\.\d+)?-[CP]")


def check(row: dict[str, Any], types: dict[str, str]) -> None:
    """`row` has exactly the fields of `types`, each of the wire type named there; a trailing ? admits null."""
    assert row.keys() == types.keys()
    for name, kind in types.items():
        value = row[name]
        if kind.endswith("?") and value is None:
            continue
        match kind.rstrip("?"):
            case "num":
                assert isinstance(value, NUM), (name, value)
                assert not isinstance(value, bool), (name, value)
            case "int" | "ms" | "id":
                assert type(value) is int, (name, value)
            case "numstr":
                assert isinstance(value, str), (name, value)
                assert NUMSTR.fullmatch(value), (name, value)
            case "str":
                assert isinstance(value, str), (name, value)
            case "bool":
                assert isinstance(value, bool), (name, value)
            case "null":
                assert value is None, (name, value)
            case "list":
                assert isinstance(value, list), (name, value)
            case _:
                raise AssertionError(kind)


def types(text: str) -> dict[str, str]:
    """`"a b int, c num"` to {"a": "int", "b": "int", "c": "num"}."""
    result: dict[str, str] = {}
    for group in text.split(","):
        *names, kind = group.split()
        result |= dict.fromkeys(names, kind)
    return result


OPTION = types(
    "optionId id, index underlying symbol displayName baseToken str, endTime ms, strike num, type int, "
    "lastPrice markPrice bid ask bidSize askSize bidIv askIv markIv lastPriceIv volume openInterest underlyingPrice "
    "breakeven changeRate changePrice userPosition delta gamma vega theta rho num"
)
DETAIL = types(
    "optionId id, symbol index displayName str, endTime remainTime ms, strike markPrice underlyingPrice indexPrice "
    "lastPrice premium iv multiplier num, type int, volume volumeUsd openInterest changeRate changePrice "
    "price24hHigh price24hLow price24hOpen volume24h volumeUsd24h breakeven delta gamma vega theta rho num"
)
PENDING = types(
    "id orderId id, clientOrderId id?, symbol displayName str, qty remainQty fillQty price num, avgPrice num?, "
    "initMargin num, tradeSide tradeType reduceOnly int, createTime ms, indexPrice num"
)
SINGLE = types(
    "orderId id, clientOrderId id?, symbol displayName str, qty remainQty fillQty price num, avgPrice num?, "
    "tradeSide tradeType int, createTime updateTime ms, reduceOnly int, fee num, mmp bool, state int"
)
HISTORY = types(
    "orderId id, clientOrderId id?, symbol displayName str, qty fillQty price avgPrice fee rpnl num, "
    "tradeSide tradeType int, createTime ms, state reduceOnly int, mmp bool"
)
FILL = types(
    "id id, optionId id?, symbol displayName str, tradeSide tradeType int, price qty iv markPrice indexPrice num, "
    "orderId tradeId id, fee num, time ms, reduceOnly isTaker int, mmp bool"
)
POSITION = types(
    "id positionId orderId userId id, symbol displayName baseToken quoteToken str, tradeSide int, qty lockQty "
    "avgPrice markPrice indexPrice value upnl roi rspl initMargin maintMargin delta gamma vega theta rho num, "
    "updateTime ms, lastPrice upnlByMarkPrice roiByMarkPrice num"
)
SUMMARY = types(
    "userId id, totalBtcValue totalDollarValue totalUsdtValue num, equity marginBalance availableMargin imAmount "
    "mmAmount imRatio mmRatio unrealizedPnL numstr, accounts list"
)
COIN = types(
    "accountId int?, coin coinView coinDesc coinIconUrl str, equityAmount availableBalance canWithdrawAmount "
    "marginBalance unrealizedAmount imAmount mmAmount numstr, cashBalanceAmount num, marginMode int, "
    "btcValue dollarValue usdtValue num, decimal int, delta chainType null"
)


async def rest(client: RestClient, call: dict[str, Any], **fields: Any) -> Any:
    """A buy of one well below the bid: it stays in the book."""
    order = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 1, "price": resting_price(call)}
    return await client.create(**(order | fields))


def resting_price(call: dict[str, Any]) -> int:
    """Below the bid, yet within the venue's lower price limit of 1 % of the underlying under the mark."""
    return int(max(call["bid"] / 2, call["bid"] - call["underlyingPrice"] / 250))


def crossing_price(call: dict[str, Any]) -> int:
    """Above the ask, yet within the venue's upper price limit of 5 % of the underlying over the mark."""
    return int(call["ask"] + call["underlyingPrice"] / 50) + 1


async def test_time_is_the_clock_of_the_venue_in_milliseconds(exchange: RunningExchange) -> None:
    data = await exchange.client().data("/time")
    check(data, {"serverTime": "ms"})
    assert abs(data["serverTime"] - now_ms()) < 5_000


async def test_public_data_needs_no_signature(exchange: RunningExchange) -> None:
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
        for path in ("/time", "/open/option/getInstruments/BTC", "/open/option/get/v1/BTCUSD"):
            assert (await http.get(path)).json()["code"] == 0


async def test_configuration_and_funding_have_the_fields_of_the_reference(exchange: RunningExchange) -> None:
    client = exchange.client()
    config = await client.data("/open/public/config/v1")
    check(
        config["optionConfig"]["BTCUSD"],
        types(
            "symbol base settle str, takerFee makerFee multiplier tickSize limitMaxQty marketMaxQty maxPositionQty "
            "minQty num, priceDecimal tickDecimal qtyDecimal greeksDecimal maxOrderNumber int"
        ),
    )
    assert config["futuresConfig"].keys() == {"BTCUSD", "ETHUSD"}
    rates = await client.data("/open/public/fundingRate/v1")
    check(rates[0], types("symbol str, rate contractId numstr, nextFundingTime ts ms"))
    only = await client.data("/open/public/fundingRate/v1", symbol="ETHUSD")
    assert [row["symbol"] for row in only] == ["ETHUSD"]


async def test_instruments_have_exact_strikes_ticks_and_future_expiries(exchange: RunningExchange) -> None:
    rows = await exchange.client().data("/open/option/getInstruments/BTC")
    assert len(rows) >= 20
    for row in rows:
        check(
            row,
            types(
                "symbolName baseCurrency str, strike minQty tickSize num, expirationTimestamp startTimestamp ms, "
                "isActive bool"
            ),
        )
        assert SYMBOL.fullmatch(row["symbolName"])
        assert row["expirationTimestamp"] > now_ms() - 1_000
    assert rows[0]["minQty"] == Decimal("0.01")


async def test_the_chain_pairs_calls_and_puts_of_one_expiry(exchange: RunningExchange) -> None:
    client = exchange.client()
    instruments = await client.data("/open/option/getInstruments/BTC")
    end_ms = instruments[-1]["expirationTimestamp"]
    rows = await client.data("/open/option/get/v1/BTCUSD", endTime=end_ms)
    for row in rows:
        check(row["callOption"], OPTION)
        check(row["putOption"], OPTION)
        assert row["callOption"]["strike"] == row["putOption"]["strike"] == row["strike"]
        assert (row["callOption"]["type"], row["putOption"]["type"]) == (1, 2)
        assert row["callOption"]["endTime"] == end_ms
        assert 0 <= row["callOption"]["delta"] <= 1
    assert len(rows) * 2 == sum(each["expirationTimestamp"] == end_ms for each in instruments)
    everything = await client.data("/open/option/get/v1/BTCUSD")
    assert len(everything) * 2 == len(instruments)


async def test_no_number_of_the_chain_shows_a_float_artefact(exchange: RunningExchange) -> None:
    body = (await exchange.client().raw_get("/open/option/get/v1/BTCUSD")).text
    assert not re.search(r"\d\.\d*(0000000|9999999)\d", body)
    assert "NaN" not in body
    assert not re.search(r"-0(\.0*)?[,}]", body)


async def test_detail_and_book_of_one_option(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    check(await client.data(f"/open/option/detail/v1/{call['symbol']}"), DETAIL)
    book = await client.data(f"/open/option/order/orderbook/v1/{call['symbol']}")
    assert book.keys() == {"optionName", "displayName", "strike", "bids", "asks"}
    for level in book["bids"] + book["asks"]:
        check(level, types("price size numstr"))
    bids = [Decimal(level["price"]) for level in book["bids"]]
    asks = [Decimal(level["price"]) for level in book["asks"]]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]


async def test_index_comes_with_the_futures_symbols_as_list_or_single_object(exchange: RunningExchange) -> None:
    client = exchange.client()
    rows = await client.data("/open/futures/market/symbol/v1")
    assert [row["symbol"] for row in rows][:2] == ["BTCUSD", "ETHUSD"]
    assert all(row["symbol"].startswith(("BTCUSD-", "ETHUSD-")) for row in rows[2:])
    one = await client.data("/open/futures/market/symbol/v1", symbol="ETHUSD")
    assert one["symbol"] == "ETHUSD"
    assert isinstance(one["indexPrice"], NUM)
    instruments = await client.data("/open/futures/market/instruments/v1")
    assert instruments[0]["ticker_id"] == "BTC-USD"
    assert NUMSTR.fullmatch(instruments[0]["index_price"])


async def test_expiration_prices_are_listed_and_estimated(exchange: RunningExchange) -> None:
    client = exchange.client()
    delivered = await client.get("/open/option/get-delivery-prices/v1", symbol="BTCUSD")
    assert delivered["records_total"] == len(delivered["data"])
    end_ms = (await client.data("/open/option/getInstruments/BTC"))[0]["expirationTimestamp"]
    path = "/open/option/getEstimatedExpirationPrice/v1"
    rows = await client.data(path, index="BTCUSD", endTime=end_ms)
    assert len(rows) == 1
    check(rows[0], types("estimatedExpirationPrice numstr, index str, endTime ms"))
    assert len(await client.data(path, endTime=end_ms)) == 2
    assert (await client.get(path))["code"] == 10570


async def test_an_order_that_rests_is_pending_then_cancelled_then_history(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    price = resting_price(call) + Decimal("0.5")
    created = await client.create(
        symbol=call["symbol"], tradeSide=1, tradeType=1, qty=0.5, price=float(price), clientOrderId=1001
    )
    assert created["code"] == 0, created
    order_id = created["data"]
    assert type(order_id) is int
    page = await client.data("/open/option/order/pending/v1", page=1, pageSize=20, currency="BTC")
    assert (page["total"], page["pageTotal"]) == (1, 1)
    check(page["list"][0], PENDING)
    assert page["list"][0]["clientOrderId"] == 1001
    single = await client.data("/open/option/order/singleQuery/v1", clientOrderId=1001)
    check(single, SINGLE)
    assert (single["orderId"], single["state"], single["avgPrice"]) == (order_id, 0, None)
    assert single["price"] == price
    cancelled = await client.post("/open/option/order/cancel/v1", orderId=str(order_id))
    assert (cancelled["code"], cancelled["data"]) == (0, "success")
    again = await client.post("/open/option/order/cancel/v1", orderId=order_id, clientOrderId=None)
    assert again["code"] == 11101
    history = await client.data("/open/option/order/history/v1", pageSize=20)
    assert history.keys() == {"list", "hasNext", "hasPre"}
    check(history["list"][0], HISTORY)
    assert history["list"][0]["state"] == 3


async def test_a_crossing_order_fills_and_shows_in_fills_positions_and_summary(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    created = await client.create(
        symbol=call["symbol"], tradeSide=1, tradeType=1, qty="0.01", price=str(call["ask"] * 2), timeInForce="IOC"
    )
    single = await client.data("/open/option/order/singleQuery/v1", orderId=created["data"])
    assert single["state"] == 1
    fills = await client.data("/open/option/trade/history/v1", pageSize=20)
    check(fills["list"][0], FILL)
    fill = fills["list"][0]
    assert (fill["orderId"], fill["isTaker"], fill["qty"]) == (created["data"], 1, Decimal("0.01"))
    positions = await client.data("/open/option/position/get/v1")
    check(positions[0], POSITION)
    assert positions[0]["tradeSide"] == 1
    summary = await client.data("/open/account/summary/v1")
    check(summary, SUMMARY)
    check(summary["accounts"][0], COIN)
    paid = fill["price"] * fill["qty"] + fill["fee"]
    assert summary["accounts"][0]["cashBalanceAmount"] == 1_000_000 - paid
    chain = await client.data("/open/option/get/v1/BTCUSD", endTime=call["endTime"])
    mine = next(row["callOption"] for row in chain if row["callOption"]["symbol"] == call["symbol"])
    assert mine["userPosition"] == Decimal("0.01")
    trades = await client.data(f"/open/option/trade/lasttrade/v1/{call['symbol']}")
    check(trades[0], types("symbol displayName str, price qty numstr, time ms, tradeSide int"))
    assert (await exchange.client(OTHER_KEY).data("/open/option/position/get/v1")) == []


async def test_amending_keeps_the_id_and_a_wrong_one_leaves_the_order(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    price = resting_price(call)
    created = await client.create(symbol=call["symbol"], tradeSide=1, tradeType=3, qty=1, price=price)
    path = "/open/option/order/modify/v1"
    amended = await client.post(path, orderId=str(created["data"]), symbol=call["symbol"], qty="2", price=price + 1)
    assert (amended["code"], amended["data"]) == (0, created["data"])
    refused = await client.post(path, orderId=created["data"], symbol=call["symbol"], price="0.123")
    assert refused["code"] != 0
    single = await client.data("/open/option/order/singleQuery/v1", orderId=created["data"])
    assert (single["qty"], single["price"]) == (2, price + 1)


async def test_batch_cancel_reports_each_id(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    price = resting_price(call)
    ids = [
        (await client.create(symbol=call["symbol"], tradeSide=1, tradeType=1, qty=1, price=price))["data"]
        for _ in "ab"
    ]
    rows = await client.post("/open/option/order/batchCancel/v1", orderIdList=[ids[0], 12345])
    check(rows["data"][0], types("clOrdId id?, ordId id, ts ms, scode int, smsg str?"))
    assert [row["scode"] for row in rows["data"]] == [0, 1]
    too_many = await client.post("/open/option/order/batchCancel/v1", orderIdList=list(range(1, 42)))
    assert too_many["code"] == 10572
    assert (await client.get(f"/open/option/order/batchCancelByOption/v1/{call['symbol']}"))["data"] is None
    assert (await client.data("/open/option/order/pending/v1"))["total"] == 0


async def test_cancelling_an_index_leaves_the_other_index_and_the_other_account(exchange: RunningExchange) -> None:
    client, other = exchange.client(), exchange.client(OTHER_KEY)
    btc, eth = await tradable(client), await tradable(client, "ETH")
    for who, call in ((client, btc), (client, eth), (other, btc)):
        qty = 1
        created = await who.create(
            symbol=call["symbol"], tradeSide=1, tradeType=1, qty=qty, price=resting_price(call)
        )
        assert created["code"] == 0, created
    assert (await client.get("/open/option/order/cancelOpenOrders/v1/BTCUSD"))["code"] == 0
    left = await client.data("/open/option/order/pending/v1", symbol="ETHUSD")
    assert [row["symbol"] for row in left["list"]] == [eth["symbol"]]
    assert (await client.data("/open/option/order/pending/v1", currency="BTC"))["total"] == 0
    assert (await other.data("/open/option/order/pending/v1"))["total"] == 1


async def test_paging_through_orders_gives_each_once(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    ids = []
    for _ in range(5):
        created = await client.create(
            symbol=call["symbol"], tradeSide=1, tradeType=1, qty=1, price=resting_price(call)
        )
        ids.append(created["data"])
    second = await client.data("/open/option/order/pending/v1", page=2, pageSize=2)
    assert ([row["orderId"] for row in second["list"]], second["pageTotal"]) == ([ids[2], ids[1]], 3)
    await client.get("/open/option/order/cancelOpenOrders/v1/BTCUSD")
    seen: list[int] = []
    parameters: dict[str, Any] = {"pageSize": 2}
    while True:
        page = await client.data("/open/option/order/history/v1", **parameters)
        seen += [row["orderId"] for row in page["list"]]
        assert page["hasPre"] is ("fromId" in parameters)
        if not page["hasNext"]:
            break
        parameters["fromId"] = page["list"][-1]["orderId"]
    assert seen == ids[::-1]
    assert (await client.get("/open/option/order/history/v1", pageSize=501))["code"] == 10573


async def test_user_key_deposits_and_exercises_answer(exchange: RunningExchange) -> None:
    client = exchange.client(READ_ONLY_KEY)
    check(await client.data("/open/user/info/v1"), types("name email str, userId int"))
    key = await client.data("/open/auth/user/query-api")
    assert (key["userId"], key["apiKey"], key["readOnly"]) == (USER_ID, READ_ONLY_KEY.api_key, 1)
    assert (await exchange.client().data("/open/auth/user/query-api"))["readOnly"] == 0
    deposits = await client.data("/open/account/historyList/v1")
    assert deposits.keys() == {"list", "pageTotal", "total"}
    exercises = await client.data("/open/settle/exercise/history/v1")
    assert exercises == {"list": [], "hasNext": False, "hasPrev": False}


async def test_a_read_only_key_reads_and_cannot_trade(exchange: RunningExchange) -> None:
    client = exchange.client(READ_ONLY_KEY)
    assert (await client.data("/open/option/order/pending/v1"))["total"] == 0
    refused = await client.create(symbol="BTCUSD-26JUN26-100000-C", tradeSide=1, tradeType=1, qty=1, price=1)
    assert refused["code"] == 10554
    assert (await client.get("/open/option/order/cancelOpenOrders/v1/BTCUSD"))["code"] == 10554


async def test_results_of_a_batch_of_amendments_come_by_symbol(exchange: RunningExchange) -> None:
    maker = exchange.client(MAKER_KEY)
    calls = [await tradable(maker, base) for base in ("ETH", "BTC")]
    order_ids = [(await rest(maker, call))["data"] for call in calls]
    changes = [
        {"orderId": order_id, "symbol": call["symbol"], "qty": 2}
        for order_id, call in zip(order_ids, calls, strict=True)
    ]
    amended = await maker.post("/open/option/order/batchModify/v1", orders=changes)
    assert [(row["code"], row["data"]) for row in amended["data"]] == [(0, order_ids[1]), (0, order_ids[0])]


async def test_batches_are_for_market_makers_and_unknown_to_others(exchange: RunningExchange) -> None:
    maker = exchange.client(MAKER_KEY)
    call = await tradable(maker)
    order = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 1, "price": resting_price(call)}
    path = "/open/option/order/batchCreate/v1"
    results = (await maker.post(path, orders=[order, order | {"qty": 0.001}]))["data"]
    assert results[0]["code"] == 0
    assert (results[1]["code"], results[1]["msg"]) == (10558, "less.than.min.amount")
    amended = await maker.post(
        "/open/option/order/batchModify/v1",
        orders=[{"orderId": results[0]["data"], "symbol": call["symbol"], "qty": 2}],
    )
    assert amended["data"][0] == {"code": 0, "msg": None, "i18nArgs": None, "data": results[0]["data"]}
    assert (await exchange.client().raw_post(path, orders=[order])).status_code == 404


BAD_ORDERS: dict[str, tuple[dict[str, Any], int]] = {
    "symbol": ({"symbol": None}, 10570),
    "unknown symbol": ({"symbol": "BTCUSD-1JAN20-1-C"}, 10574),
    "side": ({"tradeSide": 3}, 10573),
    "type": ({"tradeType": 9}, 10573),
    "no quantity": ({"qty": None}, 10533),
    "no price": ({"price": None}, 10530),
    "word": ({"qty": "many"}, 10573),
    "time in force": ({"timeInForce": "DAY"}, 12012),
    "below minimum": ({"qty": 0.001}, 10558),
    "above maximum": ({"qty": 1_000_000}, 10534),
    "reduce only": ({"reduceOnly": 1}, 10536),
    "client id": ({"clientOrderId": -5}, 10573),
}


@pytest.mark.parametrize("name", BAD_ORDERS)
async def test_a_wrong_order_is_refused_with_its_code_and_leaves_no_trace(
    exchange: RunningExchange, name: str
) -> None:
    client = exchange.client()
    call = await tradable(client)
    fields = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 1, "price": resting_price(call)}
    change, code = BAD_ORDERS[name]
    answer = await client.create(**(fields | change))
    assert answer["code"] == code, answer
    assert answer["data"] is None
    assert (await client.data("/open/option/order/pending/v1"))["total"] == 0


async def test_a_repeated_client_id_is_refused_even_after_the_first_order_is_gone(exchange: RunningExchange) -> None:
    client = exchange.client()
    call = await tradable(client)
    fields = {"symbol": call["symbol"], "tradeSide": 1, "tradeType": 1, "qty": 1, "price": resting_price(call)}
    first = await client.create(**fields, clientOrderId=77)
    assert (await client.create(**fields, clientOrderId=77))["code"] == 10577
    await client.post("/open/option/order/cancel/v1", orderId=first["data"])
    assert (await client.create(**fields, clientOrderId=77))["code"] == 10577


async def test_unknown_orders_indices_and_paths_have_their_answers(exchange: RunningExchange) -> None:
    client = exchange.client()
    assert (await client.get("/open/option/order/singleQuery/v1", orderId=1))["code"] == 10584
    assert (await client.get("/open/option/order/singleQuery/v1"))["code"] == 10575
    assert (await client.post("/open/option/order/cancel/v1"))["code"] == 10575
    assert (await client.post("/open/option/order/cancel/v1", clientOrderId=5))["code"] == 10584
    assert (await client.get("/open/option/get/v1/DOGEUSD"))["code"] == 10579
    assert (await client.get("/open/option/detail/v1/nothing"))["code"] == 10574
    assert (await client.raw_get("/open/option/order/123/v1")).status_code == 404
    assert (await client.raw_get("/open/option/order/create/v1")).status_code == 405


async def test_bad_credentials_have_their_codes_with_http_200(exchange: RunningExchange) -> None:
    path = "/open/user/info/v1"
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:

        async def code(headers: dict[str, str]) -> int:
            response = await http.get(path, headers=headers)
            assert response.status_code == 200
            answer: int = response.json()["code"]
            return answer

        good = signed_headers(TRADING_KEY, "GET", path, "")
        assert await code(good) == 0
        assert await code({name.lower(): value for name, value in good.items()}) == 0
        assert await code({}) == 10560
        assert await code(good | {"X-CC-APIKEY": "nobody"}) == 10560
        assert await code(good | {"sign": "0" * 64}) == 4003
        assert await code(signed_headers(TRADING_KEY, "GET", path, "", ts_ms=now_ms() - 60_000)) == 10557


async def test_a_form_body_on_a_json_endpoint_is_an_illegal_parameter(exchange: RunningExchange) -> None:
    path = "/open/option/order/cancel/v1"
    headers = signed_headers(TRADING_KEY, "POST", path, "orderId=1")
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
        assert (await http.post(path, content="orderId=1", headers=headers)).json()["code"] == 10004


async def test_an_order_with_ids_beyond_doubles_and_blanks_in_its_json_is_read_exactly(
    exchange: RunningExchange,
) -> None:
    client = exchange.client()
    call = await tradable(client)
    client_id = 2**63 - 1
    price = resting_price(call)
    body = (
        f'{{ "symbol": "{call["symbol"]}", "tradeSide": "1", "tradeType": 1, '
        f'"qty": 0.50, "price": {price}, "clientOrderId": {client_id} }}'
    )
    text = f"clientOrderId={client_id}&price={price}&qty=0.50&symbol={call['symbol']}&tradeSide=1&tradeType=1"
    path = "/open/option/order/create/v1"
    answer = await client.http.post(path, content=body, headers=signed_headers(TRADING_KEY, "POST", path, text))
    assert answer.json()["code"] == 0, answer.text
    single = await client.data("/open/option/order/singleQuery/v1", clientOrderId=client_id)
    assert (single["clientOrderId"], single["qty"]) == (client_id, Decimal("0.5"))


async def test_the_order_limit_answers_10000_and_recovers() -> None:
    config = small_config()
    config = replace(config, rate_limits=replace(config.rate_limits, orders=5))
    clock = StillClock()
    async with RunningExchange(config, now_ns=clock.now_ns) as exchange:
        client, other = exchange.client(), exchange.client(OTHER_KEY)

        async def place(who: RestClient) -> int:
            code: int = (await who.create(symbol="nothing", tradeSide=1, tradeType=1, qty=1, price=1))["code"]
            return code

        codes = await asyncio.gather(*(place(client) for _ in range(6)))
        assert sorted(codes) == [10000] + [10574] * 5
        assert await place(other) == 10574
        clock.at_ns += 900_000_000
        assert await place(client) == 10000
        clock.at_ns += 200_000_000
        assert await place(client) == 10574


async def test_services_that_ask_about_their_keys_at_once_do_not_use_up_the_limit_of_the_account() -> None:
    config = small_config()
    config = replace(config, rate_limits=replace(config.rate_limits, account=1))
    async with RunningExchange(config, now_ns=StillClock().now_ns) as exchange:
        client = exchange.client(READ_ONLY_KEY)
        asked = [(await client.get("/open/auth/user/query-api"))["code"] for _ in range(3)]
        assert asked == [0, 0, 0]
        both = await asyncio.gather(*(client.get("/open/account/summary/v1") for _ in range(2)))
        assert sorted(answer["code"] for answer in both) == [0, 10000]


async def test_a_body_beyond_the_limit_is_refused() -> None:
    async with RunningExchange(with_server(small_config(), body_bytes_max=1_024)) as exchange:
        response = await exchange.client().http.post("/open/option/order/create/v1", content=b"x" * 2_000)
        assert json.loads(response.content)["code"] == 10005
