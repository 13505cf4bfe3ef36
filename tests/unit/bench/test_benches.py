"""The benches run, and every figure of theirs stands beside its floor. How large the figures are is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rows import from_json

ROOT = Path(__file__).parents[3]


def python_m(*arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout_s
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "count"), [("account", 3), ("exchange", 3), ("execution", 3), ("marketdata", 3), ("simulation", 2)]
)
def test_a_bench_gives_figures_with_their_floors(name: str, count: int) -> None:
    done = python_m(f"bench.{name}", "--json", "--quick")
    assert done.returncode == 0, done.stderr
    rows = from_json(json.loads(done.stdout))
    assert len(rows) == count
    for one in rows:
        assert one.value is not None
        assert one.beside_value is not None
        assert one.value > 0
        assert one.ratio == pytest.approx(one.value / one.beside_value)


def test_a_bench_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = python_m("bench", "nonsense")
    assert done.returncode == 2
    assert "use one of bus, account, grant, chain, selection, options" in done.stderr
