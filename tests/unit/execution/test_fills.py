"""Each execution counts once, whichever way and in whatever order it is learned."""

from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.rows import FillAssumed, FillSeen
from shared.messages.trades import OrderFilled
from shared.messages.venue import NewOrder, OutcomeUnknown, VenueFill, VenueOrder
from tests.unit.execution.play import CALL, MS, PUT, Script, acked, fill, leg, seen


def _without_id(each: VenueFill) -> VenueFill:
    """As REST reports it: without our id."""
    return VenueFill(
        venue_trade_id=each.venue_trade_id,
        venue_order_id=each.venue_order_id,
        client_order_id=None,
        symbol=each.symbol,
        side=each.side,
        quantity=each.quantity,
        price=each.price,
        fee_usd=each.fee_usd,
        is_taker=each.is_taker,
        venue_ns=each.venue_ns,
    )


def test_a_fill_before_its_ack_is_kept_and_the_late_ack_changes_nothing() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(fill(order, 1))
    assert script.state(trade_id) == "OPEN"
    rows = len(script.entries)
    script.on(acked(order))
    assert len(script.entries) == rows


def test_a_fill_without_our_id_that_overtakes_the_ack_is_counted_when_the_ack_names_the_order() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(_without_id(fill(order, 1)))
    assert script.held(trade_id) == [0]
    script.on(acked(order))
    assert script.held(trade_id) == [D(1)]
    assert script.state(trade_id) == "OPEN"


def test_an_order_that_shows_more_than_its_fills_is_asked_for_them_and_nothing_is_invented() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "filled", "1"))
    assert script.held(trade_id) == [0]
    script.wait(400)
    assert script.queries() == [order.client_order_id]
    script.queried(order, seen(order, "filled", "1"), fill(order, 1))
    assert script.held(trade_id) == [D(1)]
    assert script.state(trade_id) == "OPEN"


def test_fills_that_cannot_be_had_are_assumed_in_the_end_and_not_counted_again_when_they_come() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "filled", "1"))
    begun_ns, answers = script.now_ns, 0
    while not script.rows(FillAssumed):
        for _number in script.queries():
            answers += 1
            script.queried(order, seen(order, "filled", "1"))
        script.wait(1_000)
    assert script.config.assume_fill_after_ms <= (script.now_ns - begun_ns) / 1e6 < 120_000
    assert answers >= 3, "one list that lags proves nothing"
    script.wait(60_000)
    assert len(script.rows(FillAssumed)) == 1
    assert not script.trade(trade_id).fees_complete
    assert script.state(trade_id) == "OPEN"
    assert script.held(trade_id) == [D(1)]
    script.on(fill(order, 1, "0.4")).on(fill(order, 2, "0.6"))
    assert script.held(trade_id) == [D(1)]
    assert script.trade(trade_id).legs[0].open_price == order.price
    assert script.trade(trade_id).fees_complete


def test_fills_are_not_assumed_on_one_answer_however_late_it_comes() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "filled", "1")).wait(90_000)
    script.queries()
    script.queried(order, seen(order, "filled", "1"))
    assert script.rows(FillAssumed) == []


def test_a_fill_after_the_cancel_is_counted_and_the_next_order_is_smaller() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.cancel()
    script.cancels_all(order, "0")
    script.on(fill(order, 1, "0.3"))
    assert script.held(trade_id) == [D("0.3")]
    script.wait(3_000)
    (back,) = script.placed()
    assert (back.quantity, back.reduce_only) == (D("0.3"), True)


def test_a_missing_fee_is_looked_for_soon_and_learned_once() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 1, fee=None))
    assert (script.trade(trade_id).fees_usd, script.trade(trade_id).fees_complete) == (D(0), False)
    script.wait(2_100)
    assert script.fetches() == ["fees"]
    script.snapshot(fills=[_without_id(fill(order, 1, fee="0.7"))], positions=script.positions())
    assert (script.trade(trade_id).fees_usd, script.trade(trade_id).fees_complete) == (D("0.7"), True)
    script.snapshot(fills=[_without_id(fill(order, 1, fee="0.7"))], positions=script.positions())
    assert script.trade(trade_id).fees_usd == D("0.7")
    told = script.published(OrderFilled)
    assert [(each.key, each.fee_usd) for each in told] == [("1", None), ("1", D("0.7"))]
    assert told[1] == msgspec.structs.replace(told[0], fee_usd=D("0.7"))


