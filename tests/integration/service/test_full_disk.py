"""A real service whose run directory is on a file system that is really full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.bus.harness import until
from tests.integration.service.test_service import Desk, Service
from tests.unit.shared.full_disk import fill, remount, small_disk
from tests.unit.shared.samples import MINIMAL, write_desk

RESERVE_MB = 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "d", 12) as directory:
        yield directory


@pytest.fixture
async def desk(disk: Path, tmp_path: Path) -> AsyncIterator[Desk]:
    config = f"{MINIMAL}run_dir = '{disk}'\n[journal]\nreserve_mb = {RESERVE_MB}\n"
    desk = Desk(write_desk(tmp_path, config))
    yield desk
    desk.close()


def levels(service: Service) -> list[str]:
    return [line["to"] for line in service.lines() if line["event"] == "the journal's rows go elsewhere"]


async def until_level(service: Service, level: str) -> None:
    await until(lambda: levels(service)[-1:] == [level], f"rows go to {level}: {levels(service)}")


async def until_in_memory(desk: Desk, service: Service) -> int:
    """Count until even the reserve is used up; the count."""
    epoch = 0
    for _ in range(5_000):
        epoch = (await desk.tell("count" + "x" * 20_000)).halt_epoch
        if levels(service)[-1:] == ["memory"]:
            return epoch
    raise AssertionError(f"the disk has no end: {levels(service)}")


async def test_a_service_answers_on_through_reserve_and_memory_and_has_written_everything_in_the_end(
    desk: Desk, disk: Path
) -> None:
    service = desk.start()
    await desk.tell("count")
    ballast = fill(disk)
    epoch = await until_in_memory(desk, service)
    assert levels(service) == ["reserve", "memory"]
    labels = 'account="main",mode="paper",service="execution"'
    assert f"voldesk_journal_space{{{labels}}} 2.0" in await asyncio.to_thread(desk.scrape)
    assert (await desk.tell("count")).halt_epoch == epoch + 1
    ballast.unlink()
    await until_level(service, "disk")
    service.process.kill()
    await service.exit_code()
    again = desk.start()
    assert (await desk.tell("quiet")).halt_epoch == epoch + 1
    assert levels(again) == []
    assert "handler failed" not in service.events()


async def test_a_service_killed_with_rows_in_memory_starts_on_the_full_disk_from_what_was_written(
    desk: Desk, disk: Path
) -> None:
    service = desk.start()
    await desk.tell("count")
    fill(disk)
    epoch = await until_in_memory(desk, service)
    for _ in range(3):
        await desk.tell("count")
    service.process.kill()
    await service.exit_code()
    again = desk.start()
    assert 1 < (await desk.tell("quiet")).halt_epoch < epoch + 3
    assert levels(again)[-1:] != ["disk"]


async def test_a_service_that_cannot_even_open_its_journal_says_why_and_comes_up_when_there_is_space(
    desk: Desk, disk: Path
) -> None:
    ballast = fill(disk)
    service = desk.start()
    assert await service.exit_code() == 70, "not 78: it is started again by itself"
    (line,) = (line for line in service.lines() if line["level"] == "critical")
    assert "full disk" in line["event"]
    assert "free space on its disk" in line["reason"]
    assert "exception" not in line
    ballast.unlink()
    desk.start()
    assert (await asyncio.wait_for(desk.tell("count"), 60)).halt_epoch == 1


async def test_a_run_directory_that_became_read_only_is_said_and_left_for_the_next_start(
    desk: Desk, disk: Path
) -> None:
    service = desk.start()
    await desk.tell("count")
    service.process.terminate()
    assert await service.exit_code() == 0
    remount(disk, "ro")
    stuck = desk.start()
    assert await stuck.exit_code() == 70
    (line,) = stuck.lines()
    assert line["reason"].endswith("Read-only file system")
    assert line["remedy"] == "free space on its disk, or make it writable"
    remount(disk, "rw")
    desk.start()
    assert (await desk.tell("count")).halt_epoch == 2
