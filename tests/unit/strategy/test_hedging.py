"""Delta hedges: how large they are, when they are adjusted, and that they are found again after a restart."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.strategy.loaded import LoadedStrategy
from shared.messages.control import GrantRefused, Halt, RequestGrant
from shared.messages.steps import Tick
from shared.messages.trades import OpenTrade, TradeUpdate
from shared.strategy import DeltaHedge, StrategyConfig, min_equity, profit_target, straddle
from shared.strategy.hedge import CloseHedges, HeldHedge, NoHedge, OpenHedge, adjustment
from tests.unit.perpetuals import PERPETUAL, chain_with, with_perpetual
from tests.unit.strategy.dialogue import LISTED, Dialogue
from tests.unit.strategy.making import NOON, SECOND, leg, listing, snapshot, trade

CALL = "BTCUSD-5MAR26-100000-C"
HEDGE = DeltaHedge(band=0.05, interval_seconds=10.0, minimum_size=0.002)


class HedgedDialogue(Dialogue):
    """A market with a perpetual at the index."""

    def market(self, **more: Any) -> None:
        listed = with_perpetual(listing(LISTED))
        self.hear(listed, "marketdata")
        self.hear(chain_with(snapshot(LISTED, self.now_ns, **more), listed), "marketdata")

    def asked(self) -> list[RequestGrant]:
        return [each.message for each in self.sent if isinstance(each.message, RequestGrant)]


def hedged(hedge: DeltaHedge | None = HEDGE, **more: Any) -> LoadedStrategy:
    """A strategy that opens nothing itself."""
    fields: dict[str, Any] = {
        "name": "straddler",
        "legs": straddle("0.1"),
        "entry_conditions": [min_equity(1e9)],
        "delta_hedge": hedge,
    }
    return LoadedStrategy.from_config(StrategyConfig(**(fields | more)))


def call_held(quantity: str = "1", *exits: Any) -> TradeUpdate:
    """A long call at the money: a delta of about a half a coin."""
    return trade(legs=[leg(CALL, "buy", quantity, "1000")], exits=exits)


def hedge_held(
    side: Any, quantity: str, ordinal: int = 1, *, at_ns: int = NOON, state: Any = "OPEN", closed: str = "0"
) -> TradeUpdate:
    """A hedge of that call."""
    made = trade(
        state,
        strategy="straddler.hedge",
        ordinal=ordinal,
        legs=[leg("BTCUSD", side, quantity, "100000", closed=closed)],
        created_ns=at_ns,
        opened_ns=at_ns,
        closed_ns=at_ns if state == "CLOSED" else None,
        trade_id=f"h{ordinal}",
    )
    return msgspec.structs.replace(made, hedge_of="t1001")


def _desk(*trades: TradeUpdate, hedge: DeltaHedge = HEDGE) -> HedgedDialogue:
    desk = HedgedDialogue(hedged(hedge))
    for each in trades:
        desk.opened(each)
    desk.ready()
    return desk


def test_the_delta_of_an_open_trade_is_hedged_as_a_linked_intent_with_an_id_of_its_own() -> None:
    desk = _desk(call_held())
    (asked,) = desk.asked()
    (order,) = asked.legs
    assert (asked.intent_id, order.symbol, order.side) == ("straddler.hedge-1", "BTCUSD", "sell")
    assert float(order.quantity) == pytest.approx(0.5, abs=0.02)
    opened = desk.give_grant()
    assert (opened.hedge_of, opened.strategy, opened.ordinal) == ("t1001", "straddler.hedge", 1)
    assert (opened.execution_mode, opened.policy, opened.legs) == ("limit", "best_effort", asked.legs)


def test_within_the_band_nothing_is_done_and_the_status_says_where_delta_is() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    assert desk.asked() == []
    assert desk.closes() == []
    assert "delta with hedge" in desk.status().reason


def test_one_adjustment_is_on_its_way_at_a_time_and_the_next_waits_for_the_interval() -> None:
    desk = _desk(call_held())
    desk.wait(5)
    assert len(desk.asked()) == 1
    desk.give_grant()
    desk.accept("h1")
    desk.opened(hedge_held("sell", "0.2", at_ns=desk.now_ns))
    desk.wait(8)
    assert desk.count(OpenTrade) == 1
    assert "adjusted again in" in desk.status().reason
    desk.wait(4)
    assert [each.intent_id for each in desk.asked()] == ["straddler.hedge-1", "straddler.hedge-2"]
    assert float(desk.asked()[1].legs[0].quantity) == pytest.approx(0.3, abs=0.02)


def test_too_much_of_a_hedge_is_closed_and_not_hedged_by_its_opposite() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"), hedge_held("sell", "0.3", 2, at_ns=NOON - 60 * SECOND))
    desk.wait(12)
    assert desk.asked() == []
    assert {close.trade_id for close in desk.closes()} == {"h2"}
    assert desk.closes()[0].requested_by == "strategy straddler.hedge"


def test_what_was_too_much_of_a_closed_hedge_is_opened_again_without_waiting_for_the_interval() -> None:
    desk = _desk(call_held("0.2"), hedge_held("sell", "0.4"), hedge=DeltaHedge(band=0.05, interval_seconds=600.0))
    desk.wait(602)
    assert [close.trade_id for close in desk.closes()][:1] == ["h1"]
    desk.opened(hedge_held("sell", "0.4", at_ns=desk.now_ns, state="CLOSING", closed="0.3"))
    desk.wait(2)
    assert desk.asked() == []
    desk.opened(hedge_held("sell", "0.4", at_ns=desk.now_ns, state="CLOSED", closed="0.4"))
    desk.wait(2)
    (asked,) = desk.asked()
    assert float(asked.legs[0].quantity) == pytest.approx(0.1, abs=0.02)
    desk.give_grant()
    desk.accept("h2")
    desk.opened(hedge_held("sell", "0.04", 2, at_ns=desk.now_ns))
    desk.wait(20)
    assert len(desk.asked()) == 1
    assert "adjusted again in" in desk.status().reason


def test_while_one_hedge_is_asked_for_none_is_closed() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.4", at_ns=NOON - 60 * SECOND))
    assert len(desk.asked()) == 1
    desk.opened(call_held("0.4"))
    desk.wait(5)
    assert desk.closes() == []
    assert "one is asked for" in desk.status().reason


def test_while_one_hedge_is_to_be_closed_no_other_is() -> None:
    desk = _desk(call_held("1.4"), hedge_held("sell", "0.5"), hedge_held("sell", "0.3", 2, at_ns=NOON - 60 * SECOND))
    desk.opened(call_held("1"))
    desk.wait(12)
    assert {close.trade_id for close in desk.closes()} == {"h2"}
    desk.opened(call_held("0.1"))
    desk.wait(12)
    assert {close.trade_id for close in desk.closes()} == {"h2"}
    assert "h2 is to be closed" in desk.status().reason


def test_no_close_is_decided_while_execution_is_silent() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    desk.beat("execution", ready=False)
    desk.opened(call_held("0.1"))
    for _ in range(30):
        desk.now_ns += SECOND // 2
        desk.market()
        desk.put(Tick())
    assert "not taken back: execution" in desk.status().reason
    desk.opened(call_held())
    desk.wait(5)
    assert desk.closes() == []


def test_after_a_restart_hedges_are_found_among_executions_trades_and_ordinals_go_on() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    desk.restart()
    desk.opened(call_held())
    desk.opened(hedge_held("sell", "0.3", 7, at_ns=NOON - 60 * SECOND))
    desk.ready()
    (asked,) = desk.asked()
    assert asked.intent_id == "straddler.hedge-8"
    assert float(asked.legs[0].quantity) == pytest.approx(0.2, abs=0.02)


def test_a_refusal_is_not_asked_again_at_once() -> None:
    desk = _desk(call_held())
    desk.answer(
        GrantRefused(intent_id="straddler.hedge-1", strategy="straddler.hedge", code="delta_limit", detail="too much")
    )
    desk.wait(2)
    assert len(desk.asked()) == 1
    assert "refused: risk: too much" in desk.status().reason
    desk.wait(60)
    assert len(desk.asked()) > 1


def _too_large(desk: HedgedDialogue, ordinal: int, value: float, limit: float, code: str = "trade_risk") -> None:
    name = "straddler.hedge"
    answer = GrantRefused(
        intent_id=f"{name}-{ordinal}", strategy=name, code=code, detail="too large", value=value, limit=limit
    )
    desk.answer(answer)


def test_a_hedge_that_is_too_large_for_a_limit_of_risk_is_asked_for_in_parts_that_fit() -> None:
    desk = _desk(call_held())
    whole = desk.asked()[0].legs[0].quantity
    _too_large(desk, 1, 5.0, 2.0)
    desk.wait(1.5)
    part = desk.asked()[1].legs[0].quantity
    assert float(part) == pytest.approx(float(whole) * 0.4, abs=0.001)
    assert f"in parts of {part} at most: risk: too large" in desk.status().reason
    desk.give_grant()
    desk.accept("h1")
    desk.opened(hedge_held("sell", str(part), at_ns=desk.now_ns))
    desk.wait(1.5)
    assert [each.legs[0].quantity for each in desk.asked()[2:]] == [part], "the rest does not wait for the interval"
    desk.give_grant()
    desk.accept("h2")
    desk.opened(hedge_held("sell", str(part), 2, at_ns=desk.now_ns))
    desk.wait(1.5)
    assert sum(each.legs[0].quantity for each in desk.asked()[1:]) == whole
    desk.give_grant()
    desk.accept("h3")
    desk.opened(hedge_held("sell", str(desk.asked()[3].legs[0].quantity), 3, at_ns=desk.now_ns))
    desk.wait(2)
    assert "in parts" not in desk.status().reason


def test_parts_that_are_refused_too_become_smaller_down_to_the_least_and_then_it_waits() -> None:
    desk = _desk(call_held())
    for ordinal in range(1, 9):
        _too_large(desk, ordinal, 103.0, 100.0, "delta_limit")
        desk.wait(1.5)
    asked = [each.legs[0].quantity for each in desk.asked()]
    assert asked == sorted(asked, reverse=True)
    assert min(asked) >= D("0.002")
    assert len(asked) == 8, "no part is below minimum_size, and no more is asked for at once"
    assert "refused: risk: too large" in desk.status().reason


def test_a_refusal_that_less_would_not_change_is_not_asked_for_in_parts() -> None:
    desk = _desk(call_held())
    _too_large(desk, 1, 5.0, 2.0, "grant_rate")
    desk.wait(2)
    assert len(desk.asked()) == 1


def test_a_delta_that_stays_beyond_its_band_is_alarmed_after_a_minute_and_when_it_is_back() -> None:
    desk = HedgedDialogue(hedged())
    desk.opened(call_held())
    desk.halt(Halt(level="no_new_trades", reason="looking", raised_by="operator", raised_ns=NOON))
    desk.ready()
    desk.wait(58)
    assert [each for each in desk.alerts if each.code == "hedge_off"] == []
    desk.wait(5)
    (alert,) = [each for each in desk.alerts if each.code == "hedge_off"]
    assert (alert.subject, alert.severity) == ("t1001", "warning")
    assert "looking" in alert.text
    assert desk.asked() == []
    desk.halt()
    desk.opened(hedge_held("sell", "0.5", at_ns=desk.now_ns))
    desk.wait(2)
    assert [each.resolved for each in desk.alerts if each.code == "hedge_off"] == [False, True]


def test_a_paused_strategy_is_hedged_on_as_long_as_its_trade_is_open() -> None:
    desk = HedgedDialogue(hedged())
    desk.command("pause")
    desk.opened(call_held())
    desk.ready()
    assert len(desk.asked()) == 1


def test_of_a_trade_that_is_being_closed_the_hedge_is_taken_back_and_not_added_to() -> None:
    closing = msgspec.structs.replace(call_held(), state="CLOSING")
    desk = _desk(closing)
    assert desk.asked() == []
    taken_back = _desk(
        msgspec.structs.replace(call_held("0.2"), state="CLOSING"),
        hedge_held("sell", "0.4", at_ns=NOON - 60 * SECOND),
    )
    assert [close.trade_id for close in taken_back.closes()] == ["h1"]


@pytest.mark.parametrize("why", ["halted", "closing"])
def test_while_nothing_may_be_opened_a_hedge_that_is_a_little_too_large_is_kept_and_alarmed(why: str) -> None:
    desk = HedgedDialogue(hedged())
    desk.opened(call_held() if why == "halted" else msgspec.structs.replace(call_held(), state="CLOSING"))
    desk.opened(hedge_held("sell", "0.6", at_ns=NOON - 60 * SECOND))
    if why == "halted":
        desk.halt(Halt(level="no_new_trades", reason="looking", raised_by="operator", raised_ns=NOON))
    desk.ready()
    desk.wait(62)
    assert desk.closes() == []
    (alert,) = [each for each in desk.alerts if each.code == "hedge_off"]
    assert ("looking" if why == "halted" else "t1001 is CLOSING") in alert.text
    if why == "halted":
        desk.halt()
        desk.wait(2)
        assert [close.trade_id for close in desk.closes()] == ["h1"]


@given(
    delta=st.floats(-5, 5),
    quantities=st.lists(st.integers(1, 2_000), max_size=8),
    sign=st.sampled_from((1, -1)),
)
def test_where_nothing_can_be_opened_again_what_is_closed_brings_delta_nearer(
    delta: float, quantities: list[int], sign: int
) -> None:
    held = [HeldHedge(f"h{number}", sign * D(each) / 1_000) for number, each in enumerate(quantities)]
    wanted = adjustment(delta, held, HEDGE, PERPETUAL, may_open=False)
    closed = wanted.trade_ids if isinstance(wanted, CloseHedges) else ()
    before = abs(delta + float(sum(each.quantity for each in held)))
    after = [each.quantity for each in held if each.trade_id not in closed]
    assert abs(delta + float(sum(after))) < before or not closed


def test_of_several_hedges_those_are_closed_that_come_nearest_where_nothing_can_be_opened_again() -> None:
    held = [HeldHedge("a", D("-0.5")), HeldHedge("b", D("-0.3")), HeldHedge("c", D("-0.25"))]
    assert adjustment(0.6, held, HEDGE, PERPETUAL, may_open=False) == CloseHedges(("a",))
    assert adjustment(0.45, held, HEDGE, PERPETUAL, may_open=False) == CloseHedges(("b", "c"))


def test_a_trade_that_is_not_open_yet_is_not_hedged() -> None:
    desk = _desk(msgspec.structs.replace(call_held(), state="OPENING"))
    assert desk.asked() == []


def test_what_hedged_an_ended_trade_is_forgotten_once_it_has_ended_too() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    desk.opened(msgspec.structs.replace(call_held(), state="CLOSED", closed_ns=desk.now_ns, updated_ns=desk.now_ns))
    desk.wait(1)
    assert desk.core.hedges.hedges_of("t1001")
    desk.opened(hedge_held("sell", "0.5", at_ns=desk.now_ns, state="CLOSED", closed="0.5"))
    desk.wait(1)
    assert desk.core.hedges.hedges_of("t1001") == ()


def test_without_a_perpetual_nothing_is_opened_and_what_is_open_waits_with_the_reason() -> None:
    desk = Dialogue(hedged(entry_conditions=[]))
    desk.ready()
    assert "futures = true" in desk.gate("legs").reason
    assert desk.count(RequestGrant) == 0
    desk.opened(call_held())
    desk.wait(2)
    assert "hedge waits: no perpetual of BTCUSD is traded here" in desk.status().reason


def test_exits_are_judged_on_the_trade_with_all_that_hedged_it() -> None:
    ended = msgspec.structs.replace(
        hedge_held("sell", "0.2", state="CLOSED", closed="0.2"), realized_pnl_usd=D(5_000), funding_usd=D(10)
    )
    desk = _desk(call_held("1", profit_target(usd=4_000)), ended, hedge_held("sell", "0.5", 2))
    assert [close.trade_id for close in desk.closes()] == ["t1001"]
    without = _desk(call_held("1", profit_target(usd=4_000)), hedge_held("sell", "0.5", 2))
    assert without.closes() == []


def test_figures_of_numpy_are_figures_like_others() -> None:
    figures = {"band": 0.05, "interval_seconds": 10.0, "minimum_size": 0.002, "target": 0.0}
    desk = _desk(call_held(), hedge=DeltaHedge(**{name: np.float64(value) for name, value in figures.items()}))
    assert len(desk.asked()) == 1


def test_a_hedge_that_cannot_be_worked_out_is_alarmed_and_stops_no_other_strategy() -> None:
    desk = HedgedDialogue(hedged(DeltaHedge(interval_seconds=1e300)), hedged(name="other"))
    desk.opened(call_held())
    desk.opened(trade(strategy="other", legs=[leg(CALL, "buy", "1", "1000")], trade_id="t2"))
    desk.ready()
    assert [each.strategy for each in desk.asked()] == ["other.hedge"]
    (alert,) = [each for each in desk.alerts if each.code == "hedge_off"]
    assert alert.subject == "t1001"
    assert "hedge fails" in alert.text


@pytest.mark.parametrize("without", [hedged(None), hedged(name="other")], ids=["no delta_hedge", "not loaded"])
def test_a_hedged_trade_that_nobody_hedges_any_more_is_alarmed_until_it_has_ended(without: LoadedStrategy) -> None:
    desk = HedgedDialogue(without)
    desk.opened(call_held())
    desk.opened(hedge_held("sell", "0.5"))
    desk.ready()
    desk.wait(2)
    (alert,) = [each for each in desk.alerts if each.code == "hedge_off"]
    assert (alert.subject, alert.resolved) == ("t1001", False)
    assert "nobody hedges it" in alert.text
    desk.opened(msgspec.structs.replace(call_held(), state="CLOSED", closed_ns=desk.now_ns, updated_ns=desk.now_ns))
    desk.wait(1)
    assert [each.resolved for each in desk.alerts if each.code == "hedge_off"] == [False, True]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"band": -0.1}, "band"),
        ({"interval_seconds": 0}, "interval_seconds"),
        ({"minimum_size": float("nan")}, "minimum_size"),
        ({"target": "none"}, "target"),
    ],
)
def test_a_figure_that_means_nothing_is_refused_by_name(fields: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        DeltaHedge(**fields)


def test_a_strategy_over_two_underlyings_has_no_one_perpetual_that_hedges_it() -> None:
    legs = [*straddle("0.1"), *straddle("0.1", underlying="ETH")]
    with pytest.raises(ValueError, match="one underlying"):
        StrategyConfig(name="s", legs=legs, delta_hedge=HEDGE)


@given(
    delta=st.floats(-5, 5),
    quantities=st.lists(st.integers(1, 2_000), max_size=6),
    sign=st.sampled_from((1, -1)),
)
def test_adjusting_again_and_again_ends_within_the_band_and_never_holds_both_sides(
    delta: float, quantities: list[int], sign: int
) -> None:
    held = [HeldHedge(f"h{number}", sign * D(each) / 1_000) for number, each in enumerate(quantities)]
    for number in range(30):
        wanted = adjustment(delta, held, HEDGE, PERPETUAL)
        if isinstance(wanted, NoHedge):
            break
        if isinstance(wanted, CloseHedges):
            assert wanted.trade_ids
            held = [each for each in held if each.trade_id not in wanted.trade_ids]
        else:
            assert isinstance(wanted, OpenHedge)
            assert wanted.quantity % PERPETUAL.lot_size == 0
            change = wanted.quantity if wanted.side == "buy" else -wanted.quantity
            held.append(HeldHedge(f"n{number}", change))
        assert len({each.quantity > 0 for each in held}) <= 1
    off = delta + float(sum(each.quantity for each in held))
    assert abs(off) <= HEDGE.band + 1e-9
