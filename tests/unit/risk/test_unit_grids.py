"""Grids per unit are those of the newest chain, whether they were made at its arrival or when they were asked for."""

from __future__ import annotations

import numpy as np

from services.risk.config import RiskConfig
from services.risk.market import MarketView
from services.risk.stress import F8, Scenarios, Stress
from services.risk.unit_grids import UnitGrids
from tests.unit.risk.desk import CALL_110, LISTED, PUT_90, SECOND, START, chain

SCENARIOS = Scenarios.of(RiskConfig())


class Market:
    def __init__(self) -> None:
        self.view = MarketView(age_max_ns=5 * SECOND)
        self.view.on_list(LISTED)
        self.grids = UnitGrids(SCENARIOS, self.view)

    def chain(self, at_s: float, index: float, missing: tuple[str, ...] = ()) -> None:
        at_ns = START + int(at_s * SECOND)
        columns = dict.fromkeys(("mark", "mark_iv", "bid", "ask"), missing)
        self.view.on_chain(chain(at_ns, index=index, missing=columns))
        self.grids.on_chain("BTCUSD", at_ns)

    def asked(self, symbol: str, at_s: float) -> F8 | None:
        found = self.grids.of([symbol], START + int(at_s * SECOND))
        return None if found is None else found[symbol][1]

    def valued(self, symbol: str, at_s: float) -> F8:
        """As a position of one would be valued at this time."""
        stress = Stress.of_quantities(SCENARIOS, self.view, {symbol: 1.0}, START + int(at_s * SECOND))
        return stress.positions[symbol][1]


def test_what_is_asked_for_the_first_time_is_valued_then_and_again_with_each_chain() -> None:
    market = Market()
    market.chain(0, 100_000.0)
    np.testing.assert_array_equal(market.asked(CALL_110, 2), market.valued(CALL_110, 2))
    market.chain(3, 104_000.0)
    np.testing.assert_array_equal(market.asked(CALL_110, 5), market.valued(CALL_110, 3))
    np.testing.assert_array_equal(market.asked(PUT_90, 5), market.valued(PUT_90, 5))


def test_what_nobody_asked_for_within_a_minute_is_valued_when_it_is_asked_for() -> None:
    market = Market()
    market.chain(0, 100_000.0)
    assert market.asked(CALL_110, 0) is not None
    market.chain(61, 101_000.0)
    np.testing.assert_array_equal(market.asked(CALL_110, 64), market.valued(CALL_110, 64))


def test_a_stale_chain_an_unlisted_option_and_one_without_a_mark_are_not_known() -> None:
    market = Market()
    assert market.asked(CALL_110, 0) is None
    market.chain(0, 100_000.0)
    assert market.asked("BTCUSD-27MAR26-1-C", 0) is None
    assert market.asked(CALL_110, 4) is not None
    assert market.asked(CALL_110, 6) is None
    market.chain(7, 100_000.0, missing=(CALL_110,))
    assert market.asked(CALL_110, 7) is None
    market.chain(8, 100_000.0)
    np.testing.assert_array_equal(market.asked(CALL_110, 8), market.valued(CALL_110, 8))
