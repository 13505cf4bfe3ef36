"""What a direct flatten leaves behind when it cannot reach the venue."""

from __future__ import annotations

import json

from shared.config import load_config
from shared.latch import read_latches
from shared.ports import resolve_ports
from shared.secrets import ensure_paper_secrets
from tests.unit.voldesk.peers import Peers, Ran


def test_the_halt_is_on_disk_before_the_venue_is_asked_and_stays_when_it_is_away(peers: Peers) -> None:
    desk = load_config()
    ensure_paper_secrets(desk.run_dir, desk.account_id)
    resolve_ports(desk.run_dir, desk.ports)
    ran = Ran("flatten", "--direct", "--yes", "--timeout", "1", "--reason", "host lost")
    assert ran.code in (1, 69)
    (latch,) = read_latches(desk.run_dir)
    assert (latch.raised_by, latch.reason) == ("flatten --direct", "host lost")
    steps = [json.loads(line)["step"] for line in (desk.run_dir / "flatten-direct.jsonl").read_text().splitlines()]
    assert steps[0] == "latched"
    assert "HALT flatten by flatten --direct waits for execution: host lost" in Ran("status").out
