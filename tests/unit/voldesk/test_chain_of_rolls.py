"""The chain of a rolled trade, as the command line tells it."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec

from shared.messages.base import Message
from shared.messages.control import RollTrade, RollWanted
from shared.messages.trades import RollLink, TradeStory
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import OPENED_NS, STORY


def rolled() -> TradeStory:
    link = RollLink(chain_id="t100", number=2, rolled_from="t200", earlier_pnl_usd=Decimal("12.25"))
    trade = msgspec.structs.replace(
        STORY.trade, roll=link, rolled_to="t400", realized_pnl_usd=Decimal("-3.5"), fees_usd=Decimal("0.4")
    )
    return msgspec.structs.replace(STORY, trade=trade)


def test_a_trade_tells_its_place_in_the_chain_and_what_the_chain_has_realised(peers: Peers) -> None:
    def answer(message: Message) -> Message:
        return rolled()

    peers.answer("execution", answer)
    told = " ".join(Ran("trade", STORY.trade.trade_id).out.split())
    assert "roll 2 of the chain that began with trade t100, from trade t200" in told
    assert "realised in the chain so far, after fees and funding: +8.35 USD" in told
    assert "rolled to trade t400" in told
    shown = json.loads(Ran("trade", STORY.trade.trade_id, "--json").out)["trade"]
    assert shown["roll"] == {"chain_id": "t100", "number": 2, "rolled_from": "t200", "chain_pnl": "8.35"}
    assert shown["rolled_to"] == "t400"


def test_a_roll_is_asked_of_the_strategy_and_says_what_it_may_cost(peers: Peers) -> None:
    def answer(message: Message) -> Message:
        assert isinstance(message, RollTrade)
        return RollWanted(trade_id=message.trade_id, strategy="seller", net_limit_usd=-10.0, until_ns=OPENED_NS)

    peers.answer("strategy", answer)
    told = " ".join(Ran("roll", "t7", "--yes").out.split())
    assert "trade t7 is rolled if that costs no more than -10.00 USD net" in told
    assert "voldesk why seller" in told
    shown = json.loads(Ran("roll", "t7", "--yes", "--json").out)
    assert (shown["trade_id"], shown["strategy"], shown["net_limit_usd"]) == ("t7", "seller", -10.0)
