"""What a deliberate mistake is: a change of the source, by its text."""

from __future__ import annotations

import msgspec

_EXECUTION = "services/execution/"


class Edit(msgspec.Struct, frozen=True):
    """In `path`, `old` (which is there exactly once) becomes `new`."""

    path: str
    old: str
    new: str


class Mutant(msgspec.Struct, frozen=True):
    """One mistake. `scenario`: of `world.directed`, in which it is looked for when few drawn seeds do not find it."""

    name: str
    what: str
    edits: tuple[Edit, ...]
    scenario: str = ""


def in_execution(name: str, what: str, *edits: tuple[str, str, str], scenario: str = "") -> Mutant:
    return Mutant(name, what, tuple(Edit(_EXECUTION + file, old, new) for file, old, new in edits), scenario)
