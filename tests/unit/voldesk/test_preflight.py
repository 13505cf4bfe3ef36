"""Everything that must be right before the desk starts."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from shared.config import ConfigError, JournalSection, load_config
from shared.errors import StartRefused
from shared.secrets import SecretError
from tests.unit.shared.full_disk import fill, small_disk
from tests.unit.shared.samples import MINIMAL
from tests.unit.voldesk.peers import Ran
from voldesk.preflight import SECTION_TYPES, check_keys, choose_ports, disk_warning, exclusive, page_url
from voldesk.supervision import Supervisor


def write(home: Path, text: str) -> None:
    path = home / "voldesk.toml"
    path.write_text(path.read_text() + text)


def test_the_shipped_configuration_is_valid(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLDESK_CONFIG", str(Path(__file__).parents[3] / "voldesk.toml"))
    ran = Ran("check-config", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["mode"] == "paper"


@pytest.mark.parametrize("command", [["check-config"], ["up"]])
@pytest.mark.parametrize("section", sorted(SECTION_TYPES))
def test_a_mistake_in_any_services_section_is_named_before_anything_starts(
    home: Path, section: str, command: list[str]
) -> None:
    write(home, f"\n[{section}]\nno_such_key = 1\n")
    ran = Ran(*command)
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.count("\n") == 1
    assert f"[{section}]" in ran.err
    assert "no_such_key" in ran.err
    assert not (home / "run").exists()


@pytest.mark.parametrize("command", [["check-config"], ["up"]])
@pytest.mark.parametrize(
    ("content", "remedy"), [(None, "give a PEM file that can be read"), ("no PEM", "the key that belongs to it")]
)
def test_a_certificate_of_the_dashboard_that_cannot_be_used_is_refused_before_anything_starts(
    home: Path, command: list[str], content: str | None, remedy: str
) -> None:
    if content is not None:
        (home / "desk.pem").write_text(content)
    write(home, '\n[monitor.web]\ntls_certificate = "desk.pem"\ntls_key = "desk.pem"\n')
    ran = Ran(*command)
    assert (ran.code, ran.out) == (78, "")
    assert "tls_certificate" in ran.err
    assert remedy in ran.err
    assert not (home / "run").exists()


@pytest.mark.parametrize("command", [["check-config"], ["up"]])
def test_shares_of_the_rate_limits_above_one_are_refused_before_anything_starts(
    home: Path, command: list[str]
) -> None:
    write(home, "\n[risk]\nrate_budget_share = 0.6\n[execution]\nrate_budget_share = 0.3\n")
    ran = Ran(*command)
    assert (ran.code, ran.out) == (78, "")
    assert ran.err.count("\n") == 1
    assert "[marketdata] 0.25, [risk] 0.6, [execution] 0.3 is 1.15 together, above 1" in ran.err
    assert not (home / "run").exists()


def test_shares_of_the_rate_limits_may_add_up_to_exactly_one(home: Path) -> None:
    write(home, "\n[marketdata]\nrate_budget_share = 0.1\n[risk]\nrate_budget_share = 0.7\n")
    write(home, "[execution]\nrate_budget_share = 0.2\n")
    assert Ran("check-config").code == 0


def test_a_missing_configuration_names_the_file_and_the_variable(home: Path) -> None:
    (home / "voldesk.toml").unlink()
    ran = Ran("status")
    assert ran.code == 78
    assert str(home / "voldesk.toml") in ran.err
    assert "VOLDESK_CONFIG" in ran.err


def test_a_configured_port_that_is_taken_is_refused_naming_its_holder(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write(home, f"\n[ports]\nweb = {port}\n")
        (home / "run").mkdir()
        with pytest.raises(ConfigError) as refused:
            choose_ports(load_config())
    assert f"web = {port} is taken by pid {os.getpid()} " in refused.value.reason
    assert "another port" in refused.value.remedy


def test_free_ports_are_kept_over_starts_and_a_lost_one_is_replaced(home: Path) -> None:
    (home / "run").mkdir()
    desk = load_config()
    first = choose_ports(desk)
    assert len(set(first.values())) == len(first)
    assert choose_ports(desk) == first
    with socket.create_server(("127.0.0.1", first["web"])):
        second = choose_ports(desk)
    assert second["web"] != first["web"]
    assert {**second, "web": 0} == {**first, "web": 0}
    assert page_url(desk) == f"http://127.0.0.1:{second['web']}/"


def test_paper_keys_are_drawn_once_and_private(home: Path) -> None:
    desk = load_config()
    check_keys(desk)
    before = {path.name: path.read_bytes() for path in (desk.run_dir / "secrets").iterdir()}
    check_keys(desk)
    assert {path.name: path.read_bytes() for path in (desk.run_dir / "secrets").iterdir()} == before
    assert "sim-execution.env" in before
    assert all(path.stat().st_mode & 0o077 == 0 for path in (desk.run_dir / "secrets").iterdir())


def test_live_without_keys_is_refused_with_the_variables_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", "production")
    with pytest.raises(SecretError, match="COINCALL_API_KEY_PROD_MARKETDATA"):
        check_keys(load_config())
    ran = Ran("up", "--yes")
    assert ran.code == 78
    assert "no API key for production" in ran.err


def test_a_key_that_only_this_shell_knows_is_refused_because_services_will_not_see_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", "beta")
    monkeypatch.setenv("COINCALL_API_KEY_BETA", "key-of-beta")
    monkeypatch.setenv("COINCALL_API_SECRET_BETA", "secret-of-beta")
    with pytest.raises(SecretError, match=r"services are not given.*\.env") as refused:
        check_keys(load_config())
    assert "secret-of-beta" not in str(refused.value)
    dotenv = home / ".env"
    dotenv.write_text("COINCALL_API_KEY_BETA=key-of-beta\nCOINCALL_API_SECRET_BETA=secret-of-beta\n")
    dotenv.chmod(0o600)
    check_keys(load_config())


def test_supervisords_environment_holds_no_secret(home: Path) -> None:
    environment = Supervisor(load_config()).environment(
        {
            "PATH": "/bin",
            "COINCALL_API_KEY_PROD": "k",
            "COINCALL_API_SECRET_PROD": "s",
            "TELEGRAM_TOKEN": "t",
            "DB_PASSWORD": "p",
        }
    )
    assert not re.search("COINCALL|TOKEN|PASSWORD", " ".join(environment))
    assert environment["PATH"] == "/bin"
    assert environment["VOLDESK_WITH_EXCHANGE"] == "true"


def test_the_exchange_is_for_paper_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", "beta")
    assert Supervisor(load_config()).environment({})["VOLDESK_WITH_EXCHANGE"] == "false"


def test_live_is_not_started_without_the_accounts_name(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", "production")
    ran = Ran("up", answer="y\n")
    assert ran.code == 1
    assert "LIVE · account acc1: start trading with real money?" in ran.err


def test_two_ups_at_once_are_kept_apart(home: Path) -> None:
    with exclusive(home / "run"), pytest.raises(StartRefused, match="at work"), exclusive(home / "run"):
        pass
    with exclusive(home / "run"):
        assert Ran("down").code == 78


def test_a_disk_with_too_little_room_is_told_with_the_figure_and_the_remedy(tmp_path: Path) -> None:
    with small_disk(tmp_path / "run", 40) as run_dir:
        (tmp_path / "voldesk.toml").write_text(MINIMAL)
        desk = load_config(tmp_path / "voldesk.toml", {"VOLDESK_RUN_DIR": str(run_dir)})
        assert disk_warning(msgspec.structs.replace(desk, journal=JournalSection(reserve_mb=4))) is None
        warning = disk_warning(desk)
    assert warning is not None
    assert warning.startswith(f"only 40 MB are left on the disk of {run_dir}")
    assert warning.endswith("free at least 160 MB, or lower [journal] reserve_mb")


def test_a_command_that_finds_the_disk_full_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    with small_disk(tmp_path / "run", 1) as run_dir:
        (tmp_path / "voldesk.toml").write_text(MINIMAL)
        fill(run_dir)
        done = subprocess.run(
            [sys.executable, "-c", "from voldesk.main import app; app()", "up"],
            env={**os.environ, "VOLDESK_CONFIG": str(tmp_path / "voldesk.toml"), "VOLDESK_RUN_DIR": str(run_dir)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("voldesk: No space left on device")
    assert "free space on the disk of the run directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_limit_of_an_underlying_that_is_not_traded_is_refused(home: Path) -> None:
    write(home, "\n[risk.underlyings.SOLUSD]\nmax_delta_usd = 1000.0\n")
    ran = Ran("check-config")
    assert ran.code == 78
    assert "[risk.underlyings.SOLUSD] is no underlying of this desk" in ran.err


STRATEGY_FILE = """
from shared.strategy.config import StrategyConfig, LegSpec


