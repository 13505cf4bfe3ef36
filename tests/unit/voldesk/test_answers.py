"""What the commands that only look print, with real peers on the bus."""

from __future__ import annotations

import json
import re
from decimal import Decimal

import msgspec
import pytest

from shared.ids import OrderKey, client_order_id
from shared.messages.base import Message
from shared.messages.control import AccountAnswer, GetAccount, ListStrategies, StrategyList
from shared.messages.trades import (
    ListOrders,
    ListTrades,
    OrderList,
    Refusal,
    StoryLine,
    TellTrade,
    TradeList,
    TradeUpdate,
)
from shared.views import order_name, since_text
from tests.unit.voldesk.peers import Peers, Ran
from tests.unit.voldesk.samples import ACCOUNT, ORDER, STORY, STRATEGY, TRADE
from voldesk.commands.cancel import order_id_of


def execution(message: Message) -> Message:
    match message:
        case ListTrades():
            return TradeList(trades=(TRADE,))
        case ListOrders():
            return OrderList(orders=(ORDER,))
        case TellTrade(trade_id="t59495869"):
            return STORY
    return Refusal(code="no_such_trade", detail="trade t1 is not known", remedy="see them: voldesk trades")


def test_trades_as_json_have_the_fixed_keys_with_decimals_in_plain_notation(peers: Peers) -> None:
    peers.answer("execution", execution)
    ran = Ran("trades", "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == [
        {
            "trade_id": "t59495869",
            "account_id": "acc1",
            "strategy": "demo_strangle",
            "state": "OPEN",
            "reason": "all legs are filled",
            "legs": [
                {
                    "symbol": "BTCUSD-27NOV26-106000-C",
                    "side": "buy",
                    "qty": "0.10",
                    "filled_qty": "0.1",
                    "held_qty": "0.1",
                    "open_price": "1122.8",
                    "close_price": None,
                },
                {
                    "symbol": "BTCUSD-27NOV26-96000-P",
                    "side": "sell",
                    "qty": "0.10",
                    "filled_qty": "0.10",
                    "held_qty": "0.05",
                    "open_price": "1444.9",
                    "close_price": "1500",
                },
            ],
            "opened_at": "2026-11-20T14:37:54.114Z",
            "closed_at": None,
            "realized_pnl": "-34",
            "fees": "6.003015",
            "funding": "0",
            "execution_mode": "limit",
            "mode_choice": None,
            "opening_chunks": None,
            "closing_chunks": None,
            "if_broken": "hold",
            "roll": None,
            "rolled_to": None,
        }
    ]


def test_only_open_trades_are_asked_for_with_open(peers: Peers) -> None:
    peers.answer("execution", execution)
    assert Ran("trades", "--open", "--limit", "7", "--json").code == 0
    assert peers.asked == [ListTrades(include_final=False, limit=7)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.000s"), (59.9994, "59.999s"), (59.9996, "1m00.0s"), (119.96, "2m00.0s"), (3_600.0, "1h00m")],
)
def test_a_time_in_a_story_never_shows_sixty_seconds(seconds: float, text: str) -> None:
    assert since_text(seconds) == text


def test_the_story_of_a_trade_that_ended_closes_with_its_result_and_leaves_out_what_repeats(peers: Peers) -> None:
    lines = (
        *STORY.lines,
        StoryLine(STORY.lines[0].at_ns, "order_sighted", "Order 1 is 2 at the venue, 0 filled.", ""),
        StoryLine(STORY.lines[0].at_ns, "order_moved", "Order 1 is in the book: acknowledged.", ""),
        StoryLine(STORY.lines[0].at_ns + 95_000_000_000, "trade_moved", "The trade is CLOSED: [done].", ""),
    )
    closed_ns = STORY.lines[0].at_ns + 95_000_000_000
    trade = msgspec.structs.replace(TRADE, state="CLOSED", closed_ns=closed_ns, fees_complete=False)
    ended = msgspec.structs.replace(STORY, trade=trade, lines=lines)
    peers.answer("execution", lambda _: ended)
    ran = Ran("trade", "t59495869")
    assert ran.code == 0
    assert " 1m35.0s  The trade is CLOSED: [done]." in ran.out
    assert "at the venue, 0 filled" not in ran.out
    assert "acknowledged." not in ran.out
    assert "ended CLOSED after 1m35.0s: P&L -34.00 USD before fees, fees 6.00, -40.00 after them." in ran.out
    assert "The venue has not told all fees yet." in ran.out
    assert len(json.loads(Ran("trade", "t59495869", "--json").out)["story"]) == len(lines)


