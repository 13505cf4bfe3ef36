"""The venue's rate limits on our side, windows with lanes, and a circuit breaker. Pure: time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal

import msgspec

from shared.venues.coincall.endpoints import LimitGroup

Lane = Literal["cancel", "close", "open"]
LANES: tuple[Lane, ...] = ("cancel", "close", "open")
"""Most urgent first. A lane makes no call while a more urgent one waits in the same group."""

_MORE_URGENT: Mapping[Lane, tuple[Lane, ...]] = {lane: LANES[:place] for place, lane in enumerate(LANES)}

_RESERVE = 5
"""Lane "open" leaves one call in five to what reduces exposure."""

_SPREAD_NS = 50_000_000
"""Calls that leave us a window apart may arrive this much closer together."""


class RateLimit(msgspec.Struct, frozen=True):
    """`count` calls in any `window_ms`."""

    count: int
    window_ms: int


RATE_LIMITS: Mapping[LimitGroup, RateLimit] = {
    "public": RateLimit(10, 2_000),
    "market": RateLimit(30, 2_000),
    "book": RateLimit(30, 2_000),
    "account": RateLimit(2, 1_000),
    "key": RateLimit(1, 1_000),
    "position": RateLimit(5, 1_000),
    "pending": RateLimit(5, 1_000),
    "history": RateLimit(4, 1_000),
    "transfers": RateLimit(1, 1_000),
    "place": RateLimit(30, 2_000),
    "cancel": RateLimit(30, 2_000),
    "batch_place": RateLimit(30, 2_000),
    "batch_amend": RateLimit(30, 2_000),
    "batch_cancel": RateLimit(30, 2_000),
    "countdown": RateLimit(5, 1_000),
    "rfq_create": RateLimit(5, 1_000),
    "rfq_cancel": RateLimit(5, 1_000),
    "rfq_accept": RateLimit(5, 1_000),
    "rfq_quotes": RateLimit(5, 1_000),
    "rfq_list": RateLimit(2, 1_000),
    "block_trades": RateLimit(4, 1_000),
}
"""Venue reference, section 5. Where its pages disagree the stricter figure stands: a throttled cancel was seen to
stay throttled for minutes. "transfers" has no figure of its own: with "history" it stays within the 5 per second of
the venue's newest table. The countdown and requests for quote have none either: theirs are those of its other
queries, apart from each other so that collecting quotes cannot hold up an accept. Nor has "key", which a service asks
once at its start, so that its first read of the account need not wait. A batch counts as one call, apart from single
ones."""

ORDER_GROUPS: frozenset[LimitGroup] = frozenset({"place", "cancel", "batch_place", "batch_amend", "batch_cancel"})
"""Groups about which the venue's pages disagree: 15 per second in its table, 60 on the pages of the calls."""


def limits_at(orders_per_s: int | None) -> dict[LimitGroup, RateLimit]:
    """The table, with so many calls per second in each of `ORDER_GROUPS` instead of the stricter figure."""
    if orders_per_s is None:
        return dict(RATE_LIMITS)
    return {**RATE_LIMITS, **dict.fromkeys(ORDER_GROUPS, RateLimit(2 * orders_per_s, 2_000))}


SHARED_GROUPS: frozenset[LimitGroup] = frozenset({"market", "account", "position"})
"""Groups in which several services of a desk make calls: each has its share. Any other belongs to one service, whole:
"public" and "book" to marketdata, "transfers" to risk, the rest to execution."""


class CallWindow:
    """Calls of one group: never more than `count` in any `window_ns`. `share` is this process's part of the limit; a
    part of less than one call is one call in a window that is longer by as much."""

    def __init__(self, limit: RateLimit, share: float) -> None:
        granted = limit.count * share
        self.count = max(1, int(granted + 1e-9))
        self.window_ns = int(limit.window_ms * 1_000_000 * max(1.0, 1 / granted)) + _SPREAD_NS
        self._taken_ns: deque[int] = deque()
        self._held_until_ns = 0
        self._waiting = dict.fromkeys(LANES, 0)

    def join(self, lane: Lane) -> None:
        """Announce a caller that will `take` until it may call, then `leave`."""
        self._waiting[lane] += 1

    def leave(self, lane: Lane) -> None:
        self._waiting[lane] -= 1

    def take(self, lane: Lane, now_ns: int) -> int:
        """Count one call: 0 when it may go out, else the nanoseconds after which to try again (> 0)."""
        while self._taken_ns and self._taken_ns[0] + self.window_ns <= now_ns:
            self._taken_ns.popleft()
        if lane == "open" and now_ns < self._held_until_ns:
            return self._held_until_ns - now_ns
        needed = 1 + (self.count // _RESERVE if lane == "open" else 0)
        for other in _MORE_URGENT[lane]:
            needed += self._waiting[other]
        missing = needed - (self.count - len(self._taken_ns))
        if missing > len(self._taken_ns):
            return self.window_ns // self.count
        if missing > 0:
            return max(1, self._taken_ns[missing - 1] + self.window_ns - now_ns)
        self._taken_ns.append(now_ns)
        return 0

    def throttled(self, now_ns: int, hold_ns: int) -> None:
        """The venue said "too often": go on as after calls at an even rate; opening calls wait for `hold_ns`."""
        step_ns = self.window_ns // self.count
        even_ns = [now_ns - place * step_ns for place in reversed(range(self.count))]
        known_ns = [now_ns - self.window_ns] * (self.count - len(self._taken_ns)) + list(self._taken_ns)
        self._taken_ns = deque(max(pair) for pair in zip(even_ns, known_ns, strict=True))
        self._held_until_ns = now_ns + hold_ns


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
