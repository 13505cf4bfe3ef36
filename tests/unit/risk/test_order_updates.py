"""Updates of orders, of which a quoting strategy causes thousands a second: risk counts by running totals, and
what it counts is what looking at all of them would give."""

from __future__ import annotations

import random

import msgspec
import pytest

from services.risk.orders import MINUTE_NS, OrderWatch
from shared.messages.trades import FINAL_ORDER_STATES, OrderState
from tests.unit.risk.desk import SECOND, START, Script
from tests.unit.risk.test_breakers import breaker, config, moves
from tests.unit.risk.test_limits import order

ALIVE: tuple[OrderState, ...] = ("SENDING", "WORKING", "CANCELLING", "UNKNOWN")


@pytest.mark.parametrize("seed", range(5))
def test_orders_at_work_and_sent_lately_are_those_that_a_look_at_all_of_them_finds(seed: int) -> None:
    draws = random.Random(seed)
    watch = OrderWatch()
    newest = {}
    at_s = 0.0
    for number in range(2_000):
        at_s += draws.expovariate(10)
        # a replay tells of orders in the order in which they changed, not of that in which they were sent
        sent_s = at_s - draws.choice((0, 0, draws.uniform(0, 70)))
        if newest and draws.random() < 0.7:
            known = draws.choice(list(newest.values())[-40:])
            state = draws.choice((*ALIVE, *sorted(FINAL_ORDER_STATES)))
            update = msgspec.structs.replace(known, state=state)
            if draws.random() < 0.05:
                # sent anew
                update = msgspec.structs.replace(update, created_ns=START + int(at_s * SECOND))
        else:
            update = order(number, sent_s)
        newest[update.client_order_id] = update
        now_ns = START + int(at_s * SECOND)
        watch.on_order(update, now_ns)
        if draws.random() < 0.1:
            start_ns = now_ns - MINUTE_NS
            assert watch.sent_since(start_ns) == sum(known.created_ns > start_ns for known in newest.values())
        assert watch.working == sum(known.state not in FINAL_ORDER_STATES for known in newest.values())


def test_what_is_remembered_of_orders_sent_is_a_minute_of_them() -> None:
    watch = OrderWatch()
    for number in range(2_000):
        watch.on_order(order(number, number * 0.1, "FILLED"), START + number * SECOND // 10)
    assert len(watch._sent) == len(watch._oldest) == 600


@pytest.mark.parametrize("seed", range(5))
def test_the_breaker_of_rejections_opens_on_the_very_update_that_passes_its_limit(seed: int) -> None:
    draws = random.Random(seed)
    script = Script(config(rejection_orders_min=50, max_rejection_pct=30)).ready()
    ended: list[tuple[float, bool]] = []
    at_s, refused_share = 0.0, 0.2
    for number in range(5_000):
        at_s += draws.choice((0.01, 0.5, 20.0))
        is_refused = draws.random() < refused_share
        script.hear(order(number, at_s), at_s, "execution")
        script.hear(order(number, at_s, "REFUSED" if is_refused else "CANCELLED"), at_s, "execution")
        # the newest 200 of those that ended within ten minutes
        lately = [(end_s, was) for end_s, was in ended if end_s > at_s - 600]
        ended = [*lately[-199:], (at_s, is_refused)]
        share = sum(was for _, was in ended) / len(ended) * 100
        if len(ended) >= 50 and share > 30:
            break
        assert moves(script) == []
        refused_share += 0.0001
    assert moves(script) == [("rejection_rate", "", "open")]
    assert breaker(script, "rejection_rate", at_s).value == pytest.approx(share)
