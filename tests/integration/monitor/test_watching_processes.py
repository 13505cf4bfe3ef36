"""Exchange, market data, risk and monitor as real processes on a real bus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from services.monitor.web.store import WebStore, store_path
from shared.config import load_config
from shared.ports import resolve_ports
from shared.secrets import ensure_grant_key, ensure_paper_secrets

CONFIGURATION = """
[desk]
name = "watched"
venue = "sim"
underlyings = ["BTCUSD"]

[monitor]
services = ["marketdata", "risk"]
startup_grace_ms = 60000
recovered_ms = 1000
"""
PATIENCE_S = 120.0
ROOT = Path(__file__).parents[3]


class Desk:
    """Processes of one desk, each with its output in a file."""

    def __init__(self, directory: Path, more: str = "") -> None:
        path = directory / "voldesk.toml"
        path.write_text(CONFIGURATION + more)
        self._environment = {
            k: v for k, v in os.environ.items() if k not in ("TRADING_ENVIRONMENT", "VOLDESK_RUN_DIR")
        }
        self._environment["VOLDESK_CONFIG"] = str(path)
        self._directory = directory
        self.config = load_config(path, self._environment)
        ensure_paper_secrets(self.config.run_dir)
        ensure_grant_key(self.config.run_dir)
        self.ports = resolve_ports(self.config.run_dir, self.config.ports)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        store = WebStore(store_path(self.config.run_dir))
        self._token = store.new_token("test", ("read",), time.time_ns())
        store.close()

    def start(self, service: str) -> None:
        with (self._directory / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def kill(self, service: str) -> None:
        self.processes[service].send_signal(signal.SIGKILL)
        self.processes[service].wait()

    def stop(self) -> dict[str, int]:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        return {service: process.wait(60) for service, process in self.processes.items()}

    def log(self, service: str) -> str:
        return (self._directory / f"{service}.log").read_text()

    def wait(self, what: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first time that what the dashboard tells of services, account and alerts meets `condition`."""
        deadline = time.monotonic() + PATIENCE_S
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            try:
                status = {**self.told("overview"), "alerts": self.told("alerts")}
            except httpx.TransportError:
                status = {}
            if status and condition(status):
                return status
            time.sleep(0.1)
        pytest.fail(f"{what} did not happen; last status {status}; logs {[self.log(s) for s in self.processes]}")

    def told(self, what: str) -> Any:
        address = f"http://127.0.0.1:{self.ports['web']}/api/{what}"
        return (
            httpx.get(address, headers={"Authorization": f"Bearer {self._token}"}, timeout=60)
            .raise_for_status()
            .json()
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.stop()


def service(status: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(view for view in status["services"] if view["name"] == name)
    return found


def is_ready(status: dict[str, Any], name: str) -> bool:
    return bool(service(status, name)["state"] == "ready")


def alerts(status: dict[str, Any]) -> dict[tuple[str, str], bool]:
    """(code, subject) of each alert, and whether it is over."""
    return {(alert["code"], alert["subject"]): not alert["open"] for alert in status["alerts"]}


def test_the_page_shows_a_killed_service_and_its_return(desk: Desk) -> None:
    for name in ("exchange", "marketdata", "risk", "monitor"):
        desk.start(name)
    waiting = "execution has not replayed its trades yet"
    status = desk.wait(
        "market data and the account",
        lambda s: is_ready(s, "marketdata") and s["account"] is not None and service(s, "risk")["detail"] == waiting,
    )
    assert status["account"]["equity_usd"] == "100000"
    assert not is_ready(status, "risk")

    desk.kill("marketdata")
    matter = ("service_down", "marketdata")
    desk.wait("the alarm", lambda s: service(s, "marketdata")["state"] == "down" and alerts(s).get(matter) is False)
    assert httpx.get(f"http://127.0.0.1:{desk.ports['web']}/healthz", timeout=60).status_code == 503

    desk.start("marketdata")
    desk.wait("the recovery", lambda s: alerts(s)[matter] and service(s, "marketdata")["state"] != "down")
    desk.wait("quotes", lambda s: is_ready(s, "marketdata"))
    written = [msgspec.json.decode(line) for line in (desk.config.run_dir / "alerts.jsonl").read_bytes().splitlines()]
    downs = [
        line["resolved"] for line in written if (line["code"], line["subject"]) == ("service_down", "marketdata")
    ]
    assert downs[:2] == [False, True], "on a busy machine it may seem down once more"
    assert desk.stop() == {"exchange": 0, "marketdata": 0, "risk": 0, "monitor": 0}


def test_services_start_without_the_venue_and_work_once_it_is_there(desk: Desk) -> None:
    for name in ("marketdata", "risk", "monitor"):
        desk.start(name)
    status = desk.wait(
        "waiting for the venue",
        lambda s: all("venue cannot be asked" in service(s, name)["detail"] for name in ("marketdata", "risk")),
    )
    assert status["account"] is None
    desk.start("exchange")
    desk.wait("the venue's figures", lambda s: is_ready(s, "marketdata") and s["account"] is not None)


def test_a_key_that_the_venue_does_not_know_ends_the_start_with_the_remedy(desk: Desk) -> None:
    desk.start("exchange")
    secret = desk.config.run_dir / "secrets" / "sim-risk.env"
    lines = [
        line.split("=", 1)[0] + "=" + "x" * 20 if "KEY" in line.split("=", 1)[0] else line
        for line in secret.read_text().splitlines()
    ]
    secret.write_text("\n".join(lines) + "\n")
    desk.start("risk")
    assert desk.processes["risk"].wait(PATIENCE_S) == 78
    assert "the venue does not know this API key" in desk.log("risk")
