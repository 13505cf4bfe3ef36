"""Start, stop and supervise one service process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, Protocol, runtime_checkable

import uvloop

from shared.bus import Bus
from shared.bus.frames import prepare_readers
from shared.clock import Clock
from shared.config import DeskConfig, load_config
from shared.errors import JournalFull, StartRefused
from shared.http_refusals import HttpRefusals
from shared.log_files import LogFiles
from shared.logging import output, setup_logging
from shared.messages.steps import RaiseAlert
from shared.messages.system import Heartbeat
from shared.metrics import Metrics
from shared.ports import resolve_ports
from shared.service.context import ServiceContext
from shared.service.health import HealthLine
from shared.service.lock import ServiceLock, Start, record_start
from shared.service.metrics import BusMetrics, HttpMetrics, ProcessMetrics
from shared.service.watch import EXIT_BUG, Failures, StallWatch
from shared.strategy_hosts import group_of, is_host
from shared.tasks import spawn

EXIT_CONFIGURATION = 78
"""A person must change something: supervisord does not start the service again."""

_BEAT_S = 1.0
_PULSES_PER_BEAT = 4
_PREPARED_PER_PULSE = 4
"""Kinds of messages, half a millisecond each."""

_YOUNG_OBJECTS = 20_000
"""So many more than were let go of, and the collector looks through them. Python's own 700 are half a batch."""

_STOP_S = 3.0
_METRICS_RETRY_S = 5.0
_UNWRITABLE_PAUSE_S = 2.0
"""supervisord starts the service again at once."""


@runtime_checkable
class HearsStreams(Protocol):
    """A shell that hears streams of the venue: which of them are silent, as in the heartbeat."""

    @property
    def silent_streams(self) -> dict[str, tuple[str, ...]]: ...


@runtime_checkable
class RunsStrategies(Protocol):
    """A shell that runs strategies: those that it answers for, as in the heartbeat."""

    @property
    def strategies(self) -> tuple[str, ...]: ...


class Shell(Protocol):
    """A service's own part. `start` may raise StartRefused; `run` goes on until it is cancelled.

    `ready` and `detail` are what the heartbeat says once `start` has finished.
    """

    @property
    def ready(self) -> bool: ...

    @property
    def detail(self) -> str: ...

    async def start(self) -> None: ...

    async def run(self) -> None: ...

    async def stop(self) -> None: ...


@runtime_checkable
class WindsDown(Protocol):
    """A shell that has something to do when it is told to stop, while it still runs. It bounds its time itself; a
    second signal cuts it short."""

    async def wind_down(self) -> None: ...


def run_service(name: str, make_shell: Callable[[ServiceContext], Shell]) -> NoReturn:
    """Run the service until SIGTERM or SIGINT and end the process.

    Exit codes: 0 stopped on request; 78 something in configuration, keys or environment must be changed first, the
    log's last line names it and the remedy; 70 our own bug, or ten errors in a row.
    """
    os.umask(0o077)
    log = setup_logging("info", "auto", service=name)
    try:
        desk = load_config()
        log = setup_logging(
            desk.logging.level,
            desk.logging.format,
            files=_log_files(desk, name),
            service=name,
            mode=desk.mode,
            account=desk.account_id,
        )
        if is_host(name) and name not in desk.strategy_hosts.services:
            if name in desk.configured_hosts.services:
                raise StartRefused(
                    f"the group {group_of(name)!r} is in the configuration and not yet in what runs",
                    "`voldesk up` applies it; in containers `docker compose down`, then `docker compose up -d`",
                )
            raise StartRefused(
                f"no enabled strategy names the group {group_of(name)!r}",
                f"give one to it in [strategy.instances] of {desk.path}, or let `voldesk up` end this host",
            )
        code = _run(name, desk, log, make_shell)
    except StartRefused as error:
        log.critical("start refused", reason=error.reason, remedy=error.remedy)
        if output.files is not None and desk.host.supervisor == "containers":
            # whose own log is what people look at when it does not come up
            sys.stderr.write(f"{name}: start refused: {error.reason}; {error.remedy}\n")
        code = EXIT_CONFIGURATION
    except OSError as error:
        # Not counted as a start: what counts them cannot be written either.
        log.critical(
            "the service cannot work in its run directory and is started again",
            reason=f"{error.filename or 'run directory'}: {error.strerror}",
            remedy="free space on its disk, or make it writable",
        )
        time.sleep(_UNWRITABLE_PAUSE_S)
        code = EXIT_BUG
    output.flush()
    sys.exit(code)


def _log_files(desk: DeskConfig, name: str) -> LogFiles | None:
    """Where the log goes; None for standard output. supervisord says to its children that they are its."""
    logging = desk.logging
    if logging.output == "stdout" or (logging.output == "auto" and "SUPERVISOR_ENABLED" not in os.environ):
        return None
    return LogFiles(desk.run_dir / "logs", name, logging.file_mb * 1_000_000, logging.files_kept)


def _lost_log_lines() -> int:
    return 0 if output.files is None else output.files.lost


