"""The record of a direct flatten as execution reads it: its orders, whatever state the file is in."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared import flatten_record
from shared.flatten_record import read_record, record_path, record_stamp
from shared.ids import OrderKey, client_order_id
from shared.messages.control import DirectFlattenRecord

DESK = 7


def number(attempt: int, desk: int = DESK, purpose: Any = "flatten") -> int:
    return client_order_id(OrderKey(desk=desk, trade_number=1_000_000, leg_index=0, purpose=purpose, attempt=attempt))


def close(attempt: int, **changes: Any) -> dict[str, Any]:
    return {
        "at_ns": 5,
        "step": "close",
        "symbol": "BTCUSD-27MAR26-100000-C",
        "side": "sell",
        "quantity": "0.10",
        "price": "100",
        "mark": 100.2,
        "round": attempt + 1,
        "client_order_id": str(number(attempt)),
    } | changes


def begin(run_id: str, reason: str = "host lost") -> dict[str, Any]:
    return {"at_ns": 4, "step": "begin", "run_id": run_id, "by": "flatten --direct", "reason": reason}


def read(run_dir: Path, *lines: Any) -> list[DirectFlattenRecord]:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    record_path(run_dir).write_text("\n".join(texts) + "\n")
    return read_record(run_dir, DESK)


def test_each_run_names_its_orders_who_sent_them_and_why(tmp_path: Path) -> None:
    answer = {"step": "close_answer", "client_order_id": str(number(1)), "venue_order_id": "77"}
    first, second = read(tmp_path, begin("a"), close(0), begin("b", "again"), close(1), answer, {"step": "flat"})
    assert (first.run_id, first.raised_by, first.reason) == ("a", "flatten --direct", "host lost")
    assert (second.run_id, second.reason) == ("b", "again")
    (order,) = second.orders
    assert (order.client_order_id, order.symbol, order.side) == (number(1), "BTCUSD-27MAR26-100000-C", "sell")
    assert (order.quantity, order.at_ns, order.venue_order_id) == (Decimal("0.10"), 5, 77)
    assert first.orders[0].venue_order_id is None


def test_a_record_that_nobody_wrote_is_empty_and_has_no_stamp(tmp_path: Path) -> None:
    assert (read_record(tmp_path, DESK), record_stamp(tmp_path)) == ([], None)


def test_the_stamp_changes_with_each_line(tmp_path: Path) -> None:
    read(tmp_path, begin("a"))
    before = record_stamp(tmp_path)
    read(tmp_path, begin("a"), close(0))
    assert record_stamp(tmp_path) != before


@pytest.mark.parametrize(
    "line",
    [
        '{"step": "clo',
        "[]",
        "17",
        "\x00\x00",
        close(0, client_order_id="many"),
        close(0, client_order_id=str(number(0, desk=8))),
        close(0, client_order_id=str(number(0, purpose="close"))),
        close(0, side="up"),
        close(0, quantity="much"),
        {"step": "close"},
        {"step": "close_answer", "client_order_id": "9", "venue_order_id": None},
    ],
    ids=str,
)
def test_a_line_that_is_torn_or_not_of_this_desk_is_passed_over(tmp_path: Path, line: Any) -> None:
    (record,) = read(tmp_path, begin("a"), line, close(1))
    assert [order.client_order_id for order in record.orders] == [number(1)]


def test_a_run_whose_beginning_is_lost_still_names_its_orders(tmp_path: Path) -> None:
    (record,) = read(tmp_path, close(0))
    assert (record.run_id, record.raised_by, record.reason) == ("", "flatten --direct", "")


def test_of_a_long_record_the_newest_orders_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten_record, "ORDERS_MAX", 3)
    (record,) = read(tmp_path, begin("a"), *(close(attempt) for attempt in range(5)))
    assert [order.client_order_id for order in record.orders] == [number(attempt) for attempt in (2, 3, 4)]
