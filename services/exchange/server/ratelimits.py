"""Request limits of the venue: a sliding window per group and subject (user or address)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from services.exchange.config import RateLimitConfig

NS_PER_MS = 1_000_000

Group = Literal[
    "public_config",
    "funding_rate",
    "market_data",
    "delivery_prices",
    "order_book",
    "place_order",
    "amend_order",
    "cancel_order",
    "open_orders",
    "positions",
    "history",
    "account",
    "key_info",
    "countdown",
    "mmp",
    "rfq",
    "rfq_quotes",
    "cancel_rfq_quotes",
]


class Limit(msgspec.Struct, frozen=True):
    """At most `requests` in any window of `window_ms`."""

    requests: int
    window_ms: int


UNDOCUMENTED = Limit(200, 1_000)


def limits_of(config: RateLimitConfig, quotes_per_s: int = UNDOCUMENTED.requests) -> dict[Group, Limit]:
    """The venue's table with the configured rates, and that of quotes. What is left has no documented limit:
    `UNDOCUMENTED`."""
    per_second: dict[Group, int] = {
        "public_config": config.public,
        "funding_rate": config.public,
        "delivery_prices": config.delivery_prices,
        "order_book": config.order_book,
        "place_order": config.orders,
        "amend_order": config.orders,
        "cancel_order": config.orders,
        "open_orders": config.queries,
        "positions": config.queries,
        "history": config.queries,
        "account": config.account,
        "rfq_quotes": quotes_per_s,
    }
    undocumented: dict[Group, Limit] = dict.fromkeys(get_args(Group), UNDOCUMENTED)
    return undocumented | {group: Limit(rate, 1_000) for group, rate in per_second.items()}


class SlidingWindow:
    """Counts requests in one window; exact, in memory of at most `limit.requests` time stamps."""

    def __init__(self, limit: Limit, penalty_ms: int = 0) -> None:
        """After a request too many nothing passes for `penalty_ms`."""
        self._limit = limit
        self._penalty_ns = penalty_ms * NS_PER_MS
        self._closed_until_ns = 0
        self._accepted_ns: deque[int] = deque()

    def allow(self, now_ns: int) -> bool:
        """Count one request; False when the window is full, and then nothing is counted."""
        horizon_ns = now_ns - self._limit.window_ms * NS_PER_MS
        while self._accepted_ns and self._accepted_ns[0] <= horizon_ns:
            self._accepted_ns.popleft()
        if now_ns < self._closed_until_ns:
            return False
        if len(self._accepted_ns) >= self._limit.requests:
            self._closed_until_ns = now_ns + self._penalty_ns
            return False
        self._accepted_ns.append(now_ns)
        return True


class RateLimiter:
    """The windows of all groups and subjects. Subjects are users or addresses: few, so none is ever dropped."""

    def __init__(self, limits: Mapping[Group, Limit], penalty_ms: int = 0) -> None:
        self._limits = limits
        self._penalty_ms = penalty_ms
        self._windows: dict[tuple[Group, str], SlidingWindow] = {}

    def allow(self, group: Group, subject: str, now_ns: int) -> bool:
        window = self._windows.get((group, subject))
        if window is None:
            window = self._windows[group, subject] = SlidingWindow(self._limits[group], self._penalty_ms)
        return window.allow(now_ns)
