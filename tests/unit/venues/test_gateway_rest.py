"""The gateway against a venue on real sockets that misbehaves on demand."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
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
from shared.options.book import unpack_levels
from shared.secrets import ApiKey
from shared.tasks import spawn
from shared.venues.coincall import (
    BETA,
    PRODUCTION,
    CoincallGateway,
    KeyCheckFailed,
    check_key,
    sign,
    simulated,
)
from shared.venues.coincall import contract_endpoints as contracts
from shared.venues.coincall import endpoints as table
from shared.venues.coincall.endpoints import CoincallEndpoints, of_venue
from shared.venues.coincall.rest import RestClient
from shared.venues.coincall.sign import Value
from shared.venues.ports import MarketGateway, OrderGateway, VenueError
from tests.unit.venues.servers import (
    Call,
    Handler,
    RestVenue,
    cut_short,
    drop,
    hang,
    ok,
    raw,
    refuse,
    rest_venue,
    until,
)

KEY = ApiKey(key="DEMOkey+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi=", secret="c0ffee" * 10)
CREATE, CANCEL, QUERY = table.CREATE_ORDER.path, table.CANCEL_ORDER.path, table.SINGLE_ORDER.path
CALL = "BTCUSD-26JUN26-100000-C"
OURS = 7530219456123456789
ORDER_ID = 2075207494989787138


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[RestVenue]:
    async with rest_venue() as running:
        yield running


class Watched:
    def __init__(self, url: str) -> None:
        self.calls: list[tuple[str, str]] = []
        self.skipped: list[str] = []
        self.waited: set[str] = set()
        self.gateway = CoincallGateway(
            CoincallEndpoints(rest=url, ws_options="ws://unused", ws_futures="ws://unused"),
            KEY,
            on_call=lambda name, outcome, _seconds: self.calls.append((name, outcome)),
            on_skipped=self.skipped.append,
            on_wait=lambda group, _seconds: self.waited.add(group),
            backoff_s=(0.01, 0.02, 0.04),
        )


@pytest_asyncio.fixture
async def watched(venue: RestVenue) -> AsyncIterator[Watched]:
    made = Watched(venue.url)
    yield made
    await made.gateway.close()


@pytest.fixture
def gateway(watched: Watched) -> CoincallGateway:
    return watched.gateway


def order(**changes: Any) -> NewOrder:
    base = NewOrder(client_order_id=OURS, symbol=CALL, side="sell", quantity=Decimal("0.50"), price=Decimal("1250.5"))
    return msgspec.structs.replace(base, **changes)


def reference(venue_order_id: int | None = None) -> OrderRef:
    return OrderRef(client_order_id=OURS, venue_order_id=venue_order_id, symbol=CALL)


def order_row(**changes: Any) -> dict[str, Any]:
    row = {
        "orderId": ORDER_ID,
        "clientOrderId": OURS,
        "symbol": CALL,
        "qty": 0.5,
        "fillQty": 0,
        "price": 1250.5,
        "avgPrice": None,
        "tradeSide": 2,
        "createTime": 1783602996000,
        "state": 0,
        "reduceOnly": 0,
    }
    return {**row, **changes}


def refuse_connections() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_the_gateway_is_what_the_ports_ask_for(gateway: CoincallGateway) -> None:
    ports: tuple[MarketGateway, OrderGateway] = (gateway, gateway)
    for text in map(repr, ports):
        assert KEY.secret not in text
        assert KEY.key not in text


def test_the_environments_are_those_of_the_reference() -> None:
    assert PRODUCTION.rest == "https://api.coincall.com"
    assert BETA.ws_options == "wss://betaws.seizeyouralpha.com/options"
    assert simulated("127.0.0.1", 8080).ws_futures == "ws://127.0.0.1:8080/futures"


def test_a_configured_venue_names_its_environment() -> None:
    def no_port() -> int:
        raise AssertionError("only the simulated exchange has a port of ours")

    assert of_venue("beta", no_port) is BETA
    assert of_venue("production", no_port) is PRODUCTION
    assert of_venue("sim", lambda: 4242).rest == "http://127.0.0.1:4242"


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_of_the_budget_must_be_a_fraction(share: float) -> None:
    with pytest.raises(ValueError, match="budget_share"):
        CoincallGateway(BETA, KEY, budget_share=share)


async def test_a_venue_whose_clock_cannot_be_read_does_not_stop_the_start(venue: RestVenue, watched: Watched) -> None:
    venue.always("/time", raw(b"soon"))
    await watched.gateway.start()
    assert len(watched.skipped) == 1
    venue.always("/time", ok({"serverTime": "soon"}))
    with pytest.raises(VenueError) as failure:
        await watched.gateway.server_time_offset_ns()
    assert failure.value.kind == "unknown"


@pytest.mark.parametrize(
    ("path", "read"),
    [
        (table.PENDING_ORDERS.path, lambda gateway: gateway.open_orders()),
        (table.ORDER_HISTORY.path, lambda gateway: gateway.order_history(time.time_ns())),
        (table.FILLS.path, lambda gateway: gateway.fills(time.time_ns())),
        (table.EXERCISES.path, lambda gateway: gateway.exercises(time.time_ns())),
    ],
    ids=["open orders", "orders", "fills", "exercises"],
)
async def test_one_unreadable_row_fails_the_list_instead_of_leaving_a_hole(
    venue: RestVenue, gateway: CoincallGateway, path: str, read: Callable[[CoincallGateway], Awaitable[Any]]
) -> None:
    venue.always(path, ok({"list": [{"symbol": CALL}], "hasNext": False, "pageTotal": 1}))
    with pytest.raises(VenueError) as failure:
        await read(gateway)
    assert failure.value.kind == "unknown"
    venue.always(path, ok({"list": None}))
    assert await read(gateway) == ()


async def test_an_order_is_sent_with_exactly_the_signed_digits(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.always(CREATE, ok(ORDER_ID))
    outcome = await gateway.place(order(reduce_only=True, post_only=True))
    assert outcome == OrderAcked(client_order_id=OURS, venue_order_id=ORDER_ID)
    (call,) = venue.calls_of(CREATE)
    assert call.body == (
        b'{"symbol":"BTCUSD-26JUN26-100000-C","tradeSide":2,"tradeType":3,"qty":0.50,"price":1250.5,'
        b'"clientOrderId":7530219456123456789,"timeInForce":"GTC","reduceOnly":1}'
    )
    params: dict[str, Value] = {
        "symbol": CALL,
        "tradeSide": 2,
        "tradeType": 3,
        "qty": "0.50",
        "price": "1250.5",
        "clientOrderId": OURS,
        "timeInForce": "GTC",
        "reduceOnly": 1,
    }
    text = sign.prehash("POST", CREATE, params, KEY.key, int(call.headers["ts"]))
    assert call.headers["sign"] == sign.signature(KEY.secret, text)
    assert call.headers["X-CC-APIKEY"] == KEY.key
    assert call.headers["X-REQ-TS-DIFF"] == "5000"
    assert call.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "answer",
    [
        drop,
        cut_short,
        raw(b"<html>bad gateway</html>", status=502),
        raw(b'{"code":0,"data":2075'),
        raw(b"<html>ok</html>"),
        refuse(99999, "something new"),
        refuse(10577, "duplicate"),
        refuse(10529, status=500),
    ],
    ids=[
        "lost answer",
        "half an answer",
        "502",
        "broken json",
        "html",
        "unlisted code",
        "duplicate",
        "500 with code",
    ],
)
async def test_timeout_after_acceptance_does_not_duplicate(
    venue: RestVenue, gateway: CoincallGateway, answer: Handler
) -> None:
    venue.then(CREATE, answer)
    outcome = await gateway.place(order())
    assert isinstance(outcome, OutcomeUnknown)
    assert len(venue.calls_of(CREATE)) == 1


async def test_an_order_without_an_answer_is_unknown_after_three_seconds(venue: RestVenue, watched: Watched) -> None:
    venue.then(CREATE, hang)
    started = time.monotonic()
    outcome = await watched.gateway.place(order())
    assert time.monotonic() - started > 2.9
    assert outcome == OutcomeUnknown(client_order_id=OURS, reason="no answer within 3000 ms")
    assert len(venue.calls_of(CREATE)) == 1
    assert ("place", "lost") in watched.calls


async def test_an_order_over_a_kept_connection_that_the_venue_cuts_is_unknown_not_unsent(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(CREATE, ok(ORDER_ID), drop)
    assert isinstance(await gateway.place(order()), OrderAcked)
    assert isinstance(await gateway.place(order()), OutcomeUnknown)
    assert len(venue.calls_of(CREATE)) == 2


async def test_an_order_that_found_no_connection_is_refused_as_not_sent() -> None:
    watched = Watched(refuse_connections())
    outcome = await watched.gateway.place(order())
    await watched.gateway.close()
    assert isinstance(outcome, OrderRefused)
    assert (outcome.kind, outcome.code) == ("throttled", 0)
    assert outcome.text.startswith("not sent: ")
    assert ("place", "not_sent") in watched.calls


@pytest.mark.parametrize(
    ("code", "kind"), [(10529, "rejected"), (10000, "throttled"), (4003, "auth"), ("10558", "rejected")]
)
async def test_a_listed_code_refuses_the_order(
    venue: RestVenue, gateway: CoincallGateway, code: Any, kind: str
) -> None:
    venue.then(CREATE, refuse(code, "no"))
    assert await gateway.place(order()) == OrderRefused(client_order_id=OURS, kind=kind, code=int(code), text="no")  # type: ignore[arg-type]


async def test_cancels_use_the_venues_id_where_it_is_known(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.then(CANCEL, ok("success"), ok("success"), refuse(11102, "filled"), drop)
    assert await gateway.cancel(reference(ORDER_ID)) == CancelAcked(client_order_id=OURS)
    assert await gateway.cancel(reference()) == CancelAcked(client_order_id=OURS)
    assert await gateway.cancel(reference()) == CancelRefused(client_order_id=OURS, code=11102, text="filled")
    assert isinstance(await gateway.cancel(reference()), OutcomeUnknown)
    bodies = [msgspec.json.decode(call.body) for call in venue.calls_of(CANCEL)]
    assert bodies[:2] == [{"orderId": ORDER_ID}, {"clientOrderId": OURS}]


async def test_cancel_all_goes_to_the_underlying_once(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.then("/open/option/order/cancelOpenOrders/v1/BTCUSD", ok(None), raw(b"", status=500))
    assert await gateway.cancel_all("BTCUSD") == CancelAcked(client_order_id=0)
    assert isinstance(await gateway.cancel_all("BTCUSD"), OutcomeUnknown)
    assert len(venue.calls_of("/open/option/order/cancelOpenOrders/v1/BTCUSD")) == 2


async def test_an_amendment_sends_only_what_changes(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.then(table.MODIFY_ORDER.path, ok(str(ORDER_ID)), refuse(10584))
    outcome = await gateway.amend(Amendment(order=reference(ORDER_ID), price=Decimal(1251)))
    assert outcome == AmendAcked(client_order_id=OURS, venue_order_id=ORDER_ID)
    body = msgspec.json.decode(venue.calls_of(table.MODIFY_ORDER.path)[0].body)
    assert body == {"orderId": ORDER_ID, "symbol": CALL, "price": 1251}
    gone = await gateway.amend(Amendment(order=reference(ORDER_ID), quantity=Decimal(1)))
    assert isinstance(gone, AmendRefused)


async def test_an_amendment_without_answer_is_unknown_and_sent_once(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(table.MODIFY_ORDER.path, cut_short, ok(str(ORDER_ID)))
    outcome = await gateway.amend(Amendment(order=reference(ORDER_ID), price=Decimal(1251)))
    assert isinstance(outcome, AmendUnknown)
    assert len(venue.calls_of(table.MODIFY_ORDER.path)) == 1


async def test_a_read_is_repeated_until_it_succeeds(venue: RestVenue, watched: Watched) -> None:
    venue.then(table.POSITIONS.path, raw(b"", status=503), cut_short, refuse(10000), ok([]))
    assert await watched.gateway.positions() == ()
    assert [outcome for name, outcome in watched.calls if name == "positions"] == ["down", "lost", "throttled", "ok"]


async def test_a_read_that_keeps_failing_says_so_after_three_repetitions(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.always(table.POSITIONS.path, raw(b"garbage"))
    with pytest.raises(VenueError) as failure:
        await gateway.positions()
    assert failure.value.kind == "down"
    assert len(venue.calls_of(table.POSITIONS.path)) == 4


async def test_a_refused_read_is_not_repeated(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.always(table.ACCOUNT_SUMMARY.path, refuse(10560, "invalid access key"))
    with pytest.raises(VenueError) as failure:
        await gateway.account()
    assert (failure.value.kind, failure.value.code) == ("auth", 10560)
    assert len(venue.calls_of(table.ACCOUNT_SUMMARY.path)) == 1


async def test_while_the_venue_fails_reads_and_opening_orders_wait_but_closes_go_out(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.always(table.POSITIONS.path, raw(b"", status=500))
    venue.always(CREATE, ok(ORDER_ID))
    venue.always(CANCEL, ok("success"))
    for _ in range(2):
        with pytest.raises(VenueError, match=r"^positions: (HTTP 500|not asked)"):
            await gateway.positions()
    assert len(venue.calls_of(table.POSITIONS.path)) == 5, "the circuit opened after the fifth failure"
    opening = await gateway.place(order())
    assert isinstance(opening, OrderRefused)
    assert opening.text.startswith("not sent: ")
    assert isinstance(await gateway.place(order(reduce_only=True)), OrderAcked)
    assert isinstance(await gateway.cancel(reference()), CancelAcked)
    assert len(venue.calls_of(CREATE)) == 1


async def test_an_order_is_found_by_our_id(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.then(QUERY, ok(order_row()))
    found = await gateway.order(OURS)
    assert found is not None
    assert (found.venue_order_id, found.state) == (ORDER_ID, "new")
    assert venue.calls_of(QUERY)[0].query == {"clientOrderId": str(OURS)}


@pytest.mark.parametrize("answer", [refuse(10584), ok(None), raw(b"not found", status=404)])
async def test_an_order_that_the_venue_does_not_know_is_none(
    venue: RestVenue, gateway: CoincallGateway, answer: Handler
) -> None:
    venue.then(QUERY, answer)
    assert await gateway.order(OURS) is None


@pytest.mark.parametrize("answer", [refuse(99999), ok(order_row(clientOrderId=5)), ok({"orderId": 1})])
async def test_a_query_that_went_wrong_is_no_evidence_of_absence(
    venue: RestVenue, gateway: CoincallGateway, answer: Handler
) -> None:
    venue.always(QUERY, answer)
    with pytest.raises(VenueError) as failure:
        await gateway.order(OURS)
    assert failure.value.kind == "unknown"


@pytest.mark.parametrize(("code", "kind"), [(10000, "throttled"), (10554, "auth"), (99999, "unknown")])
@pytest.mark.parametrize("product", ["options", "futures", "spot"])
async def test_a_refused_query_whose_data_is_null_is_no_evidence_of_absence(
    venue: RestVenue, gateway: CoincallGateway, product: str, code: int, kind: str
) -> None:
    """Every error has null for data, as an answer about an order that does not exist may have."""
    asked, path = {
        "options": (gateway, QUERY),
        "futures": (gateway.futures, contracts.FUTURES_ORDER.path),
        "spot": (gateway.spot, contracts.SPOT_ORDER.path),
    }[product]
    venue.always(path, refuse(code, "Try again later"))
    with pytest.raises(VenueError) as failure:
        await asked.order(OURS)
    assert failure.value.kind == kind
    venue.always(path, ok(None))
    assert await asked.order(OURS) is None


async def test_open_orders_come_from_all_pages(venue: RestVenue, gateway: CoincallGateway) -> None:
    rows = [{**order_row(orderId=number, clientOrderId=number + 10**9), "state": None} for number in (1, 2, 3)]
    venue.then(
        table.PENDING_ORDERS.path,
        ok({"list": rows[:2], "pageTotal": 2, "total": 3}),
        ok({"list": rows[1:], "pageTotal": 2, "total": 3}),
    )
    assert [found.venue_order_id for found in await gateway.open_orders()] == [1, 2, 3]
    assert [call.query["page"] for call in venue.calls_of(table.PENDING_ORDERS.path)] == ["1", "2"]
    assert venue.calls_of(table.PENDING_ORDERS.path)[0].query["pageSize"] == "500"


async def test_history_follows_the_cursor_inside_windows_that_the_venue_allows(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    def page(ids: list[int], more: bool) -> Handler:
        rows = [order_row(orderId=number, clientOrderId=number + 10**9, createTime=number) for number in ids]
        return ok({"list": rows, "hasNext": more, "hasPre": False})

    path = table.ORDER_HISTORY.path
    venue.then(path, page([5, 4], True), page([3], False), page([9, 5], False))
    since_ns = time.time_ns() - 100 * 86_400 * 10**9
    assert [found.venue_order_id for found in await gateway.order_history(since_ns)] == [3, 4, 5, 9]
    queries = [call.query for call in venue.calls_of(path)]
    assert [query.get("fromId") for query in queries] == [None, "4", None]
    for query in queries:
        assert int(query["endTime"]) - int(query["startTime"]) <= 90 * 86_400_000
    assert int(queries[0]["startTime"]) == since_ns // 10**6
    assert int(queries[2]["startTime"]) == int(queries[0]["endTime"])
    assert int(queries[2]["endTime"]) >= time.time_ns() // 10**6


async def test_a_cursor_that_does_not_advance_is_an_error_not_an_endless_loop(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.always(table.ORDER_HISTORY.path, ok({"list": [order_row()], "hasNext": True}))
    with pytest.raises(VenueError, match="does not advance"):
        await gateway.order_history(time.time_ns())


async def test_exercises_come_from_all_pages_once(venue: RestVenue, gateway: CoincallGateway) -> None:
    def row(at: int) -> dict[str, Any]:
        return {
            "symbol": CALL,
            "time": at,
            "qty": 1,
            "tradeSide": 1,
            "exercisePrice": 1,
            "settlementCashFlow": 5,
            "fees": None,
        }

    path = table.EXERCISES.path
    venue.then(
        path, ok({"list": [row(3), row(2)], "hasNext": True}), ok({"list": [row(2), row(1)], "hasNext": False})
    )
    exercises = await gateway.exercises(time.time_ns())
    assert [found.venue_ns for found in exercises] == [10**6, 2 * 10**6, 3 * 10**6]
    assert [call.query["pageSize"] for call in venue.calls_of(path)] == ["50", "50"]


async def test_market_reads_fetch_what_they_name(venue: RestVenue, gateway: CoincallGateway) -> None:
    listed = {
        "symbolName": CALL,
        "expirationTimestamp": 1782460800000,
        "isActive": True,
        "minQty": 0.01,
        "tickSize": 1,
    }
    venue.then("/open/option/getInstruments/BTC", ok([listed]))
    venue.then(table.CONFIG.path, ok({"optionConfig": {"BTCUSD": {"limitMaxQty": "1000"}}}))
    venue.then("/open/option/get/v1/BTCUSD", ok([{"callOption": {"symbol": CALL, "bid": 5}}]))
    venue.then(table.FUTURES_SYMBOL.path, ok({"symbol": "BTCUSD", "indexPrice": 64000}))
    (instrument,) = await gateway.instruments("BTCUSD")
    assert instrument.symbol == CALL
    chain = await gateway.chain("BTCUSD", 1782460800000 * 10**6)
    assert [row.bid for row in chain.rows] == [5.0]
    assert venue.calls_of("/open/option/get/v1/BTCUSD")[0].query == {"endTime": "1782460800000"}
    assert (await gateway.index_price("BTCUSD")).price == 64000.0
    assert all("sign" not in call.headers for call in venue.calls_of("/open/option/get/v1/BTCUSD"))


async def test_books_last_trades_and_klines_are_read_without_a_signature(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    trade = {"symbol": CALL, "price": "5.5", "qty": "0.1", "time": 1, "tradeSide": 2}
    bar = {"time": 60_000, "open": 1, "high": 3, "low": 1, "close": 2, "volume": 4, "period": "H1"}
    book_path, trades_path, klines_path = (
        each.path.format(symbol=CALL) for each in (table.ORDER_BOOK, table.LAST_TRADES, table.KLINES)
    )
    venue.then(book_path, ok({"optionName": CALL, "bids": [{"price": "5", "size": "1"}], "asks": []}))
    venue.then(trades_path, ok([trade]))
    venue.then(klines_path, ok([bar]))
    assert unpack_levels((await gateway.order_book(CALL)).bids).tolist() == [[5.0], [1.0]]
    assert [each.side for each in await gateway.last_trades(CALL)] == ["sell"]
    klines = await gateway.klines(CALL, "1h", 60_000 * 10**6, 120_000 * 10**6)
    assert [each.close for each in klines] == [2.0]
    assert venue.calls_of(klines_path)[0].query == {"period": "h1", "start": "60000", "end": "120000"}
    assert not any("sign" in call.headers for call in venue.calls if call.path != "/time")


async def test_the_venues_clock_is_measured_and_corrects_signatures(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.clock_ahead_ms = 600_000
    venue.always(table.POSITIONS.path, ok([]))
    assert await gateway.server_time_offset_ns() / 1e9 == pytest.approx(600, abs=60)
    await gateway.positions()
    sent_ms = int(venue.calls_of(table.POSITIONS.path)[0].headers["ts"])
    assert sent_ms / 1e3 == pytest.approx(time.time() + 600, abs=120)


async def test_an_expired_timestamp_makes_the_next_attempt_measure_again(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    await gateway.start()
    venue.clock_ahead_ms = 600_000
    venue.then(table.POSITIONS.path, refuse(10557, "timestamp expired"), ok([]))
    assert await gateway.positions() == ()
    first, second = (int(call.headers["ts"]) for call in venue.calls_of(table.POSITIONS.path))
    assert second - first > 300_000


async def test_an_order_refused_for_its_time_may_be_tried_again_at_once(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    await gateway.start()
    venue.then(CREATE, refuse(10557, "timestamp expired"), ok(ORDER_ID))
    refused = await gateway.place(order())
    assert isinstance(refused, OrderRefused)
    assert (refused.kind, refused.code) == ("throttled", 10557)
    assert isinstance(await gateway.place(order(reduce_only=True)), OrderAcked)
    assert len(venue.calls_of("/time")) == 2


def most_in_any_window(calls: list[Call], window_ms: int) -> int:
    """By the time at which they were signed: how long they then travel says nothing about us."""
    signed_ms = [int(call.headers["ts"]) for call in calls]
    return max(sum(at_ms <= other < at_ms + window_ms for other in signed_ms) for at_ms in signed_ms)


async def test_a_burst_stays_within_the_venues_limit_and_lets_a_cancel_through(
    venue: RestVenue, watched: Watched
) -> None:
    venue.always(CREATE, ok(ORDER_ID))
    venue.always(CANCEL, ok("success"))
    placing = [spawn(watched.gateway.place(order()), name="place") for _ in range(60)]
    cancelled = await watched.gateway.cancel(reference())
    outcomes = await asyncio.gather(*placing)
    sent = venue.calls_of(CREATE)
    assert len(sent) >= 30 - 30 // 5, "what the limit has room for goes out"
    assert most_in_any_window(sent, 2_000) <= 30
    assert "place" in watched.waited
    assert "cancel" not in watched.waited
    assert isinstance(cancelled, CancelAcked | OutcomeUnknown)
    # a busy machine may bring an answer too late; what is refused has never left
    acked, unknown = (sum(isinstance(outcome, kind) for outcome in outcomes) for kind in (OrderAcked, OutcomeUnknown))
    assert acked <= len(sent) <= acked + unknown
    refused = [outcome for outcome in outcomes if isinstance(outcome, OrderRefused)]
    assert acked + unknown + len(refused) == 60
    assert all(outcome.text.startswith("not sent: ") for outcome in refused)


async def test_orders_after_a_quiet_time_leave_on_connections_that_are_open_already(venue: RestVenue) -> None:
    venue.always(CREATE, ok(ORDER_ID))
    rest = RestClient(venue.url, KEY)
    warmth = spawn(rest.keep_warm(every_s=0.01), name="warmth")
    await until(lambda: len(venue.calls_of("/time")) >= 6)
    warmth.cancel()
    await asyncio.wait([warmth])
    warm = {call.connection for call in venue.calls_of("/time")}
    sent = [rest.send(table.CREATE_ORDER, {"clientOrderId": number}, "open") for number in (1, 2)]
    answers = await asyncio.gather(*sent)
    await rest.close()
    assert [type(answer).__name__ for answer in answers] == ["Answer", "Answer"]
    used = {call.connection for call in venue.calls_of(CREATE)}
    assert len(used) == 2
    assert used <= warm


async def test_a_venue_that_is_away_does_not_end_the_keeping_of_connections(venue: RestVenue) -> None:
    venue.then("/time", drop, drop, drop, drop, refuse(500, status=500))
    rest = RestClient(venue.url, KEY)
    warmth = spawn(rest.keep_warm(every_s=0.01), name="warmth")
    await until(lambda: len(venue.calls_of("/time")) >= 9)
    assert not warmth.done()
    warmth.cancel()
    await asyncio.wait([warmth])
    await rest.close()


async def test_a_burst_that_waits_for_the_venues_clock_stays_within_the_limit_too(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    async def late(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1.0)  # half a window: what is signed after it comes close to the next window's calls
        return await ok({"serverTime": time.time_ns() // 1_000_000})(request)

    venue.then("/time", late)
    venue.always(CREATE, ok(ORDER_ID))
    await asyncio.gather(*(gateway.place(order()) for _ in range(40)))
    assert most_in_any_window(venue.calls_of(CREATE), 2_000) <= 30


async def test_a_share_counts_where_services_meet_and_not_in_what_execution_alone_does(venue: RestVenue) -> None:
    venue.always(CREATE, ok(ORDER_ID))
    venue.always(table.POSITIONS.path, ok([]))
    endpoints = CoincallEndpoints(rest=venue.url, ws_options="ws://unused", ws_futures="ws://unused")
    gateway = CoincallGateway(endpoints, KEY, budget_share=0.25)
    try:
        await gateway.start()
        outcomes = await asyncio.gather(*(gateway.place(order(reduce_only=True)) for _ in range(30)))
        assert all(isinstance(outcome, OrderAcked) for outcome in outcomes)
        placed_ms = [int(call.headers["ts"]) for call in venue.calls_of(CREATE)]
        assert max(placed_ms) - min(placed_ms) < 6_000, "a quarter of the limit would take longer"
        await asyncio.gather(gateway.positions(), gateway.positions())
        first_ms, second_ms = sorted(int(call.headers["ts"]) for call in venue.calls_of(table.POSITIONS.path))
        assert second_ms - first_ms >= 900
    finally:
        await gateway.close()


async def test_no_error_names_the_key_or_the_secret(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.always(CREATE, refuse(10560, f"unknown key {KEY.key}"))
    venue.always(table.POSITIONS.path, refuse(10560, f"unknown key {KEY.key}"))
    outcome = await gateway.place(order())
    with pytest.raises(VenueError) as failure:
        await gateway.positions()
    for text in (repr(outcome), str(failure.value), repr(failure.value)):
        assert KEY.key not in text
        assert KEY.secret not in text


async def test_a_closed_gateway_sends_nothing(venue: RestVenue, gateway: CoincallGateway) -> None:
    await gateway.close()
    outcome = await gateway.place(order())
    assert isinstance(outcome, OrderRefused)
    assert outcome.text == "not sent: the gateway is closed"
    assert venue.calls == []


def key_answer(read_only: int) -> Handler:
    return ok({"userId": 8095151726, "apiKey": KEY.key, "readOnly": read_only, "isMaster": True, "parentUid": "0"})


async def test_a_key_that_fits_its_service_passes_the_check(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.then(table.KEY_INFO.path, key_answer(0), key_answer(1))
    assert await check_key(gateway, need_trading=True) == ()
    assert await check_key(gateway, need_trading=False) == ()


async def test_a_read_only_key_may_not_trade_and_a_trading_key_only_warns(
    venue: RestVenue, gateway: CoincallGateway
) -> None:
    venue.then(table.KEY_INFO.path, key_answer(1), key_answer(0))
    with pytest.raises(KeyCheckFailed, match="read-only") as failure:
        await check_key(gateway, need_trading=True)
    assert "Trade right" in failure.value.remedy
    (warning,) = await check_key(gateway, need_trading=False)
    assert "read-only key" in warning


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        (10556, "other environment", "beta key"),
        (10560, "does not know", "missing or extra characters"),
        (4003, "signature", "secret"),
        (10551, "whitelist", "address"),
        (10557, "expired", "NTP"),
        (10519, "refuses", "check key"),
    ],
)
async def test_a_key_that_the_venue_refuses_comes_with_a_remedy(
    venue: RestVenue, gateway: CoincallGateway, code: int, reason: str, remedy: str
) -> None:
    venue.always(table.KEY_INFO.path, refuse(code, "no"))
    with pytest.raises(KeyCheckFailed) as failure:
        await check_key(gateway, need_trading=False)
    assert reason in failure.value.reason
    assert remedy in failure.value.remedy


async def test_a_host_whose_clock_is_off_is_told_to_synchronise(venue: RestVenue, gateway: CoincallGateway) -> None:
    venue.clock_ahead_ms = -30_000
    with pytest.raises(KeyCheckFailed, match=r"\+\d\d\.\d s off") as failure:
        await check_key(gateway, need_trading=False)
    assert "NTP" in failure.value.remedy


async def test_a_venue_that_is_away_is_no_reason_to_give_up_the_start() -> None:
    watched = Watched(refuse_connections())
    with pytest.raises(VenueError) as failure:
        await check_key(watched.gateway, need_trading=True)
    await watched.gateway.close()
    assert failure.value.kind == "down"
