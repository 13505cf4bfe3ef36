"""What is alive, what is wrong, and what the desk holds."""

from __future__ import annotations

from collections import deque
from typing import Any

from services.monitor.alerts import AlertBook, alert_view, no_alert
from services.monitor.config import MonitorConfig
from services.monitor.differences import Differences
from services.monitor.dispatch import Dispatch
from services.monitor.effects import (
    Acknowledge,
    AlertRecord,
    AlertsRestored,
    Delivered,
    DeliveryFailed,
    Observed,
)
from services.monitor.ended import Forgotten
from services.monitor.findings import Findings, is_of_outage
from services.monitor.rows import AlertAcknowledged, SummaryMade
from services.monitor.summary import daily_summary
from services.monitor.telling import OWN_NAME, Teller
from services.monitor.trade_notices import TRADE_NOTICES, trade_notice
from services.monitor.views import RefusedIntent, Status
from services.monitor.watching import Watch
from shared.messages.account import AccountSnapshot
from shared.messages.alert_kinds import ALERT_KINDS, ENDED_BY_A_PERSON, severity_of
from shared.messages.alerts import (
    AcknowledgeAlert,
    AlertAcknowledgement,
    AlertList,
    ListAlerts,
)
from shared.messages.control import GrantRefused, HaltState, StrategyStatus
from shared.messages.reconciliation import ReconciliationReport
from shared.messages.risk import RiskLimits
from shared.messages.space import ON_DISK, JournalSpace, space_alerts
from shared.messages.steps import Entry, Inbound, LoopStalled, Reply, Request, Step, StreamSynced, Tick
from shared.messages.system import Alert, Heartbeat
from shared.messages.trades import OrderUpdate, TradeUpdate, unknown_request
from shared.strategy_hosts import StrategyHosts

_MS = 1_000_000
_CHECK_EVERY_NS = 1_000 * _MS
HEARD = (
    Heartbeat,
    Alert,
    TradeUpdate,
    OrderUpdate,
    HaltState,
    StrategyStatus,
    AccountSnapshot,
    GrantRefused,
    ReconciliationReport,
    RiskLimits,
)
"""The messages that are looked at."""

_PAID_STATES = frozenset({"CLOSED", "SETTLED"})


