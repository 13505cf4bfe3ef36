"""The whole desk as processes, against the simulated exchange over HTTP and WebSocket."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from shared.messages.venue import VenueFill
from shared.shutdown import announce
from tests.e2e.stack import (
    FINAL,
    REPOSITORY,
    SERVICES,
    Answer,
    Desk,
    all_running,
    assert_books_balance,
    desk_pids,
    filled_at_venue,
    newest_in,
    opened_and_closed,
    signed_legs,
    until,
)
from voldesk.processes import is_alive
from voldesk.supervision import Supervisor

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_every_service_is_running_with_a_fresh_heartbeat(desk: Desk) -> None:
    def fresh() -> bool:
        return all(row["state"] == "RUNNING" and row["heartbeat_age_s"] < 3 for row in desk.services().values())

    def passed() -> Answer | None:
        answer = desk.voldesk("status", "--check")
        return answer if answer.code == 0 else None

    services = desk.services()
    assert tuple(services) == SERVICES
    assert {row["restarts"] for row in services.values()} == {0}
    until(desk, "every service runs and beats", fresh)
    shown = until(desk, "the check passes", passed)
    assert "nothing cancels our orders at the venue" in shown.out


def test_a_second_up_changes_nothing(desk: Desk) -> None:
    before = {name: row["pid"] for name, row in desk.services().items()}
    again = desk.voldesk("up", "--json")
    assert {row["name"]: row["pid"] for row in again.json["services"]} == before
    assert "already running" in again.err


def test_the_status_page_that_up_names_is_served(desk: Desk) -> None:
    page = desk.voldesk("up", "--json").json["page"]
    with urllib.request.urlopen(page, timeout=60) as answer:
        text = answer.read().decode()
    assert "paper" in text
    assert "alpha" in text


@pytest.mark.parametrize("service", ["risk", "execution", "exchange"])
def test_a_second_instance_of_a_service_ends_with_78_and_names_the_holder(desk: Desk, service: str) -> None:
    holder = desk.pid(service)
    second = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env=desk.environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 78
    assert f"process {holder}" in second.stdout
    assert desk.pid(service) == holder


def test_no_secret_is_in_any_log_or_in_supervisords_environment(desk: Desk) -> None:
    secrets = set()
    for path in (desk.run_dir / "secrets").iterdir():
        secrets |= set(re.findall(r"[0-9a-f]{32,}", path.read_text()))
    assert len(secrets) >= 6
    logs = "".join(path.read_text(errors="replace") for path in (desk.run_dir / "logs").iterdir())
    pid = (desk.run_dir / "supervisord.pid").read_text().strip()
    with open(f"/proc/{pid}/environ", "rb") as file:
        environment = file.read().decode(errors="replace")
    assert [secret[:4] for secret in secrets if secret in logs or secret in environment] == []


def test_the_demonstration_opens_and_closes_a_strangle_and_journal_and_venue_agree(desk: Desk) -> None:
    done = until(desk, "demo_strangle closed", lambda: newest_in(desk, "demo_strangle", ("CLOSED",)), 120)
    assert sorted(leg["symbol"][-1] for leg in done["legs"]) == ["C", "P"]
    for leg in done["legs"]:
        assert (leg["side"], leg["qty"], leg["filled_qty"]) == ("buy", "0.1", "0.1")
        assert Decimal(leg["open_price"]) > 0
        assert Decimal(leg["close_price"]) > 0
    assert Decimal(done["fees"]) > 0
    at_venue = filled_at_venue(desk, done["trade_id"])
    assert {symbol: quantity for (symbol, purpose), quantity in at_venue.items() if purpose == "open"} == signed_legs(
        done
    )
    ours = _ids(desk.voldesk("orders", "--all", "--trade", done["trade_id"], "--json").json)
    paid = [fill.fee_usd for fill in desk.venue_fills() if str(fill.client_order_id) in ours]
    charged = sum((fee or Decimal(0) for fee in paid), Decimal(0))
    # The stream tells no fees: they are read from the venue some seconds after the last fill.
    until(desk, f"fees of {charged}", lambda: Decimal(desk.trade(done["trade_id"])["fees"]) == charged)


def test_an_order_is_moved_by_amendment_and_ends_at_the_venue_at_the_price_of_the_journal(desk: Desk) -> None:
    def moved() -> dict[str, Any] | None:
        orders = desk.voldesk("orders", "--all", "--json").json
        return next((row for row in orders if row["amends"] and row["state"] == "FILLED"), None)

    order = until(desk, "an order was moved and filled", moved)
    (at_venue,) = [each for each in desk.venue_orders() if str(each.client_order_id) == order["order_id"]]
    assert (at_venue.price, at_venue.quantity) == (Decimal(order["price"]), Decimal(order["qty"]))


def test_a_butterfly_opens_and_closes_by_smart_in_chunks_of_its_ratio(desk: Desk) -> None:
    def whole_trade() -> dict[str, Any] | None:
        # Other tests halt, flatten and kill this desk: a trade that they broke off is not the one.
        parts = ("opening_chunks", "closing_chunks")
        return next(
            (row for row in desk.trades("wings") if all(row[part] and row[part]["completed"] == 2 for part in parts)),
            None,
        )

    done = until(desk, "a butterfly was opened and closed in chunks", whole_trade, 240)
    assert done["state"] == "CLOSED"
    assert (done["execution_mode"], done["mode_choice"]["reason"]) == ("smart", "as asked for")
    assert done["mode_choice"]["expected_cost"]["smart"] > 0
    assert done["mode_choice"]["opening_cost"] is not None
    whole = signed_legs(done)
    assert sorted(whole.values()) == [Decimal("-0.4"), Decimal("0.2"), Decimal("0.2")]
    opened, closed = opened_and_closed(desk, done["trade_id"])
    assert opened == whole
    assert closed == {symbol: -quantity for symbol, quantity in whole.items()}
    orders = desk.voldesk("orders", "--all", "--trade", done["trade_id"], "--json").json
    assert max(Decimal(row["qty"]) / abs(whole[row["symbol"]]) for row in orders) == Decimal("0.5")
    told = [line["text"] for line in desk.voldesk("trade", done["trade_id"], "--json").json["story"]]
    assert sum(text.startswith("Chunk ") and " is complete" in text for text in told) == 4


def _ids(orders: list[dict[str, Any]]) -> set[str]:
    return {row["order_id"] for row in orders}


def test_every_order_at_the_venue_is_in_the_journal_and_the_other_way_round(desk: Desk) -> None:
    before = desk.voldesk("orders", "--all", "--limit", "10000", "--json").json
    at_venue = {str(order.client_order_id) for order in desk.venue_orders()}
    after = desk.voldesk("orders", "--all", "--limit", "10000", "--json").json
    assert {row["order_id"] for row in before if row["venue_order_id"] is not None} <= at_venue
    assert at_venue <= _ids(after)


def test_a_halt_stops_opening_and_resume_lifts_it(desk: Desk) -> None:
    halted = desk.voldesk("halt", "--reason", "e2e", "--json").json
    assert [(row["level"], row["reason"]) for row in halted["halts"]] == [("no_new_trades", "e2e")]
    assert re.search("HALTED no_new_trades by .*: e2e", desk.voldesk("status").out)
    until(desk, "all quick trades final", lambda: all(row["state"] in FINAL for row in desk.trades("quick")))
    known = len(desk.trades("quick"))
    until(desk, "the strategy sees the halt", lambda: "halt" in desk.voldesk("strategies", "--json").out)
    assert len(desk.trades("quick")) == known
    desk.kill("execution")
    until(desk, "execution is back", lambda: all_running(desk))
    assert len(desk.trades("quick")) == known

    assert desk.voldesk("resume", "--yes", "--json").json["halts"] == []
    until(desk, "trading again", lambda: len(desk.trades("quick")) > known)


def test_flatten_closes_every_trade_and_stays_halted(desk: Desk) -> None:
    until(desk, "a quick trade is open", lambda: newest_in(desk, "quick", ("OPEN",)))
    assert desk.voldesk("flatten", "--yes", "--json").json == {"halted": "flatten", "open_trades": 0}
    assert desk.venue_positions() == {}
    assert newest_in(desk, "quick", ("OPEN", "OPENING")) is None
    assert desk.voldesk("resume", "--yes").code == 0


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
    until(second_desk, "an order rests", lambda: second_desk.voldesk("orders", "--json").json)
    (resting,) = second_desk.trades("resting")
    assert resting["state"] == "OPENING"
    fills = {fill.venue_trade_id for fill in second_desk.venue_fills() if fill.symbol in signed_legs(held)}
    pids = {row["pid"] for row in second_desk.services().values()}

    assert second_desk.voldesk("down").code == 0
    assert desk_pids(second_desk.run_dir) == []
    assert second_desk.voldesk("up", "--timeout", "90", "--json").code == 0
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
    listed = {row["strategy"]: row for row in second_desk.voldesk("strategies", "--json").json}
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
    log = (second_desk.run_dir / "logs" / "execution.log").read_text()
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
    assert second_desk.voldesk("up", "--timeout", "90", "--json").code == 0
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
    assert "HALTED flatten by flatten --direct" in second_desk.voldesk("status").out
    until(
        second_desk,
        "the strategy sees the halt",
        lambda: "halt" in second_desk.voldesk("strategies", "--json").out,
    )
    assert {row["trade_id"] for row in second_desk.trades()} == set(known)

    booked = second_desk.trade(held["trade_id"])
    ours = _ids(second_desk.voldesk("orders", "--all", "--json").json)
    direct = [fill for fill in second_desk.venue_fills() if str(fill.client_order_id) not in ours]
    assert {leg["symbol"]: Decimal(leg["close_price"]) for leg in booked["legs"]} == average_prices(direct)
    fees = sum((fill.fee_usd or Decimal(0) for fill in direct), Decimal(0))
    assert Decimal(booked["fees"]) == Decimal(held["fees"]) + fees
    story = second_desk.voldesk("trade", held["trade_id"]).out
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


def test_what_the_venue_filled_is_what_the_trades_say(desk: Desk) -> None:
    assert_books_balance(desk)
