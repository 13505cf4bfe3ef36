"""What docker-compose.yml, the file laid over it for a real venue, and the Dockerfile promise of themselves.

Compose's own tool judges both; what it makes of them is read, so that its merging is its own.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.bus.keys import KEY_NAMES
from shared.config import PORT_NAMES, load_config
from shared.messages.topics import BUS_SERVICES
from voldesk.preflight import KEYED_SERVICES

ROOT = Path(__file__).parents[3]
PAPER, LIVE, GROUPS = "docker-compose.yml", "docker-compose.live.yml", "docker-compose.groups.yml"
SERVICES = (*BUS_SERVICES, "exchange")
OBSERVERS = ("prometheus", "alertmanager", "grafana")
BESIDE_EXAMPLE = ("TRADING_ENVIRONMENT",)


@functools.cache
def written(name: str) -> dict[str, Any]:
    """One file as it is written."""
    found = yaml.safe_load((ROOT / name).read_text())
    assert isinstance(found, dict)
    return found


def compose(*files: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`config` of Compose v2 or of docker-compose 1.29, which need no engine for it."""
    plugin = (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    )
    if not plugin and shutil.which("docker-compose") is None:
        reason = "neither Compose v2 nor docker-compose is on this machine: apt-get install docker-compose"
        if os.environ.get("VOLDESK_TEST_COMPOSE") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    kept = {name: value for name, value in os.environ.items() if not re.match("TRADING_|VOLDESK_|COMPOSE_", name)}
    command = ["docker", "compose"] if plugin else ["docker-compose"]
    with tempfile.NamedTemporaryFile(suffix=".env") as empty:
        # an env file of its own, so that no .env of whoever runs the tests speaks
        return subprocess.run(
            [*command, "--env-file", empty.name, *(part for file in files for part in ("-f", file)), "config"],
            cwd=ROOT,
            env=kept | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@functools.cache
def laid_over(venue: str) -> dict[str, Any]:
    """Both files together, as Compose merges them for a venue."""
    done = compose(PAPER, LIVE, TRADING_ENVIRONMENT=venue)
    assert done.returncode == 0, done.stderr
    found = yaml.safe_load(done.stdout)
    assert isinstance(found, dict)
    return found


def secrets_of(service: dict[str, Any]) -> dict[str, str]:
    """Of one service: by the name of the secret, the file name under /run/secrets."""
    return {each["source"]: each["target"].removeprefix("/run/secrets/") for each in service.get("secrets", ())}


def mounts_of(service: dict[str, Any]) -> dict[str, str]:
    """Of one service of the paper stack: by what is mounted, how ("ro" or "")."""
    parts = [volume.split(":") for volume in service["volumes"]]
    return {part[0]: part[2] if len(part) > 2 else "" for part in parts}


def test_compose_takes_the_paper_stack_without_any_variable_and_starts_all_of_it() -> None:
    done = compose(PAPER)
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"setup", "control", *SERVICES, *OBSERVERS}
    assert [name for name, service in services.items() if service.get("profiles")] == []
    assert {services[name]["environment"]["TRADING_ENVIRONMENT"] for name in SERVICES} == {"sim"}


def test_a_real_venue_must_be_named() -> None:
    done = compose(PAPER, LIVE)
    assert done.returncode != 0
    assert "set TRADING_ENVIRONMENT=beta or production in .env" in done.stderr


@pytest.mark.parametrize("venue", ["beta", "production"])
def test_a_real_venue_has_no_simulated_exchange_and_watching_is_a_profile(venue: str) -> None:
    services = laid_over(venue)["services"]
    profiles = {name: service.get("profiles") for name, service in written(LIVE)["services"].items()}
    assert profiles["exchange"] == ["paper"]
    assert {name: profiles[name] for name in OBSERVERS} == {name: ["observability"] for name in OBSERVERS}
    desk = ("setup", "control", *BUS_SERVICES)
    assert {name: profiles[name] for name in desk} == dict.fromkeys(desk)
    assert {services[name]["environment"]["TRADING_ENVIRONMENT"] for name in desk} == {venue}


