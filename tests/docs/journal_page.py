"""docs/journal.md: what the journal is, and the SQL tables, made from `services/execution/tables.py`.

After a change there: ``python -m tests.docs.journal_page > docs/journal.md``.
"""

from __future__ import annotations

import sys

from services.execution.tables import TABLES
from shared.config import JournalSection

_INTRODUCTION = """# The journal

Execution writes every decision and every fact to one SQLite file per account,
`journals/execution-<account>.sqlite3` in the run directory, before anything of it leaves the process. The file is
append-only, and what execution knows is the fold of its rows. It keeps all rows for ever.

Each row carries a checksum over itself and the one before it. Beside the file lie:

| file | what it is | if it is lost |
|---|---|---|
| `-wal`, `-shm` | SQLite's write-ahead log and its index | rows: keep them with the file |
| `.snapshot-<row>` | the fold up to that row, so that a start replays only the rest; two of them | a longer start |
| `.rows` | how many rows there were, so that a journal that lost its end is noticed | nothing |
| `.reserve` | space for closes on a full disk | taken again |
| `.unwritten` | what could not be written, empty when all is well | nothing, if it was empty |
| `.damaged` | what a commit met in a damaged file: the next start reads all of it before it is used | that check |
| `.lock` | which process has it open | nothing |
| `.quarantined-<time>` | a journal or a snapshot that could not be trusted | `voldesk doctor` lists them |

A snapshot is made by a process beside execution after every {snapshot_rows:,} rows (`[journal] snapshot_rows`):
[snapshots](decisions/snapshots.md). What happens to a damaged file: [a damaged journal](decisions/damaged-journal.md)
and [bad days](bad-days.md). To move a journal to another place, stop the desk and move the file with all that lies
beside it. To restore one from a copy, stop the desk, remove the file's `-wal` and `-shm`, leave what else lies beside
it, and put the copy, with its own `-wal`, in its place: that rows are missing in it is noticed by `.rows` and told.
To begin a new one on purpose: `.venv/bin/python -m shared.store quarantine FILE`.

Sales of the [cash rule](cash.md) are rows of their own (`cash_sale_requested`, `cash_sale_moved`): they belong to no
trade, and `voldesk cash` shows them.

`voldesk trade ID` tells the story of any trade that the journal has. Execution itself keeps a trade that has ended in
memory for `[execution] retention_days`; an older one, or any while execution is down, is read from the file.
Orders of a quoting strategy that ended unfilled leave memory after `[execution] unfilled_orders_kept_s`. What leaves
it, and when, is written in the journal, so that a changed setting reads what was written under another one.

## Asking it with SQL

```
voldesk journal sql "SELECT strategy, count(*), decimal_sum(realized_pnl_usd) AS pnl FROM trades GROUP BY strategy"
voldesk journal sql "SELECT datetime(at_ns / 1000000000, 'unixepoch') AS at, code, detail FROM entry_decisions
  WHERE decision = 'refused' ORDER BY at_ns DESC" --json
```

`sql` first brings the tables up to date: they lie in `tables/execution-<account>.sqlite3` in the run directory, are
made from the journal alone, and take in only the rows since the last time. It works whether the desk runs or not and
can change nothing. Any SQLite tool may read that file. `voldesk journal rebuild` makes it anew, and so does `sql`
when another journal or another version of the desk made it, or when it meets damage in it: the file is not synced,
so a power cut can leave it so, and all of it is in the journal. Rebuilding a million rows takes a minute or two.

Amounts, prices and quantities are TEXT, every digit as it was. `decimal_sum(x)` adds them up exactly; SQLite's own
`sum` makes floating-point numbers of them. A time `..._ns` is UTC in nanoseconds.
The tables are written with Python's `sqlite3` alone: there is one target and one writer, and nothing for a toolkit in
between to do.
"""


def journal_page() -> str:
    """The whole page as Markdown."""
    parts = [_INTRODUCTION.format(snapshot_rows=JournalSection().snapshot_rows)]
    for table in TABLES:
        parts += [f"## {table.name}", "", table.about, "", "| column | type | |", "|---|---|---|"]
        parts += [
            f"| {_named(column.name, table.key)} | {column.kind} | {column.about} |" for column in table.columns
        ]
        parts.append("")
    return "\n".join(parts)


def _named(name: str, key: tuple[str, ...]) -> str:
    return f"`{name}` (key)" if name in key else f"`{name}`"


if __name__ == "__main__":
    sys.stdout.write(journal_page())
