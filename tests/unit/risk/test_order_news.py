"""What is kept from the core of the updates of orders: nothing of which it would know less without it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import msgspec
import pytest

from services.risk.order_news import OrderNews
from services.risk.orders import MINUTE_NS
from shared.messages.steps import Inbound, StreamSynced
from shared.messages.trades import OrderState, OrderUpdate
from tests.unit.risk.desk import ACCOUNT, SECOND, START, Script
from tests.unit.risk.test_breakers import config
from tests.unit.risk.test_limits import order

CORE = object()


def heard(update: OrderUpdate, epoch: int = 1) -> Inbound:
    return Inbound("exec.main.order", update, "", "execution", epoch)


def news_of(*updates: OrderUpdate) -> list[OrderState]:
    news = OrderNews(ACCOUNT)
    return [update.state for update in updates if news.is_news(heard(update), CORE)]


def changed(update: OrderUpdate, state: OrderState, **fields: Any) -> OrderUpdate:
    return msgspec.structs.replace(update, state=state, updated_ns=update.updated_ns + SECOND, **fields)


def test_of_an_order_that_is_moved_and_withdrawn_its_beginning_and_its_end_are_news() -> None:
    sent = order(1, 0, "SENDING")
    working = changed(sent, "WORKING", venue_order_id=7)
    moved = changed(working, "WORKING", amends=1)
    assert news_of(sent, working, moved, changed(moved, "CANCELLING"), changed(moved, "CANCELLED")) == [
        "SENDING",
        "CANCELLED",
    ]


def test_an_order_that_is_at_work_after_its_end_is_news() -> None:
    working = order(1, 0)
    assert news_of(working, changed(working, "NEVER_PLACED"), changed(working, "WORKING")) == [
        "WORKING",
        "NEVER_PLACED",
        "WORKING",
    ]


def test_each_outcome_that_is_not_known_is_news() -> None:
    unknown = order(1, 0, "UNKNOWN")
    assert news_of(unknown, changed(unknown, "UNKNOWN"), changed(unknown, "WORKING")) == ["UNKNOWN", "UNKNOWN"]


def test_a_new_execution_and_a_core_that_was_built_anew_hear_of_every_order_again() -> None:
    news, working = OrderNews(ACCOUNT), order(1, 0)
    assert news.is_news(heard(working), CORE)
    assert not news.is_news(heard(working), CORE)
    assert news.is_news(heard(working, epoch=2), CORE)
    assert not news.is_news(heard(working, epoch=2), CORE)
    assert news.is_news(heard(working, epoch=2), object())


Event = OrderUpdate | Literal["execution starts", "core fails", "all is told"]


def story(draws: random.Random) -> Iterator[Event]:
    """Orders as they change. After an execution that starts, and a core that failed, all are told again."""
    known: dict[int, OrderUpdate] = {}
    at_s, number = 0.0, 0
    while True:
        at_s += draws.expovariate(5)
        again: list[Event] = ["execution starts", "core fails"]
        if draws.random() < 0.008:
            yield draws.choice(again)
            yield from known.values()
            yield "all is told"
        elif not known or draws.random() < 0.2:
            number += 1
            known[number] = order(number, at_s, "SENDING")
            yield known[number]
            # of what ended long ago no execution tells
            known.pop(number - 60, None)
        else:
            update = draws.choice(list(known.values())[-30:])
            states: tuple[OrderState, ...] = ("SENDING", "WORKING", "CANCELLING", "UNKNOWN", "FILLED", "REFUSED")
            at_ns = START + int(at_s * SECOND)
            known[update.client_order_id] = msgspec.structs.replace(
                update,
                state=draws.choices(states, (2, 9, 2, 1, 2, 2))[0],
                created_ns=update.created_ns if draws.random() > 0.02 else at_ns,
                updated_ns=at_ns,
            )
            yield known[update.client_order_id]


@pytest.mark.parametrize("seed", range(10))
def test_a_core_that_hears_the_news_knows_and_decides_what_one_does_that_hears_everything(seed: int) -> None:
    draws = random.Random(seed)
    settings = config(max_venue_errors_per_minute=3, rejection_orders_min=10, max_rejection_pct=20)
    everything, only_news = scripts = Script(settings).ready(), Script(settings).ready()
    queues: tuple[deque[Any], deque[Any]] = (deque(), deque())
    news = OrderNews(ACCOUNT)
    epoch, at_s, kept_back, compared, is_told = 1, 0.0, 0, 0, True
    for event in islice(story(draws), 4_000):
        item: Inbound | StreamSynced
        match event:
            case "core fails":
                # what is queued goes to the one that is built anew
                for script in scripts:
                    script.restart(at_s)
                is_told = False
                continue
            case "execution starts":
                epoch, is_told = epoch + 1, False
                continue
            case "all is told":
                item, is_told = StreamSynced("execution", epoch), True
            case update:
                # what an execution said that is gone may arrive late
                item = heard(update, epoch - (is_told and draws.random() < 0.01))
                at_s = max(at_s, (update.updated_ns - START) / SECOND)
        queues[0].append(item)
        if news.is_news(item, only_news.core):
            queues[1].append(item)
        else:
            kept_back += 1
        if draws.random() > 0.3:
            continue
        for script, queue in zip(scripts, queues, strict=True):
            while queue:
                script.on(queue.popleft(), at_s)
        assert only_news.rows == everything.rows
        if is_told:
            compared += 1
            assert known_of(only_news, at_s) == known_of(everything, at_s)
    assert kept_back > 500
    assert compared > 500


def known_of(script: Script, at_s: float) -> tuple[object, ...]:
    core, start_ns = script.core, START + int(at_s * SECOND) - MINUTE_NS
    return core._orders.working, core._orders.sent_since(start_ns), core._breakers.statuses()
