"""Rows with typed columns, written to a file as CSV or Parquet: whole, or not at all."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

from shared.views import iso, plain
from voldesk.console import Failure

Kind = Literal["text", "integer", "amount", "number", "time", "flag"]
"""amount: Decimal. number: float. time: ns since 1970 UTC. Each may be None, but for a flag."""

Format = Literal["csv", "parquet"]

_SCALE = 18
"""Digits after the point in Parquet, 20 stand before it; a longer quotient is rounded there."""


class Column(NamedTuple):
    """read: takes the value from a row."""

    name: str
    kind: Kind
    read: Callable[[Any], Any]


def write_rows(path: Path, form: Format, columns: Sequence[Column], rows: Sequence[Any]) -> None:
    """Write beside `path` first, then in its place. Raises OSError, Failure where the library is missing."""
    writing = {"csv": _write_csv, "parquet": _write_parquet}[form]
    if form == "parquet" and find_spec("pyarrow") is None:
        raise Failure(
            "Parquet needs the library pyarrow, which is not installed",
            "make install-parquet (the extra `parquet`), or --format csv",
        )
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        writing(beside, columns, rows)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _write_csv(path: Path, columns: Sequence[Column], rows: Iterable[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column.name for column in columns])
        for row in rows:
            writer.writerow([_text(column.kind, column.read(row)) for column in columns])


def _text(kind: Kind, value: Any) -> str:
    if value is None:
        return ""
    match kind:
        case "amount":
            return str(plain(value))
        case "time":
            return str(iso(value))
        case "number":
            return repr(value)
        case "flag":
            return "true" if value else "false"
        case _:
            return str(value)


def _write_parquet(path: Path, columns: Sequence[Column], rows: Sequence[Any]) -> None:
    # imported here: it takes longer than the rest of the command, and is an extra
    import pyarrow
    from pyarrow import parquet

    types = {
        "text": pyarrow.string(),
        "integer": pyarrow.int64(),
        "amount": pyarrow.decimal128(38, _SCALE),
        "number": pyarrow.float64(),
        "time": pyarrow.timestamp("ns", tz="UTC"),
        "flag": pyarrow.bool_(),
    }
    arrays = {}
    for column in columns:
        values = [column.read(row) for row in rows]
        if column.kind == "amount":
            values = [_scaled(value) for value in values]
        arrays[column.name] = pyarrow.array(values, type=types[column.kind])
    parquet.write_table(pyarrow.table(arrays), path)


def _scaled(value: Decimal | None) -> Decimal | None:
    if value is None or -int(value.as_tuple().exponent) <= _SCALE:
        return value
    return round(value, _SCALE)
