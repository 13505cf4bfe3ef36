"""Ways from tick to order are put together from the stamps of several processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.tick_to_order import HOPS, WARM_UP, Stamps, Way, figures


def stamps(tmp_path: Path, *lines: list[object]) -> Stamps:
    path = tmp_path / "stamps"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '["order", 9')
    return Stamps.read(path)


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    read = stamps(tmp_path, ["tick", 100, "frame"], ["order", 150, 7, "POST"])
    assert (read.ticks, read.orders) == ([100], [(150, 7)])
    assert (read.frames, read.first_request) == (["frame"], "POST")


def test_a_tick_is_known_by_the_venues_time_however_late_it_is_received(tmp_path: Path) -> None:
    frames = [
        '{"dt":30,"d":{"s":"BTCUSD","ip":1.0,"ts":5000000001250},"ts":5000000001300}',
        '{"d":{},"ts":5000000001500}',
    ]
    read = stamps(tmp_path, ["tick", 100, frames[0]], ["tick", 350, frames[1]])
    assert read.by_venue_time() == {1_250: 100, 1_500: 350}


def test_a_bare_order_belongs_to_the_newest_tick_that_was_sent_before_it_was_received(tmp_path: Path) -> None:
    read = stamps(tmp_path, ["tick", 100], ["tick", 200], ["tick", 300])
    assert [read.tick_before(at_ns) for at_ns in (100, 199, 200, 250)] == [100, 100, 200, 200]
    with pytest.raises(IndexError):
        read.tick_before(99)


def test_hops_add_up_to_the_whole_way_and_the_first_orders_do_not_count() -> None:
    slow = Way(0, 10_000_000, 20_000_000, 30_000_000, 40_000_000, 50_000_000)
    ours, bare = Way(0, 2_000, 6_000, 12_000, 20_000, 30_000), Way(0, 1_000, 2_000, 3_000, 4_000, 5_000)
    rows = figures([slow] * WARM_UP + [ours] * 3, [slow] * WARM_UP + [bare] * 2)
    assert [one.value for one in rows] == [30.0, 30.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert [one.ratio for one in rows[2:]] == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert len(rows) == 2 + len(HOPS)
    assert (rows[0].target, rows[0].met) == ("≤ 2×", False)
