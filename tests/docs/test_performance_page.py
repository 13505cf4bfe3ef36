"""docs/performance.md names every bench, and its figures come from a run, never from a keyboard."""

from __future__ import annotations

import pytest

from bench.__main__ import BENCHES, LONG
from bench.report import BEGIN, END, markdown, with_figures
from bench.results import Results, read
from bench.rows import ratio_at_most, row
from tests.docs.pages import page


def results() -> Results:
    kept = Results()
    rows = [row("round | trip", 12.0, "µs", beside="bare", beside_value=10.0, target=ratio_at_most(1.3), note="warm")]
    kept.note("bus", rows, "2026-11-26T10:00:00+00:00", "0.1 0.2 0.3", 3.0)
    kept.benches["bus"]["machine"] = {"cpu": "a cpu", "cores": 2}
    return kept


def test_the_page_names_every_bench_and_no_other() -> None:
    section = page("performance.md").partition("## What is measured")[2].partition("\n## ")[0]
    named = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert named == [*BENCHES, *LONG]


def test_the_page_takes_its_figures_between_its_marks() -> None:
    renewed = with_figures(page("performance.md"), "FIGURES\n")
    assert renewed.partition(BEGIN)[0] == page("performance.md").partition(BEGIN)[0]
    assert renewed.partition(BEGIN)[2] == f"\n\nFIGURES\n\n{END}\n"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        with_figures("# Performance\n", "FIGURES\n")


def test_figures_tell_machine_date_load_value_floor_verdict_and_note() -> None:
    told = markdown(results())
    assert "| bus | 2026-11-26T10:00:00+00:00 | 0.1 0.2 0.3 | 1 |" in told
    assert "1. cpu a cpu, cores 2" in told
    assert "| bus | round \\| trip | 12.0 | µs | bare | 10.0 | 1.20× | ≤ 1.3× | met |" in told
    assert "- round | trip: warm" in told


def test_without_a_run_the_page_says_so() -> None:
    assert markdown(Results()) == "No full run has been kept yet.\n"


def test_the_page_has_the_figures_that_are_kept() -> None:
    assert f"{BEGIN}\n\n{markdown(read())}\n{END}" in page("performance.md")
