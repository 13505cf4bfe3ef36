"""The sockets against a venue on real sockets that misbehaves on demand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from shared.messages.venue import StreamDown, StreamUp, VenueFill, VenueOrder
from shared.secrets import ApiKey
from shared.tasks import spawn
from shared.venues.coincall import CoincallEndpoints, CoincallGateway, parse
from shared.venues.coincall.liveness import LivenessLimits
from shared.venues.coincall.stream import Subscription, VenueStream
from shared.venues.ports import ChainPush, IndexPush
from tests.unit.venues.servers import SocketVenue, socket_venue, until
from tests.unit.venues.test_parse import PARTIAL_FRAME, TRADE

KEY = ApiKey(key="DEMOkey+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi=", secret="c0ffee" * 10)
MS = 10**6
# what a busy machine must not run out of where a test is about something else
PATIENT = LivenessLimits(
    heartbeat_after_ns=100 * MS,
    answer_within_ns=60_000 * MS,
    silent_after_ns=60_000 * MS,
    acknowledged_within_ns=60_000 * MS,
    refresh_after_ns=200 * MS,
)
EXPIRY_MS = 1782460800000
ORDER = PARTIAL_FRAME.decode()
FILL = msgspec.json.encode({"dt": 15, "c": 20, "d": TRADE}).decode()


@pytest_asyncio.fixture
async def venue() -> AsyncIterator[SocketVenue]:
    async with socket_venue() as running:
        yield running


class Heard:
    """What a stream delivered, in order."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.skipped: list[str] = []

    def count(self, kind: type) -> int:
        return sum(isinstance(item, kind) for item in self.items)

    def reasons(self) -> str:
        return "; ".join(item.reason for item in self.items if isinstance(item, StreamDown))


@asynccontextmanager
async def account_stream(venue: SocketVenue, limits: LivenessLimits = PATIENT) -> AsyncIterator[Heard]:
    """The account's stream, reconnecting at once so that a test needs no patience."""
    heard = Heard()

    def on_data(code: int, data: msgspec.Raw, _ts: int | None) -> tuple[str, ...]:
        heard.items.append(parse.parse_order_frame(data) if code == 11 else parse.parse_trade_frame(data))
        return ()

    async with running(venue, heard, lambda: (Subscription("order"), Subscription("trade")), on_data, limits):
        yield heard


@asynccontextmanager
async def running(
    venue: SocketVenue,
    heard: Heard,
    wanted: Callable[[], tuple[Subscription, ...]],
    on_data: Callable[[int, msgspec.Raw, int | None], tuple[str, ...]],
    limits: LivenessLimits = PATIENT,
) -> AsyncIterator[None]:
    stream = VenueStream(
        "account",
        address=lambda: f"{venue.url}/options?apiKey={KEY.key}",
        wanted=wanted,
        on_data=on_data,
        on_state=heard.items.append,
        on_skipped=heard.skipped.append,
        limits=limits,
        reconnect_delay=lambda _name, _attempt: 0.01,
    )
    task = spawn(stream.run(), name="stream under test")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def endpoints_of(venue: SocketVenue) -> CoincallEndpoints:
    return CoincallEndpoints(
        rest="http://127.0.0.1:9", ws_options=f"{venue.url}/options", ws_futures=f"{venue.url}/futures"
    )


@asynccontextmanager
async def gateway_task(venue: SocketVenue, run: Callable[[CoincallGateway], Any]) -> AsyncIterator[None]:
    gateway = CoincallGateway(endpoints_of(venue), KEY, liveness=PATIENT)
    task = spawn(run(gateway), name="gateway stream under test")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await gateway.close()


async def test_the_account_stream_logs_in_with_the_raw_key_and_delivers_orders_and_fills(venue: SocketVenue) -> None:
    heard = Heard()
    async with gateway_task(venue, lambda gateway: gateway.stream_account(heard.items.append)):
        await until(lambda: heard.count(StreamUp) == 1)
        await venue.push(ORDER, FILL)
        await until(lambda: len(heard.items) == 3)
    assert heard.items[0] == StreamUp("account")
    assert isinstance(heard.items[1], VenueOrder)
    assert isinstance(heard.items[2], VenueFill)
    assert heard.items[1].venue_order_id == heard.items[2].venue_order_id == 2075207494989787138
    path = venue.handshakes[0]
    assert path.startswith(f"/options?code=10&uuid={KEY.key}&ts=")
    assert path.endswith(f"&apiKey={KEY.key}")
    assert [frame["dataType"] for frame in venue.subscribed][:2] == ["order", "trade"]


