"""Stop orders of a quoting trade: one that opens is an order as any other, one that reduces protects what is held."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.execution.records import Order
from services.execution.rows import OrderRequested, StopTriggered
from services.execution.winding_down import WindDown
from shared.messages.base import Side
from shared.messages.control import RaiseHalt
from shared.messages.quoting import OrderToAmend, OrderToPlace
from shared.messages.reconciliation import ForeignOrder, LostOrder, ReconciliationReport, VanishedOrder
from shared.messages.trades import TellTrade
from shared.messages.venue import NewOrder, OutcomeUnknown, StreamDown, VenueOrder
from tests.unit.execution.play import CALL, SECOND, Script, acked, fill, leg, position, seen
from tests.unit.execution.test_perpetual_trades import PerpetualScript
from tests.unit.execution.test_quoting import change, codes, place, quoting
from tests.unit.execution.test_quoting import wish as option_wish

PERP = "BTCUSD"


def wish(quantity: str, price: str, side: Side = "buy", **more: Any) -> OrderToPlace:
    return OrderToPlace(symbol=PERP, side=side, quantity=D(quantity), price=D(price), **more)


def stop(quantity: str = "0.2", trigger: str = "98000", side: Side = "sell", price: str = "") -> OrderToPlace:
    if price:
        return OrderToPlace.stop_limit(
            PERP, side, D(quantity), trigger_price=D(trigger), price=D(price), label="stop"
        )
    return OrderToPlace.stop_market(PERP, side, D(quantity), trigger_price=D(trigger), label="stop")


def waiting(order: NewOrder, state: Any = "waiting", filled: str = "0") -> VenueOrder:
    """As the venue lists a stop order; of one without a limit it shows no price."""
    return msgspec.structs.replace(
        seen(order, state, filled),
        trigger_price=order.trigger_price,
        at_market=order.at_market,
        price=D(0) if order.at_market else order.price,
    )


def long(quantity: str = "0.2", **changes: Any) -> tuple[PerpetualScript, str]:
    """A quoting trade that holds so much of the perpetual, bought at the mark, and of which nothing rests."""
    script = PerpetualScript()
    script.started()
    answer = script.trade(leg(PERP, "buy", "1"), execution_mode="quoting", policy="best_effort", **changes)
    trade_id = str(answer.trade_id)
    (bid,) = place(script, trade_id, wish(quantity, "99990"))
    script.filled(bid, 1)
    script.effects.clear()
    return script, trade_id


def guarded(script: PerpetualScript, trade_id: str, asked: OrderToPlace | None = None) -> NewOrder:
    """Protected by a stop order that waits at the venue."""
    answer = change(script, trade_id, place=(asked or stop(),))
    assert codes(answer) == [""]
    (order,) = script.placed()
    script.on(acked(order)).on(waiting(order))
    script.effects.clear()
    return order


def kept(script: PerpetualScript, order: NewOrder) -> Order:
    """The order as the book has it."""
    return script.core.book.orders[order.client_order_id]


def at(script: PerpetualScript, *orders: VenueOrder, held: str = "0.2", **more: Any) -> None:
    """The venue as it is read now."""
    script.snapshot(orders=orders, positions=[position(PERP, held, mark=script.mark)] if D(held) else [], **more)


def _ends_closed(script: PerpetualScript, trade_id: str, order: NewOrder) -> None:
    """The stop is withdrawn, and what is held is closed only once it is seen to be gone."""
    assert script.cancelled() == [order.client_order_id]
    script.wait(2_000)
    assert script.placed() == [], "both would close it"
    script.on(waiting(order, "cancelled"))
    at(script)
    script.wait(10_000)
    (closing,) = script.placed()
    assert (closing.side, closing.quantity, closing.reduce_only) == ("sell", D("0.2"), True)
    script.filled(closing, 9)
    assert script.state(trade_id) == "CLOSED"
    assert script.refolded().book == script.core.book


def test_a_stop_goes_out_reduce_only_with_its_trigger_and_waits_is_triggered_and_filled() -> None:
    script, trade_id = long()
    assert codes(change(script, trade_id, place=(stop(),))) == [""]
    (order,) = script.placed()
    assert (order.side, order.quantity, order.reduce_only, order.post_only) == ("sell", D("0.2"), True, False)
    assert (order.trigger_price, order.at_market, order.price) == (D(98000), True, D(98000))
    requested = script.rows(OrderRequested)[-1]
    assert (requested.trigger_price, requested.at_market, requested.label) == (D(98000), True, "stop")
    script.on(acked(order)).on(waiting(order))
    told = script.order(order)
    assert (told.state, told.waits, told.trigger_price, told.at_market) == ("WORKING", True, D(98000), True)
    script.on(seen(order, "new"))
    assert (script.order(order).waits, script.order(order).state) == (False, "WORKING")
    assert len(script.rows(StopTriggered)) == 1
    script.on(waiting(order))
    assert not script.order(order).waits, "an old report does not make it wait again"
    script.on(fill(order, 2, at_ns=script.now_ns)).on(seen(order, "filled", "0.2"))
    assert (script.order(order).state, script.held(trade_id)) == ("FILLED", [D(0)])
    assert script.state(trade_id) == "OPENING", "its strategy may open again"
    story = " ".join(line.text for line in script.ask(TellTrade(trade_id=trade_id)).lines)
    assert "at the market once 98000 is reached" in story
    assert "is triggered, and in the book" in story
    assert script.refolded().book == script.core.book


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (stop(trigger="100000"), "wrong_side"),
        (stop(trigger="101000"), "wrong_side"),
        (stop(trigger="98000.05"), "bad_trigger"),
        (stop(trigger="-1"), "bad_trigger"),
        (stop(price="97900.01"), "bad_price"),
        (stop(quantity="0.2005"), "bad_quantity"),
        (stop(quantity="0.21"), "beyond_holding"),
        (stop(side="buy", trigger="100100"), "needs_limit"),
        (stop(side="buy", trigger="99900", price="100000"), "wrong_side"),
        (stop(side="buy", trigger="100100", price="100600"), "outside_grant"),
        (stop(side="buy", trigger="100100", price="100200", quantity="0.9"), "outside_grant"),
        (wish("0.1", "99000", at_market=True), "needs_trigger"),
    ],
)
def test_what_is_wrong_with_a_stop_is_refused_with_its_reason(asked: OrderToPlace, code: str) -> None:
    script, trade_id = long()
    assert codes(change(script, trade_id, place=(asked,))) == [code]
    assert script.placed() == []


def test_an_option_has_no_stops_and_the_answer_says_what_to_do() -> None:
    script = Script().started()
    trade_id = quoting(script)
    asked = msgspec.structs.replace(option_wish("1", "1100"), trigger_price=D(1050), post_only=False)
    answer = change(script, trade_id, place=(asked,))
    assert codes(answer) == ["no_stops"]
    assert CALL in answer.placed[0].detail
    assert "exit condition" in answer.placed[0].detail


def test_a_stop_without_a_fresh_mark_is_refused() -> None:
    script, trade_id = long()
    script.market_on = False
    script.wait(60_000)
    assert codes(change(script, trade_id, place=(stop(),))) == ["market_stale"]


def test_a_stop_that_opens_takes_the_room_of_its_grant_and_is_withdrawn_with_the_quotes() -> None:
    script, trade_id = long()
    opening = stop("0.8", "100100", "buy", "100200")
    assert codes(change(script, trade_id, place=(opening,))) == [""]
    (order,) = script.placed()
    assert (order.reduce_only, order.trigger_price, order.price, order.at_market) == (
        False,
        D(100100),
        D(100200),
        False,
    )
    script.on(acked(order)).on(waiting(order))
    assert codes(change(script, trade_id, place=(wish("0.001", "99990"),))) == ["outside_grant"]
    script.ask(RaiseHalt(level="no_new_trades", reason="enough", requested_by="operator"))
    assert script.cancelled() == [order.client_order_id]


def test_what_a_stop_claims_nothing_else_of_the_strategy_reduces() -> None:
    script, trade_id = long()
    guarded(script, trade_id, stop("0.15"))
    assert codes(change(script, trade_id, place=(wish("0.06", "100100", "sell"),))) == ["beyond_holding"]
    assert codes(change(script, trade_id, place=(wish("0.05", "100100", "sell"),))) == [""]


def test_the_limit_of_a_stop_is_amended_its_trigger_and_one_without_a_limit_are_not() -> None:
    script, trade_id = long()
    limited = guarded(script, trade_id, stop("0.1", price="97500"))
    market = guarded(script, trade_id, stop("0.1"))
    answer = change(
        script,
        trade_id,
        amend=(
            OrderToAmend(client_order_id=limited.client_order_id, price=D(97000)),
            OrderToAmend(client_order_id=market.client_order_id, price=D(97000)),
        ),
    )
    assert [each.code for each in answer.amended] == ["", "not_amendable"]
    script.on(msgspec.structs.replace(waiting(limited), price=D(97000)))
    told = script.order(limited)
    assert (told.price, told.waits, told.amend_price) == (D(97000), True, None)


@pytest.mark.parametrize(
    "what", ["no_new_trades", "deadline", "risk silent", "host silent", "strategy stopped", "stream", "leave"]
)
def test_it_rests_on_whatever_ends_the_quoting_and_protects_the_position(what: str) -> None:
    script, trade_id = long()
    (bid,) = place(script, trade_id, wish("0.1", "99000", post_only=True))
    order = guarded(script, trade_id)
    match what:
        case "no_new_trades":
            script.ask(RaiseHalt(level="no_new_trades", reason="enough", requested_by="operator"))
        case "deadline":
            script.wait(3_600_000)
        case "risk silent":
            script.risk_on = False
            script.wait(10_000)
        case "host silent":
            script.host_on = False
            script.wait(120_000)
        case "strategy stopped":
            script.cancel(trade_id=trade_id, keeps_stops=True)
        case "stream":
            script.on(StreamDown("lost"))
        case _:
            script.on(WindDown("leave", "execution stops"))
            assert f"order {order.client_order_id}" not in " ".join(script.core.winding_down.left())
    assert script.cancelled() == [bid.client_order_id]
    script.cancels_all(bid)
    script.wait(60_000)
    assert script.cancelled() == []
    assert kept(script, order).is_waiting
    if what in ("no_new_trades", "deadline", "risk silent", "strategy stopped"):
        assert script.state(trade_id) == "PARTIALLY_OPEN"


@pytest.mark.parametrize("held", [False, True], ids=["quoting", "held"])
@pytest.mark.parametrize("arrived", [True, False])
def test_a_cancel_of_all_ends_it_also_on_its_way_unless_stops_are_kept(held: bool, arrived: bool) -> None:
    script, trade_id = long()
    if held:
        script.cancel(trade_id=trade_id)
        script.wait(60_000)
    change(script, trade_id, place=(stop("0.2"),))
    (order,) = script.placed()
    if arrived:
        script.on(acked(order)).on(waiting(order))
    (kept_on,) = change(script, trade_id, cancel_all=True, keeps_stops=True).cancelled
    assert (kept_on.client_order_ids, kept_on.code) == ((), "")
    (ended,) = change(script, trade_id, cancel_all=True).cancelled
    assert ended.client_order_ids == (order.client_order_id,)
    if not arrived:
        assert script.cancelled() == []
        script.on(acked(order)).on(waiting(order))
    assert script.cancelled() == [order.client_order_id]


def test_when_it_fills_after_the_quoting_has_ended_the_trade_is_closed() -> None:
    script, trade_id = long()
    order = guarded(script, trade_id)
    script.cancel(trade_id=trade_id, keeps_stops=True)
    script.wait(60_000)
    assert script.state(trade_id) == "PARTIALLY_OPEN"
    script.on(seen(order, "new")).on(fill(order, 2, at_ns=script.now_ns)).on(seen(order, "filled", "0.2"))
    assert script.state(trade_id) == "CLOSED"
    assert script.told(trade_id).realized_pnl_usd == D("0.2") * (98000 - 99990)
    assert script.placed() == []


def test_a_held_position_may_be_given_a_stop_also_in_a_halt_that_opens_nothing() -> None:
    script, trade_id = long()
    script.ask(RaiseHalt(level="no_new_trades", reason="enough", requested_by="operator"))
    script.wait(60_000)
    assert script.state(trade_id) == "PARTIALLY_OPEN"
    answer = change(script, trade_id, place=(wish("0.1", "99000"), stop("0.2")))
    assert codes(answer) == ["not_quoting", ""]
    (order,) = script.placed()
    script.on(acked(order)).on(waiting(order))
    change(script, trade_id, cancel=(order.client_order_id,))
    assert script.cancelled() == [order.client_order_id]


@pytest.mark.parametrize("how", ["close", "flatten", "expired deadline"])
def test_a_close_withdraws_it_first_and_never_doubles(how: str) -> None:
    changes = {"hard_deadline_ns": PerpetualScript().now_ns + 30 * SECOND} if how == "expired deadline" else {}
    script, trade_id = long(**changes)
    order = guarded(script, trade_id)
    if how == "close":
        script.close(trade_id)
    elif how == "flatten":
        script.ask(RaiseHalt(level="flatten", reason="enough", requested_by="operator"))
    else:
        script.wait(31_000)
    _ends_closed(script, trade_id, order)


def test_a_stop_that_fills_while_it_is_withdrawn_for_a_close_leaves_nothing_to_close() -> None:
    script, trade_id = long()
    order = guarded(script, trade_id)
    script.close(trade_id)
    assert script.cancelled() == [order.client_order_id]
    script.on(fill(order, 2, "0.05", at_ns=script.now_ns)).on(waiting(order, "cancelled", "0.05"))
    at(script, held="0.15")
    script.wait(10_000)
    (closing,) = script.placed()
    assert closing.quantity == D("0.15")


@pytest.mark.parametrize("how", ["cancel_all", "trade", "everything", "one", "symbol", "shutdown"])
def test_it_is_cancelled_by_what_cancels_every_order(how: str) -> None:
    script, trade_id = long()
    order = guarded(script, trade_id)
    match how:
        case "cancel_all":
            script.ask(RaiseHalt(level="cancel_all", reason="enough", requested_by="operator"))
            script.on(waiting(order, "cancelled"))
            assert codes(change(script, trade_id, place=(stop(),))) == ["halted"]
        case "trade":
            script.cancel(trade_id=trade_id)
        case "everything":
            script.cancel()
        case "one":
            script.cancel(client_order_id=order.client_order_id)
        case "symbol":
            script.cancel(symbol=PERP)
        case _:
            script.on(WindDown("cancel", "execution stops"))
    assert script.cancelled() == [order.client_order_id]


def test_an_unknown_outcome_is_looked_for_and_found_waiting() -> None:
    script, trade_id = long()
    change(script, trade_id, place=(stop(),))
    (order,) = script.placed()
    script.on(OutcomeUnknown(client_order_id=order.client_order_id, reason="lost"))
    assert script.order(order).state == "UNKNOWN"
    assert codes(change(script, trade_id, place=(stop("0.1"),))) == ["beyond_holding"], "it may be there"
    script.wait(1_000)
    assert script.queries() == [order.client_order_id]
    script.queried(order, waiting(order))
    assert (script.order(order).state, script.order(order).waits) == ("WORKING", True)
    assert script.placed() == []


@pytest.mark.parametrize("step", ["requested", "acked", "waiting", "triggered", "partly filled", "cancelling"])
def test_execution_dies_at_each_step_and_the_next_process_takes_it_up(step: str) -> None:
    """Replayed at each step: nothing is sent twice, and the stop goes on where it was, filled in the dark or not."""
    script, trade_id = long()
    change(script, trade_id, place=(stop(),))
    (order,) = script.placed()
    if step != "requested":
        script.on(acked(order))
    if step in ("waiting", "triggered", "partly filled", "cancelling"):
        script.on(waiting(order))
    if step in ("triggered", "partly filled"):
        script.on(seen(order, "new"))
    if step == "partly filled":
        script.on(fill(order, 2, "0.05", at_ns=script.now_ns)).on(seen(order, "partial", "0.05"))
    if step == "cancelling":
        script.cancel(client_order_id=order.client_order_id)
    before = script.order(order)
    script.restarted()
    known = kept(script, order)
    assert (known.trigger_price, known.at_market) == (D(98000), True)
    assert known.state == ("UNKNOWN" if step == "requested" else before.state)
    script.wait(2_000)
    assert script.placed() == []
    # the price was reached while nobody listened
    rest = D("0.15") if step == "partly filled" else D("0.2")
    executed = [fill(order, 3, rest, at_ns=script.now_ns)]
    at(script, waiting(order, "filled", "0.2"), held="0", fills=executed)
    assert (script.held(trade_id), script.order(order).state) == ([D(0)], "FILLED")
    script.wait(60_000)
    assert (script.placed(), script.alerts()) == ([], [])
    assert script.refolded().book == script.core.book


def test_a_comparison_knows_a_stop_that_waits_listed_or_not() -> None:
    script, trade_id = long()
    order = guarded(script, trade_id)
    script.wait(60_000)
    at(script, waiting(order))
    script.wait(60_000)
    script.effects.clear()
    at(script)
    (report,) = script.published(ReconciliationReport)
    kinds = (ForeignOrder, LostOrder, VanishedOrder)
    assert [each for each in report.differences if isinstance(each, kinds)] == []
    script.wait(1_000)
    assert script.queries() == [order.client_order_id], "not listed: looked for by itself"
    script.queried(order, waiting(order))
    assert kept(script, order).is_waiting


def test_a_position_is_compared_while_a_stop_waits() -> None:
    """It may wait for weeks: what somebody else does with the position must be seen all the same."""
    script, trade_id = long()
    order = guarded(script, trade_id)
    script.wait(60_000)
    for _ in range(3):
        script.wait(5_000)
        script.taken([position(PERP, "0.05", mark=100_000.0)], orders=[waiting(order)])
    assert "leg_closed_outside" in script.alerts()
    assert set(script.cancelled()) == {order.client_order_id}, "it was for more than is held"


def test_a_stop_that_the_venue_cut_when_triggered_counts_as_what_it_filled() -> None:
    script, trade_id = long()
    order = guarded(script, trade_id)
    cut = msgspec.structs.replace(seen(order, "new"), quantity=D("0.12"))
    script.on(cut).on(fill(order, 2, "0.12", at_ns=script.now_ns))
    script.on(msgspec.structs.replace(cut, state="filled", filled_quantity=D("0.12")))
    assert (script.order(order).state, script.held(trade_id)) == ("CANCELLED", [D("0.08")])
    script.wait(600_000)
    assert script.held(trade_id) == [D("0.08")], "no execution is assumed of what was cut"


def test_a_lost_stop_is_taken_over_with_its_trigger() -> None:
    script, trade_id = long()
    change(script, trade_id, place=(stop(),))
    (order,) = script.placed()
    script.entries = [
        entry for entry in script.entries if getattr(entry.row, "client_order_id", None) != order.client_order_id
    ]
    script.restarted()
    at(script, waiting(order))
    known = kept(script, order)
    assert (known.state, known.trigger_price, known.at_market, known.price) == ("WORKING", D(98000), True, D(98000))
    assert known.is_waiting
    assert script.held(trade_id) == [D("0.2")]
