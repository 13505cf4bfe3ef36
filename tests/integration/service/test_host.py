"""What a core's host tells its observers and measures, on a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from shared.bus import Bus
from shared.clock import Clock
from shared.http_refusals import HttpRefusals
from shared.logging import setup_logging
from shared.messages.control import GrantRefused
from shared.messages.steps import Entry, Inbound, Publish, RaiseAlert, Request, Step, StreamSynced, Tick
from shared.messages.system import GetStatus, Replay
from shared.metrics import Metrics
from shared.runner import CoreFailed, MemoryJournal
from shared.service import CoreHost, ServiceContext
from shared.service.watch import Failures, StallWatch
from shared.tasks import spawn
from tests.integration.bus.harness import HALT_TOPIC, halt_of, make_desk, open_service, raise_halt, until
from tests.unit.shared.samples import heartbeat
from tests.unit.shared.test_metrics import scraped

FAIL = "an input that the core fails on"


class Noted(msgspec.Struct, frozen=True, tag="noted.1"):
    text: str


class Effect(msgspec.Struct, frozen=True):
    of: str


class EchoCore:
    """One row and one effect for each input; one tick, when `due_ns` has come."""

    def __init__(self) -> None:
        self.due_ns: int | None = None
        self.handled = 0
        self.at_start: list[Any] = []

    def start(self, now_ns: int) -> Step:
        return Step(effects=list(self.at_start))

    def apply(self, entry: Entry) -> None:
        return None

    def next_deadline_ns(self) -> int | None:
        return self.due_ns

    def handle(self, item: Any, now_ns: int) -> Step:
        self.handled += 1
        if item == FAIL:
            raise ValueError("told to fail")
        if isinstance(item, Tick):
            self.due_ns = None
        elif not isinstance(item, Inbound | Request):
            return Step()
        return Step(rows=[Entry(now_ns, "", Noted("row"))], effects=[Effect(type(item).__name__)])


class Observed:
    """Notes each effect with its cause; `fails` makes it raise."""

    hears = frozenset[type]({Effect})

    def __init__(self, host: CoreHost[EchoCore]) -> None:
        self._host = host
        self.rows = 0
        self.effects: list[tuple[str, str, int]] = []
        self.fails = False

    def committed(self, entries: Sequence[Entry]) -> None:
        self.rows += len(entries)

    def performed(self, effect: Any, cause_id: str) -> None:
        if self.fails:
            raise ValueError("told to fail")
        self.effects.append((effect.of, *self._host.observed.cause_of(cause_id)))


class Desk:
    """A host as the service risk, and a bus that publishes as execution."""

    def __init__(self, directory: Path, *, replays: bool = True, **options: Any) -> None:
        desk = self.desk = make_desk(directory)
        self.clock = Clock()
        self.metrics = Metrics("risk", "paper", "main")
        self.bus = Bus("risk", desk, clock=self.clock)
        self.bus.open(lambda newest: heartbeat("risk", newest), replays=replays)
        self.execution = open_service("execution", desk)
        log = setup_logging("critical", "json", service="risk")
        failures = Failures(log, self.metrics)
        self.context = context = ServiceContext(
            "risk",
            desk,
            self.clock,
            log,
            self.bus,
            1,
            self.metrics,
            failures,
            StallWatch(self.clock),
            {},
            HttpRefusals(),
        )
        self.performed: list[Effect] = []
        self.handled_before: list[int] = []
        self.core = EchoCore()
        self.failures_told: list[RaiseAlert] = []
        self.takes_failures = False
        self.host = CoreHost(
            context,
            lambda: self.core,
            MemoryJournal(),
            self._perform,
            tell_failure=self._tell_failure,
            **options,
        )
        self.observed = Observed(self.host)
        self.host.observe(self.observed)
        self.bus.subscribe("execution", ["exec."], self.host.put)
        self.bus.serve(self.host.put)

    def _perform(self, effect: Effect, _cause: str) -> None:
        self.performed.append(effect)
        self.handled_before.append(self.core.handled)

    def _tell_failure(self, alert: RaiseAlert, failure: CoreFailed) -> bool:
        assert failure.item == FAIL
        self.failures_told.append(alert)
        return self.takes_failures

    def value(self, name: str) -> float:
        return sum(scraped(self.metrics, name).values())


@pytest_asyncio.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose host does not run yet."""
    made = Desk(tmp_path)
    yield made
    made.bus.close()
    made.execution.close()


@pytest_asyncio.fixture
async def desk(idle: Desk) -> AsyncIterator[Desk]:
    async with running(idle):
        yield idle


@asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[None]:
    task = spawn(desk.host.run(), name="host under test")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_an_effect_begins_before_anybody_counts_what_led_to_it(desk: Desk) -> None:
    counted: list[int] = []
    begin = desk.performed.append

    class Watching(list[Effect]):
        def append(self, effect: Effect) -> None:
            counted.append(desk.observed.rows)
            begin(effect)

    desk.performed = Watching()
    desk.execution.publish(HALT_TOPIC, halt_of("main", 1))
    await until(lambda: desk.observed.rows == 1)
    assert counted == [0]


