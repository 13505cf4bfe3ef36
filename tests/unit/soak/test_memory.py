"""Flat or not: the slope is that of all processes of a service, each with its own level."""

from __future__ import annotations

import pytest

from soak.memory import ProcessSample, curve, given_out_mb, growth


def samples(pid: int, from_s: float, until_s: float, base_mb: float, mb_per_hour: float) -> list[ProcessSample]:
    minutes = range(int((until_s - from_s) // 60) + 1)
    return [
        ProcessSample(
            at_s=from_s + 60 * minute,
            service="risk",
            pid=pid,
            age_s=60.0 * minute,
            pss_mb=0.0,
            own_mb=base_mb + mb_per_hour * minute / 60,
            cpu_s=0.0,
            descriptors=0,
            threads=0,
        )
        for minute in minutes
    ]


def test_two_processes_of_different_size_that_both_grow_have_their_common_slope() -> None:
    taken = samples(1, 0, 3_600, 80.0, 9.0) + samples(2, 3_660, 7_200, 20.0, 9.0)
    found = growth(taken, 7_200)
    assert found.slope_mb_per_hour == pytest.approx(9.0)
    assert (found.processes, found.is_flat) == (2, False)


def test_a_step_from_one_process_to_the_next_is_no_growth() -> None:
    found = growth(samples(1, 0, 3_600, 20.0, 0.0) + samples(2, 3_660, 7_200, 90.0, 0.0), 7_200)
    assert found.slope_mb_per_hour == pytest.approx(0.0)
    assert found.is_flat


def test_what_a_process_takes_in_its_first_minutes_does_not_count() -> None:
    filling = samples(1, 0, 540, 20.0, 600.0)
    steady = [sample for sample in samples(1, 0, 7_200, 120.0, 1.0) if sample.at_s > 540]
    assert growth(filling + steady, 7_200).slope_mb_per_hour == pytest.approx(1.0)


def test_of_processes_that_are_killed_again_and_again_nothing_is_said() -> None:
    taken = [each for pid in range(12) for each in samples(pid, 600 * pid, 600 * pid + 590, 20.0, 50.0)]
    assert growth(taken, 7_200).slope_mb_per_hour is None
    assert growth(taken, 7_200).is_flat is None


def test_a_curve_has_a_bar_per_part_from_its_least_to_its_largest() -> None:
    assert curve([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert curve([]) == ""
    assert len(curve(range(1_000), width=10)) == 10


def test_what_is_given_out_is_told_and_what_came_back_is_not() -> None:
    before = given_out_mb()
    small = [f"{number} small things" for number in range(200_000)]
    large = bytearray(50 * 1_048_576)
    held = given_out_mb()
    # each text takes 64 bytes and a place in the list
    assert 50 + 200_000 * 72 / 1_048_576 <= held - before + 0.5 < 80
    del small, large
    assert given_out_mb() < before + 1
