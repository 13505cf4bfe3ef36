"""How a trade is opened and closed in chunks: quoted, repriced, taken across the spread, and what then follows."""

from __future__ import annotations

import itertools
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.effects import AmendOrder
from services.execution.rows import ChunkEnded, CloseHurried, FellBack, OrderRequested, SpreadCrossed
from services.execution.smart_pricing import quoting_price
from shared.messages.control import RaiseHalt
from shared.messages.smart import ChunkProgress, SmartParams
from shared.messages.trades import ExecutionParams, TellTrade
from shared.messages.venue import NewOrder, OrderRefused
from shared.options.chain import Quote
from tests.unit.execution.play import (
    CALL,
    EXPIRY_NS,
    HIGH_CALL,
    LOW_PUT,
    MARKS,
    MS,
    PUT,
    SECOND,
    Script,
    acked,
    fill,
    gone,
    instrument,
    intent,
    leg,
    seen,
)

BUTTERFLY = (leg(CALL, "buy", "0.2"), leg(PUT, "sell", "0.4"), leg(HIGH_CALL, "buy", "0.2"))


def _open(script: Script, *legs: Any, smart: SmartParams | None = None, **changes: Any) -> str:
    return script.open(*legs, execution_mode="smart", smart=smart or SmartParams(), **changes)


def _fill_all(script: Script, orders: list[NewOrder]) -> None:
    for order in orders:
        script.fills_all(order, 10_000 + len(script.core.book.fills))


def _opened(script: Script, *legs: Any, smart: SmartParams | None = None, seconds: int = 5, **changes: Any) -> str:
    """A smart trade that is open, every quote filled at once."""
    trade_id = _open(script, *legs, smart=smart, **changes)
    for _ in range(seconds):
        _fill_all(script, script.placed())
        script.wait(1_000)
    assert script.state(trade_id) == "OPEN"
    script.wait(5_000)
    script.snapshot(positions=script.positions())
    script.effects.clear()
    return trade_id


def _sizes(orders: list[NewOrder]) -> dict[str, D]:
    return {order.symbol: order.quantity for order in orders}


def _planned(script: Script, kind: type[Any]) -> list[tuple[Any, ...]]:
    if kind is ChunkEnded:
        return [(row.purpose, row.chunk, row.complete) for row in script.rows(ChunkEnded)]
    return [(row.purpose, row.chunk, row.leg_index) for row in script.rows(SpreadCrossed)]


def test_a_butterfly_opens_in_chunks_that_keep_its_ratios_long_legs_first_in_each() -> None:
    script = Script().started()
    trade_id = _open(script, *BUTTERFLY)
    sent = []
    for _ in range(4):
        orders = script.placed()
        sent.append(_sizes(orders))
        _fill_all(script, orders)
        script.wait(1_000)
    wings, body = {CALL: D("0.1"), HIGH_CALL: D("0.1")}, {PUT: D("0.2")}
    assert sent == [wings, body, wings, body]
    assert script.state(trade_id) == "OPEN"
    assert _planned(script, ChunkEnded) == [("open", 0, True), ("open", 1, True)]
    update = script.trade(trade_id)
    assert update.opening_chunks == ChunkProgress(planned=2, completed=2, crossings=0)
    assert update.closing_chunks is None


@pytest.mark.parametrize(
    ("strategy", "buy", "sell"),
    [("mid", 1000, 1000), ("top_of_book", 990, 1010), ("top_of_book_offset_pct", 994, 1005), ("mark", 1000, 1000)],
)
def test_each_quoting_strategy_puts_the_order_where_it_says(strategy: Any, buy: int, sell: int) -> None:
    for side, price in (("buy", buy), ("sell", sell)):
        script = Script().started()
        _open(script, leg(CALL, side), smart=SmartParams(quoting_strategy=strategy))  # type: ignore[arg-type]
        assert [order.price for order in script.placed()] == [D(price)]


def test_an_offset_never_quotes_past_the_middle_and_mark_falls_back_to_mid() -> None:
    script = Script().started()
    offset = SmartParams(quoting_strategy="top_of_book_offset_pct", spread_pct=5.0)
    _open(script, leg(CALL, "buy"), leg(PUT, "buy"), smart=offset)
    assert [order.price for order in script.placed()] == [D(1000), D(900)]
    script.chain_options = {"markless": [LOW_PUT]}
    _open(script, leg(LOW_PUT, "buy"), ordinal=1, smart=SmartParams(quoting_strategy="mark"))
    (order,) = script.placed()
    script.on(acked(order))
    script.market()
    assert order.price == D(250)


