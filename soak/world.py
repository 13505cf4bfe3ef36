"""Two days of a desk in the World: strategies in all modes, expiries, incidents, bursts of faults; everything is
checked throughout, and what each core keeps is counted whenever all is at rest."""

from __future__ import annotations

import datetime as dt
import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from random import Random

import msgspec

from bench.memory import sample_of
from services.exchange.config import AccountConfig, ExchangeConfig
from services.execution.book import Book
from services.execution.config import ExecutionConfig
from services.execution.core import ExecutionCore
from services.execution.rows import EndedForgotten
from services.strategy.config import StrategyHostConfig
from shared.messages.control import LiftHalts, StrategyCommand
from shared.messages.steps import Entry
from shared.strategy import (
    LegSpec,
    RfqConfig,
    SmartConfig,
    StrategyConfig,
    max_hold_hours,
    straddle,
    strangle,
    utc_time_window,
)
from soak.causes import AlertSeen, Spell
from soak.incidents import DAY, Incidents
from soak.memory import given_out_mb
from soak.retained import retained, weighed_bytes
from world.audit import decision_violations, flip_violations, silent_changes
from world.desk import ACCOUNT_ID, DESK_NUMBER, GRANT_KEY, Desk
from world.engine import Engine
from world.faults import SECOND
from world.invariants import fold_violations, liveness_violations, naked_leg_violations, safety_violations
from world.ledger import (
    cash_violations,
    grant_violations,
    ignorance,
    ledger_violations,
    missed_events,
    outcome_violations,
    untrue_outcomes,
)
from world.limits import WIDE
from world.quoter import grid
from world.scenario import small_exchange
from world.simulate import failures
from world.violations import Violation

HOUR = 3_600 * SECOND
START_NS = 1_763_622_000_000_000_000
"""2025-11-20T07:00:00Z, an hour before an expiry; a whole number of segments later all is at rest at 07:00 again."""

SEGMENT_NS = 2 * HOUR
TRADED_NS = SEGMENT_NS - 15 * 60 * SECOND
REST_NS = 10 * 60 * SECOND
LOOK_NS = 60 * SECOND
BURSTS = 2
AUDIT_EVERY = 4
"""What execution decided is judged row by row once in so many segments, over all rows, and at the end."""

_NEVER_PULLED_PCT = 1_000.0
_EVER = 10_000
START_CASH_USD = Decimal(1_000_000)


class Keeps(msgspec.Struct, frozen=True):
    """What a core keeps at rest: elements of its containers, and the bytes of all that can be reached from it."""

    elements: int
    kilobytes: float


class WorldSample(msgspec.Struct, frozen=True, kw_only=True):
    """At rest after `hours`. rss_mb: anonymous memory of this process; given_out_mb: what its allocators have given
    out of it; records_mb: of that what the World itself keeps to check promises with: journals, the venue's books,
    what was published and what was handed to execution."""

    hours: float
    rss_mb: float
    given_out_mb: float
    records_mb: float
    keeps: dict[str, Keeps]
    places: dict[str, int]
    trades: int
    rows: int


class WorldRecord(msgspec.Struct, kw_only=True):
    """What a run in the World showed. Times of spells and alerts are virtual seconds since the start."""

    version: str
    began: str
    machine: str
    seed: int
    hours: float = 0.0
    cpu_s: float = 0.0
    samples: list[WorldSample] = []
    spells: list[Spell] = []
    alerts: list[AlertSeen] = []
    trades: dict[str, int] = {}
    modes: dict[str, int] = {}
    orders: int = 0
    restarts: int = 0
    done: dict[str, int] = {}
    broken: list[str] = []


