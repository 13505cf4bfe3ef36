"""The hedge of a trade is paused and resumed by command."""

from __future__ import annotations

import json

import pytest

from shared.messages.base import Message
from shared.messages.control import HedgeSteered, SteerHedge
from tests.unit.voldesk.peers import Peers, Ran


@pytest.mark.parametrize(("action", "told"), [("pause", "is left as it is"), ("resume", "is adjusted again")])
def test_the_hedge_of_a_trade_is_steered_and_the_answer_says_how_it_is_now(
    peers: Peers, action: str, told: str
) -> None:
    asked: list[SteerHedge] = []

    def answer(message: Message) -> Message:
        assert isinstance(message, SteerHedge)
        asked.append(message)
        return HedgeSteered(trade_id=message.trade_id, strategy="scalper", is_paused=message.action == "pause")

    peers.answer("strategy", answer)
    assert f"the hedge of trade t7 {told}" in " ".join(Ran("hedge", action, "t7").out.split())
    shown = json.loads(Ran("hedge", action, "t7", "--json").out)
    assert shown == {"trade_id": "t7", "strategy": "scalper", "paused": action == "pause"}
    assert [(each.action, each.trade_id) for each in asked] == [(action, "t7")] * 2
