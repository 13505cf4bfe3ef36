"""Batches against a venue on real sockets: the right, results by id, and what is not sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from shared.messages.venue import (
    AmendAcked,
    Amendment,
    AmendRefused,
    AmendUnknown,
    CancelAcked,
    CancelRefused,
    NewOrder,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
)
from shared.secrets import ApiKey
from shared.venues.coincall import CoincallEndpoints, CoincallGateway, EveryProduct
from shared.venues.coincall import endpoints as table
from shared.venues.coincall.contract_endpoints import CREATE_FUTURES_ORDER
from tests.integration.exchange.harness import until
from tests.unit.venues.servers import Handler, RestVenue, cut_short, drop, ok, raw, refuse, rest_venue

KEY = ApiKey(key="DEMOkey+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi=", secret="c0ffee" * 10)
CALL = "BTCUSD-26JUN26-100000-C"
CREATE, MODIFY, CANCEL = table.BATCH_CREATE.path, table.BATCH_MODIFY.path, table.BATCH_CANCEL.path
SINGLE, SINGLE_AMEND = table.CREATE_ORDER.path, table.MODIFY_ORDER.path
FUTURES = CREATE_FUTURES_ORDER.path
FIRST_ID = 2_075_207_494_989_787_138
EMPTY_BATCH = refuse(10570, "parameter orders empty")


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[RestVenue]:
    async with rest_venue() as running:
        yield running


@pytest_asyncio.fixture
async def gateway(venue: RestVenue) -> AsyncIterator[CoincallGateway]:
    made = CoincallGateway(
        CoincallEndpoints(rest=venue.url, ws_options="ws://unused", ws_futures="ws://unused"), KEY, backoff_s=(0.01,)
    )
    yield made
    await made.close()


def orders(count: int, **changes: Any) -> tuple[NewOrder, ...]:
    base = NewOrder(client_order_id=0, symbol=CALL, side="buy", quantity=Decimal("0.5"), price=Decimal(1250))
    return tuple(msgspec.structs.replace(base, client_order_id=number, **changes) for number in range(1, count + 1))


def changes(count: int) -> tuple[Amendment, ...]:
    return tuple(Amendment(order=reference(number), price=Decimal(1251)) for number in range(1, count + 1))


def reference(number: int) -> OrderRef:
    return OrderRef(client_order_id=number, venue_order_id=FIRST_ID + number, symbol=CALL)


def row(number: int | None, code: int = 0, msg: str | None = None) -> dict[str, Any]:
    return {"code": code, "msg": msg, "i18nArgs": None, "data": None if number is None else FIRST_ID + number}


def bodies(venue: RestVenue, path: str) -> list[Any]:
    return [msgspec.json.decode(call.body) for call in venue.calls_of(path)]


async def test_orders_go_out_in_batches_of_forty_after_the_right_was_asked_for_once(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(MODIFY, EMPTY_BATCH)
    venue.then(CREATE, ok([row(number) for number in range(1, 41)]), ok([row(41)]), ok([row(1), row(2)]))
    venue.then(SINGLE, ok(FIRST_ID + 41))
    outcomes = await gateway.place_batch(orders(41))
    assert outcomes == tuple(
        OrderAcked(client_order_id=number, venue_order_id=FIRST_ID + number) for number in range(1, 42)
    )
    await gateway.place_batch(orders(2))
    assert [len(body["orders"]) for body in bodies(venue, CREATE)] == [40, 2]
    assert bodies(venue, CREATE)[0]["orders"][6] == {
        "symbol": CALL,
        "tradeSide": 1,
        "tradeType": 1,
        "qty": 0.5,
        "price": 1250,
        "clientOrderId": 7,
        "timeInForce": "GTC",
        "reduceOnly": 0,
    }
    assert bodies(venue, MODIFY) == [{"orders": []}]


@pytest.mark.parametrize(
    "refusal", [raw(b"", status=404), refuse(10591, status=404), refuse(7001), refuse(10554), refuse(10001)]
)
async def test_without_the_right_the_orders_go_out_singly(
    venue: RestVenue, gateway: CoincallGateway, refusal: Handler
) -> None:
    venue.then(MODIFY, refusal)
    venue.then(SINGLE, ok(FIRST_ID), refuse(10558), ok(FIRST_ID))
    venue.then(SINGLE_AMEND, ok(FIRST_ID), ok(FIRST_ID))
    outcomes = await gateway.place_batch(orders(3))
    assert Counter(type(each) for each in outcomes) == {OrderAcked: 2, OrderRefused: 1}
    assert [each.client_order_id for each in outcomes] == [1, 2, 3]
    assert all(isinstance(each, AmendAcked) for each in await gateway.amend_batch(changes(2)))
    assert {body["clientOrderId"] for body in bodies(venue, SINGLE)} == {1, 2, 3}
    assert len(venue.calls_of(MODIFY)) == 1
    assert not venue.calls_of(CREATE)


async def test_a_right_about_which_the_venue_said_nothing_is_asked_for_again(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(MODIFY, drop, refuse(10000), raw(b"", status=502), EMPTY_BATCH)
    venue.always(SINGLE, ok(FIRST_ID))
    venue.always(CREATE, ok([row(1), row(2)]))
    for _ in range(5):
        await gateway.place_batch(orders(2))
    assert (len(venue.calls_of(MODIFY)), len(venue.calls_of(SINGLE)), len(venue.calls_of(CREATE))) == (4, 6, 2)


async def test_when_the_margin_does_not_suffice_the_rest_is_not_sent(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(MODIFY, EMPTY_BATCH)
    venue.then(CREATE, ok([row(number) for number in range(1, 40)] + [row(None, 10529, "balance")]))
    outcomes = await gateway.place_batch(orders(50))
    assert len(venue.calls_of(CREATE)) == 1
    assert [type(each) for each in outcomes] == [OrderAcked] * 39 + [OrderRefused] * 11
    last = outcomes[-1]
    assert isinstance(last, OrderRefused)
    assert (last.client_order_id, last.kind, last.code) == (50, "rejected", 0)
    assert last.text.startswith("not sent: the margin")


async def test_single_orders_stop_soon_after_the_first_that_lacks_margin(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(MODIFY, raw(b"", status=404))
    venue.then(SINGLE, ok(FIRST_ID), refuse(10529), ok(FIRST_ID), ok(FIRST_ID), ok(FIRST_ID))
    outcomes = await gateway.place_batch(orders(8))
    assert [each.client_order_id for each in outcomes] == list(range(1, 9))
    assert [getattr(each, "code", None) for each in outcomes[5:]] == [0, 0, 0]
    assert sorted(getattr(each, "code", 0) for each in outcomes[:5]) == [0, 0, 0, 0, 10529]
    assert len(venue.calls_of(SINGLE)) == 5


async def test_orders_that_only_reduce_are_sent_whatever_margin_lacks_for_others(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(MODIFY, EMPTY_BATCH)
    venue.then(CREATE, ok([row(number) for number in range(1, 40)] + [row(None, 10529, "balance")]))
    venue.always(SINGLE, ok(FIRST_ID))
    wanted = list(orders(50))
    wanted[44] = msgspec.structs.replace(wanted[44], reduce_only=True)
    outcomes = await gateway.place_batch(wanted)
    assert [type(each) for each in outcomes[40:]] == [*[OrderRefused] * 4, OrderAcked, *[OrderRefused] * 5]
    assert len(venue.calls_of(SINGLE)) == 1


async def test_the_margin_that_lacks_for_one_product_holds_back_what_is_left_of_the_others(venue: RestVenue) -> None:
    told, answered = asyncio.Event(), Counter[str]()

    async def late(request: web.Request) -> web.StreamResponse:
        await told.wait()
        return await ok(FIRST_ID)(request)

    venue.then(MODIFY, raw(b"", status=404))
    venue.always(SINGLE, refuse(10529))
    venue.always(FUTURES, late)
    endpoints = CoincallEndpoints(rest=venue.url, ws_options="ws://unused", ws_futures="ws://unused")
    gateway = EveryProduct(endpoints, KEY, backoff_s=(0.01,), on_call=lambda name, *_: answered.update([name]))
    perpetuals = [
        msgspec.structs.replace(order, client_order_id=order.client_order_id + 100, symbol="BTCUSD")
        for order in orders(8)
    ]
    placing = asyncio.create_task(gateway.place_batch([*perpetuals, *orders(8)]))
    await until(lambda: answered["place"] == 5)
    told.set()
    outcomes = await placing
    await gateway.close()
    assert [each.client_order_id for each in outcomes] == [*range(101, 109), *range(1, 9)]
    acked, refusals = [OrderAcked] * 5, [OrderRefused] * 3
    assert [type(each) for each in outcomes] == [*acked, *refusals, *[OrderRefused] * 8]
    assert [getattr(each, "code", None) for each in outcomes[5:]] == [0, 0, 0, *[10529] * 5, 0, 0, 0]
    assert (len(venue.calls_of(FUTURES)), len(venue.calls_of(SINGLE))) == (5, 5)


GONE = [raw(b"", status=404), refuse(10591, status=404), refuse(10009), refuse(10001), refuse(7001), refuse(10554)]


@pytest.mark.parametrize("gone", GONE)
async def test_a_right_that_is_gone_is_noticed_by_the_batch_and_its_orders_go_out_singly(
    venue: RestVenue, gateway: CoincallGateway, gone: Handler
) -> None:
    venue.then(MODIFY, EMPTY_BATCH)
    venue.then(CREATE, ok([row(1), row(2)]))
    assert all(isinstance(each, OrderAcked) for each in await gateway.place_batch(orders(2)))
    venue.always(MODIFY, gone)
    venue.always(CREATE, gone)
    venue.always(SINGLE, ok(FIRST_ID))
    venue.always(SINGLE_AMEND, ok(FIRST_ID))
    for _ in range(3):
        outcomes = await gateway.place_batch(orders(42))
        assert [each.client_order_id for each in outcomes] == list(range(1, 43))
        assert all(isinstance(each, OrderAcked) for each in outcomes)
        venue.calls.clear()
    assert all(isinstance(each, AmendAcked) for each in await gateway.amend_batch(changes(2)))
    # it was refused before: nothing is asked in batches any more
    assert not venue.calls_of(MODIFY)


async def test_orders_go_out_in_batches_again_when_the_right_was_refused_once_and_is_granted_again(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.always(MODIFY, EMPTY_BATCH)
    venue.always(SINGLE, ok(FIRST_ID))
    venue.then(CREATE, refuse(10001), ok([row(1), row(2)]), refuse(10001), refuse(10001))
    for _ in range(5):
        outcomes = await gateway.place_batch(orders(2))
        assert all(isinstance(each, OrderAcked) for each in outcomes)
    # after two refusals in a row it is taken to be gone
    assert (len(venue.calls_of(CREATE)), len(venue.calls_of(SINGLE)), len(venue.calls_of(MODIFY))) == (4, 8, 3)


async def test_amendments_go_out_singly_when_the_right_is_gone(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.then(MODIFY, EMPTY_BATCH, refuse(7001), refuse(7001))
    venue.always(SINGLE_AMEND, ok(FIRST_ID))
    for _ in range(2):
        outcomes = await gateway.amend_batch(changes(3))
        assert [each.client_order_id for each in outcomes] == [1, 2, 3]
        assert all(isinstance(each, AmendAcked) for each in outcomes)
    assert len(venue.calls_of(SINGLE_AMEND)) == 6


@pytest.mark.parametrize(
    "unclear",
    [refuse(0, status=404), refuse(10584, status=404), refuse(10001, status=502), raw(b"", status=502), drop],
)
async def test_what_may_have_been_carried_out_is_unknown_and_never_goes_out_singly(
    venue: RestVenue, gateway: CoincallGateway, unclear: Handler
) -> None:
    venue.then(MODIFY, EMPTY_BATCH, unclear)
    venue.then(CREATE, unclear)
    assert [type(each) for each in await gateway.place_batch(orders(2))] == [OutcomeUnknown] * 2
    amended = await gateway.amend_batch(changes(2))
    assert not any(isinstance(each, AmendAcked) for each in amended)
    assert not venue.calls_of(SINGLE)
    assert not venue.calls_of(SINGLE_AMEND)


async def test_cancels_go_out_singly_where_the_venue_has_no_batches_of_them(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(CANCEL, raw(b"", status=404))
    venue.then(table.CANCEL_ORDER.path, ok("success"), refuse(10584))
    outcomes = await gateway.cancel_batch([reference(1), reference(2)])
    assert [each.client_order_id for each in outcomes] == [1, 2]
    assert Counter(type(each) for each in outcomes) == {CancelAcked: 1, CancelRefused: 1}


async def test_a_batch_without_a_result_for_every_order_is_unknown_as_a_whole_and_not_repeated(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(MODIFY, EMPTY_BATCH)
    losses = (ok([row(1)]), ok(None), ok("success"), cut_short, drop, refuse(10582), ok([row(1), row(None)]))
    venue.then(CREATE, *losses)
    for _ in losses:
        outcomes = await gateway.place_batch(orders(2))
        assert isinstance(outcomes[1], OutcomeUnknown)
        assert outcomes[1].client_order_id == 2
    assert len(venue.calls_of(CREATE)) == len(losses)
    venue.then(CREATE, refuse(10005))
    assert all(isinstance(each, OrderRefused) for each in await gateway.place_batch(orders(2)))


async def test_results_of_amendments_are_matched_by_id_in_whatever_order_they_come(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(MODIFY, EMPTY_BATCH, ok([row(3), row(1, 10584, "gone"), row(2)]))
    outcomes = await gateway.amend_batch(changes(3))
    assert outcomes == (
        AmendRefused(client_order_id=1, kind="rejected", code=10584, text="gone"),
        AmendAcked(client_order_id=2, venue_order_id=FIRST_ID + 2),
        AmendAcked(client_order_id=3, venue_order_id=FIRST_ID + 3),
    )


async def test_refusals_without_an_id_belong_to_the_orders_without_a_result(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(
        MODIFY,
        EMPTY_BATCH,
        ok([row(None, 10558, "less.than.min.amount"), row(2)]),
        ok([row(None, 10582), row(2)]),
        ok([row(2)]),
        ok([row(None, 10558)]),
    )
    refused, acked = await gateway.amend_batch(changes(2))
    assert refused == AmendRefused(client_order_id=1, kind="rejected", code=10558, text="less.than.min.amount")
    assert isinstance(acked, AmendAcked)
    for _ in range(2):
        assert [type(each) for each in await gateway.amend_batch(changes(2))] == [AmendUnknown, AmendAcked]
    assert [type(each) for each in await gateway.amend_batch(changes(2))] == [AmendUnknown, AmendUnknown]


async def test_an_order_whose_venue_id_is_not_known_is_amended_by_itself(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(MODIFY, EMPTY_BATCH, ok([row(1), row(2)]))
    venue.then(SINGLE_AMEND, ok(FIRST_ID + 9))
    nameless = Amendment(order=OrderRef(client_order_id=9, venue_order_id=None, symbol=CALL), price=Decimal(1))
    first, second = changes(2)
    outcomes = await gateway.amend_batch((first, nameless, second))
    assert [each.client_order_id for each in outcomes] == [1, 9, 2]
    assert len(bodies(venue, MODIFY)[1]["orders"]) == 2


async def test_cancels_go_by_the_venues_ids_and_by_ours_and_each_has_its_result(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(
        CANCEL,
        ok(
            [
                {"clOrdId": None, "ordId": FIRST_ID + 2, "ts": 1, "scode": 1, "smsg": "already filled"},
                {"clOrdId": 1, "ordId": str(FIRST_ID + 1), "ts": 1, "scode": 0, "smsg": None},
            ]
        ),
        ok([{"clOrdId": 9, "ordId": None, "ts": 1, "scode": 0, "smsg": None}]),
    )
    ours = [OrderRef(client_order_id=number, venue_order_id=None, symbol=CALL) for number in (9, 10)]
    outcomes = await gateway.cancel_batch([reference(1), ours[0], reference(2), ours[1]])
    assert outcomes[:3] == (
        CancelAcked(client_order_id=1),
        CancelAcked(client_order_id=9),
        CancelRefused(client_order_id=2, code=1, text="already filled"),
    )
    assert isinstance(outcomes[3], OutcomeUnknown)
    assert bodies(venue, CANCEL) == [
        {"orderIdList": [FIRST_ID + 1, FIRST_ID + 2]},
        {"clientOrderIdList": [9, 10]},
    ]


async def test_a_batch_of_cancels_that_is_lost_or_cannot_be_read_is_unknown(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(CANCEL, drop, ok(True))
    for _ in range(2):
        outcomes = await gateway.cancel_batch([reference(1), reference(2)])
        assert [type(each) for each in outcomes] == [OutcomeUnknown] * 2


async def test_each_cancel_of_a_batch_that_is_refused_as_a_whole_goes_by_itself(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(CANCEL, refuse(10004))
    venue.then(table.CANCEL_ORDER.path, ok(FIRST_ID), ok(FIRST_ID))
    outcomes = await gateway.cancel_batch([reference(1), reference(2)])
    assert outcomes == (CancelAcked(client_order_id=1), CancelAcked(client_order_id=2))
