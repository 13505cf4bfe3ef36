"""The strategy guide: its code runs, its tables are complete and say what the code does."""

from __future__ import annotations

import datetime as dt
import doctest
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import shared.strategy
from services.strategy import loader
from services.strategy.config import StrategyHostConfig
from shared.messages.conditions import Condition, EntryCondition, ExitCondition, HostFunction
from shared.strategy import StrategyConfig, criteria
from shared.strategy.criteria import ExpiryCriterion, StrikeCriterion, expiry_criterion, strike_criterion
from tests.docs.pages import Block, blocks, page
from tests.unit.shared.samples import MINIMAL, write_desk

PAGE = page("strategies.md")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose heading begins with this; an escaped bar separates no cells."""
    _, _, rest = PAGE.partition(f"| {heading} |")
    table = rest.partition("\n\n")[0].splitlines()[2:]
    return [
        [cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")]
        for line in table
        if line.startswith("|")
    ]


def evaluated(cell: str) -> Any:
    names = {**vars(shared.strategy), **vars(criteria), "dt": dt, "Decimal": Decimal}
    return eval(cell.strip("`"), names)


@pytest.fixture(scope="module")
def namespace() -> dict[str, Any]:
    """What the plain blocks of the page define, run from top to bottom."""
    names: dict[str, Any] = {}
    for block in blocks(PAGE, "python"):
        if not is_dialogue(block):
            exec(compile("\n" * (block.line - 1) + block.code, "docs/strategies.md", "exec"), names)
    return names


def is_dialogue(block: Block) -> bool:
    return block.code.startswith(">>> ")


@pytest.mark.parametrize("block", [b for b in blocks(PAGE) if is_dialogue(b)], ids=lambda block: f"line {block.line}")
def test_a_dialogue_answers_as_shown(block: Block, namespace: dict[str, Any]) -> None:
    example = doctest.DocTestParser().get_doctest(block.code, namespace, "strategies.md", None, block.line)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append, clear_globs=False)
    assert not said, "".join(said)


def test_the_test_of_the_page_passes(namespace: dict[str, Any]) -> None:
    namespace["test_the_condor_opens_whole_and_closes_flat"]()


def test_every_block_is_run_by_a_test() -> None:
    assert {block.language for block in blocks(PAGE)} == {"python", "toml"}


def test_the_file_of_the_page_loads_under_the_configuration_of_the_page(tmp_path: Path) -> None:
    toml, *_ = blocks(PAGE, "toml")
    section = msgspec.convert(tomllib.loads(toml.code)["strategy"], StrategyHostConfig)
    folder = tmp_path / section.folders[0]
    folder.mkdir()
    (folder / "my_condor.py").write_text(blocks(PAGE, "python")[0].code)
    loaded, failures = loader.load_strategies(section.enabled, [folder])
    assert not failures
    assert [strategy.name for strategy in loaded] == ["my_condor"]


def test_the_instance_of_the_page_runs_the_file_with_its_parameters() -> None:
    _, toml, *_ = blocks(PAGE, "toml")
    section = msgspec.convert(tomllib.loads(toml.code)["strategy"], StrategyHostConfig)
    loaded, failures = loader.load_strategies(section.enabled, instances=section.instances)
    assert not failures
    assert [strategy.name for strategy in loaded] == ["short_strangle", "strangle_eth"]
    runner = loaded[1].make(section)
    assert runner.underlyings == ("ETHUSD",)


def test_the_group_of_the_page_has_a_host_of_its_own(tmp_path: Path) -> None:
    _, _, toml, _ = blocks(PAGE, "toml")
    hosts = write_desk(tmp_path, MINIMAL + toml.code).strategy_hosts
    assert hosts.services == ("strategy", "strategy-fast")
    assert (hosts.of("gamma_scalper"), hosts.of("short_strangle")) == ("strategy-fast", "strategy")


def test_the_profile_of_the_page_is_one_that_a_strategy_can_name(tmp_path: Path, namespace: dict[str, Any]) -> None:
    *_, toml = blocks(PAGE, "toml")
    profiles = loader.profiles_of(write_desk(tmp_path, MINIMAL + toml.code))
    named = msgspec.structs.replace(namespace["my_condor"](), execution_profile="patient", execution_params=None)
    assert named.limit_params(profiles) == profiles["patient"]
    assert [phase.fair_aggression for phase in profiles["patient"].phases] == [0.0, 0.5]


def test_every_field_of_a_strategy_is_explained() -> None:
    explained = [name.strip(" `") for row in rows("field") for name in row[0].split(",")]
    assert sorted(explained) == sorted(StrategyConfig.__struct_fields__)


def test_every_form_of_a_strike_is_what_the_table_says() -> None:
    forms = [row for row in rows("short form") if "type" in row[0]]
    for short, typed, _ in forms:
        assert strike_criterion(evaluated(short), "C") == evaluated(typed)
    # compound constraints have no short form: find_option makes them
    assert {type(evaluated(row[1])) for row in forms} == set(get_args(StrikeCriterion)) - {criteria.Compound}


def test_every_form_of_an_expiry_is_what_the_table_says() -> None:
    _, _, after_strikes = PAGE.partition("Expiries; DTE")
    forms = [
        line.split("|")[1:3] for line in after_strikes.partition("\n\nAn option")[0].splitlines() if "`{" in line
    ]
    for short, typed in forms:
        assert expiry_criterion(evaluated(short.strip())) == evaluated(typed.strip())
    assert {type(evaluated(form[1].strip())) for form in forms} == set(get_args(ExpiryCriterion))


@pytest.mark.parametrize(
    ("heading", "union"),
    [("factory | opens while", EntryCondition), ("factory | closes when", ExitCondition)],
)
def test_every_condition_is_in_its_table(heading: str, union: Any) -> None:
    made = {type(evaluated(row[0])) for row in rows(heading)}
    assert made == set(get_args(union)) - {HostFunction}


def test_every_factory_is_in_a_table() -> None:
    tables = (*rows("factory | opens while"), *rows("factory | closes when"))
    named = {row[0].strip("`").partition("(")[0] for row in tables}
    factories = {name for name in shared.strategy.__all__ if _makes_a_condition(getattr(shared.strategy, name))}
    assert named == factories


def _makes_a_condition(member: Callable[..., Any]) -> bool:
    returned = getattr(member, "__annotations__", {}).get("return", "")
    return any(kind.__name__ == returned for kind in Condition.__subclasses__())
