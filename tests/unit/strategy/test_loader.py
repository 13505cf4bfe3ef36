"""Files that load, and broken ones, which are reported with file and line and stop nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.strategy.config import StrategyHostConfig
from services.strategy.loader import load_enabled, load_strategies
from services.strategy.runner import StrategyRunner
from shared.messages.conditions import MaxHold
from shared.messages.system import Mode
from shared.messages.trades import LimitPhase
from tests.unit.shared.samples import MINIMAL, write_desk

GOOD = """
from shared.strategy import StrategyConfig, max_hold_hours, strangle


def calm(view, now_ns):
    return True


def enough(view, now_ns):
    return False


def good():
    return StrategyConfig(
        name="good", legs=strangle(1), entry_conditions=[calm], exit_conditions=[enough, max_hold_hours(1)]
    )
"""

QUOTER = """
class Quoter:
    name = "quoter"

    def on_market(self, underlying, desk, now_ns): return ()
    def on_order(self, order, desk, now_ns): return ()
    def on_trade(self, trade, desk, now_ns): return ()
    def on_timer(self, desk, now_ns): return ()
    def on_outcome(self, outcome, now_ns): pass
    def gates(self): return ()
    def next_deadline_ns(self): return None


def quoter():
    return Quoter()
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def test_the_desks_own_strategies_load() -> None:
    loaded, failures = load_strategies(["demo_strangle", "micro_strangle", "short_strangle"])
    assert failures == []
    assert [strategy.name for strategy in loaded] == ["demo_strangle", "micro_strangle", "short_strangle"]


def test_the_demonstration_holds_a_small_long_strangle_for_a_minute() -> None:
    from strategies.demo_strangle import demo_strangle

    config = demo_strangle()
    assert {leg.order_side for leg in config.legs} == {"buy"}
    assert [float(leg.quantity) for leg in config.legs] == [0.1, 0.1]
    assert config.exits == (MaxHold(hours=1 / 60),)
    assert (config.max_concurrent_trades, config.max_trades_per_day) == (1, 0)


def test_the_micro_strangle_is_the_one_of_the_readme() -> None:
    from strategies.micro_strangle import micro_strangle

    config = micro_strangle()
    phase = LimitPhase(pricing="aggressive", duration_s=30.0, reprice_interval_s=30.0, buffer_pct=2.0)
    assert config.limit_params().phases == (phase,)
    assert (config.max_trades_per_day, config.cooldown_seconds, config.check_interval_seconds) == (2, 60, 30)


def test_a_file_of_another_folder_loads_with_its_functions(tmp_path: Path) -> None:
    write(tmp_path, good=GOOD)
    loaded, failures = load_strategies(["good"], [tmp_path])
    assert failures == []
    assert loaded[0].source == str(tmp_path / "good.py")
    assert set(loaded[0].exit_functions) == {"enough"}
    assert isinstance(loaded[0].make(StrategyHostConfig()), StrategyRunner)


def test_a_strategy_that_is_code_gets_a_fresh_instance_each_time(tmp_path: Path) -> None:
    write(tmp_path, quoter=QUOTER)
    loaded, failures = load_strategies(["quoter"], [tmp_path])
    assert failures == []
    first, second = (loaded[0].make(StrategyHostConfig()) for _ in range(2))
    assert first is not second
    assert first.name == "quoter"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def bad(:\n    pass\n", "SyntaxError: invalid syntax at {file}:1"),
        ("import os\nimport no_such_module\n", "No module named 'no_such_module' at {file}:2"),
        ("x = 1\n", "{file} defines no function bad()"),
        ("\n\ndef bad():\n    return 7\n", "{file}:3: bad() returned int; it must return a StrategyConfig"),
        ("def bad():\n    return 1 / 0\n", "ZeroDivisionError: division by zero at {file}:2"),
        ("raise SystemExit(3)\n", "SystemExit: 3 at {file}:1"),
        (
            "from shared.strategy import StrategyConfig\n\n\ndef bad():\n    return StrategyConfig(name='bad')\n",
            "ValueError: legs must name at least one leg at {file}:5",
        ),
        (
            "from shared.strategy import time_window\n\nWINDOW = time_window(8, 8)\n",
            "would never open; 0 to 24 is the whole day at {file}:3",
        ),
    ],
)
def test_a_broken_file_is_reported_with_its_line_and_the_others_load(tmp_path: Path, text: str, reason: str) -> None:
    write(tmp_path, bad=text, good=GOOD)
    loaded, failures = load_strategies(["bad", "good"], [tmp_path])
    assert [strategy.name for strategy in loaded] == ["good"]
    assert [failure.name for failure in failures] == ["bad"]
    assert reason.format(file=tmp_path / "bad.py") in failures[0].reason


