"""Trades with a perpetual as a leg: opened and closed by limit orders, not asked of makers, funded every 8 hours."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.execution.effects import FetchSnapshot
from services.execution.hedges import made_usd as made_by
from services.execution.pricing import FUTURE_PREMIUM_MAX_PCT, closing_bound, closing_price
from services.execution.rows import EndedForgotten, FillAssumed, FundingBooked
from shared.messages.grants import signed
from shared.messages.smart import SmartParams
from shared.messages.steps import Entry, Publish, RaiseAlert
from shared.messages.trades import Grant, GrantLeg, IntentRefused, LegOrder, Refusal, TradeUpdate
from shared.messages.venue import FundingPayment, NewOrder
from shared.options.chain import Quote
from tests.unit.execution.play import (
    CALL,
    EXPIRY_NS,
    KEY,
    MARKS,
    PUT,
    SECOND,
    T0,
    Script,
    acked,
    chain,
    fill,
    gone,
    intent,
    leg,
    position,
    seen,
)
from tests.unit.perpetuals import PERPETUAL, chain_with, with_perpetual

QUOTE = Quote(bid=99_995.0, ask=100_005.0, bid_size=10.0, ask_size=10.0, mark=100_000.0, delta=1.0)


class PerpetualScript(Script):
    """A market with a perpetual around its mark."""

    mark = 100_000.0

    def __init__(self) -> None:
        super().__init__()
        self.listing = with_perpetual(self.listing)

    def inbound(self, message: Any) -> Script:
        if type(message).__name__ == "ChainSnapshot":
            message = chain_with(message, self.listing, self.mark)
        return super().inbound(message)

    def trade(self, *legs: LegOrder, ordinal: int = 0, **changes: Any) -> Any:
        """Ask for a trade with a grant of half a per cent past mark."""
        asked = intent(*legs, ordinal=ordinal, now_ns=self.now_ns, **changes)
        parts = tuple(
            GrantLeg(
                symbol=part.symbol,
                side=part.side,
                max_quantity=part.max_quantity,
                worst_price=self.allowed(part) or part.worst_price,
            )
            for part in asked.grant.legs
        )
        grant: Grant = msgspec.structs.replace(asked.grant, legs=parts, signature="")
        return self.ask(msgspec.structs.replace(asked, grant=signed(grant, KEY)))

    def allowed(self, part: GrantLeg) -> D | None:
        """The worst price of a leg in futures; None for an option, whose own stands."""
        if "-" in part.symbol:
            return None
        return D(100500) if part.side == "buy" else D(99500)

    def opened(self, side: Any, quantity: str, number: int, ordinal: int = 0) -> str:
        """A trade of the perpetual alone, opened."""
        trade_id = str(self.trade(leg("BTCUSD", side, quantity), ordinal=ordinal).trade_id)
        (order,) = self.placed()
        self.filled(order, number)
        assert self.core.book.trades[trade_id].state == "OPEN"
        return trade_id

    def closed(self, trade_id: str, number: int) -> NewOrder:
        self.close(trade_id)
        (order,) = self.placed()
        self.filled(order, number)
        assert self.core.book.trades[trade_id].state == "CLOSED"
        return order

    def filled(self, order: NewOrder, number: int) -> None:
        self.on(acked(order)).on(fill(order, number, at_ns=self.now_ns))
        self.on(seen(order, "filled", str(order.quantity)))

    def told(self, trade_id: str) -> TradeUpdate:
        """The last that was published of a trade."""
        updates = [
            each.message
            for each in self.effects
            if isinstance(each, Publish) and isinstance(each.message, TradeUpdate)
        ]
        return next(each for each in reversed(updates) if each.trade_id == trade_id)


def _started() -> PerpetualScript:
    script = PerpetualScript()
    script.started()
    return script


def test_a_perpetual_alone_is_opened_and_closed_reduce_only_by_limit_orders() -> None:
    script = _started()
    trade_id = str(script.trade(leg("BTCUSD", "sell", "0.015")).trade_id)
    (opening,) = script.placed()
    # 2 % past the middle would be 98,000: no further than granted
    assert (opening.symbol, opening.side, opening.quantity, opening.price) == (
        "BTCUSD",
        "sell",
        D("0.015"),
        D("99500.0"),
    )
    assert not opening.reduce_only
    script.filled(opening, 1)
    script.snapshot(positions=[position("BTCUSD", "-0.015", mark=100_000.0)])
    script.wait(10_000)
    assert script.core.book.trades[trade_id].state == "OPEN"
    closing = script.closed(trade_id, 2)
    assert (closing.side, closing.reduce_only, closing.price) == ("buy", True, D("100000.0"))
    told = script.told(trade_id)
    assert told.realized_pnl_usd == D("0.015") * (D(99500) - D(100000))
    assert told.fees_usd == 1


def test_it_never_expires() -> None:
    script = _started()
    trade_id = script.opened("buy", "0.01", 1)
    trade = script.core.book.trades[trade_id]
    assert trade.hard_deadline_ns is None
    assert trade.legs[0].instrument.expiry_ns > T0 + 100 * 365 * 86_400 * SECOND


def test_what_was_paid_for_it_is_no_premium() -> None:
    script = _started()
    trade_id = str(script.trade(leg(CALL, "buy"), leg("BTCUSD", "sell", "0.5")).trade_id)
    for number in (1, 2):
        for order in script.placed():
            script.filled(order, number)
    told = script.told(trade_id)
    assert told.state == "OPEN"
    call, future = told.legs
    assert call.open_price is not None
    assert told.entry_premium_usd == call.open_price
    assert future.filled_quantity == D("0.5")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (leg(PUT, "buy"), leg("BTCUSD", "buy", "0.5")),
        (leg(CALL, "buy"), leg("BTCUSD", "sell", "0.5")),
        (leg("BTCUSD", "sell", "1"), leg(PUT, "sell", "0.5")),
        (leg("BTCUSD", "buy", "1"), leg(CALL, "sell", "0.5")),
    ],
)
@pytest.mark.parametrize("mode", ["limit", "smart"])
def test_what_bounds_the_loss_of_a_leg_is_opened_before_it(first: LegOrder, second: LegOrder, mode: Any) -> None:
    script = _started()
    smart = SmartParams(chunk_count=1)
    trade_id = str(script.trade(second, first, execution_mode=mode, smart=smart).trade_id)
    script.wait(3_000)
    (order,) = script.placed()
    assert order.symbol == first.symbol
    script.filled(order, 1)
    script.wait(3_000)
    (order,) = script.placed()
    assert order.symbol == second.symbol
    script.filled(order, 2)
    script.wait(1_000)
    assert script.core.book.trades[trade_id].state == "OPEN"


def test_a_perpetual_is_not_opened_at_all_where_its_put_is_not_filled() -> None:
    script = _started()
    trade_id = str(script.trade(leg("BTCUSD", "buy", "0.5"), leg(PUT, "buy"), policy="best_effort").trade_id)
    for _ in range(400):
        for order in script.placed():
            assert order.symbol == PUT
            script.on(acked(order))
        for number in script.cancelled():
            script.on(gone(script, number))
        if script.state(trade_id) == "FAILED":
            break
        script.wait(1_000)
    assert script.state(trade_id) == "FAILED"


def test_makers_are_not_asked_for_it() -> None:
    script = _started()
    answer = script.trade(leg("BTCUSD", "buy", "1"), execution_mode="rfq")
    assert isinstance(answer, Refusal)
    assert answer.code == "bad_params"
    assert "no option" in answer.detail
    trade_id = script.trade(leg("BTCUSD", "buy", "1"), ordinal=1, execution_mode="auto").trade_id
    assert script.core.book.trades[trade_id].mode == "limit"


def test_the_other_side_of_it_would_net_against_an_open_trade() -> None:
    script = _started()
    script.opened("buy", "0.01", 1)
    answer = script.trade(leg("BTCUSD", "sell", "0.01"), ordinal=1)
    assert isinstance(answer, Refusal)
    assert answer.code == "would_net"


def test_without_a_fresh_price_of_it_nothing_is_opened() -> None:
    script = _started()
    snapshot = chain_with(chain(script.now_ns, script.listing), script.listing)
    Script.inbound(script, msgspec.structs.replace(snapshot, perpetual=None))
    answer = script.trade(leg("BTCUSD", "buy", "0.01"))
    assert isinstance(answer, Refusal)
    assert answer.code == "market_stale"


@pytest.mark.parametrize(("side", "bound"), [("buy", "102000"), ("sell", "98000")])
def test_a_close_goes_two_per_cent_past_mark_at_most(side: Any, bound: str) -> None:
    assert FUTURE_PREMIUM_MAX_PCT == 2.0
    assert closing_bound(100_000.0, side, 25.0, PERPETUAL) == D(bound)
    assert closing_price(side, "cross", None, 100_000.0, 25.0, PERPETUAL, 50.0) == D(bound)
    across = D(100005) if side == "buy" else D(99995)
    assert closing_price(side, "cross", QUOTE, 100_000.0, 25.0, PERPETUAL, 50.0) == across


def payment(quantity: str, amount: str, at_ns: int, number: int = 77) -> FundingPayment:
    return FundingPayment(
        payment_id=number,
        symbol="BTCUSD",
        quantity=D(quantity),
        rate=D("0.0001"),
        amount_usd=D(amount),
        venue_ns=at_ns,
    )


def _with_funding(script: PerpetualScript, *payments: FundingPayment, held: str) -> None:
    positions = [position("BTCUSD", held, mark=100_000.0)] if D(held) else []
    script.snapshot(positions=positions)
    script.entries.clear()
    script.snapshot(positions=positions, funding=payments)


def test_a_payment_is_shared_by_what_each_trade_held_at_its_moment() -> None:
    script = _started()
    early = script.opened("buy", "0.01", 1)
    whole = script.opened("buy", "0.02", 2, ordinal=1)
    funded_ns = script.now_ns
    script.now_ns += SECOND
    late = script.opened("buy", "0.05", 3, ordinal=2)
    script.now_ns += 40 * SECOND
    script.market()
    script.beats()
    script.closed(early, 4)
    _with_funding(script, payment("0.03", "-0.30000001", funded_ns), held="0.07")
    booked = [each.row for each in script.entries if isinstance(each.row, FundingBooked)]
    assert [(row.trade_id, row.quantity, row.received_usd) for row in booked] == [
        (early, D("0.01"), D("-0.1")),
        (whole, D("0.02"), D("-0.20000001")),
    ]
    trades = script.core.book.trades
    assert [trades[each].funding_usd for each in (early, whole, late)] == [D("0.1"), D("0.20000001"), 0]
    told = script.told(early)
    assert told.funding_usd == D("0.1")
    assert told.net_realized_usd == told.realized_pnl_usd - told.fees_usd - D("0.1")


def test_what_somebody_else_closed_is_asked_for_its_last_payment_however_long_it_was_held() -> None:
    script = _started()
    trade_id = script.opened("sell", "0.015", 1)
    for _ in range(2):
        script.now_ns += 20 * 3_600 * SECOND
        script.market()
        script.beats()
        script.snapshot(positions=[position("BTCUSD", "-0.015", mark=100_000.0)])
    funded_ns = script.now_ns
    while not script.core.book.trades[trade_id].is_final:
        script.wait(11_000)
        script.snapshot(positions=[])
    script.restarted()
    assert script.take(FetchSnapshot)[-1].funding_of == ("BTCUSD",)
    script.wait(60_000)
    _with_funding(script, payment("-0.015", "0.15", funded_ns), held="0")
    assert script.core.book.trades[trade_id].funding_usd == D("-0.15")
    for _ in range(2):
        script.now_ns += 26 * 3_600 * SECOND
        script.snapshot(positions=[])
    script.wait(60_000)
    assert script.take(FetchSnapshot)[-1].funding_of == ()


def test_a_payment_is_booked_once_and_not_before_its_fills_are_all_told() -> None:
    script = _started()
    trade_id = script.opened("sell", "0.01", 1)
    paid = payment("-0.01", "0.1", script.now_ns)
    script.now_ns += 29 * SECOND
    _with_funding(script, paid, held="-0.01")
    assert script.core.book.trades[trade_id].funding_usd == 0
    script.now_ns += 2 * SECOND
    for _ in range(2):
        _with_funding(script, paid, held="-0.01")
        assert script.core.book.trades[trade_id].funding_usd == D("-0.1")


def test_a_fill_of_the_same_moment_came_after_the_charge_where_that_explains_the_position() -> None:
    script = _started()
    early = script.opened("buy", "0.01", 1)
    script.now_ns += SECOND
    script.market()
    script.beats()
    funded_ns = script.now_ns
    script.closed(early, 2)
    late = script.opened("buy", "0.03", 3, ordinal=1)
    script.now_ns += 31 * SECOND
    _with_funding(script, payment("0.01", "-0.1", funded_ns), held="0.03")
    trades = script.core.book.trades
    assert (trades[early].funding_usd, trades[late].funding_usd) == (D("0.1"), 0)


def test_what_somebody_else_holds_of_it_pays_for_itself() -> None:
    script = _started()
    trade_id = script.opened("buy", "0.01", 1)
    funded_ns = script.now_ns
    script.now_ns += 31 * SECOND
    _with_funding(script, payment("0.04", "-0.4", funded_ns), held="0.04")
    assert script.core.book.trades[trade_id].funding_usd == D("0.1")


def _hedge(script: PerpetualScript, of: str, number: int, *, ordinal: int = 0, side: Any = "sell") -> str:
    """A hedge of a trade, opened."""
    asked = leg("BTCUSD", side, "0.5")
    trade_id = str(script.trade(asked, ordinal=ordinal, strategy="demo.hedge", hedge_of=of).trade_id)
    (order,) = script.placed()
    script.filled(order, number)
    return trade_id


def _held_call(script: PerpetualScript, **changes: Any) -> str:
    trade_id = str(script.trade(leg(CALL, "buy"), **changes).trade_id)
    (order,) = script.placed()
    script.filled(order, 100)
    return trade_id


def test_a_hedge_is_closed_by_execution_itself_when_what_it_hedges_has_ended() -> None:
    script = _started()
    script.host_on = False
    call = _held_call(script)
    hedge = _hedge(script, call, 1)
    assert script.told(hedge).hedge_of == call
    script.closed(call, 2)
    (closing,) = script.placed()
    assert (closing.symbol, closing.side, closing.reduce_only) == ("BTCUSD", "buy", True)
    script.filled(closing, 3)
    assert script.core.book.trades[hedge].state == "CLOSED"
    assert "has ended" in script.told(hedge).reason


@pytest.mark.parametrize("hedged", ["t1", "closed"])
def test_what_is_not_held_is_not_hedged(hedged: str) -> None:
    script = _started()
    if hedged == "closed":
        hedged = _held_call(script)
        script.closed(hedged, 2)
    answer = script.trade(leg("BTCUSD", "sell", "0.5"), strategy="demo.hedge", hedge_of=hedged)
    assert isinstance(answer, Refusal)
    assert answer.code == "hedge_ended"


def test_the_maximum_loss_of_a_trade_is_of_it_and_its_hedges_together() -> None:
    script = _started()
    script.mark = 99_500.0
    script.market()
    call = _held_call(script, max_loss_usd=100.0)
    hedge = _hedge(script, call, 1)
    trades = script.core.book.trades
    assert trades[hedge].legs[0].open_price == D(99500)
    # the call, bought at 1,020, loses 220; the half coin sold at 99,500 gains 250 when the coin stands at 99,000
    script.chain_options = {"marks": {**MARKS, CALL: 800.0}}
    script.mark = 99_000.0
    script.wait(3_000)
    assert trades[call].state == "OPEN"
    script.mark = 99_400.0
    script.wait(3_000)
    assert trades[call].close is not None
    assert "loss on mark" in trades[call].close.reason


@pytest.mark.parametrize(("received", "lost_usd", "closes"), [("-60", 50.0, True), ("60", 120.0, False)])
def test_funding_paid_adds_to_the_loss_that_closes_a_trade_and_funding_received_takes_from_it(
    received: str, lost_usd: float, closes: bool
) -> None:
    script = _started()
    trade_id = str(script.trade(leg("BTCUSD", "buy", "0.1"), max_loss_usd=100.0).trade_id)
    (order,) = script.placed()
    script.filled(order, 1)
    funded_ns = script.now_ns
    script.now_ns += 31 * SECOND
    script.market()
    script.beats()
    _with_funding(script, payment("0.1", received, funded_ns), held="0.1")
    trade = script.core.book.trades[trade_id]
    assert trade.funding_usd == -D(received)
    assert trade.legs[0].open_price is not None
    script.mark = float(trade.legs[0].open_price) - lost_usd / 0.1
    script.wait(3_000)
    assert (trade.close is not None) == closes


def test_what_hedges_made_that_are_remembered_no_more_counts_in_the_maximum_loss() -> None:
    script = _started()
    script.mark = 99_500.0
    script.market()
    call = _held_call(script, max_loss_usd=100.0)
    hedge = _hedge(script, call, 1)
    script.mark = 99_000.0
    script.market()
    script.closed(hedge, 2)
    trades = script.core.book.trades
    made_usd = float(made_by(trades[hedge]))
    assert made_usd > 100
    forgotten = EndedForgotten(before_ns=script.now_ns + SECOND, quality_before_ns=0)
    script.core.apply(Entry(script.now_ns, "", forgotten))
    assert hedge not in trades
    bought_at = float(trades[call].legs[0].open_price or 0)
    script.chain_options = {"marks": {**MARKS, CALL: bought_at - made_usd - 90.0}}
    script.wait(3_000)
    assert trades[call].close is None
    script.chain_options = {"marks": {**MARKS, CALL: bought_at - made_usd - 110.0}}
    script.wait(3_000)
    assert trades[call].close is not None


def test_a_hedge_is_closed_when_what_it_hedges_has_expired_settled_or_not() -> None:
    script = _started()
    call = _held_call(script)
    hedge = _hedge(script, call, 1)
    script.now_ns = EXPIRY_NS + SECOND
    script.market()
    script.beats()
    script.wait(1_000)
    trades = script.core.book.trades
    assert trades[call].state == "SETTLING"
    assert trades[hedge].close is not None
    assert "expired" in trades[hedge].close.reason


def test_what_is_assumed_to_be_filled_counts_for_funding_at_once_and_not_again_when_it_is_told() -> None:
    script = _started()
    trade_id = str(script.trade(leg("BTCUSD", "buy", "0.01")).trade_id)
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "filled", "0.01"))
    number = order.client_order_id
    assumed = FillAssumed(client_order_id=number, filled_quantity=D("0.01"), average_price=order.price)
    script.core.apply(Entry(script.now_ns, "", assumed))
    (held,) = script.core.book.trades[trade_id].legs
    assert held.held_quantity == held.held_at(script.now_ns) == D("0.01")
    script.on(fill(order, 1, at_ns=script.now_ns))
    assert held.held_at(script.now_ns) == D("0.01")


def test_what_was_assumed_counts_from_its_execution_on_once_that_is_told() -> None:
    script = _started()
    trade_id = str(script.trade(leg("BTCUSD", "buy", "0.01")).trade_id)
    (order,) = script.placed()
    script.on(acked(order)).on(seen(order, "filled", "0.01"))
    executed_ns, assumed_ns = script.now_ns, script.now_ns + 20 * SECOND
    script.now_ns = assumed_ns
    number = order.client_order_id
    assumed = FillAssumed(client_order_id=number, filled_quantity=D("0.01"), average_price=order.price)
    script.core.apply(Entry(assumed_ns, "", assumed))
    (held,) = script.core.book.trades[trade_id].legs
    assert [held.held_at(each) for each in (executed_ns, assumed_ns)] == [0, D("0.01")]
    script.on(fill(order, 1, "0.004", at_ns=executed_ns))
    assert [held.held_at(each) for each in (executed_ns, assumed_ns)] == [D("0.004"), D("0.01")]
    script.on(fill(order, 2, "0.006", at_ns=executed_ns))
    assert [held.held_at(each) for each in (executed_ns, assumed_ns)] == [D("0.01"), D("0.01")]
    assert held.held_quantity == D("0.01")


def test_a_payment_that_trades_explain_only_in_part_is_told_of() -> None:
    script = _started()
    script.opened("buy", "0.01", 1)
    funded_ns = script.now_ns
    script.now_ns += 31 * SECOND
    script.effects.clear()
    _with_funding(script, payment("0.04", "-0.4", funded_ns), held="0.04")
    assert [each.code for each in script.effects if isinstance(each, RaiseAlert)].count("funding_unexplained") == 1


def test_a_put_that_protects_a_long_perpetual_is_not_sold_before_it() -> None:
    script = _started()
    trade_id = str(script.trade(leg("BTCUSD", "buy", "1"), leg(PUT, "buy")).trade_id)
    for number in (1, 2):
        (order,) = script.placed()
        script.filled(order, number)
    assert script.core.book.trades[trade_id].state == "OPEN"
    script.close(trade_id)
    (first,) = script.placed()
    assert first.symbol == "BTCUSD"
    script.filled(first, 11)
    (second,) = script.placed()
    assert second.symbol == PUT


@pytest.mark.parametrize("option", [PUT, CALL])
def test_a_perpetual_that_covers_a_short_option_is_not_closed_before_it(option: str) -> None:
    script = _started()
    trade_id = str(script.trade(leg(option, "sell"), leg("BTCUSD", "sell" if option == PUT else "buy", "1")).trade_id)
    for number in (1, 2, 3):
        for each, order in enumerate(script.placed()):
            script.filled(order, 10 * number + each)
    assert script.core.book.trades[trade_id].state == "OPEN"
    script.close(trade_id)
    (first,) = script.placed()
    assert first.symbol == option
    script.filled(first, 50)
    (second,) = script.placed()
    assert second.symbol == "BTCUSD"


def test_its_age_is_its_own_and_keeps_no_option_from_being_opened() -> None:
    script = _started()
    snapshot = chain_with(chain(script.now_ns, script.listing), script.listing)
    assert snapshot.perpetual is not None
    old = msgspec.structs.replace(snapshot.perpetual, received_ns=script.now_ns - 6 * SECOND)
    Script.inbound(script, msgspec.structs.replace(snapshot, perpetual=old))
    answer = script.trade(leg("BTCUSD", "buy", "0.01"))
    assert isinstance(answer, Refusal)
    assert answer.code == "market_stale"
    assert script.trade(leg(CALL, "buy"), ordinal=1).trade_id


@pytest.mark.parametrize(
    ("held", "hedge_range", "refused"),
    [
        ("buy", (-0.1, 0.1), "its delta hedge may have to sell BTCUSD, which would net against "),
        ("buy", (0.0, 0.1), None),
        ("sell", (-0.1, 0.0), None),
        ("sell", (0.0, 0.1), "its delta hedge may have to buy BTCUSD, which would net against "),
        ("buy", (0.0, 0.0), None),
    ],
)
def test_what_is_to_be_hedged_is_not_opened_while_a_perpetual_stands_in_the_way_of_its_hedge(
    held: Any, hedge_range: tuple[float, float], refused: str | None
) -> None:
    script = _started()
    bounds = {"hedge_least_coins": hedge_range[0], "hedge_most_coins": hedge_range[1]}
    other = script.opened(held, "0.01", 1)
    answer = script.trade(leg(CALL, "buy", "0.1"), ordinal=1, **bounds)
    if refused is None:
        assert not isinstance(answer, Refusal)
        return
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.detail, answer.against) == ("would_net", refused + other, other)
    (told,) = script.published(IntentRefused)
    assert (told.intent_id, told.code, told.against) == ("demo-1", "would_net", other)
    assert answer.remedy == "close that trade first, or open it without a delta hedge"
    script.closed(other, 2)
    script.wait(5_000)
    assert not isinstance(script.trade(leg(CALL, "buy", "0.1"), ordinal=2, **bounds), Refusal)


def test_the_hedge_of_another_trade_stands_in_no_ones_way_as_it_turns_and_ends_with_that_one() -> None:
    script = _started()
    hedged = str(script.trade(leg(PUT, "buy", "0.1")).trade_id)
    (order,) = script.placed()
    script.filled(order, 1)
    script.trade(
        leg("BTCUSD", "buy", "0.05"), ordinal=1, strategy="demo.hedge", hedge_of=hedged, policy="best_effort"
    )
    (order,) = script.placed()
    script.filled(order, 2)
    second = script.trade(leg(CALL, "buy", "0.1"), ordinal=2, hedge_least_coins=-0.1)
    assert not isinstance(second, Refusal)


def test_a_leg_of_its_own_in_the_perpetual_stands_in_the_way_of_its_hedge_too() -> None:
    answer = _started().trade(
        leg(CALL, "buy", "0.1"), leg("BTCUSD", "sell", "0.05"), hedge_least_coins=-0.05, hedge_most_coins=0.05
    )
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.remedy, answer.against) == ("would_net", "leave out that leg", "")
