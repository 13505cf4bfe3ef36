"""A real desk under fire: thousands of hostile frames and requests at every socket and port of every process while it
trades. Nobody dies, nobody stalls, each kind is counted and logged once, and the next trade is opened as before.

`SEED` makes every byte; a failure is repeated by running the module again.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
import zmq

from services.exchange.config import KeyConfig
from services.exchange.server.routes import all_endpoints
from shared.bus import Bus, NoAnswer
from shared.bus.endpoints import Endpoints
from shared.bus.frames import Header, encode_frame
from shared.config import DeskConfig, load_config
from shared.messages.base import Message
from shared.messages.control import GetAccount, GrantRefused, RequestGrant, StrategyCommand
from shared.messages.system import GetStates, GetStatus, Heartbeat, Replay, ReplayAnswer, StatesAnswer
from shared.messages.trades import (
    CancelOrders,
    CloseTrade,
    ListOrders,
    ListTrades,
    Refusal,
    TellTrade,
    TradeList,
)
from shared.ports import resolve_ports
from shared.secrets import ensure_grant_key, ensure_paper_secrets, load_api_key, load_grant_key
from tests.e2e.conftest import strangle_file
from tests.e2e.stack import REPOSITORY
from tests.hostile import Forger
from tests.hostile_http import HttpForger, exchange
from tests.integration.exchange.harness import signed_headers, socket_query
from tests.unit.execution import play
from tests.unit.monitor.desk import account, alert, halts, heartbeat, strategy, trade

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(300)]

SEED = 20_261_126
PATIENCE_S = 120.0
SERVICES = ("exchange", "marketdata", "risk", "execution", "strategy", "monitor")
CONFIGURATION = """
[desk]
name = "fire"
account_id = "main"
venue = "sim"
underlyings = ["BTCUSD", "ETHUSD"]

[bus]
max_message_bytes = 1048576

