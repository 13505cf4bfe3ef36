"""The rules of Prometheus and the configuration of Alertmanager, judged by their own tools."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.deploy.tools import DEPLOY, RULES, alert_names, ran

TESTS = sorted((RULES / "tests").glob("*.yml"))
ALERTMANAGER = DEPLOY / "alertmanager"


def test_prometheus_takes_the_configuration_and_its_rules() -> None:
    assert "is valid prometheus config file syntax" in ran("promtool", "check", "config", RULES / "prometheus.yml")


@pytest.mark.long
def test_the_rules_pass_their_own_tests() -> None:
    assert ran("promtool", "test", "rules", *TESTS).count("SUCCESS") == len(TESTS)


def test_each_alert_is_tested_to_fire_and_each_that_needs_a_series_to_be_silent_without_trouble() -> None:
    cases = (RULES / "tests" / "alerts.yml").read_text().split("  - interval: ")[1:]
    named = [re.findall(r'ALERTS\{alertname="(\w+)"', case) for case in cases]
    assert [names[0] for names in named] == alert_names()
    for case, names in zip(cases, named, strict=True):
        assert len(set(names)) == 1
        assert "value: 1}]" in case, names
        assert ("exp_samples: []" in case) == ("series: '" in case), names


def test_each_recording_rule_is_tested() -> None:
    recorded = re.findall(r"- record: (\S+)", (RULES / "recording.yml").read_text())
    tested = (RULES / "tests" / "recording.yml").read_text()
    assert recorded
    assert [name for name in recorded if f"expr: {name}" not in tested and f"round({name}, " not in tested] == []


def alertmanager_configuration(folder: Path) -> Path:
    """The configuration as this machine's amtool can read it: before 0.26 it knows no bot_token_file."""
    text = (ALERTMANAGER / "alertmanager.yml").read_text()
    version = re.search(r"version (\d+)\.(\d+)", ran("amtool", "--version"))
    assert version
    if (int(version[1]), int(version[2])) < (0, 26):
        text, replaced = re.subn(r"bot_token_file: \S+", "bot_token: in-a-file", text)
        assert replaced == 1
    (folder / "voldesk.tmpl").write_text((ALERTMANAGER / "telegram.tmpl").read_text())
    path = folder / "alertmanager.yml"
    path.write_text(text.replace("[telegram.tmpl]", "[voldesk.tmpl]"))
    return path


def test_alertmanager_takes_the_configuration_with_its_template(tmp_path: Path) -> None:
    said = ran("amtool", "check-config", alertmanager_configuration(tmp_path))
    assert "SUCCESS" in said
    assert "1 templates" in said


def test_alerts_go_to_the_phone_and_the_watchdog_elsewhere(tmp_path: Path) -> None:
    path = alertmanager_configuration(tmp_path)
    for name, severity, receiver in (
        ("VoldeskMonitorDown", "critical", "telegram"),
        ("VoldeskLimitNear", "warning", "telegram"),
        ("VoldeskWatchdog", "none", "heartbeat"),
    ):
        assert name in alert_names()
        labels = (f"alertname={name}", f"severity={severity}")
        said = ran("amtool", "config", "routes", "test", f"--config.file={path}", *labels)
        assert said.splitlines()[0] == receiver, name


def test_a_message_says_mode_account_severity_and_where_to_read_on(tmp_path: Path) -> None:
    alert = {
        "labels": {"severity": "critical"},
        "annotations": {"summary": "It burns", "description": "All of it.", "runbook": "docs/runbook.md#fire"},
    }
    data = {
        "receiver": "telegram",
        "commonLabels": {"mode": "LIVE", "account": "alpha"},
        "alerts": [{"status": "firing", **alert}, {"status": "resolved", **alert}],
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    said = ran(
        "amtool",
        "template",
        "render",
        f"--template.glob={ALERTMANAGER / 'telegram.tmpl'}",
        '--template.text={{ template "voldesk.telegram" . }}',
        f"--template.data={tmp_path / 'data.json'}",
    )
    lines = [line for line in said.splitlines() if line]
    assert lines == [
        "LIVE alpha · Prometheus",
        "critical: It burns",
        "All of it.",
        "docs/runbook.md#fire",
        "over: It burns",
    ]
