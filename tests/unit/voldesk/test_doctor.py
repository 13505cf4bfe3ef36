"""What the doctor finds on a desk that does not run, each with its remedy."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.config import DeskConfig, load_config
from shared.entries import Binding
from shared.errors import StartRefused
from shared.reserve import Note, Reserve
from shared.secrets import ensure_paper_secrets
from shared.store import SqliteJournal, quarantine
from tests.unit.voldesk.peers import Peers, Ran
from voldesk.doctor import check_disk, check_journals, check_ports, check_versions, pinned_versions, service_remedy
from voldesk.doctor_groups import check_groups, check_shared_ports
from voldesk.doctor_venue import _clock
from voldesk.findings import Finding
from voldesk.health import State
from voldesk.identity import record_identity

GARBAGE = b"no database at all" * 300


class Row(msgspec.Struct, tag="row"):
    value: int


def examined() -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code and findings by check."""
    ran = Ran("doctor", "--json")
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(ran.out):
        found.setdefault(finding["check"], []).append(finding)
        assert finding["level"] == "ok" or finding["remedy"], finding
    return ran.code, found


def levels(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["level"] for finding in findings]


BINDING = Binding(venue="sim", environment="paper", account_id="acc1")


def journal(home: Path, name: str = "execution-acc1") -> Path:
    path = home / "run" / "journals" / f"{name}.sqlite3"
    path.parent.mkdir(parents=True, exist_ok=True)
    SqliteJournal(path, BINDING, Row).close()
    return path


def test_a_desk_that_was_never_started_has_no_problem_and_nothing_is_written(home: Path) -> None:
    code, found = examined()
    assert code == 0
    assert levels(found["configuration"]) == ["ok"]
    assert found["strategies"][0]["finding"] == "none is enabled: the desk trades nothing"
    assert "`voldesk up` starts it" in found["services"][0]["finding"]
    assert not (home / "run").exists()


def test_the_table_names_the_remedy_below_the_finding_and_fits_80_columns(home: Path) -> None:
    ran = Ran("doctor")
    assert ran.code == 0
    assert '→ name some: [strategy] enabled = ["demo_strangle"]' in ran.out
    assert "no problems" in ran.out
    assert max(len(line.rstrip()) for line in ran.out.splitlines()) <= 80


def test_a_broken_configuration_is_a_finding_and_not_an_error(home: Path) -> None:
    (home / "voldesk.toml").write_text("[desk\n")
    code, found = examined()
    assert code == 1
    assert "not valid TOML" in found["configuration"][0]["finding"]
    assert found["configuration"][0]["remedy"] == "correct that line"
    assert "was not looked at" in found["all else"][0]["finding"]
    ran = Ran("doctor")
    assert ran.err == "voldesk: the doctor found 1 problem; each finding names its remedy\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[risk]\nbogus = 1\n", "[risk] has no key bogus"),
        ("[risk]\nrate_budget_share = 0.9\n", "above 1"),
        ("[execution]\nplace_deadline_ms = 'soon'\n", "[execution] place_deadline_ms"),
        ("[risk.underlyings.DOGEUSD]\nmax_delta_usd = 1.0\n", "DOGEUSD"),
        ('[bus]\ntransport = "tcp"\nhost = "0.0.0.0"\n', "[bus] host 0.0.0.0 is not a loopback address"),
    ],
)
def test_a_mistake_in_a_service_s_section_is_found(home: Path, text: str, says: str) -> None:
    path = home / "voldesk.toml"
    path.write_text(path.read_text() + text)
    code, found = examined()
    assert (code, levels(found["configuration"])) == (1, ["problem"])
    assert says in found["configuration"][0]["finding"]