def test_a_quote_at_mark_stands_at_mark_where_the_middle_of_the_book_is_elsewhere() -> None:
    quote = Quote(990.0, 1_010.0, 5.0, 5.0, 996.0, 0.3)
    figures = {
        strategy: quoting_price("buy", SmartParams(quoting_strategy=strategy), quote, None, instrument(CALL), 50.0)
        for strategy in ("mark", "mid")
    }
    assert figures == {"mark": D(996), "mid": D(1000)}


def test_a_quote_is_replaced_only_after_its_interval_and_beyond_the_threshold() -> None:
    script = Script().started()
    smart = SmartParams(chunk_count=1, time_per_chunk_s=60.0, reprice_price_threshold=4.0)
    _open(script, leg(CALL, "buy"), smart=smart)
    (order,) = script.placed()
    script.on(acked(order))
    script.chain_options = {"marks": {**MARKS, CALL: 1010.0}}
    script.wait(9_500)
    assert script.cancelled() == []
    script.chain_options = {"marks": {**MARKS, CALL: 1004.0}}
    script.wait(10_000)
    assert script.cancelled() == []
    script.chain_options = {"marks": {**MARKS, CALL: 1005.0}}
    script.wait(2_000)
    assert script.cancelled() == [order.client_order_id]
    script.cancels_all(order).wait(1_000)
    assert [again.price for again in script.placed()] == [D(1005)]


def test_a_quote_is_moved_by_amendment_where_the_trade_asks_for_it() -> None:
    script = Script().started()
    smart = SmartParams(chunk_count=1, time_per_chunk_s=60.0)
    _open(script, leg(CALL, "buy"), smart=smart, execution_params=ExecutionParams(requote_by="amend"))
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "new"))
    script.chain_options = {"marks": {**MARKS, CALL: 1010.0}}
    script.wait(12_000)
    assert [effect.change.price for effect in script.take(AmendOrder)] == [D(1010)]
    assert script.cancelled() == []
    script.wait(50_000)
    assert script.cancelled() == [order.client_order_id]


def test_a_leg_that_is_filled_stops_while_the_other_one_is_quoted_on() -> None:
    script = Script().started()
    _open(script, leg(CALL, "buy", "0.2"), leg(PUT, "buy", "0.2"))
    call, put = script.placed()
    _fill_all(script, [call])
    script.on(acked(put)).on(fill(put, 77, "0.04")).wait(15_000)
    assert script.placed() == []
    script.wait(6_000)
    assert script.cancelled() == [put.client_order_id]
    script.on(seen(put, "cancelled", "0.04")).wait(1_000)
    (across,) = script.placed()
    assert (across.symbol, across.quantity, across.price) == (PUT, D("0.06"), D(919))


def test_the_spread_is_crossed_a_bounded_number_of_times_and_an_atomic_opening_then_unwinds() -> None:
    script = Script().started()
    smart = SmartParams(aggressive_attempts=3, aggressive_wait_s=5.0, aggressive_retry_pause_s=2.0)
    trade_id = _open(script, leg(CALL, "buy", "0.2"), leg(PUT, "buy", "0.2"), smart=smart)
    call, put = script.placed()
    _fill_all(script, [call])
    script.on(acked(put))
    prices, moved = [], 0.0
    for _ in range(90):
        moved += 1.0
        script.chain_options = {"marks": {**MARKS, PUT: 900.0 + moved}}
        script.wait(1_000)
        for number in script.cancelled():
            script.on(gone(script, number))
        if script.state(trade_id) != "OPENING":
            break
        for order in script.placed():
            script.on(acked(order))
            prices.append((order.price, script.now_ns))
    crossing = [price for price in prices if price[0] > D(925)]
    assert len(crossing) == 3
    assert all(later[1] - earlier[1] >= 7 * SECOND for earlier, later in itertools.pairwise(crossing))
    assert script.state(trade_id) == "UNWINDING"
    ended = script.rows(ChunkEnded)
    assert [(row.chunk, row.complete) for row in ended] == [(0, False)]
    assert "not filled in 3 attempts across the spread" in ended[0].reason
    assert script.trade(trade_id).opening_chunks == ChunkProgress(planned=2, completed=0, crossings=1)


