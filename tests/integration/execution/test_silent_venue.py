"""Execution beside a venue that takes connections and never answers: the operator is answered all the same."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.bus import Bus
from shared.messages.system import GetStatus, Heartbeat
from shared.ports import resolve_ports
from shared.secrets import ensure_grant_key, ensure_paper_secrets
from tests.integration.execution.test_full_disk import Execution, halted
from tests.unit.shared.samples import MINIMAL, write_desk


@pytest.fixture
def execution(tmp_path: Path) -> Iterator[Execution]:
    desk = write_desk(tmp_path, f"{MINIMAL}run_dir = '{tmp_path}/d'\n[journal]\nreserve_mb = 1\n")
    ensure_paper_secrets(desk.run_dir)
    ensure_grant_key(desk.run_dir)
    execution = Execution(desk)
    with socket.create_server(("127.0.0.1", resolve_ports(desk.run_dir, desk.ports)["exchange"])):
        yield execution
        execution.kill()


async def test_a_halt_is_taken_while_the_venue_has_said_nothing_yet(execution: Execution) -> None:
    execution.start()
    async with Bus.client(execution.desk) as bus:
        assert [halt.reason for halt in (await halted(bus, "drill")).halts] == ["drill"]
        status = await bus.ask("execution", GetStatus(), 60_000)
    assert isinstance(status, Heartbeat)
    assert (status.ready, status.detail) == (False, "the venue does not answer yet")
    assert not execution.said("the venue cannot be asked about the key yet"), "it was answered only after that"
