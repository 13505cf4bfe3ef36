"""What every part of the dashboard is given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from services.monitor.history.keeping import History
from services.monitor.views import Status
from services.monitor.web.config import WebConfig
from services.monitor.web.logs import RecentLogs
from services.monitor.web.market import Market
from services.monitor.web.reading import Reader
from services.monitor.web.store import WebStore
from shared.ledger.pnl import Days
from shared.messages.system import Mode
from shared.strategy_hosts import StrategyHosts


class PageHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What every page says of the desk. number: of the desk, in its order ids."""

    desk: str
    mode: Mode
    venue: str
    account_id: str
    number: int = 0


class WebDesk(msgspec.Struct, frozen=True, kw_only=True):
    """Where pages and actions find things. `status` is what the monitor knows now; `run_dir` has the logs."""

    header: PageHeader
    config: WebConfig
    status: Callable[[], Status]
    now_ns: Callable[[], int]
    reader: Reader
    market: Market
    store: WebStore
    history: History
    run_dir: Path
    log_names: tuple[str, ...]
    strategy_hosts: StrategyHosts
    trading_days: Days = Days()
    logs: RecentLogs = msgspec.field(default_factory=RecentLogs)

    @property
    def cookie_mark(self) -> str:
        """Tells this desk's cookies from those of others on one host: browsers keep them by host, not by port."""
        return hashlib.sha256(f"{self.run_dir.resolve()}\n{self.header.account_id}".encode()).hexdigest()[:8]
