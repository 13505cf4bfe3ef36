"""The record that `voldesk flatten --direct` leaves in the run directory: JSON lines, written before each step.

Execution reads it when it comes back, so that what was closed meanwhile is booked as what it was.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from shared.ids import parse_client_order_id
from shared.messages.control import FLATTEN_DIRECT, DirectFlattenRecord, DirectOrder

RECORD_NAME = "flatten-direct.jsonl"
ORDERS_MAX = 2_000
"""The newest orders of a record that is read: a flatten sends some per position and second, for minutes."""
_BYTES_MAX = 4 * 1024 * 1024


def record_path(run_dir: Path) -> Path:
    """Where every direct flatten of a desk writes; each run goes on behind the one before."""
    return run_dir / RECORD_NAME


def record_stamp(run_dir: Path) -> tuple[int, int] | None:
    """Changes when the record does; None while there is none."""
    try:
        found = record_path(run_dir).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def read_record(run_dir: Path, desk_number: int) -> list[DirectFlattenRecord]:
    """Per run, oldest first, the orders that were announced, none that is not this desk's by its id.

    A line that is not whole, as the last one of a run that was killed, is passed over. Empty when there is no record.
    """
    try:
        with record_path(run_dir).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _BYTES_MAX))
            lines = file.read().splitlines()
    except OSError:
        return []
    runs: dict[str, dict[str, Any]] = {}
    orders: dict[int, tuple[str, DirectOrder]] = {}
    run_id = ""
    for line in lines:
        try:
            step = json.loads(line)
        except ValueError:
            continue
        if not isinstance(step, dict):
            continue
        if step.get("step") == "begin" and isinstance(step.get("run_id"), str):
            run_id = step["run_id"]
            runs[run_id] = step
        elif (order := _order(step, desk_number)) is not None:
            orders[order.client_order_id] = run_id, order
        elif step.get("step") == "close_answer":
            _name(orders, step)
    newest = list(orders.values())[-ORDERS_MAX:]
    return [
        DirectFlattenRecord(
            run_id=name,
            raised_by=_text(runs.get(name, {}), "by") or FLATTEN_DIRECT,
            reason=_text(runs.get(name, {}), "reason"),
            orders=tuple(order for run, order in newest if run == name),
        )
        for name in dict.fromkeys(run for run, _ in newest)
    ]


def _order(step: dict[str, Any], desk_number: int) -> DirectOrder | None:
    """The order that a line announces; None for any other line."""
    if step.get("step") != "close":
        return None
    try:
        number = int(step["client_order_id"])
        key = parse_client_order_id(number, desk_number)
        if key is None or key.purpose != "flatten" or step["side"] not in ("buy", "sell"):
            return None
        return DirectOrder(
            client_order_id=number,
            symbol=str(step["symbol"]),
            side=step["side"],
            quantity=Decimal(step["quantity"]),
            at_ns=int(step.get("at_ns", 0)),
        )
    except (KeyError, TypeError, ValueError, InvalidOperation):
        return None


def _name(orders: dict[int, tuple[str, DirectOrder]], step: dict[str, Any]) -> None:
    """The venue took an order: note what it calls it."""
    try:
        number, venue_order_id = int(step["client_order_id"]), int(step["venue_order_id"])
    except (KeyError, TypeError, ValueError):
        return
    if number in orders:
        run_id, order = orders[number]
        orders[number] = run_id, msgspec.structs.replace(order, venue_order_id=venue_order_id)


def _text(step: dict[str, Any], name: str) -> str:
    value = step.get(name)
    return value[:200] if isinstance(value, str) else ""
