"""Mistakes in a command are one line with a remedy; every command explains itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest
from typer.main import get_command

from tests.unit.voldesk.peers import Ran
from voldesk import commands
from voldesk.main import COMMANDS as LINES
from voldesk.main import Deferred, app

GROUPS = {("exchange",), ("hedge",), ("journal",), ("rfq",), ("strategy",)}
"""Commands that only hold others: they have an example and no --json of their own."""


def every_command() -> Iterator[tuple[str, ...]]:
    """The path of every command that the program has, groups included."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if path:
            yield path
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner.load() if isinstance(inner, Deferred) else inner, (*path, name))

    return walk(get_command(app), ())


COMMANDS = list(every_command())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_and_json(home: Path, command: tuple[str, ...]) -> None:
    ran = Ran(*command, "--help")
    assert ran.code == 0
    assert f"Example: voldesk {' '.join(command)}" in " ".join(ran.out.split())
    assert ("--json" in ran.out) == (command not in GROUPS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_help_names_a_section_in_brackets(command: tuple[str, ...]) -> None:
    """The help is shown as markup, in which `[execution]` is a style that nobody sees."""
    found = get_command(app)
    for name in command:
        found = found.commands[name]  # type: ignore[attr-defined]
        found = found.load() if isinstance(found, Deferred) else found
    texts = [found.help, found.epilog, *(getattr(each, "help", "") for each in found.params)]
    assert [text for text in texts if re.search(r"\[[a-z_.]+\]", text or "")] == []


def test_the_help_lists_every_module_of_commands_by_the_first_paragraph_of_its_own_help(home: Path) -> None:
    modules = {each.name.replace("_", "-") for each in iter_modules(commands.__path__)}
    assert set(LINES) == modules
    for name, line in LINES.items():
        own = str(Deferred(name).load().help)
        assert line == " ".join(own.split("\n\n")[0].split())
    shown = " ".join(Ran("--help").out.replace("│", " ").split())
    assert [name for name, line in LINES.items() if f"{name} {line}" not in shown] == []


def test_every_command_is_in_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text()
    assert len(COMMANDS) > 25
    missing = [path for path in COMMANDS if not re.search(rf"`{path[0]}[ `,]", page) or path[-1] not in page]
    assert missing == []


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["bogus"], "bogus"),
        (["trade"], "trade_id"),
        (["close", "t1", "t2"], "t2"),
        (["trades", "--limit", "0"], "--limit"),
        (["halt", "--level", "explode"], "explode"),
        (["cancel"], "say what to cancel"),
        (["cancel", "12", "--all"], "say what to cancel"),
        (["cancel", "--trade", "t1", "--all"], "say what to cancel"),
        (["cancel", "twelve", "--yes"], "'twelve' is no order"),
        (["cancel", "t1.0.explode.1", "--yes"], "is no order"),
        (["cancel", "t1.99.open.1", "--yes"], "is no order"),
        (["restart", "riks"], "use one of: exchange, marketdata, risk"),
        (["logs", "riks"], "use one of: exchange"),
        (["flatten", "--force"], "--force belongs to --direct"),
        (["strategies", "explode"], "explode"),
        (["chain", "DOGE"], "use one of: BTCUSD"),
        (["book", "BTCUSD-4DEC26-100000-C", "--levels", "0"], "--levels"),
        (["why"], "strategy"),
        (["tap", "bogus"], "known are: md.BTCUSD.instruments"),
        (["tap", "md.DOGEUSD"], "known are: md.BTCUSD.instruments"),
        (["tap", "sys.", "-n", "0"], "'-n'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_ends_with_2(home: Path, command: list[str], says: str) -> None:
    ran = Ran(*command)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("voldesk: ")
    assert says in ran.err


def test_the_version_is_printed(home: Path) -> None:
    ran = Ran("--version")
    assert (ran.code, ran.out) == (0, f"voldesk {version('voldesk')}\n")


def test_no_command_at_all_shows_the_help(home: Path) -> None:
    ran = Ran()
    assert ran.code == 0
    assert "check-config" in ran.out


@pytest.mark.parametrize("command", ["trades", "account", "strategies", "halt", "chain BTC", "book X", "tap exec."])
def test_a_desk_that_was_never_started_is_not_reachable(home: Path, command: str) -> None:
    ran = Ran(*command.split())
    assert (ran.code, ran.out) == (69, "")
    assert ran.err == f"voldesk: the desk was never started in {home / 'run'}; start it with `voldesk up`\n"
    assert not (home / "run").exists()


def test_down_of_a_desk_that_does_not_run_is_no_error(home: Path) -> None:
    assert "was not running" in Ran("down").out
    assert Ran("down", "--json").code == 0


def test_restart_needs_a_running_desk(home: Path) -> None:
    ran = Ran("restart", "risk")
    assert ran.code == 69
    assert "the desk is not running; start it with `voldesk up`" in ran.err
