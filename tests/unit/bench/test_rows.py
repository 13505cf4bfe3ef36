"""A row says honestly whether its target is met, and survives being written and read."""

from __future__ import annotations

import json

import pytest

from bench.rows import Row, at_least, at_most, cells, from_json, ratio_at_least, ratio_at_most, row, to_json


@pytest.mark.parametrize(
    ("made", "target", "verdict"),
    [
        (row("a", 13.0, "µs", beside="bare", beside_value=10.0, target=ratio_at_most(1.3)), "≤ 1.3×", "met"),
        (row("a", 13.1, "µs", beside="bare", beside_value=10.0, target=ratio_at_most(1.3)), "≤ 1.3×", "not met"),
        (row("a", 0.7, "M/s", beside="bare", beside_value=1.0, target=ratio_at_least(0.7)), "≥ 0.7×", "met"),
        (row("a", 0.6, "M/s", beside="bare", beside_value=1.0, target=ratio_at_least(0.7)), "≥ 0.7×", "not met"),
        (row("a", 9.0, "µs", target=at_most(10)), "≤ 10 µs", "met"),
        (row("a", 11.0, "µs", target=at_most(10)), "≤ 10 µs", "not met"),
        (row("a", 1.0, "x", target=at_least(1_000)), "≥ 1,000 x", "not met"),
        (row("a", 11.0, "µs"), "", ""),
    ],
)
def test_a_figure_is_judged_by_its_target(made: Row, target: str, verdict: str) -> None:
    assert (made.target, made.verdict) == (target, verdict)


@pytest.mark.parametrize(
    "made",
    [
        row("a", 20.0, "M/s", beside="a peer that is not installed", target=ratio_at_least(15)),
        row("a", None, "µs", target=at_most(10)),
        row("a", 20.0, "M/s", beside="stopped", beside_value=0.0, target=ratio_at_least(15)),
    ],
)
def test_what_could_not_be_measured_is_neither_met_nor_missed(made: Row) -> None:
    assert made.met is None
    assert made.verdict == "not measured"


def test_rows_are_the_same_after_json() -> None:
    rows = [
        row("a", 13.0, "µs", beside="bare", beside_value=10.0, target=ratio_at_most(1.3), note="one"),
        row("b", None, "s"),
    ]
    assert from_json(json.loads(json.dumps(to_json(rows)))) == rows


def test_numbers_keep_three_digits() -> None:
    made = row("a", 1_234_567.8, "messages/s", beside="bare", beside_value=12.345)
    assert cells(made)[1:6] == ("1,234,568", "messages/s", "bare", "12.3", "100,005×")
