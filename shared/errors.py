"""Errors that several parts of a service must know: a start that a person must put right, a journal that is damaged
or has no room."""

from __future__ import annotations


class StartRefused(Exception):
    """A service cannot start until somebody changes a setting, a key or the environment. Exit code 78."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}. {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


class JournalDamaged(StartRefused):
    """A journal does not hold what was written to it."""


class JournalFull(Exception):
    """Nothing more can be written to the journal, and nothing of the batch was: no space, no quota, or read-only."""
