"""What `voldesk reconcile` and `voldesk status` say of differences, with real peers on the bus."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec

from shared.messages.base import Message
from shared.messages.reconciliation import (
    DifferenceList,
    ForeignPosition,
    FoundDifference,
    ListDifferences,
    MissedFill,
)
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import CALL, OPENED_NS, PUT

FOREIGN = FoundDifference(
    difference=ForeignPosition(
        symbol=PUT,
        done="left_alone",
        detail="the venue holds 3, our trades hold 0",
        quantity=Decimal(3),
        held_quantity=Decimal(0),
        average_price=Decimal("812.5"),
    ),
    found_ns=OPENED_NS,
    trigger="confirm",
)
MISSED = FoundDifference(
    difference=MissedFill(
        symbol=CALL,
        done="taken_over",
        detail="the venue's trade 7 came by no stream",
        trade_id="t59495869",
        client_order_id=1,
        venue_trade_id=7,
        quantity=Decimal("0.10"),
        price=Decimal(1122),
    ),
    found_ns=OPENED_NS - 60_000_000_000,
    trigger="stream_up",
)
FOUND = DifferenceList(differences=(FOREIGN, MISSED), at_ns=OPENED_NS, compared_ns=OPENED_NS, unconfirmed=())


def test_differences_are_listed_with_what_was_done_and_what_stands(peers: Peers) -> None:
    peers.answer("execution", lambda _: FOUND)
    ran = Ran("reconcile")
    assert ran.code == 0
    words = " ".join(ran.out.split())
    for expected in ("foreign position", "left alone", "stands", "missed fill", "taken over", "voldesk adopt SYMBOL"):
        assert expected in words
    assert peers.asked == [ListDifferences()]


def test_without_a_difference_it_says_so_and_when_it_looked(peers: Peers) -> None:
    peers.answer("execution", lambda _: msgspec.structs.replace(FOUND, differences=()))
    assert (
        "no difference between the venue and the journal is known; last compared 11-20 14:37:54"
        in Ran("reconcile").out
    )


def test_differences_as_json_have_the_fixed_keys(peers: Peers) -> None:
    peers.answer("execution", lambda _: FOUND)
    shown = json.loads(Ran("reconcile", "--json").out)
    assert list(shown) == ["compared_at", "unconfirmed", "differences"]
    assert shown["differences"][1] == {
        "kind": "missed_fill",
        "symbol": CALL,
        "trade_id": "t59495869",
        "qty": "0.10",
        "detail": "the venue's trade 7 came by no stream",
        "done": "taken_over",
        "trigger": "stream_up",
        "found_at": "2026-11-20T14:36:54.114Z",
        "stands": False,
        "ended_at": None,
    }


def test_now_waits_until_the_venue_was_compared_after_it_was_asked_and_no_position_is_looked_at_again(
    peers: Peers,
) -> None:
    answers = [
        msgspec.structs.replace(FOUND, compared_ns=OPENED_NS - 1),
        msgspec.structs.replace(FOUND, compared_ns=OPENED_NS, unconfirmed=(PUT,)),
        msgspec.structs.replace(FOUND, compared_ns=OPENED_NS + 2, differences=()),
    ]

    def execution(message: Message) -> Message:
        return answers.pop(0)

    peers.answer("execution", execution)
    shown = json.loads(Ran("reconcile", "--now", "--json").out)
    assert shown["differences"] == []
    assert answers == []
    assert peers.asked[0] == ListDifferences(compare=True)
