"""The error that ends a start: something a person must put right first."""

from __future__ import annotations


class StartRefused(Exception):
    """A service cannot start until somebody changes a setting, a key or the environment. Exit code 78."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}. {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy
