"""The fold of execution's journal and its snapshots, for the service, for what makes snapshots, and for people."""

from __future__ import annotations

from pathlib import Path

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from shared.entries import Binding
from shared.snapshots import Snapshots, fold_name

_SERVICE = Path(__file__).parent
_SHARED = _SERVICE.parents[1] / "shared"
SOURCES = (_SERVICE, _SHARED, *(_SHARED / name for name in ("messages", "options", "strategy")))
"""Where every line lives that decides what a row does to the book, and more: an upgrade costs one full replay."""


def snapshots_of(path: Path, binding: Binding, config: ExecutionConfig) -> Snapshots[Book]:
    """The snapshots beside execution's journal `path` that this version, with these settings, may use."""
    return Snapshots(path, binding, Book, fold_name(Book, Book.empty(config), SOURCES))
