"""Rows of the kills: p99 is judged, p50 is told, each beside what a start cannot do without."""

from __future__ import annotations

from bench.recovery import figures


def test_each_service_is_judged_by_its_p99_and_shows_its_p50() -> None:
    rows = figures({"risk": [(1.0, 0.5)] * 99 + [(9.0, 0.5)], "monitor": [(1.0, 0.5)]})
    assert [one.name for one in rows] == [
        "risk, kill -9 to work again, p99",
        "risk, kill -9 to work again, p50",
        "monitor, kill -9 to work again, p99",
        "monitor, kill -9 to work again, p50",
    ]
    assert [one.met for one in rows] == [True, None, True, None]
    assert rows[0].note == "100 kills, worst 9.00 s"
    assert rows[1].ratio == 2.0


def test_a_service_that_is_away_too_long_in_a_tenth_of_the_kills_fails() -> None:
    (p99, _) = figures({"execution": [(1.0, 0.5)] * 18 + [(9.0, 0.5)] * 2})
    assert (p99.value, p99.met) == (9.0, False)
