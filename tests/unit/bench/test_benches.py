"""The benches run, and every figure of theirs stands beside its floor. How large the figures are is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def python_m(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("name", ["exchange", "execution"])
def test_a_bench_gives_figures_with_their_floors(name: str) -> None:
    done = python_m(f"bench.{name}", "--json", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert len(figures) == 3
    for figure in figures:
        assert figure["ours_us"] > 0
        assert figure["floor_us"] > 0
        assert figure["ratio"] == pytest.approx(figure["ours_us"] / figure["floor_us"], rel=0.1, abs=0.01)


def test_a_bench_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = python_m("bench", "nonsense")
    assert done.returncode == 2
    assert "use one of options, exchange, execution, bus, http_client" in done.stderr
