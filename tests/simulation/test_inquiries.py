"""An operator asks what makers quote while everything goes wrong: nothing is accepted, nothing is left behind."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from services.execution.inquiry_rows import InquiryAsked
from shared.messages.inquiries import QuoteStructure, StructureQuotes
from shared.messages.trades import LegOrder, Refusal
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange
from world.simulate import START_NS, decided_wrongly, disturb, failures

pytestmark = pytest.mark.simulation

WEATHER = {
    "calm": Faults.none(),
    "answers are lost": Faults(answer_lost=0.5, request_lost=0.2, stream_lost=0.3),
    "execution dies": Faults(crash_per_minute=4.0, restart_after_max_ms=1_500, torn_write=0.05),
    "everything": Faults(
        answer_lost=0.2,
        request_lost=0.1,
        request_late=0.1,
        stream_lost=0.2,
        read_fails=0.2,
        query_lag_ms=1_500,
        stream_drop_per_minute=4.0,
        stream_duplicate=0.2,
        stream_reorder_ms=2_000,
        crash_per_minute=2.0,
        bus_drop=0.1,
        bus_duplicate=0.1,
    ),
}
INQUIRIES = 6
EVERY_S = 15


def spread_of(desk: Desk, random: Random) -> QuoteStructure:
    """Two options of the list, one bought and one sold."""
    symbols = [each.symbol for each in desk.venue.exchange.instruments("BTC")]
    low, high = random.sample(symbols, 2)
    legs = (
        LegOrder(symbol=low, side="buy", quantity=Decimal("0.1")),
        LegOrder(symbol=high, side="sell", quantity=Decimal("0.1")),
    )
    return QuoteStructure(legs=legs, collect_s=random.choice((1.0, 6.0)), requested_by="operator")


@pytest.mark.parametrize("weather", WEATHER)
def test_whatever_happens_an_inquiry_is_answered_withdrawn_and_trades_nothing(weather: str) -> None:
    seed = 11
    random = Random(f"{weather} {seed}")
    desk = Desk(Engine(START_NS, seed), WEATHER[weather], [], small_exchange(seed))
    disturb(desk, WEATHER[weather], desk.engine.now_ns + (10 + INQUIRIES * EVERY_S) * SECOND)
    desk.engine.run_until(desk.engine.now_ns + 10 * SECOND)
    answers = []
    for number in range(INQUIRIES):
        when_ns = desk.engine.now_ns + number * EVERY_S * SECOND
        asked = spread_of(desk, random)
        # A client that hears nothing asks again under the same id.
        for after_s in (0, 5, 12, 40, 90):
            at_ns = when_ns + after_s * SECOND
            answers.append(desk.operate_at(at_ns, "execution", asked, f"inquiry-{number}"))
    desk.engine.run_until(desk.engine.now_ns + INQUIRIES * EVERY_S * SECOND)
    desk.heal()
    desk.engine.run_until(desk.engine.now_ns + 120 * SECOND)
    book = desk.book
    assert book.inquiries.live == {}
    assert list(desk.venue.rfqs.active()) == []
    assert not desk.venue.rfqs.accepted
    assert not desk.venue.positions()
    told = [answer for received in answers for answer in received]
    assert all(isinstance(answer, StructureQuotes | Refusal) for answer in told)
    asked_rows = [e.row for e in desk.nodes["execution"].journal.entries if isinstance(e.row, InquiryAsked)]
    assert len({row.inquiry_id for row in asked_rows}) == len(asked_rows), "each is asked once"
    assert len(desk.venue.exchange.rfq.requests("sim")) <= len(asked_rows)
    assert [str(each) for each in (*decided_wrongly(desk), *failures(desk.nodes.values()))] == []
    if weather == "calm":
        quoted = [answer for answer in told if isinstance(answer, StructureQuotes) and answer.quote_count]
        assert quoted
