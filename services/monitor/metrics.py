"""What the monitor measures beside what every service does: who is up, and which alerts are open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from services.monitor.effects import AppendAlert
from services.monitor.history.store import Made
from services.monitor.rows import AttemptFailed, MessageDelivered, MessageFormed, MessageGivenUp
from services.monitor.views import Status
from shared.messages.steps import Entry
from shared.messages.system import Severity
from shared.metrics import Metrics

_OUTCOMES: dict[type, str] = {
    MessageFormed: "formed",
    MessageDelivered: "delivered",
    AttemptFailed: "failed",
    MessageGivenUp: "given_up",
}


class MonitorMetrics:
    """An observer of the host; the shell shows it the status once a second."""

    def __init__(self, metrics: Metrics) -> None:
        self._told = metrics.counters(
            "voldesk_alerts_total",
            "Alerts of all services that were told: new, worse or, as resolved, over",
            "severity",
        )
        self._open = metrics.table("voldesk_alerts_open", "Alerts that are open now, by severity", "severity")
        self._up = metrics.table(
            "voldesk_service_up", "1 while the watched service's heartbeat is heard, else 0", "watched"
        )
        self._ready = metrics.table(
            "voldesk_service_ready", "1 when its heartbeat says that it is ready, else 0", "watched"
        )
        self._silent = metrics.gauge("voldesk_silent_feeds", "Topics that are silent for longer than is normal")
        self._messages = metrics.counters(
            "voldesk_alert_messages_total",
            "Messages to people: formed, delivered (confirmed), failed (attempts), given_up",
            "outcome",
        )
        self._failing = metrics.table(
            "voldesk_alert_channel_failing", "1 while the channel's newest message has failed, else 0", "channel"
        )
        self._waiting = metrics.table(
            "voldesk_alerts_waiting", "Alerts that the channel has not been told of yet", "channel"
        )
        self._net_usd = metrics.table(
            "voldesk_net_pnl_usd",
            "P&L on mark after fees and funding of all trades that the history has, those of long ago included",
            "strategy",
        )
        self._paid = {
            what: metrics.table(
                f"voldesk_paid_{what}_usd",
                f"{what.capitalize()} of all trades that the history has, those of long ago included, paid > 0",
                "strategy",
            )
            for what in ("fees", "funding")
        }
        self._words: dict[str, object] = {}

    hears = frozenset[type]({AppendAlert})

    def committed(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if (outcome := _OUTCOMES.get(type(entry.row))) is not None:
                self._messages(outcome).inc()

    def performed(self, effect: Any, cause_id: str) -> None:
        match effect:
            case AppendAlert(record=record):
                self._told("resolved" if record.resolved else record.severity).inc()

    def watch(self, status: Status, made_by_strategy: Mapping[str, Made]) -> None:
        """Set the gauges. made_by_strategy: as of the history; "" for trades of a strategy that nobody knows."""
        made = {name or "earlier trades": each for name, each in made_by_strategy.items()}
        self._net_usd.show({name: each.net_usd for name, each in made.items()})
        self._paid["fees"].show({name: each.fees_usd for name, each in made.items()})
        self._paid["funding"].show({name: each.funding_usd for name, each in made.items()})
        open_now = Counter(matter.record.severity for matter in status.alerts if matter.is_open)
        self._open.show({severity: open_now[severity] for severity in get_args(Severity)})
        heard = {view.name: view.heartbeat is not None and not view.is_down for view in status.services}
        ready = {
            view.name: heard[view.name] and view.heartbeat is not None and view.heartbeat.ready
            for view in status.services
        }
        self._up.show(heard)
        self._ready.show(ready)
        self._silent.set(len(status.silent_feeds))
        self._failing.show({channel.name: channel.failing_since_ns is not None for channel in status.channels})
        self._waiting.show({channel.name: channel.waiting for channel in status.channels})
        self._words = {
            "services_up": f"{sum(heard.values())} of {len(heard)}",
            "alerts_open": open_now.total(),
            "silent_feeds": len(status.silent_feeds),
        }

    def words(self) -> dict[str, object]:
        """For the health line."""
        return self._words
