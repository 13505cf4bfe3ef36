"""The guide for newcomers: each of its steps is taken, in its order, and shows what the page shows."""

from __future__ import annotations

import doctest
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.strategy import loader
from services.strategy.config import StrategyHostConfig
from tests.docs.pages import Block, blocks, page
from tests.unit.voldesk.peers import Ran

PAGE = page("strategy-guide.md")
DESK = '[desk]\nvenue = "sim"\nunderlyings = ["BTCUSD", "ETHUSD"]\n'

FOLDERS, ENABLED, INSTANCES = blocks(PAGE, "toml")
NEW, PYTEST, CHECK = blocks(PAGE, "console")
FILE, MISTAKE, TESTS = blocks(PAGE, "python")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desk as the page has it after its first block."""
    (tmp_path / "voldesk.toml").write_text(DESK + FOLDERS.code)
    monkeypatch.setenv("VOLDESK_CONFIG", str(tmp_path / "voldesk.toml"))
    monkeypatch.setenv("VOLDESK_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_the_file(home: Path) -> Path:
    folder = home / "my_strategies"
    folder.mkdir(exist_ok=True)
    (folder / "quiet_week.py").write_text(FILE.code)
    return folder


def ran(block: Block, home: Path) -> tuple[str, str]:
    """What the command of a block printed, with paths as the page has them, and what the page says of it."""
    command, _, shown = block.code.partition("\n")
    done = Ran(*command.removeprefix("$ voldesk ").split())
    assert done.code == 0, done.err
    return done.out.replace(f"{home}/", ""), shown


def test_every_block_is_taken_up_here() -> None:
    assert {block.language for block in blocks(PAGE)} == {"toml", "console", "python"}


def test_the_command_makes_the_file_and_says_what_the_page_shows(home: Path) -> None:
    printed, shown = ran(NEW, home)
    assert printed == shown
    loaded, failures = loader.load_strategies(["quiet_week"], [home / "my_strategies"])
    assert failures == []
    assert loaded[0].name == "quiet_week"


def test_the_file_of_the_page_is_told_to_load_by_the_command_of_the_page(home: Path) -> None:
    with_the_file(home)
    (home / "voldesk.toml").write_text(DESK + ENABLED.code)
    printed, shown = ran(CHECK, home)
    assert shown.strip() in printed


def test_the_mistake_of_the_page_is_answered_as_it_shows(home: Path) -> None:
    names: dict[str, Any] = {}
    exec(FILE.code, names)
    example = doctest.DocTestParser().get_doctest(MISTAKE.code, names, "strategy-guide.md", None, MISTAKE.line)
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)


def test_the_tests_of_the_page_pass(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (with_the_file(home) / "test_quiet_week.py").write_text(TESTS.code)
    command, _, shown = PYTEST.code.partition("\n")
    program, *arguments = command.removeprefix("$ ").split()
    assert program == "python"
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=home, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[:2] == shown.split()
    assert "3 passed" in done.stdout


def test_the_file_runs_as_the_instances_of_the_page(home: Path) -> None:
    folder = with_the_file(home)
    config = msgspec.convert(tomllib.loads(INSTANCES.code)["strategy"], StrategyHostConfig)
    loaded, failures = loader.load_strategies(config.enabled, [folder], instances=config.instances)
    assert failures == []
    assert [strategy.name for strategy in loaded] == ["quiet_week", "quiet_week_eth"]
