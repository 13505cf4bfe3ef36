"""voldesk keys and healthcheck: who may talk on the bus is shown and changed, and one service is asked as itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.bus.keys import KEY_NAMES, ensure_keys, read_list
from shared.config import load_config
from shared.messages.base import Message
from tests.unit.voldesk.conftest import CONFIG
from tests.unit.voldesk.peers import Peers, Ran
from voldesk.preflight import check_keys


def nothing(_message: Message) -> None:
    return None


@pytest.fixture
def keys(home: Path) -> Path:
    """The keys directory of a desk over tcp, whose keys its start has drawn."""
    (home / "voldesk.toml").write_text(f'{CONFIG}[bus]\ntransport = "tcp"\ncurve = true\n')
    check_keys(load_config())
    return home / "run" / "keys"


def test_a_start_draws_a_key_for_everybody_and_the_next_one_keeps_them(keys: Path) -> None:
    first = read_list(keys)
    assert set(first) == set(KEY_NAMES)
    check_keys(load_config())
    assert read_list(keys) == first


def test_the_list_is_shown_without_any_secret(keys: Path) -> None:
    table, told = Ran("keys"), json.loads(Ran("keys", "--json").out)
    assert (table.code, "paper · account acc1" in table.out, "operator" in table.out) == (0, True, True)
    assert told["in_use"]
    assert {row["name"]: row["public_key"] for row in told["keys"]} == {
        name: entry.public_key for name, entry in read_list(keys).items()
    }
    secrets = [(keys / name / "secret").read_text().strip() for name in KEY_NAMES]
    assert not [secret for secret in secrets if secret in table.out + json.dumps(told)]


def test_a_desk_whose_bus_needs_no_keys_says_so(home: Path) -> None:
    done = Ran("keys")
    assert (done.code, "the bus uses no keys" in done.out) == (0, True)


def test_a_key_is_rotated_and_revoked_by_name(keys: Path) -> None:
    before = read_list(keys)["strategy"].public_key
    assert json.loads(Ran("keys", "rotate", "strategy", "--json").out)["rotated"] == 1
    assert read_list(keys)["strategy"].previous == (before,)
    refused = Ran("keys", "revoke", "strategy", answer="n\n")
    assert (refused.code, read_list(keys)["strategy"].revoked) == (1, False)
    assert json.loads(Ran("keys", "revoke", "strategy", "--yes", "--json").out)["taken_by"] == []
    assert read_list(keys)["strategy"].revoked
    assert Ran("keys", "rotate", "strategy").code == 0
    assert not read_list(keys)["strategy"].revoked
    unknown = Ran("keys", "rotate", "stranger")
    assert (unknown.code, "use one of: marketdata" in unknown.err) == (2, True)


def test_a_service_that_answers_is_healthy_and_one_that_does_not_is_not(peers: Peers) -> None:
    peers.answer("risk", nothing)
    alive = Ran("healthcheck", "risk", "--timeout", "60", "--json")
    told = json.loads(alive.out)
    assert (alive.code, told["service"], told["alive"], told["ready"]) == (0, "risk", True, True)
    assert "risk is alive and ready" in Ran("healthcheck", "risk", "--timeout", "60", "--ready").out
    away = Ran("healthcheck", "execution", "--timeout", "0.2")
    assert (away.code, "execution did not answer" in away.err) == (69, True)
    assert Ran("healthcheck", "riks").code == 2


def test_the_operator_is_told_that_a_service_refuses_its_key(keys: Path) -> None:
    ensure_keys(keys, 1)
    with Peers() as peers:
        peers.answer("execution", nothing)
        assert Ran("healthcheck", "execution", "--timeout", "60").code == 0
        assert Ran("keys", "revoke", "operator", "--yes").code == 0
        done = Ran("trades")
        assert (done.code, "execution refuses the key" in done.err) == (69, True)
        assert Ran("keys", "rotate", "operator").code == 0
