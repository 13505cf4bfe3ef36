"""The venue's countdown, the dead man's switch of strategies that quote: is it armed, and until when."""

from __future__ import annotations

import msgspec

from shared.messages.base import Message


class ListCountdowns(Message, frozen=True, tag="list_countdowns.1"):
    """Ask execution for the countdowns that may be armed at the venue."""


class Countdown(msgspec.Struct, frozen=True, kw_only=True):
    """Of one underlying. is_armed: None for nobody knows, as the last answer is missing. fires_ns: when the venue
    withdraws every order of the underlying at the earliest, unless it is renewed before; None while that is not
    known."""

    underlying: str
    is_armed: bool | None
    fires_ns: int | None


class CountdownList(Message, frozen=True, kw_only=True, tag="countdown_list.1"):
    """countdown_s: for how long they are armed, 0 for never. lacks_right: the venue grants this account none."""

    countdown_s: int
    lacks_right: bool
    countdowns: tuple[Countdown, ...]
