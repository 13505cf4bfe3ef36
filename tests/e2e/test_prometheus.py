"""A real Prometheus beside a desk that trades: every panel and every rule has data, and a stuck monitor is told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.grafana.__main__ import FOLDER
from tests.docs.test_monitoring import expressions
from tests.e2e.prometheus import Prometheus, running
from tests.e2e.stack import SERVICES, Desk, newest_in, until
from tests.telegram_api import TelegramDouble
from tests.unit.deploy.tools import alert_names

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1_200)]

CHAT = 42
_COMPARED = re.compile(r"\s(?:==|!=|>=|<=|>|<)\s[0-9.e]+")

ONLY_IN_TROUBLE = {
    "voldesk_bus_gaps_total": "a publisher is named once a gap was seen",
    "voldesk_bus_lost_total": "a publisher is named once events were lost",
    "voldesk_alert_channel_failing": "the desk of this test has no channel",
    "voldesk_bus_refused_total": "only a bus with keys refuses: this desk's sockets are files",
}
"""What a desk that is well need not show, and why; queries of it are asked and need no answer."""


@pytest.fixture(scope="module")
def telegram() -> Iterator[TelegramDouble]:
    """A Bot API that answers while the tests wait."""
    loop, double = asyncio.new_event_loop(), TelegramDouble()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(double.start(), loop).result(60)
    yield double
    asyncio.run_coroutine_threadsafe(double.stop(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()


@pytest.fixture(scope="module")
def prometheus(desk: Desk, telegram: TelegramDouble) -> Iterator[Prometheus]:
    targets = desk.run_dir / "prometheus" / "targets.json"
    with running(targets, f"http://127.0.0.1:{telegram.port}", CHAT) as found:
        until(desk, "a trade is closed", lambda: newest_in(desk, "quick", ("CLOSED",)), timeout_s=240)
        all_up = [float(len(SERVICES))]
        found.until("all services are scraped", lambda: found.values('sum(up{job="voldesk"})') == all_up)
        yield found


def has_data(prometheus: Prometheus, query: str) -> None:
    """The query parses and, unless it is of trouble alone, has a number in time."""
    prometheus.ask("query", query=query)
    if not any(name in query for name in ONLY_IN_TROUBLE):
        prometheus.until(f"data of {query}", lambda: prometheus.values(query))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_every_query_of_a_dashboard_has_data(prometheus: Prometheus, path: Path) -> None:
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$mode", ".*").replace("$account", "alpha")
            has_data(prometheus, query.replace("$__rate_interval", "1m"))


def test_the_variables_of_the_dashboards_have_the_values_of_the_desk(prometheus: Prometheus) -> None:
    for label, values in {"mode": ["paper"], "account": ["alpha"]}.items():
        assert prometheus.ask(f"label/{label}/values", **{"match[]": "voldesk_ready"}) == values


def test_every_rule_is_evaluated_without_error_and_what_it_compares_has_data(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]] | None:
        groups = prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules = prometheus.until("all rules were evaluated", evaluated)
    assert [rule["name"] for rule in rules if rule["type"] == "alerting"] == alert_names()
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    for query in (*expressions("recording.yml"), *expressions("alerts.yml")):
        # whether there is a target at all has data only where there is none
        has_data(prometheus, re.sub(r"^absent\((.*)\)$", r"\1", _COMPARED.sub("", query)))


def test_a_desk_that_is_well_fires_the_watchdog_and_no_alert_of_orders_or_services(prometheus: Prometheus) -> None:
    prometheus.until("the watchdog fires", lambda: firing(prometheus) >= {"VoldeskWatchdog"})
    wrong = {"VoldeskServiceDown", "VoldeskMonitorDown", "VoldeskNoDesk", "VoldeskTradeBroken", "VoldeskOrderUnknown"}
    prometheus.until("none of an ill desk does", lambda: not firing(prometheus) & wrong)


def firing(prometheus: Prometheus) -> set[str]:
    alerts = prometheus.ask("alerts")["alerts"]
    return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


def test_a_monitor_that_stands_still_is_told_to_the_phone_by_alertmanager(
    desk: Desk, prometheus: Prometheus, telegram: TelegramDouble
) -> None:
    pid = desk.pid("monitor")
    os.kill(pid, signal.SIGSTOP)
    try:
        messages = prometheus.until(
            "the phone is told", lambda: [call for call in telegram.sent(CHAT) if "The monitor does not" in call.text]
        )
    finally:
        os.kill(pid, signal.SIGCONT)
    assert messages[0].text.startswith("paper alpha · Prometheus")
    assert "critical: The monitor does not answer" in messages[0].text
    assert "docs/runbook.md#voldeskmonitordown" in messages[0].text
    prometheus.until("the monitor is back", lambda: prometheus.values('up{service="monitor"}') == [1.0])