[strategy]
enabled = ["quick"]
folders = ["strategies"]
"""


class Desk:
    """One process per service, started by hand: nobody restarts what dies."""

    def __init__(self, home: Path) -> None:
        path = home / "voldesk.toml"
        path.write_text(CONFIGURATION)
        (home / "strategies").mkdir()
        (home / "strategies" / "quick.py").write_text(strangle_file("quick", "1", hold_s=3))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOLDESK_", "COINCALL_"))}
        self._environment = {**kept, "VOLDESK_CONFIG": str(path)}
        self._home = home
        self.config: DeskConfig = load_config(path, self._environment)
        ensure_paper_secrets(self.config.run_dir)
        ensure_grant_key(self.config.run_dir)
        self.ports = resolve_ports(self.config.run_dir, self.config.ports)
        self.endpoints = Endpoints(self.config.run_dir, self.config.bus)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *services: str) -> None:
        for service in services:
            with (self._home / f"{service}.log").open("ab") as log:
                self.processes[service] = subprocess.Popen(
                    [sys.executable, "-m", f"services.{service}"],
                    cwd=REPOSITORY,
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                )

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, service: str) -> str:
        return (self._home / f"{service}.log").read_text(errors="replace")

    def events(self, service: str) -> list[dict[str, Any]]:
        """The lines of its log; one that is no JSON (a traceback on standard error) fails."""
        return [json.loads(line) for line in self.log(service).splitlines()]

    def resident_bytes(self, service: str) -> int:
        pages = Path(f"/proc/{self.processes[service].pid}/statm").read_text().split()[1]
        return int(pages) * 4_096

    def key(self, service: str) -> KeyConfig:
        key = load_api_key(self.config, service)
        return KeyConfig(api_key=key.key, api_secret=key.secret)

    def ended(self) -> dict[str, int | None]:
        return {name: process.poll() for name, process in self.processes.items() if process.poll() is not None}

    async def dropped(self, service: str) -> Counter[str]:
        """What its metrics say was dropped, by kind."""
        async with httpx.AsyncClient(timeout=60) as http:
            answer = await http.get(f"http://127.0.0.1:{self.ports[f'metrics-{service}']}/metrics")
        lines = answer.raise_for_status().text.splitlines()
        found: Counter[str] = Counter()
        for line in lines:
            if line.startswith(("voldesk_bus_dropped_total{", "voldesk_http_refused_total{")):
                labels, _, value = line.rpartition(" ")
                family = "http " if line.startswith("voldesk_http") else ""
                found[family + labels.split('kind="')[1].split('"')[0]] = int(float(value))
        return found


def raw(kind: int) -> zmq.Socket[bytes]:
    socket = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDTIMEO, 30_000)
    return socket


async def until(desk: Desk, what: str, condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        assert not desk.ended(), f"ended: {desk.ended()}, waiting for {what}; seed {SEED}\n{tails(desk)}"
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}; seed {SEED}\n{tails(desk)}"
        await asyncio.sleep(0.1)


def tails(desk: Desk) -> str:
    return "\n".join(f"== {name}\n{desk.log(name)[-1_500:]}" for name in desk.processes)


async def status(bus: Bus, service: str) -> Heartbeat | None:
    try:
        answer = await bus.ask(service, GetStatus(), 1_000)
    except NoAnswer:
        return None
    assert isinstance(answer, Heartbeat)
    return answer


async def trades(bus: Bus) -> list[str]:
    """Trades that were opened, oldest first."""
    answer = await bus.ask("execution", ListTrades(), 60_000)
    assert isinstance(answer, TradeList), answer
    return [each.trade_id for each in reversed(answer.trades) if each.opened_ns is not None]


SAID: dict[str, tuple[str, list[Message]]] = {
    "marketdata": ("md.BTCUSD.chain", [play.chain(play.T0, play.listing()), play.listing(), heartbeat("marketdata")]),
    "execution": ("exec.main.trade", [trade("OPEN"), halts(), alert(), heartbeat("execution")]),
    "exchange": ("sys.exchange.alert", [alert(), heartbeat("exchange"), strategy(), account()]),
}
"""What a forger says in the name of a service: topic and messages."""


def lie(desk: Desk, service: str, prefixes: set[bytes], count: int) -> int:
    """Be `service` for a while: publish `count` forged frames to whoever listens, answer replays with garbage."""
    topic, samples = SAID[service]
    forger = Forger(SEED, topic, service, samples, large_bytes=2_000_000)
    publisher, router = raw(zmq.XPUB), raw(zmq.ROUTER)
    publisher.setsockopt(zmq.SNDHWM, 0)
    publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
    publisher.bind(desk.endpoints.events(service))
    router.bind(desk.endpoints.requests(service))
    try:
        wanted = set(prefixes)
        while wanted:
            assert publisher.poll(60_000), f"nobody subscribed to {wanted} of {service}"
            wanted.discard(publisher.recv()[1:])
        publisher.send(
            encode_frame(f"sys.{service}.heartbeat", Header(service, 1, 1, "m", "", 1), heartbeat(service))
        )
        answered = 0
        for number, data in enumerate(forger.frames(count)):
            publisher.send(data if number % 3 else f"sys.{service}.heartbeat".encode() + b"\0" + data)
            while router.poll(0):
                identity, request = router.recv_multipart()
                forged = next(forger.frames(1)) if answered % 3 else _forged_replay(request, data)
                router.send_multipart([identity, forged if answered % 2 else b"reply\0" + forged])
                answered += 1
        return answered
    finally:
        publisher.close(2_000)
        router.close()


def _forged_replay(request: bytes, data: bytes) -> bytes:
    """An answer to a replay that is in order but for what it says."""
    newest = {f"exec.account{number}.trade": 1 << 62 for number in range(300)}
    answer = ReplayAnswer(epoch=1, frames=(data, b"", request), newest={**newest, "exec.main.trade": 9, "": 1})
    request_id = request.split(b"replay.")[0][-40:].decode(errors="replace")
    return encode_frame("reply", Header("execution", 1, 0, "m", request_id, 1), answer)


def absurd_requests() -> list[Message]:
    """In order on the wire, and senseless: each must be refused with a reason, or answered with nothing."""
    long = "x" * 400_000
    intent = play.intent(play.leg(play.CALL, "buy", "-1"), play.leg(play.CALL, "sell", "1e30"))
    grant = RequestGrant(
        intent_id="x-1",
        account_id="main",
        strategy="",
        legs=intent.legs,
        execution_mode="limit",
        max_loss_usd=float("nan"),
        valid_until_ns=-1,
    )
    return [
        intent,
        play.intent(ordinal=-5, strategy="", valid_until_ns=(1 << 63) - 1),
        grant,
        CloseTrade(trade_id="t1", reason="", requested_by=""),
        CloseTrade(trade_id="\0" * 60_000, reason="", requested_by=""),
        CloseTrade(trade_id=long, reason=long, requested_by=""),
        CancelOrders(client_order_id=-1, requested_by="x"),
        CancelOrders(trade_id="../..", requested_by="x"),
        TellTrade(trade_id=""),
        ListTrades(limit=-(1 << 63)),
        ListOrders(trade_id="é", limit=0),
        StrategyCommand(action="explode", strategy="*", requested_by=""),
        StrategyCommand(action="pause", strategy="nobody", requested_by=""),
        GetAccount(),
        halts(),
        Replay(prefix="", from_sequence=-1),
        Replay(prefix="nothing.of.ours", from_sequence=(1 << 63) - 1),
        GetStates(prefix="nothing.of.ours"),
    ]


def shell_requests(desk: Desk, service: str, count: int) -> None:
    """Forged frames at the ROUTER: single, in parts, from clients of one identity, and one that never reads."""
    samples: list[Message] = [GetStatus(), ListTrades(limit=1), TellTrade(trade_id="t1"), GetAccount()]
    forger = Forger(SEED + 1, "request", "stranger", samples, large_bytes=2_000_000)
    clients = [raw(zmq.DEALER) for _ in range(4)]
    for number, client in enumerate(clients):
        client.setsockopt(zmq.IDENTITY, b"twin" if number < 2 else f"client {number}".encode())
        client.connect(desk.endpoints.requests(service))
    for number, data in enumerate(forger.frames(count)):
        parts = [data] * (3 if number % 10 == 9 else 1)
        clients[number % 4 if number % 4 != 1 else 0].send_multipart(parts)
    deaf = clients[3]
    for number in range(300):
        message: Message = Replay(prefix="") if number % 10 == 0 else GetStatus()
        deaf.send(encode_frame("request", Header("deaf", 1, 0, f"deaf.{number}", "", 1), message))
    for client in clients:
        client.close(5_000)


def shell_subscriptions(desk: Desk, service: str, count: int) -> None:
    """Garbage and floods of subscriptions at the XPUB."""
    forger = Forger(SEED + 2, "sys.", service, [GetStatus()], large_bytes=60_000)
    socket = raw(zmq.XSUB)
    socket.connect(desk.endpoints.events(service))
    for number, data in enumerate(forger.frames(count)):
        socket.send([b"\x01", b"\x00", b"\x02", b""][number % 4] + data[: 100_000 if number % 50 == 0 else 2_000])
        if number % 100 == 0:
            time.sleep(0.01)  # a flood that outruns its own queue is dropped before it is sent
    socket.close(2_000)


async def shell_http(port: int, routes: list[tuple[str, str]], count: int, sign: Any = None) -> Counter[int]:
    statuses: Counter[int] = Counter()
    for data in HttpForger(SEED, routes, sign).requests(count):
        answer = await exchange(port, data)
        assert answer.status < 500 or b"down" in answer.body, (SEED, data[:300], answer)
        statuses[answer.status] += 1
    return statuses


async def shell_socket(desk: Desk) -> None:
    key = desk.key("marketdata")
    for number in range(20):
        query = socket_query(key, ts_ms=time.time_ns() // 1_000_000)
        async with websockets.connect(f"ws://127.0.0.1:{desk.ports['exchange']}/options?{query}") as socket:
            for data in Forger(SEED + number, "x", "x", [GetStatus()], large_bytes=1_000).frames(30):
                await socket.send(data[:5_000] if number % 2 else data[:5_000].decode("latin-1"))


class Pulse:
    """Asks every service how it is, all the time; the slowest answer of each."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.slowest_s = dict.fromkeys(SERVICES, 0.0)
        self.answers: Counter[str] = Counter()

    async def feel(self, service: str) -> None:
        while True:
            begun = time.monotonic()
            await self._bus.ask(service, GetStatus(), 120_000)
            self.slowest_s[service] = max(self.slowest_s[service], time.monotonic() - begun)
            self.answers[service] += 1
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("fire"))
    yield desk
    desk.stop()


