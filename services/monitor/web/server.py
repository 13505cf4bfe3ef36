"""The dashboard inside the monitor: its files, its listener, and what it is told of the bus. Whatever fails in it is
logged, told of and tried again; watching goes on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import sqlite3
from collections.abc import Callable
from typing import Any

from services.monitor.effects import Observed
from services.monitor.history.keeping import History
from services.monitor.views import Status
from services.monitor.web.app import WebApp
from services.monitor.web.config import WebConfig
from services.monitor.web.desk import PageHeader, WebDesk
from services.monitor.web.market import Market
from services.monitor.web.reading import Reader
from services.monitor.web.store import WebStore, store_path
from shared.errors import StartRefused
from shared.http_server import HttpServer
from shared.ledger.pnl import trading_days
from shared.messages.control import HaltState
from shared.messages.quote_requests import QuoteBoard
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.system import Alert, Heartbeat
from shared.messages.trades import TradeUpdate
from shared.service import ServiceContext

_RETRY_S = 2.0
_ALERT_AFTER_S = 5.0
"""A port of the process before, or a file that is locked for a moment, is no matter for people."""

_ROUNDS_S = 30.0
_TELL_AGAIN_NS = 600_000_000_000


class WebServer:
    """Serves until cancelled; `serving` and `detail` say how that goes.

    Its files, its certificate and its port are opened while it runs, and again every few seconds while one of them
    cannot be: until then there is no `store`. put: hands what it observes to the monitor's core.
    """

    def __init__(
        self,
        context: ServiceContext,
        config: WebConfig,
        status: Callable[[], Status],
        put: Callable[[Observed], None],
        history: History,
    ) -> None:
        self._context = context
        self._config = config
        self._status = status
        self._put = put
        self._port = context.port("web")
        self._reader = Reader(context.bus, context.clock)
        self._market = Market(context.bus, context.desk.underlyings)
        self._store: WebStore | None = None
        self._history = history
        self._app: WebApp | None = None
        self.serving = False
        self._reason = ""
        self._failing_since: float | None = None
        self._told: dict[tuple[str, str], int] = {}
        context.health["viewers"] = lambda: 0 if self._app is None else self._app.live.viewers

    @property
    def store(self) -> WebStore | None:
        """None while its file cannot be opened."""
        return self._store

    @property
    def url(self) -> str:
        return self._config.url(self._port)

    @property
    def detail(self) -> str:
        if self.serving:
            return self.url
        return f"the dashboard cannot be served at {self.url} yet" + (f": {self._reason}" if self._reason else "")

    def changed(self) -> None:
        """What pages show is not as it was."""
        if self._app is not None:
            self._app.live.changed()

    def heard(self, item: Inbound | StreamSynced) -> None:
        """Something came over the bus that pages may show."""
        if self._app is None:
            return
        try:
            message = item.message if isinstance(item, Inbound) else None
            if not isinstance(message, Heartbeat):
                self._app.live.changed(urgent=isinstance(message, HaltState | TradeUpdate | Alert | QuoteBoard))
        except Exception as error:
            self._failed("heard", error)

    async def run(self) -> None:
        """Open what it needs and listen; come back for it whatever is in the way."""
        await asyncio.gather(self._serve(), self._rounds())

    def close(self) -> None:
        self.serving = False
        if self._store is not None:
            self._store.close()

    async def _rounds(self) -> None:
        """Write what waited for space on the disk."""
        while True:
            await asyncio.sleep(_ROUNDS_S)
            with contextlib.suppress(sqlite3.Error):
                if self._store is not None:
                    self._store.write_audit()

    async def _serve(self) -> None:
        while True:
            listener: socket.socket | None = None
            try:
                app = self._open()
                options = self._options()
                listener = _bind(self._config.host, self._port)
                server = _Server(app.asgi, self._context.http_refusals, on_started=self._is_served, **options)
                await server.serve(sockets=[listener])
                reason = "its server has ended"
            except Exception as error:
                reason = self._reason_of(error)
            finally:
                self.serving = False
                if listener is not None:
                    listener.close()
            self._is_not_served(reason)
            await asyncio.sleep(_RETRY_S)

    def _open(self) -> WebApp:
        """The application over its files, made once. Raises sqlite3.Error or OSError while a file cannot be used."""
        if self._app is not None:
            return self._app
        context = self._context
        desk, run_dir = context.desk, context.run_dir
        store = WebStore(
            store_path(run_dir), session_hours=self._config.session_hours, session_days=self._config.session_days
        )
        try:
            has_users = bool(store.users())
        except BaseException:
            store.close()
            raise
        web = WebDesk(
            header=PageHeader(
                desk=desk.name, mode=desk.mode, venue=desk.venue, account_id=desk.account_id, number=desk.number
            ),
            config=self._config,
            status=self._status,
            now_ns=context.clock.now_ns,
            reader=self._reader,
            market=self._market,
            store=store,
            history=self._history,
            run_dir=run_dir,
            trading_days=trading_days(desk.day_boundary_minute),
            log_names=desk.services,
            strategy_hosts=desk.strategy_hosts,
        )
        self._store = store
        self._app = WebApp(web, context.bus, self._failed)
        if not has_users:
            context.log.warning("nobody can log in to the dashboard yet: `voldesk web` prints a link")
        return self._app

    def _options(self) -> dict[str, Any]:
        """Of the server. Raises ConfigError for a certificate or key that cannot be used."""
        proxies = list(self._config.trusted_proxies)
        options: dict[str, Any] = {"proxy_headers": bool(proxies), "forwarded_allow_ips": proxies}
        if (tls := self._config.tls_files(self._context.desk.path)) is not None:
            options |= {"ssl_certfile": str(tls[0]), "ssl_keyfile": str(tls[1])}
        return options

    def _is_served(self) -> None:
        self.serving, self._reason, self._failing_since = True, "", None
        self._put(Observed(code="dashboard_down", subject="web", text=f"served at {self.url}", is_over=True))

    def _is_not_served(self, reason: str) -> None:
        """A line in the log when the reason is new, and an alert once it lasts."""
        if reason != self._reason:
            self._context.log.warning("the dashboard cannot be served yet", url=self.url, reason=reason)
        self._reason = reason
        now_s = asyncio.get_running_loop().time()
        self._failing_since = now_s if self._failing_since is None else self._failing_since
        if now_s - self._failing_since >= _ALERT_AFTER_S:
            text = f"the dashboard is not served, the desk is watched all the same: {reason}"
            self._put(Observed(code="dashboard_down", subject="web", text=text))

    def _reason_of(self, error: Exception) -> str:
        match error:
            case StartRefused():
                return str(error)
            case sqlite3.Error():
                return (
                    f"web.sqlite3 in {self._context.run_dir} cannot be used: {error}; free space on the disk, "
                    "or move the file away if it is damaged"
                )
            case OSError(errno=errno.EADDRINUSE):
                return "the port is taken"
            case OSError():
                return f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return f"{type(error).__name__}: {error}"

    def _failed(self, where: str, error: Exception) -> None:
        """Our own mistake: a counter, and once in a while a line in the log."""
        self._context.http_refusals.add("failed")
        kind, now_ns = (where, type(error).__name__), self._context.clock.now_ns()
        if now_ns - self._told.get(kind, 0) > _TELL_AGAIN_NS:
            self._told[kind] = now_ns
            self._context.log.error("the dashboard failed; more of it is counted", where=where, exc_info=error)


class _Server(HttpServer):
    """Tells when it listens."""

    def __init__(self, *args: Any, on_started: Callable[[], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()


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
