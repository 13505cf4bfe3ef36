"""The desk keeps every promise where a directed scenario makes likely what drawn seeds hardly ever see."""

from __future__ import annotations

import pytest

from world.directed import DIRECTED
from world.mutants import MUTANTS
from world.simulate import simulate

pytestmark = pytest.mark.simulation

_TESTED_ELSEWHERE = {"expiring"}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(DIRECTED.keys() - _TESTED_ELSEWHERE))
def test_a_desk_in_a_directed_scenario_keeps_every_promise(name: str, seed: int) -> None:
    directed = DIRECTED[name]
    verdict = simulate(seed, directed.faults, directed.scenario(seed))
    assert verdict.violations == ()
    assert verdict.closed > 0


def test_every_directed_scenario_is_made_for_a_mistake() -> None:
    assert {mutant.scenario for mutant in MUTANTS if mutant.scenario} == DIRECTED.keys()
