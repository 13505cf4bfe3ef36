"""The dashboard on a real port and a real bus, over a monitor's core that a test drives."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import structlog

from services.monitor.history.config import HistoryConfig
from services.monitor.history.keeping import History
from services.monitor.web.app import WebApp
from services.monitor.web.config import WebConfig
from services.monitor.web.desk import PageHeader, WebDesk
from services.monitor.web.market import Market
from services.monitor.web.passwords import hash_password
from services.monitor.web.reading import Reader
from services.monitor.web.store import Role, Scope, WebStore, store_path
from shared.bus import Bus
from shared.clock import Clock
from shared.config import load_config
from shared.http_refusals import HttpRefusals
from shared.http_server import HttpServer
from shared.messages.base import Message
from shared.messages.steps import Request
from shared.messages.system import Heartbeat, Mode
from shared.strategy_hosts import StrategyHosts
from shared.tasks import spawn
from tests.integration.monitor.peers import publish_market, silent
from tests.unit.monitor.desk import SECOND, START, Script, account, alert, halts, heartbeat, strategy, trade

PASSWORD = "correct horse battery"
_HASH = hash_password(PASSWORD)
Answers = Callable[[Message], Message | None]


class Dashboard:
    """`script` drives the core, `now_s` is the clock after START, `asked` what came over the bus."""

    def __init__(self, folder: Path, *, mode: Mode = "paper", config: WebConfig | None = None) -> None:
        path = folder / "voldesk.toml"
        path.write_text('[desk]\nname = "demo"\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n')
        self.desk = load_config(path, {"VOLDESK_RUN_DIR": str(folder / "run")})
        self.desk.run_dir.mkdir(exist_ok=True)
        self.run_dir = self.desk.run_dir
        self.config = config or WebConfig()
        self.script = Script()
        self.now_s = 90.0
        self.asked: list[tuple[str, Message]] = []
        self.errors: list[tuple[str, Exception]] = []
        self._mode: Mode = mode
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Dashboard:
        self.store = WebStore(store_path(self.run_dir))
        self._stack.callback(self.store.close)
        self.history = History(
            HistoryConfig(),
            self.run_dir,
            self.desk.account_id,
            now_ns=self.now_ns,
            status=lambda: self.script.core.status(self.now_ns()),
            put=lambda _: None,
            log=structlog.get_logger(),
        )
        self.history.open()
        self._stack.callback(self.history.close)
        bus = await self._stack.enter_async_context(Bus("monitor", self.desk))
        web = WebDesk(
            header=PageHeader(desk="demo", mode=self._mode, venue="sim", account_id="main", number=1),
            config=self.config,
            status=lambda: self.script.core.status(self.now_ns()),
            now_ns=self.now_ns,
            reader=Reader(bus, Clock()),
            market=Market(bus, self.desk.underlyings),
            store=self.store,
            history=self.history,
            run_dir=self.run_dir,
            strategy_hosts=StrategyHosts(),
            log_names=("execution", "monitor"),
        )
        self.session_cookie = f"voldesk_session_{web.cookie_mark}"
        self.app = WebApp(web, bus, lambda where, error: self.errors.append((where, error)))
        listener = socket.create_server(("127.0.0.1", 0))
        self._stack.callback(listener.close)
        proxies = list(self.config.trusted_proxies)
        options: dict[str, Any] = {"proxy_headers": bool(proxies), "forwarded_allow_ips": proxies}
        server = HttpServer(self.app.asgi, HttpRefusals(), **options)
        serving = spawn(server.serve(sockets=[listener]), name="dashboard")

        async def stop() -> None:
            server.should_exit = True
            await serving

        self._stack.push_async_callback(stop)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def now_ns(self) -> int:
        return START + int(self.now_s * SECOND)

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=60, **options)

    def add_user(self, name: str = "anna", role: Role = "operator") -> None:
        self.store.put_user(name, role, _HASH, self.now_ns())

    def token(self, *scopes: Scope, name: str = "program") -> dict[str, str]:
        """The header of a program with a token."""
        return {"Authorization": f"Bearer {self.store.new_token(name, scopes, self.now_ns())}"}

    async def logged_in(self, role: Role = "operator", name: str = "anna") -> httpx.AsyncClient:
        """A browser that is logged in, to be opened by the test."""
        self.add_user(name, role)
        async with self.client() as http:
            answer = await log_in(http, name)
            assert answer.status_code == 303, answer.text
            return self.client(cookies=http.cookies)

    async def serve(self, service: str, answers: Answers) -> Bus:
        """A service that answers each request with what the function makes of it, nothing for None."""
        bus = await self._stack.enter_async_context(Bus(service, self.desk))

        def deliver(request: Request) -> None:
            self.asked.append((request.request_id, request.message))
            answer = answers(request.message)
            if answer is not None:
                bus.reply(request.request_id, answer)

        bus.open(lambda sequences: _heartbeat(service, sequences))
        bus.serve(deliver)
        return bus

    async def serve_market(self) -> None:
        """A marketdata that publishes the chain of the options that the desk holds."""
        publishing = spawn(publish_market(await self.serve("marketdata", silent)), name="market")

        async def stop() -> None:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

        self._stack.push_async_callback(stop)

    def fill(self) -> None:
        """A desk with a trade, an account, a halt, a strategy, an alert."""
        self.script.beat(88, "marketdata", "execution")
        self.script.hear(heartbeat("risk", ready=False, detail="the account is 12 s old"), 88)
        self.script.hear(account(), 88)
        self.script.hear(trade("OPEN", 10))
        self.script.hear(strategy())
        self.script.hear(halts("no_new_trades"))
        self.script.hear(alert("order_vanished", 5, severity="critical"))


async def log_in(http: httpx.AsyncClient, name: str, password: str = PASSWORD) -> httpx.Response:
    page = await http.get("/login")
    fields = {"name": name, "password": password, "csrf": field_of(page.text, "csrf"), "next": "/"}
    return await http.post("/login", data=fields)


def field_of(page: str, name: str) -> str:
    """The value of a hidden field of a form."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, f"no field {name} in {page[:500]}"
    return found[1]


def _heartbeat(service: str, sequences: dict[str, int]) -> Heartbeat:
    return Heartbeat(
        service=service,
        account_id="main",
        mode="paper",
        venue="sim",
        pid=os.getpid(),
        epoch=1,
        started_ns=1,
        beat_ns=2,
        starts=1,
        ready=True,
        detail="",
        event_sequences=sequences,
    )
