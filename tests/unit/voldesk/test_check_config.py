"""`check-config` loads what is enabled and says where it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.config import load_config
from tests.unit.voldesk.peers import Ran
from voldesk.strategy_files import check_strategy_files

GOOD = """
from shared.strategy import StrategyConfig, max_hold_hours, strangle

print("not part of any answer")


def good() -> StrategyConfig:
    return StrategyConfig(
        name="good",
        legs=strangle(qty="0.1", call_delta=0.3, put_delta=-0.3, side="buy", underlying="BTCUSD"),
        exit_conditions=[max_hold_hours(1)],
    )
"""


def enable(home: Path, **files: str) -> None:
    names = ", ".join(f'"{name}"' for name in files)
    path = home / "voldesk.toml"
    path.write_text(path.read_text() + f'\n[strategy]\nenabled = [{names}]\nfolders = ["mine"]\n')
    (home / "mine").mkdir()
    for name, text in files.items():
        if text:
            (home / "mine" / f"{name}.py").write_text(text)


def test_strategies_that_load_are_named(home: Path) -> None:
    enable(home, good=GOOD)
    assert json.loads(Ran("check-config", "--json").out)["strategies"] == ["good"]
    assert not (home / "run").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no file bad.py in "),
        ("x = 1\n\ndef broken(:\n", "mine/bad.py:3"),
        ("\nraise RuntimeError('no data')\n", "no data at {home}/mine/bad.py:2"),
        ("import os\nos._exit(3)\n", "ended with code 3"),
    ],
    ids=["missing", "syntax", "raises", "ends the process"],
)
def test_a_file_that_does_not_load_is_a_mistake_with_file_and_line(home: Path, text: str, says: str) -> None:
    enable(home, bad=text, good=GOOD)
    ran = Ran("check-config")
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.count("\n") == 1
    assert "strategy bad" in ran.err
    assert says.format(home=home) in ran.err
    assert ran.err.count("take the name out of [strategy] enabled") == 1


def test_a_bus_that_would_be_open_to_others_is_a_mistake_before_anything_starts(home: Path) -> None:
    path = home / "voldesk.toml"
    path.write_text(path.read_text() + '[bus]\ntransport = "tcp"\nhost = "0.0.0.0"\n')
    ran = Ran("check-config")
    assert (ran.code, ran.out) == (78, "")
    assert "set curve = true" in ran.err


def test_a_file_that_never_ends_is_given_up(home: Path) -> None:
    enable(home, bad="while True:\n    pass\n")
    (failure,) = check_strategy_files(load_config(), patience_s=2.0).failures
    assert "not loaded within 2 s" in failure.reason


def test_a_strategy_is_given_no_secret_of_this_shell(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINCALL_API_SECRET_PROD", "s3cret")
    enable(home, bad="import os\nraise RuntimeError(os.environ.get('COINCALL_API_SECRET_PROD', 'unset'))\n")
    assert "unset at" in Ran("check-config").err
