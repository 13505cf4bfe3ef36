"""What a systemd unit denies to its processes, for tests on machines where no systemd runs.

    python -m tests.systemd_sandbox UNIT COMMAND...

runs a command under the unit's SystemCallFilter, RestrictAddressFamilies and RestrictRealtime. The groups are
expanded by systemd-analyze and the filters loaded by libseccomp, both of which come with Debian's package systemd.
The rest of a unit (file systems, capabilities, memory) is not put in force. Raises NoSandbox where one of the two is
missing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_ALLOW, _ERRNO, _EQUAL = 0x7FFF0000, 0x00050000, 4
_ADDRESS_FAMILIES = range(64)


class NoSandbox(Exception):
    """What is missing."""


class _Comparison(ctypes.Structure):
    """libseccomp's struct scmp_arg_cmp."""

    _fields_ = [  # as ctypes wants it
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


def values(unit: Path, key: str) -> list[str]:
    """The values of all lines `key=` of the unit, in their order."""
    return [line.partition("=")[2] for line in unit.read_text().splitlines() if line.startswith(f"{key}=")]


def allowed_calls(unit: Path) -> set[str]:
    """The system calls that the unit's SystemCallFilter comes to, as systemd.exec(5) says: the first line makes it a
    list of what is allowed, each later one adds to it or, with ~, takes away."""
    lines = values(unit, "SystemCallFilter")
    assert lines, "the unit has no list"
    assert not lines[0].startswith("~"), "the unit's list must begin with what is allowed"
    allowed = set(_expanded("@default"))
    for line in lines:
        calls = {call for name in line.removeprefix("~").split() for call in _expanded(name)}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def _expanded(name: str) -> Iterator[str]:
    """The calls of a group and of the groups in it; a call itself."""
    if not name.startswith("@"):
        yield name
        return
    if shutil.which("systemd-analyze") is None:
        raise NoSandbox("no systemd-analyze on this machine: apt-get install systemd")
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", name],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for line in done.stdout.splitlines()[1:]:
        if (member := line.strip()) and not member.startswith("#"):
            yield from _expanded(member)


class _Filter:
    """One filter in the making. Raises NoSandbox without libseccomp, OSError for what it refuses."""

    def __init__(self, default_action: int) -> None:
        try:
            self._library = ctypes.CDLL("libseccomp.so.2")
        except OSError as error:
            raise NoSandbox(f"no libseccomp on this machine ({error}): apt-get install systemd") from None
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default_action)))

    def add(self, action: int, call: str, *arguments: _Comparison) -> None:
        number = self._library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # of another architecture
            return
        array = (_Comparison * len(arguments))(*arguments)
        self._done(
            self._library.seccomp_rule_add_array(
                self._context, ctypes.c_uint32(action), number, len(arguments), array
            ),
            call,
        )

    def load(self) -> None:
        """For this process and all it starts; no new privileges from here on."""
        self._done(self._library.seccomp_load(self._context), "load")

    @staticmethod
    def _done(result: int, what: str) -> None:
        if result:
            raise OSError(-result, f"libseccomp: {what}: {os.strerror(-result)}")


def enter(unit: Path) -> None:
    """Put the unit's filters in force for this process, for good."""
    refused = values(unit, "SystemCallErrorNumber")
    calls = _Filter(_ERRNO | getattr(errno, refused[-1]))
    for call in sorted(allowed_calls(unit)):
        calls.add(_ALLOW, call)
    families = {getattr(socket, name) for name in " ".join(values(unit, "RestrictAddressFamilies")).split()}
    arguments = _Filter(_ALLOW)
    for family in _ADDRESS_FAMILIES:
        if family not in families:
            arguments.add(_ERRNO | errno.EAFNOSUPPORT, "socket", _Comparison(0, _EQUAL, family, 0))
    if values(unit, "RestrictRealtime") == ["yes"]:
        for policy in (os.SCHED_FIFO, os.SCHED_RR):
            arguments.add(_ERRNO | errno.EPERM, "sched_setscheduler", _Comparison(1, _EQUAL, policy, 0))
    arguments.load()
    calls.load()


if __name__ == "__main__":
    enter(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
