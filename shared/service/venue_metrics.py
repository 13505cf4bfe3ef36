"""What a service measures of its connection to the venue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from shared.metrics import Metrics
from shared.venues.coincall import endpoints
from shared.venues.coincall.endpoints import Endpoint

_GROUPS: Mapping[str, str] = {row.name: row.group for row in vars(endpoints).values() if isinstance(row, Endpoint)}


class Watched(Protocol):
    """What is read of a gateway."""

    @property
    def breaker_is_open(self) -> bool: ...

    @property
    def clock_offset_ns(self) -> int: ...


class VenueMetrics:
    """Hand `called`, `waited`, `streamed` and `skipped` to the gateway, then the gateway to `watch`. That a stream
    came up or was lost is a line of `log`."""

    def __init__(self, metrics: Metrics, log: Any = None) -> None:
        self._log = log
        self._gateway: Watched | None = None
        self._lost: set[str] = set()
        self.calls = 0
        self.errors = 0
        self._calls = metrics.counters(
            "voldesk_venue_calls_total",
            "REST calls by endpoint, group of the venue's rate limits and outcome: ok, rejected, throttled, auth, "
            "unknown, down, lost (it left, no answer came), not_sent",
            "endpoint",
            "group",
            "outcome",
        )
        self._call_seconds = metrics.histograms(
            "voldesk_venue_call_seconds",
            "From sending a request until its answer, whatever it was; without the wait for the rate limit",
            "endpoint",
        )
        self._wait_seconds = metrics.histograms(
            "voldesk_venue_wait_seconds",
            "How long calls waited for room in a rate limit, also those that gave up; only those that had to wait",
            "group",
        )
        self._up = metrics.table(
            "voldesk_venue_stream_up", "1 while the stream brings what it should, else 0", "stream"
        )
        self._ups: dict[str, float] = {}
        self._downs = metrics.counters(
            "voldesk_venue_stream_downs_total",
            "Connections of a stream that were lost or did not come about",
            "stream",
        )
        self._reconnects = metrics.counters(
            "voldesk_venue_stream_reconnects_total", "How often a stream came up again after it was lost", "stream"
        )
        self._skipped = metrics.counter(
            "voldesk_venue_skipped_total", "Rows and frames of the venue that could not be used"
        )
        metrics.read_one(
            "gauge",
            "voldesk_venue_breaker_open",
            "1 while the circuit breaker holds opening orders back and lets reads through as probes only",
            lambda: self._gateway is not None and self._gateway.breaker_is_open,
        )
        metrics.read_one(
            "gauge",
            "voldesk_venue_clock_offset_seconds",
            "The venue's clock minus ours as measured last",
            lambda: 0.0 if self._gateway is None else self._gateway.clock_offset_ns / 1e9,
        )

    def watch(self, gateway: Watched) -> None:
        self._gateway = gateway

    def called(self, endpoint: str, outcome: str, seconds: float) -> None:
        self.calls += 1
        self.errors += outcome != "ok"
        self._calls(endpoint, _GROUPS.get(endpoint, ""), outcome).inc()
        if outcome != "not_sent":
            self._call_seconds(endpoint).observe(seconds)

    def waited(self, group: str, seconds: float) -> None:
        self._wait_seconds(group).observe(seconds)

    def streamed(self, name: str, is_up: bool) -> None:
        if self._log is not None and self._ups.get(name) != float(is_up):
            again = is_up and name in self._lost
            told = "stream is up again" if again else "stream is up" if is_up else "stream is down"
            (self._log.info if is_up else self._log.warning)(told, stream=name)
        if is_up and name in self._lost:
            self._lost.discard(name)
            self._reconnects(name).inc()
        elif not is_up:
            if self._ups.get(name):
                self._lost.add(name)
            self._downs(name).inc()
        self._ups = {**self._ups, name: float(is_up)}
        self._up.show(self._ups)

    def skipped(self, _reason: str) -> None:
        self._skipped.inc()
