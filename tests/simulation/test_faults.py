"""Each fault does what it says: seen where it acts, not by what the desk makes of it."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import msgspec
import pytest

from services.exchange.config import RateLimitConfig
from services.exchange.server.ratelimits import Group
from shared.messages.steps import Inbound, ReplyReceived, RequestTimedOut, Tick
from shared.messages.system import Heartbeat
from shared.messages.venue import (
    CancelAcked,
    CancelRefused,
    NewOrder,
    OrderAcked,
    OrderRef,
    OrderRefused,
    OutcomeUnknown,
    StreamDown,
    VenueFill,
    VenueOrder,
)
from tests.simulation.test_world import calm_desk, run_until
from world.bus import WorldBus
from world.desk import Desk
from world.engine import Engine
from world.faults import MS, SECOND, UNDRAWN, Faults
from world.intruder import Intruder
from world.node import Crashed, _MortalJournal
from world.rates import OrderRates
from world.scenario import small_exchange, three_strategies
from world.simulate import START_NS

pytestmark = pytest.mark.simulation


def buy(desk: Desk, number: int = 1) -> NewOrder:
    """An order for the first option of the chain that somebody sells."""
    chain = desk.venue.exchange.chain("BTCUSD", desk.venue.exchange.instruments("BTC")[0].expiry_ns)
    assert chain is not None
    row = next(row for row, ask in enumerate(chain.ask) if ask > 0)
    return NewOrder(
        client_order_id=number,
        symbol=chain.symbols[row],
        side="buy",
        quantity=Decimal("0.1"),
        price=Decimal(repr(float(chain.ask[row]))),
        reduce_only=False,
    )


def answer_to(desk: Desk, order: NewOrder) -> Any:
    answers: list[Any] = []
    desk.venue.place(order, answers.append)
    desk.engine.run_until(desk.engine.now_ns + 4 * SECOND)
    (answer,) = answers
    return answer


def test_a_clock_that_is_set_forward_is_followed_and_one_that_is_set_back_is_not() -> None:
    desk = calm_desk()
    node = desk.nodes["risk"]
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    desk.machine.set_clock(3 * SECOND)
    assert node.now_ns == desk.engine.now_ns + 3 * SECOND
    desk.machine.set_clock(-3 * SECOND)
    before_ns = node.now_ns
    desk.engine.run_until(desk.engine.now_ns + SECOND)
    assert before_ns < node.now_ns < before_ns + SECOND
    node.crash(down_ns=0)
    desk.engine.run_until(desk.engine.now_ns + SECOND)
    assert node.now_ns == desk.engine.now_ns - 3 * SECOND, "a new process takes the wall's time as it is"


def test_the_first_time_that_the_clock_is_set_back_no_process_goes_back_with_it() -> None:
    desk = calm_desk()
    node = desk.nodes["execution"]
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    before_ns = node.now_ns
    desk.machine.set_clock(-3 * SECOND)
    desk.engine.run_until(desk.engine.now_ns + SECOND)
    assert before_ns < node.now_ns < before_ns + SECOND


def test_a_write_that_is_torn_leaves_nothing_and_ends_the_process() -> None:
    desk = calm_desk()
    node = desk.nodes["execution"]
    run_until(desk, lambda: node.alive)
    rows = list(node.journal.entries)
    node.heal(Faults(torn_write=1.0))
    with pytest.raises(Crashed):
        _MortalJournal(node).append([*rows[:1]])
    assert node.journal.entries == rows


def test_an_outage_keeps_a_service_down_for_its_time() -> None:
    desk = calm_desk()
    risk = desk.nodes["risk"]
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    risk.crash(down_ns=20 * SECOND)
    desk.engine.run_until(desk.engine.now_ns + 19 * SECOND)
    assert not risk.alive
    desk.engine.run_until(desk.engine.now_ns + 2 * SECOND)
    assert risk.alive


def heard_by(desk: Desk, *names: str) -> list[tuple[str, Any]]:
    """What these services are handed from now on, each item with who got it."""
    heard: list[tuple[str, Any]] = []

    def listen(name: str) -> None:
        desk.nodes[name].on_batch = lambda items, now_ns: heard.extend((name, item) for item in items)

    for name in names:
        listen(name)
    return heard


def test_two_services_that_are_cut_off_hear_nothing_of_each_other_and_then_again() -> None:
    desk = calm_desk()
    desk.engine.run_until(desk.engine.now_ns + 5_500 * MS)
    heard = heard_by(desk, "execution", "risk", "strategy", "monitor")

    def beats(since: int = 0) -> set[tuple[str, str]]:
        return {
            (name, item.message.service)
            for name, item in heard[since:]
            if isinstance(item, Inbound) and isinstance(item.message, Heartbeat)
        }

    desk.bus.cut_off("risk")
    desk.engine.run_until(desk.engine.now_ns + 2_900 * MS)
    cut = beats()
    before = len(heard)
    desk.engine.run_until(desk.engine.now_ns + 15 * SECOND)
    lost = beats(before) - cut
    (other,) = {name for pair in lost for name in pair} - {"risk"}
    assert (other, "risk") in lost
    assert lost <= {(other, "risk"), ("risk", other)}


def test_a_cut_before_anybody_listens_cuts_nobody_off() -> None:
    bus = WorldBus(Engine(START_NS, 1), Faults(), "main")
    bus.cut_off("strategy")
    assert list(bus.missed(START_NS + SECOND)) == []


def test_an_answer_with_which_two_services_are_cut_off_is_lost_and_at_times_its_giver_dies() -> None:
    desk = Desk(
        Engine(START_NS, 1), Faults(bus_cut_at_answer=1.0), three_strategies(1, mode="limit"), small_exchange(1)
    )
    heard = heard_by(desk, "strategy")
    desk.engine.run_until(desk.engine.now_ns + 60 * SECOND)
    taken = [item for _, item in heard if isinstance(item, ReplyReceived | RequestTimedOut)]
    assert isinstance(taken[0], RequestTimedOut), "what is asked again once they hear each other is answered"
    assert desk.nodes["risk"].starts > 1


def test_a_throttled_venue_refuses_and_does_nothing() -> None:
    desk = calm_desk()
    desk.venue.throttle(10 * SECOND)
    order = buy(desk)
    answer = answer_to(desk, order)
    assert isinstance(answer, OrderRefused)
    assert answer.kind == "throttled"
    answers: list[Any] = []
    ref = OrderRef(client_order_id=order.client_order_id, venue_order_id=None, symbol=order.symbol)
    desk.venue.cancel(ref, answers.append)
    desk.engine.run_until(desk.engine.now_ns + SECOND)
    assert isinstance(answers[0], CancelRefused)
    assert desk.venue.exchange.order(desk.venue.account_id, client_order_id=1) is None


def test_a_venue_with_a_limit_per_second_refuses_what_is_too_many_of_each_kind_and_takes_the_next_second() -> None:
    faults = Faults(orders_per_s=2, venue_delay_max_ms=1)
    desk = Desk(Engine(START_NS, 1), faults, (), small_exchange(1))

    def placed(*numbers: int) -> list[type]:
        answers: list[Any] = []
        for number in numbers:
            desk.venue.place(buy(desk, number), answers.append)
        desk.engine.run_until(desk.engine.now_ns + 100 * MS)
        return [type(answer) for answer in answers]

    assert placed(1, 2, 3) == [OrderAcked, OrderAcked, OrderRefused]
    assert desk.venue.exchange.order(desk.venue.account_id, client_order_id=3) is None
    answers: list[Any] = []
    desk.venue.cancel(OrderRef(client_order_id=3, venue_order_id=None, symbol=buy(desk).symbol), answers.append)
    desk.engine.run_until(desk.engine.now_ns + 100 * MS)
    assert "too many" not in answers[0].text
    assert placed(4) == [OrderRefused]
    desk.engine.run_until(desk.engine.now_ns + SECOND)
    assert placed(5) == [OrderAcked]
    desk.heal()
    assert placed(*range(6, 36)) == [OrderAcked] * 30


def test_after_a_call_too_many_its_kind_is_refused_for_the_time_of_the_penalty() -> None:
    rates, faults = OrderRates(RateLimitConfig()), Faults(orders_per_s=1, rate_penalty_ms=5_000)

    def refused(group: Group, at_s: float) -> bool:
        return rates.refuses(group, faults, START_NS + round(at_s * SECOND))

    assert [refused("place_order", at_s) for at_s in (0.0, 0.5, 1.5, 5.4, 5.6)] == [False, True, True, True, False]
    assert not refused("cancel_order", 5.6)


def test_a_late_cancel_is_acknowledged_while_the_order_still_rests() -> None:
    desk = calm_desk(faults=Faults(cancel_late=1.0))
    numbers = range(1, 11)
    resting: list[int] = []

    def is_open(number: int) -> bool:
        placed = desk.venue.exchange.order(desk.venue.account_id, client_order_id=number)
        assert placed is not None
        return placed.state.is_open

    def look(answer: Any) -> None:
        assert isinstance(answer, CancelAcked)
        resting.extend([answer.client_order_id] * is_open(answer.client_order_id))

    for number in numbers:
        offered = buy(desk, number)
        order = msgspec.structs.replace(offered, price=offered.price // 100 * 100 - 300)
        assert isinstance(answer_to(desk, order), OrderAcked)
        ref = OrderRef(client_order_id=number, venue_order_id=None, symbol=order.symbol)
        desk.venue.cancel(ref, look)
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    assert len(resting) > len(numbers) // 2
    assert not any(map(is_open, numbers))


def test_an_expired_request_is_carried_out_long_after_it_was_given_up() -> None:
    desk = calm_desk(faults=Faults(request_expired=1.0))
    assert isinstance(answer_to(desk, buy(desk)), OutcomeUnknown)
    desk.engine.run_until(desk.engine.now_ns + 7 * SECOND)
    assert desk.venue.exchange.order(desk.venue.account_id, client_order_id=1) is None
    desk.engine.run_until(desk.engine.now_ns + 14 * SECOND)
    assert desk.venue.exchange.order(desk.venue.account_id, client_order_id=1) is not None
    assert 1 in desk.venue.expired


def test_a_server_error_tells_nothing_and_the_order_was_placed_or_not() -> None:
    desk = calm_desk(faults=Faults(server_error=1.0))
    placed = []
    for number in range(1, 21):
        assert isinstance(answer_to(desk, buy(desk, number)), OutcomeUnknown)
        placed.append(desk.venue.exchange.order(desk.venue.account_id, client_order_id=number) is not None)
    assert any(placed)
    assert not all(placed)


def test_a_late_read_tells_what_was_true_when_it_was_made() -> None:
    desk = calm_desk(faults=Faults(read_late=1.0))
    answers: list[Any] = []
    desk.venue.reads.query(1, desk.engine.now_ns, answers.append)
    desk.engine.after(60 * MS, lambda: desk.venue.place(buy(desk), lambda _: None))
    desk.engine.run_until(desk.engine.now_ns + 8 * SECOND)
    assert desk.venue.exchange.order(desk.venue.account_id, client_order_id=1) is not None
    assert answers[0].order is None


def test_a_silent_stream_stays_up_and_tells_nothing() -> None:
    desk = calm_desk()
    node = desk.nodes["execution"]
    told: list[Any] = []
    pushed = (VenueOrder, VenueFill, StreamDown)
    node.on_batch = lambda items, now_ns: told.extend(item for item in items if isinstance(item, pushed))
    run_until(desk, lambda: node.alive and node.core.is_synced)
    desk.venue.stream.fall_silent(10 * SECOND)
    answer_to(desk, buy(desk, 1))
    assert told == []
    desk.engine.run_until(desk.engine.now_ns + 10 * SECOND)
    told.clear()
    answer_to(desk, buy(desk, 2))
    assert told != []


def test_a_frozen_market_sends_nothing_or_the_same_again() -> None:
    desk = calm_desk()
    node = desk.nodes["marketdata"]
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    seen: list[Any] = []
    node.on_batch = lambda items, now_ns: seen.extend(item for item in items if not isinstance(item, Tick))
    desk.freeze_market(5 * SECOND, repeats=False)
    desk.engine.run_until(desk.engine.now_ns + SECOND // 2)
    seen.clear()
    desk.engine.run_until(desk.engine.now_ns + 4 * SECOND)
    assert seen == []
    desk.freeze_market(5 * SECOND, repeats=True)
    desk.engine.run_until(desk.engine.now_ns + 4 * SECOND)
    assert len(seen) > len({id(item) for item in seen}) > 0


def test_somebody_else_leaves_positions_and_orders_that_are_not_the_desks() -> None:
    desk = calm_desk()
    Intruder(desk, 1.0, desk.engine.now_ns + 60 * SECOND)
    desk.engine.run_until(desk.engine.now_ns + 60 * SECOND)
    venue = desk.venue
    assert venue.foreign
    held = {position.symbol: position.quantity for position in venue.positions()}
    for symbol, quantity in venue.foreign.items():
        assert held.get(symbol, Decimal(0)) == quantity
    assert not venue.own_positions().keys() & venue.foreign.keys()
    assert any(order.order_id in venue.by_hand for order in venue.exchange.open_orders(venue.account_id))


def test_a_drawn_mix_has_every_fault_off_in_some_seeds_and_on_in_others_and_says_which() -> None:
    mixes = [Faults.swarm(Random(seed)) for seed in range(200)]
    for name in Faults.__struct_fields__:
        assert (len({getattr(mix, name) for mix in mixes}) > 1) == (name not in UNDRAWN), name
    named = Faults(crash_per_minute=0.5, query_lag_ms=200).mix()
    assert named == "crash_per_minute=0.5 query_lag_ms=200"
