"""A real desk: `voldesk up` in a directory of its own, watched through `voldesk ... --json` and the venue's REST."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from typer.testing import CliRunner

from shared.config import DeskConfig, load_config
from shared.messages.venue import VenueFill, VenueOrder, VenuePosition
from shared.secrets import load_api_key
from shared.venues.coincall import CoincallGateway, simulated
from shared.venues.coincall.every_product import EveryProduct
from voldesk.main import app

T = TypeVar("T")

SERVICES = ("exchange", "marketdata", "risk", "execution", "strategy", "monitor")
REPOSITORY = Path(__file__).resolve().parents[2]
FINAL = ("CLOSED", "FAILED", "SETTLED")
UNAVAILABLE = 69
FLAT = {"halted": "flatten", "open_trades": 0, "foreign_positions": [], "foreign_orders": []}
"""What `voldesk flatten --json` prints when it is done."""
VOLDESK = [sys.executable, "-c", "from voldesk.main import app; app()"]


class Answer:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        assert self.code == 0, f"exit code {self.code}: {self.err}"
        return json.loads(self.out)


class Desk:
    """One desk in `home`, which holds its voldesk.toml and its run directory."""

    def __init__(self, home: Path, config: str, strategies: dict[str, str]) -> None:
        self.home = home
        self.run_dir = home / "run"
        self.config_path = home / "voldesk.toml"
        self.config_path.write_text(config)
        (home / "strategies").mkdir()
        for name, text in strategies.items():
            (home / "strategies" / f"{name}.py").write_text(text)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOLDESK_", "COINCALL_"))}
        self.environment = {
            **kept,
            "VOLDESK_CONFIG": str(self.config_path),
            "VOLDESK_RUN_DIR": str(self.run_dir),
        }
        self.started_ns = time.time_ns()
        self.setup_link = ""
        """What `up` printed at the first start, where a test keeps it."""

    @property
    def settings(self) -> DeskConfig:
        return load_config(self.config_path, {"VOLDESK_RUN_DIR": str(self.run_dir)})

    def voldesk(self, *arguments: str, answer: str = "", timeout_s: float = 120) -> Answer:
        done = subprocess.run(
            [*VOLDESK, *arguments],
            env=self.environment,
            cwd=REPOSITORY,
            input=answer,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def at_terminal(self, *arguments: str) -> Answer:
        """As `voldesk` for who sits at a terminal: `out` is all that is printed there."""
        screen, inner = pty.openpty()
        process = subprocess.Popen(
            [*VOLDESK, *arguments],
            env=self.environment,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=inner,
            stderr=inner,
        )
        os.close(inner)
        printed = b""
        with os.fdopen(screen, "rb", buffering=0) as shown, contextlib.suppress(OSError):
            while part := shown.read(65_536):
                printed += part
        return Answer(process.wait(), printed.decode(), "")

    def look(self, *arguments: str) -> Answer:
        """As `voldesk`, in this process: what is asked again and again does not start an interpreter each time.

        Only for what changes nothing: where a service does not answer, as it was killed or its machine is busy, it is
        asked again for a minute.
        """
        deadline = time.monotonic() + 60
        while True:
            answer = self._invoked(*arguments)
            if answer.code != UNAVAILABLE or time.monotonic() > deadline:
                return answer

    def _invoked(self, *arguments: str) -> Answer:
        place = {name: value for name, value in self.environment.items() if name.startswith("VOLDESK_")}
        with ThreadPoolExecutor(1) as thread:  # a command runs an event loop; the test's thread may run one already
            result = thread.submit(CliRunner().invoke, app, list(arguments), env=place).result()
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    def services(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.look("status", "--json").json["services"]}

    def pid(self, service: str) -> int:
        pid = self.services()[service]["pid"]
        assert isinstance(pid, int), f"{service} has no pid"
        return pid

    def kill(self, service: str) -> None:
        os.kill(self.pid(service), signal.SIGKILL)

    def trades(self, strategy: str | None = None) -> list[dict[str, Any]]:
        """Newest first; none while execution does not answer."""
        answer = self.look("trades", "--json")
        if answer.code == UNAVAILABLE:
            return []
        return [row for row in answer.json if strategy in (None, row["strategy"])]

    def trade(self, trade_id: str) -> dict[str, Any]:
        return next((row for row in self.trades() if row["trade_id"] == trade_id), {"state": "not answered"})

    def at_venue(self, ask: Callable[[CoincallGateway], Awaitable[T]], service: str = "risk") -> T:
        """Ask the simulated exchange over HTTP, with the key of a service; risk's can only read."""

        async def run() -> T:
            port = json.loads((self.run_dir / "ports.json").read_text())["exchange"]
            gateway = EveryProduct(simulated("127.0.0.1", port), load_api_key(self.settings, service))
            gateway.limited_to(futures=self.settings.futures, pairs=self.settings.spot_pairs)
            try:
                return await ask(gateway)
            finally:
                await gateway.close()

        return asyncio.run(run())

    def venue_fills(self) -> tuple[VenueFill, ...]:
        """All executions, each with the client order id of its order: the venue's trade history leaves it out."""
        fills = self.at_venue(lambda gateway: gateway.fills(self.started_ns))
        ours = {order.venue_order_id: order.client_order_id for order in self.venue_orders()}
        return tuple(msgspec.structs.replace(fill, client_order_id=ours[fill.venue_order_id]) for fill in fills)

    def venue_orders(self) -> tuple[VenueOrder, ...]:
        """All orders, working ones first: one that ends in between is listed twice, none is missed."""

        async def ask(gateway: CoincallGateway) -> tuple[VenueOrder, ...]:
            return (*await gateway.open_orders(), *await gateway.order_history(self.started_ns))

        return self.at_venue(ask)

    def venue_positions(self) -> dict[str, Decimal]:
        rows: tuple[VenuePosition, ...] = self.at_venue(lambda gateway: gateway.positions())
        return {row.symbol: row.quantity for row in rows if row.quantity}

    def log_of(self, service: str, track: str = "health") -> str:
        """What a service wrote to one track, as it is in the file."""
        return (self.run_dir / "logs" / track / f"{service}.jsonl").read_text(errors="replace")

    def logs(self) -> str:
        """The ends of all logs, for the message of a failed test."""
        paths = [path for path in (self.run_dir / "logs").rglob("*") if path.is_file()]
        logs = {str(path): path.read_text(errors="replace") for path in paths if path.suffix in (".log", ".jsonl")}
        return "\n".join(f"== {name}\n" + "\n".join(text.splitlines()[-15:]) for name, text in sorted(logs.items()))


