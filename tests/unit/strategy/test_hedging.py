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
from services.strategy.rows import HedgingResumed
from shared.messages.control import GrantRefused, Halt, HedgeSteered, RequestGrant, SteerHedge
from shared.messages.reducing import ReduceTrade, ReductionAccepted
from shared.messages.steps import Request, RequestTimedOut, Tick
from shared.messages.trades import LegOrder, OpenTrade, Refusal, RollLink, TradeUpdate
from shared.strategy import DeltaHedge, StrategyConfig, min_equity, profit_target, straddle
from shared.strategy.hedge import HeldHedge, NoHedge, OpenHedge, ReduceHedges, adjustment, hedge_range
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

    def reductions(self) -> list[ReduceTrade]:
        return [each.message for each in self.sent if isinstance(each.message, ReduceTrade)]

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
    side: Any,
    quantity: str,
    ordinal: int = 1,
    *,
    at_ns: int = NOON,
    state: Any = "OPEN",
    closed: str = "0",
    keep: str | None = None,
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
    legs = tuple(msgspec.structs.replace(each, keep_quantity=None if keep is None else D(keep)) for each in made.legs)
    return msgspec.structs.replace(made, hedge_of="t1001", legs=legs)


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


def test_too_much_of_a_hedge_is_taken_back_and_not_hedged_by_its_opposite() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"), hedge_held("sell", "0.3", 2, at_ns=NOON - 60 * SECOND))
    desk.wait(12)
    assert desk.asked() == []
    assert desk.closes() == []
    (less,) = desk.reductions()
    assert (less.trade_id, less.requested_by) == ("h1", "strategy straddler.hedge")
    assert float(less.keep) == pytest.approx(0.2, abs=0.02)


def test_what_is_too_much_of_all_hedges_is_taken_from_the_largest_and_one_not_needed_is_closed() -> None:
    desk = _desk(call_held("0.2"), hedge_held("sell", "0.4"), hedge_held("sell", "0.3", 2))
    desk.wait(12)
    assert {close.trade_id for close in desk.closes()} == {"h1"}
    (less,) = desk.reductions()
    assert less.trade_id == "h2"
    assert float(less.keep) == pytest.approx(0.1, abs=0.02)


def test_nothing_more_is_decided_until_execution_has_told_that_a_hedge_was_reduced() -> None:
    desk = _desk(call_held("0.2"), hedge_held("sell", "0.4", at_ns=NOON - 60 * SECOND))
    (less,) = desk.reductions()
    desk.answer(ReductionAccepted(trade_id="h1", keep=less.keep))
    desk.opened(hedge_held("sell", "0.4", at_ns=desk.now_ns, keep=str(less.keep)))
    desk.opened(call_held("0.05"))
    desk.wait(30)
    assert len(desk.reductions()) == 1
    assert f"h1 is being reduced to {less.keep}" in desk.status().reason
    desk.opened(hedge_held("sell", "0.4", at_ns=desk.now_ns, keep=str(less.keep), closed=str(D("0.4") - less.keep)))
    desk.wait(12)
    assert desk.reductions()[1].keep < less.keep


def test_a_reduction_that_is_not_answered_is_asked_again_with_its_id() -> None:
    desk = _desk(call_held("0.2"), hedge_held("sell", "0.4", at_ns=NOON - 60 * SECOND))
    (first,) = [each for each in desk.sent if isinstance(each.message, ReduceTrade)]
    desk.put(RequestTimedOut(first.request_id))
    desk.wait(10)
    again = [each for each in desk.sent if isinstance(each.message, ReduceTrade)]
    assert len(again) > 1
    assert set(again) == {first}


def test_a_reduction_that_is_refused_is_decided_anew() -> None:
    desk = _desk(call_held("0.2"), hedge_held("sell", "0.4", at_ns=NOON - 60 * SECOND))
    desk.answer(Refusal(code="not_open", detail="it is being closed"))
    desk.wait(3)
    assert len(desk.reductions()) == 1
    desk.wait(9)
    assert len(desk.reductions()) == 2


def test_while_one_hedge_is_asked_for_none_is_closed() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.4", at_ns=NOON - 60 * SECOND))
    assert len(desk.asked()) == 1
    desk.opened(call_held("0.4"))
    desk.wait(5)
    assert desk.closes() == []
    assert desk.reductions() == []
    assert "one is asked for" in desk.status().reason