@pytest.mark.parametrize("venue", ["beta", "production"])
def test_each_service_is_handed_the_file_of_its_own_key_by_the_name_that_it_reads(venue: str) -> None:
    whole = laid_over(venue)
    services = whole["services"]
    for name in KEYED_SERVICES:
        assert secrets_of(services[name]) == {f"{name}-key": f"{venue}-{name}.env"}
    everybody = {f"{name}-key": f"{venue}-{name}.env" for name in KEYED_SERVICES}
    assert secrets_of(services["setup"]) == secrets_of(services["control"]) == everybody
    assert {name: secrets_of(services[name]) for name in ("strategy", "monitor")} == {"strategy": {}, "monitor": {}}
    assert set(whole["secrets"]) == set(everybody)
    assert all(Path(secret["file"]).name.endswith(".env") for secret in whole["secrets"].values())


def test_no_file_of_compose_holds_a_key_or_hands_one_over_in_the_environment() -> None:
    for name in (PAPER, LIVE):
        for service, said in written(name)["services"].items():
            given = said.get("environment") or {}
            assert [each for each in given if re.search("KEY|SECRET|TOKEN|PASSWORD", each)] == [], service


def test_only_the_dashboard_and_grafana_are_published_and_on_loopback() -> None:
    ports = {name: service["ports"] for name, service in written(PAPER)["services"].items() if "ports" in service}
    assert ports == {
        "monitor": ["127.0.0.1:${VOLDESK_WEB_PORT:-8420}:8420"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }
    assert [name for name, service in written(LIVE)["services"].items() if "ports" in service] == []
    modes = [service.get("network_mode") for service in written(PAPER)["services"].values()]
    assert "host" not in modes


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_alone_bounded_and_without_rights_and_says_how_it_is(name: str) -> None:
    service = written(PAPER)["services"][name]
    assert service["command"] == ["python", "-m", f"services.{name}"]
    assert service["healthcheck"]["test"] == ["CMD", "voldesk", "healthcheck", name]
    assert (service["read_only"], service["user"], service["cap_drop"]) == (True, "10001:10001", ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert {"mem_limit", "cpus", "pids_limit", "stop_grace_period"} <= service.keys()
    assert service["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_sees_its_own_key_of_the_bus_and_the_list_and_can_change_neither(name: str) -> None:
    mounts = mounts_of(written(PAPER)["services"][name])
    keys = {volume: how for volume, how in mounts.items() if "key" in volume}
    assert keys == {"keys-allowed": "ro", f"key-{name}": "ro"}
    assert mounts["./voldesk.toml"] == mounts["./strategies"] == "ro"


def test_the_host_of_a_group_is_the_strategy_container_under_its_own_name() -> None:
    host = written(PAPER)["services"]["strategy"]
    named = written(GROUPS)["services"]["strategy-fast"]
    assert named.pop("command") == [*host["command"], "--group", "fast"]
    assert named.pop("networks") == {"bus": {"aliases": ["strategy-fast.bus"]}}
    assert named["healthcheck"].pop("test") == ["CMD", "voldesk", "healthcheck", "strategy-fast"]
    same = {key: value for key, value in host.items() if key not in ("command", "networks")}
    del same["healthcheck"]["test"]
    assert named == same


def test_setup_and_control_hold_every_key_and_setup_has_no_network() -> None:
    services = written(PAPER)["services"]
    for name in ("setup", "control"):
        keys = {volume for volume in mounts_of(services[name]) if "key" in volume}
        assert keys == {"keys-allowed", *(f"key-{each}" for each in KEY_NAMES)}
    assert services["setup"]["network_mode"] == "none"
    assert services["setup"]["command"] == ["voldesk", "prepare"]
    assert set(written(PAPER)["volumes"]) >= {f"key-{each}" for each in KEY_NAMES}


def test_each_is_on_the_networks_that_it_needs_under_the_names_that_the_configuration_looks_for(
    tmp_path: Path,
) -> None:
    services = written(PAPER)["services"]
    overlay = ROOT / "deploy" / "compose" / "containers.toml"
    desk = load_config(ROOT / "voldesk.toml", {"VOLDESK_OVERLAY": str(overlay), "VOLDESK_RUN_DIR": str(tmp_path)})
    for name in SERVICES:
        networks = services[name]["networks"]
        aliases = {alias for network in networks.values() for alias in network.get("aliases", ())}
        assert desk.bus.peer_host.replace("{service}", name) in aliases
        assert desk.host.metrics.replace("{service}", name) in aliases
        assert ("venue" in networks) == (name in (*KEYED_SERVICES, "exchange")), name
    assert desk.host.exchange in services["exchange"]["networks"]["venue"]["aliases"]
    assert [name for name in services if "web" in services[name].get("networks", {})] == ["monitor", *OBSERVERS]
    assert [name for name, network in written(PAPER)["networks"].items() if network.get("internal")] == ["bus"]
    assert {port for name, port in desk.ports.items() if name.startswith("metrics-")} == set(range(9101, 9108))
    assert 0 not in [desk.ports[name] for name in PORT_NAMES]


def test_every_variable_of_compose_stands_in_the_example_and_no_other_of_compose_does() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / PAPER).read_text() + (ROOT / LIVE).read_text()))
    example = (ROOT / ".env.example").read_text()
    named = set(re.findall(r"^# (\w+)=", example, re.MULTILINE))
    assert used <= named
    containers = set(re.findall(r"^# (\w+)=", example.partition("# Containers")[2], re.MULTILINE))
    assert containers - {"COMPOSE_FILE", "COMPOSE_PROFILES"} == used - {*BESIDE_EXAMPLE}


