"""Ways from an intent to the venue's request are put together from the notes of execution and exchange."""

from __future__ import annotations

from bench.intent import DESK_NUMBER, KINDS, Way, figures, way_of
from bench.trader import Opened
from shared.ids import OrderKey, client_order_id
from shared.venues.coincall.endpoints import CANCEL_ORDER, CREATE_ORDER, CREATE_RFQ

OPENED = Opened(100, 200, 300, "t60000000")
FIRST, FOUR, RFQ = KINDS[0], KINDS[1], KINDS[2]


def order(leg: int, trade: int = 60_000_000) -> int:
    key = OrderKey(desk=DESK_NUMBER, trade_number=trade, leg_index=leg, purpose="open", attempt=0)
    return client_order_id(key)


def test_the_way_ends_with_the_first_order_of_the_trade_and_has_the_commit_of_that_order() -> None:
    commits = [["commit", 90, 95, 1, [order(0, 59_999_999)], []], ["commit", 250, 260, 3, [order(0), order(1)], []]]
    calls = [
        [280, CREATE_ORDER.path, order(0, 59_999_999)],
        [285, CANCEL_ORDER.path, order(1)],
        [301, CREATE_ORDER.path, order(0)],
        [290, CREATE_ORDER.path, order(1)],
    ]
    assert way_of(OPENED, FIRST, commits, calls) == Way(100, 200, 250, 260, 290)


def test_of_four_orders_the_last_one_counts_and_nothing_does_before_it_is_there() -> None:
    commits = [["commit", 250, 260, 9, [order(leg) for leg in range(4)], []]]
    calls = [[300 + leg, CREATE_ORDER.path, order(leg)] for leg in range(3)]
    assert way_of(OPENED, FOUR, commits, calls) is None
    assert way_of(OPENED, FOUR, commits, [*calls, [310, CREATE_ORDER.path, order(3)]]) == Way(100, 200, 250, 260, 310)


def test_a_request_for_quote_is_the_first_after_the_commit_that_speaks_of_it() -> None:
    commits = [["commit", 220, 230, 1, [], ["t59999999-open-0"]], ["commit", 250, 260, 2, [], ["t60000000-open-0"]]]
    calls = [[240, CREATE_RFQ.path, 0], [270, CREATE_RFQ.path, 0]]
    assert way_of(OPENED, RFQ, commits, calls) == Way(100, 200, 250, 260, 270)


def test_the_shares_of_grant_and_commit_stand_beside_the_whole_way() -> None:
    ways = {"limit": [Way(0, 2_000_000, 5_000_000, 6_000_000, 10_000_000)] * 3}
    rows = figures(ways, [5_000.0, 5_000.0])
    assert [one.value for one in rows] == [10_000.0, 10_000.0, 2_000.0, 1_000.0]
    assert [one.ratio for one in rows] == [2.0, 2.0, 0.2, 0.1]
    assert "3 intents, 2 bare ones" in rows[0].note
    assert "3,000 µs for bus and decision, 4,000 µs from the commit to the exchange" in rows[0].note
