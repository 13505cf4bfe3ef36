from __future__ import annotations

import pytest

from shared.bus.subscriptions import kinds_of
from shared.messages.topics import BUS_SERVICES, TOPICS, Topic, book_topic, topic_of, topic_row


def filled(pattern: str) -> str:
    return ".".join("x" if part.startswith("{") else part for part in pattern.split("."))


@pytest.mark.parametrize("row", TOPICS, ids=lambda row: row.pattern)
def test_a_topic_made_from_the_table_is_found_in_it_again(row: Topic) -> None:
    assert topic_row(filled(row.pattern)) is row


def test_every_row_has_its_own_pattern_and_a_known_publisher() -> None:
    assert len({row.pattern for row in TOPICS}) == len(TOPICS)
    assert {row.publisher for row in TOPICS} <= {*BUS_SERVICES, "*"}


@pytest.mark.parametrize("value", ["", "a.b", "a\0b"])
def test_a_part_that_could_be_taken_for_a_separator_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="underlying"):
        topic_of("md.{underlying}.chain", underlying=value)


def test_a_missing_part_is_an_error() -> None:
    with pytest.raises(KeyError):
        topic_of("md.{underlying}.chain")


@pytest.mark.parametrize("topic", ["", "md", "md.BTCUSD", "md.BTCUSD.chain.x", "xx.BTCUSD.chain"])
def test_a_topic_that_nobody_declared_has_no_row(topic: str) -> None:
    assert topic_row(topic) is None


@pytest.mark.parametrize(
    ("prefix", "kinds"),
    [
        ("exec.", {"event"}),
        ("md.", {"state", "event"}),
        ("md.BTCUSD.chain", {"state"}),
        ("md.BTCUSD.ins", {"event"}),
        ("sys.", {"state", "event"}),
        ("", {"state", "event"}),
        ("strat.", {"state"}),
        ("nothing", set()),
        ("md.BTCUSD.chain.x", set()),
    ],
)
def test_a_prefix_is_read_from_the_sockets_of_the_kinds_it_can_match(prefix: str, kinds: set[str]) -> None:
    assert kinds_of(prefix) == kinds


def test_a_strike_with_a_decimal_point_is_one_part_of_a_books_topic() -> None:
    topic = book_topic("KASUSD", "KASUSD-31MAY24-0.1250-C")
    assert topic == "book.KASUSD.KASUSD-31MAY24-0_1250-C"
    row = topic_row(topic)
    assert row is not None
    assert (row.pattern, row.on_demand) == ("book.{underlying}.{symbol}", True)
