"""A long run that was interrupted goes on where it was, and says which situations its seeds reached."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from world import situations
from world.__main__ import page
from world.mutate import ROOT
from world.progress import Done, KeptProgress
from world.scenario import drawn
from world.simulate import Verdict, simulate
from world.situations import Reached

pytestmark = pytest.mark.simulation

SHORT_OF_LOTS = 23
"""The first seed whose openings in chunks are scaled."""


def verdict(seed: int, **reached: object) -> Verdict:
    seen = msgspec.convert({"trades": {}, "rows": {}, "faults": (), **reached}, Reached)
    return msgspec.convert(
        {
            **dict.fromkeys(("trades", "closed", "failed", "settled", "orders", "crashes", "unknown_orders"), 0),
            **dict.fromkeys(("scenario", "mix", "digest"), ""),
            "seed": seed,
            "violations": (),
            "shared_symbol": True,
            "virtual_s": 1.0,
            "story": (),
            "reached": msgspec.to_builtins(seen),
        },
        Verdict,
    )


def test_what_was_kept_of_a_version_is_read_again_and_of_no_other(tmp_path: Path) -> None:
    first = KeptProgress(tmp_path, "v1-5-gabc")
    for seed in (0, 1, 7):
        first.keep(Done(verdict(seed), 1.5))
    again = KeptProgress(tmp_path, "v1-5-gabc").load(range(5))
    assert {seed: one.cpu_s for seed, one in again.items()} == {0: 1.5, 1: 1.5}
    assert again[1].verdict == verdict(1)
    assert KeptProgress(tmp_path, "v1-6-gdef").load(range(5)) == {}


def test_a_line_that_was_cut_off_is_run_again_and_swallows_no_other(tmp_path: Path) -> None:
    first = KeptProgress(tmp_path, "v1")
    first.keep(Done(verdict(0), 1.0))
    first.keep(Done(verdict(1), 1.0))
    assert first.path is not None
    first.path.write_bytes(first.path.read_bytes()[:-30])
    second = KeptProgress(tmp_path, "v1")
    assert set(second.load(range(9))) == {0}
    second.keep(Done(verdict(1), 2.0))
    assert set(KeptProgress(tmp_path, "v1").load(range(9))) == {0, 1}


def test_nothing_is_kept_of_a_version_with_changed_files(tmp_path: Path) -> None:
    dirty = KeptProgress(tmp_path, "v1-dirty")
    dirty.keep(Done(verdict(0), 1.0))
    assert dirty.load(range(9)) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_run_whose_time_is_up_says_how_many_seeds_it_ran_and_ends_well() -> None:
    command = [sys.executable, "-m", "world", "--seeds", "50", "--processes", "1", "--minutes", "0", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 50
    assert "of 50 seeds were run" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_run_with_what_it_has(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "world", "--seeds", "50", "--processes", "1", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        run.send_signal(number)
        rest, told = run.communicate()
    assert run.returncode == 130, told
    assert msgspec.json.decode(first, type=Verdict).seed == 0
    assert len(rest.splitlines()) < 49
    assert "Traceback" not in told


def test_a_seed_in_the_first_hundred_scales_an_opening_in_chunks() -> None:
    assert SHORT_OF_LOTS < 100
    assert [config.name for config in drawn(SHORT_OF_LOTS).strategies][:2] == ["short_of_lots_0", "short_of_lots_1"]
    seen = simulate(SHORT_OF_LOTS).reached
    assert sum(count for name, count in seen.trades.items() if name.startswith("smart") and "scaled" in name) > 0
    assert seen.rows["opening scaled"] > 0


def test_the_page_counts_what_was_reached_and_the_summary_names_what_was_not() -> None:
    seen = [
        verdict(0, trades={"smart atomic closed": 2, "smart atomic scaled": 1}, rows={"fill seen": 3}),
        verdict(1, trades={"smart atomic closed": 1}, faults=("bus_drop",)),
    ]
    told = page(seen, {}, "v1", datetime(2026, 1, 1, tzinfo=UTC), asked=4)
    assert "seeds 0 to 1 (2 of the 4 that were asked for)" in told
    assert "| smart atomic | 3 | 0 | 0 | 0 | 0 | 0 | 1 | 0 |" in told
    assert "| fill seen | 3 | 1 |" in told
    assert "| `bus_drop` | 1 |" in told
    missing = situations.missing([one.reached for one in seen])
    assert "trade adopted" in missing
    assert "fill seen" not in missing
    assert "bus_drop" not in missing
