"""A venue that sends garbage, numbers for texts, ids that no double holds, and a clock a minute away."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
import pytest

from shared.messages.venue import OutcomeUnknown, StreamDown, StreamUp, VenueFill, VenueOrder
from shared.venues.coincall import CoincallGateway, KeyCheckFailed, check_key, parse
from shared.venues.coincall import endpoints as table
from shared.venues.coincall.parse import ParseError
from shared.venues.ports import VenueError
from tests.unit.venues import test_gateway_rest, test_gateway_streams
from tests.unit.venues.servers import RestVenue, SocketVenue, ok, raw, refuse, until
from tests.unit.venues.test_gateway_rest import CREATE, OURS, QUERY, Watched, order, order_row
from tests.unit.venues.test_gateway_streams import account_stream
from tests.unit.venues.test_parse import PARTIAL_FRAME, TRADE

venue = test_gateway_rest.venue
watched = test_gateway_rest.watched
gateway = test_gateway_rest.gateway
sockets = test_gateway_streams.venue

TOLERANCE_S = 25.0
"""Of a measured clock: half a round trip, and on a busy machine that takes seconds."""
NO_ENVELOPE = {
    "nothing": b"",
    "a page of a proxy": b"<html>502 bad gateway</html>",
    "cut off": b'{"code":0,"msg":"Success","data":{"list":[{"orde',
    "no text": b"\xff\xfe\x00\x80",
    "a list": b"[1,2,3]",
    "a number": b"17",
    "nested without end": b'{"code":0,"data":' + b"[" * 200_000,
    "two answers": b'{"code":0,"data":[]}{"code":0,"data":[]}',
}
ODD_DATA: dict[str, Any] = {
    "a number for the list": 5,
    "a text for the list": "none",
    "a number for a row": {"list": [7], "pageTotal": 1, "total": 1},
    "a number for the symbol": {"list": [order_row(symbol=5)], "pageTotal": 1, "total": 1},
    "an object for a quantity": {"list": [order_row(qty={})], "pageTotal": 1, "total": 1},
    "a truth for a price": {"list": [order_row(price=True)], "pageTotal": 1, "total": 1},
    "an amount without end": {"list": [order_row(qty="1e400000000")], "pageTotal": 1, "total": 1},
    "an id as a double": {"list": [order_row(orderId=2.075207494989787e18)], "pageTotal": 1, "total": 1},
    "an id of 65 bits": {"list": [order_row(orderId=2**64 + 1)], "pageTotal": 1, "total": 1},
    "a time of another age": {"list": [order_row(createTime=10**18)], "pageTotal": 1, "total": 1},
}
GOOD = ok({"list": [{**order_row(), "state": None}], "pageTotal": 1, "total": 1})
EXACT_IDS = [2**53 + 1, 2**63 - 1, 2**60 + 1]


@pytest.mark.parametrize("body", NO_ENVELOPE.values(), ids=NO_ENVELOPE.keys())
async def test_an_answer_that_is_no_envelope_is_a_venue_error_and_the_next_good_one_is_read(
    venue: RestVenue, gateway: CoincallGateway, body: bytes
) -> None:
    path = table.PENDING_ORDERS.path
    venue.always(path, raw(body))
    with pytest.raises(VenueError) as failure:
        await gateway.open_orders()
    assert failure.value.kind in ("unknown", "down")
    venue.always(path, GOOD)
    assert len(await gateway.open_orders()) == 1


@pytest.mark.parametrize("data", ODD_DATA.values(), ids=ODD_DATA.keys())
async def test_a_list_of_the_wrong_types_fails_whole_naming_the_field_and_the_next_good_one_is_read(
    venue: RestVenue, gateway: CoincallGateway, data: Any
) -> None:
    path = table.PENDING_ORDERS.path
    venue.always(path, ok(data))
    with pytest.raises(VenueError, match=r"Expected `|no amount of anything") as failure:
        await gateway.open_orders()
    assert failure.value.kind == "unknown"
    venue.always(path, GOOD)
    assert len(await gateway.open_orders()) == 1


@pytest.mark.parametrize("body", NO_ENVELOPE.values(), ids=NO_ENVELOPE.keys())
async def test_an_order_answered_with_garbage_is_unknown_and_never_taken_for_refused(
    venue: RestVenue, gateway: CoincallGateway, body: bytes
) -> None:
    venue.then(CREATE, raw(body))
    assert isinstance(await gateway.place(order()), OutcomeUnknown)
    assert len(venue.calls_of(CREATE)) == 1


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("number", EXACT_IDS)
async def test_ids_beyond_2_to_the_53_keep_every_digit_there_and_back(
    venue: RestVenue, gateway: CoincallGateway, number: int, as_text: bool
) -> None:
    shown: Any = str(number) if as_text else number
    venue.then(QUERY, ok(order_row(orderId=shown, clientOrderId=OURS)))
    found = await gateway.order(OURS)
    assert found is not None
    assert (found.venue_order_id, found.client_order_id) == (number, OURS)
    assert venue.calls_of(QUERY)[0].query["clientOrderId"] == str(OURS)


@pytest.mark.parametrize("as_text", [False, True])
async def test_pushed_ids_beyond_2_to_the_53_keep_every_digit(sockets: SocketVenue, as_text: bool) -> None:
    number = 2**63 - 1
    shown: Any = str(number) if as_text else number
    pushed = {**msgspec.json.decode(PARTIAL_FRAME)["d"], "oid": shown}
    traded = {**TRADE, "tradeId": shown, "orderId": shown}
    async with account_stream(sockets) as heard:
        await until(lambda: heard.count(StreamUp) == 1)
        await sockets.push(frame(11, pushed), frame(15, traded))
        await until(lambda: heard.count(VenueOrder) == heard.count(VenueFill) == 1)
    assert [item.venue_order_id for item in heard.items[1:]] == [number, number]


async def test_pushed_garbage_and_wrong_types_are_counted_one_by_one_and_the_stream_stays_up(
    sockets: SocketVenue,
) -> None:
    pushed, traded = msgspec.json.decode(PARTIAL_FRAME)["d"], TRADE
    bad = [
        "[" * 200_000,
        frame(11, {**pushed, "s": 5}),
        frame(11, {**pushed, "oid": 2**64 + 1}),
        frame(11, {**pushed, "oid": 2.075207494989787e18}),
        frame(11, {**pushed, "q": "1e400000000"}),
        frame(11, {**pushed, "ct": 10**18}),
        frame(15, {**traded, "symbol": 5}),
        frame(15, {**traded, "tradeId": "none"}),
        frame(15, {**traded, "matchPrice": {}}),
    ]
    async with account_stream(sockets) as heard:
        await until(lambda: heard.count(StreamUp) == 1)
        await sockets.push(*bad, PARTIAL_FRAME.decode())
        await until(lambda: heard.count(VenueOrder) == 1)
    assert heard.count(StreamDown) == 0
    assert len(heard.skipped) == len(bad)


def frame(code: int, data: Any) -> str:
    return msgspec.json.encode({"dt": code, "c": 20, "d": data}).decode()


def test_a_client_id_that_cannot_be_ours_is_somebody_elses() -> None:
    for given in (2**63, 10**40, "9" * 5_000, -5):
        row = msgspec.json.encode({**order_row(), "clientOrderId": str(given)})
        assert parse.parse_order(row).client_order_id is None


def test_what_no_price_or_quantity_can_be_is_refused_in_a_short_sentence() -> None:
    for text in ("1e400000000", "1e-400000000", "1" * 10_000):
        with pytest.raises(ParseError, match="no amount of anything") as refused:
            parse.parse_order(msgspec.json.encode(order_row(qty=text)))
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize("ahead_s", [60, -60])
async def test_a_clock_a_minute_off_is_refused_at_the_start_with_its_figure_and_the_remedy(
    venue: RestVenue, gateway: CoincallGateway, ahead_s: int
) -> None:
    venue.clock_ahead_ms = ahead_s * 1_000
    with pytest.raises(KeyCheckFailed) as refused:
        await check_key(gateway, need_trading=True)
    said = re.search(r"the clock of this host is ([+-]\d+\.\d) s off", str(refused.value))
    assert said is not None, refused.value
    assert float(said[1]) == pytest.approx(-ahead_s, abs=TOLERANCE_S)
    assert refused.value.remedy.startswith("synchronise it (NTP)")


async def test_a_clock_that_goes_a_minute_off_meanwhile_is_measured_anew_and_signatures_are_corrected(
    venue: RestVenue, watched: Watched
) -> None:
    venue.always(table.POSITIONS.path, ok([]))
    await watched.gateway.positions()
    assert watched.gateway.clock_offset_ns / 1e9 == pytest.approx(0, abs=TOLERANCE_S)
    venue.clock_ahead_ms = 60_000
    venue.then(table.POSITIONS.path, refuse(10557))
    await watched.gateway.positions()
    sent_ms = int(venue.calls_of(table.POSITIONS.path)[-1].headers["ts"])
    assert sent_ms / 1e3 == pytest.approx(time.time() + 60, abs=TOLERANCE_S)
    assert watched.gateway.clock_offset_ns / 1e9 == pytest.approx(60, abs=TOLERANCE_S)
