"""Commands that change something: what they ask of the operator, and what they then ask of the desk."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from shared.messages.base import Message
from shared.messages.control import (
    Halt,
    HaltsAnswered,
    HaltState,
    LiftHalts,
    RaiseHalt,
    StrategyCommand,
    StrategyCommandDone,
)
from shared.messages.reconciliation import (
    DifferenceList,
    ForeignOrder,
    ForeignPosition,
    FoundDifference,
    ListDifferences,
)
from shared.messages.trades import (
    CancelAccepted,
    CancelOrders,
    CloseAccepted,
    CloseTrade,
    ListTrades,
    TradeList,
)
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import CALL, OPENED_NS, PUT, TRADE
from voldesk.console import EXIT_NOT_FLAT


class Execution:
    """Answers as execution would; `open_answers` is how often its trade is still open when asked, `found` what its
    comparisons with the venue found."""

    def __init__(self, open_answers: int = 0, found: tuple[FoundDifference, ...] = ()) -> None:
        self.found = found
        self.halts: tuple[Halt, ...] = ()
        self.open_answers = open_answers

    def __call__(self, message: Message) -> Message | None:
        match message:
            case RaiseHalt():
                halt = Halt(
                    level=message.level, reason=message.reason, raised_by=message.requested_by, raised_ns=OPENED_NS
                )
                self.halts = (*self.halts, halt)
            case LiftHalts():
                self.halts = ()
            case CloseTrade():
                return CloseAccepted(trade_id=message.trade_id, state="CLOSING")
            case CancelOrders():
                return CancelAccepted(client_order_ids=(7496366351638855681,))
            case ListTrades():
                self.open_answers -= 1
                return TradeList(trades=(TRADE,) if self.open_answers >= 0 else ())
            case ListDifferences():
                return DifferenceList(
                    differences=self.found, at_ns=OPENED_NS, compared_ns=OPENED_NS + 1, unconfirmed=()
                )
        return HaltsAnswered(state=HaltState(account_id="acc1", halt_epoch=len(self.halts), halts=self.halts))


QUESTIONED = [
    ["close", "t1"],
    ["cancel", "--all"],
    ["cancel", "12"],
    ["flatten"],
    ["resume"],
    ["halt", "--level", "flatten"],
]


@pytest.mark.parametrize("command", QUESTIONED)
@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_asked_of_the_desk(peers: Peers, command: list[str], answer: str) -> None:
    peers.answer("execution", Execution())
    ran = Ran(*command, "--json", answer=answer)
    assert ran.code == 1
    assert "{" not in ran.out
    assert "paper · account acc1:" in ran.err
    assert "not confirmed, nothing was done" in ran.err
    assert peers.asked == []


@pytest.mark.parametrize("command", QUESTIONED)
def test_a_yes_is_enough_in_paper(peers: Peers, command: list[str]) -> None:
    peers.answer("execution", Execution())
    assert Ran(*command, answer="y\n").code == 0
    assert peers.asked != []


@pytest.mark.parametrize(("typed", "code"), [("y", 1), ("acc2", 1), ("", 1), ("acc1", 0)])
def test_live_wants_the_accounts_name(home: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int) -> None:
    monkeypatch.setenv("TRADING_ENVIRONMENT", "production")
    with Peers() as peers:
        peers.answer("execution", Execution())
        ran = Ran("close", "t1", answer=f"{typed}\n")
        assert ran.code == code
        assert "LIVE · account acc1: close trade t1?" in ran.err
        assert len(peers.asked) == (code == 0)


def test_yes_skips_the_question(peers: Peers) -> None:
    peers.answer("execution", Execution())
    ran = Ran("close", "t1", "--reason", "lunch", "--yes", "--json")
    assert json.loads(ran.out) == {"trade_id": "t1", "state": "CLOSING"}
    (asked,) = peers.asked
    assert isinstance(asked, CloseTrade)
    assert asked.reason == "lunch"
    assert asked.requested_by.startswith("cli")


def test_closing_a_trade_that_is_closed_says_that_nothing_is_held(peers: Peers) -> None:
    peers.answer("execution", lambda _: CloseAccepted(trade_id="t1", state="CLOSED"))
    ran = Ran("close", "t1", "--yes")
    assert ran.code == 0
    assert "trade t1 is CLOSED already; nothing is held" in ran.out


def test_a_halt_is_raised_at_once_and_lifted_by_resume(peers: Peers) -> None:
    peers.answer("execution", Execution())
    halted = json.loads(Ran("halt", "--level", "cancel_all", "--reason", "maintenance", "--json").out)
    assert halted["account"] == "acc1"
    assert [(halt["level"], halt["reason"]) for halt in halted["halts"]] == [("cancel_all", "maintenance")]
    assert "maintenance" in Ran("halt").out
    assert json.loads(Ran("resume", "--yes", "--json").out)["halts"] == []
    assert "no halt is in force" in Ran("resume", "--yes").out


def test_cancel_names_an_order_a_trade_an_option_a_strategy_or_all(peers: Peers) -> None:
    peers.answer("execution", Execution())
    ran = Ran("cancel", "7496366351638855681", "--yes", "--json")
    assert json.loads(ran.out) == {"order_ids": ["7496366351638855681"]}
    Ran("cancel", "--trade", "t1", "--yes")
    Ran("cancel", "--symbol", "BTCUSD-26JUN26-100000-C", "--yes")
    Ran("cancel", "--strategy", "alpha", "--yes")
    Ran("cancel", "--all", "--yes")
    asked = [
        (row.client_order_id, row.trade_id, row.symbol, row.strategy)
        for row in peers.asked
        if isinstance(row, CancelOrders)
    ]
    assert asked == [
        (7496366351638855681, None, None, None),
        (None, "t1", None, None),
        (None, None, "BTCUSD-26JUN26-100000-C", None),
        (None, None, None, "alpha"),
        (None, None, None, None),
    ]


def test_flatten_raises_the_halt_and_waits_until_no_trade_is_open(peers: Peers) -> None:
    peers.answer("execution", Execution(open_answers=1))
    ran = Ran("flatten", "--yes", "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == {
        "halted": "flatten",
        "open_trades": 0,
        "foreign_positions": [],
        "foreign_orders": [],
    }
    assert "closing t59495869 OPEN" in ran.err
    assert [type(row) for row in peers.asked] == [RaiseHalt, ListTrades, ListTrades, ListDifferences]
    assert peers.asked[-1] == ListDifferences(compare=True), "by a comparison that was made after the closing"


def foreign_things() -> tuple[FoundDifference, ...]:
    """A position and an order that are no trade's, and a position that is gone."""
    position = ForeignPosition(
        symbol=CALL,
        done="left_alone",
        detail="held beyond our trades",
        quantity=Decimal("-0.3"),
        held_quantity=Decimal(0),
        average_price=Decimal(500),
    )
    order = ForeignOrder(
        symbol=PUT,
        done="left_alone",
        detail="order 77",
        venue_order_id=77,
        side="buy",
        quantity=Decimal("0.2"),
        price=Decimal(410),
    )
    gone = msgspec.structs.replace(position, symbol="BTCUSD-27NOV26-90000-P")
    return (
        FoundDifference(difference=position, found_ns=OPENED_NS, trigger="minute"),
        FoundDifference(difference=order, found_ns=OPENED_NS, trigger="minute"),
        FoundDifference(difference=gone, found_ns=OPENED_NS, trigger="minute", ended_ns=OPENED_NS + 1),
    )