def until(desk: Desk, what: str, condition: Callable[[], T | None], timeout_s: float = 120) -> T:
    """The first true value of `condition`; fails with the desk's logs when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}\n{desk.logs()}")
        time.sleep(0.2)


def filled_at_venue(desk: Desk, trade_id: str) -> dict[tuple[str, str], Decimal]:
    """Signed quantity by (symbol, "open" or "close") of a trade, from the fills of its own orders at the venue."""
    orders = desk.look("orders", "--all", "--trade", trade_id, "--json").json
    purposes = {int(row["order_id"]): row["purpose"] for row in orders}
    totals: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for fill in desk.venue_fills():
        purpose = purposes.get(fill.client_order_id or 0)
        if purpose is not None:
            sign = 1 if fill.side == "buy" else -1
            totals[fill.symbol, "open" if purpose == "open" else "close"] += sign * fill.quantity
    return dict(totals)


def desk_pids(run_dir: Path) -> list[int]:
    """All processes that were given this run directory."""
    wanted = f"VOLDESK_RUN_DIR={run_dir}".encode()
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    pids.append(int(entry.name))
            except OSError:
                continue
    return pids


def all_running(desk: Desk) -> bool:
    return all(row["state"] == "RUNNING" for row in desk.services().values())


def newest_in(desk: Desk, strategy: str, states: tuple[str, ...]) -> dict[str, Any] | None:
    return next((row for row in desk.trades(strategy) if row["state"] in states), None)


def signed_legs(trade: dict[str, Any]) -> dict[str, Decimal]:
    return {leg["symbol"]: Decimal(leg["qty"]) * (1 if leg["side"] == "buy" else -1) for leg in trade["legs"]}


def opened_and_closed(desk: Desk, trade_id: str) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Signed quantities that the venue filled for the trade, by symbol."""
    filled = filled_at_venue(desk, trade_id)
    opened = {symbol: quantity for (symbol, purpose), quantity in filled.items() if purpose == "open"}
    return opened, {symbol: quantity for (symbol, purpose), quantity in filled.items() if purpose == "close"}


def assert_books_balance(desk: Desk) -> None:
    """Over everything that happened to this desk: no fill of an unknown order, no fill twice, books balance.

    The desk trades on afterwards.
    """
    desk.voldesk("flatten", "--yes")
    orders = {row["order_id"]: row for row in desk.look("orders", "--all", "--limit", "10000", "--json").json}
    by_order: dict[str, Decimal] = defaultdict(Decimal)
    net: dict[str, Decimal] = defaultdict(Decimal)
    for fill in desk.venue_fills():
        by_order[str(fill.client_order_id)] += fill.quantity
        net[fill.symbol] += fill.quantity if fill.side == "buy" else -fill.quantity
    assert dict(by_order) == {
        number: Decimal(row["filled_qty"]) for number, row in orders.items() if Decimal(row["filled_qty"])
    }
    assert {symbol: quantity for symbol, quantity in net.items() if quantity} == {}
    assert desk.venue_positions() == {}
    assert desk.voldesk("resume", "--yes").code == 0


def order_ids(orders: list[dict[str, Any]]) -> set[str]:
    return {row["order_id"] for row in orders}
