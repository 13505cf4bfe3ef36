"""What is kept of a run: a later run replaces its own benches, and each says which machine it is of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.results import Results, machine, read
from bench.rows import row


def note(results: Results, name: str, value: float) -> None:
    results.note(name, [row(name, value, "µs")], "2026-11-26T10:00:00+00:00", "0.1 0.2 0.3", 1.0)


def test_a_run_replaces_its_own_benches_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    first = Results()
    note(first, "bus", 1.0)
    note(first, "chain", 2.0)
    first.write(path)
    second = read(path)
    note(second, "bus", 3.0)
    second.write(path)
    found = read(path)
    assert [found.rows(name)[0].value for name in ("bus", "chain")] == [3.0, 2.0]


def test_each_bench_keeps_the_machine_it_was_measured_on(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    first = Results()
    note(first, "bus", 1.0)
    first.benches["bus"]["machine"] = {"cpu": "another"}
    note(first, "chain", 2.0)
    first.write(path)
    found = read(path)
    assert [found.benches[name]["machine"] for name in ("bus", "chain")] == [{"cpu": "another"}, machine()]


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path / "results.json").benches == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"benches": {"bus": {}}}', json.dumps({"benches": {"bus": 1}})])
def test_a_file_that_cannot_be_read_is_refused_before_it_is_written_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"results\.json cannot be read .*restore it, or delete it"):
        read(path)
