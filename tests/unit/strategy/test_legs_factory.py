"""Legs made by code: asked at each look on young chains, sized by the account, and a reason where there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.strategy.config import StrategyHostConfig
from services.strategy.loaded import LoadedStrategy
from shared.strategy import EntryView, LegSpec, StrategyConfig, iron_condor, strangle
from shared.strategy.views import DeskView, Tolerances, TradeHistory
from tests.unit.strategy.making import NOON, SECOND, account, chain


def desk(now_ns: int = NOON, **changed: Any) -> DeskView:
    view = DeskView(
        account=account(equity="100000"),
        chains={"BTCUSD": chain()},
        index_prices={},
        tolerances=Tolerances(),
        history=TradeHistory(),
        trades=(),
        entry_closed=None,
    )
    return msgspec.structs.replace(view, **changed)


def runner(make_legs: Callable[..., Any], **fields: Any) -> Any:
    config = StrategyConfig(name="coded", legs_factory=make_legs, **fields)
    return LoadedStrategy.from_config(config).make(StrategyHostConfig())


def legs_gate(strategy: Any) -> tuple[bool, str]:
    gate = next(gate for gate in strategy.gates() if gate.name == "legs")
    return gate.open, gate.reason


def test_the_legs_of_the_moment_are_opened() -> None:
    def by_index(view: EntryView, now_ns: int) -> list[LegSpec]:
        above = view.chains["BTCUSD"].snapshot.index_price > 99_000
        return strangle("0.2" if above else "0.1", dte=7, side="sell")

    (intent,) = runner(by_index).on_timer(desk(), NOON)
    assert [str(leg.quantity) for leg in intent.legs] == ["0.2", "0.2"]


def test_a_text_is_the_reason_why_nothing_is_opened() -> None:
    strategy = runner(lambda view, now_ns: "volatility is too low")
    assert strategy.on_timer(desk(), NOON) == ()
    assert legs_gate(strategy) == (False, "volatility is too low")


def test_no_legs_are_a_reason_and_something_else_is_an_error_that_names_it() -> None:
    strategy = runner(lambda view, now_ns: [])
    assert strategy.on_timer(desk(), NOON) == ()
    assert legs_gate(strategy) == (False, "legs_factory returned no legs")
    with pytest.raises(TypeError, match="it must return a list of LegSpec"):
        runner(lambda view, now_ns: 7).on_timer(desk(), NOON)


def test_it_is_not_asked_on_a_chain_that_is_too_old() -> None:
    def never(view: EntryView, now_ns: int) -> list[LegSpec]:
        raise AssertionError("asked")

    strategy = runner(never)
    assert strategy.on_timer(desk(), NOON + 60 * SECOND) == ()
    assert "waiting" in legs_gate(strategy)[1]


def test_a_size_by_risk_follows_the_equity_of_the_account() -> None:
    strategy = runner(lambda view, now_ns: iron_condor({"risk_pct": 1}, {"dte": 7}, width=3_000))
    (small,) = strategy.on_timer(desk(), NOON)
    later = NOON + 20 * SECOND
    rich = desk(account=account(later, equity="1000000"), chains={"BTCUSD": chain(later)})
    (large,) = strategy.on_timer(rich, later)
    assert 9 < large.legs[0].quantity / small.legs[0].quantity < 11


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"legs_factory": list}, "legs_factory: .* must take two arguments"),
        ({"legs_factory": 7}, "legs_factory 7 must be a function"),
        ({"legs_factory": lambda view, now: [], "legs": strangle(1)}, "exclude one another"),
        ({"legs_factory": lambda view, now: [], "legs_underlyings": "BTC"}, "legs_underlyings 'BTC' must be a list"),
        ({"legs_factory": lambda view, now: [], "legs_underlyings": ["B.T"]}, "underlying 'B.T'"),
    ],
)
def test_what_is_no_factory_is_refused_when_the_file_is_loaded(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StrategyConfig(name="coded", **fields)
