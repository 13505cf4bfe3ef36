"""Where Prometheus finds the metrics of a desk: `prometheus/targets.json` in the run directory."""

from __future__ import annotations

import json
from collections.abc import Mapping

from shared.config import DeskConfig
from voldesk.health import expected_services


def write_targets(desk: DeskConfig, ports: Mapping[str, int]) -> None:
    """Write the addresses of all services in the form of Prometheus's file_sd, replacing the file as a whole.

    The labels are those of `up`, which says of a service that is dead which one it was.
    """
    rows = [
        {
            "targets": [f"{desk.host.metrics.replace('{service}', service)}:{ports[f'metrics-{service}']}"],
            "labels": {"desk": desk.name, "service": service, "mode": desk.mode, "account": desk.account_id},
        }
        for service in expected_services(desk)
    ]
    path = desk.run_dir / "prometheus" / "targets.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(rows, indent=1) + "\n")
    temporary.replace(path)
