"""What every bench shares: its command line, its progress, and how its rows are printed."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import track

from bench.rows import Row, notes, screen, table, to_json

StepT = TypeVar("StepT")


@dataclass(frozen=True, slots=True)
class Run:
    """How a bench was asked to run. `quick`: few and short rounds, whose figures are not to be quoted."""

    quick: bool
    arguments: argparse.Namespace

    def rounds(self, full: int, description: str, quick: int = 1) -> Iterable[int]:
        """Count the rounds off, one at least, with a progress bar on standard error."""
        return self.track(range(quick if self.quick else full), description)

    def track(self, steps: Sequence[StepT], description: str) -> Iterable[StepT]:
        """Go through `steps` with a progress bar on standard error."""
        return track(steps, description, console=Console(stderr=True), transient=True)


def bench_main(
    doc: str | None,
    measure: Callable[[Run], list[Row]],
    add_arguments: Callable[[argparse.ArgumentParser], Any] | None = None,
) -> int:
    """The command line of one bench: `--json`, `--quick`, and its own arguments if it has any."""
    name = sys.modules["__main__"].__spec__
    program = f"python -m {name.name}" if name else None
    parser = argparse.ArgumentParser(
        prog=program,
        description=doc,
        epilog=f"example: {program} --quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the rows as a JSON array instead of a table")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: to try it out, not to quote")
    if add_arguments is not None:
        add_arguments(parser)
    arguments = parser.parse_args()
    rows = measure(Run(arguments.quick, arguments))
    if arguments.json:
        print(json.dumps(to_json(rows), indent=2, ensure_ascii=False))
        return 0
    console = screen()
    console.print(table({"": rows}, "QUICK RUN: figures not to be quoted" if arguments.quick else ""))
    for note in notes(rows):
        console.print(note, highlight=False, markup=False)
    return 0