def test_while_one_hedge_is_to_be_closed_nothing_more_is_taken_from_another() -> None:
    desk = _desk(call_held("0.4"), hedge_held("sell", "0.3"), hedge_held("sell", "0.25", 2))
    desk.wait(12)
    assert {close.trade_id for close in desk.closes()} == {"h1"}
    (less,) = desk.reductions()
    taken = str(D("0.25") - less.keep)
    desk.opened(hedge_held("sell", "0.25", 2, at_ns=desk.now_ns, keep=str(less.keep), closed=taken))
    desk.opened(call_held("0.05"))
    desk.wait(12)
    assert {close.trade_id for close in desk.closes()} == {"h1"}
    assert len(desk.reductions()) == 1
    assert "h1 is to be closed" in desk.status().reason


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
    assert desk.reductions() == []


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


def test_a_hedge_that_execution_cannot_take_for_a_while_is_asked_for_anew_under_another_id() -> None:
    desk = _desk(call_held())
    desk.give_grant()
    while len(desk.asked()) == 1:
        if isinstance(desk.sent[-1].message, OpenTrade):
            desk.answer(Refusal(code="market_stale", detail="no fresh mark"))
        desk.wait(1)
    assert desk.asked()[1].intent_id == "straddler.hedge-2", "risk would refuse another quantity under the first"


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
    assert [float(each.keep) for each in taken_back.reductions()] == pytest.approx([0.1], abs=0.02)


def test_under_a_halt_a_hedge_that_is_too_large_is_reduced_to_what_is_needed() -> None:
    desk = HedgedDialogue(hedged())
    desk.opened(call_held())
    desk.opened(hedge_held("sell", "0.6", at_ns=NOON - 60 * SECOND))
    desk.halt(Halt(level="no_new_trades", reason="looking", raised_by="operator", raised_ns=NOON))
    desk.ready()
    desk.wait(2)
    assert [float(each.keep) for each in desk.reductions()] == pytest.approx([0.5], abs=0.02)


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
        if isinstance(wanted, ReduceHedges):
            assert wanted.keep
            for each in held:
                keep = wanted.keep.get(each.trade_id, abs(each.quantity))
                assert keep == 0 or keep >= PERPETUAL.min_quantity
                assert keep <= abs(each.quantity)
            held = [
                HeldHedge(each.trade_id, wanted.keep.get(each.trade_id, abs(each.quantity)) * sign) for each in held
            ]
            held = [each for each in held if each.quantity]
        else:
            assert isinstance(wanted, OpenHedge)
            assert wanted.quantity % PERPETUAL.lot_size == 0
            change = wanted.quantity if wanted.side == "buy" else -wanted.quantity
            sign = 1 if change > 0 else -1
            held.append(HeldHedge(f"n{number}", change))
        assert len({each.quantity > 0 for each in held}) <= 1
    off = delta + float(sum(each.quantity for each in held))
    assert abs(off) <= HEDGE.band + 1e-9


def _closed_by_hand(desk: HedgedDialogue, by: str = "cli:ana", *, joined: str = "") -> None:
    closing = hedge_held("sell", "0.5", at_ns=desk.now_ns, state="CLOSING")
    desk.opened(msgspec.structs.replace(closing, close_by=by, close_reason="by hand", close_joined=joined))
    ended = hedge_held("sell", "0.5", at_ns=desk.now_ns, state="CLOSED", closed="0.5")
    desk.opened(msgspec.structs.replace(ended, close_by=by, close_reason="by hand", close_joined=joined))


def _steer(desk: HedgedDialogue, action: str, trade_id: str = "t1001") -> Any:
    request_id = f"{action}-{desk.now_ns}"
    order = SteerHedge(trade_id=trade_id, action=action, requested_by="cli:ana")
    desk.put(Request(request_id, order, "cli"))
    return desk.replies[request_id]


@pytest.mark.parametrize(("by", "joined"), [("cli:ana", ""), ("strategy straddler.hedge", "web:ana: enough")])
def test_a_hedge_that_a_person_closes_is_not_opened_again_until_hedging_is_resumed(by: str, joined: str) -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    _closed_by_hand(desk, by, joined=joined)
    desk.wait(62)
    assert desk.asked() == []
    who = "web:ana" if joined else "cli:ana"
    told = f"hedging is paused, {who} closed h1: voldesk hedge resume t1001"
    assert told in desk.status().reason
    (alert,) = [each for each in desk.alerts if each.code == "hedge_off"]
    assert told in alert.text
    assert _steer(desk, "resume") == HedgeSteered(trade_id="t1001", strategy="straddler", is_paused=False)
    desk.wait(2)
    assert len(desk.asked()) == 1


