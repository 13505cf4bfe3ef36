"""Ports that a desk draws: kept in its run directory, and nobody else's."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import StartRefused
from shared.ports import resolve_ports

NAMES = dict.fromkeys(("exchange", "web", "metrics-execution"), 0)


@pytest.fixture(autouse=True)
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of ports drawn lately, in a directory for temporary files of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"voldesk-ports-{os.getuid()}.json"


def test_a_desk_keeps_the_ports_that_it_drew(tmp_path: Path) -> None:
    ports = resolve_ports(tmp_path / "a", NAMES)
    assert len(set(ports.values())) == len(NAMES)
    assert resolve_ports(tmp_path / "a", NAMES) == ports
    assert resolve_ports(tmp_path / "a", {**NAMES, "web": 8_080}) == {**ports, "web": 8_080}


def test_desks_that_start_at_once_draw_different_ports_though_none_listens_yet(tmp_path: Path) -> None:
    # so many that some of their first choices are the same
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: resolve_ports(tmp_path / f"{number}", NAMES), range(300)))
    ports = [port for each in found for port in each.values()]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[1]", b'{"x": "y", "20000": "z", "-5": 1}'])
def test_a_damaged_list_of_drawn_ports_is_written_anew(tmp_path: Path, drawn: Path, damage: bytes) -> None:
    drawn.write_bytes(damage)
    assert set(resolve_ports(tmp_path / "a", NAMES)) == set(NAMES)
    assert b"exchange" not in drawn.read_bytes()


def test_ports_are_drawn_where_no_list_of_them_can_be_kept(tmp_path: Path, drawn: Path) -> None:
    drawn.symlink_to(tmp_path / "elsewhere")
    assert set(resolve_ports(tmp_path / "a", NAMES)) == set(NAMES)
    assert not (tmp_path / "elsewhere").exists()


def test_one_port_for_two_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="one port to two names"):
        resolve_ports(tmp_path / "a", {"exchange": 8_080, "web": 8_080})