def test_the_image_is_pinned_by_hashes_runs_as_nobody_in_particular_and_ends_on_sigterm() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == 2
    assert "--require-hashes -r requirements.lock" in text
    last = text.rpartition("FROM ")[2]
    assert "USER voldesk\nSTOPSIGNAL SIGTERM\n" in last
    assert "--uid 10001 --gid 10001" in last
    made = re.search(r"for name in ([\w ]+); do", last)
    assert made is not None
    assert set(made[1].split()) == {"allowed", *KEY_NAMES}


def test_every_extra_can_be_built_into_the_image_from_its_lock_with_hashes() -> None:
    text = (ROOT / "Dockerfile").read_text()
    extras = {path.name[13:-5] for path in ROOT.glob("requirements-*.lock")} - {"dev"}
    assert {"telegram", "notify", "parquet"} <= extras
    admitted = (ROOT / ".dockerignore").read_text().splitlines()
    for extra in extras:
        assert f"!requirements-{extra}.lock" in admitted
        assert f"requirements-{extra}.lock" in text
    assert re.search(r'ARG EXTRAS=""\n(?:.|\n)*--require-hashes \\\n *-r "requirements-\$extra.lock"', text)
    services = [service for file in (PAPER, GROUPS) for service in written(file)["services"].values()]
    built = [service for service in services if service["image"].startswith("${VOLDESK_IMAGE")]
    assert len(built) == len(("setup", "control", *SERVICES, "strategy-fast"))
    for service in built:
        assert service["build"] == {"context": ".", "args": {"EXTRAS": "${VOLDESK_EXTRAS:-}"}}


def test_prometheus_in_a_container_takes_the_rules_of_the_other_and_finds_its_alertmanager() -> None:
    beside, alone = (
        yaml.safe_load((ROOT / "deploy" / path / "prometheus.yml").read_text()) for path in ("compose", "prometheus")
    )
    folder = ROOT / "deploy" / "compose"
    rules = {(folder / name).resolve() for name in beside["rule_files"]}
    assert rules == {(ROOT / "deploy" / "prometheus" / name).resolve() for name in alone["rule_files"]}
    assert all(path.is_file() for path in rules)
    targets = beside["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert targets == ["alertmanager:9093"]
    assert "alertmanager" in written(PAPER)["services"]
