"""Runs a core inside a service: inputs in, one commit per batch, effects out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar, get_args

from shared.clock import monotonic_ns
from shared.errors import JournalDamaged
from shared.messages.space import JournalSpace, SpaceLevel
from shared.messages.steps import (
    Entry,
    LoopStalled,
    Publish,
    RaiseAlert,
    Reply,
    Request,
    SendRequest,
    Tick,
)
from shared.messages.trades import Refusal
from shared.runner import Core, CoreFailed, Journal, Runner
from shared.service.context import ServiceContext
from shared.service.metrics import HostMetrics
from shared.service.observing import Observed, Observer

CoreT = TypeVar("CoreT", bound=Core)

BATCH_MAX = 256
_TICK_PAUSE_S = 0.001
"""Least time between two ticks, so that a core whose deadline does not move cannot keep the loop busy."""

_TIMER_MAX_S = 3_600.0
_TELL_AFTER_S = 0.002
"""The loop counts whole milliseconds, from the last full one: a single one is often over before a request that was
begun has been written, which takes three turns of the loop."""

_SPACE_CHECK_S = 2.0
"""How often the journal's disk is looked at."""


class _WatchedJournal:
    def __init__(self, journal: Journal, metrics: HostMetrics, committed: Callable[[Sequence[Entry]], None]) -> None:
        self._journal = journal
        self._metrics = metrics
        self._committed = committed

    def snapshot(self) -> tuple[int, Any] | None:
        return self._journal.snapshot()

    def load(self, after: int = 0) -> Iterable[Entry]:
        return self._journal.load(after)

    def start_over(self, damage: JournalDamaged) -> None:
        self._journal.start_over(damage)

    def append(self, entries: Sequence[Entry]) -> None:
        begun_ns = monotonic_ns()
        self._journal.append(entries)
        self._metrics.commit_seconds.observe((monotonic_ns() - begun_ns) / 1e9)
        self._committed(entries)

    @property
    def problem(self) -> str:
        return self._journal.problem

    def check_space(self) -> bool:
        return self._journal.check_space()

    @property
    def unwritten(self) -> str:
        return self._journal.unwritten

    def note_unwritten(self, text: str) -> bool:
        return self._journal.note_unwritten(text)

    def forget_unwritten(self) -> bool:
        return self._journal.forget_unwritten()


