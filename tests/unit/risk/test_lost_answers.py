"""An answer that got lost is one error of the venue, however many orders it was for."""

from __future__ import annotations

import msgspec

from services.risk.inputs import AccountPollFailed
from shared.messages.trades import OrderUpdate
from tests.unit.risk.desk import SECOND, START, Script
from tests.unit.risk.test_breakers import breaker, config, moves
from tests.unit.risk.test_limits import order


def lost(number: int, sent_s: float, known_s: float) -> OrderUpdate:
    """An order whose outcome is not known since then."""
    update = order(number, known_s, "UNKNOWN")
    return msgspec.structs.replace(update, created_ns=START + int(sent_s * SECOND))


def test_a_lost_answer_to_a_batch_of_forty_orders_is_one_error() -> None:
    script = Script(config(max_venue_errors_per_minute=3)).ready()
    for number in range(40):
        script.hear(lost(number, 1, 6), 6, "execution")
    assert breaker(script, "venue_errors", 6).value == 1
    assert moves(script) == []


def test_each_lost_answer_counts_until_there_are_too_many() -> None:
    script = Script(config(max_venue_errors_per_minute=3)).ready()
    for batch in range(2):
        for number in range(40):
            script.hear(lost(100 * batch + number, batch, 6 + batch), 6 + batch, "execution")
    assert moves(script) == []
    script.on(AccountPollFailed("timeout"), 8)
    assert moves(script) == [("venue_errors", "", "open")]


def test_requests_sent_apart_whose_answers_are_missed_at_once_count_apart() -> None:
    script = Script(config(max_venue_errors_per_minute=3)).ready()
    for number in range(3):
        script.hear(lost(number, number, 6), 6, "execution")
    assert moves(script) == [("venue_errors", "", "open")]


def test_an_order_that_is_told_of_again_is_not_lost_again() -> None:
    script = Script(config(max_venue_errors_per_minute=2)).ready()
    script.hear(lost(1, 1, 6), 6, "execution")
    script.hear(lost(1, 1, 6), 7, "execution")
    script.hear(lost(1, 1, 8), 8, "execution")
    assert breaker(script, "venue_errors", 8).value == 1
