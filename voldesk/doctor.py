"""Everything that keeps a desk from working, looked at from outside, whether it runs or not. Changes nothing.

Each check returns findings; none raises: what cannot be looked at is a finding too.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

from shared.config import DeskConfig, load_config
from shared.entries import quarantine_remedy
from shared.errors import StartRefused
from shared.latch import read_latches
from shared.quarantine import quarantined
from shared.reserve import Note, Reserve
from voldesk.console import Failure
from voldesk.doctor_groups import check_groups, check_shared_ports
from voldesk.doctor_venue import check_venue
from voldesk.findings import Finding, Level
from voldesk.health import State, collect_health, last_log_line
from voldesk.identity import check_identity
from voldesk.preflight import check_sections, read_ports
from voldesk.processes import desk_processes, pid_on_port
from voldesk.supervision import Supervisor

Tell = Callable[[str], None]

DISK_WARNING_BYTES = 2 * 1024**3
DISK_PROBLEM_BYTES = 200 * 1024**2
PYTHON_MIN = (3, 11)
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(;[^\\]*)?")
_NAMES_SHOWN = 4
_AT_ITS_START = (
    "restore it from a copy, or start the desk: execution moves it aside, begins from what the venue says and opens "
    "nothing until `voldesk resume`"
)


def examine(tell: Tell) -> list[Finding]:
    """All checks. `tell` is given what is being looked at. A configuration that cannot be read ends most of them."""
    tell("versions")
    findings = [*check_versions()]
    tell("configuration")
    try:
        desk = load_config()
        check_sections(desk)
    except StartRefused as error:
        return [
            Finding(check="configuration", level="problem", text=error.reason, remedy=error.remedy),
            *findings,
            Finding(
                check="all else",
                level="warning",
                text="was not looked at: it depends on the configuration",
                remedy="correct it and repeat `voldesk doctor`",
            ),
        ]
    findings.insert(0, Finding(check="configuration", level="ok", text=f"{desk.path} is valid, mode {desk.mode}"))
    for what, check in (
        ("run directory", check_run_dir),
        ("disk", check_disk),
        ("journals", check_journals),
        ("strategies", check_strategies),
        ("groups", check_groups),
        ("ports two would share", check_shared_ports),
        ("ports", check_ports),
        ("services", check_services),
        ("venue, clock and keys", check_venue),
    ):
        tell(what)
        try:
            findings += check(desk)
        except StartRefused as error:
            findings.append(Finding(check=what, level="problem", text=error.reason, remedy=error.remedy))
    return findings


def check_versions(lock: Path | None = None) -> Iterator[Finding]:
    """Python, and each package that the lock pins for this platform."""
    have = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < PYTHON_MIN:
        need = ".".join(map(str, PYTHON_MIN))
        yield Finding(
            check="python",
            level="problem",
            text=f"Python {have} is too old",
            remedy=f"install Python {need} or newer",
        )
    else:
        yield Finding(check="python", level="ok", text=f"Python {have}")
    path = lock or Path(__file__).resolve().parent.parent / "requirements.lock"
    try:
        pinned = pinned_versions(path.read_text())
    except OSError:
        yield Finding(
            check="packages",
            level="warning",
            text=f"{path} cannot be read, so versions cannot be compared",
            remedy="run voldesk from a checkout of its repository (make install)",
        )
        return
    wrong = []
    for name, (allowed, only_somewhere) in pinned.items():
        wanted = " or ".join(allowed)
        try:
            installed = version_of(name)
        except PackageNotFoundError:
            if not only_somewhere:
                wrong.append(f"{name} {wanted} is missing")
            continue
        if installed not in allowed:
            wrong.append(f"{name} is {installed}, pinned {wanted}")
    if wrong:
        more = f" and {len(wrong) - _NAMES_SHOWN} more" if len(wrong) > _NAMES_SHOWN else ""
        yield Finding(
            check="packages",
            level="warning",
            text=f"not as in {path.name}: {', '.join(wrong[:_NAMES_SHOWN])}{more}",
            remedy="make install",
        )
    else:
        yield Finding(check="packages", level="ok", text=f"{len(pinned)} packages as pinned in {path.name}")


def pinned_versions(lock: str) -> dict[str, tuple[tuple[str, ...], bool]]:
    """The versions of each package of a lock file, several where they depend on the platform or Python, and whether
    it may be absent."""
    found: dict[str, tuple[tuple[str, ...], bool]] = {}
    for line in lock.splitlines():
        if match := _PINNED.match(line):
            versions, may_be_absent = found.get(match[1], ((), True))
            found[match[1]] = ((*versions, match[2]), may_be_absent and bool(match[3]))
    return found


def check_run_dir(desk: DeskConfig) -> Iterator[Finding]:
    """Whose it is, and whether a halt waits in it."""
    if not desk.run_dir.exists():
        yield Finding(check="run directory", level="ok", text=f"{desk.run_dir} is made by the first `voldesk up`")
        return
    try:
        check_identity(desk)
    except Failure as error:
        yield Finding(check="run directory", level="problem", text=error.cause, remedy=error.remedy)
    else:
        yield Finding(check="run directory", level="ok", text=f"{desk.run_dir} is this desk's")
    for latch in read_latches(desk.run_dir):
        yield Finding(
            check="halt",
            level="warning",
            text=f"a flatten by {latch.raised_by} waits for execution: {latch.reason}",
            remedy="`voldesk up`, look at `voldesk positions`, then `voldesk resume`",
        )


def check_disk(desk: DeskConfig) -> Iterator[Finding]:
    """Room and the right to write where the desk writes."""
    place = next(path for path in (desk.run_dir, *desk.run_dir.parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / 1024**3:.1f} GiB free at {place}"
    if free < DISK_PROBLEM_BYTES:
        yield Finding(check="disk", level="problem", text=text, remedy="make room: a full disk stops opening trades")
    elif free < DISK_WARNING_BYTES:
        yield Finding(check="disk", level="warning", text=text, remedy="make room before the desk needs it")
    else:
        yield Finding(check="disk", level="ok", text=text)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-"):
            pass
    except OSError as error:
        yield Finding(
            check="disk",
            level="problem",
            text=f"{place} cannot be written: {error.strerror}",
            remedy=f"make it writable for this user, or set VOLDESK_RUN_DIR: chown {_user()} {place}",
        )


def check_journals(desk: DeskConfig) -> Iterator[Finding]:
    """The integrity of every journal that no process holds; read only."""
    paths = sorted((desk.run_dir / "journals").glob("*.sqlite3"))
    sound, in_use = [], []
    for path in paths:
        yield from _full_disk_marks(desk, path)
        if _is_in_use(path):
            in_use.append(path.name.removesuffix(".sqlite3"))
            continue
        problem = _problem_of(path)
        if problem:
            yield Finding(
                check="journals",
                level="problem",
                text=f"{path.name} {problem}",
                remedy=_AT_ITS_START if path.name.startswith("execution-") else quarantine_remedy(path),
            )
        else:
            sound.append(path.name.removesuffix(".sqlite3"))
    yield from _moved_aside(desk)
    if sound:
        yield Finding(check="journals", level="ok", text=f"sound: {', '.join(sound)}")
    if in_use:
        yield Finding(check="journals", level="ok", text=f"in use, checked at each start: {', '.join(in_use)}")
    if not paths:
        yield Finding(check="journals", level="ok", text="none yet")


def _moved_aside(desk: DeskConfig) -> Iterator[Finding]:
    """What a service or a person moved aside because it could not be trusted."""
    for file in quarantined(desk.run_dir / "journals"):
        instead, remedy = "", "look at `voldesk risk` and `voldesk strategies`, and keep it elsewhere"
        if ".snapshot-" in file.name:
            instead, remedy = ", every row was replayed instead", "remove it, and look at the disk"
        elif file.name.startswith("execution-"):
            remedy = (
                "compare `voldesk positions` and `voldesk orders` with the venue, `voldesk resume`, keep it elsewhere"
            )
        else:
            instead = ": what its service knew by it, such as peak equity or a pause, began anew"
        yield Finding(check="journals", level="warning", text=f"{file.name} was moved aside{instead}", remedy=remedy)


def _full_disk_marks(desk: DeskConfig, path: Path) -> Iterator[Finding]:
    """What a full disk has left behind beside a journal: rows that were never written, a reserve that is used up."""
    if lost := Note(Path(f"{path}.unwritten")).read():
        yield Finding(
            check="journals",
            level="warning",
            text=f"rows are missing in {path.name}: {lost}",
            remedy="compare `voldesk positions` with the venue, then `voldesk resume`",
        )
    if not Reserve(Path(f"{path}.reserve"), desk.journal.reserve_mb * 1024**2).held:
        yield Finding(
            check="journals",
            level="warning",
            text=f"the reserve of {path.name} for a full disk is not there",
            remedy="make room; the service takes it back by itself, at its next start at the latest",
        )


def _is_in_use(path: Path) -> bool:
    """Whether a service has the journal. Its lock is given back at once: a service that supervisord starts meanwhile
    would find it taken, end with 78 and stay down."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _problem_of(path: Path) -> str:
    """What is wrong with a journal, "" if nothing."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as connection:
            (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if health != "ok":
                return f"is damaged: {health}"
            connection.execute("SELECT count(*) FROM entries").fetchone()
    except sqlite3.Error as error:
        return f"is damaged: {error}"
    return ""


def check_strategies(desk: DeskConfig) -> Iterator[Finding]:
    """Whether each enabled strategy file loads, in a process of its own."""
    # imported here because strategies bring libraries that take longer to load than any other command takes to run
    from voldesk.strategy_files import check_strategy_files

    found = check_strategy_files(desk)
    for failure in found.failures:
        yield Finding(
            check="strategies",
            level="problem",
            text=f"{failure.name}: {failure.reason}",
            remedy=failure.remedy,
        )
    if found.loaded:
        yield Finding(check="strategies", level="ok", text=f"load: {', '.join(found.loaded)}")
    elif not found.failures:
        yield Finding(
            check="strategies",
            level="warning",
            text="none is enabled: the desk trades nothing",
            remedy='name some: [strategy] enabled = ["demo_strangle"]',
        )


def check_ports(desk: DeskConfig) -> Iterator[Finding]:
    """Each configured or drawn port is free, or one of our own processes listens on it."""
    if desk.host.supervisor == "containers":
        yield Finding(check="ports", level="ok", text="each service has those of its container")
        return
    ours = {process.pid: process.name for process in desk_processes(desk.run_dir)}
    drawn = read_ports(desk.run_dir)
    held, free = [], []
    for name, configured in desk.ports.items():
        port = configured or drawn.get(name)
        if not port:
            continue
        pid = pid_on_port(port)
        if pid is None:
            free.append(f"{name} {port}")
        elif pid in ours:
            held.append(f"{name} {port}")
        elif configured:
            yield Finding(
                check="ports",
                level="problem",
                text=f"[ports] {name} = {port} is taken by pid {pid}",
                remedy="end that process, or choose another port (0 takes a free one)",
            )
        else:
            yield Finding(
                check="ports",
                level="warning",
                text=f"{port}, drawn for {name}, is taken by pid {pid}",
                remedy="`voldesk down` and `voldesk up` draw another one",
            )
    if held:
        yield Finding(check="ports", level="ok", text=f"held by this desk: {', '.join(held)}")
    if free and not ours:
        yield Finding(check="ports", level="ok", text=f"free: {', '.join(free)}")
    if not held and not free:
        yield Finding(check="ports", level="ok", text="drawn by the first `voldesk up`")


def service_remedy(state: State, name: str, *, supervised: bool) -> str:
    """What brings a service out of `state`. `voldesk up` starts only what has ended, and ends what has no
    supervisord: a process that lives and does not answer must be restarted by its name."""
    if state == "NOT_RESPONDING" and supervised:
        return f"`voldesk restart {name}` ends it and starts it anew; trades survive it"
    return {
        "STARTING": "repeat in some seconds",
        "NOT_READY": f"see `voldesk logs {name}`; it goes on trying",
        "CONFIG_ERROR": "correct what it says, then `voldesk up`",
    }.get(state, f"`voldesk up` starts it; see `voldesk logs {name}`")


def check_services(desk: DeskConfig) -> Iterator[Finding]:
    """Each service answers; nothing lives that should not."""
    contained = desk.host.supervisor == "containers"
    alive = desk_processes(desk.run_dir) if desk.run_dir.is_dir() else ()
    if not alive and not contained:
        yield Finding(check="services", level="ok", text="the desk is not running; `voldesk up` starts it")
        return
    health = collect_health(desk)
    if health.foreign:
        yield Finding(
            check="services", level="problem", text=health.foreign, remedy="`voldesk down`, then `voldesk up`"
        )
    if not health.supervised:
        yield Finding(
            check="services",
            level="problem",
            text=f"alive without supervisord: {', '.join(f'{row.name} ({row.pid})' for row in alive)}",
            remedy="`voldesk up` ends them and starts the desk anew, `voldesk down` only ends them",
        )
    running = []
    for service in health.services:
        if service.state == "RUNNING":
            running.append(service.name)
            continue
        said = service.detail or last_log_line(desk.run_dir, service.name) or "its log is empty"
        remedy = service_remedy(service.state, service.name, supervised=health.supervised)
        if contained:
            remedy = f"on the host: `docker compose ps {service.name}`, then `docker compose restart {service.name}`"
        level: Level = "warning" if service.state in ("STARTING", "NOT_READY") else "problem"
        yield Finding(check="services", level=level, text=f"{service.name} is {service.state}: {said}", remedy=remedy)
    if running:
        yield Finding(check="services", level="ok", text=f"running and ready: {', '.join(running)}")
    if health.supervised and not contained and Supervisor(desk).pid() is None:
        yield Finding(check="services", level="problem", text="supervisord has gone meanwhile", remedy="`voldesk up`")


def _user() -> str:
    return str(os.getuid())
