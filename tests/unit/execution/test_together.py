"""What the venue says of several orders at once is taken in together: the same is known then, and decided on once."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.execution.effects import PlaceBatch
from shared.messages.steps import Publish, Together
from shared.messages.trades import TradeUpdate
from shared.messages.venue import NewOrder, OrderRefused
from tests.unit.execution.play import Script, acked, fill, seen
from tests.unit.execution.test_quoting import change, quoting, wish


def batch_of_four() -> tuple[Script, str, tuple[NewOrder, ...]]:
    """Four orders on their way to the venue, of which nothing has been heard."""
    script = Script().started()
    trade_id = quoting(script)
    change(script, trade_id, place=[wish("1", price) for price in ("960", "970", "980", "990")])
    (batch,) = script.take(PlaceBatch)
    return script, trade_id, batch.orders


def said_of(orders: tuple[NewOrder, ...]) -> list[Any]:
    """One rests, one is refused, one has traded a part, one is done."""
    rests, refused, partly, done = orders
    return [
        acked(rests),
        seen(rests, "new"),
        OrderRefused(client_order_id=refused.client_order_id, kind="rejected", code=10529, text="margin"),
        acked(partly),
        seen(partly, "new", "0.4"),
        fill(partly, 1, "0.4"),
        acked(done),
        fill(done, 2, "1"),
        seen(done, "filled", "1"),
    ]


@given(st.permutations(range(9)))
@settings(max_examples=30)
def test_in_whatever_order_it_comes_the_book_is_the_same_as_after_one_by_one(turns: list[int]) -> None:
    books = []
    for together in (False, True):
        script, _, orders = batch_of_four()
        facts = [said_of(orders)[turn] for turn in turns]
        for item in [Together(tuple(facts))] if together else facts:
            script.on(item)
        books.append((script.core.book.orders, [trade.legs for trade in script.core.book.trades.values()]))
    assert books[0] == books[1]


def test_the_trade_is_told_of_once() -> None:
    script, trade_id, orders = batch_of_four()
    script.effects.clear()
    script.on(Together(tuple(said_of(orders))))
    told = [each.message for each in script.take(Publish) if isinstance(each.message, TradeUpdate)]
    assert [update.trade_id for update in told] == [trade_id]