class MonitorCore:
    """Watches, and tells once.

    Inputs: Inbound of any topic, StreamSynced, Request, Acknowledge, Delivered, DeliveryFailed, AlertsRestored,
    JournalSpace, Observed, Tick, LoopStalled. Effects: RaiseAlert for what it found itself, AppendAlert for every
    alert of any service that is new, worse or over, Deliver, Reply. Its journal is the outbox: what is to be told and
    what became of it.

    heading: of every message to people, with mode and account.
    """

    def __init__(
        self,
        config: MonitorConfig,
        *,
        account_id: str,
        heading: str = "",
        hosts: StrategyHosts = StrategyHosts(),
    ) -> None:
        self._config = config
        self._account_id = account_id
        self._dispatch = Dispatch(
            heading=heading,
            kinds=config.kinds,
            routes=config.routes,
            channels=config.channels,
            flapping=config.flapping,
        )
        self._findings = Findings(config.figure_rules, account_id=account_id)
        self._space = ON_DISK
        self._summary: SummaryMade | None = None
        self._account: AccountSnapshot | None = None
        self._limits: RiskLimits | None = None
        self._halts: HaltState | None = None
        self._reconciled: ReconciliationReport | None = None
        self._trades: dict[str, TradeUpdate] = {}
        self._forgotten = Forgotten()
        self._trades_known = False
        self._fees_awaited: dict[str, int] = {}
        self._told_until_ns = 0
        """Up to when a person was told of all trades: heard of execution, or told of one before our start."""

        self._execution_epoch: int | None = None

        self._strategies: dict[str, StrategyStatus] = {}
        self._refusals: deque[RefusedIntent] = deque(maxlen=config.keep_refusals)
        self._alerts = AlertBook(config.keep_alerts)
        self._teller = Teller(self._alerts, self._dispatch)
        self._differences = Differences(self._alerts, self._teller)
        self._watch = Watch(config, self._alerts, self._teller, hosts)
        self._next_check_ns: int | None = None

    def start(self, now_ns: int) -> Step:
        self._next_check_ns = now_ns + _CHECK_EVERY_NS
        self._watch.start(now_ns)
        # What died between the journal and the alert file is not told anew under another id.
        self._alerts.restore(sorted((each.record for each in self._dispatch.outbox.pending()), key=_raised))
        step = Step()
        self._dispatch.start(step, now_ns)
        return step

    def apply(self, entry: Entry) -> None:
        match entry.row:
            case AlertAcknowledged(alert_id=alert_id, by=by, seen_ns=seen_ns):
                if (key := self._dispatch.flapping.acknowledge(alert_id, by, seen_ns)) is not None:
                    self._teller.hold(key)
                else:
                    self._alerts.acknowledge(alert_id, by, seen_ns)
            case SummaryMade():
                self._summary = entry.row
            case _:
                self._dispatch.outbox.apply(entry.row, entry.at_ns)

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
                self._watch.stalled(now_ns)
            case StreamSynced(publisher="execution", epoch=epoch):
                self._trades_known = True
                self._execution_epoch = epoch
            case AlertsRestored(records=records):
                self._alerts.restore(records)
                self._dispatch.restore(records)
                self._teller.hold(*self._dispatch.flapping.held)
                told = (each.raised_ns for each in records if each.code in TRADE_NOTICES)
                self._told_until_ns = max(told, default=self._told_until_ns)
            case Request():
                self._on_request(step, item, now_ns)
            case Acknowledge():
                self._acknowledge(step, item.alert_id, item.by, now_ns)
            case Delivered(message_id=message_id):
                self._dispatch.delivered(step, message_id, now_ns)
                self._watch_channels(step, now_ns)
            case DeliveryFailed():
                self._dispatch.failed(step, item, now_ns)
                self._watch_channels(step, now_ns)
            case JournalSpace():
                self._on_space(step, item, now_ns)
            case Observed(code=code, subject=subject, text=text, is_over=True):
                self._teller.end(step, code, subject, text, now_ns)
            case Observed(code=code, subject=subject, text=text):
                tell = self._teller.notice if _is_notice(code) else self._teller.tell
                tell(step, code, severity_of(code), subject, text, now_ns)
            case _:
                pass
        return step

    def status(self, now_ns: int) -> Status:
        return Status(
            now_ns=now_ns,
            account_id=self._account_id,
            services=self._watch.services,
            account=self._account,
            halts=self._halts,
            trades=tuple(sorted(self._trades.values(), key=lambda trade: trade.created_ns, reverse=True)),
            strategies=tuple(self._strategies[name] for name in sorted(self._strategies)),
            alerts=self._alerts.matters(),
            refusals=tuple(reversed(self._refusals)),
            silent_feeds=self._watch.silent_feeds,
            channels=self._dispatch.states(now_ns),
            tells_somebody=self._dispatch.tells_somebody,
            limits=self._limits,
            reconciled=self._reconciled,
            forgotten=self._forgotten.trades(),
        )

    # What people ask and say

    def _on_request(self, step: Step, request: Request, now_ns: int) -> None:
        match request.message:
            case ListAlerts(include_ended=include_ended, limit=limit):
                matters = [matter for matter in self._alerts.matters() if include_ended or matter.is_open]
                views = tuple(alert_view(matter) for matter in matters[: max(limit, 0)])
                answer: Any = AlertList(alerts=views, channels=self._dispatch.states(now_ns))
            case AcknowledgeAlert(alert_id=alert_id, requested_by=by):
                self._acknowledge(step, alert_id, by, now_ns)
                matter = self._alerts.find(alert_id)
                answer = no_alert(alert_id) if matter is None else AlertAcknowledgement(alert=alert_view(matter))
            case message:
                answer = unknown_request(OWN_NAME, message)
        step.effects.append(Reply(request.request_id, answer))

    def _acknowledge(self, step: Step, alert_id: str, by: str, now_ns: int) -> None:
        matter = self._alerts.find(alert_id)
        if matter is None or not (matter.is_open or matter.held_id):
            return
        if not matter.acknowledged_by:
            told_id = matter.held_id or matter.alert_id
            entry = Entry(now_ns, "", AlertAcknowledged(alert_id=told_id, by=by, seen_ns=matter.told_ns))
            step.rows.append(entry)
            self.apply(entry)
        code, subject = matter.record.code, matter.record.subject
        # that of execution comes with a halt, and is over when somebody resumes
        lacks_rows = code == "journal_incomplete" and subject != "execution"
        if code in ENDED_BY_A_PERSON or lacks_rows:
            self._teller.end(step, code, subject, f"seen to by {by}", now_ns)

    def _on_space(self, step: Step, space: JournalSpace, now_ns: int) -> None:
        for alert in space_alerts(self._space, space, OWN_NAME):
            if alert.resolved:
                self._teller.end(step, alert.code, alert.subject, alert.text, now_ns)
            else:
                self._teller.tell(step, alert.code, severity_of(alert.code), alert.subject, alert.text, now_ns)
        self._space = space

    # Messages

    def _on_message(self, step: Step, inbound: Inbound, now_ns: int) -> None:
        message = inbound.message
        if getattr(message, "account_id", self._account_id) != self._account_id:
            return
        if not isinstance(message, Heartbeat):
            self._watch.fed(inbound.topic, now_ns)
        match message:
            case Heartbeat():
                if message.service == "execution" and inbound.epoch == self._execution_epoch:
                    self._told_until_ns = max(self._told_until_ns, message.beat_ns)
                for strategy in self._watch.beat(step, message, now_ns):
                    self._strategies.pop(strategy, None)
            case Alert():
                self._on_alert(step, message, now_ns)
            case TradeUpdate():
                self._on_trade(step, message, now_ns)
            case OrderUpdate():
                self._findings.orders.note(message, now_ns)
            case HaltState():
                self._on_halts(step, message, now_ns)
            case StrategyStatus():
                self._on_strategy(step, message, now_ns)
            case AccountSnapshot():
                self._account = message
            case RiskLimits():
                self._limits = message
            case GrantRefused():
                self._refusals.append(RefusedIntent(refused=message, received_ns=now_ns))
            case ReconciliationReport():
                self._reconciled = message
                self._differences.on_report(step, message, now_ns)
            case _:
                pass

    def _on_alert(self, step: Step, alert: Alert, now_ns: int) -> None:
        if alert.service == OWN_NAME:
            return
        record = AlertRecord(
            code=alert.code,
            severity=alert.severity,
            subject=alert.subject,
            text=alert.text,
            service=alert.service,
            raised_ns=alert.raised_ns,
            resolved=alert.resolved,
            is_notice=_is_notice(alert.code) and not alert.resolved,
            stage=alert.stage,
        )
        if record.is_notice and record.raised_ns < now_ns - self._config.notice_window_ms * _MS:
            # handed over again after a restart, by a publisher that remembers longer than we do
            return
        was_open = self._alerts.is_open(record.code, record.subject)
        if told := self._alerts.offer(self._teller.ruled(record)):
            if not (told.resolved or was_open or is_of_outage(told, self._alerts.matters())):
                self._findings.flapping.note(told.code, told.service, now_ns)
            self._teller.append(step, told, now_ns)

    def _on_trade(self, step: Step, trade: TradeUpdate, now_ns: int) -> None:
        earlier = self._trades.get(trade.trade_id)
        self._trades[trade.trade_id] = trade
        self._forgotten.discard(trade.trade_id)
        self._prune_trades(now_ns)
        if trade.state == "BROKEN":
            text = f"trade {trade.trade_id} of {trade.strategy} is broken: {trade.reason}"
            self._teller.tell(step, "trade_broken", "critical", trade.trade_id, text, now_ns)
        else:
            text = f"trade {trade.trade_id} of {trade.strategy} is {trade.state}"
            self._teller.end(step, "trade_broken", trade.trade_id, text, now_ns)
        was_awaited = self._fees_awaited.pop(trade.trade_id, None)
        is_news = earlier is None or earlier.state != trade.state or was_awaited is not None
        if earlier is None and trade.updated_ns < self._told_until_ns - self._config.fee_wait_ms * _MS:
            # execution tells of all its trades when it starts: of this one a person was told long ago
            is_news = False
        if not is_news or trade.updated_ns < now_ns - self._config.notice_window_ms * _MS:
            return
        if trade.state in _PAID_STATES and not trade.fees_complete and trade.trade_id in self._trades:
            wait_until_ns = now_ns + self._config.fee_wait_ms * _MS
            self._fees_awaited[trade.trade_id] = wait_until_ns if was_awaited is None else was_awaited
        else:
            self._tell_of_trade(step, trade, now_ns)

    def _tell_of_trade(self, step: Step, trade: TradeUpdate, now_ns: int) -> None:
        notice = trade_notice(trade)
        if notice is not None and not self._alerts.knows(notice[0], trade.trade_id):
            code, severity, text = notice
            self._teller.notice(step, code, severity, trade.trade_id, text, now_ns)

    def _on_halts(self, step: Step, state: HaltState, now_ns: int) -> None:
        self._halts = state
        if state.halts:
            reasons = "; ".join(f"{halt.level} by {halt.raised_by}: {halt.reason}" for halt in state.halts)
            text, newest = f"trading is halted ({reasons})", state.halts[-1]
            stage = f"{newest.level} at {newest.raised_ns}"
            self._teller.tell(step, "halted", "critical", self._account_id, text, now_ns, stage=stage)
        else:
            self._teller.end(step, "halted", self._account_id, "trading is not halted any more", now_ns)

    def _on_strategy(self, step: Step, status: StrategyStatus, now_ns: int) -> None:
        self._strategies[status.strategy] = status
        if status.state == "failed":
            text = f"strategy {status.strategy} has failed: {status.reason}"
            self._teller.tell(step, "strategy_failed", "critical", status.strategy, text, now_ns)
        else:
            text = f"strategy {status.strategy} is {status.state}"
            self._teller.end(step, "strategy_failed", status.strategy, text, now_ns)

    # What is missing

    def _check(self, step: Step, now_ns: int) -> None:
        self._watch.check(step, now_ns)
        for trade_id in [each for each, until_ns in self._fees_awaited.items() if until_ns <= now_ns]:
            del self._fees_awaited[trade_id]
            self._tell_of_trade(step, self._trades[trade_id], now_ns)
        self._check_findings(step, now_ns)
        self._summarise(step, now_ns)
        self._watch_channels(step, now_ns)
        self._teller.hold(*self._dispatch.settle(step, now_ns))
        self._dispatch.remind(step, self._alerts.matters(), now_ns)
        self._dispatch.advance(step, now_ns)

    def _check_findings(self, step: Step, now_ns: int) -> None:
        """What nobody raises: figures past their thresholds, and what is seen from several messages together."""
        trades = self._trades if self._trades_known else None
        for found in self._findings.look(self._account, trades, self._alerts.matters(), now_ns):
            if found.is_over:
                self._teller.end(step, found.code, found.subject, found.text, now_ns)
            else:
                text, route, stage = found.text, found.route, found.stage
                self._teller.tell(
                    step, found.code, found.severity, found.subject, text, now_ns, route=route, stage=stage
                )
        for held in self._findings.held:
            for subject in self._alerts.open_of(held.code):
                if subject not in held.current:
                    self._teller.end(step, held.code, subject, f"{subject}: {held.over}", now_ns)

    def _summarise(self, step: Step, now_ns: int) -> None:
        """Once a day at the configured time; a monitor that was down then does it within the hour, or leaves it."""
        due_s = self._config.summary_second
        day, second = divmod(now_ns // 1_000_000_000, 86_400)
        if due_s is None or not due_s <= second < due_s + 3_600 or self._account is None:
            return
        if self._summary is not None and self._summary.day >= day:
            return
        text = daily_summary(self.status(now_ns), self._summary)
        entry = Entry(now_ns, "", SummaryMade(day=day, equity_usd=f"{self._account.equity_usd:f}"))
        step.rows.append(entry)
        self.apply(entry)
        self._teller.notice(step, "daily_summary", "info", f"day {day}", text, now_ns)

    def _watch_channels(self, step: Step, now_ns: int) -> None:
        """A channel that takes nothing is an alert of its own, by the other channels."""
        failing = self._dispatch.failing(now_ns)
        for channel, reason in failing.items():
            if not self._alerts.is_open("delivery_failed", channel):
                text = f"channel {channel} does not take alerts: {reason}"
                self._teller.tell(step, "delivery_failed", "critical", channel, text, now_ns)
                self._dispatch.fall_back(step, channel, now_ns)
        for channel in self._alerts.open_of("delivery_failed"):
            if channel not in failing:
                self._teller.end(step, "delivery_failed", channel, f"channel {channel} takes alerts again", now_ns)

    def _prune_trades(self, now_ns: int) -> None:
        final = [trade for trade in self._trades.values() if trade.is_final]
        surplus = len(final) - self._config.keep_trades
        if surplus > 0:
            for trade in sorted(final, key=lambda trade: trade.updated_ns)[:surplus]:
                del self._trades[trade.trade_id]
                self._forgotten.add(trade, now_ns)
                self._fees_awaited.pop(trade.trade_id, None)


def _is_notice(code: str) -> bool:
    kind = ALERT_KINDS.get(code)
    return kind is not None and kind.is_notice


def _raised(record: AlertRecord) -> int:
    return record.raised_ns
