"""A real desk under a schedule of faults: started by `voldesk up`, watched from outside, put right in the end."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx

from bench.desk import BenchDesk
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.rows import Row
from shared.entries import JournalReader
from shared.service.journals import binding_of, journal_path
from shared.venues.ports import VenueError
from soak.books import FINAL, VenueRecord, broken_promises, trades_of
from soak.causes import AlertSeen, Cause, Spell, open_matters, stays_on, waits_for_a_person
from soak.record import Record
from soak.schedule import SERVICES, Act, cause_of, lasts_s, schedule
from soak.strategies import NAMES, strategy_files
from soak.watch import Pulse, Watch

START_CASH_USD = Decimal(1_000_000)
SAMPLE_S = 60.0
TICK_S = 0.2
ORDER_S = 300.0
"""How long the desk may take to put everything in order once it is left alone."""

KILL_S = 5.0
"""A killed process counts as gone for so long; what it leaves behind may last longer and is the kinds' own grace."""

CONFIG = """
[desk]
name = "soak"
number = 6
account_id = "soak"
venue = "sim"
underlyings = ["BTCUSD", "ETHUSD"]

# What is kept is bounded, and the bounds are low here, so that they are reached long before the end.
[bus]
answers_kept = 256
events_kept = 256

[monitor]
keep_alerts = 100
keep_trades = 50

[exchange]
kept_orders = 1000
kept_fills = 1000
paper_balance_usd = "{cash}"

[exchange.rfq]
kept_requests = 100

# Strategies that pay the spread with every trade, and faults on purpose: no breaker shall end the run.
[risk]
max_consecutive_losses = 100000
max_slippage_pct = 100
max_rejection_pct = 100
max_venue_errors_per_minute = 1000
max_drawdown_pct = 90
max_daily_loss_pct = 90

[execution]
close_step_ms = 1000
urgent_step_ms = 1000
answers_kept = 256

[strategy]
enabled = {enabled}
folders = ["strategies"]
"""


class Stopped(Exception):
    """The desk did not come to rest in time; what was seen until then is in the record."""


