"""Alerts of the monitor's own: noted among all others, told to people, and published like those of any service."""

from __future__ import annotations

import msgspec

from services.monitor.alerts import AlertBook
from services.monitor.dispatch import Dispatch
from services.monitor.effects import AlertRecord, AppendAlert
from shared.messages.steps import RaiseAlert, Step
from shared.messages.system import Severity

OWN_NAME = "monitor"


class Teller:
    """Says what begins, what has happened, and what is over; `alerts` and `dispatch` decide who hears of it."""

    def __init__(self, alerts: AlertBook, dispatch: Dispatch) -> None:
        self._alerts = alerts
        self._dispatch = dispatch

    def tell(
        self,
        step: Step,
        code: str,
        severity: Severity,
        subject: str,
        text: str,
        now_ns: int,
        *,
        route: str = "",
        stage: str = "",
    ) -> None:
        """A matter that lasts until `end`."""
        record = AlertRecord(
            code=code,
            severity=severity,
            subject=subject,
            text=text,
            service=OWN_NAME,
            raised_ns=now_ns,
            route=route,
            stage=stage,
        )
        self._offer(step, record)

    def notice(self, step: Step, code: str, severity: Severity, subject: str, text: str, now_ns: int) -> None:
        """Something that has happened and does not last."""
        record = AlertRecord(
            code=code,
            severity=severity,
            subject=subject,
            text=text,
            service=OWN_NAME,
            raised_ns=now_ns,
            is_notice=True,
        )
        self._offer(step, record)

    def end(self, step: Step, code: str, subject: str, text: str, now_ns: int) -> None:
        """The matter is over; nothing when it was not open."""
        if self._alerts.is_open(code, subject):
            record = AlertRecord(
                code=code,
                severity="info",
                subject=subject,
                text=text,
                service=OWN_NAME,
                raised_ns=now_ns,
                resolved=True,
            )
            self._offer(step, record)

    def append(self, step: Step, told: AlertRecord, now_ns: int) -> None:
        """Keep an alert of any service that was just noted, and tell people."""
        step.effects.append(AppendAlert(told))
        matter = self._alerts.get(told.code, told.subject)
        assert matter is not None, f"{told.code} of {told.subject} was just noted"
        self._dispatch.tell(step, told, matter.alert_id, now_ns)
        self.hold((told.code, told.subject))

    def hold(self, *keys: tuple[str, str]) -> None:
        """Note of these (code, subject) as what people were told of them while they flap."""
        for code, subject in keys:
            held = self._dispatch.flapping.held_as(code, subject)
            if held is None:
                self._alerts.hold(code, subject, "", "")
            else:
                self._alerts.hold(code, subject, held.alert_id, held.acknowledged_by)

    def ruled(self, record: AlertRecord) -> AlertRecord:
        """With the severity that the configuration gives to its kind."""
        severity = self._dispatch.rule(record.code).severity
        if severity is None or record.resolved:
            return record
        return msgspec.structs.replace(record, severity=severity)

    def _offer(self, step: Step, record: AlertRecord) -> None:
        if told := self._alerts.offer(self.ruled(record)):
            self.append(step, told, record.raised_ns)
            step.effects.append(
                RaiseAlert(
                    code=told.code,
                    severity=told.severity,
                    subject=told.subject,
                    text=told.text,
                    resolved=told.resolved,
                    stage=told.stage,
                )
            )
