"""Which mode trades a structure, what each was expected to cost, and what it did cost."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.execution.auto import LegView, choose, rfq_refused
from services.execution.config import ExecutionConfig
from services.execution.rows import OpeningMeasured
from shared.messages.base import Side
from shared.messages.costs import ModeChoice
from shared.messages.rfq import RfqRefused
from shared.messages.smart import SmartParams
from shared.messages.trades import ExecutionParams, LimitPhase, RfqParams, TellTrade
from shared.options.chain import Quote
from tests.unit.execution.play import CALL, HIGH_CALL, PUT, SECOND, Script, fill, instrument, intent, leg

CONFIG = ExecutionConfig()
INDEX = 100_000.0


def _view(symbol: str, side: Side, quantity: str, *, middle: float = 1000.0, half: float = 10.0) -> LegView:
    quote = Quote(middle - half, middle + half, 5.0, 5.0, middle, 0.3)
    return LegView(leg(symbol, side, quantity), instrument(symbol), quote, INDEX)


def _chosen(*views: LegView, config: ExecutionConfig = CONFIG, refused: str = "", **changes: Any) -> ModeChoice:
    asked = intent(*(view.order for view in views), execution_mode=changes.pop("mode", "auto"), **changes)
    return choose(asked, views, refused, config)


def test_auto_asks_for_quotes_from_the_minimum_notional_on() -> None:
    # Σ strike × quantity: 100,000 × 0.3 + 110,000 × 0.2 = 52,000 USD
    choice = _chosen(_view(CALL, "buy", "0.3"), _view(HIGH_CALL, "sell", "0.2"))
    assert choice.mode == "rfq"
    below = _chosen(_view(CALL, "buy", "0.3"), _view(HIGH_CALL, "sell", "0.18"))
    assert below.mode == "smart"
    assert "notional 49,800 USD (strike x quantity) is below 50,000" in below.reason
    lowered = _chosen(_view(CALL, "buy", "0.1"), _view(HIGH_CALL, "sell", "0.1"), rfq=RfqParams(min_notional_usd=1e4))
    assert lowered.mode == "rfq"


def test_below_it_several_legs_go_by_smart_and_one_by_limit() -> None:
    assert _chosen(_view(CALL, "buy", "0.1"), _view(PUT, "buy", "0.1")).mode == "smart"
    assert _chosen(_view(CALL, "buy", "0.1")).mode == "limit"


def test_a_mode_that_was_asked_for_stays() -> None:
    for mode in ("limit", "smart", "rfq"):
        assert _chosen(_view(CALL, "buy", "1"), mode=mode).mode == mode


def test_what_the_venue_refused_lately_or_does_not_quote_together_is_not_asked_for() -> None:
    refused = _chosen(_view(CALL, "buy", "1"), refused="the venue refused the last request: no rights")
    assert (refused.mode, refused.reason) == (
        "limit",
        "one leg; not by rfq: the venue refused the last request: no rights",
    )
    other = msgspec.structs.replace(instrument(PUT), underlying="ETHUSD")
    mixed = _chosen(_view(CALL, "buy", "1"), LegView(leg(PUT, "buy", "1"), other, None, None))
    assert mixed.mode == "smart"
    assert "legs of BTCUSD and ETHUSD are not quoted together" in mixed.reason


def test_each_mode_is_expected_to_cost_spread_and_fees_beyond_the_middle() -> None:
    # half a spread of 10 USD on 0.2 coins is 2 USD; the fee 0.2 × min(0.0004 × 100,000, 0.125 × price) is 8 USD
    limit = ExecutionParams(phases=(LimitPhase(pricing="aggressive", buffer_pct=0.5),))
    choice = _chosen(_view(CALL, "buy", "0.2"), execution_params=limit)
    costs = {cost.mode: cost for cost in choice.costs}
    assert costs["limit"].spread_usd == pytest.approx(0.2 * 1000 * 0.005)
    assert costs["smart"].spread_usd == pytest.approx(0.2 * (0.5 * 0 + 0.5 * 10))
    assert costs["rfq"].spread_usd == pytest.approx(0.0)
    assert [costs[mode].fees_usd for mode in ("limit", "smart", "rfq")] == pytest.approx([8.0, 8.0, 6.0])
    assert costs["rfq"].infeasible.startswith("notional 20,000")
    assert choice.expected_usd("limit") == pytest.approx(9.0)
    assert choice.arrival_mids == (1000.0,)


def test_the_fee_is_capped_at_an_eighth_of_the_premium() -> None:
    choice = _chosen(_view(CALL, "buy", "1", middle=100.0, half=1.0), mode="smart")
    smart = next(cost for cost in choice.costs if cost.mode == "smart")
    assert smart.fees_usd == pytest.approx(0.125 * 100.5)


def test_an_expected_improvement_counts_up_to_the_middle() -> None:
    config = ExecutionConfig(expected_rfq_improvement_pct=0.5)
    choice = _chosen(_view(CALL, "buy", "1"), _view(PUT, "sell", "1"), config=config)
    rfq = next(cost for cost in choice.costs if cost.mode == "rfq")
    assert rfq.spread_usd == pytest.approx((10 - 1010 * 0.005) + (10 - 990 * 0.005))


def test_without_a_book_the_cost_is_unknown_and_the_mode_is_chosen_all_the_same() -> None:
    bookless = LegView(leg(CALL, "buy", "0.1"), instrument(CALL), Quote(None, None, None, None, 1000.0, None), INDEX)
    choice = _chosen(bookless)
    assert choice.mode == "limit"
    assert [cost.total_usd for cost in choice.costs] == [None, None, None]
    assert choice.arrival_mids == (1000.0,)


@given(
    middle=st.floats(50, 5_000),
    half_share=st.floats(0.001, 0.2),
    quantity=st.integers(1, 500),
    strategy=st.sampled_from(["mid", "mark", "top_of_book", "top_of_book_offset_pct"]),
    pricing=st.sampled_from(["aggressive", "mid", "passive", "mark", "fair"]),
)
def test_buying_and_selling_cost_the_same_but_for_the_cap_and_never_more_than_the_spread(
    middle: float, half_share: float, quantity: int, strategy: Any, pricing: Any
) -> None:
    half = middle * half_share
    params = ExecutionParams(phases=(LimitPhase(pricing=pricing),))
    size = str(D(quantity) / 100)
    smart = SmartParams(quoting_strategy=strategy)
    views = [_view(CALL, side, size, middle=middle, half=half) for side in ("buy", "sell")]  # type: ignore[arg-type]
    buy, sell = (_chosen(view, execution_params=params, smart=smart) for view in views)
    for bought, sold in zip(buy.costs, sell.costs, strict=True):
        assert bought.spread_usd is not None
        assert sold.spread_usd is not None
        assert bought.spread_usd == pytest.approx(sold.spread_usd, abs=half * 0.2 * quantity / 100 + 1e-9)
        for cost in (bought, sold):
            assert cost.spread_usd is not None
            assert abs(cost.spread_usd) <= half * quantity / 100 * (1 + 1e-9)


def test_the_choice_is_journalled_told_and_shown_with_the_trade() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy", "0.1"), leg(PUT, "buy", "0.1"), execution_mode="auto")
    update = script.trade(trade_id)
    assert update.execution_mode == "smart"
    assert update.choice is not None
    assert update.choice.reason.startswith("2 legs; not by rfq: notional 19,000 USD")
    text = script.ask(TellTrade(trade_id=trade_id)).lines[0].text
    assert "It is worked by smart (2 legs; not by rfq: notional 19,000 USD" in text
    assert (
        "Expected to cost beyond the middle of the books: limit 10.00 USD (8.00 of it fees), smart 9.00 USD" in text
    )
    assert script.refolded().book == script.core.book


def test_the_opening_is_measured_against_its_expectation_once_its_fees_are_told() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy", "0.1"), execution_mode="auto")
    (order,) = script.placed()
    script.on(fill(order, 7, fee=None)).wait(3_000)
    assert script.rows(OpeningMeasured) == []
    script.on(fill(order, 7, fee="4.5"))
    (row,) = script.rows(OpeningMeasured)
    cost = script.trade(trade_id).opening_cost
    assert cost == row.cost
    # bought at 1020 where 1000 was the middle: 2 USD beyond it, and the fee
    assert (cost.mode, cost.actual_usd, cost.fees_usd) == ("limit", 6.5, 4.5)
    assert cost.expected_usd == pytest.approx(1.0 + 4.0)
    text = script.ask(TellTrade(trade_id=trade_id)).lines[-1].text
    assert text == (
        "The opening by limit cost 6.50 USD beyond the middle at arrival (4.50 of it fees): "
        "1.50 USD more than the 5.00 expected."
    )
    assert script.refolded().book == script.core.book


def test_a_partial_opening_is_measured_for_what_was_filled() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "sell", "0.2"), execution_mode="limit", policy="best_effort")
    (order,) = script.placed()
    script.on(fill(order, 7, "0.1", fee="1"))
    script.cancel(trade_id=trade_id)
    script.cancels_all(order, "0.1").wait(3_000)
    assert script.state(trade_id) == "PARTIALLY_OPEN"
    cost = script.trade(trade_id).opening_cost
    assert cost is not None
    # sold at 980 where 1000 was the middle
    assert cost.actual_usd == pytest.approx(0.1 * 20 + 1)
    assert cost.expected_usd == pytest.approx((0.2 * 10 + 0.2 * 40) / 2)


def test_after_a_refused_request_auto_goes_another_way_for_a_while() -> None:
    script = Script().started()
    first = script.open(leg(CALL, "buy", "1"), execution_mode="auto")
    assert script.trade(first).execution_mode == "rfq"
    (rfq,) = script.core.book.rfqs.rfqs.values()
    script.on(RfqRefused(rfq_id=rfq.rfq_id, kind="rejected", code=1, text="no rights"))
    second = script.open(leg(PUT, "buy", "1"), ordinal=1, execution_mode="auto")
    choice = script.trade(second).choice
    assert choice is not None
    assert choice.mode == "limit"
    assert "the venue refused the last request" in choice.reason
    refused_ns = rfq.state_ns
    assert rfq_refused(script.core.book, refused_ns + 600 * SECOND)
    assert rfq_refused(script.core.book, refused_ns + 601 * SECOND) == ""


def test_the_figures_of_a_request_are_checked_where_auto_may_make_one() -> None:
    answer = Script().started().ask(intent(leg(CALL, "buy"), execution_mode="auto", rfq=RfqParams(window_s=0.0)))
    assert answer.code == "bad_params"