def test_a_crossing_order_whose_price_stands_uses_up_attempts_where_it_is() -> None:
    script = Script().started()
    trade_id = _open(script, leg(CALL, "buy"), smart=SmartParams(chunk_count=1, aggressive_attempts=4))
    (quoted,) = script.placed()
    script.on(acked(quoted)).wait(21_000)
    assert script.cancelled() == [quoted.client_order_id]
    script.cancels_all(quoted)
    (across,) = script.placed()
    script.on(acked(across)).wait(19_000)
    assert script.cancelled() == []
    script.wait(2_000)
    assert script.cancelled() == [across.client_order_id]
    script.cancels_all(across).wait(4_000)
    assert script.state(trade_id) == "FAILED"


def test_without_attempts_a_chunk_is_quoted_only() -> None:
    script = Script().started()
    trade_id = _open(script, leg(CALL, "buy"), smart=SmartParams(aggressive_attempts=0))
    (quoted,) = script.placed()
    script.on(acked(quoted)).wait(21_000)
    script.cancels_all(quoted).wait(4_000)
    assert script.rows(SpreadCrossed) == []
    assert "not filled by quoting within 20 s" in script.trade(trade_id).reason
    assert script.state(trade_id) == "FAILED"


def test_best_effort_fills_what_it_can_of_the_chunk_and_begins_no_other() -> None:
    script = Script().started()
    smart = SmartParams(aggressive_attempts=1)
    trade_id = _open(script, leg(CALL, "buy", "0.2"), leg(PUT, "buy", "0.2"), smart=smart, policy="best_effort")
    call, put = script.placed()
    script.on(acked(call)).on(acked(put)).wait(21_000)
    assert set(script.cancelled()) == {call.client_order_id, put.client_order_id}
    script.cancels_all(call).cancels_all(put)
    call, put = script.placed()
    script.on(acked(call)).on(acked(put)).wait(4_000)
    _fill_all(script, [put])
    script.wait(2_000)
    assert script.cancelled() == [call.client_order_id]
    script.cancels_all(call).wait(4_000)
    assert script.state(trade_id) == "PARTIALLY_OPEN"
    assert script.held(trade_id) == [D(0), D("0.1")]
    assert script.placed() == []


def test_an_order_is_never_past_the_worst_price_of_the_grant() -> None:
    script = Script().started()
    script.chain_options = {"half_spread": 240.0}
    script.market()
    _open(
        script,
        leg(CALL, "buy"),
        leg(PUT, "buy"),
        smart=SmartParams(quoting_strategy="top_of_book", time_per_chunk_s=0),
    )
    assert [order.price for order in script.placed()] == [D(1200), D(1080)]


