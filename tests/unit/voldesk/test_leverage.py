"""What `voldesk leverage` asks of the operator and of the desk."""

from __future__ import annotations

import json

import pytest

from shared.messages.base import Message
from shared.messages.leverage import ChangeLeverage, GetLeverage, LeverageChanged, LeverageList, LeverageStatus
from tests.unit.voldesk.peers import Peers, Ran

READ_NS = 1_763_640_000_000_000_000


def execution(message: Message) -> Message:
    match message:
        case GetLeverage(symbols=symbols):
            found = [LeverageStatus(symbol=each, leverage=10, configured=None, read_ns=READ_NS) for each in symbols]
            return LeverageList(account_id="paper", leverages=tuple(found))
        case ChangeLeverage(symbol=symbol, leverage=leverage):
            return LeverageChanged(symbol=symbol, leverage=leverage)
    raise AssertionError(message)


def changes(peers: Peers) -> list[ChangeLeverage]:
    return [message for message in peers.asked if isinstance(message, ChangeLeverage)]


def test_it_shows_what_the_venue_says(peers: Peers) -> None:
    peers.answer("execution", execution)
    assert "10" in Ran("leverage", "btcusd").out
    (row,) = json.loads(Ran("leverage", "BTCUSD", "--json").out)
    assert (row["symbol"], row["leverage"], row["configured"], row["read_at"][:10]) == (
        "BTCUSD",
        10,
        None,
        "2025-11-20",
    )
    assert changes(peers) == []
    assert "none is configured" in Ran("leverage").out


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_set(peers: Peers, answer: str) -> None:
    peers.answer("execution", execution)
    ran = Ran("leverage", "BTCUSD", "5", answer=answer)
    assert ran.code == 1
    assert "set the leverage of BTCUSD to 5?" in ran.err
    assert changes(peers) == []


def test_a_yes_sets_it_and_says_who_asked(peers: Peers) -> None:
    peers.answer("execution", execution)
    ran = Ran("leverage", "btcusd", "5", answer="y\n")
    assert ran.code == 0
    assert "BTCUSD has the leverage 5" in ran.out
    (asked,) = changes(peers)
    assert (asked.symbol, asked.leverage) == ("BTCUSD", 5)
    assert asked.requested_by.startswith("cli")
    assert json.loads(Ran("leverage", "BTCUSD", "3", "--yes", "--json").out) == {"symbol": "BTCUSD", "leverage": 3}


def test_what_cannot_be_read_is_said_and_ends_so(peers: Peers) -> None:
    status = LeverageStatus(symbol="BTCUSD", leverage=None, configured=5, read_ns=READ_NS, detail="down: away")
    peers.answer("execution", lambda _: LeverageList(account_id="paper", leverages=(status,)))
    ran = Ran("leverage", "BTCUSD")
    assert ran.code == 69
    assert "down: away" in ran.err
