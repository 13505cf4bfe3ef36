"""The shipped configuration names our keys with their defaults, each uncommented or not."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from services.execution.config import ExecutionConfig
from services.marketdata.config import MarketdataConfig
from services.monitor.config import MonitorConfig
from services.risk.config import RiskConfig
from shared.config import load_config
from shared.strategy.profiles import ExecutionProfile

SHIPPED = Path(__file__).parents[3] / "voldesk.toml"
_COMMENTED_KEY = r"^# (?=\w+ = )"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("marketdata", MarketdataConfig),
        ("risk", RiskConfig),
        ("execution", ExecutionConfig),
        ("monitor", MonitorConfig),
    ],
)
def test_a_key_that_is_uncommented_as_shipped_changes_nothing(
    name: str, kind: type[msgspec.Struct], tmp_path: Path
) -> None:
    before, section = SHIPPED.read_text().split(f"[{name}]\n", 1)
    ours, after = section.split("\n[", 1)
    uncommented = re.sub(_COMMENTED_KEY, "", ours, flags=re.MULTILINE)
    assert uncommented != ours
    path = tmp_path / "voldesk.toml"
    path.write_text(f"{before}[{name}]\n{uncommented}\n[{after}")
    shipped = load_config(SHIPPED, {}).section(name, kind)
    # tables of their own, such as the execution profiles, are not under test here
    tables = {table: getattr(shipped, table) for table in re.findall(rf"^\[{name}\.(\w+)", after, re.MULTILINE)}
    stated = {key: getattr(shipped, key) for key in re.findall(r"^(\w+) = ", ours, re.MULTILINE)}
    assert load_config(path, {}).section(name, kind) == kind(**tables, **stated)


def test_a_commented_key_of_a_profile_shows_the_default_or_says_that_there_is_none(tmp_path: Path) -> None:
    heading = "[execution.profiles.patient]"
    before, section = SHIPPED.read_text().split(heading, 1)
    ours, after = section.split("\n[", 1)
    uncommented = re.sub(_COMMENTED_KEY, "", ours, flags=re.MULTILINE)
    path = tmp_path / "voldesk.toml"
    path.write_text(f"{before}{heading}{uncommented}\n[{after}")
    profile = load_config(path, {}).section("execution", ExecutionConfig).profiles["patient"]
    shown = re.findall(rf"{_COMMENTED_KEY}(\w+) = (.*)", ours, re.MULTILINE)
    assert shown
    for key, rest in shown:
        default = getattr(ExecutionProfile(), key)
        assert (default is None) == ("by default" in rest), key
        assert default is None or getattr(profile, key) == default, key