def strategies(cooldown_s: int) -> tuple[StrategyConfig, ...]:
    """One for each way of working orders, two of them with the same legs, and two that hold over an expiry."""
    long_legs = strangle(qty="0.2", call_delta=0.25, put_delta=-0.25, dte=1, side=1)
    condor = [
        *strangle(qty="0.2", call_delta=0.30, put_delta=-0.30, dte="next", side=2),
        *strangle(qty="0.2", call_delta=0.12, put_delta=-0.12, dte="next", side=1),
    ]
    wing = [
        LegSpec("C", 1, "0.4", {"type": "spotdistance", "value": 1}, {"dte": 1}),
        LegSpec("C", 2, "0.4", {"type": "spotdistance", "value": 3}, {"dte": 1}),
    ]
    nearest = [LegSpec(kind, 1, "0.1", {"type": "spotdistance", "value": 1}, {"dte": "next"}) for kind in ("C", "P")]
    eager = RfqConfig(min_notional_usd=0.0, window_seconds=3.0, timeout_seconds=8.0, fallback_mode="limit")
    chunks = SmartConfig(chunk_count=2, time_per_chunk=5.0, aggressive_wait_seconds=2.0)
    before_expiry = utc_time_window(dt.time(7, 5), dt.time(7, 40))

    def made(name: str, legs: Sequence[LegSpec], mode: str, hold_s: int, **more: object) -> StrategyConfig:
        fields: dict[str, object] = {
            "execution_mode": mode,
            "smart_config": chunks,
            "rfq": eager,
            "policy": "atomic",
            "max_concurrent_trades": 1,
            "max_trades_per_day": 0,
            "cooldown_seconds": cooldown_s,
            "check_interval_seconds": 5,
        }
        held = [max_hold_hours(hold_s / 3_600)]
        return StrategyConfig(name=name, legs=legs, exit_conditions=held, **{**fields, **more})  # type: ignore[arg-type]

    over_expiry = {"entry_conditions": [before_expiry], "max_trades_per_day": 2}
    return (
        made("by_limit", long_legs, "limit", 60),
        made("by_smart", wing, "smart", 90),
        made("by_rfq", condor, "rfq", 120),
        made("by_auto", long_legs, "auto", 90, execution_params={"requote_by": "amend"}),
        made("settled", nearest, "limit", 86_400, **over_expiry),
        made("short_settled", straddle(qty="0.1", dte="next", side=2), "limit", 86_400, **over_expiry),
    )


def _venue(config: ExchangeConfig) -> ExchangeConfig:
    """An account that two days of paying the spread cost little: what they lose shall not be what halts. Dealers that
    neither keep silent nor take quotes back of themselves: then an opening without quotes is explained by a fault."""
    dealers = tuple(
        msgspec.structs.replace(dealer, no_quote_probability=0.0, pull_move_pct=_NEVER_PULLED_PCT)
        for dealer in config.rfq.dealers
    )
    return msgspec.structs.replace(
        config,
        accounts=(AccountConfig(account_id=ACCOUNT_ID, initial_balance_usd=START_CASH_USD),),
        rfq=msgspec.structs.replace(config.rfq, dealers=dealers),
    )