async def test_a_desk_under_fire_goes_on_trading(desk: Desk) -> None:
    await _liars_before_the_services_they_are_mistaken_for(desk)
    async with Bus.client(desk.config) as bus:
        await until(desk, "all services ready", lambda: _all_ready(bus))
        await until(desk, "a first trade", lambda: trades(bus))
        before = {service: desk.resident_bytes(service) for service in SERVICES}
        pulse = Pulse(bus)
        async with asyncio.TaskGroup() as group:
            beats = [group.create_task(pulse.feel(service)) for service in SERVICES]
            await _fire(desk)
            for beat in beats:
                beat.cancel()
        await _absurd_requests_are_refused(bus)
        assert desk.ended() == {}, tails(desk)
        assert all(pulse.answers[service] > 5 for service in SERVICES), pulse.answers
        assert max(pulse.slowest_s.values()) < 60, pulse.slowest_s
        grown = {service: desk.resident_bytes(service) - before[service] for service in SERVICES}
        assert max(grown.values()) < 300_000_000, grown
        known = await trades(bus)
        await until(desk, "another trade after the fire", lambda: _newer(bus, known))
        await until(desk, "all services ready", lambda: _all_ready(bus))
    for service in SERVICES:
        dropped = await desk.dropped(service)
        assert {"garbage", "oversize", "unknown_schema", "wrong_body", "http garbage"} <= dropped.keys(), service
        assert dropped["garbage"] > 300, (service, dropped)
        _logged_once_and_kept_secrets(desk, service, dropped)


