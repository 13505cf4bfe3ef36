"""Requests for quote over HTTP and WebSocket, as clients written for the venue use them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from services.exchange.config import RfqConfig
from services.exchange.rfq_model import QuoteState
from services.exchange.switches import Switches
from shared.runner import MemoryJournal
from tests.integration.exchange.harness import (
    MAKER_KEY,
    OTHER_KEY,
    PROMPT,
    READ_ONLY_KEY,
    USER_ID,
    RestClient,
    RunningExchange,
    TimeMachine,
    receive_until,
    small_config,
    tradable,
    until,
)
from tests.integration.exchange.test_faults import inject
from tests.integration.exchange.test_socket import data_of, subscribe

ROOT = "/open/option/blocktrade"
CREATE, CANCEL, ACCEPT = (f"{ROOT}/request/{name}/v1" for name in ("create", "cancel", "accept"))
RECEIVED = f"{ROOT}/request/getQuotesReceived/v1"
QUOTE, CANCEL_QUOTE, CANCEL_ALL = (f"{ROOT}/quote/{name}/v1" for name in ("create", "cancel", "cancel-all"))
RFQ_LIST, LIST_QUOTE, ORDER_LIST = (f"{ROOT}/{name}/v1" for name in ("rfqList", "list-quote", "orderList"))
BY_CODE = "/open/option/blockTrade"
PRIVATE, PUBLIC = (f"{ROOT}/trade-detail/{name}/v1" for name in ("private", "public"))


def switched(**switches: Any) -> RunningExchange:
    return RunningExchange(small_config(switches=Switches(**switches)))


def quiet(**changes: Any) -> RunningExchange:
    """No dealers."""
    return RunningExchange(small_config(rfq=RfqConfig(dealers=()), **changes))


async def spread(client: RestClient, quantity: str = "0.5") -> list[dict[str, str]]:
    """A call spread near the money."""
    call = await tradable(client)
    rows = await client.data("/open/option/get/v1/BTCUSD", endTime=call["endTime"])
    higher = min(
        (row["callOption"] for row in rows if row["callOption"]["strike"] > call["strike"]),
        key=lambda option: option["strike"],
    )
    return [
        {"instrumentName": call["symbol"], "side": "BUY", "qty": quantity},
        {"instrumentName": higher["symbol"], "side": "SELL", "qty": quantity},
    ]


async def ask(client: RestClient, legs: list[dict[str, str]] | None = None) -> str:
    answer = await client.post(CREATE, legs=legs or await spread(client))
    assert answer["code"] == 0, answer
    return str(answer["data"]["requestId"])


async def quotes(client: RestClient, request_id: str, count: int = 2) -> dict[str, dict[str, Any]]:
    """The quotes on a request by side, once there are so many."""
    async with asyncio.timeout(60):
        while True:
            found = await client.data(RECEIVED, requestId=request_id)
            if len(found) >= count:
                return {quote["quoteSide"]: quote for quote in found}
            await asyncio.sleep(0.02)


async def offer(maker: RestClient, request_id: str, *prices: str, **fields: Any) -> dict[str, Any]:
    """A maker's quote; its data."""
    listed = await maker.data(RFQ_LIST, requestId=request_id)
    legs = [
        {"instrumentName": leg["instrumentName"], "price": price}
        for leg, price in zip(listed["rfqList"][0]["legs"], prices, strict=True)
    ]
    answer = await maker.post(QUOTE, requestId=request_id, legs=legs, **fields)
    assert answer["code"] == 0, answer
    return dict(answer["data"])


