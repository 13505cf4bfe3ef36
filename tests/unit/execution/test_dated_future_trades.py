"""Trades with a dated future as a leg: worked as a perpetual is, without funding, and delivered at its expiry."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from services.execution.effects import FetchSnapshot
from services.execution.reduction import covers
from services.execution.rows import LegSettled
from shared.messages.trades import GrantLeg, LegOrder, Refusal
from shared.messages.venue import NewOrder, VenueExercise
from shared.options.instruments import future_expiry_ns
from tests.unit.dated_futures import chain_with_futures, future, with_futures
from tests.unit.execution.play import CALL, PUT, SECOND, Script, leg, position
from tests.unit.execution.test_perpetual_trades import PerpetualScript

NEAR, QUARTER = "BTCUSD-25SEP26", "BTCUSD-25DEC26"
MARKS = {NEAR: 100_100.0, QUARTER: 101_000.0}
EXPIRY_NS = future_expiry_ns(NEAR)


class FutureScript(PerpetualScript):
    """A market with the perpetual at 100,000 and two dated futures above it."""

    def __init__(self) -> None:
        super().__init__()
        self.listing = with_futures(self.listing, NEAR, QUARTER)
        self.quoted = dict(MARKS)

    def inbound(self, message: Any) -> Script:
        if type(message).__name__ == "ChainSnapshot":
            message = chain_with_futures(message, self.listing, self.quoted, self.mark)
        return Script.inbound(self, message)

    def allowed(self, part: GrantLeg) -> D | None:
        mark = MARKS.get(part.symbol)
        past = D("1.005") if part.side == "buy" else D("0.995")
        return super().allowed(part) if mark is None else D(str(mark)) * past

    def market_at(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.market()
        self.beats()
        self.wait(1_000)


def _started() -> FutureScript:
    script = FutureScript()
    script.started()
    return script


def _delivery(quantity: str, price: str, fee: str = "0") -> VenueExercise:
    """As the venue's client tells it."""
    return VenueExercise(
        symbol=NEAR,
        quantity=D(quantity),
        settlement_price=D(price),
        settlement_cash_flow_usd=D(quantity) * D(price),
        fee_usd=D(fee),
        venue_ns=EXPIRY_NS,
    )


def _open(script: FutureScript, *legs: LegOrder, number: int = 1, ordinal: int = 0, **changes: Any) -> str:
    """A trade of these legs, filled in the order in which they are sent."""
    trade_id = str(script.trade(*legs, ordinal=ordinal, **changes).trade_id)
    for _ in legs:
        for order in script.placed():
            script.filled(order, number)
            number += 1
    assert script.core.book.trades[trade_id].state == "OPEN"
    return trade_id


def test_it_is_opened_and_closed_reduce_only_by_limit_orders_and_has_no_premium() -> None:
    script = _started()
    trade_id = str(script.trade(leg(QUARTER, "sell", "0.015")).trade_id)
    (opening,) = script.placed()
    assert (opening.symbol, opening.side, opening.price) == (QUARTER, "sell", D("100495.0"))
    script.filled(opening, 1)
    script.snapshot(positions=[position(QUARTER, "-0.015", mark=101_000.0)])
    script.wait(10_000)
    assert script.core.book.trades[trade_id].state == "OPEN"
    closing = script.closed(trade_id, 2)
    assert (closing.side, closing.reduce_only, closing.price) == ("buy", True, D("101000.0"))
    told = script.told(trade_id)
    assert told.entry_premium_usd == 0
    assert told.realized_pnl_usd == D("0.015") * (D(100495) - D(101000))


def test_held_over_its_expiry_it_is_delivered_at_the_venues_price_with_its_fee_and_without_funding() -> None:
    script = _started()
    trade_id = _open(script, leg(NEAR, "buy", "0.1"))
    bought = script.core.book.trades[trade_id].legs[0].open_price
    assert bought is not None
    fees = script.core.book.trades[trade_id].fees_usd
    assert not any(each.deliveries for each in script.take(FetchSnapshot))
    script.market_at(EXPIRY_NS + SECOND)
    assert script.core.book.trades[trade_id].state == "SETTLING"
    assert any(each.deliveries for each in script.take(FetchSnapshot))
    script.snapshot(exercises=[_delivery("0.1", "99000", "1.485")])
    told = script.told(trade_id)
    assert told.state == "SETTLED"
    assert told.realized_pnl_usd == D("0.1") * (D(99000) - bought)
    assert told.fees_usd == fees + D("1.485")
    assert told.funding_usd == 0
    assert script.core.book.perpetuals == {}
    script.snapshot(exercises=[_delivery("0.1", "99000", "1.485")])
    assert script.told(trade_id).fees_usd == fees + D("1.485")


