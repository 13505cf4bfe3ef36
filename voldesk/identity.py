"""Whose run directory this is, so that a command never speaks for one desk and acts on another.

`voldesk up` writes venue, mode and account into `desk.json` at its first start. A run directory belongs to them from
then on: journals and paper keys in it do as well.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from shared.config import DeskConfig
from shared.messages.system import Heartbeat
from voldesk.console import EXIT_CONFIG, Failure


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What two desks may not share. `mode` is paper, beta or LIVE."""

    venue: str
    mode: str
    account_id: str

    def __str__(self) -> str:
        return f"{self.mode} account {self.account_id} (venue {self.venue})"


def identity_of(desk: DeskConfig) -> Identity:
    return Identity(venue=desk.venue, mode=desk.mode, account_id=desk.account_id)


def check_identity(desk: DeskConfig) -> None:
    """Raises Failure (78) when the run directory belongs to another desk than the configuration says."""
    path = _path(desk.run_dir)
    try:
        known = msgspec.json.decode(path.read_bytes(), type=Identity)
    except FileNotFoundError:
        return
    except (OSError, msgspec.MsgspecError):
        raise Failure(
            f"{path} cannot be read, so nobody knows whose desk this is",
            "make it readable, or remove it and repeat `voldesk up`",
            EXIT_CONFIG,
        ) from None
    if known != identity_of(desk):
        raise _mismatch(desk, f"{desk.run_dir} belongs to {known}")


def record_identity(desk: DeskConfig) -> None:
    """Make the run directory this desk's. Raises Failure (78) when it is another one's."""
    check_identity(desk)
    path = _path(desk.run_dir)
    if path.exists():
        return
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(identity_of(desk)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def check_heartbeat(desk: DeskConfig, beat: Heartbeat) -> None:
    """Raises Failure (78) when the service that beats runs for another desk than the configuration says."""
    running = Identity(venue=beat.venue, mode=beat.mode, account_id=beat.account_id)
    if running != identity_of(desk):
        raise _mismatch(desk, f"{beat.service} runs for {running}")


def _mismatch(desk: DeskConfig, found: str) -> Failure:
    remedy = f"correct [desk] in {desk.path}, or take another run directory (VOLDESK_RUN_DIR)"
    if os.environ.get("TRADING_ENVIRONMENT"):
        remedy = f"unset TRADING_ENVIRONMENT, or {remedy}"
    return Failure(f"{found}, the configuration says {identity_of(desk)}", remedy, EXIT_CONFIG)


def _path(run_dir: Path) -> Path:
    return run_dir / "desk.json"
