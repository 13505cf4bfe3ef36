"""The configuration of the monitor: the `[monitor]` section of voldesk.toml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from services.monitor.alert_config import (
    DEFAULT_RULES,
    Channel,
    FigureRule,
    FlappingSection,
    KindRule,
    Route,
    TelegramSection,
    check_alerting,
)
from services.monitor.history.config import HistoryConfig
from services.monitor.web.config import WebConfig
from shared.strategy_hosts import DEFAULT_HOST


class MonitorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is watched, and how long things are kept.

    services: services that must be alive from the start; any other is watched once it was heard. With "strategy"
    the hosts of all groups are meant.
    heartbeat_silence_ms: a service not heard for so long is down.
    startup_grace_ms: a service never heard since the monitor's start is down after this.
    recovered_ms: a service that was down is alive again once one start of it was heard for so long without a break.
    not_ready_ms: a service that is alive but not ready for so long is worth a warning.
    fee_wait_ms: the notice of a close waits so long for the fees that the venue has not told yet.
    notice_window_ms: an open, close or failure of a trade longer ago than this is not announced any more.
    keep_alerts, keep_trades, keep_refusals: how many are shown and remembered; open trades are always kept.
    summary_utc: the daily summary is told at this time of day, "08:05"; "" for none.
    """

    services: tuple[str, ...] = ("marketdata", "risk", "execution", "strategy")
    heartbeat_silence_ms: Annotated[int, msgspec.Meta(ge=1_000)] = 3_000
    startup_grace_ms: Annotated[int, msgspec.Meta(ge=1_000)] = 15_000
    recovered_ms: Annotated[int, msgspec.Meta(ge=0)] = 30_000
    not_ready_ms: Annotated[int, msgspec.Meta(ge=1_000)] = 15_000
    fee_wait_ms: Annotated[int, msgspec.Meta(ge=0)] = 30_000
    notice_window_ms: Annotated[int, msgspec.Meta(ge=1_000)] = 3_600_000
    keep_alerts: Annotated[int, msgspec.Meta(ge=1)] = 500
    keep_trades: Annotated[int, msgspec.Meta(ge=1)] = 200
    keep_refusals: Annotated[int, msgspec.Meta(ge=1)] = 50
    summary_utc: Annotated[str, msgspec.Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$")] = "08:05"
    kinds: dict[str, KindRule] = {}
    rules: dict[str, FigureRule] = {}
    routes: dict[str, Route] = {}
    channels: dict[str, Channel] = {}
    flapping: FlappingSection = FlappingSection()
    telegram: TelegramSection = TelegramSection()
    history: HistoryConfig = HistoryConfig()
    web: WebConfig = WebConfig()

    def __post_init__(self) -> None:
        check_alerting(self.kinds, self.rules, self.routes, self.channels)

    def with_hosts(self, hosts: Sequence[str]) -> MonitorConfig:
        """The same, where "strategy" stands for all strategy hosts of the desk."""
        services = [each for name in self.services for each in (hosts if name == DEFAULT_HOST else (name,))]
        return msgspec.structs.replace(self, services=tuple(dict.fromkeys(services)))

    @property
    def figure_rules(self) -> dict[str, FigureRule]:
        """The rules in force: the defaults, each replaced by one of its name, without those that are disabled."""
        return {name: rule for name, rule in {**DEFAULT_RULES, **self.rules}.items() if rule.enabled}

    @property
    def summary_second(self) -> int | None:
        """The second of the UTC day of the summary, None for none."""
        if not self.summary_utc:
            return None
        hour, minute = self.summary_utc.split(":")
        return int(hour) * 3_600 + int(minute) * 60
