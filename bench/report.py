"""The figures of bench/results.json as the table of docs/performance.md, so that no number there is typed by hand.

    python -m bench.report [--write]

Prints the Markdown; with --write it takes the place of the old one, between the two marks in the page.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.results import PATH, Results, read
from bench.rows import COLUMNS, Row, cells, notes

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: written by python -m bench.report --write -->", "<!-- end of figures -->"
_RIGHT = {"value", "its value", "ratio", "target"}


def markdown(results: Results) -> str:
    """One table, notes, and of each bench when and on which machine it was measured."""
    if not results.benches:
        return "No full run has been kept yet.\n"
    lines = [
        "| bench | " + " | ".join(COLUMNS) + " |",
        "|---|" + "|".join("--:" if column in _RIGHT else "---" for column in COLUMNS) + "|",
    ]
    rows = [(name, one) for name in results.benches for one in results.rows(name)]
    lines += [_line(name, one) for name, one in rows]
    told_notes = notes(one for _, one in rows)
    if told_notes:
        lines += ["", *(f"- {note}" for note in told_notes)]
    return "\n".join([*lines, "", *_measured(results)]) + "\n"


def _measured(results: Results) -> list[str]:
    machines = list(dict.fromkeys(_machine(bench) for bench in results.benches.values()))
    lines = ["| bench | measured | load averages before | machine |", "|---|---|---|--:|"]
    lines += [
        f"| {name} | {bench['measured']} | {bench['load_average_before']} | {machines.index(_machine(bench)) + 1} |"
        for name, bench in results.benches.items()
    ]
    return [*lines, "", *(f"{number}. {told}" for number, told in enumerate(machines, 1))]


def _machine(bench: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in bench["machine"].items())


def _line(bench: str, one: Row) -> str:
    texts = [text.replace("|", "\\|") for text in (bench, *cells(one))]
    return "| " + " | ".join(texts) + " |"


def with_figures(page: str, figures: str) -> str:
    """The page with new figures between its marks. Raises ValueError when it has none."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN if not begin else END}")
    return f"{head}{BEGIN}\n\n{figures}\n{END}{tail}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.report",
        description=__doc__,
        epilog="example: python -m bench.report --write",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--write", action="store_true", help=f"put it into {PAGE.name}")
    parser.add_argument("--json", action="store_true", help="print the kept results as they are")
    arguments = parser.parse_args()
    try:
        results = read()
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if not results.benches:
        print(f"bench: there is no {PATH.name}: run `make bench` first", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"benches": results.benches}, indent=2, ensure_ascii=False))
    elif arguments.write:
        PAGE.write_text(with_figures(PAGE.read_text(), markdown(results)))
    else:
        print(markdown(results), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
