"""Why a strategy opens nothing and why its trades stay open, as the command line tells it."""

from __future__ import annotations

import json

import msgspec
import pytest

from shared.messages.base import Message
from shared.messages.control import Gate, StrategyList, StrategyStatus
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import OPENED_NS, STRATEGY


def telling(peers: Peers, status: StrategyStatus) -> None:
    def answer(message: Message) -> Message:
        return StrategyList(strategies=(status,))

    peers.answer("strategy", answer)


def test_each_gate_is_shown_with_its_reason_and_since_when(peers: Peers) -> None:
    telling(peers, STRATEGY)
    ran = Ran("why", "demo_strangle")
    assert ran.code == 0
    rows = {line.split()[0]: line for line in ran.out.splitlines() if line.strip()}
    assert " open " in rows["state"]
    assert " CLOSED " in rows["cooldown"]
    assert "11-20 14:37:54  12 s of 15 s" in rows["cooldown"]
    assert "demo_strangle is running and opens nothing: cooldown" in ran.out
    assert " hold " in rows["max_hold"]
    assert "open for 1.0 h of 5.0 h" in rows["max_hold"]
    assert "execution closes it by itself at 11-20 19:37:54 UTC" in ran.out
    assert max(len(line.rstrip()) for line in ran.out.splitlines()) <= 80


def test_a_strategy_with_every_gate_open_is_said_to_open(peers: Peers) -> None:
    gates = (Gate(name="state", open=True, reason="running [sic]", since_ns=OPENED_NS),)
    telling(peers, msgspec.structs.replace(STRATEGY, gates=gates, exits=()))
    ran = Ran("why", "demo_strangle")
    assert "opens at its next look: every gate is open" in ran.out
    assert "running [sic]" in ran.out
    assert "exits of" not in ran.out


def test_a_strategy_that_did_not_load_says_why(peers: Peers) -> None:
    telling(peers, msgspec.structs.replace(STRATEGY, state="failed", reason="a.py:3: no colon", gates=(), exits=()))
    assert Ran("why", "demo_strangle").out == "demo_strangle is failed: a.py:3: no colon\n"


@pytest.mark.parametrize("closing", ["", "P&L 5 USD, target 5 USD"])
def test_json_has_every_gate_and_exit(peers: Peers, closing: str) -> None:
    exits = tuple(msgspec.structs.replace(trade, closing=closing) for trade in STRATEGY.exits)
    telling(peers, msgspec.structs.replace(STRATEGY, exits=exits))
    told = json.loads(Ran("why", "demo_strangle", "--json").out)
    assert told["gates"][1] == {
        "name": "cooldown",
        "open": False,
        "reason": "12 s of 15 s",
        "since": "2026-11-20T14:37:54.114Z",
    }
    (trade,) = told["exits"]
    assert (trade["trade_id"], trade["closing"]) == ("t59495869", closing or None)
    assert trade["conditions"][0]["name"] == "max_hold"


def test_an_unknown_strategy_is_refused_with_those_that_are_there(peers: Peers) -> None:
    telling(peers, STRATEGY)
    ran = Ran("why", "demo")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "voldesk: there is no strategy 'demo'; use one of: demo_strangle\n"
