"""What the bus counted stands in the scrape under its own name."""

from __future__ import annotations

from shared.bus.link import BusCounts
from shared.service.metrics import BusMetrics
from tests.unit.shared.test_metrics import made, scraped


def test_each_count_of_the_bus_is_shown_under_its_own_name() -> None:
    families, counts = made(), BusCounts()
    BusMetrics(families, counts)
    counts.published, counts.not_sent, counts.received, counts.conflated = 1, 2, 3, 4
    counts.requests_sent, counts.requests_repeated, counts.requests_timed_out = 5, 6, 7
    counts.requests_served, counts.requests_answered_again = 8, 9
    counts.dropped["garbage"], counts.refused["no_key"] = 10, 11
    counts.gaps["risk"], counts.lost["risk"], counts.replays["execution"] = 12, 13, 14
    counts.delays["request"].observe(0.5)

    def shown(name: str) -> dict[str, float]:
        return {labels[0][1]: value for labels, value in scraped(families, f"voldesk_bus_{name}").items()}

    assert shown("messages_total") == {"published": 1, "not_sent": 2, "received": 3, "conflated": 4}
    assert shown("requests_total") == {
        "sent": 5,
        "repeated": 6,
        "timed_out": 7,
        "served": 8,
        "answered_again": 9,
    }
    assert shown("dropped_total") == {"garbage": 10}
    assert shown("refused_total") == {"no_key": 11}
    assert shown("gaps_total") == {"risk": 12}
    assert shown("lost_total") == {"risk": 13}
    assert shown("replays_total") == {"execution": 14}
    assert shown("delay_seconds_sum") == {"request": 0.5}
