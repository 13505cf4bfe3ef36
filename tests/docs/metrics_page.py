"""docs/metrics.md, made from what the services declare.

After a change: ``python -m tests.docs.metrics_page > docs/metrics.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from services.exchange.metrics import ExchangeMetrics
from services.execution.metrics import ExecutionMetrics
from services.marketdata.metrics import MarketdataMetrics
from services.monitor.metrics import MonitorMetrics
from services.risk.metrics import RiskMetrics
from services.strategy.metrics import StrategyMetrics
from shared.bus.link import BusCounts
from shared.http_refusals import HttpRefusals
from shared.metrics import Family, Metrics
from shared.service.metrics import AlertMetrics, BusMetrics, HostMetrics, HttpMetrics, ProcessMetrics, SnapshotMetrics
from shared.service.venue_metrics import VenueMetrics

_INTRODUCTION = """# Metrics

Each service answers `GET /metrics` on a port of its own, on 127.0.0.1: `metrics-<service>` in
`run/<desk>/ports.json`, configurable under `[ports]`. This page is made from what the code declares and a test fails
when it is out of date; renew it with `python -m tests.docs.metrics_page > docs/metrics.md`.

Every sample has the labels `service`, `mode` (paper, beta, LIVE) and `account`; the tables name the others. What a
label can be is bounded by the code: no id and no topic as it came over the wire is ever one. Names follow Prometheus:
base units, `_total` on counters, `_bucket`, `_sum` and `_count` on histograms. Counters begin at 0 with each start of
the process; figures of the account and of trades are gauges. Units and signs are those of
[conventions.md](conventions.md).

Beside the metrics every service writes one line `health` to its log each `[logging] health_interval_s` (300 s):
uptime, memory, CPU, whether it is ready and why not, dropped messages, errors, inputs, the queue, and a few words of
its own.

## The hops of an order

| from → to | metric | where |
|---|---|---|
| publish → receive | `voldesk_bus_delay_seconds` | every subscriber |
| tick → intent | `voldesk_tick_to_intent_seconds` | strategy |
| grant asked → answered | `voldesk_request_seconds` of `request_grant` | risk |
| intent → order sent | `voldesk_intent_to_order_seconds` | execution |
| wait for the rate limit | `voldesk_venue_wait_seconds` | execution |
| order → ack | `voldesk_order_to_ack_seconds` | execution |
| of it on the wire | `voldesk_venue_call_seconds` of `place` | execution |
"""

_QUERIES = (
    (
        "how long does a grant take, 99 of 100",
        'histogram_quantile(0.99, sum by (le) (rate(voldesk_request_seconds_bucket{request="request_grant"}[5m])))',
    ),
    (
        "why does risk refuse",
        "sum by (reason) (increase(voldesk_requests_answered_total"
        '{request="request_grant",answer="grant_refused"}[1h]))',
    ),
    (
        "why does execution refuse",
        'sum by (reason) (increase(voldesk_requests_answered_total{request="open_trade",answer="refusal"}[1h]))',
    ),
    (
        "what does the venue answer that is not ok",
        'sum by (endpoint, outcome) (increase(voldesk_venue_calls_total{outcome!="ok"}[5m]))',
    ),
    ("is an order's outcome unknown now", 'voldesk_orders{state="UNKNOWN"} > 0'),
    (
        "does the venue disagree with the journal",
        "sum by (kind) (increase(voldesk_reconciliation_differences_total[1h]))",
    ),
    (
        "what does execution cost at the median, bp of premium",
        "histogram_quantile(0.5, sum by (le, strategy, phase) (rate(voldesk_slippage_bp_bucket[1d])))",
    ),
    ("how old is what we trade on", "max by (underlying, stream) (voldesk_stream_age_seconds)"),
    ("which strategy earns", "voldesk_realized_pnl_usd - voldesk_fees_usd - voldesk_funding_usd"),
    ("is a core behind", "max by (service) (voldesk_queue_oldest_age_seconds) > 0.1"),
)

_UNITS = {
    "_timestamp_seconds": "UTC seconds",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_ratio": "1 = 100 %",
    "_usd_per_day": "USD per day",
    "_coins_per_usd": "coins per USD",
    "_coins": "coins",
    "_usd": "USD",
    "_bp": "bp of premium",
}


class Section(NamedTuple):
    """`services` have the metrics that `declare` declares."""

    title: str
    services: tuple[str, ...]
    declare: Callable[[Metrics], object]


CORE_SERVICES = ("marketdata", "risk", "execution", "strategy", "monitor")
SERVICES = ("exchange", *CORE_SERVICES)
_UNREAD = cast(Any, None)
"""Stands where figures would be read from: nothing is read for this page."""


def _of_every_service(metrics: Metrics) -> None:
    ProcessMetrics(metrics)
    BusMetrics(metrics, BusCounts())
    HttpMetrics(metrics, HttpRefusals())
    AlertMetrics(metrics)


SECTIONS = (
    Section("Every service", SERVICES, _of_every_service),
    Section("Services with a core and its queue", CORE_SERVICES, lambda metrics: HostMetrics(metrics, (), ())),
    Section("Services with a connection to the venue", ("marketdata", "risk", "execution"), VenueMetrics),
    Section("Risk", ("risk",), lambda metrics: RiskMetrics(metrics, (), _UNREAD)),
    Section("Execution", ("execution",), lambda metrics: ExecutionMetrics(metrics, _UNREAD, _UNREAD, _UNREAD)),
    Section("Execution's journal", ("execution",), lambda metrics: SnapshotMetrics(metrics, _UNREAD)),
    Section("Strategy host", ("strategy",), lambda metrics: StrategyMetrics(metrics, _UNREAD, dict)),
    Section("Monitor", ("monitor",), MonitorMetrics),
    Section("Market data", ("marketdata",), lambda metrics: MarketdataMetrics(metrics, ())),
    Section("Simulated exchange", ("exchange",), lambda metrics: ExchangeMetrics(metrics, _UNREAD)),
)


def families(section: Section) -> list[Family]:
    metrics = Metrics("docs", "paper", "main")
    always = list(metrics.families) if section is not SECTIONS[0] else []
    section.declare(metrics)
    return [family for family in metrics.families if family not in always]


def families_of(service: str) -> dict[str, Family]:
    """All families that a service serves, by name."""
    return {
        family.name: family for section in SECTIONS if service in section.services for family in families(section)
    }


def unit_of(family: Family) -> str:
    name = family.name.removesuffix("_total")
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "number")


def metrics_page() -> str:
    """The whole page as Markdown."""
    lines = [_INTRODUCTION, "## Questions and their queries", "", "| question | query |", "|---|---|"]
    lines += [f"| {question} | `{query}` |" for question, query in _QUERIES]
    lines.append("")
    for section in SECTIONS:
        lines += [f"## {section.title}", ""]
        if section is not SECTIONS[0] and len(section.services) > 1:
            lines += [f"{', '.join(section.services)}.", ""]
        lines += ["| metric | type | labels | unit | meaning |", "|---|---|---|---|---|"]
        for family in families(section):
            labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
            meaning = family.documentation.rstrip(".").replace("|", "\\|")
            lines.append(f"| `{family.name}` | {family.kind} | {labels} | {unit_of(family)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