def test_a_fee_that_the_lists_do_not_show_yet_is_looked_for_again_for_a_minute() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(fill(order, 1, fee=None))
    looks = 0
    for _ in range(120):
        script.wait(1_000)
        if "fees" in script.fetches():
            looks += 1
            script.snapshot(positions=script.positions())
    # at least a pause of comparisons apart, and regular ones from then on
    assert 10 < looks <= 32
    script.snapshot(fills=[_without_id(fill(order, 1, fee="0.7"))], positions=script.positions())
    script.fetches()
    script.wait(10_000)
    assert "fees" not in script.fetches()


def test_a_fill_on_a_final_trade_breaks_it_and_is_closed() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.close(trade_id)
    script.cancels_all(order, "0")
    assert script.state(trade_id) == "FAILED"
    script.on(fill(order, 1, "0.3"))
    assert script.trade(trade_id).state == "BROKEN"
    assert "trade_broken" in script.alerts()
    (back,) = script.placed()
    assert back.quantity == D("0.3")
    script.fills_all(back, 2)
    assert script.state(trade_id) == "CLOSED"


def test_an_order_of_another_symbol_under_our_id_is_alarmed_and_not_taken_in() -> None:
    script = Script().started()
    script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    wrong = seen(order, "filled", "1")
    wrong = VenueOrder(**{**{f: getattr(wrong, f) for f in wrong.__struct_fields__}, "symbol": PUT})
    script.on(wrong)
    assert "order_mismatch" in script.alerts()
    assert script.core.book.orders[order.client_order_id].state == "SENDING"


@pytest.mark.parametrize("other", [{"symbol": PUT}, {"side": "sell"}])
def test_an_execution_of_something_else_under_our_id_is_alarmed_and_not_counted(other: dict[str, str]) -> None:
    """As of another desk with the same number."""
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).on(msgspec.structs.replace(fill(order, 1), **other))
    assert "order_mismatch" in script.alerts()
    assert (script.state(trade_id), script.held(trade_id)) == ("OPENING", [D(0)])
    script.fills_all(order, 2)
    assert (script.state(trade_id), script.held(trade_id)) == ("OPEN", [D(1)])


def _messages(order: NewOrder, parts: list[str]) -> list[object]:
    """All that a venue may say of an order that filled in these parts."""
    filled = D(0)
    messages: list[object] = [acked(order), seen(order, "new")]
    for number, part in enumerate(parts, 1):
        filled += D(part)
        messages.append(fill(order, number, part, fee=None))
        messages.append(_without_id(fill(order, number, part)))
        messages.append(seen(order, "filled" if filled == order.quantity else "partial", str(filled)))
    return messages


@settings(max_examples=120, deadline=None)
@given(
    data=st.data(),
    parts=st.sampled_from([["1"], ["0.4", "0.6"], ["0.1", "0.2", "0.7"], ["0.5", "0.3"], ["0.25", "0.25", "0.5"]]),
)
def test_the_position_depends_on_which_fills_came_not_on_their_order(data: st.DataObject, parts: list[str]) -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    messages = _messages(order, parts)
    chosen = data.draw(st.lists(st.sampled_from(messages), max_size=20))
    if data.draw(st.booleans()):
        chosen.insert(
            data.draw(st.integers(0, len(chosen))),
            OutcomeUnknown(client_order_id=order.client_order_id, reason="time-out"),
        )
    for message in chosen:
        script.now_ns += 100 * MS
        script.on(message)
    # The order's own id is known once anything but a fill without our id has named it.
    named = any(getattr(m, "client_order_id", None) and hasattr(m, "venue_order_id") for m in chosen)
    unique = {
        m.venue_trade_id: m.quantity for m in chosen if isinstance(m, VenueFill) and (named or m.client_order_id)
    }
    added_by_hand = sum(unique.values(), D(0))
    assert script.held(trade_id) == [added_by_hand]
    assert len(script.rows(FillSeen)) == len(unique)
    assert script.refolded().book == script.core.book
    # In the end the venue is read, and everything is there.
    script.now_ns += 10_000 * MS
    end = "filled" if sum(map(D, parts), D(0)) == order.quantity else "cancelled"
    script.on(seen(order, end, str(sum(map(D, parts), D(0)))))  # type: ignore[arg-type]
    script.snapshot(fills=[_without_id(fill(order, number, part)) for number, part in enumerate(parts, 1)])
    assert script.core.book.trades[trade_id].legs[0].opened_quantity == sum(map(D, parts), D(0))
    assert script.core.book.trades[trade_id].fees_usd == D("0.5") * len(parts)
