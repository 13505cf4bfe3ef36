"""What a service counts and measures, as Prometheus reads it. Every sample is labelled service, mode and account."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.durations import LATENCY_BUCKETS_S, Durations
from shared.http_refusals import HttpRefusals
from shared.scrape import ScrapeServer, serve_metrics

PREFIX = "voldesk_"
COMMON_LABELS = ("service", "mode", "account")
OTHER = "other"
_CHILDREN_MAX = 500

ChildT = TypeVar("ChildT")
Values = Mapping[Any, float]
"""Samples by the value of a family's only label of its own (a str), or by the values of all of them (a tuple)."""

Kind = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """One metric as it was declared. `name` is what a query says; `labels` are those beside `COMMON_LABELS`."""

    name: str
    kind: Kind
    documentation: str
    labels: tuple[str, ...]


class Labelled(Generic[ChildT]):
    """The children of one family: `children("a", "b")` is the one with these values of the family's own labels.

    What a label can be is bounded by the code; as a last resort values past the 500th are counted as "other".
    """

    def __init__(self, make: Callable[[tuple[str, ...]], ChildT]) -> None:
        self._make = make
        self._children: dict[tuple[str, ...], ChildT] = {}

    def __call__(self, *values: str) -> ChildT:
        child = self._children.get(values)
        if child is None:
            if len(self._children) >= _CHILDREN_MAX:
                values = (OTHER,) * len(values)
            child = self._children.get(values) or self._make(values)
            self._children[values] = child
        return child

    def items(self) -> tuple[tuple[tuple[str, ...], ChildT], ...]:
        return tuple(self._children.items())


class Table:
    """All samples of one gauge family. `show` replaces them, so that what is gone is gone."""

    def __init__(self) -> None:
        self.values: Values = {}

    def show(self, values: Values) -> None:
        self.values = values