@pytest.mark.parametrize("data", [b"\xff\xfe\x00bad", b"x = 1\0\n", b"name = '\xe9'\n"])
def test_a_file_that_is_no_text_is_reported_by_its_name_and_the_others_load(tmp_path: Path, data: bytes) -> None:
    write(tmp_path, good=GOOD)
    (tmp_path / "bad.py").write_bytes(data)
    loaded, (failure,) = load_strategies(["bad", "good"], [tmp_path])
    assert [strategy.name for strategy in loaded] == ["good"]
    assert failure.reason.startswith("SyntaxError: ")
    assert f"at {tmp_path / 'bad.py'}:1" in failure.reason


def test_what_code_wants_to_judge_of_the_market_is_read_for_it(tmp_path: Path) -> None:
    names = "from shared.strategy import not_, spot_move\n"
    judging = '    market_conditions = (not_(spot_move(1, minutes=5)),)\n    name = "quoter"\n'
    write(tmp_path, quoter=names + QUOTER.replace('    name = "quoter"\n', judging))
    (loaded,), failures = load_strategies(["quoter"], [tmp_path])
    assert failures == []
    assert loaded.needs.candles == {("BTCUSD", "1m"): 6}
    write(
        tmp_path, quoter=QUOTER.replace('    name = "quoter"\n', '    name = "quoter"\n    market_conditions = 7\n')
    )
    _, (failure,) = load_strategies(["quoter"], [tmp_path])
    assert "market_conditions 7 of quoter must be a list of conditions" in failure.reason


def test_a_second_strategy_of_the_same_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path, good=GOOD, twin=GOOD.replace("def good", "def twin"))
    loaded, failures = load_strategies(["good", "twin"], [tmp_path])
    assert len(loaded) == 1
    assert f"the name 'good' is taken by {tmp_path / 'good.py'}" in failures[0].reason


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    _, failures = load_strategies(["ghost"], [tmp_path])
    assert str(tmp_path) in failures[0].reason
    assert failures[0].remedy == "add it, or take the name out of [strategy] enabled"


@pytest.mark.parametrize("mode", ["beta", "LIVE"])
def test_a_strategy_for_paper_trading_is_refused_where_keys_are_real(mode: Mode) -> None:
    loaded, failures = load_strategies(["demo_strangle", "micro_strangle"], mode=mode)
    assert [strategy.name for strategy in loaded] == ["micro_strangle"]
    assert f"paper trading only and this desk is {mode}" in failures[0].reason


SLOW = """
from shared.strategy import SmartConfig, StrategyConfig, strangle


def slow():
    return StrategyConfig(
        name="slow",
        legs=strangle(1),
        execution_mode="smart",
        smart_config=SmartConfig(chunk_count=50, time_per_chunk=60, total_duration_seconds=3_600),
        policy="{policy}",
    )
"""


def test_an_atomic_opening_that_may_take_longer_than_a_grant_is_refused_with_the_fields_and_the_remedy(
    tmp_path: Path,
) -> None:
    write(tmp_path, slow=SLOW.format(policy="atomic"), good=GOOD)
    most_s = 50 * (60 + 2 * 60 + 2 + 15)
    loaded, (failure,) = load_strategies(["slow", "good"], [tmp_path], granted_s=most_s - 1)
    assert [each.name for each in loaded] == ["good"]
    assert f"slow may take {most_s:,} s to open with execution_mode 'smart'" in failure.reason
    assert f"risk grants {most_s - 1:,} s at most" in failure.reason
    assert "lower chunk_count, time_per_chunk" in failure.reason
    assert "[risk] grant_ttl_max_ms" in failure.reason
    loaded, failures = load_strategies(["slow"], [tmp_path], granted_s=most_s)
    assert (len(loaded), failures) == (1, [])
    write(tmp_path, slow=SLOW.format(policy="best_effort"))
    assert load_strategies(["slow"], [tmp_path], granted_s=most_s - 1)[1] == []


def test_the_longest_grant_is_the_one_that_the_configuration_of_risk_allows(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    write(files, slow=SLOW.format(policy="atomic"))
    text = MINIMAL + '[strategy]\nenabled = ["slow"]\nfolders = ["files"]\n'
    loaded, failures = load_enabled(write_desk(tmp_path, text))
    assert ([each.name for each in loaded], failures) == (["slow"], [])
    loaded, (failure,) = load_enabled(write_desk(tmp_path, text + "[risk]\ngrant_ttl_max_ms = 1_000_000\n"))
    assert loaded == []
    assert "risk grants 985 s at most" in failure.reason
