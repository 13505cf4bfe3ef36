"""A real exchange server on a real socket, and a client that signs by itself."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import httpx
import websockets
from msgspec.structs import replace

from services.exchange.config import (
    BTC,
    ETH,
    AccountConfig,
    BaseConfig,
    DealerConfig,
    KeyConfig,
    ListingConfig,
    RateLimitConfig,
    RfqConfig,
)
from services.exchange.server.app import ExchangeServer
from services.exchange.server.config import ExchangeServiceConfig, ServerConfig
from services.exchange.server.venue import JournalFailed
from services.exchange.shell import bind, credentials_of
from shared.runner import Journal, MemoryJournal

TRADING_KEY = KeyConfig(api_key="DEMOkey+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi=", api_secret="c0ffee" * 10)
READ_ONLY_KEY = KeyConfig(
    api_key="READ+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi000=", api_secret="beef" * 16, read_only=True
)
MAKER_KEY = KeyConfig(api_key="MAKER+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi00=", api_secret="cafe" * 16)
OTHER_KEY = KeyConfig(api_key="OTHER+7pQ/2nV9xT4sLbA1cWm6rHuYeZk8fJg0oXi00=", api_secret="d00d" * 16)
USER_ID = 8_095_151_726
START_NS = 1_764_158_400_000_000_000
"""Wednesday 26 November 2025, 12:00 UTC: no expiry, no weekend and no end of a day, month or quarter is near."""
_IMPORTED_NS = time.monotonic_ns()


PROMPT = DealerConfig(
    name="prompt",
    better_min_pct=1.0,
    better_max_pct=1.0,
    answer_min_ms=1,
    answer_max_ms=1,
    no_quote_probability=0.0,
    pull_move_pct=1_000.0,
)
"""A dealer who answers with the next step of the market."""


def _small(base: BaseConfig) -> BaseConfig:
    """Two dailies and two weeklies: whenever a test runs, something expires soon and something in a week or later."""
    listing = ListingConfig(
        dailies=2,
        weeklies=2,
        monthlies=0,
        quarterlies=0,
        strike_steps=base.listing.strike_steps,
        strikes_per_side=(3, 3, 3, 3),
    )
    return replace(base, listing=listing)


def small_config(**changes: Any) -> ExchangeServiceConfig:
    """Two bases with a short listing and three accounts, limits wide enough not to meddle."""
    config = ExchangeServiceConfig(
        bases=(_small(BTC), _small(ETH)),
        accounts=(
            AccountConfig(
                account_id="main",
                user_id=USER_ID,
                keys=(TRADING_KEY, READ_ONLY_KEY),
                initial_balance_usd=Decimal(1_000_000),
            ),
            AccountConfig(
                account_id="other", user_id=USER_ID + 1, keys=(OTHER_KEY,), initial_balance_usd=Decimal(1_000_000)
            ),
            AccountConfig(
                account_id="maker",
                user_id=USER_ID + 2,
                keys=(MAKER_KEY,),
                initial_balance_usd=Decimal(1_000_000),
                rights=("market_maker", "rfq_quotes"),
            ),
        ),
        rfq=RfqConfig(dealers=(PROMPT,)),
        rate_limits=RateLimitConfig(orders=1_000, queries=1_000, account=1_000, order_book=1_000, public=1_000),
    )
    return replace(config, **changes)


def sign_text(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest().upper()


def now_ns() -> int:
    """The time of these tests runs from a fixed instant: the calendar and the market are always the same."""
    return START_NS + time.monotonic_ns() - _IMPORTED_NS


def now_ms() -> int:
    return now_ns() // 1_000_000


class TimeMachine:
    """A clock that can be set forward. Venue and clients of one test share it."""

    def __init__(self, clock: Callable[[], int] = now_ns) -> None:
        self._clock = clock
        self.ahead_ns = 0

    def now_ns(self) -> int:
        return self._clock() + self.ahead_ns

    def travel_to(self, at_ms: int) -> None:
        self.ahead_ns = at_ms * 1_000_000 - self._clock()


class StillClock:
    """A clock that stands still until it is moved: however slow the machine, nothing runs out."""

    def __init__(self, at_ns: int = START_NS) -> None:
        self.at_ns = at_ns

    def now_ns(self) -> int:
        return self.at_ns


def socket_query(key: KeyConfig, *, name: str = "apiKey", ts_ms: int | None = None) -> str:
    ts_ms = now_ms() if ts_ms is None else ts_ms
    signature = sign_text(key.api_secret, f"GET/users/self/verify?{name}={key.api_key}&ts={ts_ms}")
    return f"code=10&uuid={key.api_key}&ts={ts_ms}&sign={signature}&apiKey={key.api_key}"


def signed_headers(key: KeyConfig, method: str, path: str, text: str, ts_ms: int | None = None) -> dict[str, str]:
    ts = str(now_ms() if ts_ms is None else ts_ms)
    tail = f"uuid={key.api_key}&ts={ts}&x-req-ts-diff=5000"
    prehash = f"{method}{path}?{text}&{tail}" if text else f"{method}{path}?{tail}"
    return {
        "X-CC-APIKEY": key.api_key,
        "sign": sign_text(key.api_secret, prehash),
        "ts": ts,
        "X-REQ-TS-DIFF": "5000",
        "Content-Type": "application/json",
    }


class RestClient:
    """Signs as the documentation says; bodies are flat. now_ns: the clock of the venue, of a process by default."""

    def __init__(self, url: str, key: KeyConfig = TRADING_KEY, now_ns: Callable[[], int] = time.time_ns) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=60)
        self.key = key
        self.now_ns = now_ns

    def _headers(self, method: str, path: str, text: str) -> dict[str, str]:
        return signed_headers(self.key, method, path, text, self.now_ns() // 1_000_000)

    async def raw_get(self, path: str, **parameters: Any) -> httpx.Response:
        text = "&".join(f"{name}={parameters[name]}" for name in sorted(parameters))
        headers = self._headers("GET", path, text)
        return await self.http.get(f"{path}?{urlencode(parameters)}" if parameters else path, headers=headers)

    async def raw_post(self, path: str, **fields: Any) -> httpx.Response:
        text = "&".join(f"{name}={_text(fields[name])}" for name in sorted(fields) if fields[name] is not None)
        headers = self._headers("POST", path, text)
        return await self.http.post(path, content=json.dumps(fields), headers=headers)

    async def raw_form(self, path: str, **fields: Any) -> httpx.Response:
        text = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
        headers = self._headers("POST", path, text) | {"Content-Type": "application/x-www-form-urlencoded"}
        return await self.http.post(path, content=urlencode(fields), headers=headers)

    async def form(self, path: str, **fields: Any) -> Any:
        return _envelope(await self.raw_form(path, **fields))

    async def get(self, path: str, **parameters: Any) -> Any:
        return _envelope(await self.raw_get(path, **parameters))

    async def post(self, path: str, **fields: Any) -> Any:
        return _envelope(await self.raw_post(path, **fields))

    async def data(self, path: str, **parameters: Any) -> Any:
        envelope = await self.get(path, **parameters)
        assert envelope["code"] == 0, envelope
        return envelope["data"]

    async def create(self, **fields: Any) -> Any:
        return await self.post("/open/option/order/create/v1", **fields)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return str(value)


def _envelope(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    envelope = json.loads(response.content, parse_float=Decimal)
    assert {"code", "msg", "i18nArgs", "data"} <= envelope.keys()
    return envelope


class RunningExchange:
    """The server of one test, in this loop. now_ns: its clock; a client with a clock of its own needs the wall's."""

    def __init__(
        self,
        config: ExchangeServiceConfig,
        journal: Journal | None = None,
        now_ns: Callable[[], int] = now_ns,
    ) -> None:
        self.config = config
        self.now_ns = now_ns
        self.server = ExchangeServer(
            config, credentials_of(config), journal or MemoryJournal(), self.now_ns, paper=True
        )
        self._listener = bind(0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._clients: list[RestClient] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> RunningExchange:
        self._task = asyncio.create_task(self.server.serve(self._listener))
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.http.aclose()
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError, JournalFailed):
            await self._task

    async def ended(self) -> BaseException | None:
        """Why the server ended by itself."""
        assert self._task is not None
        (outcome,) = await asyncio.wait_for(asyncio.gather(self._task, return_exceptions=True), 60)
        return outcome

    def client(self, key: KeyConfig = TRADING_KEY) -> RestClient:
        client = RestClient(self.url, key, self.now_ns)
        self._clients.append(client)
        return client

    def socket(self, path: str = "options", key: KeyConfig = TRADING_KEY, **options: Any) -> Any:
        return websockets.connect(
            f"ws://127.0.0.1:{self.port}/{path}?{socket_query(key, ts_ms=self.now_ns() // 1_000_000)}",
            compression=None,
            ping_interval=None,
            **options,
        )


def with_server(config: ExchangeServiceConfig, **changes: Any) -> ExchangeServiceConfig:
    return replace(config, server=replace(ServerConfig(), **changes))


async def receive_until(websocket: Any, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> Any:
    """The first frame for which `wanted` holds; frames before it are dropped."""
    async with asyncio.timeout(timeout_s):
        while True:
            frame = json.loads(await websocket.recv(), parse_float=Decimal)
            if wanted(frame):
                return frame


async def until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def tradable(client: RestClient, base: str = "BTC") -> dict[str, Any]:
    """A call near the money with a two-sided book: the chain's object for it."""
    soonest_ms = client.now_ns() // 1_000_000 + 3_600_000
    rows = await client.data(f"/open/option/get/v1/{base}USD")
    calls = [row["callOption"] for row in rows if row["callOption"]]
    liquid = [call for call in calls if call["bid"] and call["ask"] and call["endTime"] > soonest_ms]
    return min(liquid, key=lambda call: abs(call["delta"] - Decimal("0.5")))