def test_flatten_is_not_flat_while_the_venue_holds_what_is_no_trades(peers: Peers) -> None:
    peers.answer("execution", Execution(found=foreign_things()))
    ran = Ran("flatten", "--yes")
    assert ran.code == EXIT_NOT_FLAT == 3
    assert ": flat" not in ran.out
    assert "every trade of the desk is closed" in ran.out
    named = f"the venue still holds what is no trade's: -0.3 {CALL}, order 77 to buy 0.2 {PUT} at 410;"
    assert named in ran.err
    assert "90000" not in ran.err
    assert "`voldesk adopt SYMBOL --strategy NAME`" in ran.err
    assert "`voldesk flatten --direct --force`" in ran.err


def test_what_the_venue_still_holds_after_a_flatten_is_told_to_programs_too(peers: Peers) -> None:
    peers.answer("execution", Execution(found=foreign_things()))
    ran = Ran("flatten", "--yes", "--json")
    assert ran.code == 3
    assert json.loads(ran.out) == {
        "halted": "flatten",
        "open_trades": 0,
        "foreign_positions": [{"symbol": CALL, "qty": "-0.3"}],
        "foreign_orders": [{"venue_order_id": "77", "symbol": PUT, "side": "buy", "qty": "0.2", "price": "410"}],
    }


