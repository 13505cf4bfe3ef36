"""Looks at a running desk from outside: processes, files, journals, the alert log, the logs. It asks no service."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

from bench.memory import sample_of
from services.monitor.effects import AlertRecord
from shared.clock import wall_ns
from shared.log_lines import LogLine, fields_text
from shared.log_query import LogQuery
from shared.log_reader import Follower
from soak.causes import AlertSeen, Spell
from soak.memory import ProcessSample
from soak.record import Complaint, FileSample
from soak.schedule import SERVICES
from voldesk.processes import desk_processes

MB = 1_048_576
_PULSE_S = 0.1
STOOD_STILL_S = 1.0


class Pulse:
    """Notices when this machine gives a process no time: a thread's sleep of a tenth of a second took one."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._ended = threading.Event()
        self._gaps: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def spells(self) -> list[Spell]:
        """The gaps so far."""
        return [
            Spell(cause="machine", began_s=began_s, ended_s=ended_s, what="stood still")
            for began_s, ended_s in list(self._gaps)
        ]

    def _beat(self) -> None:
        earlier = time.time()
        while not self._ended.wait(_PULSE_S):
            now = time.time()
            if now - earlier > _PULSE_S + STOOD_STILL_S:
                self._gaps.append((earlier - self._began, now - self._began))
            earlier = now


class Watch:
    """One desk's run directory and processes. began: Unix time, from which all times count."""

    def __init__(self, run_dir: Path, began: float) -> None:
        self._run_dir = run_dir
        self._began = began
        self._seen_s: dict[int, float] = {}
        self._alerts_read = 0
        self._log = Follower(run_dir / "logs", LogQuery(services=SERVICES))

    def processes(self, at_s: float) -> list[ProcessSample]:
        """Every process of the desk now."""
        found = []
        for process in desk_processes(self._run_dir):
            sample = sample_of(process.pid, at_s)
            entry = Path("/proc") / str(process.pid)
            try:
                descriptors, threads = len(os.listdir(entry / "fd")), len(os.listdir(entry / "task"))
            except OSError:
                continue
            if sample is not None:
                found.append(
                    ProcessSample(
                        at_s=round(at_s, 1),
                        service=process.name,
                        pid=process.pid,
                        age_s=round(at_s - self._seen_s.setdefault(process.pid, at_s), 1),
                        pss_mb=round(sample.pss_mb, 2),
                        own_mb=round(sample.own_mb, 2),
                        cpu_s=sample.cpu_s,
                        descriptors=descriptors,
                        threads=threads,
                    )
                )
        return found

    def files(self, at_s: float) -> FileSample:
        """Sizes by the file's group and rows of each journal now."""
        sizes: dict[str, float] = {}
        for path in self._run_dir.rglob("*"):
            try:
                size = path.stat().st_size if path.is_file() else 0
            except OSError:
                continue
            sizes[self._group(path)] = sizes.get(self._group(path), 0.0) + size / MB
        rows = {
            path.name.partition("-")[0]: count
            for path in sorted((self._run_dir / "journals").glob("*.sqlite3"))
            if (count := _rows_in(path)) is not None
        }
        rounded = {group: round(size, 3) for group, size in sorted(sizes.items())}
        return FileSample(at_s=round(at_s, 1), sizes_mb=rounded, rows=rows)

    def _group(self, path: Path) -> str:
        """A file's folder and what it is, without numbers: snapshots and logs that are turned over count together."""
        inside = path.relative_to(self._run_dir)
        stem = inside.name.partition("-")[0] if inside.parent.name == "journals" else inside.name.partition(".")[0]
        kind = next((each for each in (".snapshot", ".reserve") if each in inside.name), "")
        return f"{inside.parent}/{stem}{kind}".removeprefix("./")

    def alerts(self) -> list[AlertSeen]:
        """Records that were added to the alert log since the last look."""
        try:
            with (self._run_dir / "alerts.jsonl").open("rb") as file:
                file.seek(self._alerts_read)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._alerts_read += len(whole)
        return [seen for line in whole.splitlines() if (seen := self._alert(line)) is not None]

    def _alert(self, line: bytes) -> AlertSeen | None:
        try:
            fields = json.loads(line)
        except ValueError:
            return None
        kept = {name: fields[name] for name in AlertRecord.__struct_fields__ if name in AlertSeen.__struct_fields__}
        return AlertSeen(at_s=round(fields["raised_ns"] / 1e9 - self._began, 2), **kept)

    def complaints(self) -> list[Complaint]:
        """Log lines from warning upwards since the last look, but for alerts, which are judged by themselves."""
        lines = self._log.new(wall_ns())
        return [told for line in lines if (told := self._complaint(line)) is not None]

    def _complaint(self, line: LogLine) -> Complaint | None:
        if line.level in ("debug", "info") or line.event == "alert":
            return None
        at_s = round(datetime.fromisoformat(line.at).timestamp() - self._began, 2)
        fields = {name: line.fields[name] for name in ("code", "error", "reason") if name in line.fields}
        text = f"{line.event} {fields_text(fields)}".strip()[:200]
        return Complaint(at_s=at_s, service=line.service, level=line.level or "none", text=text)


def _rows_in(path: Path) -> int | None:
    """Rows ever written to a journal: None while it cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)) as connection:
            (newest,) = connection.execute("SELECT max(sequence) FROM entries").fetchone()
    except sqlite3.Error:
        return None
    return int(newest or 0)
