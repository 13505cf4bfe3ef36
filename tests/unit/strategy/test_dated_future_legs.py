"""A dated future as a leg: which one is chosen, how it is sized, named and drawn, and when its exits are due."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

import msgspec
import numpy as np
import pytest

from services.monitor.findings import uncovered
from services.monitor.web.payoff import payoff
from shared.messages.conditions import BeforeExpiry, DteExit, TimeElapsed
from shared.messages.market import NEVER_NS
from shared.messages.trades import LegOrder, LegStatus, TradeUpdate
from shared.messages.venue import VenuePosition
from shared.options.instruments import expiry_and_last_trade_ns, format_future_symbol, future_expiry_ns
from shared.options.payoff import PayoffLeg, payoff_at, payoff_figures
from shared.options.structures import structure_name
from shared.strategy import FutureLeg, LegSpec, StrategyConfig, breakeven_touched, max_loss, max_profit, profit_target
from shared.strategy.criteria import ByCycle, DteRange
from shared.strategy.evaluate_exit_structure import expiry_due_ns
from shared.strategy.selection import SelectionFailed, resolve_legs
from tests.unit.dated_futures import view_with_futures
from tests.unit.strategy.making import NOON, chain, trade
from voldesk.direct import held_back

DAY_NS = 86_400 * 1_000_000_000
TOMORROW, FRIDAY, MARCH, APRIL, JUNE = (
    format_future_symbol("BTC", dt.date.fromisoformat(day))
    for day in ("2026-03-05", "2026-03-13", "2026-03-27", "2026-04-24", "2026-06-26")
)
MARKS = {TOMORROW: 100_010.0, FRIDAY: 100_100.0, MARCH: 100_300.0, APRIL: 100_700.0, JUNE: 101_500.0}
CALL = LegSpec("C", "sell", 0.1, {"type": "delta", "value": 0.25}, {"dte": "next"})


def _resolved(specs: Sequence[Any]) -> list[LegOrder]:
    found = resolve_legs(specs, view_with_futures(chain(), MARKS), NOON)
    assert not isinstance(found, SelectionFailed), found
    return found


def test_a_future_leg_is_typed_after_construction() -> None:
    assert LegSpec.future("btc", 2, 0.5, {"quarterly": 1}) == FutureLeg(
        "BTCUSD", "sell", D("0.5"), ByCycle("quarterly", 1)
    )


@pytest.mark.parametrize(
    ("expiry", "symbol"),
    [
        ({"symbol": "26JUN26"}, JUNE),
        ({"dte": "next"}, TOMORROW),
        ({"dte": 8}, FRIDAY),
        ({"dte_min": 5, "dte_max": 60, "target": "near"}, FRIDAY),
        ({"dte_min": 5, "dte_max": 60, "target": "far"}, APRIL),
        (DteRange(0, 60, "mid"), MARCH),
        ({"weekly": 1}, FRIDAY),
        ({"weekly": 2}, MARCH),
        ({"monthly": 1}, MARCH),
        ({"monthly": 2}, APRIL),
        ({"quarterly": 1}, MARCH),
        ({"quarterly": 2}, JUNE),
    ],
)
def test_its_expiry_is_chosen_among_the_listed_futures_as_that_of_an_option(expiry: Any, symbol: str) -> None:
    assert _resolved([LegSpec.future("BTC", "buy", 0.1, expiry)])[0].symbol == symbol


def test_next_is_the_nearest_that_trades_for_longer_than_the_margin() -> None:
    view = view_with_futures(chain(), MARKS)
    before_end_ns = future_expiry_ns(TOMORROW) - 80 * 60 * 1_000_000_000
    for margin_s, symbol in ((3_600, TOMORROW), (4_000, FRIDAY)):
        found = resolve_legs(
            [LegSpec.future("BTC", 1, 1, {"dte": "next"})], view, before_end_ns, margin_s * 1_000_000_000
        )
        assert not isinstance(found, SelectionFailed)
        assert found[0].symbol == symbol


@pytest.mark.parametrize(
    ("expiry", "reason"),
    [({"dte": 3}, "DTE 3 removed 5 and left 0"), ({"symbol": "27MAR26"}, "a fresh mark removed 1 and left 0")],
)
def test_what_removed_the_last_one_is_told(expiry: Any, reason: str) -> None:
    quoted = {symbol: mark for symbol, mark in MARKS.items() if symbol != MARCH}
    found = resolve_legs([LegSpec.future("BTC", "buy", 1, expiry)], view_with_futures(chain(), quoted, MARCH), NOON)
    assert isinstance(found, SelectionFailed)
    assert "no dated future is left" in found.text
    assert reason in found.text


def test_where_none_is_listed_the_reason_helps() -> None:
    leg = LegSpec.future("BTC", "buy", 0.1, {"dte": "next"})
    for view, words in ((chain(), "futures = true"), (view_with_futures(chain(), {}), "lists none")):
        found = resolve_legs([leg], view, NOON)
        assert isinstance(found, SelectionFailed)
        assert words in found.text


def test_its_quantity_follows_another_leg_or_its_notional_at_its_own_mark() -> None:
    by_leg = LegSpec.future("BTC", "buy", {"of_leg": 0, "ratio": 0.25}, {"quarterly": 2})
    by_notional = LegSpec.future("BTC", "buy", {"notional_usd": 12_345}, {"quarterly": 2})
    assert [leg.quantity for leg in _resolved([CALL, by_leg])] == [D("0.1"), D("0.025")]
    assert [leg.quantity for leg in _resolved([CALL, by_notional])] == [D("0.1"), D("0.121")]
    with pytest.raises(ValueError, match="qty"):
        LegSpec.future("BTC", "buy", {"premium_usd": 100}, {"dte": 1})
    with pytest.raises(ValueError, match="expiry_criteria"):
        LegSpec.future("BTC", "buy", 1, {"dte": -1})


def test_beside_the_perpetual_and_another_expiry_each_is_a_leg_and_one_twice_is_none() -> None:
    perpetual, quarter = LegSpec.perpetual("BTC", 1, 1), LegSpec.future("BTC", 2, 1, {"quarterly": 2})
    assert [leg.symbol for leg in _resolved([perpetual, quarter])] == ["BTCUSD", JUNE]
    twice = resolve_legs([quarter, quarter], view_with_futures(chain(), MARKS), NOON)
    assert isinstance(twice, SelectionFailed)
    assert "another leg already" in twice.text


def test_options_are_selected_as_if_they_were_not_there() -> None:
    assert _resolved([CALL]) == resolve_legs([CALL], chain(), NOON)


def test_exits_by_premium_or_payoff_need_options_alone_and_those_in_usd_do_not() -> None:
    future = LegSpec.future("BTC", "buy", 1, {"quarterly": 1})
    for refused in (profit_target(pct=50), max_profit(50), breakeven_touched()):
        with pytest.raises(ValueError, match="exit_conditions"):
            StrategyConfig(name="s", legs=[future], exit_conditions=[refused])
    StrategyConfig(name="s", legs=[CALL, future], exit_conditions=[profit_target(pct=50), max_loss(usd=10)])


def test_exits_by_expiry_are_due_by_its_expiry_and_its_last_trade() -> None:
    expiry_ns = future_expiry_ns(MARCH)
    assert expiry_and_last_trade_ns(MARCH) == (expiry_ns, expiry_ns - 900 * 1_000_000_000)
    assert expiry_and_last_trade_ns("BTCUSD") is None
    assert expiry_and_last_trade_ns("BTCUSD-31FEB26") is None
    symbols = ["BTCUSD", MARCH]
    assert expiry_due_ns(DteExit(days=2), symbols, NOON) == expiry_ns - 3 * DAY_NS + 1
    assert expiry_due_ns(BeforeExpiry(hours=1.0), symbols, NOON) == expiry_ns - 4_500 * 1_000_000_000
    assert expiry_due_ns(TimeElapsed(pct=50.0), symbols, NOON) == NOON + round((expiry_ns - NOON) * 0.5)
    assert expiry_due_ns(DteExit(days=2), ["BTCUSD"], NOON) is None


def _leg(symbol: str, quantity: float, price: float) -> PayoffLeg:
    times = expiry_and_last_trade_ns(symbol)
    return PayoffLeg(
        is_call=True,
        strike=0.0,
        expiry_ns=NEVER_NS if times is None else times[0],
        quantity=quantity,
        price=price,
        iv=0.0,
    )


def _put(expiry_ns: int, quantity: float, price: float, iv: float = 0.5) -> PayoffLeg:
    return PayoffLeg(is_call=False, strike=90_000.0, expiry_ns=expiry_ns, quantity=quantity, price=price, iv=iv)


def test_alone_its_payoff_is_the_price_itself() -> None:
    at = np.array([90_000.0, 101_500.0])
    assert payoff_at([_leg(JUNE, -2.0, 101_500.0)], at, NOON).tolist() == [23_000.0, 0.0]
    figures = payoff_figures([_leg(JUNE, 1.0, 101_500.0)])
    assert (figures.max_loss_usd, figures.breakevens, figures.is_estimate) == (101_500.0, (101_500.0,), False)


def test_two_expiries_make_their_difference_if_they_meet_and_their_loss_has_no_bound() -> None:
    figures = payoff_figures([_leg("BTCUSD", 1.0, 100_000.0), _leg(JUNE, -1.0, 101_500.0)])
    assert figures.max_profit_usd == pytest.approx(1_500.0)
    assert math.isinf(figures.max_loss_usd)
    assert figures.is_estimate


def test_a_future_that_outlives_its_put_has_a_certain_payoff_then_and_one_before_it_an_estimate() -> None:
    for symbol, is_estimate in ((JUNE, False), (TOMORROW, True)):
        figures = payoff_figures([_leg(symbol, 1.0, 100_000.0), _put(future_expiry_ns(MARCH), 1.0, 1_000.0)])
        assert figures.max_loss_usd == pytest.approx(11_000.0)
        assert figures.is_estimate is is_estimate


def test_a_structure_with_one_is_named_by_both() -> None:
    call = "BTCUSD-27MAR26-100000-C"
    assert structure_name([(JUNE, D(-1))]) == "short future"
    assert structure_name([(call, D(-1)), (JUNE, D(1))]) == "short call with long future"
    assert structure_name([("BTCUSD", D(1)), (JUNE, D(-1))]) == "long futures spread"
    assert structure_name([(MARCH, D(1)), (JUNE, D(-1))]) == "short futures spread"
    assert structure_name([(MARCH, D(1)), (JUNE, D(-2))]) == "other, 2 legs"
    assert structure_name([(call, D(-1)), (MARCH, D(1)), (JUNE, D(-2))]) == "other, 3 legs"


def _held(symbol: str, side: Any, price: str) -> LegStatus:
    return LegStatus(
        symbol=symbol,
        side=side,
        quantity=D(1),
        filled_quantity=D(1),
        closed_quantity=D(0),
        open_price=D(price),
        close_price=None,
    )


def test_the_page_of_a_trade_draws_options_and_the_future_together() -> None:
    option = _resolved([CALL])[0].symbol
    view = view_with_futures(chain(), MARKS)
    marks = {JUNE: 101_500.0, option: view.value(option, "mark") or math.nan}
    alone = payoff((_held(option, "sell", "500"),), marks, 100_000.0, NOON)
    both = payoff((_held(JUNE, "buy", "101500"), _held(option, "sell", "500")), marks, 100_000.0, NOON)
    moved = [at - 101_500.0 for at in _floats(alone["underlying"])]
    for name in ("at_expiry", "now"):
        added = [b - a for a, b in zip(_floats(alone[name]), _floats(both[name]), strict=True)]
        assert added == pytest.approx(moved, abs=0.02)


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]


def test_what_a_trade_lacks_of_its_other_future_is_naked() -> None:
    both = [_held("BTCUSD", "buy", "100000"), _held(JUNE, "sell", "101500")]
    assert uncovered(_trade(both)) == 0
    gone = [_closed(both[0]), both[1]]
    assert uncovered(_trade(gone)) == 1
    assert uncovered(_trade([both[0], _closed(both[1])])) == 1


def _closed(leg: LegStatus) -> LegStatus:
    return msgspec.structs.replace(leg, closed_quantity=D(1))


def _trade(legs: Sequence[LegStatus]) -> TradeUpdate:
    return msgspec.structs.replace(trade(), legs=tuple(legs))


def test_a_direct_flatten_holds_back_what_covers_a_dated_future_and_what_it_covers_goes_first() -> None:
    def position(symbol: str, quantity: str) -> VenuePosition:
        return VenuePosition(
            symbol=symbol, quantity=D(quantity), average_price=D(1), mark=None, unrealized_pnl_usd=None
        )

    call, put = "BTCUSD-27MAR26-110000-C", "BTCUSD-27MAR26-90000-P"
    assert held_back([position(JUNE, "1"), position(call, "-1")]) == {JUNE}
    assert held_back([position(JUNE, "1"), position(put, "1")]) == {put}
    assert held_back([position(JUNE, "-1"), position("BTCUSD", "1")]) == frozenset()
