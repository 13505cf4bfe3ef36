"""Where the journals of a desk lie and whose they are."""

from __future__ import annotations

from pathlib import Path

from shared.config import DeskConfig
from shared.entries import Binding

_VENUE = "coincall"


def journal_path(desk: DeskConfig, service: str) -> Path:
    return desk.run_dir / "journals" / f"{service}-{desk.account_id}.sqlite3"


def binding_of(desk: DeskConfig) -> Binding:
    return Binding(venue=_VENUE, environment=desk.venue, account_id=desk.account_id)