async def test_a_taker_asks_reads_two_way_quotes_and_accepts_one(exchange: RunningExchange) -> None:
    client = exchange.client()
    legs = await spread(client)
    created = (await client.post(CREATE, legs=legs))["data"]
    assert (created["state"], created["expiryTime"] - created["createTime"]) == ("ACTIVE", 3_600_000)
    assert created["legs"] == legs
    received = await quotes(client, created["requestId"])
    assert received.keys() == {"SELL", "BUY"}
    assert [leg["side"] for leg in received["SELL"]["legs"]] == ["SELL", "BUY"]
    assert [leg["side"] for leg in received["BUY"]["legs"]] == ["BUY", "SELL"]
    quote = received["SELL"]
    assert quote["expiryTime"] - quote["createTime"] == 300_000
    accepted = (await client.form(ACCEPT, requestId=created["requestId"], quoteId=quote["quoteId"]))["data"]
    assert accepted["blockTradeId"] == accepted["quoteId"] == quote["quoteId"]
    assert [leg["side"] for leg in accepted["legs"]] == ["BUY", "SELL"]
    assert [leg["price"] for leg in accepted["legs"]] == [leg["price"] for leg in quote["legs"]]
    assert accepted["legs"][1]["fee"] == "0"
    positions = {row["symbol"]: row for row in await client.data("/open/option/position/get/v1")}
    assert [positions[leg["instrumentName"]]["tradeSide"] for leg in legs] == [1, 2]
    fills = (await client.data("/open/option/trade/history/v1"))["list"]
    assert {str(fill["tradeId"]) for fill in fills} == {leg["tradeId"] for leg in accepted["legs"]}
    assert {fill["tradeType"] for fill in fills} == {14}
    order = await client.data("/open/option/order/singleQuery/v1", orderId=accepted["legs"][0]["orderId"])
    assert (order["state"], order["tradeType"]) == (1, 14)
    assert (await client.form(ACCEPT, requestId=created["requestId"], quoteId=quote["quoteId"]))["code"] == 50014


async def test_quotes_of_all_requests_come_without_an_id_and_none_is_an_empty_list(exchange: RunningExchange) -> None:
    client, other = exchange.client(), exchange.client(OTHER_KEY)
    assert await client.data(RECEIVED) == []
    first, second = await ask(client), await ask(client)
    await quotes(client, first)
    await quotes(client, second)
    assert {quote["requestId"] for quote in await client.data(RECEIVED)} == {first, second}
    assert await other.data(RECEIVED) == []
    assert await other.data(RECEIVED, requestId=first) == []


async def test_numbers_and_unknown_fields_in_a_request_are_taken(exchange: RunningExchange) -> None:
    client = exchange.client()
    (leg, _) = await spread(client)
    answer = await client.post(CREATE, legs=[leg | {"qty": 0.5, "remark": "x"}], note="y")
    assert answer["data"]["legs"] == [leg]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"qty": None}, 10533),
        ({"side": "LONG"}, 10573),
        ({"side": None}, 10570),
        ({"instrumentName": ""}, 10570),
        ({"instrumentName": "BTCUSD-1JAN20-1-C"}, 10574),
        ({"qty": "0.001"}, 10558),
    ],
)
async def test_a_wrong_leg_has_its_code(exchange: RunningExchange, changes: dict[str, Any], code: int) -> None:
    client = exchange.client()
    leg = (await spread(client))[0] | changes
    assert (await client.post(CREATE, legs=[{name: value for name, value in leg.items() if value is not None}]))[
        "code"
    ] == code


async def test_a_request_without_legs_and_one_in_a_form_are_refused(exchange: RunningExchange) -> None:
    client = exchange.client()
    assert (await client.post(CREATE))["code"] == 10570
    assert (await client.post(CREATE, legs=[1]))["code"] == 10573
    assert (await client.form(CREATE, legs="[]"))["code"] == 10004


@pytest.mark.parametrize(("body", "json_code", "form_code"), [("both", 0, 0), ("form", 10004, 0), ("json", 0, 10004)])
async def test_calls_that_carry_ids_take_the_configured_content_types(
    body: str, json_code: int, form_code: int
) -> None:
    async with switched(rfq_body=body) as exchange:
        client, maker = exchange.client(), exchange.client(MAKER_KEY)
        send = {"json": (client.post, maker.post), "form": (client.form, maker.form)}
        for kind, code in (("json", json_code), ("form", form_code)):
            of_taker, of_maker = send[kind]
            request_id = await ask(client)
            assert (await of_taker(CANCEL, requestId=request_id))["code"] == code, kind
            request_id = await ask(client)
            quote_id = (await quotes(client, request_id))["SELL"]["quoteId"]
            assert (await of_taker(ACCEPT, requestId=request_id, quoteId=quote_id))["code"] == code, kind
            given = await offer(maker, await ask(client), "2500", "1500")
            assert (await of_maker(CANCEL_QUOTE, quoteId=given["quoteId"]))["code"] == code, kind
        assert (await maker.form(CANCEL_ALL))["code"] == 0
        assert (await maker.post(CANCEL_ALL))["code"] == 0


