"""What `voldesk up` writes for Prometheus."""

from __future__ import annotations

import json
from pathlib import Path

from shared.config import load_config
from voldesk.preflight import choose_ports
from voldesk.scrape_targets import write_targets


def test_prometheus_finds_every_service_by_its_port_with_the_labels_of_its_metrics(home: Path) -> None:
    desk = load_config()
    ports = choose_ports(desk)
    write_targets(desk, ports)
    rows = json.loads((home / "run" / "prometheus" / "targets.json").read_text())
    assert {row["labels"]["service"]: row["targets"] for row in rows} == {
        service: [f"127.0.0.1:{ports[f'metrics-{service}']}"]
        for service in ("exchange", "marketdata", "risk", "execution", "strategy", "monitor")
    }
    assert all(row["labels"] | {"service": ""} == row_labels() for row in rows)


def row_labels() -> dict[str, str]:
    return {"desk": "unit", "service": "", "mode": "paper", "account": "acc1"}


def test_a_new_start_replaces_the_targets_and_leaves_nothing_beside_them(home: Path) -> None:
    desk = load_config()
    ports = choose_ports(desk)
    write_targets(desk, ports)
    write_targets(desk, {**ports, "metrics-risk": 12_345})
    folder = home / "run" / "prometheus"
    assert [path.name for path in folder.iterdir()] == ["targets.json"]
    assert '"127.0.0.1:12345"' in (folder / "targets.json").read_text()
