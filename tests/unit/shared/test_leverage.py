"""The leverage of futures, read from execution's section by whoever needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.execution.config import ExecutionConfig
from shared.config import ConfigError
from shared.leverage import LeverageTable
from tests.unit.shared.samples import MINIMAL, write_desk


def test_each_future_has_its_leverage_whatever_form_the_venue_gives_its_name(tmp_path: Path) -> None:
    table = '\n[execution.leverage]\nBTCUSD = 20\n"BTCUSD-6NOV26" = 5\n"BTCUSDT-06NOV26" = 4\n'
    desk = write_desk(tmp_path, MINIMAL + table)
    wanted = {"BTCUSD": 20, "BTCUSD-6NOV26": 5, "BTCUSDT-06NOV26": 4}
    assert (
        desk.value("execution.leverage", LeverageTable)
        == desk.section("execution", ExecutionConfig).leverage
        == wanted
    )


def test_without_a_table_there_is_none(tmp_path: Path) -> None:
    assert write_desk(tmp_path).value("execution.leverage", LeverageTable) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        "[execution]\nleverage = 5\n",
        '[execution.leverage]\nBTCUSD = "5"\n',
        "[execution.leverage]\nBTCUSD = 126\n",
        "[execution.leverage]\nBTCUSD = 0\n",
        "[execution.leverage]\nBTCUSDT = 5\n",
    ],
)
def test_what_is_no_leverage_is_refused_naming_the_table(tmp_path: Path, wrong: str) -> None:
    desk = write_desk(tmp_path, f"{MINIMAL}\n{wrong}")
    with pytest.raises(ConfigError, match=r"\[execution\.leverage\]"):
        desk.value("execution.leverage", LeverageTable)
    with pytest.raises(ConfigError, match=r"\[execution\] leverage"):
        desk.section("execution", ExecutionConfig)
