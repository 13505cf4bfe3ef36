"""voldesk strategy schedule: the next firings of a strategy file."""

from __future__ import annotations

import json
from pathlib import Path

from shared.strategy import StrategyConfig, close_on, daily_at, every, pause_on, strangle
from tests.unit.strategy.making import at
from tests.unit.voldesk.peers import Ran
from voldesk.strategy_schedule import preview

FILE = """
from shared.strategy import StrategyConfig, close_on, daily_at, strangle


def timed():
    return StrategyConfig(
        name="timed",
        legs=strangle("0.1"),
        entry_schedule=daily_at("10:00", zone="America/New_York"),
        actions=[close_on(daily_at("07:30"))],
    )
"""


def test_the_next_firings_are_told_in_the_order_of_time(home: Path) -> None:
    (home / "mine").mkdir()
    (home / "mine" / "timed.py").write_text(FILE)
    toml = home / "voldesk.toml"
    toml.write_text(
        '[desk]\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n[strategy]\nenabled = ["timed"]\nfolders = ["mine"]\n'
    )
    told = json.loads(Ran("strategy", "schedule", "timed", "--count", "6", "--json").out)
    assert [each["at"] for each in told] == sorted(each["at"] for each in told)
    assert sorted(each["does"] for each in told) == ["close"] * 3 + ["entry"] * 3
    entry = next(each for each in told if each["does"] == "entry")
    assert entry["local"].endswith("10:00 America/New_York")
    shown = Ran("strategy", "schedule", "timed")
    assert shown.code == 0, shown.err
    assert "close" in shown.out


def test_what_fires_often_hides_nothing_that_fires_seldom() -> None:
    monthly = daily_at("16:00", day="month_end")
    config = StrategyConfig(
        name="timed",
        legs=strangle("0.1"),
        exit_schedule=every(seconds=30),
        actions=[close_on(monthly), pause_on(daily_at("07:30", nth_weekday=(5, "fri"), day="month_start"))],
    )
    coming = preview(config, at("2026-03-06T09:00"), 4)
    assert [name for _, name, _ in coming] == ["exit"] * 4 + ["close"], "a pause that never comes is not there"
    assert coming[-1] == (at("2026-03-31T16:00"), "close", monthly)


def test_a_strategy_without_a_schedule_says_so(home: Path) -> None:
    toml = home / "voldesk.toml"
    toml.write_text('[desk]\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n[strategy]\nenabled = ["demo_strangle"]\n')
    ran = Ran("strategy", "schedule", "demo_strangle")
    assert ran.code == 0
    assert "demo_strangle has no schedule that fires" in " ".join(ran.out.split())
