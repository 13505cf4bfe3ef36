"""Two strategy hosts of one desk whose bus is TCP with CURVE: they trade, one is killed, one key is for both, and a
strategy moves into a group that comes to be while the other's ports stay."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.tick_to_order_curve import free_ports
from shared.bus.endpoints import Endpoints
from shared.config import SERVICE_NAMES
from shared.strategy_hosts import GROUPS_MAX
from tests.e2e.conftest import make_desk, strangle_file, take_down
from tests.e2e.stack import FINAL, Desk, all_running, assert_books_balance, newest_in, opened_and_closed, until
from voldesk.processes import is_alive

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]

IN_FAST = '[strategy.instances.quick]\ngroup = "fast"\n'
IN_SLOW = '[strategy.instances.patient]\ngroup = "slow"\n'
TOLD = """
from pathlib import Path


def told_to(view, now_ns):
    return Path(__file__).with_suffix(".told").exists()

"""
"""An exit that only the host that runs the strategy can look at."""


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Desk]:
    patient = strangle_file("patient", "1", hold_s=30_000, cooldown_s=60_000)
    files = {
        "patient": TOLD + patient.replace("exit_conditions=[", "exit_conditions=[told_to, "),
        "quick": strangle_file("quick", "1", hold_s=2),
    }
    made = make_desk("encrypted", 4, ["patient", "quick"], files)
    first = free_ports(2 * (len(SERVICE_NAMES) + GROUPS_MAX))
    bus = f'\n[bus]\ntransport = "tcp"\ncurve = true\nbase_port = {first}\n\n'
    made.config_path.write_text(made.config_path.read_text() + bus + IN_FAST)
    started = made.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + made.logs()
    yield made
    take_down(made)


def ended(desk: Desk, strategy: str) -> set[str]:
    return {row["trade_id"] for row in desk.trades(strategy) if row["state"] in FINAL}


def trades_on(desk: Desk, what: str, count: int = 1) -> None:
    """Wait until `quick` has opened and closed so many trades from now on."""
    before = ended(desk, "quick")
    until(desk, what, lambda: len(ended(desk, "quick") - before) >= count, 240)


def listed(desk: Desk) -> dict[str, dict[str, Any]]:
    return {row["strategy"]: row for row in desk.look("strategies", "--json").json}


def ports_of(desk: Desk, service: str) -> tuple[int, int]:
    """Where a service's events and requests are by what the desk has written down."""
    settings = desk.settings
    places = Endpoints(settings.run_dir, settings.bus, settings.strategy_hosts)
    events, requests = (place(service).rpartition(":")[2] for place in (places.events, places.requests))
    return int(events), int(requests)