async def test_ids_may_come_as_integers(exchange: RunningExchange) -> None:
    client = exchange.client()
    request_id = await ask(client)
    quote = (await quotes(client, request_id))["SELL"]
    answer = await client.post(ACCEPT, requestId=int(request_id), quoteId=int(quote["quoteId"]))
    assert answer["code"] == 0
    assert (await client.form(CANCEL, requestId=request_id))["code"] == 10537
    assert (await client.form(CANCEL, requestId="x"))["code"] == 10573
    assert (await client.form(CANCEL))["code"] == 10570


async def test_ids_are_served_as_integers_where_the_switch_says_so() -> None:
    async with switched(rfq_ids="integer", quote_create_ids="text") as exchange:
        client, maker = exchange.client(OTHER_KEY), exchange.client(MAKER_KEY)
        created = (await client.post(CREATE, legs=await spread(client)))["data"]
        assert type(created["requestId"]) is int
        given = await offer(maker, created["requestId"], "2500", "1500")
        assert type(given["quoteId"]) is str
        assert type((await maker.data(RFQ_LIST))["userId"]) is int
        assert type((await maker.data(LIST_QUOTE))[0]["quoteId"]) is int


async def test_accounts_without_quote_access_know_no_maker_calls(exchange: RunningExchange) -> None:
    client = exchange.client()
    answers = [
        await client.raw_get(RFQ_LIST),
        await client.raw_get(LIST_QUOTE),
        await client.raw_post(QUOTE, requestId=1, legs=[]),
        await client.raw_form(CANCEL_QUOTE, quoteId=1),
        await client.raw_form(CANCEL_ALL),
    ]
    assert {answer.status_code for answer in answers} == {404}


async def test_the_list_of_requests_may_show_a_taker_its_own() -> None:
    async with switched(rfq_list_without_access="own") as exchange:
        client, other = exchange.client(), exchange.client(OTHER_KEY)
        request_id = await ask(client)
        await ask(other)
        listed = await client.data(RFQ_LIST)
        assert [(row["requestId"], row["role"]) for row in listed["rfqList"]] == [(request_id, "TAKER")]


async def test_a_read_only_key_reads_and_does_nothing(exchange: RunningExchange) -> None:
    reader = exchange.client(READ_ONLY_KEY)
    assert await reader.data(RECEIVED) == []
    assert (await reader.data(PRIVATE))["list"] == []
    assert (await reader.post(CREATE, legs=[]))["code"] == 10554
    assert (await reader.form(ACCEPT, requestId=1, quoteId=1))["code"] == 10554


async def test_a_maker_lists_quotes_refreshes_and_trades() -> None:
    async with quiet() as exchange:
        taker, maker = exchange.client(), exchange.client(MAKER_KEY)
        assert (await maker.data(RFQ_LIST))["rfqList"] == []
        assert await maker.data(LIST_QUOTE) == []
        request_id = await ask(taker)
        (row,) = (await maker.data(RFQ_LIST, state="OPEN", role="MAKER"))["rfqList"]
        assert (row["requestId"], row["role"], row["state"]) == (request_id, "MAKER", "ACTIVE")
        given = await offer(maker, request_id, "2500.04", "1500")
        assert type(given["quoteId"]) is int
        assert (given["strategyName"], given["strategyQuantity"]) == ("Call Spread", "0.50000000")
        assert (given["strategyPrice"], given["legs"][0]["price"]) == ("1000.04000000", "2500.0")
        assert [leg["ratio"] for leg in given["legs"]] == ["1.000000000000000000"] * 2
        legs = [{"instrumentName": leg["instrumentName"], "price": "1"} for leg in given["legs"]]
        assert (await maker.post(QUOTE, requestId=request_id, legs=legs))["code"] == 50012
        assert (await maker.post(QUOTE, requestId=request_id, quoteSide="BUY", legs=legs[:1]))["code"] == 50014
        cancelled = await maker.form(CANCEL_QUOTE, quoteId=given["quoteId"])
        assert cancelled["data"] == {"quoteId": str(given["quoteId"])}
        fresh = await offer(maker, request_id, "2400", "1500")
        listed = await maker.data(LIST_QUOTE, requestId=request_id)
        assert [(quote["quoteId"], quote["state"]) for quote in listed] == [
            (str(fresh["quoteId"]), "OPEN"),
            (str(given["quoteId"]), "CANCELLED"),
        ]
        assert [quote["quoteId"] for quote in await maker.data(LIST_QUOTE, state="CLOSED")] == [str(given["quoteId"])]
        assert await maker.data(LIST_QUOTE, symbol="ETHUSD") == []
        assert len(await maker.data(LIST_QUOTE, symbol="ETHUSD,BTCUSD")) == 2
        assert (await maker.get(LIST_QUOTE, startTime=1))["code"] == 10573
        received = await quotes(taker, request_id)
        answer = await taker.form(ACCEPT, requestId=request_id, quoteId=received["SELL"]["quoteId"])
        assert answer["data"]["legs"][0]["price"] == "2400"
        (row,) = (await maker.data(RFQ_LIST, requestId=request_id))["rfqList"]
        assert row["state"] == "FILLED"
        assert (await maker.data(RFQ_LIST, state="OPEN"))["rfqList"] == []
        positions = await maker.data("/open/option/position/get/v1")
        assert sorted(row["tradeSide"] for row in positions) == [1, 2]


