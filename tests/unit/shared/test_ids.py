from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import (
    MAX_ATTEMPTS,
    MAX_LEGS,
    OrderKey,
    client_order_id,
    content_hash,
    intent_id,
    next_trade_number,
    parse_client_order_id,
    trade_id,
    trade_number,
)
from shared.messages.trades import Purpose

KEYS = st.builds(
    OrderKey,
    desk=st.integers(0, 255),
    trade_number=st.integers(0, (1 << 30) - 1),
    leg_index=st.integers(0, MAX_LEGS - 1),
    purpose=st.sampled_from(get_args(Purpose)),
    attempt=st.integers(0, MAX_ATTEMPTS - 1),
)
KEY = OrderKey(7, 1_000, 2, "close", 3)


@given(KEYS)
def test_an_order_found_at_the_venue_names_its_trade(key: OrderKey) -> None:
    number = client_order_id(key)
    assert parse_client_order_id(number, key.desk) == key
    assert 1 << 62 <= number < 1 << 63


@given(KEYS, KEYS)
def test_two_orders_never_share_an_id(one: OrderKey, other: OrderKey) -> None:
    assert (client_order_id(one) == client_order_id(other)) == (one == other)


@given(KEYS, st.integers(0, 255))
def test_another_desks_order_is_not_ours(key: OrderKey, desk: int) -> None:
    assert (parse_client_order_id(client_order_id(key), desk) is None) == (desk != key.desk)


@given(st.integers(-(1 << 70), (1 << 62) - 1))
def test_a_number_in_the_venues_range_is_not_ours(number: int) -> None:
    assert parse_client_order_id(number, 7) is None


def test_an_unused_purpose_is_not_ours() -> None:
    assert parse_client_order_id(client_order_id(KEY) | 0b111 << 14, 7) is None


@pytest.mark.parametrize(
    "key",
    [
        OrderKey(256, 1, 0, "open", 0),
        OrderKey(-1, 1, 0, "open", 0),
        OrderKey(0, 1 << 30, 0, "open", 0),
        OrderKey(0, 1, MAX_LEGS, "open", 0),
        OrderKey(0, 1, 0, "open", MAX_ATTEMPTS),
    ],
)
def test_a_part_that_does_not_fit_is_refused_by_name(key: OrderKey) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        client_order_id(key)


def test_a_trade_number_is_above_the_last_and_not_below_the_seconds_since_2025() -> None:
    a_day_into_2025_ns = (1_735_689_600 + 86_400) * 1_000_000_000
    assert next_trade_number(None, a_day_into_2025_ns) == 86_400
    assert next_trade_number(90_000, a_day_into_2025_ns) == 90_001
    assert next_trade_number(5, a_day_into_2025_ns) == 86_400
    assert next_trade_number(None, 0) == 0


@given(st.integers(0, 1 << 40))
def test_a_trade_id_comes_back_as_its_number(number: int) -> None:
    assert trade_number(trade_id(number)) == number


@pytest.mark.parametrize("text", ["", "t", "7", "x7", "t-7", "t7x"])
def test_a_text_that_is_no_trade_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a trade id"):
        trade_number(text)


def test_an_intent_is_named_by_strategy_and_ordinal() -> None:
    assert intent_id("strangle", 4) == "strangle-4"


def test_a_content_hash_depends_on_every_part_and_on_where_it_ends() -> None:
    assert content_hash(b"ab", b"c") != content_hash(b"a", b"bc")
    assert content_hash(b"a") == content_hash(b"a")
    assert len(content_hash()) == 16