def listens(pid: int) -> set[int]:
    """The TCP ports on which a process listens, as the kernel has them."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry)):
            sockets.add(found[1])
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in sockets}


def test_each_host_listens_on_ports_of_its_own_and_both_trade(encrypted: Desk) -> None:
    assert encrypted.look("keys", "--json").json["in_use"]
    assert not (encrypted.run_dir / "keys" / "strategy-fast").exists()
    for service in ("strategy", "strategy-fast"):
        assert set(ports_of(encrypted, service)) <= listens(encrypted.pid(service))
        assert encrypted.voldesk("healthcheck", service).code == 0
    assert set(listed(encrypted)) == {"patient", "quick"}
    until(encrypted, "patient holds a trade", lambda: newest_in(encrypted, "patient", ("OPEN",)))
    trades_on(encrypted, "quick trades")


@pytest.mark.parametrize("service", ["strategy-fast", "strategy"])
def test_a_host_that_is_killed_is_back_with_what_it_had(encrypted: Desk, service: str) -> None:
    held = until(encrypted, "patient holds a trade", lambda: newest_in(encrypted, "patient", ("OPEN",)))
    pids = {name: encrypted.pid(name) for name in ("strategy", "strategy-fast")}
    os.kill(pids[service], signal.SIGKILL)
    until(encrypted, "it is back", lambda: all_running(encrypted) and encrypted.pid(service) != pids[service])
    other = next(name for name in pids if name != service)
    assert encrypted.pid(other) == pids[other]
    trades_on(encrypted, "quick trades on")
    until(encrypted, "the trade is looked after", lambda: listed(encrypted)["patient"]["exits"])
    assert newest_in(encrypted, "patient", ("OPEN",)) == encrypted.trade(held["trade_id"])


def test_the_key_of_all_hosts_is_rotated_while_they_trade(encrypted: Desk) -> None:
    pids = [encrypted.pid(name) for name in ("strategy", "strategy-fast")]
    assert encrypted.voldesk("keys", "rotate", "strategy").code == 0
    trades_on(encrypted, "quick trades with the new key")
    until(encrypted, "both answer", lambda: set(listed(encrypted)) == {"patient", "quick"})
    assert [encrypted.pid(name) for name in ("strategy", "strategy-fast")] == pids


def test_a_strategy_moves_into_a_new_group_and_one_group_ends_while_the_other_keeps_its_ports(
    encrypted: Desk,
) -> None:
    held = until(encrypted, "patient holds a trade", lambda: newest_in(encrypted, "patient", ("OPEN",)))
    ports, fast = ports_of(encrypted, "strategy-fast"), encrypted.pid("strategy-fast")
    text = encrypted.config_path.read_text()

    encrypted.config_path.write_text(text + IN_SLOW)
    moved = encrypted.voldesk("up", "--timeout", "180", "--json")
    assert moved.code == 0, moved.err + encrypted.logs()
    assert encrypted.pid("strategy-fast") == fast
    assert ports_of(encrypted, "strategy-fast") == ports
    assert set(ports_of(encrypted, "strategy-slow")) <= listens(encrypted.pid("strategy-slow"))
    assert "strategy taken over" in encrypted.log_of("strategy-slow", "strategy")
    exits = until(encrypted, "its exits are looked at", lambda: listed(encrypted)["patient"]["exits"])
    assert [each["trade_id"] for each in exits] == [held["trade_id"]]
    trades_on(encrypted, "the host that was left alone trades on")

    slow = ports_of(encrypted, "strategy-slow")
    encrypted.config_path.write_text(text.replace(IN_FAST, IN_SLOW))
    ended_group = encrypted.voldesk("up", "--timeout", "180", "--json")
    assert ended_group.code == 0, ended_group.err + encrypted.logs()
    assert not is_alive(fast)
    assert "strategy-fast" not in encrypted.services()
    assert ports_of(encrypted, "strategy-slow") == slow
    trades_on(encrypted, "quick trades in the default host")
    assert encrypted.trade(held["trade_id"])["state"] == "OPEN"


def test_a_backup_is_restored_into_an_empty_run_directory(encrypted: Desk) -> None:
    """As docs/deployment.md has it: what it says is not needed is left out."""
    held = until(encrypted, "patient holds a trade", lambda: newest_in(encrypted, "patient", ("OPEN",)))
    assert encrypted.voldesk("strategies", "pause", "quick", "--json").json["strategies"] == ["quick"]
    until(encrypted, "nothing of it is open", lambda: all(row["state"] in FINAL for row in encrypted.trades("quick")))
    assert encrypted.voldesk("down").code == 0
    kept, run_dir = encrypted.home / "desk-backup.tar.gz", encrypted.run_dir
    left_out = [f"--exclude=./{name}" for name in ("logs", "prometheus", "starts", "locks")]
    subprocess.run(["tar", "-C", str(run_dir), *left_out, "-czf", str(kept), "."], check=True, timeout=60)
    shutil.rmtree(run_dir)

    run_dir.mkdir(mode=0o700)
    subprocess.run(["tar", "-C", str(run_dir), "-xzf", str(kept)], check=True, timeout=60)
    started = encrypted.voldesk("up", "--timeout", "180", "--json")
    assert started.code == 0, started.err + encrypted.logs()
    exits = until(encrypted, "its exits are looked at", lambda: listed(encrypted)["patient"]["exits"])
    assert [each["trade_id"] for each in exits] == [held["trade_id"]]
    assert listed(encrypted)["quick"]["state"] == "paused"
    assert encrypted.voldesk("strategies", "resume", "quick").code == 0
    trades_on(encrypted, "quick trades again")


def test_the_trade_that_moved_is_closed_by_its_new_host_and_nothing_was_refused_or_doubled(encrypted: Desk) -> None:
    held = until(encrypted, "patient holds a trade", lambda: newest_in(encrypted, "patient", ("OPEN",)))
    for strategy in ("patient", "quick"):
        assert encrypted.voldesk("strategies", "pause", strategy, "--json").json["strategies"] == [strategy]
    (encrypted.home / "strategies" / "patient.told").touch()
    until(encrypted, "its host closes it", lambda: encrypted.trade(held["trade_id"])["state"] == "CLOSED", 240)
    until(encrypted, "all are closed", lambda: all(row["state"] in FINAL for row in encrypted.trades()))
    for trade_id in ended(encrypted, "quick") | {held["trade_id"]}:
        opened, closed = opened_and_closed(encrypted, trade_id)
        assert closed == {symbol: -quantity for symbol, quantity in opened.items()}
    assert_books_balance(encrypted)
    alerts = [json.loads(line) for line in (encrypted.run_dir / "alerts.jsonl").read_text().splitlines()]
    codes = ("trade_vanished", "trade_without_host", "core_failed", "strategy_load_failed")
    assert [alert for alert in alerts if alert["code"] in codes] == []
    for service in encrypted.services():
        assert "key_not_allowed" not in encrypted.log_of(service)