def test_a_trade_is_told_with_legs_orders_and_story_in_order(peers: Peers) -> None:
    peers.answer("execution", execution)
    told = json.loads(Ran("trade", "t59495869", "--json").out)
    assert list(told) == ["trade", "orders", "story", "quality"]
    assert told["orders"][0]["order_id"] == "7496366351638855681"
    assert told["orders"][0]["average_price"] == "1122.8"
    assert [line["kind"] for line in told["story"]] == ["trade_requested", "order_moved", "trade_moved"]
    assert told["story"][1]["text"] == "order 7496366351638855681 WORKING: acknowledged"
    shown = Ran("trade", "t59495869").out
    assert shown.index("intent demo-1 accepted") < shown.index("OPEN: all legs")
    assert "story from 11-20 14:37:54 UTC" in shown
    assert "the rest stays under its exits (if_broken = hold)" in shown
    assert " 0.001s  OPEN: all legs are filled" in shown
    assert "7496366351638855681" not in shown
    assert f"order {order_name(ORDER)} WORKING: acknowledged" in shown


def test_a_refusal_is_one_line_with_its_remedy_and_ends_with_1(peers: Peers) -> None:
    peers.answer("execution", execution)
    ran = Ran("trade", "t1", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "voldesk: execution refused: trade t1 is not known (no_such_trade); see them: voldesk trades\n"
    )


def test_positions_without_mark_or_greeks_show_nothing_instead_of_zero(peers: Peers) -> None:
    peers.answer("risk", lambda _: AccountAnswer(account=ACCOUNT))
    short, unknown = json.loads(Ran("positions", "--json").out)
    assert short["qty"] == "-0.1"
    assert short["greeks"]["theta"] == 16.89
    assert (unknown["mark"], unknown["greeks"]) == (None, None)
    assert peers.asked == [GetAccount()]
    line = next(line for line in Ran("positions").out.splitlines() if "96000-P" in line)
    assert line.split()[3:] == ["-", "-", "-", "-"]


def test_the_account_shows_margin_used_and_that_greeks_are_incomplete(peers: Peers) -> None:
    peers.answer("risk", lambda _: AccountAnswer(account=ACCOUNT))
    as_json = json.loads(Ran("account", "--json").out)
    assert as_json["initial_margin_usd"] == "1000"
    assert as_json["greeks_complete"] is False
    ran = Ran("account")
    assert "1.00 % of equity" in ran.out
    assert "leave them out" in ran.err


def test_an_account_that_risk_has_not_read_yet_is_no_account(peers: Peers) -> None:
    peers.answer("risk", lambda _: AccountAnswer(account=None))
    for command in ("account", "positions"):
        ran = Ran(command, "--json")
        assert (ran.code, ran.out) == (69, "")
        assert "has not read the account yet" in ran.err


def test_strategies_say_what_they_wait_for(peers: Peers) -> None:
    peers.answer("strategy", lambda _: StrategyList(strategies=(STRATEGY,)))
    (row,) = json.loads(Ran("strategies", "--json").out)
    assert row["gates"][1:] == [
        {"name": "cooldown", "open": False, "reason": "12 s of 15 s", "since": "2026-11-20T14:37:54.114Z"}
    ]
    assert "cooldown: 12 s of 15 s" in Ran("strategies").out
    assert peers.asked == [ListStrategies(), ListStrategies()]


def _trades_row(peers: Peers, trade: TradeUpdate) -> str:
    peers.answer("execution", lambda _: TradeList(trades=(trade,)))
    return next(line for line in Ran("trades").out.splitlines() if line.split()[:1] == [trade.trade_id])


HELD = msgspec.structs.replace(
    TRADE, legs=(TRADE.legs[0], msgspec.structs.replace(TRADE.legs[1], closed_quantity=Decimal("0.10")))
)
"""Holds 0.1 calls bought at 1122.8, and has realised -34."""


def test_the_account_shows_the_cash_of_each_asset(peers: Peers) -> None:
    peers.answer("risk", lambda _: AccountAnswer(account=ACCOUNT))
    shown = [line.split() for line in Ran("account").out.splitlines()]
    assert ["BTC", "0.125"] in shown
    assert ["USDT", "87475.99"] in shown
    assert json.loads(Ran("account", "--json").out)["holdings"] == {"BTC": "0.125", "USDT": "87475.99"}


