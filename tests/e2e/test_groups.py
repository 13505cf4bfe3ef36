"""Two strategy hosts of one desk: one is killed and stays away while the other trades, and a strategy moves over."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import make_desk, strangle_file, take_down
from tests.e2e.stack import FINAL, Desk, all_running, assert_books_balance, newest_in, opened_and_closed, until
from voldesk.processes import is_alive
from voldesk.supervision import Supervisor

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

GROUP = '\n[strategy.instances.quick]\ngroup = "fast"\n'


@pytest.fixture(scope="module")
def grouped() -> Iterator[Desk]:
    files = {
        "patient": strangle_file("patient", "1", hold_s=30_000, cooldown_s=60_000),
        "quick": strangle_file("quick", "1", hold_s=2),
    }
    made = make_desk("grouped", 3, ["patient", "quick"], files)
    made.config_path.write_text(made.config_path.read_text() + GROUP)
    started = made.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + made.logs()
    yield made
    take_down(made)


def listed(desk: Desk) -> dict[str, dict[str, Any]]:
    return {row["strategy"]: row for row in desk.look("strategies", "--json").json}


def paused_by_web(desk: Desk, strategy: str) -> dict[str, Any]:
    """What the dashboard says when it is told to pause a strategy."""
    token = desk.voldesk("web", "token", "groups", "--scope", "halt", "--json").json["token"]
    port = json.loads((desk.run_dir / "ports.json").read_text())["web"]
    body = json.dumps({"action_id": f"groups-{time.time_ns()}", "fields": {"strategy": strategy}}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    wanted = urllib.request.Request(f"http://127.0.0.1:{port}/api/actions/pause", body, headers)
    with urllib.request.urlopen(wanted, timeout=60) as answer:
        said: dict[str, Any] = json.loads(answer.read())
    return said


def ended(desk: Desk, strategy: str) -> set[str]:
    return {row["trade_id"] for row in desk.trades(strategy) if row["state"] in FINAL}


def test_each_group_has_a_host_of_its_own_that_every_command_finds(grouped: Desk) -> None:
    services = grouped.services()
    assert list(services)[-3:] == ["strategy", "strategy-fast", "monitor"]
    assert set(listed(grouped)) == {"patient", "quick"}
    assert grouped.look("why", "quick", "--json").json["strategy"] == "quick"
    targets = json.loads((grouped.run_dir / "prometheus" / "targets.json").read_text())
    assert len({row["targets"][0] for row in targets}) == len(services) == len(targets)
    assert "strategy loaded" in grouped.log_of("strategy-fast", "strategy")
    assert grouped.voldesk("restart", "strategy-fast", "--json").json["state"] == "RUNNING"
    assert grouped.voldesk("healthcheck", "strategy-fast").code == 0


def test_a_host_that_is_killed_and_stays_away_leaves_the_other_one_trading(grouped: Desk) -> None:
    held = until(grouped, "patient holds a trade", lambda: newest_in(grouped, "patient", ("OPEN",)))
    fast = grouped.pid("strategy-fast")
    supervisor = Supervisor(grouped.settings)
    os.kill(grouped.pid("strategy"), signal.SIGKILL)
    supervisor.stop_service("strategy")
    before = ended(grouped, "quick")
    until(grouped, "two more trades of the other host", lambda: len(ended(grouped, "quick") - before) >= 2, 240)
    assert grouped.pid("strategy-fast") == fast
    assert grouped.services()["strategy"]["state"] != "RUNNING"
    assert grouped.trade(held["trade_id"])["state"] == "OPEN"
    assert "strategy does not answer" in grouped.voldesk("strategies").err

    supervisor.start_service("strategy")
    until(grouped, "every host is back", lambda: all_running(grouped))
    os.kill(fast, signal.SIGKILL)
    before = ended(grouped, "quick")
    until(grouped, "the killed host trades again", lambda: len(ended(grouped, "quick") - before) >= 1, 240)
    assert newest_in(grouped, "patient", ("OPEN",)) == grouped.trade(held["trade_id"])


def test_strategies_that_change_hosts_keep_pause_and_open_trades_and_nothing_is_doubled(grouped: Desk) -> None:
    held = until(grouped, "patient holds a trade", lambda: newest_in(grouped, "patient", ("OPEN",)))
    assert grouped.voldesk("strategies", "pause", "quick", "--json").json["strategies"] == ["quick"]
    until(grouped, "nothing of it is open", lambda: all(row["state"] in FINAL for row in grouped.trades("quick")))
    before = ended(grouped, "quick")
    text = grouped.config_path.read_text()

    grouped.config_path.write_text(text.replace("[strategy.instances.quick]", "[strategy.instances.patient]"))
    swapped = grouped.voldesk("up", "--timeout", "180", "--json")
    assert swapped.code == 0, swapped.err + grouped.logs()
    until(grouped, "the other host runs it", lambda: listed(grouped).get("quick", {}).get("state") == "paused")
    assert "strategy taken over" in grouped.log_of("strategy", "strategy")
    assert "strategy taken over" in grouped.log_of("strategy-fast", "strategy")
    exits = until(grouped, "its exits are looked at", lambda: listed(grouped)["patient"]["exits"])
    assert [each["trade_id"] for each in exits] == [held["trade_id"]]

    said = paused_by_web(grouped, "patient")
    assert said["done"], said
    until(grouped, "it is paused where it runs now", lambda: listed(grouped)["patient"]["state"] == "paused")
    assert grouped.voldesk("strategies", "resume", "patient").code == 0

    fast = grouped.pid("strategy-fast")
    grouped.config_path.write_text(text.replace(GROUP, ""))
    moved = grouped.voldesk("up", "--timeout", "180", "--json")
    assert moved.code == 0, moved.err + grouped.logs()
    assert "strategy-fast" not in grouped.services()
    assert not is_alive(fast)
    until(grouped, "one host runs both", lambda: set(listed(grouped)) == {"patient", "quick"})
    assert ended(grouped, "quick") == before
    assert grouped.voldesk("strategies", "resume", "quick").code == 0
    until(grouped, "it trades there", lambda: len(ended(grouped, "quick") - before) >= 1, 240)
    for trade_id in ended(grouped, "quick"):
        opened, closed = opened_and_closed(grouped, trade_id)
        assert closed == {symbol: -quantity for symbol, quantity in opened.items()}
    assert [row["trade_id"] for row in grouped.trades("patient")] == [held["trade_id"]]
    assert grouped.trade(held["trade_id"])["state"] == "OPEN"
    assert_books_balance(grouped)
    alerts = [json.loads(line) for line in (grouped.run_dir / "alerts.jsonl").read_text().splitlines()]
    told = [alert for alert in alerts if alert["code"] in ("trade_vanished", "core_failed", "strategy_load_failed")]
    assert told == []