def test_a_check_that_is_refused_is_a_finding_and_the_others_go_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(desk: DeskConfig) -> Iterator[Finding]:
        raise StartRefused("it cannot be looked at", "make it readable")

    monkeypatch.setattr("voldesk.doctor.check_services", refused)
    code, found = examined()
    assert (code, levels(found["services"])) == (1, ["problem"])
    assert (found["services"][0]["finding"], found["services"][0]["remedy"]) == (
        "it cannot be looked at",
        "make it readable",
    )
    assert found["venue"]


def test_a_strategy_file_that_does_not_load_is_a_problem(home: Path) -> None:
    path = home / "voldesk.toml"
    path.write_text(path.read_text() + '[strategy]\nenabled = ["missing_one"]\n')
    code, found = examined()
    assert (code, levels(found["strategies"])) == (1, ["problem"])
    assert found["strategies"][0]["finding"].startswith("missing_one: ")


def test_a_run_directory_of_another_desk_is_a_problem(home: Path) -> None:
    desk = load_config()
    desk.run_dir.mkdir()
    record_identity(desk)
    path = home / "voldesk.toml"
    path.write_text(path.read_text().replace('account_id = "acc1"', 'account_id = "acc2"'))
    code, found = examined()
    assert (code, levels(found["run directory"])) == (1, ["problem"])
    assert "belongs to paper account acc1" in found["run directory"][0]["finding"]


