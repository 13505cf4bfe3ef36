"""Disks that are full: a small file system of a test's own, where that may be mounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, size_mb: int) -> Iterator[Path]:
    """A file system of `size_mb` at `directory`; skips the test where mounting is not permitted."""
    directory.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0700", "tmpfs", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a file system of a test's own cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path, leave_bytes: int = 0) -> Path:
    """Use up the space of the file system of `directory`, but for `leave_bytes`; remove the file to free it again."""
    ballast = directory / "ballast"
    with ballast.open("ab") as file:
        while (free := free_bytes(directory) - leave_bytes) > 0:
            os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)
    return ballast


def free_bytes(directory: Path) -> int:
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def remount(directory: Path, options: str) -> None:
    """Change the file system of `small_disk`: "ro" makes it read-only, "rw" writable again."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(directory)], check=True)