async def test_an_observer_is_told_what_caused_an_effect_and_since_when(desk: Desk) -> None:
    begun_ns = desk.clock.now_ns()
    desk.execution.publish(HALT_TOPIC, halt_of("main", 1))
    await until(lambda: len(desk.observed.effects) == 1)
    asked = spawn(desk.execution.ask("risk", raise_halt("x"), 60_000), name="unanswered")
    await until(lambda: len(desk.observed.effects) == 2)
    asked.cancel()
    due_ns = desk.core.due_ns = desk.clock.now_ns() + 1_000_000
    desk.host.put("anything that makes the host look at the deadline")
    await until(lambda: len(desk.observed.effects) == 3)
    (published, requested, timed) = desk.observed.effects
    assert published[:2] == ("Inbound", "halt_state")
    assert begun_ns <= published[2] <= requested[2] <= due_ns
    assert requested[:2] == ("Request", "raise_halt")
    assert timed == ("Tick", "timer", due_ns)
    assert desk.host.observed.cause_of("some other message") == ("", 0)
    assert desk.observed.rows == 3
    assert desk.value("voldesk_journal_rows_total") == 3


async def test_a_reader_that_asked_before_the_core_began_is_told_all_that_it_tells_anew_before_it_is_synced(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, replays=False)
    refusal = GrantRefused(intent_id="s-1", strategy="s", code="halted", detail="looking")
    desk.core.at_start = [Effect("an effect leaves before what is told"), Publish("risk.main.refusal", refusal)]
    heard: list[Any] = []
    reader = Bus("strategy", desk.desk)
    reader.subscribe("risk", ["risk."], heard.append)
    asked = spawn(reader.ask("risk", Replay(prefix="risk.", from_sequence=0), 60_000), name="asked too early")
    await reader.ask("risk", GetStatus(), 60_000)
    for _ in range(20):
        desk.bus.beat()
        await asyncio.sleep(0.01)
    assert (heard, asked.done()) == ([], False)
    async with running(desk):
        await until(lambda: any(isinstance(each, StreamSynced) for each in heard))
        told, synced = heard
        assert (told.message, type(synced)) == (refusal, StreamSynced)
        await asked
    for bus in (reader, desk.bus, desk.execution):
        bus.close()


async def test_an_observer_that_fails_is_counted_and_keeps_nothing_from_going_on(desk: Desk) -> None:
    desk.observed.fails = True
    for epoch in range(1, 21):
        desk.execution.publish(HALT_TOPIC, halt_of(f"a{epoch}", epoch))
    await until(lambda: desk.value("voldesk_handler_errors_total") == 20)
    assert len(desk.performed) == 20
    desk.observed.fails = False
    desk.execution.publish(HALT_TOPIC, halt_of("a21", 21))
    await until(lambda: len(desk.observed.effects) == 1)


async def test_what_waits_for_the_core_is_shown_with_its_age_and_its_wait_is_measured(idle: Desk) -> None:
    before = idle.value("voldesk_queue_depth")
    for epoch in (1, 2):
        idle.host.put(Inbound(HALT_TOPIC, halt_of("main", epoch), f"m{epoch}", "execution", 1))
    assert idle.value("voldesk_queue_depth") == before + 2
    await until(lambda: idle.value("voldesk_queue_oldest_age_seconds") > 0.02)
    async with running(idle):
        await until(lambda: len(idle.performed) == 2)
        await until(lambda: idle.value("voldesk_queue_depth") == 0)
        assert idle.value("voldesk_queue_oldest_age_seconds") == 0
        assert idle.value("voldesk_queue_wait_seconds_sum") > 0.02
        assert idle.value("voldesk_batch_seconds_count") >= 1
        assert idle.value("voldesk_inputs_total") >= 2


async def test_who_tells_of_a_failed_input_itself_has_no_alert_published_for_it(desk: Desk) -> None:
    for takes, told, published in ((True, 1, 0), (False, 2, 1)):
        desk.takes_failures = takes
        desk.host.put(FAIL)
        await until(lambda told=told: len(desk.failures_told) == told)  # type: ignore[misc]
        await until(lambda published=published: desk.value("voldesk_alerts_raised_total") == published)  # type: ignore[misc]
    assert {(alert.code, alert.subject) for alert in desk.failures_told} == {("core_failed", "risk")}
    assert desk.value("voldesk_core_failures_total") == 2


@pytest.mark.parametrize(("options", "batches"), [({}, 1), ({"batch_max": 1}, 3)])
async def test_inputs_that_wait_are_one_batch_unless_each_is_to_be_carried_out_at_once(
    tmp_path: Path, options: dict[str, int], batches: int
) -> None:
    desk = Desk(tmp_path, **options)
    try:
        for epoch in (1, 2, 3):
            desk.host.put(Inbound(HALT_TOPIC, halt_of("main", epoch), f"m{epoch}", "execution", 1))
        async with running(desk):
            await until(lambda: len(desk.performed) == 3)
        # what the bus says meanwhile may be among them
        assert len(set(desk.handled_before)) == batches
    finally:
        desk.bus.close()
        desk.execution.close()
