"""The venue's limits of order calls per second, by the simulated exchange's own limiter."""

from __future__ import annotations

import msgspec

from services.exchange.config import RateLimitConfig
from services.exchange.server.ratelimits import Group, RateLimiter, limits_of
from world.faults import Faults

_USER = "desk"


class OrderRates:
    """Counts placements, amendments and cancels, each kind for itself, over a sliding second, as the venue does for
    one user. Each order of a batch counts: here a batch is as many calls."""

    def __init__(self, config: RateLimitConfig) -> None:
        self._config = config
        self._drawn = (0, 0)
        self._limiter = RateLimiter(limits_of(config))

    def refuses(self, group: Group, faults: Faults, now_ns: int) -> bool:
        """Count one call that arrives now; True when it is one too many, and then it is not carried out."""
        drawn = (faults.orders_per_s, faults.rate_penalty_ms)
        if drawn != self._drawn:
            self._drawn = drawn
            orders = faults.orders_per_s or self._config.orders
            limits = limits_of(msgspec.structs.replace(self._config, orders=orders))
            self._limiter = RateLimiter(limits, faults.rate_penalty_ms)
        return not self._limiter.allow(group, _USER, now_ns)
