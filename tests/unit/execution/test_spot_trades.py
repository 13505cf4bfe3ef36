"""Trades with coins of spot as a leg: bought, held less the fee that is taken in coins, and sold to the last lot."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.execution.effects import AmendOrder, FetchSnapshot
from services.execution.rows import CoinsLeft, FeeLearned, LegClosedOutside
from shared.ids import parse_client_order_id
from shared.messages.reconciliation import AdoptPosition
from shared.messages.trades import ExecutionParams, GrantLeg, LimitPhase, Refusal
from shared.messages.venue import NewOrder, VenueExercise, VenueFill
from tests.unit.execution.play import CALL, EXPIRY_NS, SECOND, Script, acked, fill, intent, leg, seen
from tests.unit.execution.test_perpetual_trades import PerpetualScript
from tests.unit.spot_pairs import PAIR, chain_with_pair, with_pair

SYMBOL = PAIR.symbol
FEE_RATE = D("0.001")


class SpotScript(PerpetualScript):
    """A market whose lists and chains have the pair beside options and the perpetual."""

    best_bid, best_ask = 99_990.0, 100_010.0

    def __init__(self) -> None:
        super().__init__()
        self.listing = with_pair(self.listing)

    def inbound(self, message: Any) -> Script:
        if type(message).__name__ == "ChainSnapshot":
            message = chain_with_pair(message, self.listing, self.best_bid, self.best_ask)
        return super().inbound(message)

    def allowed(self, part: GrantLeg) -> D | None:
        if part.symbol == SYMBOL:
            return D(100500)
        return super().allowed(part)

    def bought(self, order: NewOrder, number: int, quantity: str | None = None) -> VenueFill:
        """An execution of a buy, whose fee the venue takes of the coins."""
        plain = fill(order, number, quantity, at_ns=self.now_ns)
        coins = plain.quantity * FEE_RATE
        return msgspec.structs.replace(plain, fee_usd=coins * plain.price, fee_coins=coins)

    def holding(self, quantity: str = "0.1234", ordinal: int = 0, number: int = 1) -> str:
        """An open trade of coins alone, of which the account shows what the fee left."""
        trade_id = str(self.trade(leg(SYMBOL, "buy", quantity), ordinal=ordinal).trade_id)
        (order,) = self.placed()
        self.on(acked(order)).on(self.bought(order, number)).on(seen(order, "filled", quantity))
        assert self.state(trade_id) == "OPEN"
        self.wait(5_000)
        return trade_id


def _started() -> SpotScript:
    script = SpotScript()
    script.started()
    script.effects.clear()
    return script


def test_coins_are_bought_by_limit_orders_held_less_by_the_fee_and_sold_to_the_last_lot() -> None:
    script = _started()
    trade_id = script.holding()
    # the fee, 0.0001234 coins, takes two lots: 0.0000766 of them are left, which nobody can sell
    assert script.held(trade_id) == [D("0.1232")]
    script.snapshot(coins={SYMBOL: "0.1232766"})
    assert script.alerts() == []
    script.close(trade_id)
    (closing,) = script.placed()
    assert (closing.symbol, closing.side, closing.quantity) == (SYMBOL, "sell", D("0.1232"))
    script.on(acked(closing)).on(fill(closing, 2, fee="12.3", at_ns=script.now_ns))
    script.on(seen(closing, "filled", "0.1232"))
    told = script.told(trade_id)
    assert told.state == "CLOSED"
    (opened,) = told.legs
    assert opened.open_price is not None
    assert (opened.filled_quantity, opened.closed_quantity, opened.fee_quantity) == (
        D("0.1234"),
        D("0.1232"),
        D("0.0002"),
    )
    fee_usd = D("0.0001234") * opened.open_price
    assert told.fees_usd == fee_usd + D("12.3")
    assert told.realized_pnl_usd == D("0.1232") * (closing.price - opened.open_price)
    assert told.entry_premium_usd == 0
    assert script.refolded().book.trades == script.core.book.trades


def test_fees_of_many_executions_are_rounded_up_once() -> None:
    script = _started()
    trade_id = str(script.trade(leg(SYMBOL, "buy", "0.3")).trade_id)
    (order,) = script.placed()
    script.on(acked(order))
    for number in range(1, 7):
        script.on(script.bought(order, number, "0.05"))
    script.on(seen(order, "filled", "0.3"))
    assert script.held(trade_id) == [D("0.2997")]


def test_a_fee_that_is_told_later_lessens_what_is_held_from_then_on() -> None:
    script = _started()
    trade_id = str(script.trade(leg(SYMBOL, "buy", "0.1")).trade_id)
    (order,) = script.placed()
    whole = script.bought(order, 1)
    script.on(acked(order)).on(msgspec.structs.replace(whole, fee_usd=None, fee_coins=D(0)))
    script.on(seen(order, "filled", "0.1"))
    assert script.held(trade_id) == [D("0.1")]
    script.on(whole)
    assert script.held(trade_id) == [D("0.0999")]
    assert [row.fee_coins for row in script.rows(FeeLearned)] == [D("0.0001")]
    assert script.refolded().book.trades == script.core.book.trades


def test_coins_are_bought_before_the_call_that_they_cover_and_sold_after_it() -> None:
    script = _started()
    trade_id = str(script.trade(leg(CALL, "sell", "0.1"), leg(SYMBOL, "buy", "0.1001")).trade_id)
    (coins,) = script.placed()
    assert coins.symbol == SYMBOL
    script.on(acked(coins)).on(script.bought(coins, 1)).on(seen(coins, "filled", "0.1001"))
    (call,) = script.placed()
    assert call.symbol == CALL
    script.filled(call, 2)
    assert script.state(trade_id) == "OPEN"
    script.close(trade_id)
    (call,) = script.placed()
    assert (call.symbol, call.side) == (CALL, "buy")
    script.filled(call, 3)
    script.wait(2_000)
    (coins,) = script.placed()
    assert (coins.symbol, coins.side, coins.quantity) == (SYMBOL, "sell", D("0.0999"))


def test_the_coins_that_the_account_has_beside_are_nobodys_concern() -> None:
    script = _started()
    trade_id = script.holding("0.1")
    script.take(FetchSnapshot)
    for _ in range(3):
        script.snapshot(coins={SYMBOL: "5.0999"})
        script.wait(20_000)
    assert {each.coins_of for each in script.take(FetchSnapshot)} == {(SYMBOL,)}
    assert script.alerts() == []
    assert script.core.book.differences == {}
    script.close(trade_id)
    (closing,) = script.placed()
    assert closing.quantity == D("0.0999")


@pytest.mark.parametrize("left", ["0.04", "0.040005"], ids=["lots", "and_part_of_a_lot"])
def test_coins_that_are_gone_are_missed_and_never_sold_again(left: str) -> None:
    script = _started()
    trade_id = script.holding("0.1")
    script.snapshot(coins={SYMBOL: left})
    script.wait(20_000)
    script.snapshot(coins={SYMBOL: left})
    assert script.alerts() == ["position_missing"]
    script.wait(script.config.vanished_after_ms)
    script.snapshot(coins={SYMBOL: left})
    (gone,) = script.rows(LegClosedOutside)
    assert (gone.trade_id, gone.quantity) == (trade_id, D("0.0599"))
    assert script.held(trade_id) == [D("0.04")]


def test_a_snapshot_that_was_not_asked_for_the_coins_says_nothing_of_them() -> None:
    script = _started()
    trade_id = script.holding("0.1")
    for _ in range(4):
        script.wait(60_000)
        script.snapshot()
    assert script.held(trade_id) == [D("0.0999")]
    assert "position_missing" not in script.alerts()


def test_an_order_of_spot_is_never_amended_but_replaced_when_it_is_gone() -> None:
    script = _started()
    params = ExecutionParams(requote_by="amend", phases=(LimitPhase(pricing="mid"),))
    script.trade(leg(SYMBOL, "buy", "0.1"), execution_params=params)
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "new"))
    script.best_bid, script.best_ask = 99_890.0, 99_910.0
    script.wait(60_000)
    assert script.take(AmendOrder) == []
    assert script.cancelled() == [order.client_order_id]
    assert script.placed() == []
    script.cancels_all(order)
    script.wait(2_000)
    (again,) = script.placed()
    assert again.price < order.price


@pytest.mark.parametrize(
    ("legs", "mode", "code", "says"),
    [
        ((leg(SYMBOL, "sell", "0.1"),), "limit", "bad_legs", "coins that the trade did not buy are not sold"),
        ((leg(SYMBOL, "sell", "0.1"), leg(CALL, "buy", "0.1")), "smart", "bad_legs", "did not buy"),
        ((leg(SYMBOL, "buy", "0.1"),), "quoting", "bad_params", "is not quoted"),
        ((leg(SYMBOL, "buy", "0.1"), leg(CALL, "sell", "0.1")), "rfq", "bad_params", "makers are not asked"),
        ((leg(SYMBOL, "buy", "0.0002"),), "limit", "below_minimum", "it could not be sold again"),
    ],
)
def test_what_cannot_be_done_with_coins_is_refused(legs: Any, mode: str, code: str, says: str) -> None:
    script = _started()
    policy = {"policy": "best_effort"} if mode == "quoting" else {}
    refused = script.ask(intent(*legs, now_ns=script.now_ns, execution_mode=mode, **policy))
    assert isinstance(refused, Refusal)
    assert refused.code == code
    assert says in refused.detail
    assert script.placed() == []
    assert script.core.book.trades == {}


def test_coins_of_the_account_are_not_adopted() -> None:
    script = _started()
    refused = script.ask(AdoptPosition(symbol=SYMBOL, strategy="mine", quantity=None, requested_by="operator"))
    assert isinstance(refused, Refusal)
    assert refused.code == "no_position"
    assert "the account's own" in refused.detail


def _assumed() -> tuple[SpotScript, str, NewOrder, NewOrder]:
    """A trade whose purchase the venue shows as filled, in no list of executions, and the order that closes it."""
    script = _started()
    trade_id = str(script.trade(leg(SYMBOL, "buy", "0.1")).trade_id)
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "filled", "0.1"))
    for _ in range(200):
        script.wait(1_000)
        script.queried(order, seen(order, "filled", "0.1"))
        if script.state(trade_id) == "OPEN":
            break
    assert script.held(trade_id) == [D("0.1")]
    script.wait(6_000)
    script.snapshot(coins={SYMBOL: "0.0999"})
    script.close(trade_id)
    (closing,) = script.placed()
    assert closing.quantity == D("0.0999")
    return script, trade_id, order, closing


def test_what_the_venue_may_have_kept_as_a_fee_that_it_has_not_told_is_not_missing() -> None:
    script = _started()
    trade_id = str(script.trade(leg(SYMBOL, "buy", "0.1")).trade_id)
    (order,) = script.placed()
    whole = script.bought(order, 1)
    script.on(acked(order)).on(msgspec.structs.replace(whole, fee_usd=None, fee_coins=D(0)))
    script.on(seen(order, "filled", "0.1"))
    for _ in range(8):
        script.wait(12_000)
        script.snapshot(coins={SYMBOL: "0.0999"})
    assert script.state(trade_id) == "OPEN"
    assert script.rows(LegClosedOutside) == []
    assert script.alerts() == []
    script.close(trade_id)
    (closing,) = script.placed()
    assert closing.quantity == D("0.0999"), "not the account's own coins"


def test_a_covered_call_outlives_its_call_with_its_coins_until_an_exit_closes_it() -> None:
    script = _started()
    trade_id = str(script.trade(leg(CALL, "sell", "0.1"), leg(SYMBOL, "buy", "0.1001")).trade_id)
    (coins,) = script.placed()
    script.on(acked(coins)).on(script.bought(coins, 1)).on(seen(coins, "filled", "0.1001"))
    (call,) = script.placed()
    script.filled(call, 2)
    script.now_ns = EXPIRY_NS + SECOND
    script.market()
    script.beats()
    script.wait(5_000)
    assert script.state(trade_id) == "OPEN"
    settlement = VenueExercise(
        symbol=CALL,
        quantity=D("-0.1"),
        settlement_price=D(99_000),
        settlement_cash_flow_usd=D(0),
        fee_usd=D(0),
        venue_ns=EXPIRY_NS,
    )
    script.snapshot(exercises=[settlement], coins={SYMBOL: "0.0999"})
    script.wait(60_000)
    assert script.state(trade_id) == "OPEN"
    assert script.held(trade_id) == [D(0), D("0.0999")]
    assert "trade_broken" not in script.alerts()
    script.close(trade_id)
    (closing,) = script.placed()
    assert (closing.symbol, closing.side, closing.quantity) == (SYMBOL, "sell", D("0.0999"))
    script.filled(closing, 3)
    assert script.state(trade_id) == "CLOSED"
    assert script.refolded().book.trades == script.core.book.trades


def test_the_fee_of_a_purchase_whose_executions_are_not_told_is_not_sold() -> None:
    script, trade_id, order, closing = _assumed()
    script.on(acked(closing)).on(script.bought(order, 1))
    script.on(fill(closing, 2, at_ns=script.now_ns)).on(seen(closing, "filled", "0.0999"))
    assert script.state(trade_id) == "CLOSED"
    assert script.held(trade_id) == [0]
    assert script.rows(CoinsLeft) == []


def test_what_may_have_been_the_fee_is_left_in_the_account_when_it_is_never_told() -> None:
    script, trade_id, _, closing = _assumed()
    script.on(acked(closing)).on(fill(closing, 2, at_ns=script.now_ns)).on(seen(closing, "filled", "0.0999"))
    script.wait(1_000)
    assert script.state(trade_id) == "CLOSED"
    assert [row.quantity for row in script.rows(CoinsLeft)] == [D("0.0001")]
    assert script.placed() == []


def test_coins_too_few_to_be_sold_are_left_in_the_account_and_the_trade_ends() -> None:
    script = _started()
    trade_id = str(script.trade(leg(SYMBOL, "buy", "0.1"), policy="atomic").trade_id)
    (order,) = script.placed()
    script.on(acked(order)).on(script.bought(order, 1, "0.0002"))
    script.cancel(trade_id=trade_id)
    script.cancels_all(order, "0.0002")
    script.wait(30_000)
    told = script.told(trade_id)
    assert told.state == "FAILED"
    assert [leg.held_quantity for leg in told.legs] == [0]
    assert [(row.quantity, row.leg_index) for row in script.rows(CoinsLeft)] == [(D("0.0001"), 0)]
    assert told.realized_pnl_usd == 0
    assert script.placed() == []
    assert "trade_broken" not in script.alerts()
    assert script.refolded().book.trades == script.core.book.trades


def test_after_a_restart_in_the_middle_of_a_sale_nothing_is_sold_twice() -> None:
    script = _started()
    trade_id = script.holding("0.1")
    script.close(trade_id)
    (closing,) = script.placed()
    again = script.restarted()
    again.wait(30_000)
    assert again.placed() == []
    again.queried(closing, seen(closing, "filled", "0.0999"), fill(closing, 7, "0.0999", at_ns=again.now_ns))
    again.snapshot(coins={SYMBOL: "0.0000001"})
    again.wait(10_000)
    assert again.core.book.trades[trade_id].state == "CLOSED"
    assert again.placed() == []
    key = parse_client_order_id(closing.client_order_id, 7)
    assert key is not None
    assert key.purpose == "close"
