"""[host] and the file laid over the configuration: what is so because each service has a container of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.monitor.web.config import WebConfig
from shared.bus.endpoints import Endpoints
from shared.config import SERVICE_NAMES, BusSection, ConfigError, HostSection, load_config
from tests.unit.shared.samples import MINIMAL, write_desk

CONTAINERS = Path(__file__).parents[3] / "deploy" / "compose" / "containers.toml"


def test_without_a_word_everything_is_on_loopback_of_one_host(tmp_path: Path) -> None:
    assert write_desk(tmp_path).host == HostSection(
        supervisor="supervisord", listen="127.0.0.1", exchange="127.0.0.1", metrics="127.0.0.1"
    )


def test_the_shipped_overlay_changes_what_containers_need_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "voldesk.toml"
    path.write_text(MINIMAL + "[bus]\nresend_ms = 250\n[monitor.web]\nhistory_points = 100\n")
    plain = load_config(path, {})
    desk = load_config(path, {"VOLDESK_OVERLAY": str(CONTAINERS)})
    assert desk.host == HostSection(
        supervisor="containers", listen="0.0.0.0", exchange="exchange.venue", metrics="{service}.bus"
    )
    assert (desk.bus.transport, desk.bus.curve, desk.bus.resend_ms) == ("tcp", True, 250)
    assert (desk.name, desk.account_id, desk.run_dir) == (plain.name, plain.account_id, plain.run_dir)
    assert desk.raw["monitor"]["web"]["history_points"] == 100
    assert desk.raw["monitor"]["web"]["host"] == "0.0.0.0"


def test_each_service_binds_everywhere_in_its_container_and_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "voldesk.toml").write_text(MINIMAL)
    desk = load_config(tmp_path / "voldesk.toml", {"VOLDESK_OVERLAY": str(CONTAINERS)})
    endpoints = Endpoints(desk.run_dir, desk.bus)
    assert endpoints.needs_keys
    found = [address(name) for name in SERVICE_NAMES for address in (endpoints.events, endpoints.requests)]
    bound = [
        address(name) for name in SERVICE_NAMES for address in (endpoints.bound_events, endpoints.bound_requests)
    ]
    assert len(set(found)) == len(set(bound)) == 2 * len(SERVICE_NAMES)
    assert {address.rpartition(":")[0] for address in bound} == {"tcp://0.0.0.0"}
    assert [address.rpartition(":")[0] for address in found[::2]] == [f"tcp://{name}.bus" for name in SERVICE_NAMES]
    assert [address.rpartition(":")[2] for address in found] == [address.rpartition(":")[2] for address in bound]


@pytest.mark.parametrize("listen", ["0.0.0.0", "192.168.1.5", "::"])
def test_metrics_open_to_other_machines_are_refused_outside_containers(tmp_path: Path, listen: str) -> None:
    with pytest.raises(ConfigError, match="open to other machines") as refused:
        write_desk(tmp_path, f'{MINIMAL}[host]\nlisten = "{listen}"\n')
    assert "127.0.0.1" in refused.value.remedy
    assert write_desk(tmp_path, f'{MINIMAL}[host]\nsupervisor = "containers"\nlisten = "{listen}"\n').host.listen


def test_an_unknown_supervisor_and_an_unknown_key_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="systemd"):
        write_desk(tmp_path, f'{MINIMAL}[host]\nsupervisor = "systemd"\n')
    with pytest.raises(ConfigError, match="lissen"):
        write_desk(tmp_path, f'{MINIMAL}[host]\nlissen = "127.0.0.1"\n')


def test_an_overlay_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "voldesk.toml").write_text(MINIMAL)
    with pytest.raises(ConfigError, match=r"away\.toml: no such file"):
        load_config(tmp_path / "voldesk.toml", {"VOLDESK_OVERLAY": str(tmp_path / "away.toml")})


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.7"])
def test_tcp_beyond_loopback_needs_keys(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="tcp without CURVE keys is open to all"):
        Endpoints(tmp_path, BusSection(transport="tcp", host=host))
    assert Endpoints(tmp_path, BusSection(transport="tcp", host=host, curve=True)).needs_keys
    with pytest.raises(ConfigError, match="tcp without CURVE keys is open to all"):
        Endpoints(tmp_path, BusSection(transport="tcp", peer_host="{service}.bus"))


def test_the_dashboard_beyond_loopback_needs_tls_unless_a_container_publishes_it_on_loopback() -> None:
    with pytest.raises(ValueError, match="passwords would cross the network in clear"):
        WebConfig(host="0.0.0.0")
    published = WebConfig(host="0.0.0.0", published_on_loopback=True)
    assert not published.needs_https
