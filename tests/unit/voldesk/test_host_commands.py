"""The command line with several strategy hosts: it finds the one that it needs, and lives with one that is away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shared.messages.base import Message
from shared.messages.control import StrategyCommand, StrategyCommandDone, StrategyList, StrategyStatus
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import STRATEGY

GROUP = '[strategy]\nenabled = ["demo_strangle", "grid"]\n[strategy.instances.grid]\ngroup = "fast"\n'
GRID = msgspec.structs.replace(STRATEGY, strategy="grid", exits=())


@pytest.fixture
def grouped(home: Path) -> Iterator[Peers]:
    (home / "voldesk.toml").write_text((home / "voldesk.toml").read_text() + GROUP)
    with Peers() as running:
        yield running


def host(peers: Peers, service: str, shows: StrategyStatus) -> list[Message]:
    """Start a host that shows this strategy; what it is asked."""
    asked: list[Message] = []

    def answer(message: Message) -> Message:
        asked.append(message)
        if isinstance(message, StrategyCommand):
            return StrategyCommandDone(strategies=(shows.strategy,))
        return StrategyList(strategies=(shows,))

    peers.answer(service, answer)
    return asked


def test_strategies_of_all_hosts_are_one_list_that_names_each_one_s_host(grouped: Peers) -> None:
    host(grouped, "strategy", STRATEGY)
    host(grouped, "strategy-fast", GRID)
    assert [row["strategy"] for row in json.loads(Ran("strategies", "--json").out)] == ["demo_strangle", "grid"]
    assert "strategy-fast" in Ran("strategies").out
    assert json.loads(Ran("why", "grid", "--json").out)["strategy"] == "grid"


def test_a_command_goes_to_the_host_of_its_strategy_alone_and_one_for_all_to_every_host(grouped: Peers) -> None:
    default, fast = host(grouped, "strategy", STRATEGY), host(grouped, "strategy-fast", GRID)
    assert json.loads(Ran("strategies", "pause", "grid", "--json").out)["strategies"] == ["grid"]
    assert (len(default), len(fast)) == (0, 1)
    told = json.loads(Ran("strategies", "resume", "*", "--json").out)
    assert told["strategies"] == ["demo_strangle", "grid"]
    assert (len(default), len(fast)) == (1, 2)


def test_a_host_that_is_away_hides_only_its_own_and_a_command_for_all_is_not_called_done(grouped: Peers) -> None:
    host(grouped, "strategy", STRATEGY)
    listed = Ran("strategies", "--json")
    assert [row["strategy"] for row in json.loads(listed.out)] == ["demo_strangle"]
    assert "strategy-fast does not answer: what it runs is not shown" in listed.err
    told = Ran("strategies", "pause", "*")
    assert told.code == 69
    assert "strategy-fast does not answer; the other hosts did it" in told.err
