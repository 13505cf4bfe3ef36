"""The transition tables are the whole truth: what they do not name cannot happen."""

from __future__ import annotations

from typing import get_args

import pytest

from services.execution import rows
from services.execution.states import (
    ORDER_TRANSITIONS,
    RFQ_TRANSITIONS,
    TRADE_TRANSITIONS,
    diagram,
    order_may_move,
    trade_may_move,
)
from shared.messages.rfq import FINAL_RFQ_STATES, RfqState
from shared.messages.steps import Entry
from shared.messages.trades import FINAL_ORDER_STATES, FINAL_TRADE_STATES, OrderState, TradeState
from tests.unit.execution.play import CALL, T0, Script, leg

TRADE_STATES: tuple[TradeState, ...] = get_args(TradeState)
ORDER_STATES: tuple[OrderState, ...] = get_args(OrderState)


def _reachable(table: dict[TradeState, dict[TradeState, str]], start: TradeState) -> set[TradeState]:
    found: set[TradeState] = set()
    front: list[TradeState] = [start]
    while front:
        state = front.pop()
        if state not in found:
            found.add(state)
            front += table[state]
    return found


def test_every_state_is_in_its_table_and_every_trade_can_come_to_an_end() -> None:
    assert set(TRADE_TRANSITIONS) == set(TRADE_STATES)
    assert set(ORDER_TRANSITIONS) == set(ORDER_STATES)
    assert _reachable(TRADE_TRANSITIONS, "PENDING_OPEN") == set(TRADE_STATES)
    for state in TRADE_STATES:
        assert _reachable(TRADE_TRANSITIONS, state) & FINAL_TRADE_STATES


def test_a_final_trade_is_left_only_as_broken_and_filled_orders_never() -> None:
    for state in FINAL_TRADE_STATES:
        assert set(TRADE_TRANSITIONS[state]) == {"BROKEN"}  # type: ignore[index]
    for name in ("FILLED", "CANCELLED", "EXPIRED"):
        assert not ORDER_TRANSITIONS[name]
    into_unknown = {state for state, targets in ORDER_TRANSITIONS.items() if "UNKNOWN" in targets}
    assert into_unknown == {"SENDING"}
    assert not any("SENDING" in targets for targets in ORDER_TRANSITIONS.values())


def test_a_request_accepts_one_quote_at_most_and_an_accept_in_doubt_is_left_by_evidence_alone() -> None:
    assert set(RFQ_TRANSITIONS) == set(get_args(RfqState))
    into_accepting = {state for state, targets in RFQ_TRANSITIONS.items() if "ACCEPTING" in targets}
    assert into_accepting == {"COLLECTING"}
    assert not any("COLLECTING" in RFQ_TRANSITIONS[state] for state in RFQ_TRANSITIONS if state != "REQUESTING")
    assert not any("REQUESTING" in targets for targets in RFQ_TRANSITIONS.values())
    assert set(RFQ_TRANSITIONS["ACCEPT_UNKNOWN"]) == {"FILLED", "CANCELLING", "CANCELLED"}
    # A request that is over is live again only because it was executed or found at the venue after all.
    for state in FINAL_RFQ_STATES:
        assert set(RFQ_TRANSITIONS[state]) <= {"FILLED", "CANCELLING"}  # type: ignore[index]


@pytest.mark.parametrize("source", TRADE_STATES)
@pytest.mark.parametrize("target", TRADE_STATES)
def test_the_fold_takes_exactly_the_trade_transitions_of_the_table(source: TradeState, target: TradeState) -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    script.core.book.trades[trade_id].state = source
    entry = Entry(T0, "", rows.TradeMoved(trade_id=trade_id, state=target, reason="x"))
    if trade_may_move(source, target):
        script.core.apply(entry)
        assert script.state(trade_id) == target
    else:
        with pytest.raises(AssertionError):
            script.core.apply(entry)


@pytest.mark.parametrize("source", ORDER_STATES)
@pytest.mark.parametrize("target", ORDER_STATES)
def test_the_fold_takes_exactly_the_order_transitions_of_the_table(source: OrderState, target: OrderState) -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (placed,) = script.placed()
    order = script.core.book.orders[placed.client_order_id]
    order.state = source
    entry = Entry(T0, "", rows.OrderMoved(client_order_id=order.client_order_id, state=target, reason="x"))
    if order_may_move(source, target):
        script.core.apply(entry)
        assert order.state == target
    else:
        with pytest.raises(AssertionError):
            script.core.apply(entry)


def test_the_diagrams_show_every_transition_and_every_end() -> None:
    drawn = diagram(TRADE_TRANSITIONS)
    assert drawn.startswith("stateDiagram-v2")
    assert drawn.count("-->") == sum(map(len, TRADE_TRANSITIONS.values())) + len(FINAL_TRADE_STATES)
    assert diagram(ORDER_TRANSITIONS).count("--> [*]") == len(FINAL_ORDER_STATES)
