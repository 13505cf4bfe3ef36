"""A service killed with -9 in the middle of a roll of futures: closed once, opened once, and one chain of P&L."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import make_desk, take_down
from tests.e2e.stack import Desk, newest_in, until
from tests.e2e.test_kills_in_rolls import assert_one_chain, rolled_with_a_kill

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

ROLLER = """
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.strategy import AnyLeg, EntryView, LegSpec, Roll, StrategyConfig, before_expiry, max_hold_hours


def legs(view: EntryView, now_ns: int) -> list[AnyLeg]:
    # the quarter changes every few seconds, so that there is always another one to roll into
    quarter = {"quarterly": 1 + now_ns // 7_000_000_000 % 2}
    return [
        LegSpec.perpetual("ETH", "buy", "1"),
        LegSpec.future("ETH", "sell", {"of_leg": 0}, quarter),
    ]


def roller() -> StrategyConfig:
    return StrategyConfig(
        name="roller",
        legs_factory=legs,
        legs_underlyings=["ETH"],
        exit_conditions=[max_hold_hours(2)],
        execution_mode="limit",
        execution_params=ExecutionParams(
            phases=(
                LimitPhase(pricing="passive", duration_s=3.0, reprice_interval_s=3.0),
                LimitPhase(pricing="aggressive", duration_s=60.0, reprice_interval_s=2.0, buffer_pct=1.0),
            ),
            fill_timeout_s=2.0,
            max_requote_rounds=60,
        ),
        roll=Roll(when=[before_expiry(0.5)], net_limit_usd=100_000, max_rolls=100, within_seconds=180),
        max_concurrent_trades=1,
        check_interval_seconds=1,
    )
"""
"""A carry in ETH that opens slowly, so that a kill can hit it, and rolls when it is told to; its perpetual stays."""


@pytest.fixture(scope="module")
def rolling_desk() -> Iterator[Desk]:
    made = make_desk("futures", 8, ["roller"], {"roller": ROLLER}, futures=True)
    started = made.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + made.logs()
    yield made
    take_down(made)


@pytest.mark.parametrize(
    ("victim", "step"), [("strategy", "close"), ("execution", "close"), ("execution", "opening")]
)
def test_a_roll_of_futures_is_finished_once_although_a_service_is_killed_in_its_middle(
    rolling_desk: Desk, victim: str, step: str
) -> None:
    kills = 1
    while not rolled_with_a_kill(rolling_desk, victim, step):
        kills += 1
        assert kills < 6, f"no kill hit the {step} of a roll"


def test_after_all_that_the_futures_are_one_chain_and_the_venue_holds_what_is_open(rolling_desk: Desk) -> None:
    held = until(rolling_desk, "a trade is open", lambda: newest_in(rolling_desk, "roller", ("OPEN",)))
    assert {leg["symbol"] for leg in held["legs"]} == rolling_desk.venue_positions().keys()
    assert_one_chain(rolling_desk, 4)