async def _liars_before_the_services_they_are_mistaken_for(desk: Desk) -> None:
    """Forged publishers on the addresses of services that have not been started."""
    desk.start("risk", "strategy", "monitor")
    await asyncio.gather(
        asyncio.to_thread(lie, desk, "execution", {b"exec.", b"sys.execution."}, 2_000),
        asyncio.to_thread(lie, desk, "exchange", {b"sys.exchange."}, 1_000),
    )
    desk.start("exchange", "execution")
    await asyncio.to_thread(lie, desk, "marketdata", {b"md.", b"sys.marketdata."}, 2_000)
    desk.start("marketdata")
    assert desk.ended() == {}, tails(desk)


async def _fire(desk: Desk) -> None:
    key = desk.key("execution")

    def sign(method: str, path: str, text: str) -> dict[str, str]:
        ts_ms = time.time_ns() // 1_000_000
        headers = signed_headers(key, method, path, text.encode("utf-8", "replace").decode(), ts_ms)
        del headers["Content-Type"]
        return headers

    venue = [
        (endpoint.method, endpoint.path) for endpoint in all_endpoints() if "cancel" not in endpoint.path.lower()
    ]
    page = [("GET", "/"), ("GET", "/api/overview"), ("GET", "/login"), ("POST", "/login"), ("GET", "/healthz")]
    await asyncio.gather(
        *(asyncio.to_thread(shell_requests, desk, service, 2_000) for service in SERVICES),
        *(asyncio.to_thread(shell_subscriptions, desk, service, 1_000) for service in SERVICES),
        *(shell_http(desk.ports[f"metrics-{service}"], [("GET", "/metrics")], 60) for service in SERVICES),
        shell_http(desk.ports["exchange"], venue, 400, sign),
        shell_http(desk.ports["web"], page, 200),
        shell_socket(desk),
    )


async def _absurd_requests_are_refused(bus: Bus) -> None:
    for service in SERVICES:
        for message in absurd_requests():
            answer = await bus.ask(service, message, 60_000)
            is_reading = isinstance(message, GetAccount | ListTrades | ListOrders)
            is_told = isinstance(answer, Refusal | GrantRefused | ReplayAnswer | StatesAnswer)
            assert is_told or is_reading, (service, message, answer)
            if isinstance(answer, Refusal):
                assert answer.code != "internal_error", (service, str(message)[:200], answer)
                assert len(answer.detail) < 2_000


async def _all_ready(bus: Bus) -> bool:
    beats = [await status(bus, service) for service in SERVICES]
    return all(beat is not None and beat.ready for beat in beats)


async def _newer(bus: Bus, known: list[str]) -> bool:
    return bool(set(await trades(bus)) - set(known))


def _logged_once_and_kept_secrets(desk: Desk, service: str, dropped: Counter[str]) -> None:
    events = desk.events(service)
    told = Counter(event["kind"] for event in events if event["event"] == "message dropped, further ones are counted")
    assert set(told) == {kind for kind in dropped if not kind.startswith("http ")}, (service, told, dropped)
    assert set(told.values()) == {1}, (service, told)
    http = Counter(event["kind"] for event in events if event["event"].startswith("HTTP not answered"))
    assert set(http.values()) == {1}, (service, http)
    failed = [
        event for event in events if event["event"] in ("handler failed", "endpoint failed") or "exception" in event
    ]
    assert failed == [], (service, failed[:1])
    assert len(events) < 1_000, Counter(event["event"] for event in events).most_common(5)
    text = desk.log(service)
    secrets = [desk.key(each).api_secret for each in ("marketdata", "risk", "execution")]
    secrets.append(load_grant_key(desk.config.run_dir).hex())
    assert not any(secret in text for secret in secrets), f"a secret in the log of {service}"
