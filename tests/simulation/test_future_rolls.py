"""Futures that are rolled in the whole desk: closed and opened once each, in the net price, with funding."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from services.execution.views import trade_update
from services.strategy.rows import RollBegun, RollEnded
from tests.simulation.test_library import broken_promises
from world.desk import ACCOUNT_ID
from world.faults import SECOND
from world.roll_audit import chain_violations, net_limit_violations, undecided_rolls
from world.rolling import rolling_futures
from world.simulate import desk_of

pytestmark = pytest.mark.simulation


@pytest.mark.long
def test_a_chain_of_carries_keeps_its_net_prices_and_its_funding_and_trades_the_equal_perpetual_anew() -> None:
    scenario = rolling_futures(2)
    carry = next(each for each in scenario.strategies if each.name == "carry")
    assert carry.roll is not None
    slow = msgspec.structs.replace(carry, exit_conditions=carry.exit_conditions[:0])
    desk = desk_of(msgspec.structs.replace(scenario, strategies=(slow,)), 2)
    desk.engine.run_until(scenario.start_ns + 240 * SECOND)
    entries = desk.nodes["strategy"].journal.entries
    begun = [each.row for each in entries if isinstance(each.row, RollBegun)]
    assert [each.row.outcome for each in entries if isinstance(each.row, RollEnded)] == ["rolled"] * len(begun)
    assert len(begun) == 4, "as often as it may be"
    chain = [*desk.book.trades.values()]
    assert [trade.state for trade in chain] == ["CLOSED"] * 4 + ["OPEN"]
    for trade in chain:
        perpetual, future = trade.legs
        assert (perpetual.symbol, perpetual.opened_quantity) == ("BTCUSD", Decimal("0.03"))
        assert future.opened_quantity == Decimal("0.03")
    assert len({trade.legs[1].symbol for trade in chain}) == 2
    for earlier, later in pairwise(chain):
        assert earlier.legs[1].symbol != later.legs[1].symbol
    funded = sum((trade.funding_usd for trade in chain), Decimal(0))
    (payment,) = desk.venue.products.funding()
    assert funded == -payment.amount != 0
    told = trade_update(chain[-1], desk.book, ACCOUNT_ID)
    own = [sum((leg.realized_pnl_usd for leg in trade.legs), Decimal(0)) - trade.fees_usd for trade in chain]
    assert told.chain_pnl_usd == pytest.approx(sum(own, Decimal(0)) - funded, abs=Decimal("0.001"))
    assert [*chain_violations(desk.book, ACCOUNT_ID), *net_limit_violations(desk.book, entries)] == []
    assert [*undecided_rolls(entries), *broken_promises(desk)] == []
