"""The page of the library: every strategy of strategies/ has its section, with its parameters as they are."""

from __future__ import annotations

import inspect
import re
import tomllib
from typing import Any

import msgspec
import pytest

from services.strategy import loader
from services.strategy.config import StrategyHostConfig
from services.strategy.runner import StrategyRunner
from tests.docs.pages import blocks, page

PAGE = page("strategies/README.md")
LIBRARY = sorted(path.stem for path in loader.STRATEGIES_FOLDER.glob("*.py") if path.stem != "__init__")
_PARAMETER = re.compile(r"^\| `(\w+)` \| `([^`]*)` \| .+ \|$", re.MULTILINE)


def section(name: str) -> str:
    _, _, rest = PAGE.partition(f"\n## {name}\n")
    return rest.partition("\n## ")[0]


def factory_of(name: str) -> Any:
    return getattr(__import__(f"strategies.{name}", fromlist=[name]), name)


def test_every_strategy_has_a_section_and_a_line_of_the_table_and_no_other_has() -> None:
    assert sorted(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)) == LIBRARY
    assert sorted(re.findall(r"^\| \[(\w+)\]\(#\1\) \|", PAGE, re.MULTILINE)) == LIBRARY


@pytest.mark.parametrize("name", LIBRARY)
def test_its_parameters_and_defaults_are_those_of_its_function(name: str) -> None:
    told = {
        parameter: tomllib.loads(f"value = {default}")["value"]
        for parameter, default in _PARAMETER.findall(section(name))
    }
    taken = {each.name: each.default for each in inspect.signature(factory_of(name)).parameters.values()}
    assert told == taken


@pytest.mark.parametrize("name", [name for name in LIBRARY if inspect.signature(factory_of(name)).parameters])
def test_it_says_how_it_enters_and_leaves_and_what_it_can_lose(name: str) -> None:
    assert all(word in section(name) for word in ("**Enters**", "**Leaves**", "**Can lose**"))


def test_the_instance_of_the_page_loads() -> None:
    (toml,) = blocks(PAGE)
    config = msgspec.convert(tomllib.loads(toml.code)["strategy"], StrategyHostConfig)
    loaded, failures = loader.load_strategies(config.enabled, instances=config.instances)
    assert failures == []
    assert [strategy.name for strategy in loaded] == ["iron_condor", "condor_eth"]
    runner = loaded[1].make(config)
    assert isinstance(runner, StrategyRunner)
    assert runner.underlyings == ("ETHUSD",)
