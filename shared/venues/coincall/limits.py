"""The venue's rate limits on our side: token buckets with lanes, and a circuit breaker. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from shared.venues.coincall.endpoints import LimitGroup

Lane = Literal["cancel", "close", "open"]
LANES: tuple[Lane, ...] = ("cancel", "close", "open")
"""Most urgent first. A lane does not take a token while a more urgent one waits in the same group."""

_RESERVE = 5
"""Lane "open" leaves one token in five to what reduces exposure."""


class RateLimit(msgspec.Struct, frozen=True):
    """`count` calls in any `window_ms`."""

    count: int
    window_ms: int


RATE_LIMITS: Mapping[LimitGroup, RateLimit] = {
    "public": RateLimit(10, 2_000),
    "market": RateLimit(30, 2_000),
    "account": RateLimit(2, 1_000),
    "position": RateLimit(5, 1_000),
    "pending": RateLimit(5, 1_000),
    "history": RateLimit(4, 1_000),
    "place": RateLimit(30, 2_000),
    "cancel": RateLimit(30, 2_000),
}
"""Venue reference, section 5. Where its pages disagree the stricter figure stands: a throttled cancel was seen to
stay throttled for minutes."""


class TokenBucket:
    """Tokens of one group, refilled evenly. `share` is this process's part of the limit."""

    def __init__(self, limit: RateLimit, share: float) -> None:
        self.capacity = max(1.0, limit.count * share)
        self._per_ns = limit.count * share / (limit.window_ms * 1_000_000)
        self._tokens = self.capacity
        self._updated_ns: int | None = None
        self._held_until_ns = 0
        self._waiting = dict.fromkeys(LANES, 0)

    def join(self, lane: Lane) -> None:
        """Announce a caller that will `take` until it gets a token, then `leave`."""
        self._waiting[lane] += 1

    def leave(self, lane: Lane) -> None:
        self._waiting[lane] -= 1

    def take(self, lane: Lane, now_ns: int) -> int:
        """Take one token: 0 when taken, else the nanoseconds after which to try again (> 0)."""
        self._refill(now_ns)
        if lane == "open" and now_ns < self._held_until_ns:
            return self._held_until_ns - now_ns
        needed = 1.0 + (self.capacity // _RESERVE if lane == "open" else 0.0)
        ahead = sum(self._waiting[other] for other in LANES[: LANES.index(lane)])
        missing = needed + ahead - self._tokens
        if missing > 0:
            return max(1, int(missing / self._per_ns) + 1)
        self._tokens -= 1.0
        return 0

    def throttled(self, now_ns: int, hold_ns: int) -> None:
        """The venue said "too often": start from empty, and keep opening calls back for `hold_ns`."""
        self._refill(now_ns)
        self._tokens = min(self._tokens, 0.0)
        self._held_until_ns = now_ns + hold_ns

    def _refill(self, now_ns: int) -> None:
        if self._updated_ns is not None:
            grown = self._tokens + max(0, now_ns - self._updated_ns) * self._per_ns
            self._tokens = min(self.capacity, grown)
        self._updated_ns = now_ns


class CircuitBreaker:
    """Stops asking a venue that keeps failing: opens after `failures` in a row, lets one probe through after
    `first_open_ns`, closes on the first success.

    Each failed probe doubles the pause, up to `open_ns`: a venue that was away for a second, while several reads were
    out, is found again at once; one that is down is asked once a minute.
    """

    def __init__(self, failures: int = 5, open_ns: int = 60_000_000_000, first_open_ns: int = 1_000_000_000) -> None:
        self._limit = failures
        self._open_ns = open_ns
        self._first_open_ns = first_open_ns
        self._pause_ns = first_open_ns
        self._failures = 0
        self._probing = False
        self._retry_at_ns: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether no read has succeeded since it opened. Opening orders ask this; they are never the probe."""
        return self._retry_at_ns is not None

    def admit(self, now_ns: int) -> bool:
        """Whether a read may go out now. In the half-open state only one does, until it has been answered."""
        if self._retry_at_ns is None:
            return True
        if now_ns < self._retry_at_ns:
            return False
        self._probing = True
        self._retry_at_ns = now_ns + self._open_ns
        return True

    def succeeded(self) -> None:
        self._failures = 0
        self._probing = False
        self._pause_ns = self._first_open_ns
        self._retry_at_ns = None

    def failed(self, now_ns: int) -> None:
        self._failures += 1
        if self._failures < self._limit:
            return
        if self._probing:
            self._probing = False
            self._pause_ns = min(2 * self._pause_ns, self._open_ns)
        self._retry_at_ns = now_ns + self._pause_ns
