"""voldesk journal: execution's journal as SQL tables."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from services.execution.tables import TABLES
from voldesk.console import Json, note, print_json, print_table, progress, say
from voldesk.journal_tables import query, refresh
from voldesk.preflight import load_desk

_EXAMPLE = '"SELECT strategy, count(*) AS trades, decimal_sum(fees_usd) AS fees FROM trades GROUP BY strategy"'


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        no_args_is_help=True,
        help="Ask execution's journal with SQL. It is read from its file, whether the desk runs or not.",
        epilog=f"Example: voldesk journal sql {_EXAMPLE}",
    )
    group.command(epilog=f"Example: voldesk journal sql {_EXAMPLE}")(sql)
    group.command(epilog="Example: voldesk journal tables")(tables)
    group.command(epilog="Example: voldesk journal rebuild")(rebuild)
    app.add_typer(group, name="journal")


def sql(
    statement: Annotated[str, typer.Argument(help="A SELECT; docs/journal.md describes the tables.")],
    limit: Annotated[int, typer.Option(help="Print no more rows than this.", min=1, max=1_000_000)] = 1_000,
    as_json: Json = False,
) -> None:
    """Bring the tables up to date with the journal and print what a SELECT finds. Nothing can be changed by it."""
    desk = load_desk()
    with progress("reading the journal") as tell:
        refresh(desk, tell)
    names, found = query(desk, statement, limit + 1)
    cut = len(found) > limit
    found = found[:limit]
    if as_json:
        print_json([dict(zip(names, map(_plain, row), strict=True)) for row in found])
    else:
        numbers = [name for index, name in enumerate(names) if found and all(_is_number(row[index]) for row in found)]
        print_table(
            desk, "journal", names, [[escape(_shown(value)) for value in row] for row in found], right=numbers
        )
    if cut:
        note(f"the first {limit:,} rows; ask for more with --limit")


def tables(as_json: Json = False) -> None:
    """List the tables and what each column holds."""
    if as_json:
        print_json(
            [
                {
                    "table": table.name,
                    "about": table.about,
                    "key": table.key,
                    "columns": [
                        {"name": column.name, "type": column.kind, "about": column.about} for column in table.columns
                    ],
                }
                for table in TABLES
            ]
        )
        return
    desk = load_desk()
    for table in TABLES:
        say(f"{table.name}: {table.about}")
        print_table(
            desk,
            table.name,
            ("column", "type", ""),
            [(column.name, column.kind, escape(column.about)) for column in table.columns],
        )


def rebuild(as_json: Json = False) -> None:
    """Make the tables anew from the whole journal. `sql` does so by itself where it must; this is for certainty."""
    desk = load_desk()
    with progress("reading the journal") as tell:
        built = refresh(desk, tell, rebuild=True)
    if as_json:
        print_json(built)
    else:
        say(f"{built.rows_read:,} rows of the journal are in {built.file}")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _shown(value: Any) -> str:
    return "" if value is None else str(_plain(value))


def _is_number(value: Any) -> bool:
    if value is None or isinstance(value, int | float):
        return True
    return isinstance(value, str) and value.removeprefix("-").replace(".", "", 1).isdecimal()
