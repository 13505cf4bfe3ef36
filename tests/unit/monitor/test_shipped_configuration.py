"""The shipped configuration names our keys with their defaults, each uncommented or not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from services.execution.config import ExecutionConfig
from services.marketdata.config import MarketdataConfig
from services.monitor.config import MonitorConfig
from services.risk.config import RiskConfig
from shared.config import load_config

SHIPPED = Path(__file__).parents[3] / "voldesk.toml"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("marketdata", MarketdataConfig),
        ("risk", RiskConfig),
        ("execution", ExecutionConfig),
        ("monitor", MonitorConfig),
    ],
)
def test_a_key_that_is_uncommented_as_shipped_changes_nothing(name: str, kind: type[object], tmp_path: Path) -> None:
    before, section = SHIPPED.read_text().split(f"[{name}]\n", 1)
    ours, after = section.split("\n[", 1)
    uncommented = re.sub(r"^# (?=\w+ = )", "", ours, flags=re.MULTILINE)
    assert uncommented != ours
    path = tmp_path / "voldesk.toml"
    path.write_text(f"{before}[{name}]\n{uncommented}\n[{after}")
    assert load_config(path, {}).section(name, kind) == kind()
