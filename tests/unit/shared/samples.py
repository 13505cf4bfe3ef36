"""Small valid things that many tests need."""

from __future__ import annotations

from pathlib import Path

from shared.config import DeskConfig, load_config
from shared.messages.control import HaltState
from shared.messages.system import Heartbeat

MINIMAL = '[desk]\nvenue = "sim"\nunderlyings = ["BTCUSD"]\n'


def write_desk(directory: Path, text: str = MINIMAL) -> DeskConfig:
    """The configuration of a desk in `directory`, read as a service would."""
    path = directory / "voldesk.toml"
    path.write_text(text)
    return load_config(path, {})


def heartbeat(service: str = "execution", event_sequences: dict[str, int] | None = None) -> Heartbeat:
    return Heartbeat(
        service=service,
        account_id="main",
        mode="paper",
        venue="sim",
        pid=1,
        epoch=1,
        started_ns=1,
        beat_ns=2,
        starts=1,
        ready=True,
        detail="",
        event_sequences=event_sequences or {},
    )


def halt(epoch: int, account_id: str = "main") -> HaltState:
    return HaltState(account_id=account_id, halt_epoch=epoch, halts=())
