"""Keys of the venue and of the grants: where they are kept and how they are read. Never printed, never logged."""

from __future__ import annotations

from pathlib import Path

import msgspec

from shared.config import DeskConfig
from shared.errors import StartRefused


class SecretError(StartRefused):
    """A secret is missing, or readable by others."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the venue. `secret` is never part of its text."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return f"ApiKey(key='{self.key[:4]}…')"

    __str__ = __repr__


class PaperKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key that the simulated exchange accepts."""

    account_id: str
    service: str
    key: str
    secret: str
    read_only: bool

    def __repr__(self) -> str:
        return f"PaperKey(service={self.service!r}, key='{self.key[:4]}…', read_only={self.read_only})"

    __str__ = __repr__


def load_api_key(desk: DeskConfig, service: str) -> ApiKey:
    raise NotImplementedError


def ensure_paper_secrets(run_dir: Path, account_id: str) -> tuple[PaperKey, ...]:
    raise NotImplementedError


def load_paper_keys(run_dir: Path) -> tuple[PaperKey, ...]:
    raise NotImplementedError
