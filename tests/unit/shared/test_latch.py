"""The halt that a direct flatten leaves for execution, as files."""

from __future__ import annotations

from pathlib import Path

from shared.latch import read_latches, remove_latch, write_latch
from shared.messages.control import FlattenLatch


def latch(number: int) -> FlattenLatch:
    return FlattenLatch(latch_id=f"flatten-direct-{number}", raised_by="flatten --direct", reason=f"reason {number}")


def test_latches_are_read_until_they_are_removed_one_by_one(tmp_path: Path) -> None:
    assert read_latches(tmp_path) == []
    write_latch(tmp_path, latch(1))
    write_latch(tmp_path, latch(2))
    assert read_latches(tmp_path) == [latch(1), latch(2)]
    remove_latch(tmp_path, "flatten-direct-1")
    remove_latch(tmp_path, "flatten-direct-1")
    assert read_latches(tmp_path) == [latch(2)]


def test_a_latch_that_cannot_be_read_halts_as_well(tmp_path: Path) -> None:
    write_latch(tmp_path, latch(1)).write_bytes(b"{")
    (found,) = read_latches(tmp_path)
    assert found.latch_id == "flatten-direct-1"
    assert "cannot be read" in found.reason
    remove_latch(tmp_path, found.latch_id)
    assert read_latches(tmp_path) == []
