"""Chains of rolls in execution: one successor each, within its own prices, and what the chain came to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.execution.rolling import link_roll, roll_link
from services.execution.rows import CloseJoined, TradeRequested
from shared.messages.trades import CloseTrade, Refusal, TellTrade, TradeAccepted, TradeStory, TradeUpdate
from shared.messages.venue import NewOrder
from tests.unit.execution.play import (
    CALL,
    HIGH_CALL,
    PUT,
    Script,
    acked,
    fill,
    intent,
    leg,
    seen,
)

D = Decimal


class Rolls:
    """Trades of one strategy that are filled and closed at once."""

    def __init__(self) -> None:
        self.script = Script().started()
        self.number = 0
        self.refusals = 100
        self.filled: list[NewOrder] = []

    def fill_all(self, fee: str | None = "0.5") -> None:
        for order in self.script.placed():
            self.number += 1
            self.filled.append(order)
            told = fill(order, self.number, fee=fee, at_ns=self.script.now_ns)
            self.script.on(acked(order)).on(told)

    def ended(self, ordinal: int, symbol: str = CALL, **changes: Any) -> str:
        """A trade that was opened and closed; its id."""
        trade_id = self.script.open(leg(symbol, "buy"), ordinal=ordinal, **changes)
        self.fill_all()
        self.script.close(trade_id)
        self.fill_all()
        assert self.told(trade_id).state == "CLOSED"
        return trade_id

    def told(self, trade_id: str) -> TradeUpdate:
        story = self.script.ask(TellTrade(trade_id=trade_id))
        assert isinstance(story, TradeStory)
        return story.trade

    def refused(self, **changes: Any) -> Refusal:
        changes.setdefault("now_ns", self.script.now_ns)
        self.refusals += 1
        answer = self.script.ask(intent(leg(HIGH_CALL, "buy"), ordinal=self.refusals, **changes))
        assert isinstance(answer, Refusal), answer
        return answer


def own_usd(trade: TradeUpdate) -> Decimal:
    return trade.realized_pnl_usd - trade.fees_usd


def test_the_pnl_of_a_chain_is_the_sum_of_its_trades_and_each_knows_its_place() -> None:
    rolls = Rolls()
    first = rolls.ended(1)
    second = rolls.ended(2, HIGH_CALL, rolled_from=first)
    third = rolls.ended(3, PUT, rolled_from=second)
    told = [rolls.told(trade_id) for trade_id in (first, second, third)]
    assert all(own_usd(trade) != 0 for trade in told)
    assert [trade.roll and (trade.roll.number, trade.roll.chain_id, trade.roll.rolled_from) for trade in told] == [
        None,
        (1, first, first),
        (2, first, second),
    ]
    assert [trade.rolled_to for trade in told] == [second, third, ""]
    for count, trade in enumerate(told, start=1):
        assert trade.chain_pnl_usd == sum(map(own_usd, told[:count]), D(0))


def test_a_fee_that_comes_late_counts_in_the_chain() -> None:
    rolls = Rolls()
    first = rolls.script.open(leg(CALL, "buy"), ordinal=1)
    rolls.fill_all(fee=None)
    rolls.script.close(first)
    rolls.fill_all()
    second = rolls.ended(2, HIGH_CALL, rolled_from=first)
    third = rolls.ended(3, PUT, rolled_from=second)
    before = {trade_id: rolls.told(trade_id).chain_pnl_usd for trade_id in (second, third)}
    rolls.script.on(fill(rolls.filled[0], 1, fee="3"))
    heard = {update.trade_id: update.chain_pnl_usd for update in rolls.script.published(TradeUpdate)}
    for trade_id, chain_usd in before.items():
        assert rolls.told(trade_id).chain_pnl_usd == chain_usd - D(3)
        assert heard[trade_id] == chain_usd - D(3), "who listens is told"


@pytest.mark.parametrize("restarted", [False, True])
def test_a_trade_is_rolled_once_over_a_restart(restarted: bool) -> None:
    rolls = Rolls()
    first = rolls.ended(1)
    asked = intent(leg(HIGH_CALL, "buy"), ordinal=2, rolled_from=first, now_ns=rolls.script.now_ns)
    answer = rolls.script.ask(asked)
    assert isinstance(answer, TradeAccepted)
    if restarted:
        rolls.script.restarted().snapshot(positions=rolls.script.positions())
    assert rolls.script.ask(asked) == answer
    assert rolls.refused(rolled_from=first).detail.endswith(f"was rolled to {answer.trade_id} already")
    requested = [entry.row for entry in rolls.script.entries if isinstance(entry.row, TradeRequested)]
    assert [row.request.rolled_from for row in requested] == ["", first]


def test_only_a_trade_of_the_same_strategy_that_held_something_and_has_ended_is_rolled() -> None:
    rolls = Rolls()
    assert rolls.refused(rolled_from="t1").code == "bad_roll"
    other = rolls.ended(1, strategy="other")
    assert "is of strategy other" in rolls.refused(rolled_from=other).detail
    held = rolls.script.open(leg(CALL, "buy"), ordinal=200)
    rolls.refusals = 200
    assert "is OPENING" in rolls.refused(rolled_from=held).detail


@pytest.mark.parametrize("limits", [(D(1), D(2)), (D(-1),), (D("NaN"),)])
def test_limits_of_prices_that_mean_nothing_are_refused(limits: tuple[Decimal, ...]) -> None:
    assert Rolls().refused(price_limits=limits).code == "bad_params"


@pytest.mark.parametrize(
    ("side", "limit", "worst"), [("buy", "1001", 1001), ("buy", "9999", 1020), ("sell", "1005", 1005)]
)
def test_an_opening_goes_no_further_than_the_trades_own_limit(side: Any, limit: str, worst: int) -> None:
    script = Script().started()
    script.open(leg(CALL, side), ordinal=1, price_limits=(D(limit),))
    (order,) = script.placed()
    assert order.price == worst


def test_a_chain_keeps_what_it_came_to_when_its_first_trade_is_forgotten() -> None:
    rolls = Rolls()
    first = rolls.ended(1)
    second = rolls.ended(2, HIGH_CALL, rolled_from=first)
    whole = rolls.told(second).chain_pnl_usd
    book = rolls.script.core.book
    del book.trades[first]
    link = roll_link(book.trades[second])
    assert link is not None
    assert link.earlier_pnl_usd + own_usd(rolls.told(second)) == whole


def test_a_fee_that_comes_late_counts_to_the_end_of_a_chain_of_thousands() -> None:
    rolls = Rolls()
    first = rolls.script.open(leg(CALL, "buy"), ordinal=1)
    rolls.fill_all(fee=None)
    rolls.script.close(first)
    rolls.fill_all()
    book = rolls.script.core.book
    like, earlier = book.trades[first], first
    for number in range(2_000):
        request = msgspec.structs.replace(like.request, rolled_from=earlier)
        made = msgspec.structs.replace(like, trade_id=f"later{number}", request=request, roll=None, rolled_to="")
        book.trades[made.trade_id] = made
        link_roll(book, made)
        earlier = made.trade_id
    before = rolls.told(earlier)
    assert before.roll is not None
    assert before.roll.number == 2_000
    assert before.chain_pnl_usd == sum((own_usd(rolls.told(each)) for each in book.trades), D(0))
    rolls.script.on(fill(rolls.filled[0], 1, fee="3"))
    assert rolls.told(earlier).chain_pnl_usd == before.chain_pnl_usd - D(3)


@pytest.mark.parametrize("by", ["cli:ann", "risk"])
@pytest.mark.parametrize("when", ["closing", "closed"])
def test_what_somebody_else_wants_closed_during_the_close_of_a_roll_has_no_successor(by: str, when: str) -> None:
    rolls = Rolls()
    script = rolls.script
    first = script.open(leg(CALL, "buy"), ordinal=1)
    rolls.fill_all()
    roll = CloseTrade(trade_id=first, reason="roll 1 of it", requested_by="strategy demo")
    script.ask(roll)
    script.ask(roll)
    if when == "closed":
        rolls.fill_all()
    assert rolls.told(first).close_joined == ""
    for _ in range(2):
        script.ask(CloseTrade(trade_id=first, reason="out of it", requested_by=by))
    if when == "closing":
        rolls.fill_all()
    told = rolls.told(first)
    assert (told.state, told.close_reason, told.close_joined) == ("CLOSED", "roll 1 of it", f"{by}: out of it")
    assert len(script.rows(CloseJoined)) == 1
    assert f"{by}: out of it" in rolls.refused(rolled_from=first).detail
    assert script.refolded().book == script.core.book


def test_what_a_strategy_wants_closed_for_another_reason_during_the_close_of_a_roll_has_no_successor() -> None:
    rolls = Rolls()
    first = rolls.script.open(leg(CALL, "buy"), ordinal=1)
    rolls.fill_all()
    for reason in ("roll 1 of it", "it has lost enough"):
        rolls.script.ask(CloseTrade(trade_id=first, reason=reason, requested_by="strategy demo"))
    rolls.fill_all()
    assert rolls.told(first).close_joined == "strategy demo: it has lost enough"
    assert rolls.refused(rolled_from=first).code == "bad_roll"


def test_a_trade_of_which_somebody_else_closed_a_leg_during_the_close_of_a_roll_has_no_successor() -> None:
    rolls = Rolls()
    script = rolls.script
    first = script.opened(leg(CALL, "buy"), leg(PUT, "buy"), ordinal=1)
    script.ask(CloseTrade(trade_id=first, reason="roll 1 of it", requested_by="strategy demo"))
    for order in script.placed():
        script.on(acked(order))
        if order.symbol == PUT:
            script.on(fill(order, 100, at_ns=script.now_ns))
        else:
            script.on(seen(order, "cancelled"))
    for _ in range(6):
        script.wait(4_000)
        for order in script.placed():
            script.on(acked(order)).on(seen(order, "cancelled"))
        script.taken([])
    told = rolls.told(first)
    assert (told.state, told.close_joined) == ("CLOSED", "")
    assert f"lost {CALL} from outside" in rolls.refused(rolled_from=first).detail


def test_a_trade_that_was_rolled_is_not_said_to_be_wanted_closed_later() -> None:
    rolls = Rolls()
    first = rolls.ended(1)
    rolls.ended(2, HIGH_CALL, rolled_from=first)
    rolls.script.close(first, requested_by="cli:ann")
    assert rolls.told(first).close_joined == ""


def test_what_a_close_did_cost_is_what_was_paid_less_what_was_got() -> None:
    rolls = Rolls()
    trade_id = rolls.script.open(leg(CALL, "buy"), leg(HIGH_CALL, "sell"), ordinal=1)
    while rolls.told(trade_id).state != "OPEN":
        rolls.fill_all()
        rolls.script.wait(1_000)
    assert rolls.told(trade_id).close_cost_usd is None
    rolls.filled.clear()
    rolls.script.close(trade_id)
    while rolls.told(trade_id).state != "CLOSED":
        rolls.fill_all()
        rolls.script.wait(1_000)
    cost_usd = sum((each.price * each.quantity * (1 if each.side == "buy" else -1) for each in rolls.filled), D(0))
    assert {each.side for each in rolls.filled} == {"buy", "sell"}
    assert rolls.told(trade_id).close_cost_usd == cost_usd
    rolls.script.core.book.trades[trade_id].legs[1].priceless_quantity = D(1)
    assert rolls.told(trade_id).close_cost_usd is None