def test_a_close_by_hand_holds_over_restarts_and_one_that_was_resumed_after_does_not_pause_again() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    _closed_by_hand(desk)
    desk.restart()
    desk.opened(call_held())
    desk.ready()
    desk.wait(20)
    assert desk.asked() == []
    _steer(desk, "resume")
    desk.restart()
    desk.opened(call_held())
    _closed_by_hand(desk)
    desk.ready()
    desk.wait(20)
    assert len(desk.asked()) > 0


@pytest.mark.parametrize("by", ["execution", "risk", "strategy straddler.hedge"])
def test_a_hedge_that_a_service_closes_is_opened_again(by: str) -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    _closed_by_hand(desk, by)
    desk.wait(20)
    assert len(desk.asked()) > 0


def test_hedging_is_paused_and_resumed_by_command_and_neither_adds_nor_takes_back_meanwhile() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    assert _steer(desk, "pause") == HedgeSteered(trade_id="t1001", strategy="straddler", is_paused=True)
    for held in ("2", "0.2"):
        desk.opened(call_held(held))
        desk.wait(20)
    assert (desk.asked(), desk.reductions(), desk.closes()) == ([], [], [])
    assert "hedging is paused, by cli:ana" in desk.status().reason
    _steer(desk, "resume")
    desk.wait(2)
    assert len(desk.reductions()) == 1


def _closed(desk: HedgedDialogue) -> None:
    desk.opened(msgspec.structs.replace(call_held(), state="CLOSED", closed_ns=desk.now_ns, updated_ns=desk.now_ns))


def _resumed(desk: HedgedDialogue) -> list[str]:
    return [entry.row.requested_by for entry in desk.journal if isinstance(entry.row, HedgingResumed)]


def test_a_pause_ends_with_its_trade_once_no_roll_can_put_another_one_in_its_place() -> None:
    desk = _desk(call_held())
    _steer(desk, "pause")
    _closed(desk)
    desk.wait(10)
    assert _resumed(desk) == []
    desk.now_ns += 600 * SECOND
    desk.wait(1)
    assert _resumed(desk) == ["its end"]


def test_the_successor_of_a_paused_trade_is_paused_too() -> None:
    desk = _desk(call_held(), hedge_held("sell", "0.5"))
    _steer(desk, "pause")
    _closed(desk)
    desk.opened(hedge_held("sell", "0.5", at_ns=desk.now_ns, state="CLOSED", closed="0.5"))
    desk.wait(10)
    now = desk.now_ns
    link = RollLink(chain_id="t1001", number=1, rolled_from="t1001", earlier_pnl_usd=D(0))
    after = trade(legs=[leg(CALL, "buy", "1", "1000")], trade_id="t1002", ordinal=2, created_ns=now, opened_ns=now)
    desk.opened(msgspec.structs.replace(after, roll=link))
    desk.wait(20)
    assert desk.asked() == []
    assert "hedging is paused, by cli:ana: voldesk hedge resume t1002" in desk.status().reason
    assert _resumed(desk) == ["its roll"]
    _steer(desk, "resume", "t1002")
    desk.wait(2)
    assert len(desk.asked()) == 1


@pytest.mark.parametrize(
    ("action", "trade_id", "code"),
    [("pause", "t9", "no_such_trade"), ("pause", "h1", "not_hedged"), ("hurry", "t1001", "unknown_action")],
)
def test_what_cannot_be_steered_is_refused_with_what_helps(action: str, trade_id: str, code: str) -> None:
    answer = _steer(_desk(call_held(), hedge_held("sell", "0.5")), action, trade_id)
    assert isinstance(answer, Refusal)
    assert (answer.code, bool(answer.remedy)) == (code, True)


def test_a_successor_is_not_hedged_while_hedges_of_the_trade_before_it_are_still_held() -> None:
    before = hedge_held("sell", "0.5")
    desk = HedgedDialogue(hedged())
    desk.opened(call_held())
    desk.opened(before)
    desk.ready()
    now = desk.now_ns
    desk.opened(msgspec.structs.replace(call_held(), state="CLOSED", closed_ns=now, updated_ns=now))
    link = RollLink(chain_id="t1001", number=1, rolled_from="t1001", earlier_pnl_usd=D(0))
    after = trade(legs=[leg(CALL, "buy", "1", "1000")], trade_id="t1002", ordinal=2, created_ns=now, opened_ns=now)
    desk.opened(msgspec.structs.replace(after, roll=link))
    desk.wait(20)
    assert desk.asked() == []
    assert "h1, which hedged t1001 before it was rolled, is still OPEN" in desk.status().reason
    desk.opened(hedge_held("sell", "0.5", at_ns=desk.now_ns, state="CLOSED", closed="0.5"))
    desk.wait(2)
    (asked,) = desk.asked()
    assert float(asked.legs[0].quantity) == pytest.approx(0.5, abs=0.02)


