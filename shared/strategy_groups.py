"""The groups of strategies that the processes of a desk run by: `strategy-groups.json` in its run directory.

Whose a strategy is must be the same for every process, whenever it was started and whatever the configuration says
by now: otherwise a trade may have no host, or two. So what the configuration says counts from when `voldesk up` has
stopped the hosts that it concerns, which then writes it here; all processes and commands go by what is written.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from shared.strategy_hosts import StrategyHosts, is_host

_NAME_BYTES_MAX = 64


class GroupsUnreadable(Exception):
    """The file is there and does not say which groups run."""


def groups_path(run_dir: Path) -> Path:
    return run_dir / "strategy-groups.json"


def read_groups(run_dir: Path) -> StrategyHosts | None:
    """What runs; None before the first start. Raises GroupsUnreadable."""
    path = groups_path(run_dir)
    try:
        return msgspec.json.decode(path.read_bytes(), type=StrategyHosts)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GroupsUnreadable(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise GroupsUnreadable(f"{path}: {error}") from None


def write_groups(run_dir: Path, hosts: StrategyHosts) -> None:
    """From now on these run, also after a loss of power."""
    path = groups_path(run_dir)
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(msgspec.json.encode(hosts) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(run_dir)


def tenancy_folder(run_dir: Path) -> Path:
    """Where a file for each strategy names its host, which has locked it as long as its process lives."""
    return run_dir / "strategy-hosts"


def holding_hosts(run_dir: Path) -> set[str]:
    """The hosts that have a strategy at this moment, whatever is configured or written of them."""
    found: set[str] = set()
    folder = tenancy_folder(run_dir)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            found.add(host_in(descriptor))
        finally:
            os.close(descriptor)
    return found - {""}


def host_in(descriptor: int) -> str:
    """The host that a strategy's file names, "" for none."""
    name = os.pread(descriptor, _NAME_BYTES_MAX, 0).decode(errors="replace").strip()
    return name if is_host(name) else ""


def sync_folder(folder: Path) -> None:
    """Make new and renamed files of a folder outlast a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
