"""The taker's calls of requests for quote against a venue on real sockets, with payloads in the documented forms."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
import pytest_asyncio

from shared.clock import wall_ns
from shared.messages.rfq import (
    AcceptRefused,
    AcceptUnknown,
    BlockTrade,
    QuoteAccepted,
    RfqCancelled,
    RfqCancelRefused,
    RfqCancelUnknown,
    RfqCreated,
    RfqLeg,
    RfqRefused,
    RfqUnknown,
    VenueQuote,
    VenueRfq,
)
from shared.messages.venue import StreamUp
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallEndpoints, CoincallGateway, parse_rfq, sign
from shared.venues.coincall import endpoints as table
from shared.venues.coincall.parse import ParseError
from shared.venues.ports import RfqGateway, VenueError
from tests.unit.venues.servers import (
    RestVenue,
    SocketVenue,
    cut_short,
    drop,
    ok,
    raw,
    refuse,
    rest_venue,
    socket_venue,
    until,
)
from tests.unit.venues.test_gateway_streams import Heard, gateway_task

KEY = ApiKey(key="DEMOkey+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi=", secret="c0ffee" * 10)
LOW, HIGH = "BTCUSD-26JUN26-100000-C", "BTCUSD-26JUN26-120000-C"
REQUEST, QUOTE = "2075207481654804480", "2075207494989787138"
MS = 1_000_000
AT = 1_783_602_990_000
LEGS = (
    RfqLeg(symbol=LOW, side="buy", quantity=Decimal("0.5")),
    RfqLeg(symbol=HIGH, side="sell", quantity=Decimal("0.50")),
)
CREATE, CANCEL, ACCEPT = table.CREATE_RFQ.path, table.CANCEL_RFQ.path, table.ACCEPT_QUOTE.path

CREATED = {
    "requestId": REQUEST,
    "createTime": AT,
    "expiryTime": AT + 3_600_000,
    "legs": [
        {"instrumentName": LOW, "qty": "0.5", "side": "BUY"},
        {"instrumentName": HIGH, "qty": "0.5", "side": "SELL"},
    ],
    "state": "ACTIVE",
}
PUSHED_REQUEST = {
    "requestId": REQUEST,
    "state": "ACTIVE",
    "createTime": AT,
    "updateTime": AT,
    "expiryTime": AT + 3_600_000,
    "legs": [
        {"instrumentName": LOW, "side": "BUY", "quantity": "0.5", "price": "1240.7"},
        {"instrumentName": HIGH, "side": "SELL", "quantity": "0.50000000", "price": "604.2"},
    ],
}
QUOTED = {
    "quoteId": QUOTE,
    "requestId": REQUEST,
    "userId": "1695796692726153",
    "state": "OPEN",
    "createTime": AT + 6_000,
    "updateTime": AT + 6_000,
    "expiryTime": AT + 306_000,
    "quoteSide": "SELL",
    "legs": [
        {"instrumentName": LOW, "side": "SELL", "price": "1250.00000000", "quantity": "0.5"},
        {"instrumentName": HIGH, "side": "BUY", "price": "600", "quantity": "0.5"},
    ],
}


def executed_leg(symbol: str, side: str, price: str, number: int, fee: str) -> dict[str, Any]:
    return {
        "instrumentName": symbol,
        "baseToken": "BTC",
        "quoteToken": "USDT",
        "side": side,
        "price": price,
        "quantity": "0.5",
        "iv": "6.0E-4",
        "markPrice": "1240.7",
        "indexPrice": "98000.1",
        "fee": fee,
        "profit": "0",
        "orderId": str(2_075_207_500_000_000_000 + number),
        "tradeId": str(2_075_207_600_000_000_000 + number),
        "createTime": AT + 9_000 + number,
    }


ACCEPTED = {
    "userId": None,
    "blockTradeId": QUOTE,
    "requestId": REQUEST,
    "quoteId": QUOTE,
    "role": "TAKER",
    "legs": [executed_leg(LOW, "BUY", "1250", 1, "14.7"), executed_leg(HIGH, "SELL", "600", 2, "0")],
}


def block_trade(number: int, at_ms: int, **changes: Any) -> dict[str, Any]:
    """A row of the private list; ids as `number` has them."""
    return {
        "requestId": REQUEST,
        "userId": "1695796692726153",
        "blockTradeId": str(number),
        "quoteId": str(number),
        "role": "TAKER",
        "tradeSide": "BUY",
        "strategyPrice": "650.00000000",
        "strategyQuantity": "0.50000000",
        "description": "BTC Call Spread 26 Jun 26 100000/120000",
        "strategyName": "Call Spread",
        "createTime": at_ms,
        "legs": [executed_leg(LOW, "BUY", "1250", number, "14.7") | {"reduceOnly": None}],
    } | changes


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[RestVenue]:
    async with rest_venue() as running:
        yield running


@pytest.fixture
def skipped() -> list[str]:
    return []


@pytest_asyncio.fixture
async def gateway(venue: RestVenue, skipped: list[str]) -> AsyncIterator[CoincallGateway]:
    made = CoincallGateway(
        CoincallEndpoints(rest=venue.url, ws_options="ws://unused", ws_futures="ws://unused"),
        KEY,
        on_skipped=skipped.append,
        backoff_s=(0.01,),
    )
    yield made
    await made.close()


def test_the_gateway_is_what_the_port_of_requests_asks_for(gateway: CoincallGateway) -> None:
    port: RfqGateway = gateway
    assert port is gateway


async def test_a_request_is_sent_as_json_with_texts_and_comes_back_with_the_venues_id(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(CREATE, ok(CREATED), ok(CREATED | {"requestId": int(REQUEST)}))
    created = RfqCreated(rfq_id="t1-rfq-0", request_id=REQUEST, created_ns=AT * MS, expiry_ns=(AT + 3_600_000) * MS)
    assert await gateway.create_rfq("t1-rfq-0", LEGS, closes=False) == created
    assert await gateway.create_rfq("t1-rfq-0", LEGS, closes=False) == created
    call = venue.calls_of(CREATE)[0]
    assert call.headers["Content-Type"] == "application/json"
    assert msgspec.json.decode(call.body) == {
        "legs": [
            {"instrumentName": LOW, "side": "BUY", "qty": "0.5"},
            {"instrumentName": HIGH, "side": "SELL", "qty": "0.50"},
        ]
    }


async def test_a_request_is_refused_only_for_a_listed_code_and_is_never_sent_twice(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(CREATE, refuse(10558), refuse(10001), cut_short, drop, ok({"requestId": None}), refuse(10004))
    refused = await gateway.create_rfq("r", LEGS, closes=False)
    assert refused == RfqRefused(rfq_id="r", kind="rejected", code=10558, text="refused")
    for _ in range(4):
        assert isinstance(await gateway.create_rfq("r", LEGS, closes=False), RfqUnknown)
    assert isinstance(await gateway.create_rfq("r", LEGS, closes=False), RfqRefused)
    assert len(venue.calls_of(CREATE)) == 6


async def test_an_accept_goes_out_as_a_form_and_answers_with_our_side_of_each_leg(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(ACCEPT, ok(ACCEPTED))
    outcome = await gateway.accept_quote(REQUEST, QUOTE, closes=False)
    assert isinstance(outcome, QuoteAccepted)
    trade = outcome.trade
    assert (trade.block_trade_id, trade.quote_id, trade.role) == (QUOTE, QUOTE, "taker")
    assert [(leg.symbol, leg.side, leg.price, leg.fee_usd) for leg in trade.legs] == [
        (LOW, "buy", Decimal(1250), Decimal("14.7")),
        (HIGH, "sell", Decimal(600), Decimal(0)),
    ]
    assert [leg.venue_trade_id for leg in trade.legs] == [2_075_207_600_000_000_001, 2_075_207_600_000_000_002]
    assert all(leg.is_taker and leg.is_block and leg.client_order_id is None for leg in trade.legs)
    assert trade.venue_ns == (AT + 9_002) * MS
    (call,) = venue.calls_of(ACCEPT)
    assert call.headers["Content-Type"] == "application/x-www-form-urlencoded"
    params = dict(parse_qsl(call.body.decode()))
    assert params == {"requestId": REQUEST, "quoteId": QUOTE}
    text = sign.prehash("POST", ACCEPT, params, KEY.key, int(call.headers["ts"]))
    assert call.headers["sign"] == sign.signature(KEY.secret, text)


async def test_a_venue_that_wants_json_today_gets_it_and_is_asked_so_first_from_then_on(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(ACCEPT, refuse(10004, "Parameter illegal"), ok(ACCEPTED), ok(ACCEPTED))
    assert isinstance(await gateway.accept_quote(REQUEST, QUOTE, closes=False), QuoteAccepted)
    assert isinstance(await gateway.accept_quote(REQUEST, QUOTE, closes=False), QuoteAccepted)
    bodies = [call.headers["Content-Type"].partition("/")[2] for call in venue.calls_of(ACCEPT)]
    assert bodies == ["x-www-form-urlencoded", "json", "json"]
    assert msgspec.json.decode(venue.calls_of(ACCEPT)[1].body) == {"requestId": REQUEST, "quoteId": QUOTE}


async def test_an_accept_that_neither_form_suits_is_refused_after_one_try_of_each(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.always(ACCEPT, refuse(10004, "Parameter illegal"))
    outcome = await gateway.accept_quote(REQUEST, QUOTE, closes=False)
    assert outcome == AcceptRefused(
        request_id=REQUEST, quote_id=QUOTE, kind="rejected", code=10004, text="Parameter illegal"
    )
    assert len(venue.calls_of(ACCEPT)) == 2


async def test_an_accept_whose_outcome_is_lost_is_unknown_and_never_sent_again(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    other = ACCEPTED | {"quoteId": "17"}
    losses = (cut_short, drop, raw(b"", status=502), refuse(10583), ok(None), ok(other), ok(ACCEPTED | {"legs": []}))
    venue.then(ACCEPT, *losses)
    for _ in losses:
        outcome = await gateway.accept_quote(REQUEST, QUOTE, closes=True)
        assert isinstance(outcome, AcceptUnknown), outcome
        assert (outcome.request_id, outcome.quote_id) == (REQUEST, QUOTE)
    assert len(venue.calls_of(ACCEPT)) == len(losses)


async def test_a_quote_that_is_no_longer_valid_is_refused(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.then(ACCEPT, refuse(50014))
    outcome = await gateway.accept_quote(REQUEST, QUOTE, closes=False)
    assert isinstance(outcome, AcceptRefused)
    assert outcome.code == 50014


async def test_a_cancel_is_acknowledged_refused_or_unknown(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.then(CANCEL, ok(True), refuse(10584), refuse(10552), drop)
    assert await gateway.cancel_rfq(REQUEST) == RfqCancelled(request_id=REQUEST)
    assert isinstance(await gateway.cancel_rfq(REQUEST), RfqCancelRefused)
    for _ in range(2):
        assert isinstance(await gateway.cancel_rfq(REQUEST), RfqCancelUnknown)
    assert venue.calls_of(CANCEL)[0].body == f"requestId={REQUEST}".encode()


async def test_quotes_are_read_in_every_form_and_a_bad_one_is_left_out(
    venue: RestVenue, gateway: CoincallGateway, skipped: list[str]
) -> None:
    plain = {name: value for name, value in QUOTED.items() if name not in ("quoteSide", "requestId")}
    rows = [
        QUOTED,
        QUOTED | {"quoteId": 17, "requestId": int(REQUEST), "quoteSide": "BUY", "state": "CANCEL"},
        plain | {"quoteId": "18"},
        QUOTED | {"quoteId": "19", "requestId": "another"},
        QUOTED | {"quoteId": "20", "legs": []},
        QUOTED | {"quoteId": "21", "state": "PONDERED"},
        17,
    ]
    venue.then(table.QUOTES_RECEIVED.path, ok(rows), ok(None))
    first, second, third = await gateway.quotes_received(REQUEST)
    assert (first.quote_id, first.request_id, first.quote_side, first.state) == (QUOTE, REQUEST, "sell", "open")
    assert [(leg.symbol, leg.side, leg.price) for leg in first.legs] == [
        (LOW, "sell", Decimal(1250)),
        (HIGH, "buy", Decimal(600)),
    ]
    assert first.expiry_ns == (AT + 306_000) * MS
    assert (second.quote_id, second.quote_side, second.state) == ("17", "buy", "cancelled")
    assert (third.quote_id, third.request_id, third.quote_side) == ("18", REQUEST, None)
    assert len(skipped) == 3
    assert await gateway.quotes_received(REQUEST) == ()
    assert venue.calls_of(table.QUOTES_RECEIVED.path)[0].query == {"requestId": REQUEST}


async def test_a_failed_read_of_quotes_is_not_repeated_here(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.always(table.QUOTES_RECEIVED.path, raw(b"", status=503))
    with pytest.raises(VenueError):
        await gateway.quotes_received(REQUEST)
    assert len(venue.calls_of(table.QUOTES_RECEIVED.path)) == 1


async def test_the_list_of_requests_is_read_in_windows_of_three_days_and_holds_the_takers_only(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    row = {name: value for name, value in PUSHED_REQUEST.items() if name != "role"}
    page = {"userId": "1", "rfqList": [row | {"role": "TAKER", "state": "EXPIRED"}, row | {"role": "MAKER"}]}
    venue.always(table.RFQ_LIST.path, ok({"userId": 1, "rfqList": []}))
    venue.then(table.RFQ_LIST.path, ok(page))
    (found,) = await gateway.rfqs(wall_ns() - 5 * 86_400 * 10**9)
    assert (found.request_id, found.state, found.role) == (REQUEST, "expired", "taker")
    assert found.legs[1].quantity == Decimal("0.5")
    spans = [
        int(call.query["endTime"]) - int(call.query["startTime"]) for call in venue.calls_of(table.RFQ_LIST.path)
    ]
    assert len(spans) == 2
    assert max(spans) <= 3 * 86_400_000


async def test_an_account_that_may_not_read_the_list_is_told_by_the_kind_of_error(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(table.RFQ_LIST.path, raw(b"not found", status=404))
    venue.always(table.RFQ_LIST.path, refuse(10591, status=404))
    for _ in range(2):
        with pytest.raises(VenueError) as failure:
            await gateway.rfqs(wall_ns())
        assert failure.value.kind == "rejected"


async def test_block_trades_are_read_page_by_page_until_they_are_older_than_asked_for(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    hour = 3_600_000
    pages = [
        {"list": [block_trade(90, AT), block_trade(80, AT - hour)], "hasNext": True, "hasPrev": False},
        {"list": [block_trade(70, AT - 2 * hour), block_trade(60, AT - 5 * hour)], "hasNext": True, "hasPrev": True},
    ]
    venue.then(table.BLOCK_TRADES.path, *map(ok, pages))
    trades = await gateway.block_trades((AT - 2 * hour) * MS)
    assert [trade.block_trade_id for trade in trades] == ["70", "80", "90"]
    assert [call.query.get("fromId") for call in venue.calls_of(table.BLOCK_TRADES.path)] == [None, "80"]
    assert trades[0].legs[0].fee_usd == Decimal("14.7")


async def test_a_list_of_block_trades_that_cannot_be_read_fails_as_a_whole(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    row = block_trade(90, AT)
    bad = row | {"legs": [row["legs"][0] | {"side": "LONG"}]}
    venue.then(table.BLOCK_TRADES.path, ok({"list": [row, bad], "hasNext": False}), ok([row]))
    with pytest.raises(VenueError, match="side"):
        await gateway.block_trades(0)
    assert len(await gateway.block_trades(0)) == 1


async def test_the_account_stream_delivers_requests_quotes_and_block_trades() -> None:
    frames = [
        {"dt": 129, "c": 20, "d": PUSHED_REQUEST, "ts": AT},
        {"dt": 131, "c": 20, "d": QUOTED, "ts": AT},
        {"dt": 22, "c": 20, "d": block_trade(7, AT) | {"requestId": 1, "quoteId": 7, "blockTradeId": 7}, "ts": AT},
    ]
    heard = Heard()
    async with (
        socket_venue() as venue,
        gateway_task(venue, lambda gateway: gateway.stream_account(heard.items.append)),
    ):
        await until(lambda: heard.count(StreamUp) == 1)
        await until(lambda: {"rfqTaker", "quoteReceived", "blockTradeDetail"} <= _subscribed(venue))
        await venue.push(*(msgspec.json.encode(frame).decode() for frame in frames))
        await until(lambda: len(heard.items) == 4)
    request, quote, trade = heard.items[1:]
    assert isinstance(request, VenueRfq)
    assert (request.state, request.role, request.legs[0].side) == ("active", "taker", "buy")
    assert isinstance(quote, VenueQuote)
    assert quote.quote_side == "sell"
    assert isinstance(trade, BlockTrade)
    assert (trade.block_trade_id, trade.quote_id, trade.request_id) == ("7", "7", "1")


async def test_an_account_without_requests_for_quote_streams_its_orders_all_the_same() -> None:
    heard = Heard()
    async with socket_venue() as venue:
        venue.refused_data_types = {"rfqTaker", "quoteReceived", "blockTradeDetail"}
        async with gateway_task(venue, lambda gateway: gateway.stream_account(heard.items.append)):
            await until(lambda: len(_subscribed(venue)) == 5)
            await until(lambda: heard.count(StreamUp) == 1)
            await venue.push('{"dt":131,"c":20,"d":{"quoteId":1}}')
            await until(lambda: venue.heartbeats > 0)
    assert heard.items == [StreamUp("account")]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": "DREAMT"}, "request state 'DREAMT'"),
        ({"requestId": ""}, "is no id"),
        ({"legs": [{"instrumentName": LOW, "side": "BUY"}]}, "neither quantity nor qty"),
        ({"legs": [{"instrumentName": LOW, "side": "LONG", "qty": "1"}]}, "side 'LONG'"),
        ({"legs": [{"instrumentName": LOW, "side": "BUY", "qty": "1e99"}]}, "no amount"),
        ({"legs": None}, "legs"),
    ],
)
def test_a_request_that_the_interface_does_not_allow_is_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ParseError, match=told):
        parse_rfq.parse_rfq(msgspec.json.encode(PUSHED_REQUEST | changes))


def _subscribed(venue: SocketVenue) -> set[str]:
    return {frame["dataType"] for frame in venue.subscribed}
