"""The dashboard inside the monitor: its files, its listener, and what it is told of the bus. Whatever fails in it is
logged and counted; watching goes on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import sqlite3
from collections.abc import Callable
from typing import Any

from services.monitor.equity import EquityHistory
from services.monitor.views import Status
from services.monitor.web.app import WebApp
from services.monitor.web.config import WebConfig
from services.monitor.web.desk import PageHeader, WebDesk
from services.monitor.web.market import Market
from services.monitor.web.reading import Reader
from services.monitor.web.store import WebStore, store_path
from shared.errors import StartRefused
from shared.http_server import HttpServer
from shared.messages.account import AccountSnapshot
from shared.messages.control import HaltState
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.system import Alert, Heartbeat
from shared.messages.topics import BUS_SERVICES
from shared.messages.trades import TradeUpdate
from shared.service import ServiceContext

_BIND_RETRY_S = 2.0
_ROUNDS_S = 30.0
_TELL_AGAIN_NS = 600_000_000_000


class WebServer:
    """Serves until cancelled; `serving` and `detail` say how that goes."""

    def __init__(self, context: ServiceContext, config: WebConfig, status: Callable[[], Status]) -> None:
        self._context = context
        self._config = config
        self._port = context.port("web")
        self._tls = config.tls_files(context.desk.path)
        self.serving = False
        self._told: dict[tuple[str, str], int] = {}
        desk, run_dir = context.desk, context.run_dir
        try:
            self._store = WebStore(
                store_path(run_dir), session_hours=config.session_hours, session_days=config.session_days
            )
            self._equity = EquityHistory(run_dir / "equity.sqlite3", desk.account_id)
        except sqlite3.DatabaseError as error:
            raise StartRefused(
                f"the files of the dashboard in {run_dir} cannot be used: {error}",
                "free space on the disk; move web.sqlite3 and equity.sqlite3 away if they are damaged",
            ) from None
        web = WebDesk(
            header=PageHeader(
                desk=desk.name, mode=desk.mode, venue=desk.venue, account_id=desk.account_id, number=desk.number
            ),
            config=config,
            status=status,
            now_ns=context.clock.now_ns,
            reader=Reader(context.bus, context.clock),
            market=Market(context.bus, desk.underlyings),
            store=self._store,
            equity=self._equity,
            run_dir=run_dir,
            log_names=(*(("exchange",) if desk.venue == "sim" else ()), *BUS_SERVICES),
        )
        self.app = WebApp(web, context.bus, self._failed)
        context.health["viewers"] = lambda: self.app.live.viewers

    @property
    def store(self) -> WebStore:
        return self._store

    @property
    def equity(self) -> EquityHistory:
        return self._equity

    @property
    def url(self) -> str:
        return self._config.url(self._port)

    @property
    def detail(self) -> str:
        return self.url if self.serving else f"the dashboard cannot be served at {self.url} yet"

    def heard(self, item: Inbound | StreamSynced) -> None:
        """Something came over the bus that pages may show."""
        try:
            message = item.message if isinstance(item, Inbound) else None
            if isinstance(message, AccountSnapshot) and message.account_id == self._context.desk.account_id:
                self._equity.add(message)
            if not isinstance(message, Heartbeat):
                self.app.live.changed(urgent=isinstance(message, HaltState | TradeUpdate | Alert))
        except Exception as error:
            self._failed("heard", error)

    async def run(self) -> None:
        """Listen, and come back for it when the port is taken."""
        if not self._store.users():
            self._context.log.warning("nobody can log in to the dashboard yet: `voldesk web` prints a link")
        await asyncio.gather(self._serve(), self._rounds())

    def close(self) -> None:
        self.serving = False
        self._store.close()
        self._equity.close()

    async def _rounds(self) -> None:
        """Write what waited for space on the disk."""
        while True:
            await asyncio.sleep(_ROUNDS_S)
            with contextlib.suppress(sqlite3.Error):
                self._store.write_audit()

    async def _serve(self) -> None:
        while True:
            try:
                listener = _bind(self._config.host, self._port)
            except OSError as error:
                reason = "the port is taken" if error.errno == errno.EADDRINUSE else error.strerror
                self._context.log.warning("the dashboard cannot be served yet", url=self.url, reason=reason)
                await asyncio.sleep(_BIND_RETRY_S)
                continue
            self.serving = True
            try:
                await HttpServer(self.app.asgi, self._context.http_refusals, **self._options()).serve(
                    sockets=[listener]
                )
            finally:
                self.serving = False
                listener.close()

    def _options(self) -> dict[str, Any]:
        proxies = list(self._config.trusted_proxies)
        options: dict[str, Any] = {"proxy_headers": bool(proxies), "forwarded_allow_ips": proxies}
        if self._tls is not None:
            options |= {"ssl_certfile": str(self._tls[0]), "ssl_keyfile": str(self._tls[1])}
        return options

    def _failed(self, where: str, error: Exception) -> None:
        """Our own mistake: a counter, and once in a while a line in the log."""
        self._context.http_refusals.add("failed")
        kind, now_ns = (where, type(error).__name__), self._context.clock.now_ns()
        if now_ns - self._told.get(kind, 0) > _TELL_AGAIN_NS:
            self._told[kind] = now_ns
            self._context.log.error("the dashboard failed; more of it is counted", where=where, exc_info=error)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
