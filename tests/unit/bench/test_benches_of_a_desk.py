"""Benches that start a desk of real processes run in their quick form, and give every figure that they name."""

from __future__ import annotations

import json

import pytest

from bench.intent import KINDS
from bench.rows import Row, from_json
from tests.unit.bench.test_benches import python_m

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def quick(name: str, *arguments: str) -> dict[str, Row]:
    done = python_m(f"bench.{name}", "--json", "--quick", *arguments, timeout_s=540)
    assert done.returncode == 0, done.stderr
    return {one.name.strip(): one for one in from_json(json.loads(done.stdout))}


def test_intents_of_every_mode_reach_the_exchange() -> None:
    rows = quick("intent")
    for kind in KINDS:
        assert rows[f"{kind.name}, p50"].ratio
    assert rows["journal, the commit, p50"].value


@pytest.mark.parametrize("kind", ["singles", "batches"])
def test_calls_at_the_venues_limits_reach_the_exchange(kind: str) -> None:
    rows = list(quick("venue_limits", "--only", kind).values())
    assert rows[0].value
    assert "orders a second" in rows[0].note
    assert rows[1].unit == "% of one core"


def test_orders_without_limits_reach_the_exchange() -> None:
    for one in quick("ceiling").values():
        assert one.value
        assert one.beside_value
        assert "execution" in one.note


def test_orders_whose_answer_was_lost_become_known() -> None:
    rows = quick("unknown")
    assert rows["unknown → resolved, p99"].met