class Metrics:
    """The metrics of one service. Every family is declared here once and listed in `families`.

    Keep the child of a family where it is used often: the look-up costs more than counting.
    """

    def __init__(self, service: str, mode: str, account_id: str) -> None:
        # a second series per counter, with when it began, which the start of the process says already
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.families: list[Family] = []
        self._values = (service, mode, account_id)
        self._server: tuple[ScrapeServer, threading.Thread] | None = None
        self.errors = self.counters("voldesk_handler_errors_total", "Errors survived", "source")

    def counter(self, name: str, documentation: str) -> Counter:
        """A counter without labels of its own."""
        return self.counters(name, documentation)()

    def counters(self, name: str, documentation: str, *labels: str) -> Labelled[Counter]:
        self._declare(Family(name, "counter", documentation, labels))
        family = Counter(name, documentation, (*COMMON_LABELS, *labels), registry=self.registry)
        return Labelled(lambda values: family.labels(*self._values, *values))

    def gauge(self, name: str, documentation: str) -> Gauge:
        """A gauge without labels of its own."""
        self._declare(Family(name, "gauge", documentation, ()))
        return Gauge(name, documentation, COMMON_LABELS, registry=self.registry).labels(*self._values)

    def table(self, name: str, documentation: str, *labels: str) -> Table:
        """A gauge family that is replaced as a whole."""
        table = Table()
        self.read("gauge", name, documentation, labels, lambda: table.values)
        return table

    def histogram(self, name: str, documentation: str, buckets: Sequence[float] = LATENCY_BUCKETS_S) -> Durations:
        """A histogram of durations in seconds, from 10 µs to 30 s unless `buckets` says otherwise."""
        return self.histograms(name, documentation, buckets=buckets)()

    def histograms(
        self, name: str, documentation: str, *labels: str, buckets: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Labelled[Durations]:
        children: Labelled[Durations] = Labelled(lambda _values: Durations(buckets))
        self.read_histograms(name, documentation, labels, children.items)
        return children

    def read_histograms(
        self,
        name: str,
        documentation: str,
        labels: tuple[str, ...],
        read: Callable[[], Iterable[tuple[Any, Durations]]],
    ) -> None:
        """Durations counted elsewhere; `read` as in `read`."""
        self._declare(Family(name, "histogram", documentation, labels))

        def collect() -> Iterable[Metric]:
            family = HistogramMetricFamily(name, documentation, labels=(*COMMON_LABELS, *labels))
            for key, durations in read():
                family.add_metric(self._labelled(key), *_buckets(durations))
            return (family,)

        self.registry.register(_Collected(collect, self.error))

    def read(
        self,
        kind: Literal["counter", "gauge"],
        name: str,
        documentation: str,
        labels: tuple[str, ...],
        read: Callable[[], Values],
    ) -> None:
        """Figures kept elsewhere. `read` is called on another thread at every scrape and must not wait."""
        self._declare(Family(name, kind, documentation, labels))
        make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily

        def collect() -> Iterable[Metric]:
            family = make(name, documentation, labels=(*COMMON_LABELS, *labels))
            for key, value in read().items():
                family.add_metric(self._labelled(key), value)
            return (family,)

        self.registry.register(_Collected(collect, self.error))

    def read_one(
        self, kind: Literal["counter", "gauge"], name: str, documentation: str, read: Callable[[], float]
    ) -> None:
        """One figure without labels of its own; `read` as in `read`."""
        self.read(kind, name, documentation, (), lambda: {(): read()})

    def process(self) -> None:
        """Memory, CPU, open files and garbage collection of this process, by the library's own collectors."""
        inner = CollectorRegistry()
        ProcessCollector(namespace=PREFIX.rstrip("_"), registry=inner)
        GCCollector(registry=inner)

        def collect() -> Iterable[Metric]:
            for found in inner.collect():
                yield self._ours(found)

        for family in collect():
            labels = dict.fromkeys(label for sample in family.samples for label in sample.labels)
            kind: Kind = "counter" if family.type == "counter" else "gauge"
            own = tuple(label for label in labels if label not in COMMON_LABELS)
            self._declare(
                Family(family.name + ("_total" if kind == "counter" else ""), kind, family.documentation, own)
            )
        self.registry.register(_Collected(collect, self.error))

    def error(self, source: str) -> None:
        """Count an error that was survived."""
        self.errors(source).inc()

    def serve(self, port: int, refusals: HttpRefusals, host: str = "127.0.0.1") -> None:
        """Answer scrapes on `host`. Raises OSError when the port is taken."""
        self._server = serve_metrics(self.registry, port, refusals, host=host)

    def close(self) -> None:
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join(timeout=1)
            self._server = None

    def _declare(self, family: Family) -> None:
        assert family.name.startswith(PREFIX), f"{family.name} must begin with {PREFIX}"
        assert (family.kind == "counter") == family.name.endswith("_total"), f"{family.name} is a {family.kind}"
        named = family.name.endswith(("_seconds", "_bp"))
        assert family.kind != "histogram" or named, f"{family.name} must name its unit"
        assert all(family.name != known.name for known in self.families), f"{family.name} is declared twice"
        self.families.append(family)

    def _labelled(self, key: str | tuple[str, ...]) -> tuple[str, ...]:
        return (*self._values, *((key,) if isinstance(key, str) else key))

    def _ours(self, found: Metric) -> Metric:
        """A family of the library with our prefix and labels."""
        added = "" if found.name.startswith(PREFIX) else PREFIX
        family = Metric(added + found.name, found.documentation, found.type)
        common = dict(zip(COMMON_LABELS, self._values, strict=True))
        for sample in found.samples:
            family.add_sample(added + sample.name, {**common, **sample.labels}, sample.value)
        return family


def _buckets(durations: Durations) -> tuple[list[tuple[str, float]], float]:
    """Upper bound and how many up to it, for each bucket, and the sum."""
    counts, sum_s = durations.read()
    bounds = (*durations.bounds, inf)
    return [
        ("+Inf" if bound == inf else str(bound), float(up_to))
        for bound, up_to in zip(bounds, accumulate(counts), strict=True)
    ], sum_s


class _Collected(Collector):
    """A figure that cannot be read is left out and counted as an error: it must not cost the others."""

    def __init__(self, collect: Callable[[], Iterable[Metric]], failed: Callable[[str], None]) -> None:
        self._collect = collect
        self._failed = failed

    def collect(self) -> Iterable[Metric]:
        try:
            return tuple(self._collect())
        except Exception:
            self._failed("metrics")
            return ()