async def test_another_makers_trade_is_read_as_traded_away() -> None:
    async with RunningExchange(small_config()) as exchange:
        taker, maker = exchange.client(), exchange.client(MAKER_KEY)
        request_id, unseen = await ask(taker), await ask(taker)
        mine = str((await offer(maker, request_id, "2500", "1500"))["quoteId"])
        for number in (request_id, unseen):
            received = await taker.data(RECEIVED, requestId=number)
            while not (theirs := [each for each in received if each["quoteId"] != mine]):
                received = await taker.data(RECEIVED, requestId=number)
            answer = await taker.form(ACCEPT, requestId=number, quoteId=theirs[0]["quoteId"])
            assert answer["code"] == 0
        states = {row["requestId"]: row["state"] for row in (await maker.data(RFQ_LIST))["rfqList"]}
        assert states == {request_id: "TRADED_AWAY", unseen: "FILLED"}


async def test_block_trades_are_listed_in_pages_private_and_public(exchange: RunningExchange) -> None:
    client, other = exchange.client(), exchange.client(OTHER_KEY)
    legs = await spread(client)
    made = []
    for _ in range(3):
        request_id = await ask(client, legs)
        quote_id = (await quotes(client, request_id))["SELL"]["quoteId"]
        await client.form(ACCEPT, requestId=request_id, quoteId=quote_id)
        made.insert(0, quote_id)
    page = await client.data(PRIVATE, pageSize=2)
    assert [row["blockTradeId"] for row in page["list"]] == made[:2]
    assert (page["hasNext"], page["hasPrev"]) == (True, False)
    rest = await client.data(PRIVATE, pageSize=2, fromId=made[1])
    assert ([row["blockTradeId"] for row in rest["list"]], rest["hasNext"], rest["hasPrev"]) == (
        made[2:],
        False,
        True,
    )
    back = await client.data(PRIVATE, pageSize=1, fromId=made[2], direction="PREV")
    assert [row["blockTradeId"] for row in back["list"]] == [made[1]]
    one = (await client.data(PRIVATE, blocktradeId=made[1]))["list"]
    assert [(row["blockTradeId"], row["role"], row["tradeSide"]) for row in one] == [(made[1], "TAKER", "BUY")]
    flat = (await client.data(ORDER_LIST, blocktradeId=made[0]))["list"]
    assert [(row["blocktradeId"], row["symbol"], row["side"], row["qty"]) for row in flat] == [
        (made[0], leg["instrumentName"], leg["side"], leg["qty"]) for leg in legs
    ]
    assert (await client.data(ORDER_LIST, currency="ETH"))["list"] == []
    assert (await client.data(PRIVATE, symbol="ETHUSD"))["list"] == []
    assert (await other.data(PRIVATE))["list"] == []
    assert (await other.data(ORDER_LIST))["list"] == []
    public = (await other.data(PUBLIC, symbol="BTCUSD"))["list"]
    assert len(public) == 3
    assert not {"blockTradeId", "userId", "role"} & public[0].keys()
    assert not {"fee", "profit", "orderId"} & public[0]["legs"][0].keys()
    assert (await client.get(PRIVATE, pageSize=50))["code"] == 10573


