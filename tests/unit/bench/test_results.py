"""What is kept of a run: a later run replaces its own benches, another machine replaces all."""

from __future__ import annotations

from pathlib import Path

from bench.results import Results, kept, read
from bench.rows import row


def note(results: Results, name: str, value: float) -> None:
    results.note(name, [row(name, value, "µs")], "2026-11-26T10:00:00+00:00", "0.1 0.2 0.3", 1.0)


def test_a_run_replaces_its_own_benches_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    first = Results.new()
    note(first, "bus", 1.0)
    note(first, "chain", 2.0)
    first.write(path)
    second = kept(path)
    note(second, "bus", 3.0)
    second.write(path)
    found = read(path)
    assert found is not None
    assert [found.rows(name)[0].value for name in ("bus", "chain")] == [3.0, 2.0]


def test_figures_of_another_machine_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    other = Results({**Results.new().machine, "cpu": "another"})
    note(other, "bus", 1.0)
    other.write(path)
    assert kept(path).benches == {}


def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read(path) is None
    path.write_text("{")
    assert read(path) is None
    assert kept(path).benches == {}
