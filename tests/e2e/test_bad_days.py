"""A real desk on a bad day: a full disk under it, its processes stopped for seconds, its exchange away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import make_desk, strangle_file
from tests.e2e.stack import FINAL, SERVICES, Desk, all_running, newest_in, opened_and_closed, signed_legs, until
from tests.unit.shared.full_disk import fill, small_disk

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def desk_on_a_small_disk() -> Iterator[Desk]:
    """A desk that holds one trade until it is closed by hand, its run directory on a file system of 64 MB."""
    made = make_desk("gamma", 3, ["patient"], {"patient": strangle_file("patient", "1", hold_s=3_000)})
    made.config_path.write_text(made.config_path.read_text() + "\n[journal]\nreserve_mb = 2\n")
    try:
        with small_disk(made.run_dir, 64):
            started = made.voldesk("up", "--timeout", "180", "--json")
            assert started.code == 0, started.err + made.logs()
            try:
                yield made
            finally:
                made.voldesk("down")
    finally:
        shutil.rmtree(made.home, ignore_errors=True)


def page(desk: Desk, token: str) -> str:
    """The dashboard's alerts: its log, its alert file and its own file are on the disk that is full."""
    port = json.loads((desk.run_dir / "ports.json").read_text())["web"]
    wanted = urllib.request.Request(f"http://127.0.0.1:{port}/alerts", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(wanted, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def gate(desk: Desk, name: str) -> dict[str, Any]:
    (strategy,) = desk.look("strategies", "--json").json
    return next(each for each in strategy["gates"] if each["name"] == name)


def test_on_a_full_disk_nothing_opens_closing_goes_on_and_no_process_dies_of_it(desk_on_a_small_disk: Desk) -> None:
    desk = desk_on_a_small_disk
    trade = until(desk, "a trade is open", lambda: newest_in(desk, "patient", ("OPEN",)))
    before = desk.services()
    token = desk.voldesk("web", "token", "test", "--json").json["token"]
    ballast = fill(desk.run_dir)
    until(desk, "the disk's gate is closed", lambda: not gate(desk, "disk")["open"])
    assert "free space" in gate(desk, "disk")["reason"]
    until(desk, "the page shows the alert", lambda: "disk_full" in page(desk, token))

    assert desk.voldesk("close", trade["trade_id"], "--yes").code == 0
    until(desk, "the trade is closed", lambda: desk.trade(trade["trade_id"])["state"] == "CLOSED")
    assert desk.venue_positions() == {}
    os.kill(before["execution"]["pid"], signal.SIGKILL)
    until(desk, "execution is back on the full disk", lambda: all_running(desk))
    assert desk.voldesk("halt", "--yes", "--reason", "drill").code == 0
    assert desk.voldesk("resume", "--yes").code == 0
    assert [row["trade_id"] for row in desk.trades()] == [trade["trade_id"]]
    after = desk.services()
    assert {name: after[name]["restarts"] - before[name]["restarts"] for name in SERVICES} == {
        name: int(name == "execution") for name in SERVICES
    }

    ballast.unlink()
    again = until(desk, "a new trade is open", lambda: newest_in(desk, "patient", ("OPEN",)))
    assert again["trade_id"] != trade["trade_id"]
    alerts = [json.loads(line) for line in (desk.run_dir / "alerts.jsonl").read_text().splitlines()]
    assert {row["resolved"] for row in alerts if row["code"] == "disk_full"} == {False, True}


@pytest.mark.parametrize("stopped", [("execution", "strategy", "monitor"), ("exchange", "marketdata", "risk")])
def test_services_stopped_for_ten_seconds_in_the_middle_of_a_trade_go_on_and_double_nothing(
    desk: Desk, stopped: tuple[str, ...]
) -> None:
    trade = until(desk, "a trade is opening or open", lambda: newest_in(desk, "quick", ("OPENING", "OPEN")))
    before = desk.services()
    pids = [before[name]["pid"] for name in stopped]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(10)  # the length of the stop is what is tested
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def ended() -> dict[str, Any] | None:
        row = desk.trade(trade["trade_id"])
        return row if row["state"] in FINAL else None

    done = until(desk, f"trade {trade['trade_id']} has ended", ended)
    until(desk, "every service is ready again", lambda: all_running(desk))
    opened, closed = opened_and_closed(desk, trade["trade_id"])
    assert closed == {symbol: -quantity for symbol, quantity in opened.items()}
    assert done["state"] == "FAILED" or opened == signed_legs(trade)
    after = desk.services()
    assert {name: (row["pid"], row["restarts"]) for name, row in after.items()} == {
        name: (row["pid"], row["restarts"]) for name, row in before.items()
    }
    logs = {name: desk.log_of(name) for name in stopped}
    told = "time passed without this process: it stood still, or the clock was set forward"
    assert all(told in text for text in logs.values())