async def test_the_frames_of_a_deal_reach_those_whom_they_concern(exchange: RunningExchange) -> None:
    taker, maker = exchange.client(), exchange.client(MAKER_KEY)
    names = ("rfqTaker", "quoteReceived", "blockTradeDetail", "blockTradePublic", "rfqMaker", "rfqQuote", "trade")
    async with (
        exchange.socket() as ours,
        exchange.socket(key=MAKER_KEY) as theirs,
        exchange.socket(key=OTHER_KEY) as others,
    ):
        for websocket in (ours, theirs, others):
            for name in names:
                await subscribe(websocket, name)
        request_id = await ask(taker)
        asked = (await receive_until(ours, data_of(129)))["d"]
        assert (asked["requestId"], asked["state"]) == (request_id, "ACTIVE")
        assert (await receive_until(theirs, data_of(28)))["d"] == asked
        given = await offer(maker, request_id, "2500", "1500")
        own = (await receive_until(theirs, data_of(130)))["d"]
        assert (own["quoteId"], own["state"]) == (str(given["quoteId"]), "OPEN")
        told = await receive_until(
            ours, lambda frame: frame.get("dt") == 131 and frame["d"]["quoteId"] == own["quoteId"]
        )
        assert told["d"]["quoteSide"] == "SELL"
        assert "userId" not in told["d"]
        await taker.form(ACCEPT, requestId=request_id, quoteId=given["quoteId"])
        heard = [(await receive_until(theirs, lambda frame: "dt" in frame)) for _ in range(6)]
        assert [(frame["dt"], frame["d"].get("state")) for frame in heard] == [
            (15, None),
            (15, None),
            (22, None),
            (23, None),
            (28, "FILLED"),
            (130, "FILLED"),
        ]
        detail = heard[2]["d"]
        assert (detail["role"], detail["tradeSide"], detail["strategyPrice"]) == ("MAKER", "SELL", "1000.00000000")
        assert detail["blockTradeId"] == given["quoteId"]
        mine = (await receive_until(ours, data_of(22)))["d"]
        assert (mine["role"], mine["tradeSide"], mine["strategyPrice"]) == ("TAKER", "BUY", "1000.00000000")
        assert (await receive_until(ours, data_of(129)))["d"]["state"] == "FILLED"
        public = await receive_until(others, lambda frame: "dt" in frame)
        assert (public["dt"], public["d"]["tradeSide"]) == (23, "BUY")


async def test_the_channels_begin_with_what_is_open_where_the_switch_says_so() -> None:
    async with switched(private_snapshot=True) as exchange:
        client, maker = exchange.client(), exchange.client(MAKER_KEY)
        request_id = await ask(client)
        await quotes(client, request_id)
        await offer(maker, request_id, "2500", "1500")
        async with exchange.socket() as ours, exchange.socket(key=MAKER_KEY) as theirs:
            await subscribe(ours, "rfqTaker")
            assert (await receive_until(ours, data_of(129)))["d"]["requestId"] == request_id
            await subscribe(ours, "quoteReceived")
            assert (await receive_until(ours, data_of(131)))["d"]["state"] == "OPEN"
            await subscribe(theirs, "rfqMaker")
            assert (await receive_until(theirs, data_of(28)))["d"]["requestId"] == request_id
            await subscribe(theirs, "rfqQuote")
            assert (await receive_until(theirs, data_of(130)))["d"]["requestId"] == request_id


@pytest.mark.parametrize("shown", ["CANCELLED", "EXPIRED"])
async def test_an_expired_quote_is_shown_as_configured(shown: str) -> None:
    clock = TimeMachine()
    config = small_config(switches=Switches(expired_quote_state=shown))  # type: ignore[arg-type]
    async with RunningExchange(config, now_ns=clock.now_ns) as exchange:
        client = exchange.client()
        async with exchange.socket() as websocket:
            await subscribe(websocket, "quoteReceived")
            first = (await quotes(client, await ask(client)))["SELL"]["quoteId"]
            clock.ahead_ns += 301 * 1_000_000_000
            ended = await receive_until(
                websocket, lambda frame: frame.get("dt") == 131 and frame["d"]["state"] != "OPEN"
            )
            assert (ended["d"]["quoteId"], ended["d"]["state"]) == (first, shown)


