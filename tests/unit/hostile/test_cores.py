"""Well-typed nonsense at every core: a typed answer to each request, and no exception from whatever is published."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.marketdata.effects import ReadKey, ReadVenue
from shared.bus.frames import Header, encode_frame
from shared.messages.base import Message
from shared.messages.control import GrantGiven, HaltsAnswered, RequestGrant
from shared.messages.grants import signed
from shared.messages.on_demand import GetKlines, GetOrderBook, LeaseBooks
from shared.messages.steps import Inbound, Publish, Reply, ReplyReceived, Request, StreamSynced, Tick
from shared.messages.system import GetStates, GetStatus, Replay
from shared.messages.topics import TOPICS
from shared.messages.trades import OpenTrade
from tests.hostile import absurd, all_messages, as_received
from tests.unit.execution import play
from tests.unit.marketdata import test_books as books_desk
from tests.unit.monitor.desk import Script as MonitorScript
from tests.unit.risk import desk as risk_desk
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.test_host_entry import straddler

MANY = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
HEADER = Header("x", 1, 0, "m", "", 1)
REQUESTS = tuple(kind for kind in all_messages() if kind not in (GetStates, GetStatus, Replay))
"""The bus itself answers the others."""


def received(*kinds: type[Message], known: tuple[str, ...] = ()) -> st.SearchStrategy[Any]:
    """Absurd messages of these kinds as a reader of the bus gets them."""
    made = st.sampled_from(kinds).flatmap(lambda kind: absurd(kind, known)).map(as_received)
    return made.filter(lambda message: message is not None)


def published_by(publisher: str, known: tuple[str, ...]) -> st.SearchStrategy[Inbound]:
    """What the bus lets through from a publisher that has lost its mind."""
    rows = [row for row in TOPICS if row.publisher in (publisher, "*")]
    return st.sampled_from(rows).flatmap(
        lambda row: received(row.message, known=known).map(
            lambda message: Inbound(row.pattern, message, "m", publisher, 1)
        )
    )


def answer_to(request_id: str, step: Any) -> Message:
    """The one answer to a request; it can be sent."""
    (answer,) = [each.message for each in step.effects if isinstance(each, Reply) and each.request_id == request_id]
    assert encode_frame("reply", HEADER, answer)
    return answer  # type: ignore[no-any-return]


@MANY
@given(st.data())
def test_execution_answers_every_request_and_keeps_its_trade(data: st.DataObject) -> None:
    script = play.Script().started()
    trade_id = script.opened(play.leg(play.CALL, "buy"))
    known = (trade_id, play.CALL, play.ACCOUNT, "demo-1")
    for number in range(data.draw(st.integers(1, 6))):
        message = data.draw(received(*REQUESTS, *[OpenTrade] * 30, known=known))
        if isinstance(message, OpenTrade) and data.draw(st.booleans()):
            message = msgspec.structs.replace(
                message,
                account_id=play.ACCOUNT,
                intent_id=f"{message.strategy}-{message.ordinal}",
                grant=signed(message.grant, play.KEY),
            )
        script.on(Request(f"q{number}", message, "c"))
        for _ in range(60):
            # what the venue is asked for has its answer at the latest when that is given up
            if any(isinstance(each, Reply) and each.request_id == f"q{number}" for each in script.effects):
                break
            script.wait(1_000)
        answer_to(f"q{number}", script)
        script.wait(1_500)
    assert trade_id in script.core.book.trades
    assert script.core.book == script.refolded().book


@pytest.mark.long
@MANY
@given(st.data())
def test_an_intent_of_risk_that_lost_its_mind_is_refused_or_worked_and_no_more(data: st.DataObject) -> None:
    """Every figure of a signed intent may be absurd; what remains is a trade or a refusal, never an exception."""
    script = play.Script().started()
    sane = play.intent(play.leg(play.CALL, "buy"), play.leg(play.PUT, "sell"))
    changed = data.draw(received(OpenTrade, known=(play.CALL, play.PUT)))
    for name in data.draw(st.sets(st.sampled_from([f.name for f in msgspec.structs.fields(OpenTrade)]), max_size=4)):
        if name not in ("grant", "intent_id", "account_id", "strategy", "ordinal"):
            sane = msgspec.structs.replace(sane, **{name: getattr(changed, name)})
    grant = sane.grant
    for name in data.draw(st.sets(st.sampled_from(["legs", "deadline_ns", "issued_ns", "margin_usd"]), max_size=2)):
        grant = msgspec.structs.replace(grant, **{name: getattr(changed.grant, name)})
    message = msgspec.structs.replace(sane, grant=signed(grant, play.KEY))
    script.on(Request("q", message, "c"))
    answer_to("q", script)
    for number in range(1, 10):
        for order in script.placed()[-1:]:
            script.fills_all(order, number)
        script.wait(1_000)
    for each in script.effects:
        if isinstance(each, Publish):
            assert encode_frame(each.topic, HEADER, each.message)
    assert script.core.book == script.refolded().book


@MANY
@given(st.data())
def test_execution_survives_whatever_is_published(data: st.DataObject) -> None:
    script = play.Script().started()
    trade_id = script.opened(play.leg(play.CALL, "buy"))
    for _ in range(data.draw(st.integers(1, 6))):
        publisher = data.draw(st.sampled_from(["marketdata", "risk", "strategy"]))
        script.on(data.draw(published_by(publisher, (play.CALL, script.listing.list_id, "BTCUSD", "risk"))))
        script.wait(500)
    assert script.state(trade_id) in ("OPEN", "CLOSING", "PENDING_CLOSE", "CLOSED")


@MANY
@given(st.data())
def test_risk_answers_every_request(data: st.DataObject) -> None:
    script = risk_desk.Script().ready()
    script.granted(risk_desk.ask("s-1"))
    known = (risk_desk.CALL_110, risk_desk.ACCOUNT, "s-1")
    for number in range(data.draw(st.integers(1, 6))):
        message = data.draw(received(*REQUESTS, *[RequestGrant] * 30, known=known))
        if isinstance(message, RequestGrant) and data.draw(st.booleans()):
            message = msgspec.structs.replace(message, account_id=risk_desk.ACCOUNT)
        answer = answer_to(f"q{number}", script.on(Request(f"q{number}", message, "c")))
        if isinstance(answer, GrantGiven):
            assert all(leg.max_quantity > 0 for leg in answer.grant.legs)
            assert answer.grant.max_loss_usd is None or 0 <= answer.grant.max_loss_usd < 1e12


@MANY
@given(st.data())
def test_risk_survives_whatever_is_published_and_answered(data: st.DataObject) -> None:
    script = risk_desk.Script().ready()
    known = (risk_desk.CALL_110, risk_desk.ACCOUNT, "s-1", "BTCUSD", risk_desk.LISTED.list_id)
    for number in range(data.draw(st.integers(1, 6))):
        publisher = data.draw(st.sampled_from(["marketdata", "execution"]))
        script.on(data.draw(published_by(publisher, known)), number)
        script.on(ReplyReceived("r", data.draw(received(HaltsAnswered, *REQUESTS)), "m"), number)
        script.poll(number)
        script.answer(risk_desk.ask(f"s-{number}"), number)


@MANY
@given(st.data())
def test_a_strategy_host_answers_every_request_and_survives_every_answer(data: st.DataObject) -> None:
    desk = Dialogue(straddler())
    desk.ready()
    for number in range(data.draw(st.integers(1, 6))):
        message = data.draw(received(*REQUESTS, known=("straddler", "pause", "resume", "stop")))
        desk.put(Request(f"q{number}", message, "c"))
        assert encode_frame("reply", HEADER, desk.replies[f"q{number}"])
        if desk.sent:
            desk.answer(data.draw(received(GrantGiven, *REQUESTS)))
        desk.wait(1)


@MANY
@given(st.data())
def test_a_strategy_host_survives_whatever_is_published(data: st.DataObject) -> None:
    desk = Dialogue(straddler())
    desk.ready()
    for _ in range(data.draw(st.integers(1, 6))):
        publisher = data.draw(st.sampled_from(["marketdata", "risk", "execution"]))
        desk.put(data.draw(published_by(publisher, ("paper", "straddler", "BTCUSD", "t1"))))
        desk.put(StreamSynced("execution", 1))
        desk.wait(1)
    assert desk.status().state in ("running", "paused", "failed")


@MANY
@given(st.data())
def test_market_data_answers_every_request_or_asks_the_venue_for_it(data: st.DataObject) -> None:
    desk = books_desk.Desk()
    for number in range(data.draw(st.integers(1, 6))):
        message = data.draw(received(*REQUESTS, *[LeaseBooks, GetOrderBook, GetKlines] * 10, known=(books_desk.A,)))
        step = desk.on(Request(f"q{number}", message, "c"), number)
        if not any(isinstance(each, ReadVenue) for each in step.effects):
            answers = [each for each in step.effects if isinstance(each, Reply)]
            assert [answer.request_id for answer in answers] == [f"q{number}"] or isinstance(message, ReadKey)
            assert all(encode_frame("reply", HEADER, answer.message) for answer in answers)


@MANY
@given(st.data())
def test_the_monitor_survives_whatever_is_published_and_can_show_it(data: st.DataObject) -> None:
    script = MonitorScript()
    for number in range(data.draw(st.integers(1, 8))):
        publisher = data.draw(st.sampled_from(["marketdata", "risk", "execution", "strategy"]))
        script.on(data.draw(published_by(publisher, ("main", "execution", "t1"))), number)
        script.on(Tick(), number + 0.5)
