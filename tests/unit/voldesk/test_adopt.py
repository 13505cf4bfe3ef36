"""What `voldesk adopt` asks of the operator and of the desk."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from shared.messages.base import Message
from shared.messages.reconciliation import AdoptPosition, ListDifferences, PositionAdopted
from shared.messages.trades import Refusal
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import PUT
from tests.unit.voldesk.test_reconcile import FOUND
from voldesk.completion import complete_foreign_symbol

ADOPT = ["adopt", PUT, "--strategy", "hedge"]


def execution(message: Message) -> Message:
    match message:
        case ListDifferences():
            return FOUND
        case AdoptPosition(quantity=quantity):
            return PositionAdopted(
                trade_id="t7",
                symbol=PUT,
                side="buy",
                quantity=Decimal(3) if quantity is None else quantity,
                entry_price=Decimal("812.5"),
            )
    raise AssertionError(message)


def adopted(peers: Peers) -> list[AdoptPosition]:
    return [message for message in peers.asked if isinstance(message, AdoptPosition)]


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_adopted_and_the_question_says_what_the_venue_holds(
    peers: Peers, answer: str
) -> None:
    peers.answer("execution", execution)
    ran = Ran(*ADOPT, answer=answer)
    assert ran.code == 1
    assert f"adopt all of {PUT} (the venue holds 3 at 812.5) for hedge?" in ran.err
    assert adopted(peers) == []


def test_a_yes_adopts_after_a_fresh_comparison_and_says_how_it_is_closed(peers: Peers) -> None:
    peers.answer("execution", execution)
    ran = Ran(*ADOPT, "--quantity", "1.5", answer="y\n")
    assert ran.code == 0
    assert "trade t7 of hedge holds buy 1.5" in ran.out
    assert "voldesk close t7" in ran.out
    assert "no enabled strategy is called hedge" in ran.err
    assert peers.asked[0] == ListDifferences(compare=True)
    (asked,) = adopted(peers)
    assert (asked.symbol, asked.quantity, asked.strategy) == (PUT, Decimal("1.5"), "hedge")
    assert asked.requested_by.startswith("cli")


def test_as_json_it_names_the_trade(peers: Peers) -> None:
    peers.answer("execution", execution)
    assert json.loads(Ran(*ADOPT, "--yes", "--json").out) == {
        "trade_id": "t7",
        "strategy": "hedge",
        "symbol": PUT,
        "side": "buy",
        "qty": "3",
        "entry_price": "812.5",
    }


def test_a_refusal_is_one_line_with_its_remedy(peers: Peers) -> None:
    refusal = Refusal(code="claimed", detail="all of it belongs to t1", remedy="nothing is left to adopt")
    peers.answer("execution", lambda message: FOUND if isinstance(message, ListDifferences) else refusal)
    ran = Ran(*ADOPT, "--yes")
    assert ran.code == 1
    assert "execution refused: all of it belongs to t1 (claimed); nothing is left to adopt" in ran.err


@pytest.mark.parametrize("quantity", ["0", "-1", "much", "NaN", "Infinity"])
def test_a_quantity_that_is_none_is_refused_before_anything_is_asked(peers: Peers, quantity: str) -> None:
    peers.answer("execution", execution)
    ran = Ran(*ADOPT, f"--quantity={quantity}")
    assert ran.code == 2
    assert "is not a number above 0" in ran.err
    assert peers.asked == []


def test_tab_offers_the_positions_that_are_not_the_desks(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLDESK_COMPLETION_TIMEOUT_MS", "30000")
    peers.answer("execution", execution)
    assert complete_foreign_symbol("BTC") == [(PUT, "3 at 812.5")]
    assert complete_foreign_symbol("ETH") == []
