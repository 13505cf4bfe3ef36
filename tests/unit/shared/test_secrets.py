from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from shared.config import DeskConfig, load_config
from shared.secrets import (
    ApiKey,
    SecretError,
    ensure_grant_key,
    ensure_paper_secrets,
    load_api_key,
    load_grant_key,
    load_paper_keys,
)
from tests.unit.shared.samples import MINIMAL, write_desk


def beta_desk(tmp_path: Path) -> DeskConfig:
    (tmp_path / "voldesk.toml").write_text(MINIMAL)
    return load_config(tmp_path / "voldesk.toml", {"TRADING_ENVIRONMENT": "beta"})


def private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def test_a_secret_is_not_in_any_text_of_a_key(tmp_path: Path) -> None:
    key = ApiKey(key="0123456789abcdef", secret="very-secret-indeed")
    assert "very-secret-indeed" not in f"{key} {key!r} {[key]}"
    for paper in ensure_paper_secrets(tmp_path):
        assert paper.secret not in f"{paper} {paper!r}"


def test_paper_keys_are_drawn_once_for_one_account_and_only_execution_may_trade(tmp_path: Path) -> None:
    first = ensure_paper_secrets(tmp_path, "main")
    assert ensure_paper_secrets(tmp_path, "main") == first == load_paper_keys(tmp_path)
    assert {key.service: key.read_only for key in first} == {"execution": False, "risk": True, "marketdata": True}
    assert {key.account_id for key in first} == {"main"}
    assert len({key.secret for key in first}) == 3


