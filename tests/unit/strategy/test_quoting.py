"""A strategy that works its own orders: they go to execution while it runs, and are withdrawn when it does not."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from shared.messages.control import RequestGrant
from shared.messages.quoting import ChangeOrders, OrderAnswer, OrdersChanged, OrderToAmend, OrderToPlace
from shared.messages.trades import CancelOrders, OrderUpdate, Refusal, TradeUpdate
from shared.strategy.protocol import CloseStructure, WorkOrders
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.making import ACCOUNT_ID, NOON, SECOND, leg, trade
from tests.unit.strategy.test_host_control import CALL, OPEN_CALL, Quoter, quoter
from tests.unit.strategy.test_host_entry import of_intent

BID = OrderToPlace(symbol=CALL, side="buy", quantity=Decimal("0.1"), price=Decimal(1000), label="bid")


def quoting() -> tuple[Quoter, Dialogue, TradeUpdate]:
    """A host whose strategy has a quoting trade."""
    instance, loaded = quoter()
    desk = Dialogue(loaded)
    opened = msgspec.structs.replace(
        trade("OPENING", legs=[leg(CALL)], strategy="quoter"), execution_mode="quoting", policy="best_effort"
    )
    desk.opened(opened)
    desk.ready()
    return instance, desk, opened


def order_seen(trade_id: str) -> OrderUpdate:
    return OrderUpdate(
        client_order_id=7,
        venue_order_id=None,
        account_id=ACCOUNT_ID,
        trade_id=trade_id,
        leg_index=0,
        purpose="open",
        attempt=0,
        symbol=CALL,
        side="buy",
        quantity=Decimal(1),
        price=Decimal(1),
        filled_quantity=Decimal(0),
        average_price=None,
        state="WORKING",
        reason="",
        reduce_only=False,
        created_ns=NOON,
        updated_ns=NOON,
    )


def ask(desk: Dialogue, instance: Quoter, opened: TradeUpdate, *intents: WorkOrders) -> None:
    """The strategy answers the news of an order with these intents."""
    instance.answers["order 7"] = list(intents)
    desk.hear(order_seen(opened.trade_id))


def test_a_quoting_trade_is_granted_for_as_long_as_it_is_wanted() -> None:
    instance, loaded = quoter()
    desk = Dialogue(loaded)
    desk.synced()
    desk.beat()
    wanted = msgspec.structs.replace(OPEN_CALL, execution_mode="quoting", policy="best_effort", quoting_s=3_600.0)
    instance.answers["market BTCUSD"] = [wanted]
    desk.market()
    assert (desk.last(RequestGrant).execution_mode, desk.last(RequestGrant).opening_s) == ("quoting", 3_615.0)


def test_orders_go_to_execution_as_asked_and_refusals_come_back_with_the_trade() -> None:
    instance, desk, opened = quoting()
    amend = OrderToAmend(client_order_id=3, price=Decimal(990))
    ask(desk, instance, opened, WorkOrders(trade_id=opened.trade_id, place=(BID,), amend=(amend,), cancel=(4,)))
    change = desk.last(ChangeOrders)
    assert (change.trade_id, change.strategy) == (opened.trade_id, "quoter")
    assert (change.place, change.amend, change.cancel) == ((BID,), (amend,), (4,))
    assert desk.now_ns < change.valid_until_ns <= desk.now_ns + 60 * SECOND
    refused = OrderAnswer(label="bid", code="outside_grant", detail="no room")
    desk.answer(OrdersChanged(trade_id=opened.trade_id, placed=(refused, OrderAnswer(client_order_ids=(1,)))))
    (outcome,) = instance.outcomes
    assert (outcome.kind, outcome.code, outcome.trade_id) == ("refused", "outside_grant", opened.trade_id)
    assert outcome.reason == "bid: no room"
    assert desk.gate("intent", "quoter").open, "a refused order is no refused opening"


@pytest.mark.parametrize("answered", [True, False])
def test_a_refused_or_unanswered_request_is_told(answered: bool) -> None:
    instance, desk, opened = quoting()
    ask(desk, instance, opened, WorkOrders(trade_id=opened.trade_id, place=(BID,)))
    if answered:
        desk.answer(Refusal(code="not_quoting", detail="it ended"))
    else:
        desk.time_out()
    assert [outcome.code for outcome in instance.outcomes] == ["not_quoting" if answered else "no_answer"]


def test_two_requests_of_one_moment_have_ids_of_their_own() -> None:
    instance, desk, opened = quoting()
    work = WorkOrders(trade_id=opened.trade_id, place=(BID,))
    ask(desk, instance, opened, work, work)
    ids = [effect.request_id for effect in desk.sent if isinstance(effect.message, ChangeOrders)]
    assert len(ids) == len(set(ids)) == 2


def test_orders_of_a_trade_that_is_not_its_own_are_not_sent() -> None:
    instance, desk, opened = quoting()
    ask(desk, instance, opened, WorkOrders(trade_id="t99", place=(BID,)))
    assert desk.count(ChangeOrders) == 0


@pytest.mark.parametrize("action", ["pause", "stop"])
def test_a_strategy_that_is_told_to_pause_has_its_quoting_ended_and_may_only_cancel(action: str) -> None:
    instance, desk, opened = quoting()
    desk.command(action, "quoter")
    assert desk.last(CancelOrders).trade_id == opened.trade_id
    assert {"pause": "paused", "stop": "stopping"}[action] in desk.last(CancelOrders).requested_by
    assert desk.last(CancelOrders).keeps_stops, "what protects the position rests on"
    asked = desk.count(CancelOrders)
    desk.time_out()
    desk.wait(10)
    assert desk.count(CancelOrders) > asked, "a request that was lost is repeated"
    desk.opened(msgspec.structs.replace(opened, state="PARTIALLY_OPEN", updated_ns=desk.now_ns))
    asked = desk.count(CancelOrders)
    desk.wait(10)
    assert desk.count(CancelOrders) == asked
    ask(desk, instance, opened, WorkOrders(trade_id=opened.trade_id, place=(BID,)))
    assert desk.count(ChangeOrders) == 0
    ask(desk, instance, opened, WorkOrders(trade_id=opened.trade_id, place=(BID,), cancel=(5,)))
    assert (desk.last(ChangeOrders).place, desk.last(ChangeOrders).cancel) == ((), (5,))
    ask(desk, instance, opened, WorkOrders(trade_id=opened.trade_id, place=(BID,), cancel_all=True))
    assert (desk.last(ChangeOrders).place, desk.last(ChangeOrders).cancel_all) == ((), True)


def test_a_cancel_of_every_order_or_of_those_on_symbols_is_passed_on_as_it_is() -> None:
    instance, desk, opened = quoting()
    every = WorkOrders(trade_id=opened.trade_id, cancel_all=True, keeps_stops=True)
    some = WorkOrders(trade_id=opened.trade_id, cancel_symbols=(BID.symbol,))
    for intent, asked in ((every, (True, (), True)), (some, (False, (BID.symbol,), False))):
        ask(desk, instance, opened, intent)
        change = desk.last(ChangeOrders)
        assert (change.cancel_all, change.cancel_symbols, change.keeps_stops) == asked


def test_a_run_of_one_trade_quotes_on_when_it_has_opened_until_a_person_pauses_it() -> None:
    instance, loaded = quoter()
    desk = Dialogue(loaded)
    desk.synced()
    desk.beat()
    desk.command("run_once", "quoter")
    wanted = msgspec.structs.replace(OPEN_CALL, execution_mode="quoting", policy="best_effort", quoting_s=3_600.0)
    instance.answers["market BTCUSD"] = [wanted]
    desk.market()
    opened = msgspec.structs.replace(
        of_intent(desk.give_grant(), now_ns=desk.now_ns), execution_mode="quoting", policy="best_effort"
    )
    instance.answers["market BTCUSD"] = []
    desk.accept(opened.trade_id)
    desk.opened(opened)
    desk.wait(10)
    assert (desk.status("quoter").state, desk.count(CancelOrders)) == ("paused", 0)
    ask(desk, instance, opened, WorkOrders(trade_id=opened.trade_id, place=(BID,)))
    assert desk.last(ChangeOrders).place == (BID,)
    desk.command("pause", "quoter")
    assert desk.last(CancelOrders).trade_id == opened.trade_id


def test_a_strategy_that_fails_leaves_no_order_resting() -> None:
    instance, desk, opened = quoting()
    instance.answers["order 7"] = None  # type: ignore[assignment]
    desk.hear(order_seen(opened.trade_id))
    assert desk.status("quoter").state == "failed"
    assert [effect.message.trade_id for effect in desk.sent if isinstance(effect.message, CancelOrders)] == [
        opened.trade_id
    ]


def test_a_trade_that_execution_works_is_left_alone_by_a_pause() -> None:
    _, loaded = quoter()
    desk = Dialogue(loaded)
    desk.opened(trade("OPENING", legs=[leg(CALL)], strategy="quoter"))
    desk.ready()
    desk.command("pause", "quoter")
    assert desk.count(CancelOrders) == 0


def test_the_orders_of_a_strategy_that_is_gone_are_withdrawn() -> None:
    _, loaded = quoter()
    desk = Dialogue(loaded)
    gone = trade("OPENING", legs=[leg(CALL)], strategy="removed", trade_id="t5")
    desk.opened(msgspec.structs.replace(gone, execution_mode="quoting", policy="best_effort"))
    desk.ready()
    assert desk.last(CancelOrders).trade_id == "t5"
    assert "not loaded" in desk.last(CancelOrders).requested_by


def test_what_is_replayed_is_not_answered_with_orders() -> None:
    instance, desk, opened = quoting()
    desk.restart()
    desk.opened(opened)
    ask(desk, instance, opened, WorkOrders(trade_id=opened.trade_id, place=(BID,)))
    assert desk.count(ChangeOrders) == 0
    assert [outcome.code for outcome in instance.outcomes] == ["not_ready"]


def test_a_strategy_may_close_its_trade_while_it_quotes() -> None:
    instance, desk, opened = quoting()
    instance.answers["order 7"] = [CloseStructure(trade_id=opened.trade_id, reason="enough")]
    desk.hear(order_seen(opened.trade_id))
    assert [close.trade_id for close in desk.closes()] == [opened.trade_id]