async def test_an_answer_lost_after_create_or_accept_leaves_what_was_done(exchange: RunningExchange) -> None:
    client = exchange.client()
    legs = await spread(client)
    await inject(exchange, kind="lost_answer", path_prefix=CREATE, count=1)
    await inject(exchange, kind="lost_answer", path_prefix=ACCEPT, count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(CREATE, legs=legs)
    (request,) = exchange.server.venue.core.rfq.requests("main")
    quote = (await quotes(client, str(request.request_id)))["SELL"]
    with pytest.raises(httpx.RemoteProtocolError):
        await client.form(ACCEPT, requestId=request.request_id, quoteId=quote["quoteId"])
    (block,) = (await client.data(PRIVATE))["list"]
    assert block["quoteId"] == quote["quoteId"]
    assert (await client.form(ACCEPT, requestId=request.request_id, quoteId=quote["quoteId"]))["code"] == 50014
    assert len((await client.data("/open/option/trade/history/v1"))["list"]) == len(legs)


async def test_dealers_can_be_silent_or_late_for_the_next_requests(exchange: RunningExchange) -> None:
    client = exchange.client()
    legs = await spread(client)
    await inject(exchange, kind="no_quotes", count=1)
    await inject(exchange, kind="late_quotes", count=1, latency_ms=60_000)
    both, normal = await ask(client, legs), await ask(client, legs)
    await quotes(client, normal)
    assert await client.data(RECEIVED, requestId=both) == []
    (silent, answered) = exchange.server.venue.core.rfq.requests("main")
    assert (silent.dealers_silent, silent.dealers_late_ms) == (True, 60_000)
    assert (answered.dealers_silent, answered.dealers_late_ms) == (False, 0)
    async with httpx.AsyncClient(base_url=exchange.url, timeout=60) as http:
        state = (await http.get("/sim/state")).json()["data"]
    assert state["faults"] == []


async def test_quotes_end_with_the_last_socket_where_the_switch_says_so() -> None:
    config = small_config(switches=Switches(cancel_quotes_on_disconnect=True), rfq=RfqConfig(dealers=()))
    async with RunningExchange(config) as exchange:
        taker, maker = exchange.client(), exchange.client(MAKER_KEY)
        async with exchange.socket(key=MAKER_KEY) as websocket:
            await subscribe(websocket, "rfqQuote")
            request_id = await ask(taker)
            await offer(maker, request_id, "2500", "1500")
            assert (await quotes(taker, request_id, 1))["SELL"]["state"] == "OPEN"
        (quote,) = exchange.server.venue.core.rfq.quotes_given("maker")
        await until(lambda: exchange.server.venue.core.rfq.quotes_given("maker")[0].state is QuoteState.CANCELLED)
        assert (await taker.form(ACCEPT, requestId=request_id, quoteId=quote.quote_id))["code"] == 50014


async def two_underlyings(client: RestClient) -> list[dict[str, str]]:
    bitcoin, ether = await tradable(client), await tradable(client, "ETH")
    return [
        {"instrumentName": bitcoin["symbol"], "side": "BUY", "qty": "0.1"},
        {"instrumentName": ether["symbol"], "side": "SELL", "qty": "0.2"},
    ]


@pytest.mark.parametrize(("underlyings", "code"), [("one", 10571), ("any", 0)])
async def test_legs_of_two_underlyings_are_taken_as_configured(underlyings: str, code: int) -> None:
    async with switched(rfq_underlyings=underlyings) as exchange:
        client = exchange.client()
        answer = await client.post(CREATE, legs=await two_underlyings(client))
        assert answer["code"] == code
        if code == 0:
            request_id = answer["data"]["requestId"]
            quote = (await quotes(client, request_id))["SELL"]
            assert (await client.form(ACCEPT, requestId=request_id, quoteId=quote["quoteId"]))["code"] == 0
            (trade,) = (await client.data(PRIVATE))["list"]
            assert (trade["strategyName"], trade["strategyQuantity"]) == ("Custom", "0.10000000")
            assert trade["description"].startswith("BTC/ETH Custom ")


@pytest.mark.parametrize(
    ("switches", "price", "quantity"),
    [
        ({}, "1000.00000000", "0.50000000"),
        ({"sold_strategy_price": "negated"}, "-1000.00000000", "0.50000000"),
        ({"rfq_scale": "plain"}, "1000", "0.5"),
    ],
)
async def test_sign_and_scale_of_a_sold_structure_are_as_configured(
    switches: dict[str, Any], price: str, quantity: str
) -> None:
    async with quiet(switches=Switches(**switches)) as exchange:
        taker, maker = exchange.client(), exchange.client(MAKER_KEY)
        request_id = await ask(taker)
        given = await offer(maker, request_id, "2500", "1500", quoteSide="BUY")
        await taker.form(ACCEPT, requestId=request_id, quoteId=given["quoteId"])
        (sold,) = (await taker.data(PRIVATE))["list"]
        assert (sold["tradeSide"], sold["strategyPrice"], sold["strategyQuantity"]) == ("SELL", price, quantity)
        (bought,) = (await maker.data(PRIVATE))["list"]
        assert (bought["tradeSide"], bought["strategyPrice"]) == ("BUY", price.lstrip("-"))


@pytest.mark.parametrize(("told", "state"), [("quoted", "FILLED"), ("all", "TRADED_AWAY")])
async def test_who_reads_traded_away_is_configured(told: str, state: str) -> None:
    async with switched(traded_away=told) as exchange:
        taker, maker = exchange.client(), exchange.client(MAKER_KEY)
        async with exchange.socket(key=MAKER_KEY) as websocket:
            await subscribe(websocket, "rfqMaker")
            request_id = await ask(taker)
            quote_id = (await quotes(taker, request_id))["SELL"]["quoteId"]
            await taker.form(ACCEPT, requestId=request_id, quoteId=quote_id)
            ended = await receive_until(
                websocket, lambda frame: frame.get("dt") == 28 and frame["d"]["state"] != "ACTIVE"
            )
            assert ended["d"]["state"] == state
        (row,) = (await maker.data(RFQ_LIST))["rfqList"]
        assert row["state"] == state


async def test_two_accounts_trade_by_a_code_that_nobody_may_change(exchange: RunningExchange) -> None:
    client, other = exchange.client(), exchange.client(OTHER_KEY)
    orders = [
        {"optionName": leg["instrumentName"], "tradeSide": side, "price": price, "amount": leg["qty"], "strike": 1}
        for leg, side, price in zip(await spread(client), (1, 2), ("2500", "1500"), strict=True)
    ]
    fields = {"symbol": "BTCUSD", "orderList": json.dumps(orders), "role": 1, "marginMode": 1}
    code = (await client.form(f"{BY_CODE}/create/v1", **fields))["data"]
    content = json.loads(base64.b64decode(code))
    assert (content["role"], content["symbol"], content["userId"]) == (1, "BTCUSD", USER_ID)
    content["trades"][0]["price"] = "1"
    forged = base64.b64encode(json.dumps(content).encode()).decode()
    assert (await other.post(f"{BY_CODE}/accept/v1", key=forged, role=0, marginMode=1))["code"] == 10573
    assert (await other.post(f"{BY_CODE}/accept/v1", key="x", role=0, marginMode=1))["code"] == 10573
    assert (await other.post(f"{BY_CODE}/accept/v1", key=code, role=2, marginMode=1))["code"] == 10573
    assert (await other.post(f"{BY_CODE}/accept/v1", key=code, role=0, marginMode=1))["data"] == "success"
    assert (await other.post(f"{BY_CODE}/accept/v1", key=code, role=0, marginMode=1))["code"] == 10592
    (trade,) = (await other.data(PRIVATE))["list"]
    assert (trade["role"], trade["tradeSide"], trade["quoteId"], trade["requestId"]) == ("MAKER", "SELL", None, None)
    positions = await client.data("/open/option/position/get/v1")
    assert sorted(row["tradeSide"] for row in positions) == [1, 2]
    for wrong, number in (
        ({"orderList": "[]"}, 10570),
        ({"orderList": "no"}, 10005),
        ({"symbol": "ETHUSD"}, 10573),
        ({"role": 7}, 10573),
    ):
        assert (await client.form(f"{BY_CODE}/create/v1", **(fields | wrong)))["code"] == number, wrong


async def test_a_block_order_cannot_be_placed_by_hand(exchange: RunningExchange) -> None:
    client = exchange.client()
    symbol = (await tradable(client))["symbol"]
    assert (await client.create(symbol=symbol, tradeSide=1, tradeType=14, qty=1, price=1))["code"] == 10573


async def test_a_dealer_that_is_gone_from_the_configuration_keeps_its_quotes() -> None:
    journal = MemoryJournal()
    async with RunningExchange(small_config(), journal) as exchange:
        client = exchange.client()
        request_id = await ask(client)
        await quotes(client, request_id)
    config = small_config(rfq=RfqConfig(dealers=(replace(PROMPT, name="other"),)))
    async with RunningExchange(config, journal) as exchange:
        client = exchange.client()
        assert json.dumps(await client.data(RECEIVED, requestId=request_id)).count('"OPEN"') >= 2
