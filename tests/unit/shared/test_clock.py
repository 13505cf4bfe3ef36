"""Our time never decreases and never stands still, whatever is done to the wall clock."""

from __future__ import annotations

import pytest

from shared.clock import Clock

SECOND = 1_000_000_000
WALL = 1_790_000_000 * SECOND


class Hands:
    """A wall clock that can be set, beside a monotonic one that cannot."""

    def __init__(self) -> None:
        self.wall_ns = WALL
        self.monotonic_ns = 5 * SECOND
        self.clock = Clock(wall=lambda: self.wall_ns, monotonic=lambda: self.monotonic_ns)

    def after(self, seconds: float, set_by_s: float = 0.0) -> int:
        self.monotonic_ns += round(seconds * SECOND)
        self.wall_ns += round((seconds + set_by_s) * SECOND)
        return self.clock.now_ns()


def test_it_follows_the_wall() -> None:
    hands = Hands()
    assert hands.after(0) == WALL
    assert hands.after(2.5) == WALL + 2_500_000_000


def test_a_wall_set_forward_moves_us_at_once() -> None:
    hands = Hands()
    hands.after(0)
    assert hands.after(1, set_by_s=3_600) == WALL + 3_601 * SECOND


@pytest.mark.parametrize("set_back_s", [0.5, 3_600])
def test_a_wall_set_back_slows_our_time_and_does_not_stop_it(set_back_s: float) -> None:
    hands = Hands()
    before_ns = hands.after(0)
    assert hands.after(0, set_by_s=-set_back_s) == before_ns
    after_ns = hands.after(3)
    assert before_ns + 2.5 * SECOND < after_ns <= before_ns + 3 * SECOND


def test_after_a_wall_set_back_we_meet_it_again() -> None:
    hands = Hands()
    hands.after(0)
    hands.after(0, set_by_s=-1)
    readings = [hands.after(0.5) for _ in range(30)]
    assert readings == sorted(readings)
    assert readings[-1] == hands.wall_ns


def test_many_readings_lose_no_time() -> None:
    hands = Hands()
    hands.after(0)
    hands.after(0, set_by_s=-100)
    begun_ns = hands.clock.now_ns()
    for _ in range(100_000):
        hands.after(0.000_000_05)
    assert hands.clock.now_ns() - begun_ns >= 0.85 * 100_000 * 50