class WorldSoak:
    """Runs segments of two hours: faults while it trades, then rest, checks, a sample. `say` is told a line each."""

    def __init__(
        self, hours: float, seed: int, cooldown_s: int, record: WorldRecord, say: Callable[[str], None]
    ) -> None:
        self._segments = max(1, round(hours * HOUR / SEGMENT_NS))
        self._say = say
        self.record = record
        execution = ExecutionConfig(tradable_margin_s=20, retention_days=1)
        self.desk = Desk(
            Engine(START_NS, seed),
            DAY,
            (*strategies(cooldown_s), grid()),
            _venue(small_exchange(seed)),
            execution,
            risk_config=msgspec.structs.replace(WIDE, min_time_to_last_trade_ms=20_000),
            host_config=StrategyHostConfig(no_trade_margin_s=30.0),
            tells_alerts=True,
        )
        self._incidents = Incidents(self.desk, Random(f"soak {seed}"), self._note, START_NS)
        self._random = Random(f"bursts {seed}")
        self._requests = 0
        self._alerts_read = 0
        # Execution forgets trades after a day; the checks must not.
        self._whole = ExecutionCore(
            msgspec.structs.replace(execution, retention_days=_EVER),
            account_id=ACCOUNT_ID,
            desk_number=DESK_NUMBER,
            grant_key=GRANT_KEY,
        )
        self._told: Counter[str] = Counter()
        compare = self.desk.nodes["execution"].on_commit

        def commit(entries: Sequence[Entry]) -> None:
            for entry in entries:
                if not isinstance(entry.row, EndedForgotten):
                    self._whole.apply(entry)
            compare(entries)

        self.desk.nodes["execution"].on_commit = commit

    @property
    def _book(self) -> Book:
        """All trades, also those that execution has forgotten."""
        return self._whole.book

    def run(self) -> WorldRecord:
        collects = gc.isenabled()
        gc.disable()
        began_s = time.process_time()
        try:
            for number in range(self._segments):
                broken = self._segment(number)
                self._sample(number, began_s)
                if broken:
                    self.record.broken += [str(each) for each in dict.fromkeys(broken)]
                    break
        finally:
            if collects:
                gc.enable()
        return self.record

    def _segment(self, number: int) -> list[Violation]:
        engine = self.desk.engine
        begun_ns = START_NS + number * SEGMENT_NS
        traded_until_ns = begun_ns + TRADED_NS
        self._command("resume")
        opened_before = self._opened()
        self._incidents.scatter(begun_ns, traded_until_ns - 2 * LOOK_NS)
        for place in range(BURSTS):
            part_ns = (TRADED_NS - 10 * LOOK_NS) // BURSTS
            at_ns = begun_ns + 5 * LOOK_NS + place * part_ns + int(self._random.random() * part_ns * 0.8)
            self._incidents.burst(at_ns, int(self._random.uniform(60, 180) * SECOND))
        violations: list[Violation] = []
        while engine.now_ns < traded_until_ns and not violations:
            engine.run_until(engine.now_ns + LOOK_NS)
            violations += safety_violations(self.desk.venue, self._book, DESK_NUMBER)
            # A full or torn journal halts until a person says that all is well.
            self._ask(LiftHalts(requested_by="operator"))
            if engine.now_ns - begun_ns > TRADED_NS // 2 and (engine.now_ns - begun_ns) % (10 * LOOK_NS) == 0:
                self._command("resume")
        if violations:
            return [*violations, *self._decided()]
        self.desk.heal()
        violations += self._come_to_rest(begun_ns + SEGMENT_NS - 2 * LOOK_NS)
        self.desk.suffer(DAY)
        engine.run_until(begun_ns + SEGMENT_NS)
        if self._opened() == opened_before:
            violations.append(Violation("trades_again", f"nothing was opened in segment {number}"))
        if violations or number % AUDIT_EVERY == AUDIT_EVERY - 1 or number == self._segments - 1:
            violations += self._decided()
        self._take_alerts()
        self.desk.bus.published.clear()
        self.desk.alerts.clear()
        return violations

    def _opened(self) -> int:
        return sum(trade.opened_ns is not None for trade in self._book.trades.values())

    def _come_to_rest(self, until_ns: int) -> list[Violation]:
        """Open nothing new, wait until all has ended, and compare the books."""
        desk, engine, book = self.desk, self.desk.engine, self._book
        violations: list[Violation] = []
        while engine.now_ns < until_ns and not violations:
            self._command("pause")
            self._ask(LiftHalts(requested_by="operator"))
            engine.run_until(engine.now_ns + 20 * SECOND)
            violations += safety_violations(desk.venue, book, DESK_NUMBER)
            if not any(liveness_violations(desk.venue, book)):
                break
        # Fees are read some seconds after the last fill; alerts end some time after what they tell of.
        engine.run_until(max(engine.now_ns + 10 * SECOND, until_ns))
        entries = desk.nodes["execution"].journal.entries
        return [
            *violations,
            *liveness_violations(desk.venue, book),
            *ledger_violations(desk.venue, book),
            *cash_violations(desk.venue, book, entries),
            *grant_violations(entries, desk.bus.published, book),
            *ignorance(desk.bus.latest.values(), desk.book),
            *missed_events(desk.bus, engine.now_ns),
            *silent_changes(desk.bus.published),
            *desk.untrue,
            *failures(desk.nodes.values()),
        ]

    def _decided(self) -> Iterator[Violation]:
        """What execution should not have done with what it knew, over all rows."""
        desk = self.desk
        node = desk.nodes["execution"]
        entries = node.journal.entries
        fills = desk.venue.rfqs.named(desk.venue.exchange.fills(ACCOUNT_ID), self._book)
        yield from decision_violations(entries, desk.execution_config, desk.witness, desk.risk_config)
        yield from outcome_violations(entries, desk.bus.answered)
        yield from untrue_outcomes(entries, desk.venue)
        yield from flip_violations(fills, DESK_NUMBER)
        yield from naked_leg_violations(fills, self._book, DESK_NUMBER)
        yield from fold_violations(node, desk.fold(), desk.book)

    def _ask(self, message: LiftHalts) -> None:
        self._requests += 1
        self.desk.operate_at(self.desk.engine.now_ns, "execution", message, f"soak-{self._requests}")

    def _command(self, action: str) -> None:
        self._requests += 1
        command = StrategyCommand(action=action, strategy="*", requested_by="soak")
        self.desk.operate_at(self.desk.engine.now_ns, "strategy", command, f"soak-{self._requests}")

    def _note(self, spell: Spell) -> None:
        self.record.spells.append(spell)
        self._told[spell.what if not spell.what.startswith("burst") else f"burst of {spell.cause}"] += 1

    def _take_alerts(self) -> None:
        log = self.desk.alert_log
        for at_ns, record in log[self._alerts_read :]:
            seen = AlertSeen(
                at_s=(at_ns - START_NS) / SECOND,
                code=record.code,
                severity=record.severity,
                subject=record.subject,
                text=record.text,
                service=record.service,
                resolved=record.resolved,
                is_notice=record.is_notice,
            )
            self.record.alerts.append(seen)
        self._alerts_read = len(log)

    def _sample(self, number: int, began_s: float) -> None:
        """Count and weigh what is kept, and say so."""
        gc.collect()
        desk, record = self.desk, self.record
        nodes = {name: node for name, node in desk.nodes.items() if node.alive}
        keeps: dict[str, Keeps] = {}
        places: dict[str, int] = {}
        for name, node in nodes.items():
            counted = retained(node.core)
            keeps[name] = Keeps(sum(counted.values()), round(weighed_bytes([node.core]) / 1_024, 1))
            places |= {f"{name}{place}": count for place, count in counted.items()}
        cores = [node.core for node in nodes.values()]
        records = [
            *(node.journal.entries for node in desk.nodes.values()),
            desk.venue.__dict__,
            desk.witness.__dict__,
            desk.bus.__dict__,
            self._whole,
            record,
            desk.alert_log,
        ]
        sample = sample_of(os.getpid(), 0.0)
        assert sample is not None
        trades = list(self._book.trades.values())
        record.samples.append(
            WorldSample(
                hours=(desk.engine.now_ns - START_NS) / HOUR,
                rss_mb=round(sample.own_mb, 1),
                given_out_mb=round(given_out_mb(), 1),
                records_mb=round(weighed_bytes(records, without=cores) / 1_048_576, 1),
                keeps=keeps,
                places=places,
                trades=len(trades),
                rows=sum(len(node.journal.entries) for node in desk.nodes.values()),
            )
        )
        record.hours = record.samples[-1].hours
        record.cpu_s = round(time.process_time() - began_s, 1)
        record.trades = dict(Counter(f"{trade.request.strategy} {trade.state}" for trade in trades))
        record.modes = dict(Counter(trade.mode for trade in trades))
        record.restarts = sum(node.starts - 1 for node in desk.nodes.values())
        record.done = dict(sorted(self._told.items()))
        shown = " ".join(f"{name} {each.elements:,}" for name, each in keeps.items())
        self._say(
            f"{record.hours:5.1f} h | CPU {record.cpu_s:,.0f} s | trades {len(trades):,} | "
            f"rows {record.samples[-1].rows:,} | "
            f"RSS {sample.own_mb:.0f} MB, given out {record.samples[-1].given_out_mb:.0f}, of it records "
            f"{record.samples[-1].records_mb:.0f} | keeps {shown} | "
            f"alerts {sum(not alert.resolved for alert in record.alerts)} | restarts {record.restarts}"
        )