def {file}() -> StrategyConfig:
    return StrategyConfig(
        name="{name}",
        legs=[LegSpec("C", 1, 0.1, {{"type": "delta", "value": 0.25}}, {{"dte": "next"}})],
    )
"""


def enable(home: Path, enabled: list[str], **files: str) -> None:
    """Strategy files by name, each with the name of the strategy in it, and those of them that are enabled."""
    (home / "own").mkdir()
    for file, name in files.items():
        (home / "own" / f"{file}.py").write_text(STRATEGY_FILE.format(file=file, name=name))
    write(home, f'\n[strategy]\nfolders = ["own"]\nenabled = {json.dumps(enabled)}\n')


@pytest.mark.parametrize("command", [["check-config"], ["up"]])
def test_a_limit_of_a_strategy_that_there_is_not_is_refused_with_the_name_that_was_meant(
    home: Path, command: list[str]
) -> None:
    enable(home, ["my_strangle"], my_strangle="my_strangle")
    write(home, "\n[risk.strategies.my_strangel]\nmax_open_trades = 1\n")
    ran = Ran(*command)
    assert (ran.code, ran.out) == (78, "")
    assert "[risk.strategies.my_strangel] is no strategy of this desk, so it would limit nothing" in ran.err
    assert "did you mean my_strangle?" in ran.err
    assert not (home / "run").exists()


def test_a_limit_goes_by_the_name_of_the_strategy_and_not_by_that_of_its_file(home: Path) -> None:
    enable(home, ["weekly"], weekly="weekly_condor")
    write(home, "\n[risk.strategies.weekly]\nmax_open_trades = 1\n")
    ran = Ran("check-config")
    assert ran.code == 78
    assert "[risk.strategies.weekly] names a file whose strategy has another name" in ran.err
    assert "did you mean weekly_condor?" in ran.err


def test_limits_of_strategies_that_run_of_instances_and_of_those_that_wait_to_be_enabled_are_taken(
    home: Path,
) -> None:
    enable(home, ["weekly", "narrow"], weekly="weekly_condor", later="later")
    write(home, '\n[strategy.instances.narrow]\nfile = "weekly"\n')
    for name in ("weekly_condor", "narrow", "later"):
        write(home, f"\n[risk.strategies.{name}]\nmax_open_trades = 1\n")
    ran = Ran("check-config")
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(("environment", "losses", "warned"), [("beta", 1000, 1), ("beta", 6, 0), ("sim", 1000, 0)])
def test_a_desk_at_a_venue_with_the_breaker_of_the_demonstration_is_told_so(
    home: Path, monkeypatch: pytest.MonkeyPatch, environment: str, losses: int, warned: int
) -> None:
    write(home, f"\n[risk]\nmax_consecutive_losses = {losses}\n")
    monkeypatch.setenv("TRADING_ENVIRONMENT", environment)
    ran = Ran("check-config")
    assert ran.code == 0
    assert ran.err.count("max_consecutive_losses") == warned
