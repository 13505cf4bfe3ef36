"""What `voldesk doctor` finds: one line each, with its remedy."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "warning", "problem"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found. `remedy` is "" only where nothing has to be done."""

    check: str
    level: Level
    text: str
    remedy: str = ""