def test_what_the_trade_itself_tells_of_ended_hedges_counts_once_whether_or_not_they_are_told_of() -> None:
    ended = msgspec.structs.replace(
        hedge_held("sell", "0.2", state="CLOSED", closed="0.2"), realized_pnl_usd=D(5_000), funding_usd=D(10)
    )
    target = profit_target(usd=4_000)
    told = msgspec.structs.replace(call_held("1", target), ended_hedges_usd=D(4_990), ended_hedges_ns=NOON)
    for trades in ((told,), (told, ended)):
        desk = _desk(*trades, hedge_held("sell", "0.5", 2))
        assert [close.trade_id for close in desk.closes()] == ["t1001"]
    half = msgspec.structs.replace(call_held("1", target), ended_hedges_usd=D(2_500), ended_hedges_ns=NOON)
    assert _desk(half, ended, hedge_held("sell", "0.5", 2)).closes() == []
    newer = msgspec.structs.replace(half, ended_hedges_ns=NOON - 1)
    assert len(_desk(newer, ended, hedge_held("sell", "0.5", 2)).closes()) == 1


@pytest.mark.parametrize(
    ("legs", "target", "least", "most"),
    [
        ([("5MAR26-100-C", "sell", "0.5"), ("5MAR26-90-P", "sell", "0.3")], 0.0, -0.3, 0.5),
        ([("5MAR26-100-C", "buy", "1"), ("5MAR26-110-C", "sell", "1")], 0.0, -1.0, 0.0),
        (
            [
                ("5MAR26-100-C", "sell", "1"),
                ("5MAR26-110-C", "buy", "1"),
                ("5MAR26-90-P", "sell", "2"),
                ("5MAR26-80-P", "buy", "2"),
            ],
            0.0,
            -2.0,
            1.0,
        ),
        ([("5MAR26-90-P", "buy", "1")], 0.25, 0.25, 1.25),
        # a calendar and a diagonal: the near call may be out of the money where the far one is in it, and ends first
        ([("5MAR26-100-C", "sell", "1"), ("26JUN26-100-C", "buy", "1")], 0.0, -1.0, 1.0),
        ([("5MAR26-110-C", "sell", "0.5"), ("26JUN26-100-C", "buy", "1")], 0.0, -1.0, 0.5),
        # forwards: two that cancel out, of which the near one ends first; one beside the perpetual; one alone
        ([("5MAR26", "sell", "1"), ("26JUN26", "buy", "1")], 0.0, -1.0, 0.0),
        ([("", "buy", "1"), ("5MAR26-100-C", "sell", "1"), ("5MAR26-100-P", "buy", "1")], 0.0, -1.0, 0.0),
        ([("5MAR26-100-C", "buy", "1"), ("5MAR26-100-P", "sell", "1")], 1.0, 0.0, 0.0),
    ],
)
def test_the_hedge_of_a_structure_may_have_to_hold_what_its_delta_can_come_to_in_each_of_its_expiries(
    legs: list[tuple[str, Any, str]], target: float, least: float, most: float
) -> None:
    orders = []
    for symbol, side, quantity in legs:
        expiry, _, option = symbol.partition("-")
        parts = ["BTCUSD", expiry, *option.replace("-", "000-").split("-")]
        orders.append(LegOrder(symbol="-".join(filter(None, parts)), side=side, quantity=D(quantity)))
    assert hedge_range(orders, DeltaHedge(target=target)) == pytest.approx((least, most))


def test_a_strategy_that_is_hedged_asks_for_room_for_its_hedge_too() -> None:
    for hedge, coins in ((HEDGE, 0.1), (None, 0.0)):
        desk = HedgedDialogue(hedged(hedge, entry_conditions=[]))
        desk.ready()
        assert [each.hedge_coins for each in desk.asked()] == [coins]
        assert [(each.hedge_least_coins, each.hedge_most_coins) for each in desk.asked()] == [(-coins, coins)]
        opened = desk.give_grant()
        assert (opened.hedge_least_coins, opened.hedge_most_coins) == (-coins, coins)