class CoreHost(Generic[CoreT]):
    """Drives one core on the event loop.

    Publish, Reply, SendRequest and RaiseAlert are carried out here; every other effect goes to `perform(effect,
    cause_id)`, whose outcome comes back through `put`. The core gets `Tick` when its next deadline is due, and
    `LoopStalled` before anything else after a gap of more than 2 s.

    A core that raised was built anew from the journal and has lost its views of others: their events are replayed
    to it, and a request it failed on is refused. When the journal could not be written the core is built anew too,
    and the requests of that batch are taken again when their clients repeat them.

    Observers are told of every row and effect, after everybody else; `observed` says more of what they are told.

    may_go_unwritten: whether an effect may be carried out although its row is not on disk, once the disk and the
    space kept back on it are full. Without it such a journal is one that could not be written.

    batch_max: inputs that are decided together, with one commit, before the first effect of any is carried out. 1
    where nothing is committed: what is urgent then waits for one input at most.

    tell_failure: tells of an input that the core failed on and answers True; without it, and when it answers False,
    an alert is published.
    """

    def __init__(
        self,
        context: ServiceContext,
        make_core: Callable[[], CoreT],
        journal: Journal,
        perform: Callable[[Any, str], None],
        may_go_unwritten: Callable[[Any], bool] | None = None,
        tell_failure: Callable[[RaiseAlert, CoreFailed], bool] | None = None,
        *,
        batch_max: int = BATCH_MAX,
    ) -> None:
        self._context = context
        self._batch_max = batch_max
        context.bus.tells_anew = True
        self._make_core = make_core
        self._perform_own = perform
        self.observed = Observed(self._counting_failed)
        self._may_go_unwritten = may_go_unwritten
        self._tell_failure = tell_failure
        self._queue: deque[Any] = deque()
        self._queued_ns: deque[int] = deque()
        self._due_ns = 0
        self._metrics = HostMetrics(context.metrics, self._queue, self._queued_ns)
        self.observed.add(self._metrics)
        self._journal = _WatchedJournal(journal, self._metrics, self.observed.committed)
        context.health["inputs"] = lambda: self._metrics.inputs
        context.health["queue"] = lambda: len(self._queue)
        self._failed: list[CoreFailed] = []
        self._begun = False
        self._untold: list[tuple[Publish | Reply, str]] = []
        self._telling: asyncio.TimerHandle | None = None
        self._running = False
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_ns: int | None = None
        """The core's, as it was when the timer was set for it; worth something while `_armed`."""

        self._armed = False

        self._space_timer: asyncio.TimerHandle | None = None
        self._space_told = "disk"
        self._runner: Runner[CoreT] = self._make_runner()

    @property
    def core(self) -> CoreT:
        """The live core, to be read only. A failure replaces it: do not keep it."""
        return self._runner.core

    @property
    def space(self) -> JournalSpace:
        """Where the journal's rows go now."""
        return self._runner.space

    def put(self, item: Any) -> None:
        """Hand an input to the core. On the event loop's thread only."""
        self._queue.append(item)
        self._queued_ns.append(monotonic_ns())
        self._schedule()

    def observe(self, observer: Observer) -> None:
        """Tell `observer` of every row and effect from now on."""
        self.observed.add(observer)

    async def run(self) -> None:
        """Start the core, then go on until cancelled."""
        self._context.stalls.listen(self._stalled)
        now_ns = self._context.clock.now_ns()
        self.observed.begin((), 0, now_ns)
        self._runner.start(now_ns)
        # before readers get their answer: what is not told by then would be gone to them
        self._tell_now()
        self._context.bus.all_told()
        self._running = True
        self._watch_space()
        self._look_at_space()
        self._schedule()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._running = False
            self._tell_now()
            for timer in (self._timer, self._space_timer):
                if timer is not None:
                    timer.cancel()

    def _make_runner(self) -> Runner[CoreT]:
        return Runner(self._make_core, self._journal, self._perform, self._failed.append, self._may_go_unwritten)

    def _stalled(self, gap_ns: int) -> None:
        self._queue.appendleft(LoopStalled(gap_ns))
        self._queued_ns.appendleft(monotonic_ns())
        self._schedule()

    def _schedule(self) -> None:
        if self._running and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        if not self._running:
            return
        self._context.stalls.check()
        now_ns = self._context.clock.now_ns()
        begun_ns = monotonic_ns()
        if self._queued_ns:
            self._metrics.wait_seconds.observe((begun_ns - self._queued_ns[0]) / 1e9)
        items = [self._queue.popleft() for _ in range(min(len(self._queue), self._batch_max))]
        for _ in items:
            self._queued_ns.popleft()
        deadline_ns = self._deadline_ns if self._armed else self.core.next_deadline_ns()
        ticked = deadline_ns is not None and deadline_ns <= now_ns
        self._due_ns = 0
        if deadline_ns is not None and ticked:
            self._due_ns = deadline_ns
            items.append(Tick())
        if items:
            self._handle(items, now_ns)
            self._metrics.batch_seconds.observe((monotonic_ns() - begun_ns) / 1e9)
        if self._queue:
            self._schedule()
        self._arm(_TICK_PAUSE_S if ticked else 0.0)

    def _handle(self, items: list[Any], now_ns: int) -> None:
        self._run(lambda: self._runner.drain(items, now_ns), items, now_ns)

    def _run(self, work: Callable[[], None], items: Sequence[Any], now_ns: int) -> None:
        failures = self._context.failures
        before = self.core
        self.observed.begin(items, self._due_ns, now_ns)
        for item in items:
            if isinstance(item, Request):
                self._metrics.asked(item)
        try:
            work()
        except AssertionError as error:
            failures.fatal("core", error)
        except Exception as error:
            # what was applied in memory may not be on disk: only the journal says what is true
            failures.failed("core", error)
            self._metrics.rebuilds.inc()
            for item in items:
                if isinstance(item, Request):
                    self._context.bus.forget(item.request_id)
            self._rebuild(now_ns)
            return
        finally:
            self._tell()
        self._metrics.inputs += len(items)
        failed, count = list(self._failed), len(self._failed)
        self._failed.clear()
        if count < len(items):
            failures.succeeded("core")
        for failure in failed:
            self._report(failure)
        if self.core is not before:
            self._context.bus.resync()
        self._watch_space()

    def _rebuild(self, now_ns: int) -> None:
        """Build the core anew from the journal, which alone says what is true. Without it the process must end."""
        try:
            self._runner.refold()
        except Exception as error:
            self._context.failures.fatal("journal", error)
        try:
            self._runner.start(now_ns)
        except Exception as error:
            # the runner starts the core again before the next input
            self._context.failures.failed("core", error)
        self._tell()
        self._context.bus.resync()

    def _watch_space(self) -> None:
        """Say where rows go now when that has changed."""
        space: JournalSpace = self._runner.space
        if space.level != self._space_told:
            self._space_told = space.level
            self._metrics.space.set(get_args(SpaceLevel).index(space.level))
            self._context.log.warning("the journal's rows go elsewhere", to=space.level, reason=space.reason)

    def _look_at_space(self) -> None:
        if not self._running:
            return
        now_ns = self._context.clock.now_ns()
        self._run(lambda: self._runner.look_at_space(now_ns), (), now_ns)
        self._arm(0.0)
        self._space_timer = asyncio.get_running_loop().call_later(_SPACE_CHECK_S, self._look_at_space)

    def _report(self, failure: CoreFailed) -> None:
        self._metrics.rebuilds.inc()
        if isinstance(failure.item, Request):
            refusal = Refusal(
                code="internal_error",
                detail=f"{self._context.name} failed on this request; nothing was done",
                remedy="see its log",
            )
            self._reply(Reply(failure.item.request_id, refusal))
        alert = RaiseAlert(
            code="core_failed",
            severity="critical",
            subject=self._context.name,
            text=f"an input was dropped: {failure}",
        )
        if self._tell_failure is None or not self._tell_failure(alert, failure):
            self._context.alert(alert)
        self._context.failures.failed("core", failure.error)

    def _arm(self, least_s: float) -> None:
        deadline_ns = self.core.next_deadline_ns()
        if self._armed and deadline_ns == self._deadline_ns and not least_s:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._armed, self._deadline_ns = True, deadline_ns
        if deadline_ns is None:
            return
        wait_s = (deadline_ns - self._context.clock.now_ns()) / 1e9
        wait_s = min(max(wait_s, least_s, 0.0), _TIMER_MAX_S)
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer, self._armed = None, False
        self._schedule()

    def _perform(self, effect: Any, cause_id: str) -> None:
        """Carry out one effect; one that fails does not keep the next from being carried out."""
        if isinstance(effect, Publish | Reply):
            self._untold.append((effect, cause_id))
        else:
            self._attempt(f"effect {type(effect).__name__}", lambda: self._begin(effect, cause_id))
        if self.observed.is_heard(effect):
            self.observed.performed(effect, cause_id, self._context.clock.now_ns())

    def _begin(self, effect: Any, cause_id: str) -> None:
        match effect:
            case SendRequest():
                self._begun = True
                self._context.bus.send_request(effect, self.put)
            case RaiseAlert():
                self._context.alert(effect)
            case _:
                self._begun = True
                self._perform_own(effect, cause_id)

    def _attempt(self, source: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:
            self._context.failures.failed(source, error)
        else:
            self._context.failures.succeeded(source)

    def _tell(self) -> None:
        """Send what was published and answered, in its order: at once, or, when something was begun or asked for, a
        moment later, so that an order leaves before the other processes wake to hear of it."""
        if self._telling is not None:
            return
        if self._begun:
            self._begun = False
            self._telling = asyncio.get_running_loop().call_later(_TELL_AFTER_S, self._tell_now)
        else:
            self._tell_now()

    def _tell_now(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        untold, self._untold = self._untold, []
        failures, publish = self._context.failures, self._context.bus.publish
        for effect, cause_id in untold:
            source = "effect Publish" if isinstance(effect, Publish) else "effect Reply"
            try:
                if isinstance(effect, Publish):
                    publish(effect.topic, effect.message, effect.cause_id or cause_id)
                else:
                    self._reply(effect)
            except Exception as error:
                failures.failed(source, error)
            else:
                failures.succeeded(source)
        self.observed.tell()

    def _reply(self, reply: Reply) -> None:
        self._context.bus.reply(reply.request_id, reply.message)
        self._metrics.answered(reply, self._context.clock.now_ns())

    def _counting_failed(self, error: Exception) -> None:
        """What counts must not keep what is counted from going on."""
        self._context.metrics.error("metrics")
        self._context.log.error("counting failed", exc_info=error)