def _run(name: str, desk: DeskConfig, log: Any, make_shell: Callable[[ServiceContext], Shell]) -> int:
    try:
        desk.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(
            f"run directory {desk.run_dir} cannot be made: {error.strerror}", "set VOLDESK_RUN_DIR"
        ) from None
    lock = ServiceLock(desk.run_dir, name)
    clock = Clock()
    start = record_start(desk.run_dir, name, clock.now_ns())
    if start.pause_s:
        log.warning("starts keep failing: waiting first", pause_s=start.pause_s, rapid_starts=start.rapid)
        time.sleep(start.pause_s)
    try:
        return uvloop.run(_Process(name, desk, log, clock, start).main(make_shell))
    finally:
        lock.release()


class _Process:
    """One run of one service, from the first socket to the last."""

    def __init__(self, name: str, desk: DeskConfig, log: Any, clock: Clock, start: Start) -> None:
        self._name = name
        self._desk = desk
        self._log = log
        self._clock = clock
        self._start = start
        self._started_ns = clock.now_ns()
        self._shell: Shell | None = None
        self._shell_started = False
        self._ready_told: bool | None = None
        self._context: ServiceContext | None = None
        self._log_problem_told = False
        self._metrics = Metrics(name, desk.mode, desk.account_id)
        self._own = ProcessMetrics(self._metrics, _lost_log_lines)
        self._own.starts.set(start.count)
        self._failures = Failures(log, self._metrics)
        self._stalls = StallWatch(clock)
        self._stalls.listen(self._stalled)
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._bus = Bus(
            name,
            desk,
            clock=clock,
            epoch=start.epoch,
            on_error=self._failures.failed,
            on_success=self._failures.succeeded,
            warn=self._warn,
        )
        BusMetrics(self._metrics, self._bus.counts)
        self._http_refusals = HttpRefusals(
            lambda kind: log.warning("HTTP not answered, further ones are counted", kind=kind)
        )
        HttpMetrics(self._metrics, self._http_refusals)
        self._words: dict[str, Callable[[], object]] = {
            "ready": lambda: self._is_ready,
            "detail": lambda: self._detail,
            "dropped": lambda: self._bus.counts.dropped.total(),
            "not_sent": lambda: self._bus.counts.not_sent,
            "errors": lambda: self._failures.survived,
            "log_lines_lost": _lost_log_lines,
        }

    async def main(self, make_shell: Callable[[ServiceContext], Shell]) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        loop.set_exception_handler(self._loop_failed)
        self._bus.open(self._heartbeat, replays=False)
        helpers = [spawn(self._pulse(), name="pulse"), spawn(self._serve_metrics(), name="metrics")]
        helpers.append(spawn(self._tell_health(), name="health"))
        self._log.info("starting", pid=os.getpid(), starts=self._start.count, epoch=self._start.epoch)
        try:
            return await self._run_shell(make_shell)
        except StartRefused:
            raise
        except JournalFull as error:
            self._log.critical("the service cannot work on a full disk and is started again", reason=str(error))
            return EXIT_BUG
        except Exception as error:
            self._log.critical("the service failed and ends", exc_info=error)
            return EXIT_BUG
        finally:
            for helper in helpers:
                helper.cancel()
            await self._stop_shell()
            self._metrics.close()
            self._bus.close()
            self._log.info("stopped")

    def _warn(self, kind: str, detail: str) -> None:
        """The first of a kind that the bus does not take."""
        what = "connection refused" if kind in self._bus.counts.refused else "message dropped"
        self._log.warning(f"{what}, further ones are counted", kind=kind, detail=detail)

    def _signalled(self) -> None:
        (self._stop_now if self._stop.is_set() else self._stop).set()

    async def _run_shell(self, make_shell: Callable[[ServiceContext], Shell]) -> int:
        context = self._context = ServiceContext(
            self._name,
            self._desk,
            self._clock,
            self._log,
            self._bus,
            self._start.epoch,
            self._metrics,
            self._failures,
            self._stalls,
            self._words,
            self._http_refusals,
        )
        shell = self._shell = make_shell(context)
        if await self._until_stopped(shell.start(), "start"):
            return 0
        self._shell_started = True
        self._bus.refuse_unserved()
        if not self._bus.tells_anew:
            self._bus.all_told()
        self._ready_told = shell.ready
        self._log.info("started", ready=self._ready_told, detail=shell.detail)
        self._bus.beat()
        wind_down = shell.wind_down if isinstance(shell, WindsDown) else None
        if await self._until_stopped(shell.run(), "run", wind_down):
            return 0
        self._log.critical("the service ended by itself")
        return EXIT_BUG

    async def _until_stopped(
        self, work: Any, name: str, wind_down: Callable[[], Awaitable[None]] | None = None
    ) -> bool:
        """Do `work`; True when the process was told to stop before it was done. Raises what `work` raises."""
        task = spawn(work, name=name, on_error=lambda _error: None)
        stop = spawn(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
                return False
            if wind_down is not None:
                await self._wound_down(task, wind_down)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                async with asyncio.timeout(_STOP_S):
                    await task
            return True
        finally:
            stop.cancel()

    async def _wound_down(self, work: asyncio.Task[Any], wind_down: Callable[[], Awaitable[None]]) -> None:
        """Let the shell wind down while `work` goes on; shorter when that ends, or at a second signal."""
        winding = spawn(_awaited(wind_down), name="wind_down", on_error=lambda _error: None)
        now = spawn(self._stop_now.wait(), name="stop_now")
        try:
            await asyncio.wait({winding, now, work}, return_when=asyncio.FIRST_COMPLETED)
            if not winding.done():
                self._log.warning("winding down is cut short")
            elif (error := winding.exception()) is not None:
                self._log.error("winding down failed", exc_info=error)
        finally:
            winding.cancel()
            now.cancel()

    async def _stop_shell(self) -> None:
        if self._shell is None:
            return
        try:
            async with asyncio.timeout(_STOP_S):
                await self._shell.stop()
        except Exception as error:
            self._log.error("stopping failed", exc_info=error)

    async def _pulse(self) -> None:
        """Beat once a second; in between, measure how late the loop is and notice when it stood still. Once the shell
        has started, prepare what it may need, in pieces that hold nothing up."""
        unprepared = True
        loop = asyncio.get_running_loop()
        due = loop.time()
        count = 0
        while True:
            self._stalls.check()
            if count % _PULSES_PER_BEAT == 0:
                try:
                    self._bus.beat()
                    self._look_at_log()
                except Exception as error:
                    self._failures.failed("heartbeat", error)
                else:
                    self._failures.succeeded("heartbeat")
            if unprepared and self._shell_started:
                unprepared = prepare_readers(_PREPARED_PER_PULSE)
                if not unprepared:
                    self._settle()
            count += 1
            due = max(due + _BEAT_S / _PULSES_PER_BEAT, loop.time())
            await asyncio.sleep(due - loop.time())
            self._own.loop_lag_seconds.observe(max(0.0, loop.time() - due))

    def _settle(self) -> None:
        """Have Python's collector leave alone what a start has made, which stays: to look through all of it, time and
        again in the middle of trading, holds an order up by 30 to 90 ms. And have it look through the young only
        when there are many: a batch of orders makes thousands, and all but a few are gone when it is done."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])

    def _look_at_log(self) -> None:
        """Tell once that the log cannot be written, each time that this begins."""
        problem = "" if output.files is None else output.files.problem
        if not problem:
            self._log_problem_told = False
        elif not self._log_problem_told and self._context is not None:
            self._log_problem_told = True
            text = f"{self._name} cannot write its log: {problem}"
            self._context.alert(
                RaiseAlert(code="logs_not_written", severity="warning", subject=self._name, text=text)
            )

    async def _tell_health(self) -> None:
        line = HealthLine(self._log, self._words)
        while True:
            await asyncio.sleep(self._desk.logging.health_interval_s)
            line.tell()

    async def _serve_metrics(self) -> None:
        port = resolve_ports(self._desk.run_dir, self._desk.ports)[f"metrics-{self._name}"]
        while True:
            try:
                self._metrics.serve(port, self._http_refusals, self._desk.host.listen)
                return
            except OSError as error:
                self._log.warning("metrics cannot be served yet", port=port, error=error.strerror)
            await asyncio.sleep(_METRICS_RETRY_S)

    @property
    def _is_ready(self) -> bool:
        return self._shell is not None and self._shell_started and self._shell.ready

    @property
    def _detail(self) -> str:
        return self._shell.detail if self._shell is not None and self._shell_started else "starting"

    @property
    def _silent_streams(self) -> dict[str, tuple[str, ...]]:
        return self._shell.silent_streams if self._shell_started and isinstance(self._shell, HearsStreams) else {}

    @property
    def _strategies(self) -> tuple[str, ...]:
        return self._shell.strategies if self._shell_started and isinstance(self._shell, RunsStrategies) else ()

    def _heartbeat(self, event_sequences: dict[str, int]) -> Heartbeat:
        ready, detail = self._is_ready, self._detail
        now_ns = self._clock.now_ns()
        self._own.heartbeat_seconds.set(now_ns / 1e9)
        self._own.ready.set(ready)
        if self._shell_started and ready != self._ready_told:
            self._ready_told = ready
            self._log.info("ready" if ready else "not ready any more", detail=detail)
        return Heartbeat(
            service=self._name,
            account_id=self._desk.account_id,
            mode=self._desk.mode,
            venue=self._desk.venue,
            pid=os.getpid(),
            epoch=self._start.epoch,
            started_ns=self._started_ns,
            beat_ns=now_ns,
            starts=self._start.count,
            ready=ready,
            detail=detail,
            event_sequences=event_sequences,
            silent_streams=self._silent_streams,
            strategies=self._strategies,
        )

    def _stalled(self, gap_ns: int) -> None:
        self._own.loop_stalls.inc()
        self._log.warning(
            "time passed without this process: it stood still, or the clock was set forward",
            gap_ms=gap_ns // 1_000_000,
        )

    def _loop_failed(self, _loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
        self._failures.loop_error(details.get("exception"), str(details.get("message", "")))


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
