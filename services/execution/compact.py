"""Makes a snapshot of execution's journal in a process of its own, so that the service does not stand still for it.

    python -m services.execution.compact [--verify]

Folds the newest snapshot and the rows after it, read from the journal's file, and writes the result beside it. The
service starts this by itself. With --verify every row of the journal is read and checked first, those too that no
start reads any more. Prints one line of JSON: {"sequence": ..., "rows": ..., "bytes": ...}, or {"damaged": "..."}.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.fold import snapshots_of
from services.execution.rows import Row
from shared.config import load_config
from shared.entries import START, JournalReader
from shared.errors import JournalDamaged, StartRefused
from shared.service.journals import binding_of, journal_path

_NICENESS = 10
_ROWS_PER_LOOK = 1_000


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m services.execution.compact",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m services.execution.compact --verify",
    )
    parser.add_argument("--verify", action="store_true", help="read and check every row of the journal first")
    arguments = parser.parse_args()
    os.umask(0o077)
    # a wish: a sandbox may refuse it, and a snapshot is needed there too
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    try:
        print(json.dumps(compact(verify=arguments.verify)))
    except JournalDamaged as damage:
        print(json.dumps({"damaged": damage.reason}))
    except StartRefused as error:
        print(error, file=sys.stderr)
        return 78
    except OSError as error:
        print(f"the snapshot cannot be written: {error}", file=sys.stderr)
        return 1
    return 0


def compact(*, verify: bool) -> dict[str, int]:
    """What `main` prints. Raises JournalDamaged, StartRefused and OSError."""
    parent = os.getppid()
    desk = load_config()
    config = desk.section("execution", ExecutionConfig)
    path, binding = journal_path(desk, "execution"), binding_of(desk)
    reader = JournalReader(path, binding, Row)
    try:
        if verify:
            for _ in reader.entries():
                pass
        snapshots = snapshots_of(path, binding, config)
        begun, book = snapshots.newest(reader.tail) or (START, Book.empty(config))
        tail = begun
        for last, entry in reader.entries(begun):
            book.apply(entry)
            tail = last
            if tail.sequence % _ROWS_PER_LOOK == 0 and os.getppid() != parent:
                raise StartRefused("the service that wanted a snapshot has ended")
        size_bytes = 0
        if tail.checksum is not None and tail != begun:
            size_bytes = snapshots.write(tail, book).stat().st_size
        return {"sequence": tail.sequence, "rows": tail.sequence - begun.sequence, "bytes": size_bytes}
    finally:
        reader.close()


if __name__ == "__main__":
    sys.exit(main())
