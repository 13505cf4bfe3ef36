"""A service killed with -9 in the middle of a roll: the successor is opened once, and the chain keeps its P&L."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.rolling import assert_one_chain, roll_until_a_kill_hits, rolling_desk_of
from tests.e2e.stack import Desk

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

LEGS = """strangle(
        qty="1",
        call_delta=(0.2, 0.3)[turn],
        put_delta=(-0.2, -0.3)[turn],
        side="buy",
        underlying="ETHUSD",
        expiry_criteria={"dte_min": 2, "dte_max": 21, "target": 7},
    )"""


@pytest.fixture(scope="module")
def rolling_desk() -> Iterator[Desk]:
    with rolling_desk_of("roller", 7, LEGS, buffer_pct=5.0) as made:
        yield made


@pytest.mark.parametrize("step", ["close", "opening"])
@pytest.mark.parametrize("victim", ["execution", "strategy"])
def test_a_roll_is_finished_once_although_a_service_is_killed_in_its_middle(
    rolling_desk: Desk, victim: str, step: str
) -> None:
    roll_until_a_kill_hits(rolling_desk, victim, step)


def test_after_all_that_the_chain_is_one_and_has_the_pnl_of_all_its_trades(rolling_desk: Desk) -> None:
    assert_one_chain(rolling_desk, 5)
