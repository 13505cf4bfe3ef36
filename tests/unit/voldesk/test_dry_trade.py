"""Trades of a dry run, as the command line shows them: with their funding, all of a strategy or one."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec

from shared.messages.base import Message
from shared.messages.control import DryTradeList, ListDryTrades
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import STORY

DRY = msgspec.structs.replace(
    STORY.trade,
    trade_id="dry-my-carry-2",
    strategy="my-carry",
    realized_pnl_usd=Decimal("10.5"),
    fees_usd=Decimal("1.25"),
    funding_usd=Decimal("3.75"),
)
HEDGE = msgspec.structs.replace(
    DRY, trade_id="dry-my-carry.hedge-1", strategy="my-carry.hedge", hedge_of=DRY.trade_id
)


def host(peers: Peers) -> list[str]:
    """A host that knows the two; the strategies that it is asked for."""
    asked: list[str] = []

    def answer(message: Message) -> Message:
        assert isinstance(message, ListDryTrades)
        asked.append(message.strategy)
        return DryTradeList(trades=(DRY, HEDGE) if message.strategy == "my-carry" else ())

    peers.answer("strategy", answer)
    return asked


def test_the_trades_of_a_dry_run_are_listed_with_funding_in_their_net(peers: Peers) -> None:
    host(peers)
    told = " ".join(Ran("strategy", "dry-run", "my-carry").out.split())
    assert "realised" in told
    assert "funding" in told
    assert "10.50 1.25 3.75 5.50" in told.replace("│", " ").replace("  ", " ")
    shown = json.loads(Ran("strategy", "dry-run", "my-carry", "--json").out)
    assert [row["funding"] for row in shown] == ["3.75", "3.75"]


def test_one_of_them_is_asked_of_its_strategys_host_and_a_hedge_of_that_of_what_it_hedges(peers: Peers) -> None:
    asked = host(peers)
    told = " ".join(Ran("trade", DRY.trade_id).out.split())
    assert "nothing was sent" in told
    assert "3.75" in told
    assert DRY.legs[0].symbol in told
    hedge = " ".join(Ran("trade", HEDGE.trade_id).out.split())
    assert f"it hedges trade {DRY.trade_id}" in hedge
    assert json.loads(Ran("trade", HEDGE.trade_id, "--json").out)["trade_id"] == HEDGE.trade_id
    assert asked == ["my-carry"] * 3


def test_one_that_is_not_known_says_where_to_look(peers: Peers) -> None:
    host(peers)
    ran = Ran("trade", "dry-my-carry-9")
    assert ran.code == 1
    assert "voldesk strategy dry-run my-carry" in ran.err
