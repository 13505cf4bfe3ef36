"""Coins of trades on the whole desk: they are sold again but for the fee, and each promise is seen to be broken."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cache

import msgspec
import pytest

from services.exchange import model as ex
from services.execution.rows import OrderMoved, OrderRequested
from world.coins_audit import coin_violations, coins_at_rest, coins_of_trades
from world.covered_coins import coins_sold_by_hand, covered_coins
from world.desk import DESK_NUMBER, Desk
from world.directed import DIRECTED
from world.faults import SECOND, Faults
from world.simulate import desk_of, simulate, violations_at_rest
from world.venue import Venue
from world.violations import Violation

pytestmark = pytest.mark.simulation
_SEED = 3


@cache
def traded_desk() -> Desk:
    """A desk whose trades with coins were opened and closed."""
    scenario = covered_coins(_SEED)
    desk = desk_of(scenario, _SEED)
    desk.engine.run_until(scenario.start_ns + 240 * SECOND)
    return desk


def with_fills(change: Callable[[ex.Fill], ex.Fill]) -> Venue:
    """The venue with executions of trades in coins that it did not make."""
    venue = copy.copy(traded_desk().venue)
    venue.cash = copy.copy(venue.cash)
    fills: Sequence[ex.Fill] = [change(fill) for fill in venue.cash.fills_of_trades()]
    venue.cash.fills_of_trades = lambda: list(fills)  # type: ignore[method-assign]
    return venue


def a_larger_fee_in_coins(_: Desk) -> Iterable[Violation]:
    venue = with_fills(lambda fill: msgspec.structs.replace(fill, fee=2 * fill.fee))
    return coin_violations(venue, DESK_NUMBER)


def a_sale_that_sold_less(_: Desk) -> Iterable[Violation]:
    def half(fill: ex.Fill) -> ex.Fill:
        return fill if fill.side is ex.Side.BUY else msgspec.structs.replace(fill, quantity=fill.quantity / 2)

    return coins_at_rest(with_fills(half), traded_desk().book, DESK_NUMBER)


def a_coin_of_unknown_origin(_: Desk) -> Iterable[Violation]:
    desk = traded_desk()
    other = copy.deepcopy(desk.book)
    leg = next(leg for trade in other.trades.values() for leg in trade.legs if leg.instrument.is_spot)
    leg.fee_coins += Decimal("0.0000001")
    assert "by its books" in str(next(iter(coins_at_rest(desk.venue, other, DESK_NUMBER))))

    def dearer(fill: ex.Fill) -> ex.Fill:
        return fill if fill.side is ex.Side.SELL else msgspec.structs.replace(fill, fee=fill.fee / 2)

    seen = list(coins_at_rest(with_fills(dearer), desk.book, DESK_NUMBER))
    assert any("from before and" in violation.text for violation in seen)
    return seen


def coins_missed_that_nobody_sold(_: Desk) -> Iterable[Violation]:
    """A trade that missed a coin which it sold itself."""
    desk = traded_desk()
    other = copy.deepcopy(desk.book)
    leg = next(leg for trade in other.trades.values() for leg in trade.legs if leg.instrument.is_spot)
    leg.outside_quantity = leg.opened_quantity
    seen = list(coins_at_rest(desk.venue, other, DESK_NUMBER))
    assert any("that somebody else sold" in violation.text for violation in seen)
    return seen


def test_a_coin_that_is_missed_was_sold_by_somebody() -> None:
    assert {violation.invariant for violation in coins_missed_that_nobody_sold(traded_desk())} == {"coins_equal"}


def test_coins_of_trades_that_are_sold_by_hand_are_missed_once_and_the_trades_end() -> None:
    scenario = coins_sold_by_hand(2)
    assert scenario.exchange.accounts[0].initial_assets == {}
    desk = desk_of(scenario, 2)
    assert scenario.script is not None
    scenario.script(desk, scenario.start_ns + 90 * SECOND)
    desk.engine.run_until(scenario.start_ns + 300 * SECOND)
    assert violations_at_rest(desk) == []
    legs = [leg for trade in desk.book.trades.values() for leg in trade.legs if leg.instrument.is_spot]
    missed = sum((leg.outside_quantity for leg in legs), Decimal(0))
    assert 0 < missed <= desk.venue.cash.sold_foreign("BTCUSDT")
    assert all(leg.outside_quantity % leg.instrument.lot_size == 0 for leg in legs)


def test_each_trade_sells_what_the_fee_left_it_in_lots() -> None:
    desk = traded_desk()
    assert violations_at_rest(desk) == []
    rests = coins_of_trades(desk.venue, DESK_NUMBER)
    legs = {place: desk.book.trades[place[0]].legs[place[1]] for place in rests}
    assert {trade.request.strategy for trade in desk.book.trades.values() if trade.state == "CLOSED"} == {
        "covered",
        "carry",
        "coins",
    }
    for place, rest in rests.items():
        leg = legs[place]
        assert leg.fee_coins == leg.opened_quantity * Decimal("0.001")
        assert leg.closed_quantity == leg.opened_quantity - leg.fee_quantity
        assert 0 <= rest == leg.fee_quantity - leg.fee_coins < leg.instrument.lot_size
    assert any(rests.values()), "no fee was less than a lot"


@pytest.mark.long
def test_under_faults_coins_are_sold_once_beside_a_cash_rule_that_sells_of_the_accounts_own() -> None:
    directed = DIRECTED["covered_coins"]
    verdicts = [simulate(seed, directed.faults, directed.scenario(seed)) for seed in (2, 7, 178)]
    assert [verdict.violations for verdict in verdicts] == [(), (), ()]
    assert all(verdict.closed for verdict in verdicts)
    assert any(verdict.crashes for verdict in verdicts)
    assert any(verdict.unknown_orders for verdict in verdicts)
    assert any("cash sale moved" in verdict.reached.rows for verdict in verdicts)


def test_a_sale_of_coins_whose_answers_are_lost_is_sent_once() -> None:
    """Spot has no reduce-only orders: a second sale would take coins that are not the trade's."""
    scenario = covered_coins(_SEED)
    desk = desk_of(
        scenario, _SEED, Faults(answer_lost=0.6, stream_lost=0.8, crash_per_minute=2.0, restart_after_max_ms=1_500)
    )
    desk.engine.run_until(scenario.start_ns + 120 * SECOND)
    rows = [entry.row for entry in desk.nodes["execution"].journal.entries]
    sales = {
        row.client_order_id
        for row in rows
        if isinstance(row, OrderRequested) and row.symbol == "BTCUSDT" and row.purpose != "open"
    }
    assert {row.client_order_id for row in rows if isinstance(row, OrderMoved) and row.state == "UNKNOWN"} & sales
    assert list(coin_violations(desk.venue, DESK_NUMBER)) == []
    desk.heal()
    desk.engine.run_until(desk.engine.now_ns + 60 * SECOND)
    assert list(coin_violations(desk.venue, DESK_NUMBER)) == []
