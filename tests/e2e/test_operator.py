"""What an operator asks a running desk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.stack import SERVICES, UNAVAILABLE, Desk, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_the_chain_of_a_running_desk_is_whole_and_has_a_smile(desk: Desk) -> None:
    def near() -> list[dict[str, Any]]:
        told = desk.look("chain", "ETH", "--expiry", "all", "--all", "--json").json
        assert told["underlying"] == "ETHUSD"
        assert len(told["expiries"]) >= 5
        return [row for expiry in told["expiries"] for row in expiry["options"] if 0.3 < abs(row["delta"] or 0) < 0.7]

    found = until(desk, "options near the money are quoted", near)
    assert all(row["mark"] and row["iv"] for row in found)
    shown = desk.look("chain", "BTCUSD")
    assert shown.code == 0
    assert "implied volatility of the mark" in shown.out
    assert "\x1b" not in shown.out


def test_why_names_every_gate_since_when_and_the_exits_of_open_trades(desk: Desk) -> None:
    names = {"state", "execution", "risk", "halts", "market_data", "account", "legs", "risk_refusal"}

    def judged() -> list[dict[str, Any]] | None:
        gates: list[dict[str, Any]] = desk.look("why", "demo_strangle", "--json").json["gates"]
        return gates if names <= {gate["name"] for gate in gates} else None

    gates = until(desk, "the host has judged every gate", judged)
    assert all(gate["reason"] and gate["since"] for gate in gates)

    def an_exit() -> bool:
        exits = desk.look("why", "demo_strangle", "--json").json["exits"]
        return any(gate["name"] == "max_hold" for trade in exits for gate in trade["conditions"])

    until(desk, "a trade of the demonstration is open and its exit is looked at", an_exit, 120)


def test_the_doctor_finds_no_problem_on_a_running_desk(desk: Desk) -> None:
    def ready() -> list[dict[str, Any]] | None:
        """What it finds, once no service is still on its way after what other tests did to it."""
        found: list[dict[str, Any]] = json.loads(desk.voldesk("doctor", "--json").out)
        running = f"running and ready: {', '.join(SERVICES)}"
        return found if any(each["finding"] == running for each in found) else None

    findings = until(desk, "every service is running and ready", ready)
    assert [finding for finding in findings if finding["level"] == "problem"] == []
    by_check = {finding["check"]: finding for finding in findings}
    assert "held by this desk" in by_check["ports"]["finding"]
    assert by_check["venue"]["finding"].endswith("answers")


def test_the_bus_can_be_tapped(desk: Desk) -> None:
    answer = desk.voldesk("tap", "sys.risk.heartbeat", "exec.", "--replay", "-n", "5", "--json")
    assert answer.code == 0, answer.err
    rows = [json.loads(line) for line in answer.out.splitlines()]
    assert len(rows) == 5
    assert {row["publisher"] for row in rows} <= {"risk", "execution"}


def test_a_trade_is_told_from_the_gates_that_opened_it_to_its_result(desk: Desk) -> None:
    def ended() -> list[str]:
        trades = desk.look("trades", "--json").json
        return [trade["trade_id"] for trade in trades if trade["state"] == "CLOSED"]

    until(desk, "a trade has ended", ended, 120)
    told = desk.look("trade", ended()[0])
    assert told.code == 0
    text = " ".join(told.out.split())
    assert "Its gates were open: market_data:" in text
    assert "Risk granted" in text
    assert "It ended CLOSED after" in text


def test_makers_quote_both_directions_of_a_structure_and_nothing_is_left_at_the_venue(desk: Desk) -> None:
    expiries = desk.look("chain", "BTCUSD", "--expiry", "all", "--json").json["expiries"]
    options = [option for option in expiries[-1]["options"] if option["type"] == "C" and option["bid"]]
    low, high = sorted(options, key=lambda option: abs(option["delta"] - 0.4))[:2]
    structure = ("buy", "0.1", low["symbol"], "sell", "0.1", high["symbol"])

    answers = []

    def quoted() -> bool:
        answer = desk.voldesk("rfq", "quote", *structure, "--json")
        if answer.code == UNAVAILABLE:
            return False
        answers.append(answer.json)
        return all(side["quotes"] and side["mark_cost"] is not None for side in answers[-1]["sides"])

    until(desk, "the simulated dealers have quoted both directions", quoted, 120)
    shown = desk.voldesk("rfq", "history", "--limit", "1")
    assert low["symbol"] in "".join(shown.out.split())

    def withdrawn() -> bool:
        request_id = answers[-1]["request_id"]
        return {quote.state for quote in desk.at_venue(lambda venue: venue.quotes_received(request_id))} == {
            "cancelled"
        }

    until(desk, "the request is withdrawn at the venue", withdrawn, 60)


def test_an_expiry_in_forty_minutes_is_seen_by_the_desk(desk: Desk) -> None:
    answer = desk.voldesk("exchange", "list-expiry", "BTCUSD", "--in", "40m", "--json")
    if "listed already" in answer.err:  # in forty minutes it is 08:00
        answer = desk.voldesk("exchange", "list-expiry", "BTCUSD", "--in", "41m", "--json")
    listed = answer.json

    def seen() -> bool:
        expiries = desk.look("chain", "BTCUSD", "--expiry", "all", "--json").json["expiries"]
        return any(expiry["expires_at"] == listed["expires_at"] and expiry["options"] for expiry in expiries)

    until(desk, "the desk has read the new list", seen, 120)
