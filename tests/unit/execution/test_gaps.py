"""A position that the venue's list lacks, of which something was held by hand: what explains that it is gone."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal as D

import msgspec
import pytest

from services.execution.rows import LegClosedOutside
from shared.messages.base import Side
from shared.messages.reconciliation import AdoptPosition
from shared.messages.venue import VenueFill, VenuePosition
from tests.unit.execution.play import CALL, PUT, SECOND, Script, leg, position


def _by_hand(script: Script, number: int, side: Side, quantity: str) -> VenueFill:
    return VenueFill(
        venue_trade_id=number,
        venue_order_id=number,
        client_order_id=None,
        symbol=CALL,
        side=side,
        quantity=D(quantity),
        price=D(1_000),
        fee_usd=D(0),
        is_taker=True,
        venue_ns=script.now_ns,
    )


def _looks(script: Script, positions: Iterable[VenuePosition], *fills: VenueFill) -> None:
    """Two looks, far enough apart for the second to confirm the first."""
    for _ in range(2):
        script.wait(2_100)
        script.snapshot(positions=positions, fills=fills)


def _beside_a_trade(quantity: str) -> tuple[Script, str]:
    """A trade of a call and a sold put, and as much of the call again by hand, known as foreign."""
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "sell"))
    _looks(script, [position(CALL, str(1 + D(quantity))), position(PUT, "-1")])
    assert script.alerts() == ["foreign_position"]
    return script, trade_id


def test_a_sale_by_hand_of_what_was_held_by_hand_explains_no_gap_an_hour_later() -> None:
    script, trade_id = _beside_a_trade("2")
    sale = _by_hand(script, 901, "sell", "1")
    _looks(script, [position(CALL, "2"), position(PUT, "-1")], sale)
    script.wait(3_600_000)
    script.snapshot(positions=[position(CALL, "2"), position(PUT, "-1")])
    script.placed()
    script.alerts()
    _looks(script, [position(PUT, "-1")])
    assert script.alerts() == ["position_missing"]
    assert script.state(trade_id) == "OPEN"
    assert script.placed() == []
    _looks(script, [position(CALL, "2"), position(PUT, "-1")])
    assert not script.rows(LegClosedOutside)


@pytest.mark.parametrize(("sold", "state"), [("2", "OPEN"), ("3", "BROKEN")])
def test_what_is_sold_by_hand_beside_a_trade_was_first_what_is_held_by_hand(sold: str, state: str) -> None:
    script, trade_id = _beside_a_trade("2")
    _looks(script, [position(PUT, "-1")], _by_hand(script, 901, "sell", sold))
    assert script.state(trade_id) == state
    assert ("position_missing" in script.alerts()) == (state == "OPEN")


def test_what_is_adopted_is_not_held_by_hand_any_more() -> None:
    script, trade_id = _beside_a_trade("2")
    script.ask(AdoptPosition(symbol=CALL, quantity=None, strategy="demo", requested_by="operator"))
    _looks(script, [position(PUT, "-1")], _by_hand(script, 901, "sell", "3"))
    assert script.state(trade_id) == "BROKEN"


@pytest.mark.parametrize("sold_while_down", [False, True])
def test_after_a_restart_only_executions_since_the_last_comparison_explain_a_gap(sold_while_down: bool) -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "sell"))
    script.wait(60_000)
    bought, sold = _by_hand(script, 901, "buy", "1"), _by_hand(script, 902, "sell", "1")
    script.wait(300_000)
    script.snapshot(positions=script.positions(), fills=[bought, sold])
    script.wait(10_000)
    late = [_by_hand(script, 903, "sell", "1")] if sold_while_down else []
    script.wait(10_000)
    script.restarted()
    _looks(script, [position(PUT, "-1")], bought, sold, *late)
    assert script.state(trade_id) == ("BROKEN" if sold_while_down else "OPEN")


@pytest.mark.parametrize("sold_while_down", [False, True])
def test_after_a_restart_what_is_known_to_be_held_by_hand_goes_first(sold_while_down: bool) -> None:
    script, trade_id = _beside_a_trade("2")
    sale = _by_hand(script, 901, "sell", "1")
    _looks(script, [position(CALL, "2"), position(PUT, "-1")], sale)
    script.wait(10_000)
    late = [_by_hand(script, 902, "sell", "2")] if sold_while_down else []
    script.wait(10_000)
    script.restarted()
    _looks(script, [position(PUT, "-1")], sale, *late)
    assert script.state(trade_id) == ("BROKEN" if sold_while_down else "OPEN")


@pytest.mark.parametrize("sold_while_down", [False, True])
def test_with_the_clock_set_back_over_a_restart_only_the_last_minutes_explain_a_gap(sold_while_down: bool) -> None:
    script = Script().started()
    trade_id = script.opened(leg(CALL, "buy"), leg(PUT, "sell"))
    hour_ns = 3_600 * SECOND
    script.wait(7_200_000)
    # the clock was an hour ahead of the venue's, and is right after the restart
    bought, sold = (
        msgspec.structs.replace(each, venue_ns=each.venue_ns - hour_ns)
        for each in (_by_hand(script, 901, "buy", "1"), _by_hand(script, 902, "sell", "1"))
    )
    for _ in range(4):
        script.wait(300_000)
        script.snapshot(positions=script.positions(), fills=[bought, sold])
    script.now_ns += 10 * SECOND - hour_ns
    late = [_by_hand(script, 903, "sell", "1")] if sold_while_down else []
    script.restarted()
    assert script.core.book.compared_ns > script.now_ns
    _looks(script, [position(PUT, "-1")], bought, sold, *late)
    assert script.state(trade_id) == ("BROKEN" if sold_while_down else "OPEN")
    assert ("position_missing" in script.alerts()) == (not sold_while_down)
