"""What is alive, what is wrong, and what the desk holds."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from services.monitor.alerts import AlertBook, Matter
from services.monitor.config import MonitorConfig
from services.monitor.effects import AlertRecord, AlertsRestored, AppendAlert
from shared.messages.account import AccountSnapshot
from shared.messages.control import GrantRefused, HaltState, StrategyStatus
from shared.messages.reconciliation import DIFFERENCE_KINDS, ReconciliationReport
from shared.messages.steps import Entry, Inbound, LoopStalled, RaiseAlert, Step, Tick
from shared.messages.system import Alert, Heartbeat, Severity
from shared.messages.topics import topic_row
from shared.messages.trades import TradeUpdate

_MS = 1_000_000
_CHECK_EVERY_NS = 1_000 * _MS
_OWN_NAME = "monitor"
HEARD = (
    Heartbeat,
    Alert,
    TradeUpdate,
    HaltState,
    StrategyStatus,
    AccountSnapshot,
    GrantRefused,
    ReconciliationReport,
)
"""The messages that are looked at."""

_TOLD_AGAIN = frozenset(
    {"disk_full", "journal_in_memory", "risk_silent", "venue_unreadable", "account_unreachable", "clock_off"}
)
"""A service raises these anew after a restart when they still hold, and does not know of those it raised before."""

_TOLD_AGAIN_NS = 180_000 * _MS
"""Within this time."""

_PAID_STATES = frozenset({"CLOSED", "SETTLED"})


class ServiceView(msgspec.Struct, kw_only=True):
    """One service. `heartbeat` None: never heard. `not_ready_since_ns` None: ready."""

    name: str
    heartbeat: Heartbeat | None
    heard_ns: int
    is_down: bool = False
    not_ready_since_ns: int | None = None


class RefusedIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that risk refused."""

    refused: GrantRefused
    received_ns: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the status page shows, at `now_ns`. Trades and alerts newest first."""

    now_ns: int
    account_id: str
    services: tuple[ServiceView, ...]
    account: AccountSnapshot | None
    halts: HaltState | None
    trades: tuple[TradeUpdate, ...]
    strategies: tuple[StrategyStatus, ...]
    alerts: tuple[Matter, ...]
    refusals: tuple[RefusedIntent, ...]
    silent_feeds: tuple[str, ...]


class MonitorCore:
    """Watches, and tells once.

    Inputs: Inbound of any topic, AlertsRestored, Tick, LoopStalled. Effects: RaiseAlert for what it found itself, and
    AppendAlert for every alert of any service that is new, worse or over. Journals nothing.
    """

    def __init__(self, config: MonitorConfig, *, account_id: str) -> None:
        self._config = config
        self._account_id = account_id
        self._services: dict[str, ServiceView] = {}
        self._feeds: dict[str, int] = {}
        self._silent: set[str] = set()
        self._account: AccountSnapshot | None = None
        self._halts: HaltState | None = None
        self._trades: dict[str, TradeUpdate] = {}
        self._fees_awaited: dict[str, int] = {}
        self._strategies: dict[str, StrategyStatus] = {}
        self._refusals: deque[RefusedIntent] = deque(maxlen=config.keep_refusals)
        self._alerts = AlertBook(config.keep_alerts)
        self._next_check_ns: int | None = None

    def start(self, now_ns: int) -> Step:
        self._next_check_ns = now_ns + _CHECK_EVERY_NS
        for name in self._config.services:
            self._services[name] = ServiceView(name=name, heartbeat=None, heard_ns=now_ns)
        return Step()

    def apply(self, entry: Entry) -> None:
        raise AssertionError(f"the monitor journals nothing, yet a row was found: {entry.row!r}")

    def next_deadline_ns(self) -> int | None:
        return self._next_check_ns

    def handle(self, item: Any, now_ns: int) -> Step:
        step = Step()
        match item:
            case Inbound():
                self._on_message(step, item, now_ns)
            case Tick():
                if self._next_check_ns is not None and now_ns >= self._next_check_ns:
                    self._next_check_ns = now_ns + _CHECK_EVERY_NS
                    self._check(step, now_ns)
            case LoopStalled():
                # It was we who were silent: nobody is missing until it had its time again.
                for view in self._services.values():
                    view.heard_ns = now_ns
                self._feeds = dict.fromkeys(self._feeds, now_ns)
            case AlertsRestored(records=records):
                self._alerts.restore(records)
            case _:
                pass
        return step

    def status(self, now_ns: int) -> Status:
        return Status(
            now_ns=now_ns,
            account_id=self._account_id,
            services=tuple(self._services.values()),
            account=self._account,
            halts=self._halts,
            trades=tuple(sorted(self._trades.values(), key=lambda trade: trade.created_ns, reverse=True)),
            strategies=tuple(self._strategies[name] for name in sorted(self._strategies)),
            alerts=self._alerts.matters(),
            refusals=tuple(reversed(self._refusals)),
            silent_feeds=tuple(sorted(self._silent)),
        )

    # Messages

    def _on_message(self, step: Step, inbound: Inbound, now_ns: int) -> None:
        message = inbound.message
        if getattr(message, "account_id", self._account_id) != self._account_id:
            return
        row = topic_row(inbound.topic)
        if row is not None and row.silence_max_ms is not None and not isinstance(message, Heartbeat):
            self._feeds[inbound.topic] = now_ns
        match message:
            case Heartbeat():
                self._on_heartbeat(step, message, now_ns)
            case Alert():
                self._on_alert(step, message)
            case TradeUpdate():
                self._on_trade(step, message, now_ns)
            case HaltState():
                self._on_halts(step, message, now_ns)
            case StrategyStatus():
                self._on_strategy(step, message, now_ns)
            case AccountSnapshot():
                self._account = message
            case GrantRefused():
                self._refusals.append(RefusedIntent(refused=message, received_ns=now_ns))
            case ReconciliationReport():
                self._on_reconciliation(step, message, now_ns)
            case _:
                pass

    def _on_heartbeat(self, step: Step, beat: Heartbeat, now_ns: int) -> None:
        if beat.service == _OWN_NAME:
            return
        earlier = self._services.get(beat.service)
        known = None if earlier is None else earlier.heartbeat
        not_ready_since = None if earlier is None else earlier.not_ready_since_ns
        if known is not None and beat.epoch != known.epoch:
            text = f"{beat.service} was started anew (start {beat.starts})"
            self._notice(step, "service_restarted", "info", f"{beat.service} {beat.epoch}", text, now_ns)
            not_ready_since = None
        if beat.ready:
            not_ready_since = None
        elif not_ready_since is None:
            not_ready_since = now_ns
        self._services[beat.service] = ServiceView(
            name=beat.service, heartbeat=beat, heard_ns=now_ns, not_ready_since_ns=not_ready_since
        )
        self._end(step, "service_down", beat.service, f"{beat.service} is alive again", now_ns)
        if beat.ready:
            self._end(step, "service_not_ready", beat.service, f"{beat.service} is ready", now_ns)
        if beat.beat_ns - beat.started_ns >= _TOLD_AGAIN_NS:
            self._end_what_is_not_told_again(step, beat, now_ns)

    def _end_what_is_not_told_again(self, step: Step, beat: Heartbeat, now_ns: int) -> None:
        text = f"{beat.service} was started anew and does not tell of it any more"
        for code, subject in self._alerts.raised_by(beat.service, before_ns=beat.started_ns):
            if code in _TOLD_AGAIN:
                self._end(step, code, subject, text, now_ns)

    def _on_alert(self, step: Step, alert: Alert) -> None:
        if alert.service == _OWN_NAME:
            return
        record = AlertRecord(
            code=alert.code,
            severity=alert.severity,
            subject=alert.subject,
            text=alert.text,
            service=alert.service,
            raised_ns=alert.raised_ns,
            resolved=alert.resolved,
        )
        if told := self._alerts.offer(record):
            step.effects.append(AppendAlert(told))

    def _on_trade(self, step: Step, trade: TradeUpdate, now_ns: int) -> None:
        earlier = self._trades.get(trade.trade_id)
        self._trades[trade.trade_id] = trade
        self._prune_trades()
        if trade.state == "BROKEN":
            text = f"trade {trade.trade_id} of {trade.strategy} is broken: {trade.reason}"
            self._tell(step, "trade_broken", "critical", trade.trade_id, text, now_ns)
        else:
            text = f"trade {trade.trade_id} of {trade.strategy} is {trade.state}"
            self._end(step, "trade_broken", trade.trade_id, text, now_ns)
        was_awaited = self._fees_awaited.pop(trade.trade_id, None)
        is_news = earlier is None or earlier.state != trade.state or was_awaited is not None
        if not is_news or trade.updated_ns < now_ns - self._config.notice_window_ms * _MS:
            return
        if trade.state in _PAID_STATES and not trade.fees_complete and trade.trade_id in self._trades:
            wait_until_ns = now_ns + self._config.fee_wait_ms * _MS
            self._fees_awaited[trade.trade_id] = wait_until_ns if was_awaited is None else was_awaited
        else:
            self._tell_of_trade(step, trade, now_ns)

    def _tell_of_trade(self, step: Step, trade: TradeUpdate, now_ns: int) -> None:
        notice = _trade_notice(trade)
        if notice is not None and not self._alerts.knows(notice[0], trade.trade_id):
            code, severity, text = notice
            self._notice(step, code, severity, trade.trade_id, text, now_ns)

    def _on_halts(self, step: Step, state: HaltState, now_ns: int) -> None:
        self._halts = state
        if state.halts:
            reasons = "; ".join(f"{halt.level} by {halt.raised_by}: {halt.reason}" for halt in state.halts)
            self._tell(step, "halted", "critical", self._account_id, f"trading is halted ({reasons})", now_ns)
        else:
            self._end(step, "halted", self._account_id, "trading is not halted any more", now_ns)

    def _on_strategy(self, step: Step, status: StrategyStatus, now_ns: int) -> None:
        self._strategies[status.strategy] = status
        if status.state == "failed":
            text = f"strategy {status.strategy} has failed: {status.reason}"
            self._tell(step, "strategy_failed", "critical", status.strategy, text, now_ns)
        else:
            text = f"strategy {status.strategy} is {status.state}"
            self._end(step, "strategy_failed", status.strategy, text, now_ns)

    def _on_reconciliation(self, step: Step, report: ReconciliationReport, now_ns: int) -> None:
        """One alert per kind of difference, until a comparison finds none of that kind."""
        found: dict[str, list[str]] = {}
        for difference in report.differences:
            found.setdefault(difference.kind, []).append(f"{difference.symbol}: {difference.detail}")
        for kind in DIFFERENCE_KINDS - found.keys():
            text = f"the newest comparison with the venue finds no {kind.replace('_', ' ')}"
            self._end(step, "reconciliation_differences", kind, text, now_ns)
        for kind, details in found.items():
            text = f"the comparison with the venue ({report.trigger}) found {kind.replace('_', ' ')}: "
            self._tell(step, "reconciliation_differences", "warning", kind, text + "; ".join(details), now_ns)

    # What is missing

    def _check(self, step: Step, now_ns: int) -> None:
        for view in self._services.values():
            self._check_service(step, view, now_ns)
        for topic, heard_ns in self._feeds.items():
            self._check_feed(step, topic, heard_ns, now_ns)
        for trade_id in [each for each, until_ns in self._fees_awaited.items() if until_ns <= now_ns]:
            del self._fees_awaited[trade_id]
            self._tell_of_trade(step, self._trades[trade_id], now_ns)

    def _check_service(self, step: Step, view: ServiceView, now_ns: int) -> None:
        config = self._config
        allowed_ms = config.startup_grace_ms if view.heartbeat is None else config.heartbeat_silence_ms
        silent_ms = (now_ns - view.heard_ns) / _MS
        if silent_ms > allowed_ms:
            if not view.is_down:
                view.is_down = True
                seen = "has not been heard yet" if view.heartbeat is None else f"silent for {silent_ms / 1e3:.1f} s"
                self._tell(step, "service_down", "critical", view.name, f"{view.name} is down: {seen}", now_ns)
        elif view.not_ready_since_ns is not None and view.heartbeat is not None:
            waiting_ms = (now_ns - view.not_ready_since_ns) / _MS
            if waiting_ms > config.not_ready_ms and not self._alerts.is_open("service_not_ready", view.name):
                text = f"{view.name} has not been ready for {waiting_ms / 1e3:.0f} s: {view.heartbeat.detail}"
                self._tell(step, "service_not_ready", "warning", view.name, text, now_ns)

    def _check_feed(self, step: Step, topic: str, heard_ns: int, now_ns: int) -> None:
        row = topic_row(topic)
        assert row is not None, f"{topic} was taken in although the table of topics lacks it"
        assert row.silence_max_ms is not None, f"{topic} may be silent for ever"
        silent_ms = (now_ns - heard_ns) / _MS
        if silent_ms <= row.silence_max_ms:
            self._silent.discard(topic)
            self._end(step, "feed_stale", topic, f"{topic} is heard again", now_ns)
        elif topic not in self._silent:
            self._silent.add(topic)
            text = f"{topic} has been silent for {silent_ms / 1e3:.1f} s"
            self._tell(step, "feed_stale", "warning", topic, text, now_ns)

    # Alerts of our own

    def _tell(self, step: Step, code: str, severity: Severity, subject: str, text: str, now_ns: int) -> None:
        record = AlertRecord(
            code=code, severity=severity, subject=subject, text=text, service=_OWN_NAME, raised_ns=now_ns
        )
        self._offer_own(step, record)

    def _notice(self, step: Step, code: str, severity: Severity, subject: str, text: str, now_ns: int) -> None:
        record = AlertRecord(
            code=code,
            severity=severity,
            subject=subject,
            text=text,
            service=_OWN_NAME,
            raised_ns=now_ns,
            is_notice=True,
        )
        self._offer_own(step, record)

    def _end(self, step: Step, code: str, subject: str, text: str, now_ns: int) -> None:
        if self._alerts.is_open(code, subject):
            record = AlertRecord(
                code=code,
                severity="info",
                subject=subject,
                text=text,
                service=_OWN_NAME,
                raised_ns=now_ns,
                resolved=True,
            )
            self._offer_own(step, record)

    def _offer_own(self, step: Step, record: AlertRecord) -> None:
        if told := self._alerts.offer(record):
            step.effects.append(AppendAlert(told))
            step.effects.append(
                RaiseAlert(
                    code=told.code,
                    severity=told.severity,
                    subject=told.subject,
                    text=told.text,
                    resolved=told.resolved,
                )
            )

    def _prune_trades(self) -> None:
        final = [trade for trade in self._trades.values() if trade.is_final]
        surplus = len(final) - self._config.keep_trades
        if surplus > 0:
            for trade in sorted(final, key=lambda trade: trade.updated_ns)[:surplus]:
                del self._trades[trade.trade_id]
                self._fees_awaited.pop(trade.trade_id, None)


def _trade_notice(trade: TradeUpdate) -> tuple[str, Severity, str] | None:
    """Code, severity and text of what a person wants to hear of this state."""
    name = f"trade {trade.trade_id} of {trade.strategy}"
    match trade.state:
        case "OPEN" | "PARTIALLY_OPEN":
            legs = ", ".join(f"{leg.side} {leg.filled_quantity} {leg.symbol}" for leg in trade.legs)
            severity: Severity = "info" if trade.state == "OPEN" else "warning"
            return "trade_opened", severity, f"{name} is {trade.state}: {legs}"
        case "CLOSED" | "SETTLED":
            so_far = "" if trade.fees_complete else " so far"
            text = f"{name} is {trade.state}: realised {trade.realized_pnl_usd} USD before fees"
            text = f"{text}, fees {trade.fees_usd} USD{so_far}"
            return "trade_closed", "info", f"{text} ({trade.reason})"
        case "FAILED":
            return "trade_failed", "warning", f"{name} has failed: {trade.reason}"
        case _:
            return None
