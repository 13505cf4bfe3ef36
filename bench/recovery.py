"""How long a service is away after SIGKILL: from the kill until its own evidence says that it works again.

    python -m bench.recovery [--json] [--quick] [--kills 20] [--services risk,execution]

A whole desk under supervisord, as `voldesk up` starts it. Evidence, of the new process only: marketdata publishes a
chain that was received after the kill; risk gives a grant; execution withdraws an order that rested at the venue when
it was killed and whose time was up meanwhile (so it has folded its journal and compared with the venue); strategy has
resolved its legs with all host gates open; the dashboard answers
who has a token, and has heard that every service is ready; the exchange answers a
signed request. supervisord's delay and Python's start count. Between two kills the desk comes to rest. Beside each
stands how long a new interpreter took to import the service's modules just before the kill.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.desk import REPOSITORY, BenchDesk
from bench.harness import Run, bench_main
from bench.rows import Row, at_most, row
from services.monitor.web.store import WebStore, store_path
from shared.bus import Bus, NoAnswer
from shared.config import DeskConfig
from shared.messages.control import GrantGiven, RequestGrant, StrategyStatus
from shared.messages.market import ChainSnapshot
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.system import Heartbeat
from shared.messages.topics import BUS_SERVICES
from shared.messages.trades import LegOrder, OrderUpdate
from shared.ports import resolve_ports
from shared.secrets import load_api_key
from shared.venues.coincall import simulated
from shared.venues.coincall.endpoints import KEY_INFO
from shared.venues.coincall.rest import RestClient
from shared.venues.ports import VenueError

KILLS, QUICK_KILLS = 20, 1
LIMIT_S = 3.0
PATIENCE_S = 60.0
POLL_S = 0.02
QUIET_S = 1.5
"""How long everybody must have been ready before the next kill."""

SERVICES = (*BUS_SERVICES, "exchange")
GATES = ("state", "execution", "risk", "halts", "intent", "legs")

CONFIG = """
[desk]
name = "recovery"
account_id = "recovery"
venue = "sim"
underlyings = ["BTCUSD", "ETHUSD"]
[risk]
max_consecutive_losses = 100000
max_grants_per_minute = 1000
max_trade_risk_pct = 20
max_total_risk_pct = 100
max_open_trades = 1000
[strategy]
enabled = ["looker", "rester"]
folders = ["strategies"]
"""

LOOKER = """
from shared.strategy import StrategyConfig, max_hold_hours, strangle


def looker() -> StrategyConfig:
    return StrategyConfig(
        name="looker",
        legs=strangle(qty="0.1", call_delta=0.25, put_delta=-0.25, side="buy", underlying="ETHUSD"),
        exit_conditions=[max_hold_hours(1)],
        check_interval_seconds=0.5,
        cooldown_seconds=86_400,
        dry_run=True,
    )
