"""The monitor as a service: hears everybody, keeps the alert file, has alerts delivered, serves the dashboard."""

from __future__ import annotations

import asyncio
from typing import Any

from services.monitor.alert_file import AlertFile
from services.monitor.channels.build import make_senders
from services.monitor.channels.courier import Courier
from services.monitor.config import MonitorConfig
from services.monitor.core import MonitorCore
from services.monitor.effects import AlertRecord, AlertsRestored, AppendAlert, Deliver, Observed
from services.monitor.history.keeping import History
from services.monitor.metrics import MonitorMetrics
from services.monitor.rows import MonitorRow
from services.monitor.subscriptions import prefixes_of
from services.monitor.telegram.attach import StoreAudit, run_bot
from services.monitor.views import Status
from services.monitor.web.server import WebServer
from shared.logging import redactor
from shared.messages.steps import Inbound, RaiseAlert, Request, StreamSynced
from shared.runner import CoreFailed
from shared.service import CoreHost, ServiceContext

_WATCH_S = 1.0


class MonitorShell:
    """Hears every service; what the dashboard does cannot keep it from watching."""

    core_type: type[MonitorCore] = MonitorCore

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        desk = context.desk
        config = self._config = context.section(MonitorConfig).with_hosts(desk.strategy_hosts.services)
        self._alerts = AlertFile(context.run_dir / "alerts.jsonl", desk.mode, desk.account_id)
        journal = context.journal(MonitorRow, starts_over=True)
        self._host = CoreHost(context, self._make_core, journal, self._perform, _may_go_unwritten, self._tell_failure)
        self._courier = Courier(make_senders(desk, config), self._host.put, context.log)
        self._metrics = MonitorMetrics(context.metrics)
        self._host.observe(self._metrics)
        context.health["desk"] = self._metrics.words
        self._history = History(
            config.history,
            context.run_dir,
            desk.account_id,
            now_ns=context.clock.now_ns,
            status=self._status,
            put=self._host.put,
            log=context.log,
        )
        self._web = WebServer(context, config.web, self._status, self._host.put, self._history)
        self._file_fails = False

    @property
    def _heading(self) -> str:
        """Above every message to people."""
        desk = self._context.desk
        own_name = f" · desk {desk.name}" if desk.name != desk.account_id else ""
        return f"{desk.mode} · {desk.account_id}{own_name}"

    @property
    def ready(self) -> bool:
        return self._web.serving

    @property
    def detail(self) -> str:
        return self._web.detail

    async def start(self) -> None:
        for service in self._context.desk.services:
            if service != self._context.name:
                self._context.bus.subscribe(service, prefixes_of(service), self._hear)
        self._context.bus.serve(self._hear_request)

    async def run(self) -> None:
        await asyncio.gather(self._host.run(), self._web.run(), self._history.run(), self._bot(), self._watch())

    async def _bot(self) -> None:
        await run_bot(
            self._context,
            self._config.telegram,
            heading=self._heading,
            status=self._status,
            put=self._host.put,
            history=self._history,
            audit=StoreAudit(lambda: self._web.store, self._context),
        )

    async def stop(self) -> None:
        await self._courier.close()
        self._web.close()
        self._history.close()

    def _hear_request(self, request: Request) -> None:
        self._host.put(request)
        self._web.changed()

    def _hear(self, item: Inbound | StreamSynced) -> None:
        self._host.put(item)
        self._web.heard(item)

    def _make_core(self) -> MonitorCore:
        desk = self._context.desk
        core = self.core_type(
            self._config, account_id=desk.account_id, heading=self._heading, hosts=desk.strategy_hosts
        )
        restored = AlertsRestored(self._alerts.remembered(self._config.keep_alerts))
        core.handle(restored, self._context.clock.now_ns())
        return core

    def _status(self) -> Status:
        return self._host.core.status(self._context.clock.now_ns())

    def _perform(self, effect: Any, cause_id: str) -> None:
        match effect:
            case AppendAlert(record=record):
                levels = {"info": self._context.log.info, "warning": self._context.log.warning}
                log = levels.get(record.severity, self._context.log.error)
                log("alert", code=record.code, subject=record.subject, text=record.text, resolved=record.resolved)
                self._write(record)
            case Deliver():
                self._courier.send(effect)
            case _:
                raise AssertionError(f"{effect!r} for {cause_id} is no effect of the monitor")

    def _tell_failure(self, alert: RaiseAlert, failure: CoreFailed) -> bool:
        """The monitor does not hear itself: what it failed on goes to the new core, that people are told; but not
        what that fails on in turn."""
        if isinstance(failure.item, Observed):
            return False
        self._host.put(Observed(code=alert.code, subject=alert.subject, text=redactor.clean(alert.text)))
        return True

    def _write(self, record: AlertRecord) -> None:
        """A disk that is full keeps no alert from the log and the page."""
        try:
            self._alerts.append(record)
        except OSError as error:
            if not self._file_fails:
                reason = f"{error.strerror}: alerts go to this log and the page, and to the file once there is space"
                self._context.log.warning("the alert file cannot be written", reason=reason)
            self._file_fails = True
        else:
            self._file_fails = False

    async def _watch(self) -> None:
        """Keep the gauges."""
        while True:
            self._metrics.watch(self._status(), self._history.made_by_strategy)
            await asyncio.sleep(_WATCH_S)


def _may_go_unwritten(effect: Any) -> bool:
    """A full disk keeps nobody from being told; at worst a message comes twice, under one id."""
    return True
