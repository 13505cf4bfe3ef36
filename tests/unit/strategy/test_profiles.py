"""Execution profiles: named in the configuration, chosen and changed by a strategy, concrete in the intent."""

from __future__ import annotations

from decimal import Decimal as D
from pathlib import Path

import msgspec
import pytest

from services.execution.config import ExecutionConfig
from services.strategy.loaded import LoadedStrategy
from services.strategy.loader import load_strategies, profiles_of
from shared.config import ConfigError, load_config
from shared.messages.trades import ExecutionParams, LimitPhase
from shared.strategy import StrategyConfig, straddle
from shared.strategy.profiles import (
    PARAMS_FIELDS,
    PHASE_FIELDS,
    ExecutionProfile,
    ProfilePhase,
    changed,
    params_problem,
)
from tests.docs.pages import ROOT
from tests.unit.shared.samples import MINIMAL, write_desk
from tests.unit.strategy.dialogue import Dialogue

TEXT = """
[execution.profiles.patient]
max_requote_rounds = 5
min_floor_price_usd = "12.50"
phases = [
    { pricing = "fair", duration_s = 20.0 },
    { pricing = "fair", duration_s = 20.0, fair_aggression = 0.5 },
]
[execution.profiles.urgent]
"""
PATIENT = ExecutionParams(
    phases=(
        LimitPhase(pricing="fair", duration_s=20.0),
        LimitPhase(pricing="fair", duration_s=20.0, fair_aggression=0.5),
    ),
    max_requote_rounds=5,
    min_floor_price_usd=D("12.50"),
    profile="patient",
)
PROFILES = {"patient": PATIENT, "urgent": ExecutionParams(profile="urgent")}


def test_profiles_are_read_by_name_exactly_and_by_execution_too(tmp_path: Path) -> None:
    desk = write_desk(tmp_path, MINIMAL + TEXT)
    assert profiles_of(desk) == PROFILES
    assert set(desk.section("execution", ExecutionConfig).profiles) == {"patient", "urgent"}
    assert profiles_of(write_desk(tmp_path, MINIMAL)) == {}


def test_the_profiles_of_the_shipped_file_can_be_used() -> None:
    for name, params in profiles_of(load_config(ROOT / "voldesk.toml", {})).items():
        assert (params_problem(params), params.profile) == ("", name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[execution.profiles.p]\nphasis = 3\n", "[execution.profiles.p] has no key phasis. did you mean phases?"),
        ("[execution.profiles.p]\nmax_requote_rounds = 0\n", "[execution.profiles.p] max_requote_rounds: Expected"),
        ("[execution.profiles.p]\nphases = []\n", "[execution.profiles.p]: phases is empty"),
        (
            '[execution.profiles.p]\nphases = [{ pricing = "fare" }]\n',
            "[execution.profiles.p] phases[0].pricing: Invalid enum value 'fare'",
        ),
        (
            "[execution.profiles.p]\nphases = [{}, { fair_agression = 1 }]\n",
            "[execution.profiles.p] phases[1] has no key fair_agression. did you mean fair_aggression?",
        ),
        ("[execution.profiles.p]\nfill_timeout_s = nan\n", "[execution.profiles.p] fill_timeout_s: Expected"),
        ("[execution.profiles.p]\nmin_floor_price_usd = 'much'\n", "[execution.profiles.p] min_floor_price_usd:"),
        ("[execution.profiles.p]\nmin_floor_price_usd = '-1'\n", "min_floor_price_usd -1 must be 0 to"),
        ("[execution.profiles.p]\nfinal_look_s = nan\n", "[execution.profiles.p] final_look_s: Expected"),
        ("[execution]\nprofiles = 3\n", "execution.profiles must be sections"),
        ("[execution.profiles]\np = 3\n", "[execution.profiles.p]"),
        ("[execution.profiles.'a b']\n", "[execution] profiles: Expected `str` matching"),
    ],
)
def test_a_mistake_in_a_profile_is_one_line_that_names_profile_and_key(tmp_path: Path, text: str, said: str) -> None:
    desk = write_desk(tmp_path, MINIMAL + text)
    with pytest.raises(ConfigError) as error:
        desk.section("execution", ExecutionConfig)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_profile_has_every_parameter_of_the_plan_with_the_same_defaults() -> None:
    assert set(PARAMS_FIELDS) == set(ExecutionProfile.__struct_fields__)
    assert set(PHASE_FIELDS) == set(ProfilePhase.__struct_fields__)
    assert ExecutionProfile().params("") == ExecutionParams()
    assert ProfilePhase().phase() == LimitPhase()


def test_single_fields_change_a_profile_and_those_of_a_phase_every_phase() -> None:
    params = changed(PATIENT, {"max_requote_rounds": 7, "reprice_interval_s": 4.0})
    assert [phase.reprice_interval_s for phase in params.phases] == [4.0, 4.0]
    assert [phase.fair_aggression for phase in params.phases] == [0.0, 0.5]
    assert (params.max_requote_rounds, params.min_floor_price_usd, params.profile) == (7, D("12.50"), "patient")
    replaced = changed(PATIENT, {"phases": [{"pricing": "mid"}, LimitPhase(pricing="mark")], "duration_s": 9.0})
    assert [(phase.pricing, phase.duration_s) for phase in replaced.phases] == [("mid", 9.0), ("mark", 9.0)]


@pytest.mark.parametrize(
    "fields",
    [{"phases": 3}, {"phases": [{"pricng": "mid"}]}, {"phases": []}, {"fill_timeout_s": "x"}, {"profile": "other"}],
    ids=str,
)
def test_a_field_that_cannot_be_is_refused_by_name(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        changed(PATIENT, fields)


FILE = """from shared.strategy import StrategyConfig, strangle


def named():
    return StrategyConfig(name="named", legs=strangle(1), execution_profile="{profile}")
"""


def test_a_strategy_that_names_no_profile_of_the_file_is_not_loaded_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text(FILE.format(profile="patiant"))
    loaded, (failure,) = load_strategies(["named"], [tmp_path], profiles=PROFILES)
    assert loaded == []
    assert failure.reason.startswith(f"{tmp_path / 'named.py'}: execution_profile 'patiant' is no section")
    assert "did you mean 'patient'? There are: patient, urgent" in failure.reason
    (tmp_path / "named.py").write_text(FILE.format(profile="patient"))
    loaded, failures = load_strategies(["named"], [tmp_path], profiles=PROFILES)
    assert ([strategy.name for strategy in loaded], failures) == (["named"], [])


def test_what_is_sent_to_execution_carries_the_parameters_and_not_only_the_name() -> None:
    config = StrategyConfig(
        name="straddler",
        legs=straddle("0.1", side="buy"),
        execution_profile="patient",
        execution_params={"fill_timeout_s": 11.0},
        check_interval_seconds=1.0,
    )
    desk = Dialogue(LoadedStrategy.from_config(config, profiles=PROFILES))
    desk.ready()
    sent = desk.give_grant()
    assert sent.execution_params == msgspec.structs.replace(PATIENT, fill_timeout_s=11.0)
