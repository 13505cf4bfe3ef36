from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from shared.config import PORT_NAMES, ConfigError, config_path, load_config
from tests.unit.shared.samples import MINIMAL, write_desk

ROOT = Path(__file__).parents[3]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_orders: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    side: Literal["buy", "sell"]


class RiskSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limits: Limits = Limits()
    max_loss_usd: Decimal = Decimal(1000)
    poll_interval_s: float = 1.0
    stages: tuple[Stage, ...] = ()


def refused(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> str:
    path = tmp_path / "voldesk.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path, environment or {})
    message = str(error.value)
    assert "\n" not in message
    assert error.value.remedy
    return message


def test_the_file_as_shipped_is_valid_and_paper_trading() -> None:
    desk = load_config(ROOT / "voldesk.toml", {})
    assert (desk.mode, desk.venue, desk.name) == ("paper", "sim", "main")
    assert desk.run_dir == ROOT / "run" / "main"


def test_defaults_are_filled_in_and_the_run_directory_is_beside_the_file(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    assert desk.run_dir == tmp_path / "run" / "main"
    assert desk.bus.resend_ms == 300
    assert desk.ports == dict.fromkeys(PORT_NAMES, 0)


def test_the_run_directory_comes_from_the_environment_first(tmp_path: Path) -> None:
    (tmp_path / "voldesk.toml").write_text(MINIMAL + 'run_dir = "elsewhere"\n')
    assert load_config(tmp_path / "voldesk.toml", {}).run_dir == tmp_path / "elsewhere"
    chosen = load_config(tmp_path / "voldesk.toml", {"VOLDESK_RUN_DIR": "/tmp/desk"})
    assert chosen.run_dir == Path("/tmp/desk")


@pytest.mark.parametrize(("venue", "mode"), [("sim", "paper"), ("beta", "beta"), ("production", "LIVE")])
def test_the_environment_overrides_the_venue_and_with_it_the_mode(tmp_path: Path, venue: str, mode: str) -> None:
    (tmp_path / "voldesk.toml").write_text(MINIMAL)
    assert load_config(tmp_path / "voldesk.toml", {"TRADING_ENVIRONMENT": venue}).mode == mode


def test_an_environment_that_is_no_venue_is_refused_by_name(tmp_path: Path) -> None:
    assert "TRADING_ENVIRONMENT=live" in refused(tmp_path, MINIMAL, {"TRADING_ENVIRONMENT": "live"})


def test_a_missing_file_is_named_with_the_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="VOLDESK_CONFIG"):
        load_config(tmp_path / "nothing.toml", {})


def test_the_path_comes_from_the_environment(tmp_path: Path) -> None:
    assert config_path({"VOLDESK_CONFIG": str(tmp_path / "desk.toml")}) == tmp_path / "desk.toml"
    assert config_path({}).name == "voldesk.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[desk\n", "not valid TOML"),
        (MINIMAL + "[dsek]\n", "unknown section [dsek]. did you mean desk?"),
        (MINIMAL + "accountid = 'x'\n", "[desk] has no key accountid. did you mean account_id?"),
        (MINIMAL + "number = 256\n", "[desk] number: Expected `int` <= 255"),
        (MINIMAL + "number = 'one'\n", "[desk] number: Expected `int`, got `str`"),
        (MINIMAL + "name = 'a b'\n", "[desk] name: Expected `str` matching"),
        ('[desk]\nunderlyings = ["BTCUSD"]\n', "[desk] venue is missing. add it"),
        (
            '[desk]\nvenue = "real"\nunderlyings = ["BTCUSD"]\n',
            "[desk] venue: Invalid enum value 'real'. use one of: beta, production, sim",
        ),
        ('[desk]\nvenue = "sim"\nunderlyings = []\n', "[desk] underlyings: Expected `array` of length >= 1"),
        (MINIMAL + "[bus]\nresend_ms = 0\n", "[bus] resend_ms: Expected `int` >= 10"),
        (MINIMAL + "[ports]\nexchange = 70000\n", "[ports] exchange: Expected `int` <= 65535"),
        (MINIMAL + "[logging]\nlevel = 'loud'\n", "[logging] level: Invalid enum value 'loud'. use one of: "),
        (MINIMAL + "[ports]\nexchnage = 8000\n", "[ports] has no exchnage. did you mean exchange?"),
        ("desk = 1\n", "desk must be a section"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_key_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    message = refused(tmp_path, text)
    assert str(tmp_path / "voldesk.toml") in message
    assert said in message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "voldesk.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        load_config(tmp_path / "voldesk.toml", {})


def test_a_service_reads_its_section_with_defaults_and_exact_decimals(tmp_path: Path) -> None:
    desk = write_desk(tmp_path, MINIMAL + '[risk]\nmax_loss_usd = "0.10"\n')
    section = desk.section("risk", RiskSection)
    assert section == RiskSection(max_loss_usd=Decimal("0.10"))
    assert str(section.max_loss_usd) == "0.10"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[risk]\nmax_los_usd = '1'\n", "[risk] has no key max_los_usd. did you mean max_loss_usd?"),
        ("[risk.limits]\nmax_order = 3\n", "[risk] limits has no key max_order. did you mean max_orders?"),
        ("[risk.limits]\nmax_orders = 101\n", "[risk] limits.max_orders: Expected `int` <= 100"),
        ("[risk]\nmax_loss_usd = 'much'\n", "[risk] max_loss_usd:"),
        (
            "[risk]\nstages = [{side = 'buy'}, {side = 'both'}]\n",
            "stages[1].side: Invalid enum value 'both'. use one of: buy, sell",
        ),
        ("[risk]\nstages = [{}]\n", "[risk] stages[0].side is missing. add it"),
    ],
)
def test_a_mistake_in_a_services_section_is_named_the_same_way(tmp_path: Path, text: str, said: str) -> None:
    desk = write_desk(tmp_path, MINIMAL + text)
    with pytest.raises(ConfigError) as error:
        desk.section("risk", RiskSection)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_trading_day_is_read_of_the_section_of_the_strategies(tmp_path: Path) -> None:
    assert write_desk(tmp_path).day_boundary_minute == 0
    desk = write_desk(tmp_path, MINIMAL + "[strategy]\nenabled = []\nday_boundary_minute = 480\n")
    assert desk.day_boundary_minute == 480


@pytest.mark.parametrize("minute", ['"8"', "1440", "-1", "7.5"])
def test_a_trading_day_that_cannot_be_is_refused_by_whoever_reads_it(tmp_path: Path, minute: str) -> None:
    desk = write_desk(tmp_path, MINIMAL + f"[strategy]\nday_boundary_minute = {minute}\n")
    with pytest.raises(ConfigError, match=r"\[strategy\] day_boundary_minute: Expected `int`"):
        _ = desk.day_boundary_minute


def test_the_enabled_strategies_are_read_whatever_else_their_section_says(tmp_path: Path) -> None:
    assert write_desk(tmp_path).enabled_strategies == ()
    desk = write_desk(tmp_path, MINIMAL + '[strategy]\nenabled = ["alpha", "beta"]\nunknown = 1\n')
    assert desk.enabled_strategies == ("alpha", "beta")


def test_enabled_strategies_that_are_no_list_are_refused_by_whoever_reads_them(tmp_path: Path) -> None:
    desk = write_desk(tmp_path, MINIMAL + '[strategy]\nenabled = "alpha"\n')
    with pytest.raises(ConfigError, match=r"\[strategy\.enabled\]: Expected `array`, got `str`"):
        _ = desk.enabled_strategies
