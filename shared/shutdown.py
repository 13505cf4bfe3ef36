"""What a command says of a stop that it is about to cause: what becomes of resting orders and open trades.

One file in the run directory, which execution reads, and removes, when it is told to stop. Without one it does what
the configuration says; one that was left over from a stop that never came is removed at its start.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import get_args

from shared.messages.control import OnShutdown

_NAME = "on-shutdown"


def announce(run_dir: Path, choice: OnShutdown) -> None:
    """Say what the next stop of execution is to do. On a disk that cannot be written nothing is said: a stop must not
    fail of it."""
    with contextlib.suppress(OSError):
        (run_dir / _NAME).write_text(choice)


def take_announced(run_dir: Path) -> OnShutdown | None:
    """What was said, once; None for nothing, or for what cannot be read."""
    path = run_dir / _NAME
    try:
        said = path.read_text().strip()
        path.unlink()
    except (OSError, UnicodeDecodeError):
        return None
    return next((choice for choice in get_args(OnShutdown) if choice == said), None)
