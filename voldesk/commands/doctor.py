"""voldesk doctor: what is wrong with this desk, and what to do about it."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voldesk.console import Failure, Json, print_json, progress
from voldesk.findings import Finding

_WORDS = {"ok": "[green]ok[/green]", "warning": "[yellow]WARNING[/yellow]", "problem": "[red]PROBLEM[/red]"}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: voldesk doctor")(doctor)


def doctor(as_json: Json = False) -> None:
    """Examine configuration, ports, clock, keys, disk, journals, versions, venue and services; changes nothing.

    Works with the desk up or down. Ends with 1 when there is a problem, with 0 when there are only warnings or none.
    """
    # imported here because what it looks with takes longer to load than any other command takes to run
    from voldesk.doctor import examine

    with progress("examining") as tell:
        findings: list[Finding] = examine(lambda what: tell(f"examining {what}"))
    problems = sum(finding.level == "problem" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if as_json:
        print_json(
            [
                {
                    "check": finding.check,
                    "level": finding.level,
                    "finding": finding.text,
                    "remedy": finding.remedy or None,
                }
                for finding in findings
            ]
        )
    else:
        table = Table(box=None, padding=(0, 1))
        for column in ("check", "", "finding and remedy"):
            table.add_column(column, overflow="fold", no_wrap=column == "check")
        for finding in findings:
            remedy = f"\n[bold]→ {escape(finding.remedy)}[/bold]" if finding.remedy else ""
            table.add_row(finding.check, _WORDS[finding.level], escape(finding.text) + remedy)
        console = Console(file=sys.stdout, highlight=False)
        console.print(table)
        console.print(f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}")
    if problems:
        raise Failure(f"the doctor found {_count(problems, 'problem')}", "each finding names its remedy")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
