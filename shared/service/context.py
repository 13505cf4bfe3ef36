"""What a service is given: its configuration, clock, log, bus, metrics, secrets, journal and ports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from shared.bus import Bus
from shared.clock import Clock
from shared.config import DeskConfig
from shared.http_refusals import HttpRefusals
from shared.logging import redactor
from shared.messages.steps import RaiseAlert
from shared.messages.system import Alert, Severity
from shared.messages.topics import topic_of
from shared.metrics import Metrics
from shared.ports import resolve_ports
from shared.secrets import ApiKey, load_api_key, load_grant_key
from shared.service.journals import binding_of, journal_path
from shared.service.metrics import AlertMetrics
from shared.service.watch import Failures, StallWatch
from shared.snapshots import Snapshots
from shared.store import SqliteJournal

SectionT = TypeVar("SectionT")


class ServiceContext:
    """Made by `run_service`, handed to the service's shell. Methods that read raise StartRefused with a remedy.

    `health` is what the health line says: a word and how to read it. A shell adds its own few. `http_refusals` counts
    what a server of the shell's does not answer.
    """

    def __init__(
        self,
        name: str,
        desk: DeskConfig,
        clock: Clock,
        log: Any,
        bus: Bus,
        epoch: int,
        metrics: Metrics,
        failures: Failures,
        stalls: StallWatch,
        health: dict[str, Callable[[], object]],
        http_refusals: HttpRefusals,
    ) -> None:
        self.name = name
        self.desk = desk
        self.run_dir: Path = desk.run_dir
        self.clock = clock
        self.log = log
        self.bus = bus
        self.epoch = epoch
        self.metrics = metrics
        self.failures = failures
        self.stalls = stalls
        self.health = health
        self.http_refusals = http_refusals
        self._alerts = AlertMetrics(metrics)

    def section(self, kind: type[SectionT]) -> SectionT:
        """The service's own section of the configuration, validated, defaults filled in."""
        return self.desk.section(self.name, kind)

    def api_key(self) -> ApiKey:
        """The service's key of the configured venue; its secret is kept out of the log from here on."""
        key = load_api_key(self.desk, self.name)
        redactor.add(key.key)
        redactor.add(key.secret)
        return key

    def grant_key(self) -> bytes:
        """The key with which risk signs grants and execution checks them."""
        key = load_grant_key(self.run_dir)
        redactor.add(key)
        return key

    def journal(
        self,
        row_types: Any,
        may_lag: tuple[type, ...] = (),
        *,
        snapshots: Snapshots[Any] | None = None,
        starts_over: bool = False,
    ) -> SqliteJournal:
        """The service's journal, whose rows are the tagged structs of the union `row_types`.

        may_lag: rows of these types alone do not wait for the disk; snapshots, starts_over: see `SqliteJournal`.
        """
        return SqliteJournal(
            journal_path(self.desk, self.name),
            binding_of(self.desk),
            row_types,
            self.desk.journal.synchronous,
            self.desk.journal.reserve_mb * 1024 * 1024,
            may_lag,
            snapshots=snapshots,
            starts_over=starts_over,
        )

    def port(self, name: str) -> int:
        """A port of the table of ports, as `up` resolved it."""
        return resolve_ports(self.run_dir, self.desk.ports)[name]

    def alert(self, alert: RaiseAlert) -> None:
        """Publish an alert with service, account and mode, and without any secret that this process knows."""
        assert alert.severity in get_args(Severity), f"{alert.severity} is no severity"
        self.bus.publish(
            topic_of("sys.{service}.alert", service=self.name),
            Alert(
                code=alert.code,
                severity=cast(Severity, alert.severity),
                subject=alert.subject,
                text=redactor.clean(alert.text),
                service=self.name,
                account_id=self.desk.account_id,
                mode=self.desk.mode,
                raised_ns=self.clock.now_ns(),
                resolved=alert.resolved,
                stage=alert.stage,
            ),
        )
        self._alerts.raised(alert.code, "resolved" if alert.resolved else alert.severity).inc()