async def test_garbage_and_unknown_frames_are_counted_and_end_nothing(venue: SocketVenue) -> None:
    bad = [
        "not json",
        "[]",
        "17",
        '{"c":20}',
        '{"dt":11,"c":20,"d":{"oid":1}}',
        '{"dt":11,"c":20,"d":null}',
        '{"dt":15,"c":20,"d":{"symbol":5}}',
        '{"something":"new"}',
        '{"code":1,"msg":"too many request"}',
    ]
    async with account_stream(venue) as heard:
        await until(lambda: heard.count(StreamUp) == 1)
        await venue.push(*bad, ORDER)
        await until(lambda: heard.count(VenueOrder) == 1)
    assert heard.count(StreamDown) == 0
    assert len(heard.skipped) == len(bad)


async def test_after_every_disconnect_it_subscribes_anew_and_says_so(venue: SocketVenue) -> None:
    async with account_stream(venue) as heard:
        for times in (1, 2, 3):
            await until(lambda times=times: heard.count(StreamUp) == times)  # type: ignore[misc]
            await venue.disconnect()
            await until(lambda times=times: heard.count(StreamDown) == times)  # type: ignore[misc]
        await until(lambda: heard.count(StreamUp) == 4)
        await venue.push(ORDER)
        await until(lambda: heard.count(VenueOrder) == 1)
    assert [type(item) for item in heard.items] == [StreamUp, StreamDown] * 3 + [StreamUp, VenueOrder]
    assert [frame["dataType"] for frame in venue.subscribed] == ["order", "trade"] * 4


async def test_a_socket_that_is_open_but_dead_is_noticed_by_its_heartbeat(venue: SocketVenue) -> None:
    venue.answer_heartbeats = False
    async with account_stream(venue, replace(PATIENT, answer_within_ns=300 * MS)) as heard:
        await until(lambda: heard.count(StreamDown) == 1)
        assert "no answer to a heartbeat" in heard.reasons()
        assert venue.heartbeats >= 1
        venue.answer_heartbeats = True
        await until(lambda: heard.count(StreamUp) == 2)


async def test_an_idle_account_stream_stays_up_on_heartbeats_alone(venue: SocketVenue) -> None:
    async with account_stream(venue) as heard:
        await until(lambda: venue.heartbeats >= 4)
        assert [type(item) for item in heard.items] == [StreamUp]


