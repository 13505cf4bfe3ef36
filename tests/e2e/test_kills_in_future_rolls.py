"""A service killed with -9 in the middle of a roll of futures: closed once, opened once, and one chain of P&L."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.rolling import assert_one_chain, roll_until_a_kill_hits, rolling_desk_of
from tests.e2e.stack import Desk, newest_in, until

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

LEGS = """[
        LegSpec.perpetual("ETH", "buy", "1"),
        LegSpec.future("ETH", "sell", {"of_leg": 0}, {"quarterly": 1 + turn}),
    ]"""
"""A carry whose perpetual stays when it is rolled into the other quarter."""


@pytest.fixture(scope="module")
def rolling_desk() -> Iterator[Desk]:
    with rolling_desk_of("futures", 8, LEGS, buffer_pct=1.0, futures=True) as made:
        yield made


@pytest.mark.parametrize(
    ("victim", "step"), [("strategy", "close"), ("execution", "close"), ("execution", "opening")]
)
def test_a_roll_of_futures_is_finished_once_although_a_service_is_killed_in_its_middle(
    rolling_desk: Desk, victim: str, step: str
) -> None:
    roll_until_a_kill_hits(rolling_desk, victim, step)


def test_after_all_that_the_futures_are_one_chain_and_the_venue_holds_what_is_open(rolling_desk: Desk) -> None:
    held = until(rolling_desk, "a trade is open", lambda: newest_in(rolling_desk, "roller", ("OPEN",)))
    assert {leg["symbol"] for leg in held["legs"]} == rolling_desk.venue_positions().keys()
    assert_one_chain(rolling_desk, 4)