def test_flatten_that_is_not_done_in_time_fails_and_names_the_trade(peers: Peers) -> None:
    peers.answer("execution", Execution(open_answers=1_000))
    ran = Ran("flatten", "--yes", "--timeout", "1")
    assert ran.code == 1
    assert "not flat after 1 s: t59495869 OPEN" in ran.err


def test_flatten_does_not_wait_when_told_so(peers: Peers) -> None:
    peers.answer("execution", Execution(open_answers=1_000))
    assert Ran("flatten", "--yes", "--no-wait").code == 0
    assert [type(row) for row in peers.asked] == [RaiseHalt]


def test_direct_flatten_is_refused_while_execution_answers(peers: Peers) -> None:
    peers.answer("execution", Execution())
    ran = Ran("flatten", "--direct", "--yes")
    assert ran.code == 1
    assert "execution answers; use `voldesk flatten`" in ran.err


@pytest.mark.parametrize(
    ("settings", "asked", "told"),
    [
        ("", "ALL orders in options and close ALL positions in options of", "flat in options;"),
        (
            "futures = true",
            "ALL orders in options and futures and close ALL positions in options and futures of",
            "flat in options and futures;",
        ),
        (
            "spot = true",
            "ALL orders in options and spot and close ALL positions in options of",
            "flat in options and orders of spot;",
        ),
        (
            "futures = true\nspot = true",
            "ALL orders in options, futures and spot and close ALL positions in options and futures of",
            "flat in options, futures and orders of spot;",
        ),
    ],
)
def test_direct_flatten_asks_and_tells_of_what_the_desk_is_configured_to_look_at(
    home: Path, monkeypatch: pytest.MonkeyPatch, settings: str, asked: str, told: str
) -> None:
    config = home / "voldesk.toml"
    config.write_text(config.read_text().replace('venue = "sim"', f'venue = "sim"\n{settings}'))

    async def flattened(*_: object) -> dict[str, object]:
        return {"flat": True, "rounds": 0, "orders_sent": 0, "audit": "record.jsonl"}

    monkeypatch.setattr("voldesk.direct.flatten_from_venue", flattened)
    ran = Ran("flatten", "--direct", answer="y\n")
    assert ran.code == 0
    assert asked in ran.err
    assert told in ran.out


def test_direct_flatten_without_an_exchange_that_ever_ran_says_so(peers: Peers) -> None:
    ran = Ran("flatten", "--direct", "--yes")
    assert ran.code == 69
    assert "never started" in ran.err


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_a_strategy_is_paused_and_resumed_by_name(peers: Peers, action: str) -> None:
    peers.answer("strategy", lambda _: StrategyCommandDone(strategies=("demo_strangle",)))
    ran = Ran("strategies", action, "demo_strangle", "--json")
    assert json.loads(ran.out) == {"action": action, "strategies": ["demo_strangle"]}
    (asked,) = peers.asked
    assert isinstance(asked, StrategyCommand)
    assert (asked.action, asked.strategy) == (action, "demo_strangle")
