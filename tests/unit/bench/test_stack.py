"""What the engine says of a container becomes memory and CPU, and kills become times to recover."""

from __future__ import annotations

import pytest

from bench.stack import MB, Use, recovery_rows, use_of, use_rows


@pytest.mark.parametrize("field", ["total_inactive_file", "inactive_file"])
def test_file_cache_that_can_be_given_back_is_not_counted(field: str) -> None:
    said = {
        "memory_stats": {"usage": 90 * MB, "stats": {field: 30 * MB}},
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
    }
    assert use_of(said, 7.0) == Use(60.0, 2.5, 7.0)


def test_the_desk_is_the_sum_of_its_containers_and_the_watchers_stand_beside_it() -> None:
    rows = use_rows(
        {
            "risk": [Use(50, 1.0, 0.0), Use(70, 1.5, 10.0)],
            "control": [Use(1, 0.0, 0.0), Use(1, 0.0, 10.0)],
            "prometheus": [Use(100, 2.0, 0.0), Use(100, 4.0, 10.0)],
        },
        5.0,
    )
    assert [(one.name, one.value) for one in rows] == [
        ("containers of the desk together, memory", 61.0),
        ("containers of the desk together, CPU", 5.0),
        ("  risk, memory", 60.0),
        ("  risk, CPU", 5.0),
        ("  control, memory", 1.0),
        ("  control, CPU", 0.0),
        ("  prometheus, memory", 100.0),
        ("  prometheus, CPU", 20.0),
    ]
    assert (rows[0].note, rows[2].note) == ("5 min", "most 70.0 MB")


def test_recovery_is_the_median_beside_an_idle_container() -> None:
    rows = recovery_rows({"risk": [1.0, 2.0, 9.0], "prometheus": [3.0]}, [0.5, 0.7, 0.5], {"risk": 31.4})
    assert [(one.name, one.value, one.beside_value) for one in rows] == [
        ("risk, SIGKILL to work again, p50", 2.0, 0.5),
        ("prometheus, SIGKILL to work again, p50", 3.0, 0.5),
    ]
    assert "3 kills, worst 9.0 s; the engine called it healthy 31 s" in rows[0].note
    assert "healthy" not in rows[1].note
