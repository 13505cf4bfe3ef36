"""voldesk strategy new: a commented strategy file to begin with."""

from __future__ import annotations

import keyword
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.config import DeskConfig
from voldesk.console import EXIT_USAGE, Failure, Json, print_json, progress, say, title
from voldesk.preflight import load_desk
from voldesk.strategy_templates import DEFAULT_STRUCTURE, STRUCTURES, strategy_file

if TYPE_CHECKING:
    from services.strategy.config import StrategyHostConfig


def _structures(incomplete: str) -> list[str]:
    return [name for name in STRUCTURES if name.startswith(incomplete)]


def new(
    name: Annotated[str, typer.Argument(help="What it is called: letters, digits and '_'.")],
    like: Annotated[
        str,
        typer.Option(
            "--like",
            metavar="STRUCTURE",
            help=f"What it trades: {', '.join(STRUCTURES)}.",
            autocompletion=_structures,
        ),
    ] = DEFAULT_STRUCTURE,
    as_json: Json = False,
) -> None:
    """Make a commented strategy file to begin with. It loads and runs as it is, as a dry run that sends nothing.

    It is written into the first of the strategy host's `folders`, else into the desk's own strategies/, and loaded
    once as the host would. Nothing is overwritten, and voldesk.toml is not changed.
    """
    # imported here because strategies bring libraries that take longer to load than any other command takes to run
    from services.strategy.config import StrategyHostConfig
    from services.strategy.loader import STRATEGIES_FOLDER, folders_of

    desk = load_desk()
    config = desk.section("strategy", StrategyHostConfig)
    if like not in STRUCTURES:
        raise Failure(f"{like!r} is no structure", f"use one of: {', '.join(STRUCTURES)}", EXIT_USAGE)
    _check_name(desk, config, name)
    folder = (*folders_of(desk, config), STRATEGIES_FOLDER)[0]
    path = folder / f"{name}.py"
    _write(path, strategy_file(name, like))
    _load(desk, name, path)
    steps = _next_steps(desk, config, name, path)
    if as_json:
        print_json({"strategy": name, "structure": like, "file": str(path), "next_steps": steps})
        return
    say(f"{title(desk)}: {path} is there and loads; it trades {like}, as a dry run")
    for number, step in enumerate(steps, 1):
        say(f"{number}. {step}")


def _check_name(desk: DeskConfig, config: StrategyHostConfig, name: str) -> None:
    """Raises Failure for a name that a strategy cannot have, and for one that is taken."""
    from services.strategy.loader import folders_of, path_of
    from shared import strategy
    from shared.strategy.config import STRATEGY_NAME

    if not STRATEGY_NAME.fullmatch(name) or keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise Failure(
            f"{name!r} cannot be the name of a strategy",
            "use letters, digits and '_', a letter first, 64 at most, no word of Python",
            EXIT_USAGE,
        )
    if name in strategy.__all__ or name == "structures":
        remedy = f"choose another, such as my_{name}"
        raise Failure(f"{name!r} is a name that strategy files import from shared.strategy", remedy, EXIT_USAGE)
    taken = path_of(name, folders_of(desk, config), {})
    if taken is not None:
        raise Failure(f"{taken} is there already, and nothing is overwritten", "choose another name", EXIT_USAGE)
    if name in config.instances:
        where = f"[strategy.instances.{name}] of {desk.path}"
        raise Failure(f"{name!r} is the name of an instance, {where}", "choose another name", EXIT_USAGE)


def _write(path: Path, text: str) -> None:
    """Raises Failure where the file cannot be made. What was begun and not ended is taken away again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path.parent, error) from None
    try:
        # exclusively: whoever made it a moment ago keeps it
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise Failure(f"{path} is there already, and nothing is overwritten", "choose another name") from None
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> Failure:
    remedy = 'give a folder that can be: [strategy] folders = ["my_strategies"] in voldesk.toml, relative to it'
    return Failure(f"{path} cannot be written: {error.strerror}", remedy)


def _load(desk: DeskConfig, name: str, path: Path) -> None:
    """Load it as the host would. Raises Failure where that fails; the file stays, for whoever looks."""
    from services.strategy.validation import validate

    with progress(f"loading {name} as the host would"):
        files = validate(desk, [name])
    if files.failures:
        raise Failure(f"{path} does not load: {files.failures[0].reason}", "correct it, then: voldesk check-config")


def _next_steps(desk: DeskConfig, config: StrategyHostConfig, name: str, path: Path) -> list[str]:
    enabled = ", ".join(f'"{each}"' for each in (*config.enabled, name))
    return [
        f"say in {path} what it bets on, and fit the legs, conditions and numbers to it",
        f"name it in {desk.path}: [strategy] enabled = [{enabled}]",
        "voldesk check-config, then voldesk restart strategy",
        f"voldesk strategy show {name}: what it would open now; voldesk why {name}: what it waits for",
        f"voldesk strategy dry-run {name}: the trades that it would have made",
        f"take dry_run=True out of {path} to trade: a running host takes the changed file within seconds",
    ]
