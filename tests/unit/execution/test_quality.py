"""Execution quality: signs, sums and integrals, from the rows of real cores."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.execution.config import ExecutionConfig
from services.execution.quality import phase_quality, slippage_usd
from services.execution.rows import MarketNoted
from shared.messages.base import Side, opposite
from shared.messages.control import RaiseHalt
from shared.messages.market import ChainSnapshot
from shared.messages.quality import LegQuality, ListQuality, Phase, PhaseQuality, QualityList
from shared.messages.trades import CancelOrders, TellTrade, TradeStory
from shared.messages.venue import NewOrder, VenueFill
from shared.options.chain import ChainView, OptionList, pack_columns
from tests.unit.execution import play
from tests.unit.execution.play import CALL, PUT, SECOND, Script, acked, fill, leg, seen

DELTAS = {play.CALL: 0.4, play.HIGH_CALL: 0.2, play.PUT: -0.3, play.LOW_PUT: -0.1}
SIDES = st.sampled_from(["buy", "sell"])
PRICES = st.decimals(min_value=1, max_value=20_000, places=2)
QUANTITIES = st.decimals(min_value="0.01", max_value=100, places=2)
MIDS = st.integers(1, 4_000_000).map(lambda halves: halves / 200)
FILLS = st.lists(st.tuples(PRICES, QUANTITIES), min_size=1, max_size=6)


class Market(Script):
    """A script whose chain has deltas."""

    def inbound(self, message: Any) -> Script:
        if isinstance(message, ChainSnapshot):
            message = with_deltas(message, self)
        return super().inbound(message)


def with_deltas(chain: ChainSnapshot, script: Script) -> ChainSnapshot:
    view = ChainView(chain, OptionList(script.listing))
    columns = {name: view.column(name) for name in ("bid", "ask", "mark")}
    symbols = [each.symbol for each in script.listing.instruments]
    columns["delta"] = np.array([DELTAS[symbol] for symbol in symbols])
    return msgspec.structs.replace(chain, matrix=pack_columns(columns, len(symbols)))


def at(order: NewOrder, number: int, price: str, quantity: str | None = None, **changes: Any) -> VenueFill:
    """An execution at a price of its own."""
    return msgspec.structs.replace(fill(order, number, quantity), price=D(price), **changes)


def quality(script: Script, trade_id: str, phase: Phase = "open") -> PhaseQuality:
    return phase_quality(script.core.book.trades[trade_id], phase)


@given(SIDES, FILLS, MIDS)
def test_slippage_of_a_sale_is_that_of_the_same_purchase_with_its_sign_turned(
    side: Side, fills: list[tuple[D, D]], mid: float
) -> None:
    quantity, cash = sum(q for _, q in fills), sum(p * q for p, q in fills)
    assert slippage_usd(side, D(quantity), D(cash), mid) == -slippage_usd(opposite(side), D(quantity), D(cash), mid)


@given(SIDES, st.lists(QUANTITIES, min_size=1, max_size=6), MIDS)
def test_what_is_filled_at_the_arrival_mid_has_no_slippage(side: Side, quantities: list[D], mid: float) -> None:
    cash = sum((D(repr(mid)) * quantity for quantity in quantities), D(0))
    assert slippage_usd(side, sum(quantities, D(0)), cash, mid) == 0


@given(SIDES, FILLS, MIDS)
def test_slippage_is_the_sum_of_the_slippages_of_the_fills(side: Side, fills: list[tuple[D, D]], mid: float) -> None:
    whole = slippage_usd(side, sum((q for _, q in fills), D(0)), sum((p * q for p, q in fills), D(0)), mid)
    assert whole == sum((slippage_usd(side, q, p * q, mid) for p, q in fills), D(0))


@given(PRICES, QUANTITIES, MIDS)
def test_a_purchase_above_mid_and_a_sale_below_it_cost(price: D, quantity: D, mid: float) -> None:
    cost = slippage_usd("buy", quantity, price * quantity, mid)
    assert (cost > 0) == (price > D(repr(mid)))


@pytest.mark.parametrize(("side", "price", "cost", "better"), [("buy", "1004", 8, 12), ("sell", "996", 8, 12)])
def test_a_leg_is_measured_against_mid_and_the_other_side_of_the_book_at_arrival(
    side: Side, price: str, cost: int, better: int
) -> None:
    script = Market().started()
    trade_id = script.open(leg(CALL, side, "2"), decision_prices=(999.0,))
    (order,) = script.placed()
    script.chain_options = {"marks": play.MARKS | {CALL: 1_100.0}}
    script.wait(3_000)
    script.on(acked(order)).on(at(order, 1, price, "0.5", is_taker=False)).on(at(order, 2, price, "1.5"))
    script.on(seen(order, "filled", "2"))
    (only,) = quality(script, trade_id).legs
    assert only == LegQuality(
        symbol=CALL,
        side=side,
        quantity=D(2),
        average_price=D(price),
        arrival_mid=1000.0,
        decision_price=999.0,
        slippage_usd=D(cost),
        slippage_bp=40.0,
        improvement_usd=D(better),
        orders=1,
        time_to_fill_s=3.0,
        maker_share=0.25,
        fees_usd=D(1),
    )
    whole = quality(script, trade_id)
    assert (whole.slippage_usd, whole.slippage_bp, whole.improvement_usd) == (D(cost), 40.0, D(better))
    assert (whole.premium_usd, whole.filled_usd, whole.fees_usd) == (D(2000), 2 * D(price), D(1))
    assert (whole.orders, whole.chunks, whole.time_to_fill_s, whole.maker_share) == (1, 0, 3.0, 0.25)
    assert (whole.naked_s, whole.naked_delta_s) == (0.0, 0.0)


def test_a_close_is_measured_against_the_market_at_which_it_began_on_its_own_side() -> None:
    script = Market().started()
    trade_id = script.opened(leg(CALL, "buy", "2"))
    script.chain_options = {"marks": play.MARKS | {CALL: 1_200.0}}
    script.wait(1_000)
    script.close(trade_id)
    (order,) = script.placed()
    script.wait(2_000)
    script.on(acked(order)).on(at(order, 9, "1195"))
    (only,) = quality(script, trade_id, "close").legs
    assert (only.side, only.arrival_mid, only.slippage_usd, only.improvement_usd) == ("sell", 1200.0, D(10), D(10))
    assert (only.decision_price, only.time_to_fill_s) == (None, 2.0)
    assert quality(script, trade_id).legs[0].arrival_mid == 1000.0


def test_without_a_two_sided_book_at_arrival_slippage_is_unknown_and_not_zero() -> None:
    script = Market()
    script.chain_options = {"bookless": [CALL]}
    script.started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.fills_all(order, 1)
    whole = quality(script, trade_id)
    (only,) = whole.legs
    assert (only.arrival_mid, only.slippage_usd, only.improvement_usd) == (None, None, None)
    assert (whole.slippage_usd, whole.slippage_bp, whole.premium_usd, whole.improvement_usd) == (None,) * 4
    assert whole.filled_usd == order.price


def test_seconds_out_of_proportion_are_weighted_with_the_delta_of_what_is_held_beyond_it() -> None:
    script = Market().started()
    trade_id = script.open(leg(CALL, "buy", "1"), leg(PUT, "buy", "2"))
    call, put = sorted(script.placed(), key=lambda order: order.symbol != CALL)
    script.on(acked(call)).on(acked(put))
    script.wait(1_000)
    script.on(fill(call, 1, "0.5"))
    script.wait(2_000)  # 0.5 calls, no put: 0.5 × 0.4
    script.on(fill(put, 2, "0.5"))
    script.wait(4_000)  # a quarter is whole, 0.25 calls are over: 0.25 × 0.4
    script.on(fill(put, 3, "0.5"))
    script.wait(5_000)  # in proportion
    script.on(fill(call, 4, "0.5")).on(fill(put, 5, "1"))
    whole = quality(script, trade_id)
    assert script.state(trade_id) == "OPEN"
    assert whole.naked_s == pytest.approx(6.0)
    assert whole.naked_delta_s == pytest.approx(2 * 0.2 + 4 * 0.1)
    script.wait(60_000)
    assert quality(script, trade_id) == whole


def test_a_sold_leg_counts_with_its_sign_and_a_close_counts_for_itself() -> None:
    script = Market().started()
    trade_id = script.opened(leg(CALL, "sell"), leg(PUT, "sell"))
    opening = quality(script, trade_id)
    script.close(trade_id)
    call, put = sorted(script.placed(), key=lambda order: order.symbol != CALL)
    script.on(acked(call)).on(acked(put)).on(fill(call, 91))
    script.wait(2_000)  # one short put of delta -0.3 is left
    script.on(fill(put, 92))
    closing = quality(script, trade_id, "close")
    assert (closing.naked_s, closing.naked_delta_s) == (pytest.approx(2.0), pytest.approx(2 * 0.3))
    assert quality(script, trade_id) == opening


def test_a_negative_delta_out_of_proportion_weighs_as_much_as_a_positive_one() -> None:
    script = Market().started()
    trade_id = script.open(leg(CALL, "buy"), leg(PUT, "buy"))
    call, put = sorted(script.placed(), key=lambda order: order.symbol != CALL)
    script.on(acked(call)).on(acked(put)).on(fill(put, 1))
    script.wait(2_000)  # one long put of delta -0.3
    script.on(fill(call, 2))
    whole = quality(script, trade_id)
    assert (whole.naked_s, whole.naked_delta_s) == (pytest.approx(2.0), pytest.approx(2 * 0.3))


def test_while_no_delta_is_known_the_seconds_are_counted_and_their_delta_is_unknown() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"), leg(PUT, "buy"))
    first, second = script.placed()
    script.on(acked(first)).on(acked(second)).on(fill(first, 1))
    script.wait(1_000)
    script.on(fill(second, 2))
    whole = quality(script, trade_id)
    assert (whole.naked_s, whole.naked_delta_s) == (pytest.approx(1.0), None)


def test_an_unwinding_is_a_reduction_with_an_arrival_of_its_own() -> None:
    script = Market().started()
    trade_id = script.open(leg(CALL, "buy"), leg(PUT, "buy"))
    first, second = script.placed()
    script.on(acked(first)).on(acked(second)).on(fill(first, 1))
    script.chain_options = {"marks": play.MARKS | {first.symbol: 1_500.0}}
    script.wait(1_000)
    script.ask(RaiseHalt(level="no_new_trades", reason="drill", requested_by="op"))
    script.cancels_all(second)
    (unwinding,) = script.placed()
    script.on(acked(unwinding)).on(fill(unwinding, 2))
    assert script.state(trade_id) == "FAILED"
    reduced = quality(script, trade_id, "close")
    assert reduced.legs[0].arrival_mid == 1500.0
    assert reduced.legs[0].slippage_usd == D(1500) - unwinding.price


def test_rounds_are_orders_and_fees_that_come_later_are_counted_on_their_leg() -> None:
    script = Market().started()
    trade_id = script.open(leg(CALL, "buy"), policy="best_effort")
    (first,) = script.placed()
    script.on(acked(first)).on(fill(first, 1, "0.4", fee=None))
    script.chain_options = {"marks": play.MARKS | {CALL: 1_010.0}}
    script.wait(11_000)
    script.cancels_all(first, "0.4")
    script.wait(2_000)
    (second,) = script.placed()
    script.fills_all(second, 2)
    whole = quality(script, trade_id)
    assert (whole.orders, whole.fees_usd) == (2, D("0.5"))
    script.wait(3_000)
    script.snapshot(fills=[fill(first, 1, "0.4", fee="0.25")], positions=script.positions())
    assert quality(script, trade_id).fees_usd == D("0.75")
    assert script.core.book.trades[trade_id].fees_usd == D("0.75")


def test_what_was_closed_by_no_order_of_the_trade_is_no_execution() -> None:
    script = Market(ExecutionConfig(if_broken="hold")).started()
    trade_id = script.opened(leg(CALL, "buy"))
    for _ in range(2):
        script.wait(4_000)
        script.taken([])
    assert script.state(trade_id) == "CLOSED"
    answer = script.ask(ListQuality())
    assert [(each.trade_id, each.phase) for each in answer.phases] == [(trade_id, "open")]


def test_the_story_shows_arrival_and_quality_and_hides_the_deltas_between_fills() -> None:
    script = Market().started()
    trade_id = script.open(leg(CALL, "buy"), leg(PUT, "buy"))
    first, second = script.placed()
    script.fills_all(first, 1)
    script.wait(1_000)
    script.fills_all(second, 2)
    assert [row.moment for row in script.rows(MarketNoted)] == ["open", "fill"]
    story = script.ask(TellTrade(trade_id=trade_id))
    assert isinstance(story, TradeStory)
    texts = [line.text for line in story.lines]
    assert "The intent arrives at leg 0 bid 990, ask 1010, mark 1000; leg 1 bid 890, ask 910, mark 900." in texts
    assert all(texts)
    assert [line.kind for line in story.lines[:2]] == ["trade_requested", "market_noted"]
    assert [each.phase for each in story.quality] == ["open"]
    assert len(story.quality[0].legs) == 2


def test_quality_survives_a_restart_the_purge_of_its_trade_and_ends_with_its_own_retention() -> None:
    config = ExecutionConfig(retention_days=1, quality_days=3)
    script = Market(config).started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.close(trade_id)
    (order,) = script.placed()
    script.fills_all(order, 7)
    before = script.ask(ListQuality())
    assert isinstance(before, QualityList)
    assert [each.phase for each in before.phases] == ["open", "close"]

    def later(days: int, ordinal: int) -> tuple[PhaseQuality, ...]:
        script.now_ns += days * 86_400 * SECOND
        script.market()
        script.beats()
        script.ask(play.intent(leg(PUT, "buy"), ordinal=ordinal, now_ns=script.now_ns, valid_until_ns=0))
        answer = script.ask(ListQuality())
        assert isinstance(answer, QualityList)
        return answer.phases

    assert later(2, 1) == before.phases
    assert trade_id not in script.core.book.trades
    assert script.refolded().book == script.core.book
    script.restarted()
    assert script.ask(ListQuality()).phases == before.phases
    assert script.ask(ListQuality(since_ns=script.now_ns)).phases == ()
    assert later(2, 2) == ()
    assert script.core.book.measured == {}


def test_an_opening_in_which_nothing_traded_is_not_listed() -> None:
    script = Market().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order))
    script.ask(CancelOrders(trade_id=trade_id, requested_by="op"))
    script.cancels_all(order)
    script.wait(5_000)
    assert script.state(trade_id) == "FAILED"
    assert script.ask(ListQuality()).phases == ()
