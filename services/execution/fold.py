"""The fold of execution's journal and its snapshots, for the service, for what makes snapshots, and for people."""

from __future__ import annotations

from pathlib import Path

from services.execution.book import Book
from services.execution.config import ExecutionConfig
from shared.entries import Binding
from shared.snapshots import Snapshots, fold_name

_SERVICE = Path(__file__).parent
_SHARED = _SERVICE.parents[1] / "shared"
_OWN = (
    *(
        "book",
        "cash_book",
        "cash_config",
        "cash_rows",
        "config",
        "differences",
        "direct_fold",
        "hedges",
        "inquiries",
        "inquiry_rows",
        "order_fold",
        "purging",
        "quality",
        "records",
        "rolling",
    ),
    *("rfq_rows", "rfq_story", "rfqs", "rows", "states", "story", "trade_fold"),
)
SOURCES = (
    *(_SERVICE / f"{name}.py" for name in _OWN),
    _SHARED / "ids.py",
    _SHARED / "leverage.py",
    *(_SHARED / name for name in ("messages", "options", "strategy")),
)
"""Where every line lives that decides what a row does to the book: what `book` imports, of ours. A version in which
one of them is another replays all rows once; how trades are worked is not among them."""


def snapshots_of(path: Path, binding: Binding, config: ExecutionConfig) -> Snapshots[Book]:
    """The snapshots beside execution's journal `path` that this version, with these settings, may use."""
    return Snapshots(path, binding, Book, fold_name(Book, Book.empty(config), SOURCES))
