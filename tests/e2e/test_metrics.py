"""What a running desk serves at /metrics and writes about its health."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from shared.messages.topics import TOPICS
from shared.metrics import COMMON_LABELS
from tests.docs.metrics_page import SERVICES, families_of
from tests.e2e.stack import Desk, newest_in, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SAMPLES_PER_FAMILY_MAX = 400
"""Of one family of one service, histograms with all their buckets: a label that grows would pass it."""

MOVED = {
    "exchange": (
        "voldesk_exchange_requests_total",
        "voldesk_exchange_frames_total",
        "voldesk_exchange_sockets_total",
        "voldesk_exchange_sockets_open",
    ),
    "marketdata": ("voldesk_inputs_total", "voldesk_venue_calls_total", "voldesk_bus_messages_total"),
    "risk": (
        "voldesk_requests_answered_total",
        "voldesk_request_seconds_count",
        "voldesk_bus_delay_seconds_count",
        "voldesk_equity_usd",
        "voldesk_available_margin_usd",
        "voldesk_account_timestamp_seconds",
        "voldesk_venue_call_seconds_count",
    ),
    "execution": (
        "voldesk_requests_answered_total",
        "voldesk_intent_to_order_seconds_count",
        "voldesk_order_to_ack_seconds_count",
        "voldesk_orders_requested_total",
        "voldesk_orders_ended_total",
        "voldesk_fills_total",
        "voldesk_trades_ended_total",
        "voldesk_fees_usd",
        "voldesk_commit_seconds_count",
        "voldesk_reconciliations_total",
        "voldesk_venue_stream_up",
        "voldesk_queue_wait_seconds_count",
        "voldesk_batch_seconds_count",
    ),
    "strategy": (
        "voldesk_signals_generated_total",
        "voldesk_signals_executed_total",
        "voldesk_tick_to_intent_seconds_count",
        "voldesk_bus_delay_seconds_count",
        "voldesk_strategy_state",
    ),
    "monitor": ("voldesk_service_up", "voldesk_alerts_total"),
}
"""What cannot be 0 any more once a trade was opened and closed."""


def scrape(desk: Desk, service: str) -> str:
    port = json.loads((desk.run_dir / "ports.json").read_text())[f"metrics-{service}"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def families(text: str) -> dict[str, Metric]:
    """The families of a scrape by the name that a query says."""
    return {
        found.name + ("_total" if found.type == "counter" else ""): found
        for found in text_string_to_metric_families(text)
    }


def total(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of this name with these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.fixture(scope="module")
def traded(desk: Desk) -> Desk:
    """The desk once a trade was closed."""
    until(desk, "a trade is closed", lambda: newest_in(desk, "quick", ("CLOSED",)), timeout_s=120)
    return desk


@pytest.fixture(scope="module")
def scraped(traded: Desk) -> dict[str, str]:
    """One scrape of each service after everything that must move has moved."""

    def all_moved() -> dict[str, str] | None:
        texts = {service: scrape(traded, service) for service in SERVICES}
        still = [name for service, names in MOVED.items() for name in names if not total(texts[service], name)]
        return None if still else texts

    return until(traded, "everything that a trade moves has moved", all_moved)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_serves_the_families_of_the_page_and_no_others(scraped: dict[str, str], service: str) -> None:
    shown, declared = families(scraped[service]), families_of(service)
    assert set(shown) == set(declared)
    for name, family in shown.items():
        assert family.type == declared[name].kind, name
        for sample in family.samples:
            own = set(sample.labels) - set(COMMON_LABELS) - {"le"}
            assert own == set(declared[name].labels), name
            assert [sample.labels[label] for label in COMMON_LABELS] == [service, "paper", "alpha"], name


def test_grants_intents_and_orders_are_counted_by_what_became_of_them(scraped: dict[str, str]) -> None:
    for service, name, labels, least in (
        ("risk", "requests_answered_total", {"request": "request_grant", "answer": "grant_given", "reason": ""}, 1),
        ("risk", "request_seconds_count", {"request": "request_grant"}, 1),
        ("strategy", "signals_generated_total", {"strategy": "quick"}, 1),
        ("strategy", "signals_executed_total", {"strategy": "quick"}, 1),
        ("strategy", "tick_to_intent_seconds_count", {"stage": "grant_asked"}, 1),
        ("strategy", "tick_to_intent_seconds_count", {"stage": "intent_sent"}, 1),
        ("execution", "requests_answered_total", {"request": "open_trade", "answer": "trade_accepted"}, 1),
        ("execution", "intent_to_order_seconds_count", {}, 1),
        ("execution", "order_to_ack_seconds_count", {"call": "place", "outcome": "acked"}, 2),
        ("execution", "venue_calls_total", {"endpoint": "place", "group": "place", "outcome": "ok"}, 2),
        ("execution", "orders_ended_total", {"purpose": "close", "outcome": "FILLED"}, 2),
        ("execution", "trades_ended_total", {"strategy": "quick", "state": "CLOSED"}, 1),
        ("execution", "journal_rows_total", {"row": "fill_seen"}, 4),
    ):
        assert total(scraped[service], f"voldesk_{name}", **labels) >= least, (service, name, labels)


def test_our_figures_are_shown_beside_the_venues_and_agree(scraped: dict[str, str]) -> None:
    for figure, most in (("delta", 0.05), ("mark_iv", 0.02)):
        assert 0 < total(scraped["marketdata"], "voldesk_venue_difference", figure=figure) < most, figure


def test_the_hops_on_the_bus_are_labelled_by_patterns_of_the_table(scraped: dict[str, str]) -> None:
    patterns = {row.pattern for row in TOPICS} | {"request", "reply"}
    heard: set[str] = set()
    for text in scraped.values():
        for sample in families(text)["voldesk_bus_delay_seconds"].samples:
            heard.add(sample.labels["topic"])
    assert heard <= patterns
    assert {"md.{underlying}.chain", "exec.{account}.trade", "risk.{account}.account", "request", "reply"} <= heard


def test_no_secret_no_id_and_no_growing_label_is_served(traded: Desk, scraped: dict[str, str]) -> None:
    everything = "\n".join(scraped.values())
    secrets = set()
    for path in (traded.run_dir / "secrets").iterdir():
        secrets |= set(re.findall(r"[0-9a-f]{32,}", path.read_text()))
    assert secrets
    assert not any(secret in everything for secret in secrets)
    ids = {row["trade_id"] for row in traded.trades()}
    ids |= {row["order_id"] for row in traded.look("orders", "--all", "--json").json}
    ids |= set(traded.venue_positions())
    assert ids
    for value in label_values(everything):
        assert value not in ids
        assert not re.search(r"\d{7,}", value), value
        assert len(value) < 80, value
    for text in scraped.values():
        for name, family in families(text).items():
            assert len(family.samples) <= SAMPLES_PER_FAMILY_MAX, name


def label_values(text: str) -> Iterator[str]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield from (value for label, value in sample.labels.items() if label != "le")


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_writes_a_line_about_its_health(traded: Desk, service: str) -> None:
    def newest() -> dict[str, object] | None:
        lines = [json.loads(line) for line in traded.log_of(service).splitlines() if '"event": "health"' in line]
        return lines[-1] if lines and lines[-1]["ready"] else None

    line = until(traded, f"{service} tells of its health", newest)
    assert {"uptime_s", "memory_mb", "cpu_pct", "ready", "detail", "dropped", "errors"} <= line.keys()
    assert isinstance(line["memory_mb"], float)
    assert line["memory_mb"] > 20
    own = {
        "exchange": {"sockets", "requests", "failures"},
        "marketdata": {"inputs", "queue", "venue_errors", "oldest_chain_s", "stale_streams", "books"},
        "risk": {"inputs", "queue", "venue_errors", "equity_usd", "positions", "grants"},
        "execution": {"inputs", "queue", "venue_errors", "open_trades", "live_orders", "unknown_orders", "halts"},
        "strategy": {"inputs", "queue", "strategies", "running", "signals", "signals_executed"},
        "monitor": {"inputs", "queue", "services_up", "alerts_open"},
    }
    assert own[service] <= line.keys()
