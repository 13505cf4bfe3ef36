"""The whole desk trading by request for quote, with answers that are lost at the worst moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.execution.effects import AcceptQuote, CreateRfq
from services.execution.rfq_rows import RfqMoved, RfqSighted
from services.execution.rows import FellBack
from shared.strategy import RfqConfig, StrategyConfig
from tests.simulation.test_world import also_long
from world.desk import DESK_NUMBER, Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.invariants import liveness_violations, naked_leg_violations, safety_violations
from world.ledger import ledger_violations
from world.rfq import VenueRfqs
from world.scenario import quoted, small_exchange, three_strategies
from world.simulate import START_NS, simulate

pytestmark = pytest.mark.simulation

EAGER = RfqConfig(
    min_notional_usd=0.0, window_seconds=4.0, timeout_seconds=12.0, min_improvement_pct=-50.0, max_over_mark_pct=50.0
)
"""Takes nearly any quote, so that a run sees many block trades."""


def by_request(config: StrategyConfig, rfq: RfqConfig = EAGER) -> StrategyConfig:
    return msgspec.structs.replace(config, execution_mode="rfq", rfq=rfq)


def desk_of(seed: int = 1, rfq: RfqConfig = EAGER) -> Desk:
    strategies = [by_request(config, rfq) for config in three_strategies(seed)]
    return Desk(Engine(START_NS, seed), Faults.none(), strategies, small_exchange(seed))


def run_until(desk: Desk, condition: Callable[[], Any], limit_s: int = 180) -> None:
    """Run in small steps until the condition holds; fails the test when it does not within the limit."""
    end_ns = desk.engine.now_ns + limit_s * SECOND
    while not condition():
        assert desk.engine.now_ns < end_ns, f"not within {limit_s} s of virtual time"
        desk.engine.run_until(desk.engine.now_ns + SECOND // 5)


def closed(desk: Desk) -> int:
    return sum(trade.state == "CLOSED" for trade in desk.book.trades.values())


def rows_of(desk: Desk, kind: type[Any]) -> list[Any]:
    return [entry.row for entry in desk.nodes["execution"].journal.entries if isinstance(entry.row, kind)]


def faulty_for(desk: Desk, kind: type[Any], faults: Faults) -> None:
    """Let the network have these faults for one kind of call, and none for the rest."""
    perform = VenueRfqs.perform

    def through(effect: Any, asked_ns: int, deliver: Any) -> None:
        desk.venue.faults = faults if isinstance(effect, kind) else Faults.none()
        perform(desk.venue.rfqs, effect, asked_ns, deliver)
        desk.venue.faults = Faults.none()

    desk.venue.rfqs.perform = through  # type: ignore[method-assign]


def kept_promises(desk: Desk) -> list[str]:
    fills = desk.venue.rfqs.named(desk.venue.exchange.fills("sim"), desk.book)
    return [
        str(violation)
        for violation in (
            *safety_violations(desk.venue, desk.book, DESK_NUMBER),
            *naked_leg_violations(fills, desk.book, DESK_NUMBER),
        )
    ]


def test_structures_open_and_close_as_block_trades_whole_and_without_a_naked_leg() -> None:
    desk = desk_of()
    run_until(desk, lambda: closed(desk) >= 3, limit_s=400)
    blocks = desk.venue.exchange.rfq.blocks("sim")
    assert len(blocks) >= 6
    assert {row.state for row in rows_of(desk, RfqMoved)} >= {"COLLECTING", "FILLED"}
    assert kept_promises(desk) == []
    assert set(desk.venue.rfqs.accepted.values()) == {1}


def test_an_accept_whose_answer_is_lost_is_found_executed_and_never_sent_again() -> None:
    desk = desk_of()
    faulty_for(desk, AcceptQuote, Faults(answer_lost=1.0))
    run_until(desk, lambda: closed(desk) >= 3, limit_s=400)
    assert set(desk.venue.rfqs.accepted.values()) == {1}
    assert kept_promises(desk) == []


def test_an_accept_that_never_arrives_falls_back_once_the_request_is_gone_and_the_lists_lack_it() -> None:
    desk = desk_of()
    faulty_for(desk, AcceptQuote, Faults(request_lost=1.0))
    run_until(desk, lambda: any(row.code == "accept_lost" for row in rows_of(desk, FellBack)))
    run_until(desk, lambda: closed(desk) >= 1, limit_s=400)
    assert not desk.venue.exchange.rfq.blocks("sim")
    assert "gone" in {row.what for row in rows_of(desk, RfqSighted)} <= {"gone", "quote_gone"}
    assert kept_promises(desk) == []


def test_creates_whose_answers_are_lost_leave_no_request_open_at_the_venue() -> None:
    desk = desk_of()
    faulty_for(desk, CreateRfq, Faults(answer_lost=1.0))
    run_until(desk, lambda: closed(desk) >= 1, limit_s=400)
    assert {row.code for row in rows_of(desk, FellBack)} == {"create_lost"}
    run_until(desk, lambda: not desk.book.rfqs.live and not list(desk.venue.rfqs.active()), limit_s=400)
    assert len(desk.venue.exchange.rfq.requests("sim")) >= 2
    assert kept_promises(desk) == []


def test_execution_killed_between_the_commit_and_the_accept_neither_loses_nor_repeats_it() -> None:
    desk = desk_of()
    node = desk.nodes["execution"]
    perform = desk._perform
    doomed: list[str] = []

    def die(target: Any, effect: Any, cause_id: str) -> None:
        if isinstance(effect, AcceptQuote) and not doomed:
            doomed.append(effect.quote_id)
            node._doom = 0
            node.count_down()
        perform(target, effect, cause_id)

    desk._perform = die  # type: ignore[method-assign]
    run_until(desk, lambda: doomed and node.starts == 2 and node.alive)
    rfq = desk.book.rfqs.of_quote(doomed[0])
    assert rfq is not None
    assert rfq.state in ("ACCEPT_UNKNOWN", "FILLED", "CANCELLED")
    run_until(desk, lambda: closed(desk) >= 2, limit_s=400)
    assert set(desk.venue.rfqs.accepted.values()) == {1}
    assert kept_promises(desk) == []


def test_a_second_accept_on_one_request_is_caught() -> None:
    desk = desk_of()
    carry_out = desk._perform

    def twice(node: Any, effect: Any, cause_id: str) -> None:
        carry_out(node, effect, cause_id)
        if isinstance(effect, AcceptQuote):
            carry_out(node, effect, cause_id)

    desk._perform = twice  # type: ignore[method-assign]
    run_until(desk, lambda: desk.venue.rfqs.accepted)
    assert any("2 quotes were accepted on request" in text for text in kept_promises(desk))


@pytest.mark.parametrize("seed", [3, *also_long(4, 5)])
def test_under_all_faults_at_once_every_promise_is_kept(seed: int) -> None:
    verdict = simulate(seed, scenario=quoted(seed))
    assert verdict.violations == ()
    assert verdict.closed


def test_at_rest_the_books_agree_to_the_last_decimal() -> None:
    desk = desk_of(2, msgspec.structs.replace(EAGER, fallback_mode=None))
    run_until(desk, lambda: closed(desk) >= 3 and not desk.book.active, limit_s=600)
    desk.engine.run_until(desk.engine.now_ns + 10 * SECOND)
    assert [str(each) for each in ledger_violations(desk.venue, desk.book)] == []
    assert not [each for each in liveness_violations(desk.venue, desk.book) if each.invariant == "fills_equal"]
