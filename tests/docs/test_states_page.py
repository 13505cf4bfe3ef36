"""The page of states is made from the tables and leaves none of their rows out."""

from services.exchange.states import TRANSITIONS
from services.execution.states import ORDER_TRANSITIONS, RFQ_TRANSITIONS, TRADE_TRANSITIONS
from services.risk.states import BREAKER_TRANSITIONS
from tests.docs.pages import blocks, page
from tests.docs.states_page import states_page


def test_the_page_is_made_from_the_tables_of_today() -> None:
    assert page("states.md") == states_page(), "run: python -m tests.docs.states_page > docs/states.md"


def test_every_transition_is_drawn_and_every_state_that_ends_leads_out() -> None:
    trades, _chunks, orders, rfqs, breakers, venue = blocks(states_page(), "mermaid")
    for drawn, transitions, finals in (
        (trades, sum(map(len, TRADE_TRANSITIONS.values())), 3),
        (orders, sum(map(len, ORDER_TRANSITIONS.values())), 5),
        (rfqs, sum(map(len, RFQ_TRANSITIONS.values())), 5),
        (breakers, sum(map(len, BREAKER_TRANSITIONS.values())), 0),
        (venue, len(TRANSITIONS), 4),
    ):
        arrows = [line for line in drawn.code.splitlines() if "-->" in line]
        assert len([line for line in arrows if "[*]" not in line]) == transitions
        assert len([line for line in arrows if "[*]" in line]) == finals
        assert not any(sign in line.partition(": ")[2] for line in arrows for sign in ":;")