def test_two_trades_that_are_short_share_one_delivery_to_the_last_decimal() -> None:
    script = _started()
    one = _open(script, leg(NEAR, "sell", "0.1"))
    two = _open(script, leg(NEAR, "sell", "0.2"), number=2, ordinal=1)
    script.market_at(EXPIRY_NS + SECOND)
    script.entries.clear()
    script.snapshot(exercises=[_delivery("-0.3", "99000.1", "4.4550045")])
    rows = [each.row for each in script.entries if isinstance(each.row, LegSettled)]
    assert [row.trade_id for row in rows] == [one, two]
    assert sum(row.cash_flow_usd for row in rows) == D("-29700.03")
    assert sum(row.fee_usd for row in rows) == D("4.4550045")


def test_when_one_expires_beside_a_later_one_the_trade_is_broken_and_the_later_one_is_closed_on_demand() -> None:
    script = _started()
    trade_id = _open(script, leg(NEAR, "sell", "0.1"), leg(QUARTER, "buy", "0.1"), if_broken="close")
    script.market_at(EXPIRY_NS + SECOND)
    (closing,) = script.placed()
    assert (closing.symbol, closing.side, closing.reduce_only) == (QUARTER, "sell", True)
    script.filled(closing, 9)
    script.snapshot(exercises=[_delivery("-0.1", "99000")])
    script.wait(1_000)
    told = script.told(trade_id)
    assert told.state in ("SETTLED", "CLOSED")
    assert all(each.held_quantity == 0 for each in told.legs)


def test_it_takes_no_orders_in_the_last_quarter_of_an_hour() -> None:
    script = _started()
    trade_id = _open(script, leg(NEAR, "buy", "0.1"))
    script.market_at(EXPIRY_NS - 899 * SECOND)
    assert isinstance(refused := script.trade(leg(NEAR, "buy", "0.1"), ordinal=1), Refusal)
    assert "stops trading" in refused.detail or "trade" in refused.detail
    script.close(trade_id)
    assert script.placed() == []
    assert "no longer trades" in script.told(trade_id).reason


def test_without_a_fresh_price_of_it_nothing_is_opened_while_others_are() -> None:
    script = _started()
    del script.quoted[QUARTER]
    script.market()
    refused = script.trade(leg(QUARTER, "buy", "0.01"))
    assert isinstance(refused, Refusal)
    assert refused.code == "market_stale"
    _open(script, leg(NEAR, "buy", "0.01"), ordinal=1)


def test_makers_are_not_asked_for_it_and_auto_takes_a_limit_order() -> None:
    script = _started()
    refused = script.trade(leg(NEAR, "buy", "1"), execution_mode="rfq")
    assert isinstance(refused, Refusal)
    assert refused.code == "bad_params"
    trade_id = script.trade(leg(NEAR, "buy", "1"), ordinal=1, execution_mode="auto").trade_id
    assert script.core.book.trades[trade_id].mode == "limit"


def test_its_other_side_would_net_and_another_expiry_would_not() -> None:
    script = _started()
    _open(script, leg(NEAR, "buy", "0.01"))
    refused = script.trade(leg(NEAR, "sell", "0.01"), ordinal=1)
    assert isinstance(refused, Refusal)
    assert refused.code == "would_net"
    _open(script, leg(QUARTER, "sell", "0.01"), number=2, ordinal=2)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (leg(NEAR, "buy"), leg(CALL, "sell")),
        (leg(PUT, "buy"), leg(NEAR, "buy")),
        (leg(CALL, "buy"), leg(NEAR, "sell")),
        (leg(NEAR, "sell"), leg(PUT, "sell")),
        (leg("BTCUSD", "buy"), leg(QUARTER, "sell")),
        (leg(QUARTER, "buy"), leg(NEAR, "sell")),
    ],
)
def test_what_is_sold_is_opened_after_what_is_bought_and_what_protects_is_closed_last(
    first: LegOrder, then: LegOrder
) -> None:
    script = _started()
    trade_id = str(script.trade(then, first).trade_id)
    opened: list[NewOrder] = []
    while len(opened) < 2:
        for order in script.placed():
            opened.append(order)
            script.filled(order, len(opened))
    assert [order.side for order in opened] == sorted(order.side for order in opened)
    script.close(trade_id)
    closed: list[NewOrder] = []
    for number in (3, 4):
        (order,) = script.placed()
        closed.append(order)
        script.filled(order, number)
    assert [order.symbol for order in closed] == [then.symbol, first.symbol]
    one, two = script.core.book.trades[trade_id].legs
    assert covers(two, one)
    assert not covers(one, two)


def test_it_is_never_taken_for_a_perpetual() -> None:
    assert not future(NEAR).is_perpetual
    assert not future(NEAR).is_option
