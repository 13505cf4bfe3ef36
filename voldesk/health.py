"""The state of every service: what supervisord says, what the service itself answers, what its log said last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from shared.bus import Bus, NoAnswer
from shared.clock import Clock
from shared.config import DeskConfig
from shared.log_lines import fields_text
from shared.log_query import LogQuery
from shared.log_reader import newest_lines
from shared.messages.system import GetStatus, Heartbeat
from voldesk.processes import desk_processes
from voldesk.supervision import CONFIG_ERROR_EXIT, SupervisedProcess, Supervisor, SupervisorAway

State = Literal["RUNNING", "STARTING", "NOT_READY", "NOT_RESPONDING", "STOPPED", "EXITED", "FATAL", "CONFIG_ERROR"]
ANSWER_DEADLINE_MS = 1_000
_STARTING_S = 20.0
_SUPERVISOR_PATIENCE_S = 3.0
_LINES_LOOKED_AT = 200
_REFUSED = "start refused"
"""The event of the line in which a service says why it does not start, and the remedy."""
_BYTES_MAX = 1 << 20


class ServiceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `uptime_s`, `heartbeat_age_s` and `restarts` are None when nobody could say."""

    name: str
    state: State
    pid: int | None
    uptime_s: float | None
    heartbeat_age_s: float | None
    restarts: int | None
    detail: str = ""


class DeskHealth(msgspec.Struct, frozen=True, kw_only=True):
    """All services. `supervised` is False when supervisord does not answer."""

    supervised: bool
    services: tuple[ServiceHealth, ...]
    foreign: str = ""

    @property
    def all_running(self) -> bool:
        return all(service.state == "RUNNING" for service in self.services)


def expected_services(desk: DeskConfig) -> tuple[str, ...]:
    """The services of this desk, in the order in which they are shown."""
    return desk.services


def collect_health(desk: DeskConfig) -> DeskHealth:
    """Ask supervisord and all services at once; takes about a second when one of them hangs.

    `foreign` is set when a service runs for another mode or account than the configuration says.
    """
    names = expected_services(desk)
    if not desk.run_dir.is_dir():
        return DeskHealth(supervised=False, services=tuple(_not_there(desk, name, None) for name in names))
    if desk.host.supervisor == "containers":
        beats = ask_beats(desk, names)
        rows = [_contained(desk, name, beats.get(name)) for name in names]
        return DeskHealth(supervised=True, services=tuple(rows), foreign=_foreign(desk, beats))
    try:
        supervised = Supervisor(desk, _SUPERVISOR_PATIENCE_S).processes()
    except SupervisorAway:
        alive = {process.name: process.pid for process in desk_processes(desk.run_dir)}
        beats = ask_beats(desk, [name for name in names if name in alive])
        rows = [_unsupervised(desk, name, alive.get(name), beats.get(name)) for name in names]
        return DeskHealth(supervised=False, services=tuple(rows), foreign=_foreign(desk, beats))
    running = [name for name in names if name in supervised and supervised[name].pid is not None]
    beats = ask_beats(desk, running)
    rows = [judge_service(desk, name, supervised.get(name), beats.get(name)) for name in names]
    return DeskHealth(supervised=True, services=tuple(rows), foreign=_foreign(desk, beats))


def last_log_line(run_dir: Path, service: str) -> str:
    """The last error in a service's log, or else its last line, as a person reads it; "" without a log."""
    lines = newest_lines(run_dir / "logs", LogQuery(services=(service,)), _LINES_LOOKED_AT, bytes_max=_BYTES_MAX)
    if not lines:
        return ""
    line = next((each for each in lines if each.level in ("error", "critical")), lines[0])
    if line.event == _REFUSED:
        return "; ".join(str(line.fields[name]) for name in ("reason", "remedy") if line.fields.get(name))
    return f"{line.event.strip()} {fields_text(line.fields)}".strip()


def ask_beats(desk: DeskConfig, names: Iterable[str]) -> dict[str, tuple[Heartbeat, float]]:
    """The heartbeat of each of these services that answers, and its age in seconds."""
    return asyncio.run(_ask_all(desk, list(names)))


async def _ask_all(desk: DeskConfig, names: list[str]) -> dict[str, tuple[Heartbeat, float]]:
    """The heartbeat of each service that answered, and its age in seconds."""
    if not names:
        return {}
    clock = Clock()
    async with Bus.client(desk) as bus:

        async def ask(name: str) -> tuple[Heartbeat, float] | None:
            try:
                answer = await bus.ask(name, GetStatus(), deadline_ms=ANSWER_DEADLINE_MS)
            except NoAnswer:
                return None
            if not isinstance(answer, Heartbeat):
                return None
            return answer, max(0, clock.now_ns() - answer.beat_ns) / 1e9

        answers = await asyncio.gather(*(ask(name) for name in names))
    return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}


