"""Passwords: argon2id, and how weak one may be."""

from __future__ import annotations

import asyncio
import functools

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LENGTH_MIN = 12
LENGTH_MAX = 200
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""19 MiB, two passes, one lane: the least that OWASP's password storage cheat sheet recommends for argon2id, so that
a login costs the monitor little memory and some ten milliseconds of one core, in a thread."""

_ONE_AT_A_TIME = asyncio.Semaphore(1)


def problem_of(password: str, name: str) -> str | None:
    """Why a new password is not good enough; None when it is."""
    if len(password) < LENGTH_MIN:
        return f"a password has at least {LENGTH_MIN} characters: a few words are easier to remember than signs"
    if len(password) > LENGTH_MAX:
        return f"a password has at most {LENGTH_MAX} characters"
    if len(set(password)) < 5 or name.lower() in password.lower():
        return "that password is too easy to guess: it repeats few characters, or holds the name"
    return None


def hash_password(password: str) -> str:
    """The hash with its parameters and salt, to be kept."""
    return _HASHER.hash(password)


@functools.cache
def _hash_of_nobody() -> str:
    """So that a name that does not exist takes as long as one that does."""
    return _HASHER.hash("nobody has this password")


def matches(kept: str | None, password: str) -> bool:
    """Whether it is the password behind `kept`; for None, of nobody, False in the same time."""
    try:
        return _HASHER.verify(kept or _hash_of_nobody(), password[: LENGTH_MAX + 1]) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


async def matches_in_thread(kept: str | None, password: str) -> bool:
    """`matches` off the event loop, one at a time: a crowd of logins must not take the monitor's core."""
    async with _ONE_AT_A_TIME:
        return await asyncio.to_thread(matches, kept, password)
