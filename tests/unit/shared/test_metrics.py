"""Families, their children and what a scrape shows of them."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shared.durations import Durations
from shared.metrics import Metrics

COMMON = {"service": "risk", "mode": "paper", "account": "main"}


def made() -> Metrics:
    return Metrics("risk", "paper", "main")


def scraped(metrics: Metrics, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of one name by their own labels."""
    text = generate_latest(metrics.registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                assert COMMON.items() <= sample.labels.items()
                found[tuple(sorted(sample.labels.items() - COMMON.items()))] = sample.value
    return found


def test_durations_fall_into_the_first_bucket_that_is_large_enough() -> None:
    durations = Durations((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 1.0, 7.0, -3.0):
        durations.observe(seconds)
    assert durations.read() == ((3, 2, 1), pytest.approx(8.65))


def test_a_histogram_shows_counts_up_to_each_bound() -> None:
    metrics = made()
    histogram = metrics.histogram("voldesk_wait_seconds", "Wait", (0.1, 1.0))
    for seconds in (0.05, 0.5, 7.0):
        histogram.observe(seconds)
    assert scraped(metrics, "voldesk_wait_seconds_bucket") == {
        (("le", "0.1"),): 1,
        (("le", "1.0"),): 2,
        (("le", "+Inf"),): 3,
    }
    assert scraped(metrics, "voldesk_wait_seconds_count") == {(): 3}
    assert scraped(metrics, "voldesk_wait_seconds_sum") == {(): pytest.approx(7.55)}


def test_values_past_the_largest_number_of_children_are_counted_as_other() -> None:
    metrics = made()
    counters = metrics.counters("voldesk_things_total", "Things", "name", "kind")
    for number in range(510):
        counters(f"n{number}", "k").inc()
    counters("n3", "k").inc()
    counters("n509", "k").inc()
    shown = scraped(metrics, "voldesk_things_total")
    assert len(shown) == 501
    assert shown[("kind", "k"), ("name", "n3")] == 2
    assert shown[("kind", "other"), ("name", "other")] == 11
    assert len(counters.items()) == 501


def test_a_table_shows_only_what_was_shown_last() -> None:
    metrics = made()
    table = metrics.table("voldesk_held_coins", "Held", "underlying")
    table.show({"BTCUSD": 1.0, "ETHUSD": 2.0})
    table.show({"ETHUSD": -3.0})
    assert scraped(metrics, "voldesk_held_coins") == {(("underlying", "ETHUSD"),): -3.0}


def test_a_figure_that_cannot_be_read_is_left_out_and_counted() -> None:
    metrics = made()
    metrics.read("gauge", "voldesk_broken", "Broken", (), lambda: {}[1])
    metrics.read_one("gauge", "voldesk_whole", "Whole", lambda: 7.0)
    assert scraped(metrics, "voldesk_whole") == {(): 7}
    assert scraped(metrics, "voldesk_broken") == {}
    assert scraped(metrics, "voldesk_handler_errors_total") == {(("source", "metrics"),): 2}


def test_the_process_is_shown_with_our_labels_and_prefix() -> None:
    metrics = made()
    metrics.process()
    assert scraped(metrics, "voldesk_process_resident_memory_bytes")[()] > 1e6
    assert (("generation", "0"),) in scraped(metrics, "voldesk_python_gc_collections_total")


@pytest.mark.parametrize(
    "declare",
    [
        lambda metrics: metrics.counter("voldesk_things", "A counter without _total"),
        lambda metrics: metrics.gauge("voldesk_things_total", "A gauge with _total"),
        lambda metrics: metrics.gauge("things", "No prefix"),
        lambda metrics: metrics.histogram("voldesk_things", "No unit"),
        lambda metrics: [metrics.gauge("voldesk_things", "Twice") for _ in range(2)],
    ],
)
def test_a_name_against_the_conventions_is_our_own_bug(declare: object) -> None:
    assert callable(declare)
    with pytest.raises(AssertionError):
        declare(made())
