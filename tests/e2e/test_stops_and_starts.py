"""Desks that are stopped, started, flattened and taken down, beside one that trades on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from shared.messages.venue import VenueFill
from shared.shutdown import announce
from tests.e2e.stack import (
    FINAL,
    SERVICES,
    Desk,
    all_running,
    desk_pids,
    newest_in,
    opened_and_closed,
    order_ids,
    signed_legs,
    until,
)
from voldesk.processes import is_alive
from voldesk.supervision import Supervisor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_two_desks_trade_side_by_side(desk: Desk, second_desk: Desk) -> None:
    here, there = desk.services(), second_desk.services()
    assert {row["pid"] for row in here.values()}.isdisjoint(row["pid"] for row in there.values())
    until(second_desk, "the second desk opens", lambda: newest_in(second_desk, "patient", ("OPEN",)))
    assert {row["account_id"] for row in second_desk.trades()} == {"beta-two"}
    assert {row["account_id"] for row in desk.trades()} == {"alpha"}


def test_a_restart_of_everything_with_an_order_and_a_position_open_loses_and_doubles_nothing(
    second_desk: Desk,
) -> None:
    held = until(second_desk, "a trade is open", lambda: newest_in(second_desk, "patient", ("OPEN",)))
    # only now, so that its order still rests however long it took to come here
    text = second_desk.config_path.read_text()
    second_desk.config_path.write_text(text.replace('enabled = ["patient"', 'enabled = ["patient", "resting"'))
    assert second_desk.voldesk("restart", "strategy").code == 0

    def rests() -> dict[str, Any] | None:
        row = newest_in(second_desk, "resting", ("OPENING",))
        return row if row is not None and second_desk.look("orders", "--json").json else None

    resting = until(second_desk, "an order rests", rests)
    fills = {fill.venue_trade_id for fill in second_desk.venue_fills() if fill.symbol in signed_legs(held)}
    pids = {row["pid"] for row in second_desk.services().values()}

    assert second_desk.voldesk("down").code == 0
    assert desk_pids(second_desk.run_dir) == []
    assert second_desk.voldesk("up", "--timeout", "180", "--json").code == 0
    assert pids.isdisjoint(row["pid"] for row in second_desk.services().values())

    def ended() -> dict[str, Any] | None:
        row = second_desk.trade(resting["trade_id"])
        return row if row["state"] in FINAL else None

    done = until(second_desk, "the trade that was opening has ended", ended, 90)
    opened, closed = opened_and_closed(second_desk, resting["trade_id"])
    assert closed == {symbol: -quantity for symbol, quantity in opened.items()}
    assert done["state"] == "FAILED" or opened == signed_legs(resting)
    assert [row["trade_id"] for row in second_desk.trades("resting")] == [resting["trade_id"]]
    assert second_desk.trade(held["trade_id"])["state"] == "OPEN"
    assert second_desk.venue_positions() == signed_legs(held)
    assert opened_and_closed(second_desk, held["trade_id"]) == (signed_legs(held), {})
    assert fills <= {fill.venue_trade_id for fill in second_desk.venue_fills()}


def test_a_broken_strategy_file_is_reported_with_its_line_and_the_others_go_on(second_desk: Desk) -> None:
    logged = second_desk.voldesk("logs", "strategy", "-n", "1000").out
    assert re.search(r"broken\.py.*\b3\b", logged)
    listed = {row["strategy"]: row for row in second_desk.look("strategies", "--json").json}
    assert listed["patient"]["state"] == "running"
    assert second_desk.services()["strategy"]["state"] == "RUNNING"


def test_a_service_that_refuses_its_configuration_is_not_retried_until_it_is_put_right(second_desk: Desk) -> None:
    secret = second_desk.run_dir / "secrets" / "sim-risk.env"
    secret.chmod(0o644)
    second_desk.kill("risk")
    until(second_desk, "risk refuses", lambda: second_desk.services()["risk"]["state"] == "CONFIG_ERROR")
    assert f"chmod 600 {secret}" in second_desk.services()["risk"]["detail"]
    refused = second_desk.voldesk("up")
    assert refused.code == 78
    assert f"chmod 600 {secret}" in refused.err.splitlines()[-1]
    secret.chmod(0o600)
    assert second_desk.voldesk("up").code == 0


def test_one_service_is_restarted_alone(second_desk: Desk) -> None:
    before = second_desk.services()
    assert second_desk.voldesk("restart", "monitor", "--json").json["state"] == "RUNNING"
    after = second_desk.services()
    assert {name for name in SERVICES if before[name]["pid"] != after[name]["pid"]} == {"monitor"}


def test_execution_that_is_to_flatten_when_it_stops_closes_its_trades_first_and_a_restart_leaves_them(
    second_desk: Desk,
) -> None:
    trade = until(second_desk, "a trade is open", lambda: newest_in(second_desk, "patient", ("OPEN",)))
    assert second_desk.voldesk("restart", "execution", "--json").json["state"] == "RUNNING"
    assert second_desk.trade(trade["trade_id"])["state"] == "OPEN"
    announce(second_desk.run_dir, "flatten")
    stopped = second_desk.pid("execution")
    os.kill(stopped, signal.SIGTERM)
    until(second_desk, "execution has ended", lambda: not is_alive(stopped))
    log = second_desk.log_of("execution")
    assert "wound down" in log
    assert "not wound down in time" not in log
    until(second_desk, "execution is back", lambda: all_running(second_desk))
    closed = second_desk.trade(trade["trade_id"])
    assert (closed["state"], closed["reason"]) == ("CLOSED", "execution stops: flatten")
    opened, sold = opened_and_closed(second_desk, trade["trade_id"])
    assert opened == {symbol: -quantity for symbol, quantity in sold.items()}
    assert not (second_desk.run_dir / "on-shutdown").exists()


def test_services_that_lost_supervisord_are_shown_ended_and_started_anew(second_desk: Desk) -> None:
    trade = until(second_desk, "a trade is open", lambda: newest_in(second_desk, "patient", ("OPEN",)))
    supervisor = int((second_desk.run_dir / "supervisord.pid").read_text())
    orphans = {row["pid"] for row in second_desk.services().values()}
    subprocess.run(["kill", "-9", str(supervisor)], check=True)
    until(
        second_desk,
        "status tells that nobody supervises",
        lambda: all("supervisord" in row.get("detail", "") for row in second_desk.services().values()),
    )
    assert second_desk.voldesk("up", "--timeout", "180", "--json").code == 0
    assert orphans.isdisjoint(row["pid"] for row in second_desk.services().values())
    assert second_desk.trade(trade["trade_id"])["state"] == "OPEN"
    assert signed_legs(trade) == second_desk.venue_positions()


def test_flatten_direct_closes_everything_with_execution_stopped(second_desk: Desk) -> None:
    until(second_desk, "a trade is open", lambda: newest_in(second_desk, "patient", ("OPEN",)))
    refused = second_desk.voldesk("flatten", "--direct", "--yes")
    assert refused.code == 1
    assert "execution answers" in refused.err
    known = {row["trade_id"]: row for row in second_desk.trades()}
    (held,) = [row for row in known.values() if row["state"] == "OPEN"]
    Supervisor(second_desk.settings).stop_service("execution")
    assert second_desk.venue_positions() != {}

    done = second_desk.voldesk("flatten", "--direct", "--yes", "--json")
    assert done.json["flat"] is True
    assert second_desk.venue_positions() == {}
    steps = (second_desk.run_dir / "flatten-direct.jsonl").read_text()
    assert steps.index('"step": "close"') < steps.index('"step": "close_answer"') < steps.index('"step": "flat"')

    Supervisor(second_desk.settings).start_service("execution")
    until(second_desk, "execution is back", lambda: all_running(second_desk))
    until(
        second_desk,
        "execution has seen that its trade holds nothing any more",
        lambda: all(row["state"] in FINAL for row in second_desk.trades()),
    )
    assert second_desk.venue_positions() == {}
    until(
        second_desk,
        "the status shows the halt",
        lambda: "HALTED flatten by flatten --direct" in second_desk.look("status").out,
    )
    until(
        second_desk,
        "the strategy sees the halt",
        lambda: "halt" in second_desk.look("strategies", "--json").out,
    )
    assert {row["trade_id"] for row in second_desk.trades()} == set(known)

    booked = second_desk.trade(held["trade_id"])
    ours = order_ids(second_desk.look("orders", "--all", "--json").json)
    direct = [fill for fill in second_desk.venue_fills() if str(fill.client_order_id) not in ours]
    assert {leg["symbol"]: Decimal(leg["close_price"]) for leg in booked["legs"]} == average_prices(direct)
    opening = order_ids(second_desk.look("orders", "--all", "--trade", held["trade_id"], "--json").json)
    paid = [*direct, *(fill for fill in second_desk.venue_fills() if str(fill.client_order_id) in opening)]
    fees = sum((fill.fee_usd or Decimal(0) for fill in paid), Decimal(0))
    # the stream tells no fees: they are read from the venue some seconds after a fill
    until(second_desk, f"fees of {fees}", lambda: Decimal(second_desk.trade(held["trade_id"])["fees"]) == fees)
    story = second_desk.look("trade", held["trade_id"]).out
    assert "direct flatten" in story

    assert second_desk.voldesk("resume", "--yes").code == 0
    until(second_desk, "it opens again", lambda: newest_in(second_desk, "patient", ("OPENING", "OPEN")))


def average_prices(fills: list[VenueFill]) -> dict[str, Decimal]:
    """To a millionth, as trades tell them."""
    cash: dict[str, Decimal] = defaultdict(Decimal)
    quantity: dict[str, Decimal] = defaultdict(Decimal)
    for fill in fills:
        cash[fill.symbol] += fill.price * fill.quantity
        quantity[fill.symbol] += fill.quantity
    return {symbol: (cash[symbol] / quantity[symbol]).quantize(Decimal("0.000001")) for symbol in cash}


def test_down_leaves_no_process_and_is_idempotent(second_desk: Desk) -> None:
    assert second_desk.voldesk("down").code == 0
    assert desk_pids(second_desk.run_dir) == []
    again = second_desk.voldesk("down", "--json")
    assert again.json["stopped"] == []
    assert second_desk.voldesk("trades").code == 69


def test_an_occupied_port_is_refused_by_name_and_nothing_is_left_running(second_desk: Desk) -> None:
    assert second_desk.voldesk("down").code == 0
    text = second_desk.config_path.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        second_desk.config_path.write_text(f"{text}\n[ports]\nexchange = {port}\n")
        answer = second_desk.voldesk("up")
    second_desk.config_path.write_text(text)
    assert answer.code == 78
    assert f"exchange = {port} is taken by pid " in answer.err
    assert desk_pids(second_desk.run_dir) == []