def test_every_secret_file_is_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    ensure_paper_secrets(tmp_path)
    files = sorted((tmp_path / "secrets").iterdir())
    assert [file.name for file in files] == [
        "grant.key",
        "paper-keys.json",
        "sim-execution.env",
        "sim-marketdata.env",
        "sim-risk.env",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_in_paper_each_service_reads_its_own_key(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    keys = {key.service: key for key in ensure_paper_secrets(desk.run_dir)}
    assert load_api_key(desk, "risk", {}) == ApiKey(key=keys["risk"].key, secret=keys["risk"].secret)


def test_a_lost_file_of_one_service_is_made_again_with_the_same_key(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    ensure_paper_secrets(desk.run_dir)
    before = load_api_key(desk, "risk", {})
    (desk.run_dir / "secrets" / "sim-risk.env").unlink()
    ensure_paper_secrets(desk.run_dir)
    assert load_api_key(desk, "risk", {}) == before


def test_the_services_own_variables_come_before_the_shared_ones(tmp_path: Path) -> None:
    environment = {
        "COINCALL_API_KEY_BETA": "shared",
        "COINCALL_API_SECRET_BETA": "shared-secret",
        "COINCALL_API_KEY_BETA_RISK": "own",
        "COINCALL_API_SECRET_BETA_RISK": "own-secret",
    }
    desk = beta_desk(tmp_path)
    assert load_api_key(desk, "risk", environment).key == "own"
    assert load_api_key(desk, "execution", environment).key == "shared"


def test_keys_are_read_from_dotenv_and_then_from_the_services_file(tmp_path: Path) -> None:
    desk = beta_desk(tmp_path)
    own = desk.run_dir / "secrets" / "beta-execution.env"
    private(own, "COINCALL_API_KEY_BETA=file\nCOINCALL_API_SECRET_BETA='a$b#c'\n")
    assert load_api_key(desk, "execution", {}) == ApiKey(key="file", secret="a$b#c")
    private(tmp_path / ".env", "COINCALL_API_KEY_BETA=dotenv\nCOINCALL_API_SECRET_BETA=s\n")
    assert load_api_key(desk, "execution", {}).key == "dotenv"


def test_a_missing_key_names_the_variables_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(SecretError) as error:
        load_api_key(
            beta_desk(tmp_path), "execution", {"COINCALL_API_KEY_PROD": "x", "COINCALL_API_SECRET_PROD": "y"}
        )
    for part in ("COINCALL_API_KEY_BETA_EXECUTION", "COINCALL_API_SECRET_BETA_EXECUTION", "beta-execution.env"):
        assert part in str(error.value)


def test_half_a_key_names_the_missing_half_and_not_the_present_one(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="COINCALL_API_KEY_BETA is missing") as error:
        load_api_key(beta_desk(tmp_path), "execution", {"COINCALL_API_SECRET_BETA": "do-not-show"})
    assert "do-not-show" not in str(error.value)


@pytest.mark.parametrize("name", ["sim-risk.env", "paper-keys.json", "grant.key"])
def test_a_file_that_others_can_read_is_refused_with_the_command_that_helps(tmp_path: Path, name: str) -> None:
    desk = write_desk(tmp_path)
    ensure_paper_secrets(desk.run_dir)
    path = desk.run_dir / "secrets" / name
    path.chmod(0o640)
    with pytest.raises(SecretError, match=f"chmod 600 {path}"):
        _ = (load_api_key(desk, "risk", {}), load_paper_keys(desk.run_dir), load_grant_key(desk.run_dir))


def test_without_secrets_paper_points_to_up(tmp_path: Path) -> None:
    desk = write_desk(tmp_path)
    with pytest.raises(SecretError, match="voldesk up"):
        load_api_key(desk, "risk", {})
    with pytest.raises(SecretError, match="voldesk up"):
        load_grant_key(desk.run_dir)


def test_the_grant_key_is_drawn_once_and_long_enough(tmp_path: Path) -> None:
    key = ensure_grant_key(tmp_path)
    assert ensure_grant_key(tmp_path) == key == load_grant_key(tmp_path)
    assert len(key) == 64


def test_a_damaged_list_or_key_is_refused_with_a_remedy(tmp_path: Path) -> None:
    private(tmp_path / "secrets" / "paper-keys.json", "{")
    private(tmp_path / "secrets" / "grant.key", "short")
    with pytest.raises(SecretError, match="not a list of paper keys"):
        load_paper_keys(tmp_path)
    with pytest.raises(SecretError, match="too short"):
        load_grant_key(tmp_path)


def test_a_container_reads_the_key_that_it_is_handed_and_no_other_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, handed = beta_desk(tmp_path), tmp_path / "handed"
    monkeypatch.setenv("VOLDESK_SECRETS_DIR", str(handed))
    private(handed / "beta-risk.env", "COINCALL_API_KEY_BETA=r\nCOINCALL_API_SECRET_BETA=s\n")
    private(handed / "production-execution.env", "COINCALL_API_KEY_PROD=p\nCOINCALL_API_SECRET_PROD=s\n")
    assert load_api_key(desk, "risk", {}) == ApiKey(key="r", secret="s")
    with pytest.raises(SecretError) as missing:
        load_api_key(desk, "execution", {})
    assert missing.value.remedy == (
        f"write COINCALL_API_KEY_BETA and COINCALL_API_SECRET_BETA into the file that is handed over as "
        f"{handed / 'beta-execution.env'}"
    )
    private(desk.run_dir / "secrets" / "beta-risk.env", "COINCALL_API_KEY_BETA=own\nCOINCALL_API_SECRET_BETA=s\n")
    assert load_api_key(desk, "risk", {}).key == "own"


def test_a_handed_key_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, handed = beta_desk(tmp_path), tmp_path / "handed"
    monkeypatch.setenv("VOLDESK_SECRETS_DIR", str(handed))
    path = handed / "beta-risk.env"
    private(path, "COINCALL_API_KEY_BETA=r\nCOINCALL_API_SECRET_BETA=do-not-show\n")
    path.chmod(0o644)
    with pytest.raises(SecretError, match=f"chmod 600 {path}") as refused:
        load_api_key(desk, "risk", {})
    assert "do-not-show" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand over a file of another user")
def test_a_handed_key_of_another_user_names_the_user_that_it_must_be_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="vd-handed-") as folder:
        home = Path(folder)
        desk = beta_desk(home)
        private(home / "handed" / "beta-risk.env", "COINCALL_API_KEY_BETA=r\nCOINCALL_API_SECRET_BETA=s\n")
        for each in (home, home / "handed"):
            each.chmod(0o755)
        monkeypatch.setenv("VOLDESK_SECRETS_DIR", str(home / "handed"))
        os.seteuid(10001)
        try:
            with pytest.raises(SecretError, match="cannot be read by user") as refused:
                load_api_key(desk, "risk", {})
        finally:
            os.seteuid(0)
    assert "its file, mode 0600" in refused.value.remedy
