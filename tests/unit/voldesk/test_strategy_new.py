"""voldesk strategy new: a commented file that loads and runs as it is; nothing is overwritten."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from services.strategy.config import StrategyHostConfig
from services.strategy.loader import load_strategies
from services.strategy.runner import StrategyRunner
from shared.strategy import SelectionFailed, resolve_legs, structures
from tests.unit.strategy.listed_chain import listed_chain
from tests.unit.strategy.making import at
from tests.unit.voldesk.peers import Ran
from voldesk.strategy_templates import STRUCTURES, strategy_file

TOML = (
    '[desk]\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n[strategy]\nenabled = ["demo_strangle"]\nfolders = ["mine"]\n'
)

INSTANTS = ("2025-11-18T14:00", "2025-11-21T07:50", "2025-12-26T08:01", "2025-12-31T23:30")


@pytest.fixture
def mine(home: Path) -> Path:
    """The folder of a desk that keeps its own strategies there; it need not be there yet."""
    (home / "voldesk.toml").write_text(TOML)
    return home / "mine"


def said(ran: Ran) -> str:
    return " ".join(ran.out.split())


def test_there_is_a_template_for_every_structure() -> None:
    factories = {name for name, member in vars(structures).items() if _makes_legs(member)}
    assert set(STRUCTURES) == factories


def _makes_legs(member: object) -> bool:
    return (
        inspect.isfunction(member)
        and not member.__name__.startswith("_")
        and member.__annotations__.get("return") in ("list[LegSpec]", "list[AnyLeg]")
    )


@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_file_of_a_structure_loads_as_a_dry_run_and_finds_its_legs(tmp_path: Path, structure: str) -> None:
    text = strategy_file("mine", structure)
    assert [line for line in text.splitlines() if len(line) > 118] == []
    (tmp_path / "mine.py").write_text(text)
    loaded, failures = load_strategies(["mine"], [tmp_path])
    assert failures == []
    runner = loaded[0].make(StrategyHostConfig())
    assert isinstance(runner, StrategyRunner)
    assert runner.config.dry_run
    factory = getattr(structures, structure)
    for instant in INSTANTS:
        legs = resolve_legs(runner.config.legs, listed_chain(at(instant)), at(instant), equity_usd=10_000.0)
        assert not isinstance(legs, SelectionFailed), legs.text
    assert f"structures.{factory.__name__}(" in text


def test_a_new_strategy_is_written_loaded_and_the_next_steps_are_told(mine: Path) -> None:
    ran = Ran("strategy", "new", "my_condor", "--like", "iron_condor")
    assert ran.code == 0, ran.err
    assert (mine / "my_condor.py").read_text() == strategy_file("my_condor", "iron_condor")
    assert "it trades iron_condor, as a dry run" in said(ran)
    assert '[strategy] enabled = ["demo_strangle", "my_condor"]' in said(ran)
    for command in ("voldesk check-config", "voldesk restart strategy", "voldesk strategy show my_condor"):
        assert command in said(ran)


def test_the_next_steps_lead_to_a_strategy_of_the_desk(mine: Path, home: Path) -> None:
    told = json.loads(Ran("strategy", "new", "my_own", "--json").out)
    assert told["file"] == str(mine / "my_own.py")
    assert told["structure"] == "strangle"
    line = next(step for step in told["next_steps"] if "enabled = " in step).partition("[strategy] ")[2]
    (home / "voldesk.toml").write_text(TOML.replace('enabled = ["demo_strangle"]', line))
    checked = Ran("check-config")
    assert checked.code == 0, checked.err
    assert "strategies that load: demo_strangle, my_own" in said(checked)


def test_nothing_is_overwritten(mine: Path) -> None:
    mine.mkdir()
    file = mine / "my_condor.py"
    file.write_text("# a year of work\n")
    ran = Ran("strategy", "new", "my_condor")
    assert ran.code == 2
    assert "is there already, and nothing is overwritten" in " ".join(ran.err.split())
    assert file.read_text() == "# a year of work\n"


@pytest.mark.parametrize("name", ["short_strangle", "demo_strangle"])
def test_a_name_of_the_library_is_taken(mine: Path, name: str) -> None:
    ran = Ran("strategy", "new", name)
    assert (ran.code, mine.exists()) == (2, False)
    assert f"{name}.py is there already" in "".join(ran.err.split("\n")).replace("│", "")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("2condor", "'2condor' cannot be the name of a strategy"),
        ("my-condor", "'my-condor' cannot be the name of a strategy"),
        ("../evil", "'../evil' cannot be the name of a strategy"),
        ("größe", "'größe' cannot be the name of a strategy"),
        ("_mine", "'_mine' cannot be the name of a strategy"),
        ("class", "'class' cannot be the name of a strategy"),
        ("match", "'match' cannot be the name of a strategy"),
        ("x" * 65, "cannot be the name of a strategy"),
        ("strangle", "'strangle' is a name that strategy files import from shared.strategy; choose another"),
        ("structures", "'structures' is a name that strategy files import"),
    ],
)
def test_a_name_that_a_strategy_cannot_have_is_refused_with_what_helps(mine: Path, name: str, cause: str) -> None:
    ran = Ran("strategy", "new", name)
    assert (ran.code, ran.out, mine.exists()) == (2, "", False)
    assert cause in " ".join(ran.err.split())


def test_the_name_of_an_instance_is_taken(mine: Path, home: Path) -> None:
    (home / "voldesk.toml").write_text(TOML + '[strategy.instances.condor_eth]\nfile = "short_strangle"\n')
    ran = Ran("strategy", "new", "condor_eth")
    assert (ran.code, mine.exists()) == (2, False)
    assert "'condor_eth' is the name of an instance" in " ".join(ran.err.split())


def test_a_structure_that_there_is_not_is_named_with_those_there_are(mine: Path) -> None:
    ran = Ran("strategy", "new", "my_condor", "--like", "iron_duck")
    assert (ran.code, mine.exists()) == (2, False)
    assert "'iron_duck' is no structure; use one of: strangle, straddle" in " ".join(ran.err.split())


def test_a_folder_that_cannot_be_written_is_named_with_what_helps(mine: Path) -> None:
    # a file where the folder should be: for root, too, nothing can be written there
    mine.write_text("")
    ran = Ran("strategy", "new", "my_condor")
    assert ran.code == 1
    assert '[strategy] folders = ["my_strategies"]' in " ".join(ran.err.split())