class DeskSoak:
    """One desk, one schedule. `say` is told one line a minute; the record is written to `path` every minute."""

    def __init__(
        self, seconds: float, seed: int, version: str, machine: str, path: Path, say: Callable[[str], None]
    ) -> None:
        self._seconds = seconds
        self._acts = schedule(seed, seconds)
        self._path = path
        self._say = say
        self._home = Path(tempfile.mkdtemp(prefix="vd-soak-"))
        config = CONFIG.format(enabled=json.dumps(list(NAMES)), cash=START_CASH_USD)
        self.desk = BenchDesk(self._home, config, strategy_files(hold_s=5, cooldown_s=8))
        self._began = time.time()
        self._watch = Watch(self.desk.run_dir, self._began)
        self._venue = VenueRecord(int(self._began * 1e9))
        self._continues: list[tuple[float, int]] = []
        self._done: Counter[str] = Counter()
        self.record = Record(
            version=version,
            began=f"{datetime.fromtimestamp(self._began, UTC):%Y-%m-%d %H:%M} UTC",
            seed=seed,
            machine=machine,
        )

    @property
    def _at_s(self) -> float:
        return time.time() - self._began

    def run(self) -> Record:
        """Start the desk, soak it, put it in order, judge its books, end it."""
        pulse = Pulse(self._began)
        try:
            with self.desk.up():
                self._spell("start", ended_s=self._at_s)
                self._soak(pulse)
                self._put_in_order()
                self._look(pulse)
        except Stopped as stopped:
            self.record.broken.append(str(stopped))
        finally:
            pulse.stop()
            self._keep(pulse)
        self.record.final_trades_mb = final_trades_mb(self.desk)
        self.record.write(self._path)
        if self.record.broken:
            self._say(f"the run directory is kept: {self.desk.run_dir}")
        else:
            shutil.rmtree(self._home, ignore_errors=True)
        return self.record

    # While faults are on

    def _soak(self, pulse: Pulse) -> None:
        begun_s, acts, sample_at_s = self._at_s, list(self._acts), 0.0
        while (at_s := self._at_s - begun_s) < self._seconds:
            while acts and acts[0].at_s <= at_s:
                self._do(acts.pop(0))
            self._continue_those_due()
            if at_s >= sample_at_s:
                sample_at_s += SAMPLE_S
                self._look(pulse)
            time.sleep(TICK_S)
        self.record.seconds = self._at_s - begun_s
        self._continue_those_due(everybody=True)
        self._control("DELETE", None)

    def _do(self, act: Act) -> None:
        if act.fault is not None:
            if self._control("POST", act.fault):
                what = f"{act.fault['kind']} {act.fault.get('path_prefix', '')}".strip()
                self._spell(cause_of(act.fault), ended_s=self._at_s + lasts_s(act.fault), what=what)
                self._done[f"fault {act.fault['kind']}"] += 1
            return
        pid = self.desk.pids().get(act.service)
        if pid is None:
            self._done[f"{act.service} was down already"] += 1
            return
        with suppress(ProcessLookupError):
            if act.stop_s:
                os.kill(pid, signal.SIGSTOP)
                self._continues.append((self._at_s + act.stop_s, pid))
            else:
                os.kill(pid, signal.SIGKILL)
            cause: Cause = "stopped" if act.stop_s else "killed"
            ended_s = self._at_s + (act.stop_s or KILL_S)
            self._done[f"{cause} {act.service}"] += 1
            self._spell(cause, subject=act.service, ended_s=ended_s)
            if act.service == "exchange":
                for of_venue in ("venue", "stream", "frozen"):
                    self._spell(of_venue, ended_s=ended_s, what=f"the exchange is {cause}")

    def _continue_those_due(self, *, everybody: bool = False) -> None:
        for due in list(self._continues):
            at_s, pid = due
            if everybody or self._at_s >= at_s:
                self._continues.remove(due)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _control(self, method: str, fault: dict[str, object] | None) -> bool:
        port = json.loads((self.desk.run_dir / "ports.json").read_text())["exchange"]
        try:
            httpx.request(
                method, f"http://127.0.0.1:{port}/sim/faults", json=fault, timeout=5, trust_env=False
            ).raise_for_status()
        except httpx.HTTPError:
            self._done["a fault met no exchange"] += 1
            return False
        return True

    def _spell(self, cause: Cause, *, ended_s: float, subject: str = "", what: str = "") -> None:
        began_s = 0.0 if cause == "start" else self._at_s
        self.record.spells.append(
            Spell(cause=cause, began_s=round(began_s, 2), ended_s=round(ended_s, 2), subject=subject, what=what)
        )

    # Looks

    def _look(self, pulse: Pulse) -> None:
        at_s = self._at_s
        processes = self._watch.processes(at_s)
        self.record.samples += processes
        self.record.files.append(self._watch.files(at_s))
        self._listen()
        self._keep(pulse)
        record = self.record
        rows = " ".join(f"{name} {count:,}" for name, count in record.files[-1].rows.items())
        memory = " ".join(f"{each.service[:5]} {each.pss_mb:.0f}" for each in processes)
        raised = sum(not alert.resolved for alert in record.alerts)
        self._say(
            f"{at_s / 60:5.1f} min | PSS MB: {memory} | rows: {rows} | fills {len(self._venue.fills):,} | "
            f"done {sum(self._done.values())} | alerts {raised} ({len(open_matters(record.alerts))} open) | "
            f"complaints {len(record.complaints)}"
        )

    def _keep(self, pulse: Pulse) -> None:
        """Take in what was told since, and write the record down."""
        record = self.record
        record.alerts += self._watch.alerts()
        record.complaints += self._watch.complaints()
        record.spells = [spell for spell in record.spells if spell.cause != "machine"] + pulse.spells()
        record.done = dict(sorted(self._done.items()))
        record.fills = len(self._venue.fills)
        record.ended_s = self._at_s
        record.write(self._path)

    def _listen(self) -> bool:
        """Note what the venue lists before it forgets it. False when it does not answer now."""
        try:
            self._venue.look(self.desk)
        except (VenueError, OSError):
            return False
        return True

    # Once they are over

    def _put_in_order(self) -> None:
        desk, record = self.desk, self.record
        self._until("every service runs", self._all_running)
        for name in NAMES:
            self._until(f"{name} is paused", lambda name=name: self._asked("strategies", "pause", name))
        self._until("every trade has ended", lambda: self._unfinished() == [])
        self._until("the venue tells its fills", self._listen)
        trades = trades_of(desk)
        record.trades = dict(Counter(f"{row['strategy']} {row['state']}" for row in trades))
        record.broken += broken_promises(desk, self._venue, START_CASH_USD)
        record.broken += [
            f"{name} opened no trade" for name in NAMES if not any(row["strategy"] == name for row in trades)
        ]
        self._until("no alert is open but what waits for a person", self._quiet)
        for view in desk.answer("alerts")["alerts"]:
            if view["open"]:
                self._done[f"acknowledged {view['code']}"] += 1
                self._asked("alerts", "--ack", view["id"])
        self._until("no alert is open", lambda: not self._open_now())

    def _quiet(self) -> bool:
        return all(waits_for_a_person(alert) for alert in self._open_now())

    def _open_now(self) -> list[AlertSeen]:
        self.record.alerts += self._watch.alerts()
        return [alert for alert in open_matters(self.record.alerts) if not stays_on(alert)]

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        """Raises Stopped when it is not so in time."""
        deadline = time.monotonic() + ORDER_S
        while not condition():
            if time.monotonic() > deadline:
                open_now = [f"{alert.code} of {alert.subject}" for alert in open_matters(self.record.alerts)]
                raise Stopped(f"not within {ORDER_S:.0f} s: {what}; open alerts: {', '.join(open_now) or 'none'}")
            time.sleep(1.0)

    def _asked(self, *arguments: str) -> bool:
        try:
            self.desk.answer(*arguments)
        except subprocess.CalledProcessError:
            return False
        return True

    def _all_running(self) -> bool:
        rows = self.desk.answer("status")["services"]
        return {row["name"] for row in rows if row["state"] == "RUNNING"} >= set(SERVICES)

    def _unfinished(self) -> list[str] | None:
        """None while execution does not answer."""
        try:
            rows = self.desk.answer("trades", "--open")
        except subprocess.CalledProcessError:
            return None
        return [row["trade_id"] for row in rows if row["state"] not in FINAL]


def final_trades_mb(desk: BenchDesk) -> float:
    """What execution's book takes when its journal is folded here: the trades that it keeps for its retention."""
    settings = desk.settings
    path = journal_path(settings, "execution")
    if not path.exists():
        return 0.0
    config = settings.section("execution", ExecutionConfig)
    tracemalloc.start()
    try:
        book = Book.empty(config)
        reader = JournalReader(path, binding_of(settings), Row)
        try:
            for _, entry in reader.entries():
                book.apply(entry)
        finally:
            reader.close()
        del reader
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 1_048_576
    finally:
        tracemalloc.stop()