def test_chunks_of_a_twap_begin_evenly_spaced_whenever_the_one_before_was_filled() -> None:
    script = Script().started()
    begun_ns = script.now_ns
    trade_id = _open(script, leg(CALL, "buy", "0.4"), smart=SmartParams(chunk_count=4, total_duration_s=120.0))
    at_s = []
    for _ in range(110):
        orders = script.placed()
        at_s += [(script.now_ns - begun_ns) // SECOND for _ in orders]
        _fill_all(script, orders)
        script.wait(1_000)
    assert at_s == [0, 30, 60, 90]
    assert script.state(trade_id) == "OPEN"


def test_between_two_chunks_the_trade_says_what_it_waits_for() -> None:
    script = Script().started()
    trade_id = _open(script, leg(CALL, "buy", "0.4"), smart=SmartParams(chunk_count=4, total_duration_s=120.0))
    _fill_all(script, script.placed())
    script.wait(2_000)
    assert "chunk 2 of 4 has not begun" in script.trade(trade_id).reason


def test_a_restart_in_the_middle_of_a_chunk_resumes_that_chunk() -> None:
    script = Script().started()
    trade_id = _open(script, *BUTTERFLY)
    _fill_all(script, script.placed())
    _fill_all(script, script.placed())
    script.wait(1_000)
    call, high = script.placed()
    script.on(acked(call)).on(fill(call, 901, "0.03")).on(acked(high)).wait(5_000)
    script.restarted()
    book = script.core.book
    live = [book.orders[number] for number in (call.client_order_id, high.client_order_id)]
    script.snapshot(
        orders=[seen(call, "partial", "0.03"), seen(high, "new")],
        positions=script.positions(),
        asked_ns=script.now_ns,
    )
    assert [order.state for order in live] == ["WORKING", "WORKING"]
    assert script.placed() == []
    assert script.cancelled() == []
    script.wait(16_000)
    assert set(script.cancelled()) == {call.client_order_id, high.client_order_id}
    script.on(seen(call, "cancelled", "0.03")).cancels_all(high).wait(1_500)
    assert _sizes(script.placed()) == {CALL: D("0.07"), HIGH_CALL: D("0.1")}
    assert _planned(script, SpreadCrossed) == [("open", 1, 0), ("open", 1, 2)]
    assert script.state(trade_id) == "OPENING"


def test_a_halt_in_the_middle_of_a_chunk_unwinds_by_the_staircase() -> None:
    script = Script().started()
    trade_id = _open(script, *BUTTERFLY)
    _fill_all(script, script.placed())
    (body,) = script.placed()
    script.on(acked(body))
    script.ask(RaiseHalt(level="no_new_trades", reason="enough", requested_by="op"))
    assert script.state(trade_id) == "UNWINDING"
    assert script.cancelled() == [body.client_order_id]
    script.cancels_all(body)
    assert all(order.reduce_only for order in script.placed())
    assert script.rows(FellBack) == []


def test_the_grants_deadline_ends_the_chunks() -> None:
    script = Script().started()
    smart = SmartParams(chunk_count=4, total_duration_s=400.0)
    trade_id = _open(script, leg(CALL, "buy", "0.4"), smart=smart, deadline_ns=script.now_ns + 150 * SECOND)
    while script.state(trade_id) in ("PENDING_OPEN", "OPENING"):
        _fill_all(script, script.placed())
        script.wait(1_000)
    assert script.state(trade_id) == "UNWINDING"
    assert "the grant's deadline passed" in script.rows(ChunkEnded)[-1].reason
    assert script.held(trade_id) == [D("0.2")]


def test_a_loss_on_what_is_filled_ends_an_opening_that_takes_long() -> None:
    script = Script().started()
    smart = SmartParams(chunk_count=4, total_duration_s=400.0)
    trade_id = _open(script, leg(CALL, "buy", "0.4"), smart=smart, max_loss_usd=10.0)
    _fill_all(script, script.placed())
    script.wait(2_000)
    assert script.state(trade_id) == "OPENING"
    script.chain_options = {"marks": {**MARKS, CALL: 890.0}}
    script.wait(2_000)
    assert script.state(trade_id) == "CLOSING"
    assert "loss on mark 11.00 USD reached the limit 10 USD" in script.trade(trade_id).reason
    assert [(order.quantity, order.reduce_only) for order in script.placed()] == [(D("0.02"), True)]


def test_three_refusals_in_a_row_end_the_opening() -> None:
    script = Script().started()
    trade_id = _open(script, leg(CALL, "buy"))
    for _ in range(40):
        for order in script.placed():
            script.on(OrderRefused(client_order_id=order.client_order_id, kind="rejected", code=1, text="no"))
        script.wait(1_000)
    assert script.state(trade_id) == "FAILED"
    assert len(script.rows(OrderRequested)) == 3


def test_a_close_goes_chunk_by_chunk_short_legs_first_reduce_only() -> None:
    script = Script().started()
    legs = (leg(CALL, "sell", "0.4"), leg(HIGH_CALL, "buy", "0.4"))
    trade_id = _opened(script, *legs)
    script.close(trade_id)
    sent = []
    for _ in range(4):
        orders = script.placed()
        assert all(order.reduce_only for order in orders)
        sent.append(_sizes(orders))
        _fill_all(script, orders)
        script.wait(1_000)
    assert sent == [{CALL: D("0.2")}, {HIGH_CALL: D("0.2")}, {CALL: D("0.2")}, {HIGH_CALL: D("0.2")}]
    assert script.state(trade_id) == "CLOSED"
    update = script.trade(trade_id)
    assert update.opening_chunks == ChunkProgress(planned=2, completed=2, crossings=0)
    assert update.closing_chunks == ChunkProgress(planned=2, completed=2, crossings=0)


def test_a_close_that_is_not_filled_across_the_spread_goes_up_the_stairs() -> None:
    script = Script().started()
    trade_id = _opened(script, leg(CALL, "buy", "0.2"), smart=SmartParams(chunk_count=1, aggressive_attempts=1))
    script.close(trade_id)
    (quoted,) = script.placed()
    script.on(acked(quoted)).wait(21_000)
    assert script.cancelled() == [quoted.client_order_id]
    script.cancels_all(quoted).wait(1_500)
    (across,) = script.placed()
    assert (quoted.price, across.price) == (D(1000), D(981))
    script.on(acked(across)).wait(6_000)
    (row,) = script.rows(FellBack)
    assert row.mode == "limit"
    assert "not filled in 1 attempts" in row.reason
    assert script.state(trade_id) == "CLOSING"
    assert script.cancelled() == [across.client_order_id]
    script.cancels_all(across).wait(1_500)
    (stair,) = script.placed()
    _fill_all(script, [stair])
    assert stair.price == D(1000)
    assert script.state(trade_id) == "CLOSED"
    assert script.trade(trade_id).closing_chunks == ChunkProgress(planned=1, completed=0, crossings=1)


def test_a_close_without_a_market_is_left_to_the_staircase_which_has_the_positions_mark() -> None:
    script = Script().started()
    trade_id = _opened(script, leg(CALL, "buy", "0.2"))
    script.market_on = False
    script.wait(10_000)
    script.close(trade_id)
    assert script.placed() == []
    script.wait(16_000)
    assert [row.reason for row in script.rows(FellBack)] == [f"no price for {CALL}"]
    script.snapshot(positions=script.positions())
    assert [order.price for order in script.placed()] == [D(1000)]


def test_a_close_is_handed_over_before_the_options_stop_trading() -> None:
    script = Script(begins_ns=EXPIRY_NS - (900 + 400) * SECOND).started()
    trade_id = _opened(script, leg(CALL, "buy", "0.2"), smart=SmartParams(time_per_chunk_s=600.0))
    script.close(trade_id)
    (quoted,) = script.placed()
    script.on(acked(quoted)).wait((EXPIRY_NS - script.now_ns) // MS - (900 + 181) * 1_000)
    assert script.rows(FellBack) == []
    script.wait(2_000)
    assert [row.reason for row in script.rows(FellBack)] == [f"{CALL} stops trading soon"]


@pytest.mark.parametrize(("by", "seconds"), [("operator", [0, 30, 60, 90]), ("execution", [0, 1, 2, 3])])
def test_what_execution_closes_by_itself_is_not_stretched_over_a_twap(by: str, seconds: list[int]) -> None:
    script = Script().started()
    smart = SmartParams(chunk_count=4, time_per_chunk_s=10.0, total_duration_s=120.0)
    deadline_ns = script.now_ns + 200 * SECOND
    trade_id = _opened(script, leg(CALL, "buy", "0.4"), smart=smart, seconds=100, hard_deadline_ns=deadline_ns)
    if by == "operator":
        script.close(trade_id)
    else:
        script.wait((deadline_ns - script.now_ns) // MS)
    begun_ns, at_s = script.now_ns, []
    while script.state(trade_id) == "CLOSING":
        orders = script.placed()
        at_s += [(script.now_ns - begun_ns) // SECOND for _ in orders]
        _fill_all(script, orders)
        script.wait(1_000)
    assert at_s == seconds
    assert script.state(trade_id) == "CLOSED"


@pytest.mark.parametrize("by", ["deadline", "loss", "person", "risk"])
def test_a_close_that_is_stretched_over_time_is_hurried_by_a_deadline_a_loss_and_who_asks_again(by: str) -> None:
    script = Script().started()
    smart = SmartParams(chunk_count=4, time_per_chunk_s=10.0, total_duration_s=120.0)
    limits: dict[str, Any] = {"hard_deadline_ns": script.now_ns + 110 * SECOND} if by == "deadline" else {}
    if by == "loss":
        limits = {"max_loss_usd": 20.0}
    trade_id = _opened(script, leg(CALL, "buy", "0.4"), smart=smart, seconds=100, **limits)
    script.close(trade_id, requested_by="strategy demo")
    _fill_all(script, script.placed())
    script.close(trade_id, requested_by="strategy demo")
    script.wait(1_000)
    assert script.placed() == [], "the second chunk is due half a minute after the first"
    assert script.rows(CloseHurried) == []
    match by:
        case "deadline":
            script.wait(10_000)
        case "loss":
            script.chain_options["marks"] = {**MARKS, CALL: 900.0}
            script.market()
        case "person":
            script.close(trade_id, requested_by="cli:ann")
        case _:
            script.close(trade_id, requested_by="risk")
    begun_ns = script.now_ns
    while script.state(trade_id) == "CLOSING":
        _fill_all(script, script.placed())
        script.wait(1_000)
    assert script.state(trade_id) == "CLOSED"
    assert script.now_ns - begun_ns <= 5 * SECOND
    (hurried,) = script.rows(CloseHurried)
    close = script.core.book.trades[trade_id].close
    assert close is not None
    assert close.joined == f"{hurried.requested_by}: {hurried.reason}"
    assert script.refolded().book == script.core.book


def test_a_flatten_in_the_middle_of_a_smart_close_is_the_staircases() -> None:
    script = Script().started()
    trade_id = _opened(script, leg(CALL, "buy", "0.2"))
    script.close(trade_id)
    (quoted,) = script.placed()
    script.on(acked(quoted)).wait(1_000)
    script.ask(RaiseHalt(level="flatten", reason="out", requested_by="op"))
    assert [row.mode for row in script.rows(FellBack)] == ["limit"]
    assert script.cancelled() == [quoted.client_order_id]
    script.cancels_all(quoted)
    (order,) = script.placed()
    assert (order.quantity, order.reduce_only) == (D("0.2"), True)
    _fill_all(script, [order])
    assert script.state(trade_id) == "CLOSED"


def test_the_story_tells_of_chunks_and_of_crossings() -> None:
    script = Script().started()
    trade_id = _open(script, leg(CALL, "buy", "0.2"))
    (quoted,) = script.placed()
    script.on(acked(quoted)).wait(21_000)
    script.cancels_all(quoted).wait(1_500)
    _fill_all(script, script.placed())
    text = "\n".join(line.text for line in script.ask(TellTrade(trade_id=trade_id)).lines)
    assert f"Leg 0 crosses the spread in chunk 1: {CALL} not filled by quoting within 20 s." in text
    assert "Chunk 1 of 2 of the opening is complete: every leg has its part." in text
    assert "(chunk 1 of 2, across the spread, attempt 1 of 10)" in text


def test_a_refused_parameter_is_named() -> None:
    script = Script().started()
    answer = script.ask(intent(leg(CALL, "buy"), execution_mode="smart", smart=SmartParams(chunk_count=0)))
    assert answer.code == "bad_params"
    assert "smart.chunk_count 0 must lie within 1 to 100" in answer.detail


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_whatever_the_fills_no_chunk_is_overfilled_and_no_short_leg_runs_ahead(data: st.DataObject) -> None:
    script = Script().started()
    lots = data.draw(st.lists(st.integers(1, 12), min_size=2, max_size=2))
    longs, shorts = max(lots), min(lots)
    legs = (leg(CALL, "sell", str(D(shorts) / 100)), leg(HIGH_CALL, "buy", str(D(longs) / 100)))
    smart = SmartParams(chunk_count=data.draw(st.integers(1, 5)), aggressive_attempts=20)
    params = ExecutionParams(scale_to_filled=data.draw(st.booleans()))
    trade_id = _open(script, *legs, smart=smart, execution_params=params, deadline_ns=script.now_ns + 3_000 * SECOND)
    closing = False
    number = 0
    for _ in range(60):
        if script.core.book.trades[trade_id].is_final:
            break
        for order in script.placed():
            script.on(acked(order))
        for cancelled in script.cancelled():
            script.on(gone(script, cancelled))
        live = [order for order in script.core.book.orders.values() if order.state == "WORKING"]
        if live and data.draw(st.booleans()):
            order = data.draw(st.sampled_from(live))
            left = order.quantity - order.filled_quantity
            part = data.draw(st.sampled_from([left, D("0.01")]))
            number += 1
            sent = _as_sent(order)
            script.on(fill(sent, number, part))
            if part == left:
                script.on(seen(sent, "filled", str(order.quantity)))
        script.wait(data.draw(st.sampled_from([1_000, 7_000, 21_000])))
        script.snapshot(positions=script.positions()) if data.draw(st.booleans()) else None
        trade = script.core.book.trades[trade_id]
        short, long_ = trade.legs
        assert short.opened_quantity <= short.quantity
        assert long_.opened_quantity <= long_.quantity
        assert 0 <= short.held_quantity <= long_.held_quantity
        if trade.state == "OPEN" and not closing:
            assert [each.opened_quantity for each in trade.legs] == [each.quantity for each in trade.legs]
            closing = True
            script.close(trade_id)
    assert script.refolded().book == script.core.book


def _as_sent(order: Any) -> NewOrder:
    return NewOrder(
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity,
        price=order.price,
        reduce_only=order.reduce_only,
    )
