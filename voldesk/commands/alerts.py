"""voldesk alerts: what is wrong now, who has seen to it, and whether alerts reach anybody."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from shared.config import DeskConfig
from shared.messages.alert_kinds import title_of
from shared.messages.alerts import AcknowledgeAlert, AlertAcknowledgement, AlertList, AlertView, ListAlerts
from shared.views import alert_json, alerts_json, clock_text
from voldesk.asking import ask, operator
from voldesk.console import Json, print_json, print_table, say, title
from voldesk.preflight import load_desk

_STYLES = {"critical": "red", "warning": "yellow"}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk alerts --ack k3f9a2")(alerts)


def alerts(
    ack: Annotated[
        str | None, typer.Option("--ack", metavar="ID", help="Say that you see to this one: it is not told again.")
    ] = None,
    ended: Annotated[bool, typer.Option("--all", help="Also those that are over, and notices.")] = False,
    as_json: Json = False,
) -> None:
    """List open alerts, newest first, and the channels by which people are told; acknowledge one.

    What each means and what to do: docs/runbook.md.
    """
    desk = load_desk()
    if ack is not None:
        request = AcknowledgeAlert(alert_id=ack.lstrip("#").lower(), requested_by=operator())
        done = ask(desk, "monitor", request, AlertAcknowledgement).alert
        if as_json:
            print_json(alert_json(done))
        else:
            left = "it stays open until it is over" if done.is_open else "it is over"
            say(f"{title(desk)}: {title_of(done.code)} of {done.subject} is acknowledged; {left}")
        return
    answer = ask(desk, "monitor", ListAlerts(include_ended=ended), AlertList)
    if as_json:
        print_json(alerts_json(answer))
    else:
        _show(desk, answer, ended)


def _show(desk: DeskConfig, answer: AlertList, ended: bool) -> None:
    if answer.alerts:
        print_table(
            desk,
            "alerts" if ended else "open alerts",
            ("id", "since UTC", "severity", "of", "what is wrong"),
            [_row(alert) for alert in answer.alerts],
            whole=("id", "since UTC", "severity"),
            tight=True,
        )
    else:
        say(f"{title(desk)}: no alert is {'known' if ended else 'open'}")
    for channel in answer.channels:
        if channel.failing_since_ns is not None:
            since = clock_text(channel.failing_since_ns)
            say(f"channel {channel.name} fails since {since} UTC: {channel.reason}; {channel.waiting} alerts wait")
    if not answer.channels:
        say("no channel is configured: nobody is told beyond this table and the page ([monitor.channels])")


def _row(alert: AlertView) -> tuple[str, ...]:
    state = alert.severity if alert.is_open else "notice" if alert.is_notice else "over"
    style = _STYLES.get(state, "dim")
    times = f" ({alert.count} times)" if alert.count > 1 and alert.is_notice else ""
    seen_to = f" (seen to by {alert.acknowledged_by})" if alert.acknowledged_by else ""
    return (
        alert.alert_id,
        clock_text(alert.first_ns),
        f"[{style}]{state}[/]",
        escape(alert.subject),
        escape(f"{title_of(alert.code)}: {alert.text}{times}{seen_to}"),
    )