def test_a_configured_port_that_is_taken_names_its_holder(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = home / "voldesk.toml"
        path.write_text(path.read_text() + f"[ports]\nweb = {port}\n")
        code, found = examined()
    assert code == 1
    assert found["ports"][0]["finding"] == f"[ports] web = {port} is taken by pid {os.getpid()}"
    (free,) = check_ports(load_config())
    assert (free.level, free.text) == ("ok", f"free: web {port}")


def test_a_drawn_port_that_is_taken_is_a_warning(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (home / "run").mkdir()
        (home / "run" / "ports.json").write_text(json.dumps({"web": port}))
        first = next(iter(check_ports(load_config())))
    assert first.level == "warning"
    assert f"{port}, drawn for web, is taken by pid" in first.text


def test_a_damaged_journal_is_a_problem_and_a_sound_one_is_left_as_it_is(home: Path) -> None:
    sound = journal(home)
    before = sound.read_bytes()
    damaged = journal(home, "risk-acc1")
    damaged.write_bytes(GARBAGE)
    findings = [finding for finding in check_journals(load_config()) if finding.level != "warning"]
    assert [finding.level for finding in findings] == ["problem", "ok"]
    assert findings[0].text.startswith("risk-acc1.sqlite3 is damaged")
    assert findings[0].remedy.endswith(f"{sys.executable} -m shared.store quarantine {damaged}")
    assert findings[1].text == "sound: execution-acc1"
    assert sound.read_bytes() == before
    assert damaged.read_bytes() == GARBAGE


def test_a_journal_that_was_moved_aside_by_hand_is_told_with_what_its_loss_means(home: Path) -> None:
    quarantine(journal(home, "risk-acc1"))
    quarantine(journal(home))
    execution, risk = (finding for finding in check_journals(load_config()) if "was moved aside" in finding.text)
    assert "`voldesk resume`" in execution.remedy
    assert "began anew" in risk.text
    assert "`voldesk risk`" in risk.remedy


def test_a_damaged_journal_of_execution_is_moved_aside_by_its_next_start_and_that_is_told(home: Path) -> None:
    path = journal(home)
    path.write_bytes(GARBAGE)
    (damaged,) = (finding for finding in check_journals(load_config()) if finding.level == "problem")
    assert "execution moves it aside" in damaged.remedy
    desk = load_config()
    SqliteJournal(path, BINDING, Row, reserve_bytes=desk.journal.reserve_mb * 1024**2, starts_over=True).close()
    findings = list(check_journals(desk))
    (moved,) = (finding for finding in findings if "was moved aside" in finding.text)
    assert moved.text.startswith("execution-acc1.sqlite3.quarantined-")
    (lost,) = (finding for finding in findings if "rows are missing" in finding.text)
    assert "is damaged: file is not a database; it is kept as execution-acc1.sqlite3.quarantined-" in lost.text
    assert all(finding.level in ("warning", "ok") for finding in findings)


def test_what_a_full_disk_left_behind_is_a_warning(home: Path) -> None:
    path = journal(home)
    Reserve(Path(f"{path}.reserve"), load_config().journal.reserve_mb * 1024**2).take()
    assert [finding.level for finding in check_journals(load_config())] == ["ok"]
    Note(Path(f"{path}.unwritten")).write("3 rows since 12:00")
    Path(f"{path}.reserve").unlink()
    lost, reserve, sound = check_journals(load_config())
    assert (lost.level, lost.text) == ("warning", f"rows are missing in {path.name}: 3 rows since 12:00")
    assert (reserve.level, sound.level) == ("warning", "ok")


def test_a_journal_that_a_service_holds_is_not_opened(home: Path) -> None:
    path = journal(home)
    path.write_bytes(GARBAGE)
    with Path(f"{path}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finding = list(check_journals(load_config()))[-1]
    assert (finding.level, finding.text) == ("ok", "in use, checked at each start: execution-acc1")


def test_a_place_that_cannot_be_written_is_a_problem(home: Path) -> None:
    (home / "run").write_text("a file where a directory should be")
    findings = list(check_disk(load_config()))
    assert findings[-1].level == "problem"
    assert "cannot be written" in findings[-1].text


def test_a_secret_that_others_can_read_is_a_problem(home: Path) -> None:
    desk = load_config()
    desk.run_dir.mkdir()
    ensure_paper_secrets(desk.run_dir, desk.account_id)
    secret = desk.run_dir / "secrets" / "sim-risk.env"
    secret.chmod(0o644)
    code, found = examined()
    assert (code, levels(found["keys"])) == (1, ["problem", "ok"])
    assert found["keys"][0]["remedy"] == f"chmod 600 {secret}"
    text = secret.read_text()
    assert all(line.split("=")[1] not in json.dumps(found) for line in text.split())


def test_a_missing_key_of_a_real_venue_names_its_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", "beta")
    from voldesk.doctor_venue import _stored_keys

    keys, findings = _stored_keys(load_config())
    assert keys == {}
    assert [finding.level for finding in findings] == ["problem"] * 3
    assert "COINCALL_API_KEY_BETA_EXECUTION" in findings[2].remedy


def test_one_key_for_all_services_of_a_real_venue_is_a_warning(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", "beta")
    environment = home / ".env"
    environment.write_text("COINCALL_API_KEY_BETA=k\nCOINCALL_API_SECRET_BETA=s\n")
    environment.chmod(0o600)
    from voldesk.doctor_venue import _stored_keys

    keys, findings = _stored_keys(load_config())
    assert len(keys) == 3
    assert [finding.level for finding in findings] == ["warning", "ok"]
    assert findings[0].text == "marketdata, risk, execution use one key"


def test_packages_are_compared_with_the_lock(home: Path) -> None:
    def found(lock: str) -> Finding:
        path = home / "requirements.lock"
        path.write_text(lock)
        return list(check_versions(path))[-1]

    import msgspec
    import rich

    assert rich
    right = f"msgspec=={msgspec.__version__} \\\n    --hash=sha256:00\n"
    assert found(right).level == "ok"
    assert found(right + "nowhere-at-all==1.0 ; sys_platform == 'win32' \\\n").level == "ok"
    missing = found(right + "nowhere-at-all==1.0 \\\n")
    assert (missing.level, missing.remedy) == ("warning", "make install")
    assert "nowhere-at-all 1.0 is missing" in missing.text
    assert "msgspec is" in found("msgspec==0.0.1 \\\n").text
    either = f"msgspec==0.0.1 ; python_full_version < '3' \\\nmsgspec=={msgspec.__version__} ; python_version > '3'\n"
    assert found(either).level == "ok"
    assert next(iter(check_versions(home / "none"))).level == "ok"
    assert list(check_versions(home / "none"))[-1].level == "warning"


def test_the_shipped_lock_is_read_whole() -> None:
    lock = Path(__file__).resolve().parents[3] / "requirements.lock"
    names = pinned_versions(lock.read_text())
    assert {"msgspec", "pyzmq", "typer", "numpy"} <= names.keys()


@pytest.mark.parametrize(
    ("offset_ms", "level"), [(0, "ok"), (-200, "ok"), (300, "warning"), (-900, "warning"), (60_000, "problem")]
)
def test_the_clock_is_judged_by_its_distance_from_the_venue_s(offset_ms: int, level: str) -> None:
    finding = _clock(offset_ms * 1_000_000)
    assert finding.level == level
    assert bool(finding.remedy) == (level != "ok")
    assert f"{-offset_ms:+d} ms" in finding.text


def test_services_that_live_without_supervisord_are_a_problem(peers: Peers) -> None:
    """The test's own process is none of the desk's: a real one is started."""
    import subprocess

    desk = peers.desk
    command = [
        sys.executable,
        "-c",
        "import sys, time; print('up', flush=True); time.sleep(600)",
        "-m",
        "services.risk",
    ]
    with subprocess.Popen(command, env=os.environ | {"VOLDESK_RUN_DIR": str(desk.run_dir)}, stdout=-1) as orphan:
        try:
            assert orphan.stdout is not None
            orphan.stdout.readline()
            _, found = examined()
        finally:
            orphan.kill()
    assert any(
        finding["level"] == "problem" and f"risk ({orphan.pid})" in finding["finding"]
        for finding in found["services"]
    )


@pytest.mark.parametrize(
    ("state", "supervised", "remedy"),
    [
        ("NOT_RESPONDING", True, "`voldesk restart risk`"),
        ("NOT_RESPONDING", False, "`voldesk up`"),
        ("STOPPED", True, "`voldesk up`"),
        ("NOT_READY", True, "`voldesk logs risk`"),
    ],
)
def test_a_process_that_stands_still_is_to_be_restarted_since_up_starts_only_what_ended(
    state: State, supervised: bool, remedy: str
) -> None:
    assert remedy in service_remedy(state, "risk", supervised=supervised)


def test_a_group_without_an_enabled_strategy_and_ports_given_twice_are_found(home: Path) -> None:
    (home / "voldesk.toml").write_text(
        (home / "voldesk.toml").read_text()
        + '\n[strategy.instances.idle]\ngroup = "slow"\n\n[ports]\nweb = 18420\nmetrics-risk = 18420\n'
    )
    desk = load_config(home / "voldesk.toml", {})
    (idle,) = check_groups(desk)
    assert (idle.level, idle.text) == (
        "warning",
        "no strategy of the group slow is enabled: it has no host (idle)",
    )
    (shared,) = check_shared_ports(desk)
    assert (shared.level, shared.text) == (
        "problem",
        "port 18420 is given to [ports] web and [ports] metrics-risk",
    )


def test_what_each_host_runs_is_told_and_a_port_of_the_bus_over_tcp_is_seen(home: Path) -> None:
    text = (home / "voldesk.toml").read_text()
    enabled = '[strategy]\nenabled = ["grid", "condor"]\n[strategy.instances.grid]\ngroup = "fast"\n'
    ports = '[bus]\ntransport = "tcp"\nbase_port = 15550\n[ports]\n"metrics-strategy-fast" = 15564\n'
    head = text.partition("[strategy]")[0]
    (home / "voldesk.toml").write_text(f"{head}\n{enabled}\n{ports}")
    desk = load_config(home / "voldesk.toml", {})
    assert [found.text for found in check_groups(desk)] == ["strategy-fast runs grid; strategy runs condor"]
    (shared,) = check_shared_ports(desk)
    assert "[ports] metrics-strategy-fast and the bus of strategy-fast" in shared.text
