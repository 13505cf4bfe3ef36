"""Starts the process that makes a snapshot of the service's journal, when enough rows were written since the last."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import msgspec

from shared.clock import monotonic_ns
from shared.messages.steps import RaiseAlert
from shared.service.context import ServiceContext
from shared.service.metrics import SnapshotMetrics
from shared.snapshots import Snapshots
from shared.store import SqliteJournal

_LOOK_S = 2.0
_FIRST_VERIFY_S = 120.0
_VERIFY_EVERY_S = 86_400.0
_RETRY_FIRST_S, _RETRY_MAX_S = 60.0, 3_600.0
_LIMIT_S = 1_800.0


class _Told(msgspec.Struct):
    sequence: int = 0
    rows: int = 0
    bytes: int = 0
    damaged: str = ""


class Compaction:
    """One per journal with snapshots. A snapshot that fails costs a longer restart and nothing else: it is logged and
    tried again. Old rows, which no start reads, are checked once a day; damage there is alarmed.

    module: what is run, as ``python -m``; see `services.execution.compact` for what it prints.
    """

    def __init__(
        self, context: ServiceContext, journal: SqliteJournal, snapshots: Snapshots[Any], module: str
    ) -> None:
        self._context = context
        self._journal = journal
        self._snapshots = snapshots
        self._module = module
        self._every_rows = context.desk.journal.snapshot_rows
        self._not_before_ns = 0
        self._retry_s = _RETRY_FIRST_S
        self._verify_ns = monotonic_ns() + round(_FIRST_VERIFY_S * 1e9)
        self._metrics = SnapshotMetrics(context.metrics, lambda: journal.rows_since_snapshot)
        self._problems_told = 0
        self._damage_told = ""

    async def run(self) -> None:
        """Look every two seconds, until cancelled."""
        while True:
            try:
                await self._look()
            except Exception as error:
                self._context.log.error("snapshots of the journal fail", exc_info=error)
            await asyncio.sleep(_LOOK_S)

    async def _look(self) -> None:
        self._tell_problems()
        now_ns = monotonic_ns()
        due = bool(self._every_rows) and self._journal.rows_since_snapshot >= self._every_rows
        # A start without a snapshot has read every row itself.
        verify = self._snapshots.used is not None and now_ns >= self._verify_ns
        if (due or verify) and now_ns >= self._not_before_ns and not self._journal.problem:
            # A replay of everything that fails again and again must not be tried all the time.
            self._not_before_ns = now_ns + round(self._retry_s * 1e9)
            self._retry_s = min(2 * self._retry_s, _RETRY_MAX_S)
            if verify:
                self._verify_ns = now_ns + round(_VERIFY_EVERY_S * 1e9)
            await self._make(verify=verify)

    async def _make(self, *, verify: bool) -> None:
        begun_ns = monotonic_ns()
        try:
            told, said = await self._run_process(["--verify"] if verify else [])
        except (OSError, TimeoutError) as error:
            told, said = None, str(error) or "it took too long"
        outcome = "failed" if told is None else "damaged" if told.damaged else "made"
        self._metrics.attempts(outcome).inc()
        if told is None:
            self._context.log.warning("no snapshot of the journal was made", reason=said)
        elif told.damaged:
            self._tell_damage(told.damaged)
        else:
            self._journal.snapshot_taken(told.sequence)
            self._retry_s = _RETRY_FIRST_S
            self._not_before_ns = 0
            took_s = round((monotonic_ns() - begun_ns) / 1e9, 2)
            self._context.log.info(
                "snapshot of the journal", sequence=told.sequence, rows=told.rows, bytes=told.bytes, took_s=took_s
            )

    async def _run_process(self, arguments: list[str]) -> tuple[_Told | None, str]:
        """What it printed; None and its last words when it failed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            self._module,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_LIMIT_S):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        try:
            return msgspec.json.decode(output, type=_Told), ""
        except msgspec.MsgspecError:
            lines = errors.decode(errors="replace").strip().splitlines() or [f"it ended with {process.returncode}"]
            return None, lines[-1]

    def _tell_problems(self) -> None:
        """A snapshot that was moved aside is told once: the journal itself was read whole instead."""
        problems = self._snapshots.problems
        for problem in problems[self._problems_told :]:
            self._context.log.warning("a snapshot of the journal cannot be used", reason=problem)
            self._alert("snapshot_unusable", "warning", f"{problem}; the rows of the journal were replayed instead")
        self._problems_told = len(problems)

    def _tell_damage(self, damage: str) -> None:
        if damage != self._damage_told:
            self._damage_told = damage
            self._alert(
                "journal_damaged",
                "critical",
                f"{damage}. What the desk knows is whole, and a restart needs none of these rows until an upgrade "
                "replays all of them: look at the disk, copy the journal, and move it aside once nothing is open",
            )

    def _alert(self, code: str, severity: str, text: str) -> None:
        self._context.alert(RaiseAlert(code=code, severity=severity, subject=self._context.name, text=text))
