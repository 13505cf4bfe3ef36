"""A mode that leaves the rest of an opening or of a close to another one: what was sent before is not counted."""

from __future__ import annotations

from decimal import Decimal as D

from services.execution.rows import FellBack
from shared.messages.control import RaiseHalt
from shared.messages.steps import Entry
from shared.messages.trades import TellTrade
from tests.unit.execution.play import CALL, PUT, Script, acked, leg


def _fall_back(script: Script, trade_id: str, purpose: str) -> None:
    """Stands in for a plan: write that the trade goes on by limit."""
    row = FellBack(trade_id=trade_id, purpose=purpose, mode="limit", reason="enough waited")  # type: ignore[arg-type]
    script.entries.append(Entry(script.now_ns, "", row))
    script.restarted()
    script.snapshot(positions=script.positions())


def test_an_opening_that_fell_back_has_the_whole_patience_of_the_limit_plan_before_it() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    (order,) = script.placed()
    script.on(acked(order)).wait(99_000)
    _fall_back(script, trade_id, "open")
    script.wait(90_000)
    assert script.state(trade_id) == "OPENING"
    script.wait(11_000)
    assert script.cancelled() == [order.client_order_id]


def test_a_close_that_fell_back_begins_the_stairs_at_the_foot_and_with_their_whole_patience() -> None:
    script = Script().started()
    trade_id = script.opened(leg(PUT, "buy"))
    script.chain_options = {"half_spread": 30.0}
    script.close(trade_id)
    prices = []
    for _ in range(2):
        (order,) = script.placed()
        prices.append(order.price)
        script.on(acked(order)).wait(11_000)
        if script.cancelled():
            script.cancels_all(order).wait(1_000)
    assert prices == [D(900), D(862)]
    script.wait(130_000)
    _fall_back(script, trade_id, "close")
    script.wait(5_500)
    assert script.cancelled() == [order.client_order_id]
    script.cancels_all(order).wait(1_000)
    assert [order.price for order in script.placed()] == [D(900)]
    script.wait(160_000)
    assert script.state(trade_id) == "CLOSING"
    script.wait(20_000)
    assert script.state(trade_id) == "BROKEN"


def test_the_story_says_which_mode_goes_on_and_why() -> None:
    script = Script().started()
    trade_id = script.open(leg(CALL, "buy"))
    _fall_back(script, trade_id, "open")
    lines = [line.text for line in script.ask(TellTrade(trade_id=trade_id)).lines]
    assert "The opening goes on by limit: enough waited." in lines


def test_a_flatten_is_never_left_to_the_plan_of_a_mode() -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"))
    script.ask(RaiseHalt(level="flatten", reason="out", requested_by="op"))
    (order,) = script.placed()
    assert (order.quantity, order.reduce_only) == (D(1), True)
    assert script.core.book.trades[trade_id].close is not None