def test_an_open_trade_shows_what_it_holds_on_mark_and_the_column_says_before_fees(peers: Peers) -> None:
    peers.answer("risk", lambda _: AccountAnswer(account=ACCOUNT))
    assert f"{-34 + 0.1 * (1022.44 - 1122.8):.2f}" in _trades_row(peers, HELD).split()
    assert "P&L before fees" in " ".join(Ran("trades").out.split())


@pytest.mark.parametrize("risk_lives", [True, False])
def test_an_open_trade_without_a_mark_shows_no_profit_instead_of_a_part_of_it(peers: Peers, risk_lives: bool) -> None:
    if risk_lives:
        peers.answer("risk", lambda _: AccountAnswer(account=ACCOUNT))
    row = _trades_row(peers, TRADE if risk_lives else HELD)
    assert row.split()[-2:] == ["-", "6.00"]


def test_a_closed_trade_shows_its_profit_without_asking_risk(peers: Peers) -> None:
    closed = tuple(msgspec.structs.replace(leg, closed_quantity=leg.filled_quantity) for leg in TRADE.legs)
    row = _trades_row(peers, msgspec.structs.replace(TRADE, state="CLOSED", legs=closed))
    assert row.split()[-2:] == ["-34.00", "6.00"]


def test_orders_have_short_names_that_cancel_takes(peers: Peers) -> None:
    peers.answer("execution", execution)
    assert "t59495869.0.open.1" in Ran("orders").out
    shown = Ran("trade", "t59495869").out
    assert re.search(r"^\s*0\.open\.1 ", shown, re.MULTILINE)
    key = OrderKey(desk=0, trade_number=59495869, leg_index=0, purpose="open", attempt=1)
    assert order_id_of("t59495869.0.open.1", 0) == client_order_id(key)
    assert order_id_of("7496366351638855681", 0) == 7496366351638855681


def test_orders_of_a_trade_that_is_not_known_end_with_1_and_of_one_without_orders_with_0(peers: Peers) -> None:
    def without_orders(message: Message) -> Message:
        return OrderList(orders=()) if isinstance(message, ListOrders) else execution(message)

    peers.answer("execution", without_orders)
    ran = Ran("orders", "--trade", "nope", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert "is not known (no_such_trade)" in ran.err
    assert Ran("orders", "--trade", "t59495869").code == 0


@pytest.mark.parametrize(("at_market", "then"), [(True, "market"), (False, "94900.5")])
def test_a_stop_order_is_shown_with_its_trigger_and_what_it_waits_for(
    peers: Peers, at_market: bool, then: str
) -> None:
    stop = msgspec.structs.replace(
        ORDER,
        symbol="BTCUSD-26JUN26",
        side="sell",
        purpose="close",
        attempt=12,
        state="WORKING",
        price=Decimal("94900.5"),
        trigger_price=Decimal("95000.1"),
        at_market=at_market,
        waits=True,
    )
    peers.answer("execution", lambda _: OrderList(orders=(stop,)))
    out = Ran("orders").out
    assert all(each in out for each in ("stop 95000.1,", then, "waits"))
    assert max(map(len, out.splitlines())) <= 80
    (row,) = json.loads(Ran("orders", "--json").out)
    assert (row["trigger_price"], row["at_market"], row["waits"], row["state"]) == (
        "95000.1",
        at_market,
        True,
        "WORKING",
    )


@pytest.mark.parametrize("command", [["trades"], ["trade", "t59495869"], ["orders"], ["positions"], ["account"]])
def test_tables_name_mode_and_account_and_fit_80_columns(peers: Peers, command: list[str]) -> None:
    long_symbol = "BTCUSD-27NOV26-1060000-C"
    peers.answer(
        "execution",
        lambda message: (
            OrderList(orders=(msgspec.structs.replace(ORDER, symbol=long_symbol, price=Decimal("10149.75")),))
            if isinstance(message, ListOrders)
            else execution(message)
        ),
    )
    peers.answer("risk", lambda _: AccountAnswer(account=ACCOUNT))
    lines = Ran(*command).out.splitlines()
    assert "paper · account acc1" in lines[0]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("command", "service"),
    [
        (["trades"], "execution"),
        (["account"], "risk"),
        (["strategies"], "strategy"),
        (["halt"], "execution"),
        (["flatten", "--yes"], "execution"),
    ],
)
def test_a_dead_service_is_named_with_what_to_do_and_69(peers: Peers, command: list[str], service: str) -> None:
    ran = Ran(*command, "--json")
    assert (ran.code, ran.out) == (69, "")
    assert f"{service} does not answer" in ran.err
    assert f"voldesk restart {service}" in ran.err