"""

RESTER = '''
from decimal import Decimal

import numpy as np

from shared.messages.trades import ExecutionParams, LegOrder, LimitPhase
from shared.strategy.protocol import CloseStructure, OpenStructure

DAY_NS = 86_400_000_000_000
AT_THE_BID = LimitPhase(pricing="passive", duration_s=1.0, reprice_interval_s=60.0)
PARAMS = ExecutionParams(phases=(AT_THE_BID,), fill_timeout_s=1.0, max_requote_rounds=1, final_look_s=1.0)


class Rester:
    """Keeps bidding for one option; each bid is withdrawn after a second."""

    name = "rester"

    def on_market(self, underlying, desk, now_ns):
        chain = desk.chains.get("BTCUSD")
        if chain is None or desk.entry_closed is not None or desk.history.open_trades:
            return ()
        week = np.array([6 < (each.expiry_ns - now_ns) / DAY_NS < 40 for each in chain.instruments])
        off = np.where(week, np.abs(chain.column("delta") - 0.5), np.nan)
        symbol = chain.instruments[int(np.nanargmin(off))].symbol
        leg = LegOrder(symbol=symbol, side="buy", quantity=Decimal("0.01"))
        return (OpenStructure(legs=(leg,), execution_mode="limit", execution_params=PARAMS),)

    def on_order(self, order, desk, now_ns):
        return ()

    def on_trade(self, trade, desk, now_ns):
        return (CloseStructure(trade_id=trade.trade_id, reason="hit"),) if trade.state == "OPEN" else ()

    def on_timer(self, desk, now_ns):
        return ()

    def on_outcome(self, outcome, now_ns):
        return None

    def gates(self):
        return ()

    def next_deadline_ns(self):
        return None


def rester():
    return Rester()
'''


class Watcher:
    """What the desk says on the bus, newest first looked at; and questions of our own."""

    def __init__(self, desk: DeskConfig, bus: Bus) -> None:
        self.desk = desk
        self.bus = bus
        self.beats: dict[str, Heartbeat] = {}
        self.ready_since: dict[str, float] = {}
        self.chains: dict[str, tuple[int, ChainSnapshot]] = {}
        self.statuses: dict[str, tuple[int, StrategyStatus]] = {}
        self.orders: dict[int, tuple[int, OrderUpdate]] = {}
        self._asked = 0
        store = WebStore(store_path(desk.run_dir))
        self._token = store.new_token("bench", ("read",), time.time_ns())
        store.close()
        bus.subscribe("marketdata", ("md.", "sys.marketdata.heartbeat"), self._hear)
        bus.subscribe("execution", ("exec.", "sys.execution.heartbeat"), self._hear)
        bus.subscribe("strategy", ("strat.", "sys.strategy.heartbeat"), self._hear)
        for service in ("risk", "monitor", "exchange"):
            bus.subscribe(service, (f"sys.{service}.heartbeat",), self._hear)

    def _hear(self, item: Inbound | StreamSynced) -> None:
        if isinstance(item, StreamSynced):
            return
        match item.message:
            case Heartbeat() as beat:
                self.beats[beat.service] = beat
                if not beat.ready:
                    self.ready_since.pop(beat.service, None)
                else:
                    self.ready_since.setdefault(beat.service, time.monotonic())
            case ChainSnapshot() as chain:
                self.chains[chain.underlying] = item.epoch, chain
            case StrategyStatus() as status:
                self.statuses[status.strategy] = item.epoch, status
            case OrderUpdate() as order:
                self.orders[order.client_order_id] = item.epoch, order
            case _:
                pass

    def at_rest(self) -> bool:
        """Everybody has been ready for a while, and lately heard."""
        now, now_ns = time.monotonic(), time.time_ns()
        return all(
            service in self.ready_since
            and now - self.ready_since[service] > QUIET_S
            and now_ns - self.beats[service].beat_ns < 2e9
            for service in SERVICES
        )

    def resting(self) -> OrderUpdate | None:
        """The newest order that rests at the venue."""
        orders = [order for _, order in self.orders.values() if order.state == "WORKING"]
        return orders[-1] if orders else None

    async def grant(self) -> bool:
        """Whether risk gives a grant, in a tenth of a second."""
        self._asked += 1
        chain = self.statuses["looker"][1]
        symbol = next(gate.reason for gate in chain.gates if gate.name == "legs").split(",")[0].split()[-1]
        ask = RequestGrant(
            intent_id=f"probe-{self._asked}",
            account_id=self.desk.account_id,
            strategy="probe",
            legs=(LegOrder(symbol=symbol, side="buy", quantity=Decimal("0.1")),),
            execution_mode="limit",
            max_loss_usd=None,
            valid_until_ns=time.time_ns() + 1_000_000_000,
        )
        try:
            return isinstance(await self.bus.ask("risk", ask, 100), GrantGiven)
        except NoAnswer:
            return False

    def evaluates(self, since_epoch: int) -> bool:
        epoch, status = self.statuses.get("looker", (0, None))
        if epoch <= since_epoch or status is None:
            return False
        opened = {gate.name for gate in status.gates if gate.open}
        return opened.issuperset(GATES)

    def page(self) -> bool:
        """Whether monitor's page answers, and shows every service heard and up."""
        port = resolve_ports(self.desk.run_dir, self.desk.ports)["web"]
        headers = {"Authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/overview", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=1) as answer:
                services = json.load(answer)["services"]
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                raise RuntimeError(f"the dashboard does not take what this bench asks: {error}") from None
            return False
        except (OSError, ValueError):
            return False
        return all(view["state"] == "ready" for view in services)

    async def signed(self) -> bool:
        """Whether the exchange answers a request that is signed."""
        port = resolve_ports(self.desk.run_dir, self.desk.ports)["exchange"]
        rest = RestClient(simulated("127.0.0.1", port).rest, load_api_key(self.desk, "risk"), backoff_s=())
        try:
            await rest.read(KEY_INFO)
        except VenueError:
            return False
        finally:
            await rest.close()
        return True


