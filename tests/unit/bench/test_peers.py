"""What the peers need is pinned with hashes, and a missing peer is told, not fatal."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path

from bench import options, peers
from bench.harness import Run
from bench.peers import PeerMissing
from bench.workers import Worker

ROOT = Path(__file__).parents[3]


def test_the_lock_pins_every_peer_as_it_is_asked_for_with_hashes() -> None:
    asked = [line for line in (ROOT / "bench/peers.in").read_text().splitlines() if line and not line.startswith("#")]
    lock = peers.LOCK.read_text()
    entries = re.findall(
        r"^(\S+==\S+)(?: ;[^\\\n]*)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", lock, re.MULTILINE
    )
    assert set(asked) <= set(entries)
    assert len(entries) == len(re.findall(r"^\S+==", lock, re.MULTILINE))


def test_without_its_peer_a_bench_gives_its_own_figures_and_no_verdict() -> None:
    def missing() -> Worker:
        raise PeerMissing("no network")

    rows = options.measure(Run(quick=True, arguments=Namespace()), missing, options=2_000)
    judged = [one for one in rows if one.target]
    assert [one.verdict for one in judged] == ["not measured", "not measured"]
    assert all(one.value and "no network" in one.beside for one in judged)
