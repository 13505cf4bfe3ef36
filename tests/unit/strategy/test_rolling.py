"""What a roll costs, and the prices that keep its net limit. Pure."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages.trades import LegOrder
from shared.strategy import ExitView, Roll, StrategyConfig, dte_exit, max_loss, straddle
from shared.strategy.rolling import closing_legs, cost_to_trade_usd, price_limits
from tests.unit.strategy.making import NOON, account, chain, leg, trade

NEAR = "BTCUSD-5MAR26-100000-C"
FAR = "BTCUSD-12MAR26-105000-C"
D = Decimal


def test_a_leg_costs_the_worse_of_mark_and_mid() -> None:
    view = chain()
    quote = view.quote(NEAR)
    assert quote is not None
    assert quote.mark is not None
    assert quote.mid is not None
    for side, worse in (("buy", max(quote.mark, quote.mid)), ("sell", -min(quote.mark, quote.mid))):
        order = LegOrder(symbol=NEAR, side="buy" if side == "buy" else "sell", quantity=D("0.5"))
        cost = cost_to_trade_usd([order], lambda _: view)
        assert cost == pytest.approx(worse * 0.5)


def test_the_far_side_of_a_one_sided_book_says_nothing() -> None:
    view = chain(missing={"bid": [NEAR]})
    quote = view.quote(NEAR)
    assert quote is not None
    assert quote.mark is not None
    cost = cost_to_trade_usd([LegOrder(symbol=NEAR, side="buy", quantity=D(1))], lambda _: view)
    assert cost == pytest.approx(quote.mark)


def test_without_a_mark_there_is_no_cost_but_a_reason() -> None:
    view = chain(missing={"mark": [NEAR]})
    order = LegOrder(symbol=NEAR, side="buy", quantity=D(1))
    assert cost_to_trade_usd([order], lambda _: view) == f"no mark of {NEAR}"
    assert cost_to_trade_usd([order], lambda _: "no chain yet") == "no chain yet"


def test_only_what_is_held_is_closed() -> None:
    half = trade(legs=[leg(NEAR, "sell", "2", closed="0.5"), leg(FAR, "buy", "1", closed="1")])
    assert closing_legs(half) == (LegOrder(symbol=NEAR, side="buy", quantity=D("1.5")),)


LEGS = st.lists(
    st.tuples(
        st.sampled_from(("buy", "sell")),
        st.decimals("0.01", 50, places=2, allow_nan=False),
        st.floats(0, 20_000, allow_nan=False),
    ),
    min_size=1,
    max_size=6,
)


@given(LEGS, st.decimals(-100_000, 100_000, places=4, allow_nan=False))
def test_all_legs_at_their_limits_cost_no_more_than_the_budget(
    drawn: list[tuple[str, Decimal, float]], spare: Decimal
) -> None:
    legs = [
        LegOrder(symbol=f"s{number}", side="buy" if side == "buy" else "sell", quantity=quantity)
        for number, (side, quantity, _) in enumerate(drawn)
    ]
    prices = [price for _, _, price in drawn]
    signs = [1 if each.side == "buy" else -1 for each in legs]
    cost = sum(
        (sign * D(str(price)) * each.quantity for sign, price, each in zip(signs, prices, legs, strict=True)), D(0)
    )
    budget = cost + spare
    limits = price_limits(legs, prices, budget)
    if spare < 0:
        assert limits is None
        return
    assert limits is not None
    assert (
        sum((sign * limit * each.quantity for sign, limit, each in zip(signs, limits, legs, strict=True)), D(0))
        <= budget
    )
    for sign, limit, price in zip(signs, limits, prices, strict=True):
        assert limit >= 0
        # no leg is held to a better price than that of the market
        assert (limit >= D(str(price)) - D("1e-8")) if sign > 0 else (limit <= D(str(price)) + D("1e-8"))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"when": []}, "when"),
        ({"when": dte_exit(2)}, "when .* must be a list"),
        ({"net_limit_usd": float("nan")}, "net_limit_usd"),
        ({"net_limit_usd": "0"}, "net_limit_usd"),
        ({"max_rolls": 0}, "max_rolls"),
        ({"max_rolls": 1.5}, "max_rolls"),
        ({"within_seconds": 600}, "within_seconds"),
        ({"legs": ["BTC"]}, "legs"),
    ],
)
def test_a_roll_that_means_nothing_names_its_field(fields: dict[str, object], names: str) -> None:
    given_fields: dict[str, object] = {"when": [dte_exit(2)], "net_limit_usd": 0.0, **fields}
    with pytest.raises(ValueError, match=f"roll: {names}"):
        Roll(**given_fields)  # type: ignore[arg-type]


def test_a_condition_of_a_roll_is_one_of_an_exit() -> None:
    with pytest.raises(ValueError, match="roll: when"):
        StrategyConfig(name="roller", legs=straddle("0.1"), roll=Roll(when=["soon"], net_limit_usd=0))  # type: ignore[list-item]
    kept = StrategyConfig(
        name="roller",
        legs=straddle("0.1"),
        exit_conditions=[max_loss(usd=50)],
        roll=Roll(when=[dte_exit(2), near_the_end], net_limit_usd=0),
    )
    assert set(kept.roll_functions) == {"near_the_end"}
    assert kept.exit_functions == {}


def test_no_function_of_a_roll_answers_for_one_of_the_exits() -> None:
    config = StrategyConfig(
        name="roller",
        legs=straddle("0.1"),
        exit_conditions=[lambda account, trade: (False, "kept")],
        roll=Roll(when=[lambda account, trade: (True, "rolled")], net_limit_usd=0),
    )
    view = ExitView(trade=trade(), account=account(), chains={})
    assert config.exit_functions["<lambda>"](view, NOON) == (False, "kept")
    assert config.roll_functions["<lambda>"](view, NOON) == (True, "rolled")


def near_the_end(account: object, trade: object) -> bool:
    return False
