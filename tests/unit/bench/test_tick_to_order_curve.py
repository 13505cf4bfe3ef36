"""The desk over TCP and CURVE stands beside the one over ipc, hop by hop, and so do the bare chains."""

from __future__ import annotations

import socket
from pathlib import Path

from bench.bare_chain import ROLES
from bench.tick_to_order import CONFIG, HOPS, Way
from bench.tick_to_order_curve import BARE_SOCKETS, figures, free_ports, tcp_and_curve
from shared.bus.endpoints import Endpoints
from shared.config import SERVICE_NAMES, load_config


def way(hop_us: int) -> Way:
    return Way(*(number * hop_us * 1_000 for number in range(len(HOPS) + 1)))


def test_each_line_has_both_transports() -> None:
    rows = figures([way(30)] * 3, [way(20)] * 2, [way(12)] * 3, [way(10)])
    assert [(one.value, one.beside_value) for one in rows[:2]] == [(150.0, 100.0)] * 2
    assert [(one.value, one.beside_value) for one in rows[2 : 2 + len(HOPS)]] == [(30.0, 20.0)] * len(HOPS)
    assert [(one.value, one.beside_value) for one in rows[2 + len(HOPS) :]] == [
        (150.0, 60.0),
        (60.0, 50.0),
        (60.0, 50.0),
    ]
    assert rows[0].note == "3 orders, 2 over ipc; bare 3 and 1"


def test_the_desk_and_the_bare_chain_get_ports_and_keys_of_their_own(tmp_path: Path) -> None:
    transport = tcp_and_curve()
    (tmp_path / "voldesk.toml").write_text(CONFIG + transport.desk)
    desk = load_config(tmp_path / "voldesk.toml", {})
    assert Endpoints(desk.run_dir, desk.bus).needs_keys
    desk_ports = set(range(desk.bus.base_port, desk.bus.base_port + 2 * len(SERVICE_NAMES)))
    assert not desk_ports & set(transport.bare_ports.values())
    assert (
        set(transport.bare_ports) == set(BARE_SOCKETS) == {"ticks", *ROLES} - {"exchange", "marketdata", "strategy"}
    )
    assert transport.bare_curve is not None


def test_ports_that_are_taken_are_left_out() -> None:
    first = free_ports(10)
    with socket.create_server(("127.0.0.1", first + 3)):
        assert free_ports(10) != first
