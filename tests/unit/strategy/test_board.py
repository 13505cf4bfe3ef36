"""What the host knows of its surroundings: chains only with their list, and nobody else's account."""

from __future__ import annotations

import msgspec

from shared.messages.control import GrantRefused, Halt
from tests.unit.strategy.dialogue import LISTED, Dialogue
from tests.unit.strategy.making import NOON, account, instruments, listing, snapshot
from tests.unit.strategy.test_host_entry import straddler


def test_a_chain_before_its_list_is_read_when_the_list_comes() -> None:
    desk = Dialogue(straddler())
    desk.hear(snapshot(LISTED, NOON), "marketdata")
    desk.synced()
    desk.beat()
    assert desk.gate("legs").reason == "waiting: no option chain of BTCUSD yet"
    desk.hear(listing(LISTED), "marketdata")
    desk.wait(1, fresh=False)
    assert desk.gate("legs").open


def test_a_list_that_is_not_the_chains_leaves_it_unread() -> None:
    desk = Dialogue(straddler())
    desk.hear(snapshot(LISTED, NOON), "marketdata")
    desk.hear(listing(instruments(days=(1,))), "marketdata")
    desk.wait(1, fresh=False)
    assert not desk.gate("legs").open


def test_a_matrix_of_the_wrong_size_is_ignored() -> None:
    desk = Dialogue(straddler())
    desk.hear(listing(LISTED), "marketdata")
    desk.hear(msgspec.structs.replace(snapshot(LISTED, NOON), matrix=b"\0" * 8), "marketdata")
    assert desk.core.ignored == {"ChainSnapshot of another account or not readable": 1}


def test_many_lists_are_not_kept_for_ever() -> None:
    desk = Dialogue(straddler())
    first = instruments(days=(1,), strikes=(1_000,))
    desk.hear(listing(first), "marketdata")
    for strike in range(2_000, 20_000, 1_000):
        desk.hear(listing(instruments(days=(1,), strikes=(strike,))), "marketdata")
    desk.hear(snapshot(first, NOON), "marketdata")
    assert desk.core.ignored == {"ChainSnapshot of another account or not readable": 1}


def test_account_and_halts_of_another_account_are_not_ours() -> None:
    desk = Dialogue(straddler())
    desk.hear(msgspec.structs.replace(account(), account_id="other"), "risk")
    halt = Halt(level="flatten", reason="theirs", raised_by="them", raised_ns=NOON)
    desk.halt(halt, account_id="other")
    assert desk.gate("halts").open
    assert sum(desk.core.ignored.values()) == 2


def test_messages_that_no_strategy_needs_are_counted() -> None:
    desk = Dialogue(straddler())
    refused = GrantRefused(intent_id="other-1", strategy="other", code="no", detail="no")
    desk.hear(refused, "risk")
    assert desk.core.ignored == {"GrantRefused is not used": 1}
