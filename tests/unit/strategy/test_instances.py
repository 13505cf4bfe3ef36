"""One file that runs several times, each with parameters of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.strategy.config import StrategyHostConfig, StrategyInstance
from services.strategy.loader import load_enabled, load_strategies
from services.strategy.runner import StrategyRunner
from shared.config import ConfigError, load_config
from tests.unit.shared.samples import write_desk

CONDOR = """
from decimal import Decimal

from shared.strategy import StrategyConfig, max_hold_hours, strangle

opened = []


def condor(underlying: str = "BTC", quantity: Decimal = Decimal("0.1"), hours: float = 1, days: tuple[str, ...] = ()):
    opened.append(underlying)
    return StrategyConfig(
        name="condor",
        legs=strangle(quantity, underlying=underlying),
        exit_conditions=[max_hold_hours(hours)],
        metadata={"days": days, "opened": opened},
    )
"""


def load(folder: Path, *enabled: str, **instances: StrategyInstance) -> tuple[dict[str, Any], dict[str, str]]:
    """The configurations that loaded, and why others did not."""
    (folder / "condor.py").write_text(CONDOR)
    loaded, failures = load_strategies(enabled, [folder], instances=instances)
    runners = {each.name: each.make(StrategyHostConfig()) for each in loaded}
    configs = {name: runner.config for name, runner in runners.items() if isinstance(runner, StrategyRunner)}
    return configs, {failure.name: failure.reason for failure in failures}


def test_one_file_runs_under_several_names_with_parameters_of_each(tmp_path: Path) -> None:
    btc = StrategyInstance(file="condor", parameters={"quantity": "0.2", "hours": 2})
    eth = StrategyInstance(file="condor", parameters={"underlying": "ETH", "days": ["mon", "fri"]})
    configs, failures = load(tmp_path, "condor", "condor_btc", "condor_eth", condor_btc=btc, condor_eth=eth)
    assert failures == {}
    assert {name: config.name for name, config in configs.items()} == {name: name for name in configs}
    assert [config.underlyings for config in configs.values()] == [("BTCUSD",), ("BTCUSD",), ("ETHUSD",)]
    assert [str(config.legs[0].quantity) for config in configs.values()] == ["0.1", "0.2", "0.1"]
    assert [config.exits[0].hours for config in configs.values()] == [1, 2, 1]
    assert configs["condor_eth"].metadata["days"] == ("mon", "fri")


def test_instances_of_one_file_share_no_state_of_its_module(tmp_path: Path) -> None:
    eth = StrategyInstance(file="condor", parameters={"underlying": "ETH"})
    configs, _ = load(tmp_path, "condor", "condor_eth", condor_eth=eth)
    assert [config.metadata["opened"] for config in configs.values()] == [["BTC"], ["ETH"]]


def test_an_instance_without_a_file_gives_parameters_to_the_file_of_its_name(tmp_path: Path) -> None:
    configs, failures = load(tmp_path, "condor", condor=StrategyInstance(parameters={"underlying": "ETH"}))
    assert failures == {}
    assert configs["condor"].underlyings == ("ETHUSD",)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (
            {"quantiy": "1"},
            "condor() has no parameter 'quantiy': did you mean 'quantity'? It takes underlying, q",
        ),
        ({"hours": "one"}, "parameter hours = 'one': Expected `float`, got `str`"),
        ({"quantity": "much"}, "parameter quantity = 'much': Invalid decimal string"),
        ({"name": "other"}, "parameter name is the instance's own, 'mine': take it out of the parameters"),
    ],
)
def test_a_wrong_parameter_is_named_with_the_remedy(tmp_path: Path, parameters: dict[str, Any], reason: str) -> None:
    configs, failures = load(tmp_path, "mine", mine=StrategyInstance(file="condor", parameters=parameters))
    assert configs == {}
    assert f"condor.py:9: {reason}" in failures["mine"]


def test_an_instance_whose_function_needs_more_says_what(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("def needy(expiry, strike=1):\n    return None\n")
    _, failures = load(tmp_path, "needy")
    assert "needy() needs expiry: give the parameter a default, or set it under" in failures["needy"]
    assert "[strategy.instances.needy.parameters]" in failures["needy"]


def test_an_instance_that_names_no_file_says_which_one_is_missing(tmp_path: Path) -> None:
    _, failures = load(tmp_path, "mine", mine=StrategyInstance(file="candor"))
    assert failures["mine"].startswith("no file candor.py in ")


CODE = """
class Quoter:
    def __init__(self, name): self.name = name
    def on_market(self, underlying, desk, now_ns): return ()
    def on_order(self, order, desk, now_ns): return ()
    def on_trade(self, trade, desk, now_ns): return ()
    def on_timer(self, desk, now_ns): return ()
    def on_outcome(self, outcome, now_ns): pass
    def gates(self): return ()
    def next_deadline_ns(self): return None


def named(name="named"):
    return Quoter(name)


def stubborn():
    return Quoter("stubborn")
"""


def test_a_strategy_that_is_code_takes_the_name_of_its_instance(tmp_path: Path) -> None:
    for name in ("named", "stubborn"):
        (tmp_path / f"{name}.py").write_text(CODE)
    instances = {"one": StrategyInstance(file="named"), "two": StrategyInstance(file="stubborn")}
    loaded, (failure,) = load_strategies(["one", "two"], [tmp_path], instances=instances)
    assert [(each.name, each.make(StrategyHostConfig()).name) for each in loaded] == [("one", "one")]
    assert "let it take a `name`, so that it can run as 'two'" in failure.reason


def test_instances_are_sections_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "voldesk.toml"
    desk = '[desk]\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n'
    path.write_text(
        desk + '[strategy.instances.eth]\nfile = "condor"\n[strategy.instances.eth.parameters]\nunderlying = "ETH"\n'
    )
    config = load_config(path, {}).section("strategy", StrategyHostConfig)
    assert config.instances == {"eth": StrategyInstance(file="condor", parameters={"underlying": "ETH"})}
    path.write_text(desk + '[strategy.instances.eth]\nfiles = "condor"\n')
    with pytest.raises(ConfigError, match=r"\[strategy\.instances\.eth\] has no key files"):
        load_config(path, {}).section("strategy", StrategyHostConfig)


def test_a_strategy_of_an_underlying_that_the_desk_does_not_trade_is_refused_with_what_it_trades(
    tmp_path: Path,
) -> None:
    text = (
        '[desk]\nvenue = "sim"\nunderlyings = ["BTCUSD", "ETHUSD"]\n[strategy]\nenabled = ["eth", "sol"]\n'
        '[strategy.instances.eth]\nfile = "short_strangle"\n[strategy.instances.eth.parameters]\nunderlying = "ETH"\n'
        '[strategy.instances.sol]\nfile = "short_strangle"\n[strategy.instances.sol.parameters]\nunderlying = "SOL"\n'
    )
    loaded, (failure,) = load_enabled(write_desk(tmp_path, text))
    assert [each.name for each in loaded] == ["eth"]
    assert "sol trades SOLUSD, and this desk BTCUSD, ETHUSD: add it to [desk] underlyings" in failure.reason
