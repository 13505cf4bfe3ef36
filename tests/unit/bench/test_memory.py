"""Memory over time: slopes, restarts and complaints are read off the samples and logs as a person would."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from bench.cost import cost_rows
from bench.memory import Figure, Sample, complaint, complaints_in, figures, mb_of, slope_mb_per_hour


def line(level: str, event: str, **fields: object) -> str:
    return json.dumps({"service": "risk", "level": level, "event": event, **fields})


def test_the_slope_leaves_out_the_first_fifth_in_which_caches_fill() -> None:
    filling = [Sample(at_s, 1.0, 50 + at_s, 0.0) for at_s in (0.0, 10.0)]
    steady = [Sample(20.0 + 10 * number, 1.0, 70 + number / 36, 0.0) for number in range(8)]
    assert slope_mb_per_hour(filling + steady) == pytest.approx(10.0)


def test_two_samples_have_no_slope() -> None:
    assert slope_mb_per_hour([Sample(0.0, 1.0, 50.0, 0.0), Sample(10.0, 1.0, 60.0, 0.0)]) == 0.0


def test_a_restarted_service_shows_its_last_process_and_the_cpu_of_both() -> None:
    taken = [
        {("risk", 10): Sample(0.0, 80.0, 1.0, 5.0)},
        {("risk", 10): Sample(10.0, 90.0, 1.0, 6.0)},
        {("risk", 11): Sample(20.0, 40.0, 1.0, 1.0)},
        {("risk", 11): Sample(30.0, 41.0, 1.0, 3.0)},
    ]
    (figure,) = figures(taken, {"risk": Counter({"warning drill": 3})})
    assert (figure.first_mb, figure.mean_mb, figure.last_mb) == (40.0, 40.5, 41.0)
    assert (figure.restarts, figure.complaints) == (1, 3)
    assert figure.cpu_pct == 10.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (line("info", "started"), None),
        (line("warning", "alert", code="feed_stale"), "warning alert feed_stale"),
        (line("error", "stopping failed"), "error stopping failed"),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("", None),
    ],
)
def test_a_complaint_is_a_line_from_warning_upwards_or_one_that_is_not_ours(text: str, told: str | None) -> None:
    assert complaint(text) == told


def test_complaints_are_counted_per_service_and_supervisords_own_are_left_out(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "risk.log").write_text(f"{line('warning', 'slow')}\n{line('info', 'started')}\n")
    (logs / "risk.log.1").write_text(f"{line('warning', 'slow')}\n")
    (logs / "supervisord.log").write_text("CRIT Supervisor is running as root.\n")
    assert complaints_in(tmp_path) == {"risk": Counter({"warning slow": 2})}


def test_memory_is_read_from_the_roll_up_of_the_process() -> None:
    rollup = "55f0 [rollup]\nRss:  70000 kB\nPss:  51200 kB\nPss_Dirty: 100 kB\nAnonymous:  1024 kB\n"
    assert (mb_of(rollup, "Pss"), mb_of(rollup, "Anonymous")) == (50.0, 1.0)


def test_the_five_services_are_judged_together_and_the_exchange_by_itself() -> None:
    names = ("supervisord", "exchange", "marketdata", "risk", "execution", "strategy", "monitor")
    rows = cost_rows([Figure(name, 0, 0, 80.0, 0, 4.0, 0, 0) for name in names])
    shown = {one.name: (one.value, one.met) for one in rows}
    assert shown["five services, memory (PSS)"] == (400.0, True)
    assert shown["five services, CPU"] == (20.0, True)
    assert shown["exchange, memory (PSS)"] == (80.0, True)
    assert shown["  supervisord, CPU"] == (4.0, None)
    assert "not running: exchange" in cost_rows([Figure("risk", 0, 0, 80.0, 0, 4.0, 0, 0)])[0].note.replace(
        "marketdata, execution, strategy, monitor, ", ""
    )