async def test_a_refused_handshake_is_reported_without_the_key(
    venue: SocketVenue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venue.refuse_handshake = True
    async with account_stream(venue) as heard:
        await until(lambda: heard.count(StreamDown) == 2)
        venue.refuse_handshake = False
        await until(lambda: heard.count(StreamUp) == 1)
    assert "handshake refused with HTTP 403" in heard.reasons()
    assert KEY.key not in heard.reasons()
    client_records = [record for record in caplog.records if record.name.startswith("shared.")]
    assert not any(KEY.key in record.getMessage() for record in client_records)


async def test_a_refused_order_subscription_is_no_stream(venue: SocketVenue) -> None:
    venue.refused_data_types = {"trade"}
    async with account_stream(venue) as heard:
        await until(lambda: heard.count(StreamDown) == 1)
        assert heard.count(StreamUp) == 0
        assert "SUBSCRIBE trade answered with 'error'" in heard.reasons()
        venue.refused_data_types = set()
        await until(lambda: heard.count(StreamUp) == 1)


async def test_subscriptions_that_are_never_acknowledged_still_carry_data(venue: SocketVenue) -> None:
    venue.acknowledge = False
    async with account_stream(venue, replace(PATIENT, acknowledged_within_ns=500 * MS)) as heard:
        await until(lambda: heard.count(StreamUp) == 1)
        assert heard.skipped == [
            f"account: subscription to {name} was not acknowledged" for name in ("order", "trade")
        ]
        await venue.push(ORDER)
        await until(lambda: heard.count(VenueOrder) == 1)


async def test_a_stream_that_froze_while_others_run_is_subscribed_again_and_then_reconnected(
    venue: SocketVenue,
) -> None:
    heard = Heard()
    frozen = Subscription("tOption", (("symbol", "BTCUSD"), ("end", 1)), "frozen")
    quick = replace(PATIENT, silent_after_ns=1_500 * MS)
    lively = Subscription("tOption", (("symbol", "BTCUSD"), ("end", 2)), "lively")
    async with running(venue, heard, lambda: (frozen, lively), lambda _code, _data, _ts: ("lively",), quick):
        async with asyncio.timeout(60):
            while heard.count(StreamDown) == 0:
                await venue.push('{"dt":4,"c":20,"d":[]}')
                await asyncio.sleep(0.02)
    assert "connected, but frozen is silent" in heard.reasons()
    ends = [frame["payload"]["end"] for frame in venue.subscribed]
    assert ends[:3] == [1, 2, 1]


@pytest.mark.parametrize(("padding", "expected"), [(20_000, ["frame", "turn", "frame"]), (0, ["frame", "frame"])])
async def test_between_long_frames_that_came_together_the_loop_has_its_turn(
    venue: SocketVenue, padding: int, expected: list[str]
) -> None:
    seen: list[str] = []

    def on_data(_code: int, _data: msgspec.Raw, _ts: int | None) -> tuple[str, ...]:
        seen.append("frame")
        asyncio.get_running_loop().call_soon(seen.append, "turn")
        return ()

    heard = Heard()
    async with running(venue, heard, lambda: (Subscription("tOption"),), on_data):
        await until(lambda: heard.count(StreamUp) == 1)
        frame = '{"dt":4,"c":20,"d":[]' + " " * padding + "}"
        await venue.push(frame, frame)
        await until(lambda: seen.count("turn") == 2)
    assert seen[: len(expected)] == expected


async def test_market_streams_follow_the_expiries_and_deliver_chains_and_indices(venue: SocketVenue) -> None:
    heard = Heard()
    chain = {"s": "BTCUSD-26JUN26-100000-C", "mp": 5, "bid": 4, "ts": 1000}

    def pushes(frame: dict[str, Any]) -> list[str]:
        if frame["dataType"] == "tOption":
            return [msgspec.json.encode({"dt": 4, "c": 20, "d": [chain], "ts": 1000}).decode()]
        return ['{"dt":30,"c":20,"d":{"s":"BTCUSD","ip":"64000.5","ts":1001},"ts":1001}']

    venue.on_subscribed = pushes
    async with gateway_task(
        venue,
        lambda gateway: gateway.stream_market(
            ["BTCUSD"], lambda _name: [EXPIRY_MS * MS, (EXPIRY_MS + 1) * MS], heard.items.append
        ),
    ):
        await until(lambda: heard.count(ChainPush) >= 2 and heard.count(IndexPush) >= 1)
        assert heard.count(StreamUp) == 2
    (index, *_) = [item for item in heard.items if isinstance(item, IndexPush)]
    assert index == IndexPush(underlying="BTCUSD", price=64000.5, venue_ns=1001 * MS)
    (push, *_) = [item for item in heard.items if isinstance(item, ChainPush)]
    assert (push.underlying, push.expiry_ns, push.rows[0].bid) == ("BTCUSD", EXPIRY_MS * MS, 4.0)
    payloads = [frame["payload"] for frame in venue.subscribed if frame["dataType"] == "tOption"]
    assert payloads[:2] == [{"symbol": "BTCUSD", "end": EXPIRY_MS}, {"symbol": "BTCUSD", "end": EXPIRY_MS + 1}]
    assert {path.partition("?")[0] for path in venue.handshakes} == {"/options", "/futures"}


async def test_a_new_listing_is_subscribed_and_an_expired_one_is_dropped_without_reconnecting(
    venue: SocketVenue,
) -> None:
    heard = Heard()
    listed = [1, 2]

    def wanted() -> tuple[Subscription, ...]:
        return tuple(Subscription("tOption", (("symbol", "BTCUSD"), ("end", end))) for end in listed)

    async with running(venue, heard, wanted, lambda _code, _data, _ts: ()):
        await until(lambda: heard.count(StreamUp) == 1)
        listed[:] = [2, 3]
        await until(lambda: len(venue.subscribed) == 4)
    changes = [(frame["action"], frame["payload"]["end"]) for frame in venue.subscribed]
    assert changes == [("subscribe", 1), ("subscribe", 2), ("unSubscribe", 1), ("subscribe", 3)]
    assert [type(item) for item in heard.items] == [StreamUp]


async def test_a_refused_chain_does_not_keep_the_others_from_running(venue: SocketVenue) -> None:
    venue.refused_data_types = {"tOption"}
    heard = Heard()
    chain = Subscription("tOption", (("symbol", "BTCUSD"), ("end", 1)), "chain")
    async with running(venue, heard, lambda: (chain,), lambda _code, _data, _ts: ("chain",)):
        await until(lambda: heard.count(StreamUp) == 1)
    assert heard.skipped == ["account: SUBSCRIBE tOption answered with 'error'"]
    assert heard.count(StreamDown) == 0


async def test_a_heartbeat_that_is_not_accepted_ends_the_connection(venue: SocketVenue) -> None:
    async with account_stream(venue) as heard:
        await until(lambda: heard.count(StreamUp) == 1)
        await venue.push('{"c":11,"rc":0}')
        await until(lambda: heard.count(StreamUp) == 2)
    assert "heartbeat answered with rc 0" in heard.reasons()


async def test_a_venue_that_is_away_is_reported_and_tried_again() -> None:
    async with socket_venue() as gone:
        address = gone.url
    away = SocketVenue()
    away.url = address
    async with account_stream(away) as heard:
        await until(lambda: heard.count(StreamDown) >= 3)
    assert heard.count(StreamUp) == 0
    assert KEY.key not in heard.reasons()
