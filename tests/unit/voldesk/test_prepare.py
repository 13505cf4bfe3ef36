"""voldesk prepare: what the container `setup` does before the first service starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shared.bus.keys import KEY_NAMES, keys_dir, load_ring, read_list
from shared.config import PORT_NAMES, load_config
from shared.secrets import load_paper_keys
from tests.unit.voldesk.peers import Ran

ROOT = Path(__file__).parents[3]
CONTAINERS = ROOT / "deploy" / "compose" / "containers.toml"


@pytest.fixture
def contained(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run directory of a desk in containers, whose ports are free ones: the shipped numbers may be taken here."""
    text = CONTAINERS.read_text().partition("[ports]")
    ports = "".join(f"{name} = 0\n" for name in PORT_NAMES)
    (home / "containers.toml").write_text(f"{text[0]}[ports]\n{ports}[{text[2].partition(chr(10) + '[')[2]}")
    monkeypatch.setenv("VOLDESK_OVERLAY", str(home / "containers.toml"))
    return home / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_there_for_the_first_service_and_secrets_are_private(contained: Path) -> None:
    done = Ran("prepare", "--json")
    assert (done.code, json.loads(done.out)["run_dir"]) == (0, str(contained))
    desk = load_config()
    assert {key.service for key in load_paper_keys(contained)} == {"execution", "risk", "marketdata"}
    assert {load_ring(keys_dir(desk), name).name for name in KEY_NAMES} == set(KEY_NAMES)
    targets = json.loads((contained / "prometheus" / "targets.json").read_text())
    ports = json.loads(done.out)["ports"]
    assert {row["labels"]["service"]: row["targets"] for row in targets} == {
        name: [f"{name}.bus:{ports[f'metrics-{name}']}"]
        for name in ("exchange", "marketdata", "risk", "execution", "strategy", "monitor")
    }
    private = [*(contained / "secrets").iterdir(), *contained.glob("keys/*/secret")]
    assert len(private) > len(KEY_NAMES)
    assert {path.stat().st_mode & 0o077 for path in private} == {0}


def test_the_second_time_nothing_changes(contained: Path) -> None:
    assert Ran("prepare").code == 0
    before = contents(contained)
    assert "is ready for its services" in Ran("prepare").out
    assert contents(contained) == before


def test_a_revoked_key_stays_revoked_over_a_new_start(contained: Path) -> None:
    assert Ran("prepare").code == 0
    assert Ran("keys", "revoke", "risk", "--yes").code == 0
    assert Ran("prepare").code == 0
    assert read_list(contained / "keys")["risk"].revoked


def test_a_lost_volume_of_one_key_is_named_with_its_remedy(contained: Path) -> None:
    assert Ran("prepare").code == 0
    (contained / "keys" / "risk" / "secret").unlink()
    done = Ran("healthcheck", "risk", "--timeout", "0.2")
    assert done.code == 78
    assert "risk has no key for the bus" in done.err


def test_a_service_that_refuses_to_start_says_why_where_docker_shows_it_too(contained: Path) -> None:
    assert Ran("prepare").code == 0
    (contained / "keys" / "risk" / "secret").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "services.risk"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (78, "")
    assert "risk: start refused: risk has no key for the bus" in done.stderr
    assert "docker compose up" in done.stderr
    assert "risk has no key for the bus" in Ran("logs", "risk").out


def test_without_a_key_of_a_real_venue_nothing_may_start_and_the_handed_file_is_named(
    contained: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", "beta")
    monkeypatch.setenv("VOLDESK_SECRETS_DIR", str(home / "handed"))
    (home / "handed").mkdir()
    done = Ran("prepare")
    assert (done.code, done.out) == (78, "")
    assert "marketdata has no API key for beta" in done.err
    assert str(home / "handed" / "beta-marketdata.env") in done.err
    for name in ("marketdata", "risk", "execution"):
        path = home / "handed" / f"beta-{name}.env"
        path.write_text("COINCALL_API_KEY_BETA=k\nCOINCALL_API_SECRET_BETA=s\n")
        path.chmod(0o600)
    assert Ran("prepare").code == 0
    assert not (contained / "secrets" / "paper-keys.json").exists()


def test_a_run_directory_of_another_venue_is_refused(
    contained: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Ran("prepare").code == 0
    monkeypatch.setenv("TRADING_ENVIRONMENT", "beta")
    done = Ran("prepare")
    assert done.code == 78
    assert "belongs to" in done.err


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["up"], "docker compose up -d"),
        (["down", "--yes"], "docker compose"),
        (["restart", "risk"], "docker compose restart"),
    ],
)
def test_what_starts_and_stops_processes_names_the_command_of_compose(
    contained: Path, command: list[str], instead: str
) -> None:
    assert Ran("prepare").code == 0
    done = Ran(*command)
    assert done.code == 78
    assert instead in done.err
