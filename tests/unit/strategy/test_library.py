"""The strategies of strategies/: each loads, finds its legs at any hour of any day, and leaves when it says."""

from __future__ import annotations

from typing import Any

import pytest

from services.strategy.config import StrategyHostConfig, StrategyInstance
from services.strategy.gates import names_of
from services.strategy.loader import STRATEGIES_FOLDER, load_strategies
from services.strategy.runner import StrategyRunner
from shared.messages.trades import LegOrder
from shared.options.chain import ChainView, OptionList
from shared.options.symbols import parse_option_symbol
from shared.strategy import EntryView, ExitView, SelectionFailed, StrategyConfig, resolve_legs
from shared.strategy.evaluate import evaluate_exit
from tests.unit.strategy.listed_chain import listed_chain
from tests.unit.strategy.making import DAY, HOUR, NOON, at, chain, instruments, leg, listing, snapshot, trade

CODE = ("account_delta_hedger",)
"""What is code and no configuration, in a test of its own."""

LIBRARY = sorted({path.stem for path in STRATEGIES_FOLDER.glob("*.py")} - {"__init__", *CODE})

INSTANTS = (
    "2025-11-18T14:00",
    # a Friday, within the quarter of an hour before its expiry, and right after it
    "2025-11-21T07:50",
    "2025-11-21T08:01",
    # the last Friday of a quarter, midnight, a weekend, the last hours of a year
    "2025-12-26T07:10",
    "2025-11-30T00:00",
    "2025-12-06T19:59",
    "2025-12-31T23:30",
    "2026-02-26T12:00",
)


def config_of(name: str, **parameters: Any) -> StrategyConfig:
    instances = {name: StrategyInstance(parameters=parameters)} if parameters else {}
    loaded, failures = load_strategies([name], instances=instances)
    assert failures == []
    runner = loaded[0].make(StrategyHostConfig())
    assert isinstance(runner, StrategyRunner)
    return runner.config


def legs_of(config: StrategyConfig, at_ns: int) -> list[LegOrder]:
    listed = listed_chain(at_ns)
    specs = config.specs(EntryView(account=None, chains={"BTCUSD": listed}), at_ns)
    assert not isinstance(specs, str), specs
    legs = resolve_legs(specs, listed, at_ns, equity_usd=100_000.0)
    assert not isinstance(legs, SelectionFailed), legs.text
    return legs


