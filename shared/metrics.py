"""What a service counts and measures, as Prometheus reads it. Every sample is labelled service, mode and account."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

_LABELS = ("service", "mode", "account")
_LATENCY_BUCKETS_S = (1e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """The metrics of one service. `counter`, `gauge` and `histogram` make the service's own, labelled like ours.

    Keep the child that `labels(...)` returns where it is used often: the look-up costs more than counting.
    """

    def __init__(self, service: str, mode: str, account_id: str) -> None:
        self.registry = CollectorRegistry()
        self._values = (service, mode, account_id)
        self._server: tuple[WSGIServer, threading.Thread] | None = None
        self.inputs_handled = self.counter("voldesk_inputs_total", "Inputs that the core has handled")
        self.commit_seconds = self.histogram("voldesk_commit_seconds", "Time to commit one batch of rows")
        self.loop_lag_seconds = self.histogram("voldesk_loop_lag_seconds", "How late the event loop ran a timer")
        self.heartbeat_seconds = self.gauge("voldesk_heartbeat_timestamp_seconds", "UTC of the last heartbeat")
        self.ready = self.gauge("voldesk_ready", "1 when the service can do its work")
        self.starts = self.gauge("voldesk_starts", "How often the service was started in this run directory")
        self.loop_stalls = self.counter("voldesk_loop_stalls_total", "Gaps of more than 2 s in the event loop")
        self._errors = Counter(
            "voldesk_handler_errors_total", "Errors survived", (*_LABELS, "source"), registry=self.registry
        )

    def counter(self, name: str, documentation: str) -> Counter:
        """A counter of the service itself, without further labels."""
        return Counter(name, documentation, _LABELS, registry=self.registry).labels(*self._values)

    def gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, _LABELS, registry=self.registry).labels(*self._values)

    def histogram(self, name: str, documentation: str, buckets: Sequence[float] = _LATENCY_BUCKETS_S) -> Histogram:
        """A histogram of durations in seconds, from 10 µs to 5 s unless `buckets` says otherwise."""
        family = Histogram(name, documentation, _LABELS, registry=self.registry, buckets=buckets)
        return family.labels(*self._values)

    def error(self, source: str) -> None:
        """Count an error that was survived."""
        self._errors.labels(*self._values, source).inc()

    def collect(self, read: Callable[[], Iterable[tuple[str, str, dict[str, float]]]], label: str) -> None:
        """Counters kept elsewhere, read at every scrape: `read` gives (name, documentation, value per label)."""
        self.registry.register(_ReadAtScrape(read, label, self._values))

    def serve(self, port: int) -> None:
        """Answer scrapes on 127.0.0.1. Raises OSError when the port is taken."""
        self._server = start_http_server(port, addr="127.0.0.1", registry=self.registry)

    def close(self) -> None:
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join(timeout=1)
            self._server = None


class _ReadAtScrape(Collector):
    def __init__(
        self,
        read: Callable[[], Iterable[tuple[str, str, dict[str, float]]]],
        label: str,
        values: tuple[str, str, str],
    ) -> None:
        self._read = read
        self._label = label
        self._values = values

    def collect(self) -> Iterable[Metric]:
        for name, documentation, samples in self._read():
            family = CounterMetricFamily(name, documentation, labels=(*_LABELS, self._label))
            for key, value in samples.items():
                family.add_metric((*self._values, key), value)
            yield family