Evidence = Callable[[], Awaitable[bool]]


def evidence(watcher: Watcher, service: str) -> Evidence:
    """What proves that a new process of the service works. Made just before the kill."""
    epoch, killed_ns = watcher.beats[service].epoch, time.time_ns()
    resting = watcher.resting()

    async def holds() -> bool:
        match service:
            case "marketdata":
                chains = watcher.chains.values()
                return all(at > epoch and chain.received_ns > killed_ns for at, chain in chains)
            case "risk":
                return await watcher.grant()
            case "strategy":
                return watcher.evaluates(epoch)
            case "execution":
                assert resting is not None, "an order rests when execution is killed"
                at, order = watcher.orders[resting.client_order_id]
                return at > epoch and order.state == "CANCELLED"
            case "monitor":
                return await asyncio.to_thread(watcher.page)
            case _:
                return await watcher.signed()

    return holds


async def until(condition: Evidence, what: str) -> None:
    """Raises RuntimeError when the condition does not hold in time."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE_S:.0f} s: {what}")
        await asyncio.sleep(POLL_S)


async def imported(service: str) -> float:
    """Seconds that a new interpreter takes to import the service's modules now: what no restart can do without."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import services.{service}.shell", cwd=REPOSITORY
    )
    await process.wait()
    return time.monotonic() - began


async def killed(desk: BenchDesk, watcher: Watcher, service: str) -> float:
    """Kill the service once and return the seconds until it works again."""

    async def may_be_killed() -> bool:
        return watcher.at_rest() and (service != "execution" or watcher.resting() is not None)

    await until(may_be_killed, f"the desk at rest before a kill of {service}: {told(watcher)}")
    proof = evidence(watcher, service)
    pid = watcher.beats[service].pid
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    await until(proof, f"{service} at work after its kill: {told(watcher)}")
    return time.monotonic() - began


def told(watcher: Watcher) -> str:
    """What the services say of themselves, for the message of a failure."""
    return ", ".join(f"{beat.service} {'ready' if beat.ready else beat.detail}" for beat in watcher.beats.values())


Seconds = dict[str, list[tuple[float, float]]]
"""By service: of each kill, until it worked again and, just before, for importing its modules."""


async def kills(desk: BenchDesk, services: tuple[str, ...], count: int) -> Seconds:
    """Services in turn."""
    found: Seconds = {service: [] for service in services}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with Bus.client(desk.settings) as bus:
        watcher = Watcher(desk.settings, bus)
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("kills", total=count * len(services))
            for _ in range(count):
                for service in services:
                    progress.update(task, description=f"kill -9 {service}")
                    floor = await imported(service)
                    found[service].append((await killed(desk, watcher, service), floor))
                    progress.advance(task)
    return found


def figures(found: Seconds) -> list[Row]:
    """p99 and p50 of each service."""
    rows = []
    for service, seconds in found.items():
        away, floor = np.array(seconds).T
        for percentile, target in ((99, at_most(LIMIT_S)), (50, None)):
            rows.append(
                row(
                    f"{service}, kill -9 to work again, p{percentile}",
                    round(float(np.percentile(away, percentile)), 2),
                    "s",
                    beside="importing its modules",
                    beside_value=round(float(np.percentile(floor, percentile)), 2),
                    target=target,
                    note=f"{len(seconds)} kills, worst {away.max():.2f} s" if target else "",
                )
            )
    return rows


def measure(run: Run) -> list[Row]:
    services = tuple(run.arguments.services.split(","))
    unknown = [service for service in services if service not in SERVICES]
    if unknown:
        raise SystemExit(f"there is no service {unknown[0]!r}; use some of {','.join(SERVICES)}")
    count = QUICK_KILLS if run.quick else run.arguments.kills
    with tempfile.TemporaryDirectory(prefix="vd-kill-") as home:
        desk = BenchDesk(Path(home), CONFIG, {"looker": LOOKER, "rester": RESTER})
        with desk.up():
            return figures(uvloop.run(kills(desk, services, count)))


def _add_arguments(parser: Any) -> None:
    parser.add_argument("--kills", type=int, default=KILLS, help=f"kills of each service (default {KILLS})")
    parser.add_argument("--services", default=",".join(SERVICES), help="which ones, with commas (default: all)")


def main() -> int:
    return bench_main(__doc__, measure, _add_arguments)


if __name__ == "__main__":
    sys.exit(main())
