"""The files of the log, written by real processes: rotation, following, a full disk, modes, secrets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.config import DeskConfig
from shared.log_files import DESK_LOG, RotatingFile
from shared.log_query import LogQuery
from shared.log_reader import Follower, newest_lines
from shared.secrets import ensure_paper_secrets
from tests.integration.bus.harness import until
from tests.integration.service.test_service import Desk
from tests.unit.shared.full_disk import fill, small_disk
from tests.unit.shared.samples import MINIMAL, write_desk

WRITERS, LINES = 4, 1_500
WRITER = """
import sys
from pathlib import Path
from shared.log_files import RotatingFile
file = RotatingFile(Path(sys.argv[1]), 20_000, int(sys.argv[4]))
for number in range(int(sys.argv[3])):
    file.write(f"{sys.argv[2]} {number} {'x' * (number % 90)} end\\n".encode())
"""


def writers(path: Path, kept: int, lines: int = LINES) -> list[subprocess.Popen[bytes]]:
    commands = [[sys.executable, "-c", WRITER, str(path), f"w{n}", str(lines), str(kept)] for n in range(WRITERS)]
    return [subprocess.Popen(command) for command in commands]


def bytes_in(folder: Path) -> int:
    """Of all files; one may be renamed away meanwhile."""
    total = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_several_processes_rotate_one_file_and_no_line_is_lost_torn_or_doubled_also_for_who_follows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "shared.log"
    follower = Follower(tmp_path, LogQuery(services=("shared",)))
    running = writers(path, 1_000)
    followed: list[str] = []
    deadline = time.monotonic() + 240
    while len(followed) < WRITERS * LINES:
        followed += [line.event for line in follower.new(time.time_ns() + 10**9)]
        assert time.monotonic() < deadline, len(followed)
        time.sleep(0.01)
    follower.close()
    assert [process.wait() for process in running] == [0] * WRITERS
    files = list(tmp_path.iterdir())
    assert len(files) >= 3
    # an empty line is from who opened the file in the middle of another's write and took it for torn
    lines = [line for each in files for line in each.read_text().splitlines() if line]
    wanted = {f"w{w} {number} {'x' * (number % 90)} end" for w in range(WRITERS) for number in range(LINES)}
    assert Counter(lines) == Counter(wanted)
    assert Counter(followed) == Counter(wanted)


def test_several_writers_leave_the_files_that_are_to_be_kept_and_no_more(tmp_path: Path) -> None:
    for process in writers(tmp_path / "shared.log", 3):
        assert process.wait() == 0
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["shared.log", "shared.log.1", "shared.log.2"]
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}


def test_a_file_is_rotated_before_it_grows_past_its_bound_and_the_newest_lines_are_kept(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "one.log", 1_000, 3)
    for number in range(200):
        file.write(f"line {number} {'x' * (number % 90)}\n".encode())
    file.close()
    kept = [tmp_path / name for name in ("one.log.2", "one.log.1", "one.log")]
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert all(0 < each.stat().st_size <= 1_000 for each in kept)
    numbers = [int(line.split()[1]) for each in kept for line in each.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 200))


def test_writers_that_are_killed_in_the_middle_leave_lines_that_are_read_and_written_on(tmp_path: Path) -> None:
    path = tmp_path / "shared.log"
    for _ in range(3):
        begun = bytes_in(tmp_path)
        running = writers(path, 1_000, 10**9)
        deadline = time.monotonic() + 120
        while bytes_in(tmp_path) < begun + 2_000:
            assert time.monotonic() < deadline
        for process in running:
            process.kill()
            assert process.wait() == -signal.SIGKILL
    file = RotatingFile(path, 20_000, 1_000)
    file.write(b"after\n")
    file.close()
    lines = [line.event for line in newest_lines(tmp_path, LogQuery(services=("shared",)), None)]
    assert lines[0] == "after"
    assert len(lines) > 3 * WRITERS
    assert [line for line in lines[1:] if not re.fullmatch(r"w\d \d+ x* end", line)] == []


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(write_desk(tmp_path, f'{MINIMAL}[logging]\noutput = "files"\nhealth_interval_s = 1\n'))
    yield desk
    desk.close()


def logged(config: DeskConfig, **wanted: str) -> list[str]:
    query = LogQuery(services=("execution",), **wanted)  # type: ignore[arg-type]
    return [line.event for line in newest_lines(config.run_dir / "logs", query, None)][::-1]


async def test_a_service_writes_files_that_only_its_user_reads_and_nothing_to_standard_output(desk: Desk) -> None:
    service = desk.start()
    await desk.status()
    await until(lambda: "health" in logged(desk.config), "it tells of its health")
    service.process.terminate()
    assert await service.exit_code() == 0
    assert logged(desk.config)[0] == "starting"
    assert logged(desk.config)[-1] == "stopped"
    assert service.log.read_text() == ""
    folder = desk.config.run_dir / "logs"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).as_posix() for path in files} == {DESK_LOG, "health/execution.jsonl"}
    assert {path.stat().st_mode & 0o077 for path in (*files, folder, folder / "health")} == {0}
    line = json.loads((folder / "health" / "execution.jsonl").read_text().splitlines()[0])
    assert {"at", "level", "service", "mode", "account", "track", "event"} <= line.keys()
    assert (line["service"], line["mode"], line["track"]) == ("execution", "paper", "health")
    assert " info     execution  starting  " in (folder / DESK_LOG).read_text()


async def test_under_supervisord_files_are_the_default_and_stdout_can_be_wanted(tmp_path: Path) -> None:
    for number, (output, in_files) in enumerate((("auto", True), ("stdout", False))):
        home = tmp_path / str(number)
        home.mkdir()
        desk = Desk(write_desk(home, f'{MINIMAL}[logging]\noutput = "{output}"\n'))
        try:
            service = desk.start(SUPERVISOR_ENABLED="1")
            await desk.status()
            service.process.terminate()
            assert await service.exit_code() == 0
            assert (logged(desk.config) != []) is in_files
            assert ("stopped" in service.log.read_text()) is not in_files
        finally:
            desk.close()


async def test_no_secret_reaches_a_file_of_the_log(desk: Desk) -> None:
    keys = ensure_paper_secrets(desk.config.run_dir)
    desk.start()
    await desk.tell("leak")
    await until(lambda: "leaking" in logged(desk.config), "it was logged")
    await until(lambda: "handler failed" in logged(desk.config), "so was the error")
    text = "".join(path.read_text() for path in (desk.config.run_dir / "logs").rglob("*") if path.is_file())
    assert "***" in text
    assert [key.service for key in keys if key.secret in text] == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "d", 12) as directory:
        yield directory


async def test_on_a_full_disk_a_service_works_on_tells_of_it_and_later_how_many_lines_were_lost(
    disk: Path, tmp_path: Path
) -> None:
    config = f"{MINIMAL}run_dir = '{disk}'\n[journal]\nreserve_mb = 2\n"
    desk = Desk(write_desk(tmp_path, f'{config}[logging]\noutput = "files"\n'))
    try:
        service = desk.start()
        await desk.tell("count")
        ballast = fill(disk)

        async def scraped(pattern: str) -> bool:
            """Something is logged with a traceback; an effect that succeeds keeps failures from being in a row."""
            await desk.tell("effect fails")
            await desk.tell("this effect does not fail")
            return re.search(pattern, await asyncio.to_thread(desk.scrape), re.MULTILINE) is not None

        deadline = time.monotonic() + 120
        while not await scraped(r"^voldesk_log_lines_lost_total\{.*\} [1-9]"):
            assert time.monotonic() < deadline
        while not await scraped(r'^voldesk_alerts_raised_total\{.*code="logs_not_written".*\} 1'):
            assert time.monotonic() < deadline
        assert "handler failed" in service.log.read_text(), "what no file takes goes to standard output"
        assert service.process.poll() is None
        ballast.unlink()
        while "log lines were lost" not in logged(desk.config):
            await scraped("")
            assert time.monotonic() < deadline
        found = newest_lines(disk / "logs", LogQuery(services=("execution",), search="were lost"), 1)
        assert found[0].fields["lines"] >= 1
        for line in (disk / "logs" / "health" / "execution.jsonl").read_bytes().splitlines():
            assert line.startswith(b"{")
    finally:
        desk.close()


def test_a_file_that_is_taken_away_is_begun_anew(tmp_path: Path) -> None:
    code = WRITER.replace("for number", "import os\nfor number").replace("    file.write", "    file.write", 1)
    code += "os.unlink(sys.argv[1])\nfile.write(b'again\\n')\n"
    path = tmp_path / "x.log"
    subprocess.run([sys.executable, "-c", code, str(path), "w", "3", "3"], check=True, env=os.environ)
    assert path.read_text() == "again\n"