@pytest.mark.parametrize("name", LIBRARY)
def test_it_loads_under_its_own_name_and_says_when_it_leaves(name: str) -> None:
    config = config_of(name)
    assert config.name == name
    assert config.exit_conditions


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("name", LIBRARY)
def test_it_finds_its_legs_on_the_whole_chain_at_any_hour(name: str, instant: str) -> None:
    assert legs_of(config_of(name), at(instant))


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize(
    ("name", "legs"),
    [
        ("short_straddle", [("sell", "C", 0), ("sell", "P", 0)]),
        ("iron_condor", [("sell", "C", 1), ("sell", "P", -1), ("buy", "C", 2), ("buy", "P", -2)]),
        ("put_credit_spread", [("sell", "P", -1), ("buy", "P", -2)]),
        ("daily_put_sell", [("sell", "P", -1)]),
        ("calendar", [("buy", "C", 0), ("sell", "C", 0)]),
        ("gamma_scalper", [("buy", "C", 0), ("buy", "P", 0)]),
        ("rfq_endurance", [("buy", "C", 1), ("buy", "P", -1)]),
        ("long_strangle", [("buy", "C", 1), ("buy", "P", -1)]),
    ],
)
def test_its_legs_are_the_structure_that_it_is_named_after(
    name: str, legs: list[tuple[str, str, int]], instant: str
) -> None:
    """legs: side, type, and how far from the money: 0 at it, 1 above, 2 further above, -1 and -2 below."""
    found = legs_of(config_of(name), at(instant))
    options = [parse_option_symbol(each.symbol) for each in found]
    assert [(each.side, option.option_type) for each, option in zip(found, options, strict=True)] == [
        (side, option_type) for side, option_type, _ in legs
    ]
    by_distance = [
        option.strike
        for _, option in sorted(zip((far for *_, far in legs), options, strict=True), key=lambda pair: pair[0])
    ]
    assert by_distance == sorted(by_distance)
    assert len(set(by_distance)) == len({far for *_, far in legs})
    assert len({each.quantity for each in found}) == 1
    expiries = [option.expiry_ns for option in options]
    if name == "calendar":
        assert expiries[0] - expiries[1] >= 7 * DAY
    else:
        assert len(set(expiries)) == 1


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("name", ["iron_condor", "put_credit_spread"])
def test_a_quantity_by_risk_loses_no_more_than_its_share_of_the_equity(name: str, instant: str) -> None:
    found = legs_of(config_of(name, risk_pct=2.0), at(instant))
    listed = listed_chain(at(instant))
    credit = sum(
        float(each.quantity) * (listed.value(each.symbol, "mark") or 0.0) * (1 if each.side == "sell" else -1)
        for each in found
    )
    strikes = [float(parse_option_symbol(each.symbol).strike) for each in found]
    widths = [abs(strikes[wing] - strikes[wing - len(found) // 2]) for wing in range(len(found) // 2, len(found))]
    lost = max(widths) * float(found[0].quantity) - credit
    assert 0 < lost <= 2_000.0
    # sized at the other side of the books and with fees, so that marks tell of less
    assert lost > 1_500.0


def test_the_put_of_each_day_has_one_day_to_go_and_meets_the_one_of_the_day_before() -> None:
    today, tomorrow = at("2025-11-18T10:00"), at("2025-11-19T10:00")
    config = config_of("daily_put_sell")
    first, second = (parse_option_symbol(legs_of(config, now)[0].symbol) for now in (today, tomorrow))
    assert [(option.expiry_ns - now) // DAY for option, now in ((first, today), (second, tomorrow))] == [1, 1]
    assert first.expiry_ns > tomorrow
    assert config.max_concurrent_trades == 2


def due(name: str, hours: float, index: float, **parameters: Any) -> set[str]:
    """The exits that close a trade of noon and an index of 100,000, so many hours later and at this index."""
    config = config_of(name, **parameters)
    opened = chain(NOON)
    legs = resolve_legs(config.legs, opened, NOON, equity_usd=100_000.0)
    assert not isinstance(legs, SelectionFailed), legs.text
    marks = [opened.value(each.symbol, "mark") or 0.0 for each in legs]
    premium = sum(
        float(each.quantity) * mark * (1 if each.side == "buy" else -1)
        for each, mark in zip(legs, marks, strict=True)
    )
    held = [
        leg(each.symbol, each.side, str(each.quantity), f"{mark:.1f}") for each, mark in zip(legs, marks, strict=True)
    ]
    now_ns = NOON + int(hours * HOUR)
    view = ExitView(
        trade=trade(legs=held, exits=config.exits, premium=f"{premium:.2f}"),
        account=None,
        chains={"BTCUSD": later(now_ns, index)},
    )
    verdicts = [evaluate_exit(exit_, view, now_ns) for exit_ in config.exits]
    assert not [verdict.reason for verdict in verdicts if verdict.waiting]
    return {name for name, verdict in zip(names_of(config.exits), verdicts, strict=True) if verdict.open}


def later(now_ns: int, index: float) -> ChainView:
    """The options that were listed at noon, later."""
    listed = instruments(NOON)
    return ChainView(snapshot(listed, now_ns, index=index), OptionList(listing(listed)))


@pytest.mark.parametrize(
    ("name", "hours", "index", "expected"),
    [
        ("short_strangle", 1, 100_000, set()),
        ("short_strangle", 110, 100_000, {"profit_target"}),
        ("short_strangle", 6, 105_000, {"structure_delta_limit"}),
        ("short_strangle", 12, 109_000, {"max_loss", "leg_greek_limit", "structure_delta_limit"}),
        ("short_straddle", 1, 100_000, set()),
        ("short_straddle", 100, 100_000, {"profit_target"}),
        ("short_straddle", 1, 106_000, {"structure_delta_limit"}),
        ("short_straddle", 140, 100_000, {"profit_target", "dte_exit", "max_hold"}),
        ("iron_condor", 1, 100_000, set()),
        ("iron_condor", 130, 100_000, {"max_profit_share"}),
        ("iron_condor", 6, 105_000, {"short_leg_delta"}),
        ("iron_condor", 150, 100_000, {"max_profit_share", "dte_exit"}),
        ("put_credit_spread", 1, 100_000, set()),
        ("put_credit_spread", 48, 112_000, {"max_profit_share"}),
        ("put_credit_spread", 48, 91_000, {"any_of"}),
        ("daily_put_sell", 1, 100_000, set()),
        ("daily_put_sell", 30, 100_000, {"profit_target"}),
        ("daily_put_sell", 5, 96_000, {"credit_multiple", "short_leg_delta", "short_strike_touched"}),
        ("daily_put_sell", 43, 100_000, {"profit_target", "before_expiry"}),
        ("calendar", 1, 100_000, set()),
        ("calendar", 24, 115_000, {"max_loss"}),
        ("calendar", 170, 100_000, {"profit_target", "max_hold"}),
        ("long_strangle", 1, 100_000, set()),
        ("long_strangle", 6, 94_000, {"profit_target"}),
        ("long_strangle", 25, 99_000, {"max_hold"}),
        ("long_strangle", 110, 101_000, {"max_loss", "max_hold"}),
        ("rfq_endurance", 0.1, 100_000, set()),
        ("rfq_endurance", 0.2, 100_000, {"max_hold"}),
    ],
)
def test_it_leaves_when_it_says(name: str, hours: float, index: float, expected: set[str]) -> None:
    assert due(name, hours, index) == expected


@pytest.mark.parametrize("quantity", ["0.01", "0.1", "1", "5"])
@pytest.mark.parametrize("name", ["short_strangle", "short_straddle"])
def test_what_is_sold_without_a_bound_leaves_at_the_same_index_whatever_its_quantity(
    name: str, quantity: str
) -> None:
    for hours, index in ((0.1, 100_000), (1, 102_000), (6, 106_000), (12, 109_000), (110, 100_000)):
        assert due(name, hours, index, quantity=quantity) == due(name, hours, index)
