"""The whole desk under faults: a few seeds here, hundreds with `make simulate`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.execution.effects import PlaceOrder
from services.execution.records import Trade
from services.execution.rows import FillSeen, OrderMoved, OrderRequested
from shared.messages.control import HaltsAnswered, LiftHalts, RaiseHalt
from shared.messages.trades import CloseAccepted, CloseTrade
from world.desk import DESK_NUMBER, Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.invariants import liveness_violations, naked_leg_violations, safety_violations
from world.ledger import ledger_violations
from world.scenario import disturbed, expiring, plain, small_exchange, three_strategies
from world.simulate import START_NS, simulate

pytestmark = pytest.mark.simulation

EXTREME = Faults(
    bus_delay_max_ms=200,
    bus_drop=0.05,
    bus_duplicate=0.1,
    crash_per_drain=0.005,
    crash_per_minute=1.0,
    venue_delay_max_ms=400,
    request_lost=0.1,
    request_late=0.1,
    answer_lost=0.2,
    unknown_code=0.05,
    read_fails=0.2,
    stream_duplicate=0.3,
    stream_drop_per_minute=2.0,
    stream_reorder_ms=500,
    query_lag_ms=800,
    stall_per_minute=0.3,
    refused=0.1,
    stream_lost=0.2,
    position_lag_ms=1_000,
)


def calm_desk(seed: int = 1, faults: Faults | None = None) -> Desk:
    return Desk(
        Engine(START_NS, seed), faults or Faults.none(), three_strategies(seed, "limit"), small_exchange(seed)
    )


def run_until(desk: Desk, condition: Any, limit_s: int = 120) -> None:
    """Run in small steps until the condition holds; fails the test when it does not within the limit."""
    end_ns = desk.engine.now_ns + limit_s * SECOND
    while not condition():
        assert desk.engine.now_ns < end_ns, f"not within {limit_s} s of virtual time"
        desk.engine.run_until(desk.engine.now_ns + SECOND // 5)


def open_trades(desk: Desk, *strategies: str) -> list[Trade]:
    return [
        trade for trade in desk.book.trades.values() if trade.state == "OPEN" and trade.request.strategy in strategies
    ]


def also_long(*seeds: Any) -> list[Any]:
    """Seeds (or what else tests are given) of which only the long tests take their time."""
    return [pytest.param(seed, marks=pytest.mark.long) for seed in seeds]


@pytest.mark.parametrize("seed", [0, *also_long(1, 2)])
def test_a_desk_under_drawn_faults_keeps_every_promise(seed: int) -> None:
    assert simulate(seed).violations == ()


@pytest.mark.parametrize("seed", [1_000, *also_long(1_001, 1_002, 1_003)])
def test_a_desk_with_every_fault_at_once_keeps_every_promise(seed: int) -> None:
    verdict = simulate(seed, EXTREME)
    assert verdict.violations == ()
    assert verdict.crashes > 0
    assert verdict.unknown_orders > 0


def test_a_core_that_is_woken_at_once_again_and_again_is_named() -> None:
    engine = Engine(0, seed=1)

    def spin() -> None:
        engine.after(0, spin)

    engine.at(5, spin)
    with pytest.raises(RuntimeError, match=r"time stands still at 5: .*spin"):
        engine.run_until(10)


def test_without_faults_every_trade_opens_and_closes_and_two_of_them_share_a_symbol() -> None:
    limited = msgspec.structs.replace(plain(1), strategies=tuple(three_strategies(1, "limit")))
    verdict = simulate(1, Faults.none(), limited)
    assert verdict.violations == ()
    assert verdict.trades == verdict.closed == 9
    assert verdict.shared_symbol


@pytest.mark.parametrize("seed", [2_000, *also_long(2_001, 2_002)])
def test_a_desk_that_is_disturbed_by_its_operator_its_market_and_others_keeps_every_promise(seed: int) -> None:
    scenario = msgspec.structs.replace(disturbed(seed), operator_pause_s=12.0, intruder_pause_s=20.0 * (seed % 2))
    verdict = simulate(seed, scenario=scenario)
    assert verdict.violations == ()
    assert verdict.trades > 0


def test_trades_held_over_their_expiry_are_settled_under_faults() -> None:
    verdict = simulate(9, scenario=expiring(9))
    assert verdict.violations == ()
    assert verdict.settled > 0
    assert verdict.unknown_orders > 0, "no fault was met"


def test_delivery_fees_and_settlements_are_the_venues_to_the_last_decimal() -> None:
    verdict = simulate(82, scenario=expiring(82))
    assert verdict.violations == ()
    assert verdict.settled > 0


def test_one_seed_gives_the_same_run_twice() -> None:
    assert simulate(3) == simulate(3)


def test_an_order_sent_twice_is_caught() -> None:
    desk = calm_desk()
    carry_out = desk._perform

    def twice(node: Any, effect: Any, cause_id: str) -> None:
        carry_out(node, effect, cause_id)
        if isinstance(effect, PlaceOrder):
            carry_out(node, effect, cause_id)

    desk._perform = twice  # type: ignore[method-assign]
    desk.engine.run_until(START_NS + 60 * SECOND)
    assert any(
        "was sent 2 times" in str(violation) for violation in safety_violations(desk.venue, desk.book, DESK_NUMBER)
    )


def test_an_opening_order_past_its_grant_is_caught() -> None:
    desk = calm_desk()
    desk.engine.run_until(START_NS + 20 * SECOND)
    order = desk.venue.opening_orders[0]
    worse = Decimal(10_000) if order.side == "buy" else Decimal("0.1")
    desk.venue.opening_orders[0] = msgspec.structs.replace(order, price=worse)
    assert any(
        "past its grant" in str(violation) for violation in safety_violations(desk.venue, desk.book, DESK_NUMBER)
    )


def test_a_lost_fill_is_caught() -> None:
    desk = calm_desk()
    node = desk.nodes["execution"]
    run_until(desk, lambda: any(isinstance(entry.row, FillSeen) for entry in node.journal.entries))
    first = next(index for index, entry in enumerate(node.journal.entries) if isinstance(entry.row, FillSeen))
    del node.journal.entries[first]
    assert any("trades hold" in str(violation) for violation in ledger_violations(desk.venue, desk.fold()))


def test_a_short_leg_without_its_protection_is_caught() -> None:
    desk = calm_desk()
    run_until(desk, lambda: open_trades(desk, "condor"))
    fills = list(desk.venue.exchange.fills(desk.venue.account_id))
    assert list(naked_leg_violations(fills, desk.book, DESK_NUMBER)) == []
    short_only = [fill for fill in fills if fill.side == 2]
    assert any("short" in str(violation) for violation in naked_leg_violations(short_only, desk.book, DESK_NUMBER))


def test_execution_killed_between_commit_and_send_does_not_lose_or_repeat_the_order() -> None:
    desk = calm_desk()
    node = desk.nodes["execution"]
    run_until(desk, lambda: node.alive and desk.book.trades)

    def requested() -> list[OrderRequested]:
        return [entry.row for entry in node.journal.entries if isinstance(entry.row, OrderRequested)]

    before = len(requested())
    # The next drain that places an order dies right after its commit.
    perform = desk._perform

    def die(target: Any, effect: Any, cause_id: str) -> None:
        if isinstance(effect, PlaceOrder) and effect.order.client_order_id not in desk.venue.sent:
            desk._perform = perform  # type: ignore[method-assign]
            node._doom = 0
            node.count_down()
        perform(target, effect, cause_id)

    desk._perform = die  # type: ignore[method-assign]
    run_until(desk, lambda: len(requested()) > before and node.starts == 2 and node.alive)
    lost = {row.client_order_id for row in requested()} - set(desk.venue.sent)
    assert lost, "no order was journalled and not sent"
    run_until(desk, lambda: all(desk.book.orders[number].state == "NEVER_PLACED" for number in lost))
    run_until(desk, lambda: sum(trade.state == "CLOSED" for trade in desk.book.trades.values()) >= 3, limit_s=300)
    assert list(safety_violations(desk.venue, desk.book, DESK_NUMBER)) == []


def test_timeout_after_acceptance_does_not_duplicate() -> None:
    desk = calm_desk(faults=Faults(answer_lost=1.0))
    run_until(desk, lambda: any(trade.state == "CLOSED" for trade in desk.book.trades.values()), limit_s=400)
    moved = [e.row for e in desk.nodes["execution"].journal.entries if isinstance(e.row, OrderMoved)]
    assert any(row.state in ("WORKING", "FILLED") for row in moved)
    assert list(safety_violations(desk.venue, desk.book, DESK_NUMBER)) == []
    assert max(desk.venue.sent.values()) == 1


def test_a_halt_unwinds_what_is_half_open_and_stops_new_trades_until_it_is_lifted() -> None:
    desk = calm_desk()
    run_until(desk, lambda: any(trade.state == "OPENING" for trade in desk.book.trades.values()))
    halt = RaiseHalt(level="no_new_trades", reason="drill", requested_by="operator")
    answers = desk.operate_at(desk.engine.now_ns, "execution", halt, "halt-1")
    desk.engine.run_until(desk.engine.now_ns + 90 * SECOND)
    assert isinstance(answers[0], HaltsAnswered)
    assert answers[0].state.halt_epoch == 1
    halted = set(desk.book.trades)
    assert all(trade.state in ("FAILED", "CLOSED") for trade in desk.book.trades.values())
    assert desk.venue.positions() == ()
    desk.engine.run_until(desk.engine.now_ns + 60 * SECOND)
    assert set(desk.book.trades) == halted
    lifted = desk.operate_at(desk.engine.now_ns, "execution", LiftHalts(requested_by="operator"), "lift-1")
    run_until(desk, lambda: set(desk.book.trades) > halted)
    assert isinstance(lifted[0], HaltsAnswered)
    assert lifted[0].state.halts == ()


def test_an_operators_close_closes_only_that_trade_of_two_on_one_symbol() -> None:
    desk = calm_desk()
    run_until(desk, lambda: len(open_trades(desk, "alpha", "beta")) == 2)
    mine, other = open_trades(desk, "alpha", "beta")
    assert mine.legs[0].symbol == other.legs[0].symbol
    close = CloseTrade(trade_id=mine.trade_id, reason="drill", requested_by="operator")
    answers = desk.operate_at(desk.engine.now_ns, "execution", close, "close-1")
    run_until(desk, lambda: desk.book.trades[mine.trade_id].state == "CLOSED", limit_s=25)
    assert isinstance(answers[0], CloseAccepted)
    assert desk.book.trades[other.trade_id].state == "OPEN"
    left = {position.symbol: position.quantity for position in desk.venue.positions()}
    assert left[mine.legs[0].symbol] == other.legs[0].held_quantity == Decimal("0.1")


def test_risk_dead_for_longer_than_its_silence_opens_nothing_and_closes_go_on() -> None:
    desk = calm_desk()
    run_until(desk, lambda: any(trade.state == "OPEN" for trade in desk.book.trades.values()))
    risk = desk.nodes["risk"]
    risk.heal(Faults(restart_after_max_ms=10**12))
    risk.crash()
    desk.engine.run_until(desk.engine.now_ns + 10 * SECOND)
    known = set(desk.book.trades)
    run_until(desk, lambda: all(trade.is_final for trade in desk.book.trades.values()), limit_s=200)
    assert set(desk.book.trades) == known
    assert desk.venue.positions() == ()


def test_strategy_host_dead_the_deadline_is_enforced_by_execution() -> None:
    desk = calm_desk()
    run_until(desk, lambda: any(trade.state == "OPEN" for trade in desk.book.trades.values()))
    host = desk.nodes["strategy"]
    host.heal(Faults(restart_after_max_ms=10**12))
    host.crash()
    run_until(desk, lambda: all(trade.is_final for trade in desk.book.trades.values()), limit_s=300)
    assert list(liveness_violations(desk.venue, desk.book)) == []


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(5789, id="the clock is set back between the ends of an opening's orders"),
        pytest.param(6666, id="trades begin after all seemed to be at rest, as the pause had not reached the host"),
        pytest.param(4835, id="an intent is accepted after its strategy was paused"),
    ],
)
def test_a_run_is_judged_only_by_what_the_desk_could_know(seed: int) -> None:
    assert simulate(seed).violations == ()
