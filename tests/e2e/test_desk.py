"""The whole desk as processes, against the simulated exchange over HTTP and WebSocket."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.stack import (
    FINAL,
    FLAT,
    REPOSITORY,
    SERVICES,
    Answer,
    Desk,
    all_running,
    assert_books_balance,
    filled_at_venue,
    newest_in,
    opened_and_closed,
    order_ids,
    signed_legs,
    until,
)

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
    files = [path for path in (desk.run_dir / "logs").rglob("*") if path.is_file()]
    assert len(files) >= 10
    logs = "".join(path.read_text(errors="replace") for path in files)
    pid = (desk.run_dir / "supervisord.pid").read_text().strip()
    with open(f"/proc/{pid}/environ", "rb") as file:
        environment = file.read().decode(errors="replace")
    assert [secret[:4] for secret in secrets if secret in logs or secret in environment] == []


def test_the_log_tells_the_story_of_a_trade_from_the_intent_to_the_close_over_all_services(desk: Desk) -> None:
    trade_id = until(desk, "closed", lambda: newest_in(desk, "demo_strangle", ("CLOSED",)), 120)["trade_id"]

    def told() -> list[dict[str, Any]]:
        lines = desk.voldesk("logs", "--trade", trade_id, "--json").out.splitlines()
        return [json.loads(line) for line in lines]

    def whole() -> list[dict[str, Any]] | None:
        lines = told()
        return lines if any(line.get("state") == "CLOSED" for line in lines) else None

    lines = until(desk, "the log has the end of it", whole)
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    steps = [(line["service"], line["event"]) for line in lines]
    story = [
        ("strategy", "intent made"),
        ("risk", "grant given"),
        ("strategy", "intent sent"),
        ("execution", "trade accepted"),
        ("execution", "order sent"),
        ("execution", "fill"),
        ("strategy", "close asked"),
        ("execution", "close requested"),
    ]
    places = [steps.index(step) for step in story]
    assert places == sorted(places), steps
    assert len({line["trade_id"] for line in lines if "trade_id" in line}) == 1
    assert {line["track"] for line in lines} >= {"strategy", "execution"}
    orders = {line["client_order_id"] for line in lines if line["event"] == "order sent"}
    assert len(orders) >= 4
    order = str(next(line["client_order_id"] for line in lines if line["event"] == "fill"))
    of_order = desk.voldesk("logs", "--order", order, "--json").out.splitlines()
    assert {json.loads(line)["event"] for line in of_order} >= {"order sent", "fill"}
    shown = desk.voldesk("logs", "--trade", trade_id, "--track", "strategy").out
    assert "intent made" in shown
    assert "order sent" not in shown
    readable = (desk.run_dir / "logs" / "desk.log").read_text()
    assert f"trade_id={trade_id}" in readable


def test_the_demonstration_opens_and_closes_a_strangle_and_journal_and_venue_agree(desk: Desk) -> None:
    done = until(desk, "demo_strangle closed", lambda: newest_in(desk, "demo_strangle", ("CLOSED",)), 120)
    assert sorted(leg["symbol"][-1] for leg in done["legs"]) == ["C", "P"]
    for leg in done["legs"]:
        assert (leg["side"], leg["qty"], leg["filled_qty"]) == ("buy", "0.1", "0.1")
        assert Decimal(leg["open_price"]) > 0
        assert Decimal(leg["close_price"]) > 0
    at_venue = filled_at_venue(desk, done["trade_id"])
    assert {symbol: quantity for (symbol, purpose), quantity in at_venue.items() if purpose == "open"} == signed_legs(
        done
    )
    ours = order_ids(desk.look("orders", "--all", "--trade", done["trade_id"], "--json").json)

    def charged() -> bool:
        paid = [fill.fee_usd or Decimal(0) for fill in desk.venue_fills() if str(fill.client_order_id) in ours]
        return Decimal(desk.trade(done["trade_id"])["fees"]) == sum(paid) > 0

    # The stream tells no fees: they are read from the venue some seconds after the last fill.
    until(desk, "the fees of the venue are those of the trade", charged)


def test_an_order_is_moved_by_amendment_and_ends_at_the_venue_at_the_price_of_the_journal(desk: Desk) -> None:
    def moved() -> dict[str, Any] | None:
        orders = desk.look("orders", "--all", "--json").json
        return next((row for row in orders if row["amends"] and row["state"] == "FILLED"), None)

    order = until(desk, "an order was moved and filled", moved)
    (at_venue,) = [each for each in desk.venue_orders() if str(each.client_order_id) == order["order_id"]]
    assert (at_venue.price, at_venue.quantity) == (Decimal(order["price"]), Decimal(order["qty"]))


def test_a_butterfly_opens_and_closes_by_smart_in_chunks_of_its_ratio(desk: Desk) -> None:
    def whole_trade() -> dict[str, Any] | None:
        # Other tests halt, flatten and kill this desk: a trade that they broke off is not the one.
        parts = ("opening_chunks", "closing_chunks")
        return next(
            (
                row
                for row in desk.trades("wings")
                if row["state"] in FINAL and all(row[part] and row[part]["completed"] == 2 for part in parts)
            ),
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
    orders = desk.look("orders", "--all", "--trade", done["trade_id"], "--json").json
    assert max(Decimal(row["qty"]) / abs(whole[row["symbol"]]) for row in orders) == Decimal("0.5")
    told = [line["text"] for line in desk.look("trade", done["trade_id"], "--json").json["story"]]
    assert sum(text.startswith("Chunk ") and " is complete" in text for text in told) == 4


def test_every_order_at_the_venue_is_in_the_journal_and_the_other_way_round(desk: Desk) -> None:
    before = desk.look("orders", "--all", "--limit", "10000", "--json").json
    at_venue = {str(order.client_order_id) for order in desk.venue_orders()}
    after = desk.look("orders", "--all", "--limit", "10000", "--json").json
    assert {row["order_id"] for row in before if row["venue_order_id"] is not None} <= at_venue
    assert at_venue <= order_ids(after)


def test_a_halt_stops_opening_and_resume_lifts_it(desk: Desk) -> None:
    halted = desk.voldesk("halt", "--reason", "e2e", "--json").json
    assert [(row["level"], row["reason"]) for row in halted["halts"]] == [("no_new_trades", "e2e")]
    shown = re.compile("HALTED no_new_trades by .*: e2e")
    until(desk, "the status shows the halt", lambda: shown.search(desk.look("status").out))
    until(desk, "all quick trades final", lambda: all(row["state"] in FINAL for row in desk.trades("quick")))
    known = len(desk.trades("quick"))
    until(desk, "the strategy sees the halt", lambda: "halt" in desk.look("strategies", "--json").out)
    assert len(desk.trades("quick")) == known
    desk.kill("execution")
    until(desk, "execution is back", lambda: all_running(desk))
    assert len(desk.trades("quick")) == known

    assert desk.voldesk("resume", "--yes", "--json").json["halts"] == []
    until(desk, "trading again", lambda: len(desk.trades("quick")) > known)


def test_flatten_closes_every_trade_and_stays_halted(desk: Desk) -> None:
    until(desk, "a quick trade is open", lambda: newest_in(desk, "quick", ("OPEN",)))
    assert desk.voldesk("flatten", "--yes", "--json").json == FLAT
    assert desk.venue_positions() == {}
    assert newest_in(desk, "quick", ("OPEN", "OPENING")) is None
    assert desk.voldesk("resume", "--yes").code == 0


def test_what_the_venue_filled_is_what_the_trades_say(desk: Desk) -> None:
    assert_books_balance(desk)