def _foreign(desk: DeskConfig, beats: dict[str, tuple[Heartbeat, float]]) -> str:
    for name, (beat, _) in beats.items():
        if (beat.mode, beat.account_id) != (desk.mode, desk.account_id):
            return (
                f"{name} runs for {beat.mode} account {beat.account_id}, "
                f"the configuration says {desk.mode} account {desk.account_id}"
            )
    return ""


def judge_service(
    desk: DeskConfig, name: str, process: SupervisedProcess | None, answer: tuple[Heartbeat, float] | None
) -> ServiceHealth:
    """The state of a service from what supervisord says and its own answer with the heartbeat's age in seconds."""
    if process is None or process.pid is None:
        return _not_there(desk, name, process)
    if answer is None:
        young = process.uptime_s is not None and process.uptime_s < _STARTING_S
        return ServiceHealth(
            name=name,
            state="STARTING" if young or process.state == "STARTING" else "NOT_RESPONDING",
            pid=process.pid,
            uptime_s=process.uptime_s,
            heartbeat_age_s=None,
            restarts=_restarts(desk.run_dir, name),
            detail=""
            if young
            else f"no answer within {ANSWER_DEADLINE_MS} ms; if it stays so, `voldesk restart {name}`",
        )
    return _answered(name, process.pid, answer)


def _answered(name: str, pid: int, answer: tuple[Heartbeat, float]) -> ServiceHealth:
    beat, age_s = answer
    return ServiceHealth(
        name=name,
        state="RUNNING" if beat.ready else "NOT_READY",
        pid=pid,
        uptime_s=round((beat.beat_ns - beat.started_ns) / 1e9, 3),
        heartbeat_age_s=round(age_s, 3),
        restarts=beat.starts - 1,
        detail=beat.detail,
    )


def _not_there(desk: DeskConfig, name: str, process: SupervisedProcess | None) -> ServiceHealth:
    state: State = "STOPPED"
    detail = ""
    if process is not None and process.state == "FATAL":
        state, detail = "FATAL", process.problem
    elif process is not None and process.state == "EXITED":
        config_error = process.exit_status == CONFIG_ERROR_EXIT
        state = "CONFIG_ERROR" if config_error else "EXITED"
        detail = last_log_line(desk.run_dir, name) or f"exit code {process.exit_status}"
    elif process is not None and process.state in ("STARTING", "BACKOFF"):
        state, detail = "STARTING", process.problem
    return ServiceHealth(
        name=name,
        state=state,
        pid=None,
        uptime_s=None,
        heartbeat_age_s=None,
        restarts=_restarts(desk.run_dir, name),
        detail=detail,
    )


def _restarts(run_dir: Path, name: str) -> int | None:
    """Starts after the first, from the service's own counter; None when it was never started."""
    try:
        count = json.loads((run_dir / "starts" / f"{name}.json").read_text())["count"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return int(count) - 1


def _contained(desk: DeskConfig, name: str, answer: tuple[Heartbeat, float] | None) -> ServiceHealth:
    """A container is seen by its answer alone; whether it exists, the engine knows."""
    if answer is not None:
        return _answered(name, answer[0].pid, answer)
    return ServiceHealth(
        name=name,
        state="NOT_RESPONDING",
        pid=None,
        uptime_s=None,
        heartbeat_age_s=None,
        restarts=_restarts(desk.run_dir, name),
        detail=f"no answer within {ANSWER_DEADLINE_MS} ms; see `docker compose ps {name}` and `voldesk logs {name}`",
    )


def _unsupervised(
    desk: DeskConfig, name: str, pid: int | None, answer: tuple[Heartbeat, float] | None
) -> ServiceHealth:
    """Without supervisord nothing is healthy: nobody restarts what dies."""
    if pid is None:
        return _not_there(desk, name, None)
    alone = "alive without supervisord, nobody restarts it; `voldesk up` puts it right"
    if answer is None:
        return ServiceHealth(
            name=name,
            state="NOT_RESPONDING",
            pid=pid,
            uptime_s=None,
            heartbeat_age_s=None,
            restarts=_restarts(desk.run_dir, name),
            detail=alone,
        )
    healthy = _answered(name, pid, answer)
    return msgspec.structs.replace(healthy, state="NOT_READY", detail=alone)
