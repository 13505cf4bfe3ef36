"""A position opened by hand becomes a trade when it is adopted, and is refused when it cannot be one."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest

from services.execution.rows import TradeAdopted
from shared.messages.control import RaiseHalt
from shared.messages.reconciliation import (
    AdoptPosition,
    DifferenceList,
    ForeignPosition,
    ListDifferences,
    PositionAdopted,
    ReconciliationReport,
)
from shared.messages.space import JournalSpace
from shared.messages.trades import Refusal, TellTrade
from shared.messages.venue import VenuePosition
from tests.unit.execution.play import CALL, EXPIRY_NS, MARKS, MS, PUT, Script, leg


def at_venue(symbol: str, quantity: str, average_price: str = "812.5") -> VenuePosition:
    return VenuePosition(
        symbol=symbol,
        quantity=D(quantity),
        average_price=D(average_price),
        mark=MARKS.get(symbol),
        unrealized_pnl_usd=None,
        delta=None,
    )


def seen(script: Script, *positions: VenuePosition) -> Script:
    """The venue holds this, and two comparisons said so."""
    script.wait(4_000)
    script.snapshot(positions=positions)
    script.wait(2_100)
    return script.snapshot(positions=positions)


def adopt(script: Script, symbol: str = PUT, quantity: str | None = None, **changes: Any) -> Any:
    wanted = None if quantity is None else D(quantity)
    request = AdoptPosition(symbol=symbol, quantity=wanted, strategy="manual", requested_by="cli:me")
    return script.ask(msgspec.structs.replace(request, **changes))


def refused(script: Script, *arguments: Any, **changes: Any) -> str:
    answer = adopt(script, *arguments, **changes)
    assert isinstance(answer, Refusal)
    assert answer.remedy
    assert script.rows(TradeAdopted) == []
    return answer.code


def test_what_the_venue_held_at_a_comparison_of_long_ago_is_not_adopted() -> None:
    script = seen(Script().started(), at_venue(PUT, "3"))
    age_ms = 3 * script.config.reconcile_interval_ms
    script.wait(age_ms - 3_000)
    assert isinstance(adopt(script, quantity="1"), PositionAdopted)
    script = seen(Script().started(), at_venue(PUT, "3"))
    script.wait(age_ms + 3_000)
    answer = adopt(script)
    assert isinstance(answer, Refusal)
    assert answer.detail == "the venue was not compared lately"


@pytest.mark.parametrize(("quantity", "side"), [("3", "buy"), ("-3", "sell")])
def test_a_foreign_position_becomes_an_open_trade_at_the_venues_average_price(quantity: str, side: str) -> None:
    script = seen(Script().started(), at_venue(PUT, quantity))
    adopted = adopt(script)
    assert isinstance(adopted, PositionAdopted)
    assert (adopted.side, adopted.quantity, adopted.entry_price) == (side, D(3), D("812.5"))
    trade = script.trade(adopted.trade_id)
    assert (trade.state, trade.strategy, trade.grant_open) == ("OPEN", "manual", False)
    assert (trade.legs[0].filled_quantity, trade.legs[0].open_price) == (D(3), D("812.5"))
    assert trade.entry_premium_usd == D("812.5") * D(quantity)
    assert "cli:me adopts a position" in script.ask(TellTrade(trade_id=adopted.trade_id)).lines[0].text
    assert script.placed() == []


def test_after_it_venue_and_journal_agree_also_over_a_restart() -> None:
    script = seen(Script().started(), at_venue(PUT, "3"))
    adopted = adopt(script)
    seen(script, at_venue(PUT, "3"))
    assert script.published(ReconciliationReport)[-1].differences == ()
    answer = script.ask(ListDifferences())
    assert isinstance(answer, DifferenceList)
    assert [found.stands for found in answer.differences] == [False]
    assert script.refolded().book == script.core.book
    script.restarted()
    seen(script, at_venue(PUT, "3"))
    assert script.state(adopted.trade_id) == "OPEN"
    assert script.published(ReconciliationReport)[-1].differences == ()


def test_it_is_closed_like_any_other_reduce_only_and_its_profit_counts_from_the_average_price() -> None:
    script = seen(Script().started(), at_venue(PUT, "3"))
    adopted = adopt(script)
    script.wait(4_000)
    script.snapshot(positions=[at_venue(PUT, "3")])
    script.close(adopted.trade_id)
    (order,) = script.placed()
    assert (order.symbol, order.side, order.quantity, order.reduce_only) == (PUT, "sell", D(3), True)
    script.fills_all(order, 5)
    trade = script.trade(adopted.trade_id)
    assert trade.state == "CLOSED"
    assert trade.realized_pnl_usd == 3 * (order.price - D("812.5"))
    assert trade.fees_usd == D("0.5")


def test_a_flatten_closes_it_too() -> None:
    script = seen(Script().started(), at_venue(PUT, "-2"))
    adopt(script)
    script.wait(4_000)
    script.snapshot(positions=[at_venue(PUT, "-2")])
    script.ask(RaiseHalt(level="flatten", reason="drill", requested_by="op"))
    (order,) = script.placed()
    assert (order.side, order.quantity, order.reduce_only) == ("buy", D(2), True)


def test_the_same_request_adopts_once_also_after_a_restart() -> None:
    script = seen(Script().started(), at_venue(PUT, "3"))
    request = AdoptPosition(symbol=PUT, quantity=D(1), strategy="manual", requested_by="cli:me")
    first = script.ask(request, "same")
    assert script.ask(request, "same") == first
    script.restarted()
    assert script.ask(request, "same") == first
    assert len(script.rows(TradeAdopted)) == 1


def test_a_part_is_adopted_and_the_rest_stays_foreign_and_can_be_adopted_by_another() -> None:
    script = seen(Script().started(), at_venue(PUT, "3"))
    first = adopt(script, PUT, "1")
    assert refused_code(script, "2.01") == "exceeds_position"
    seen(script, at_venue(PUT, "3"))
    (rest,) = script.published(ReconciliationReport)[-1].differences
    assert isinstance(rest, ForeignPosition)
    assert (rest.quantity, rest.held_quantity) == (D(2), D(1))
    second = adopt(script, PUT, "2", strategy="other")
    assert second.trade_id != first.trade_id
    assert script.core.book.net_quantity(PUT) == 3


def refused_code(script: Script, quantity: str) -> str:
    answer = adopt(script, PUT, quantity)
    assert isinstance(answer, Refusal)
    return answer.code


def test_what_trades_hold_is_not_adopted_and_more_than_the_rest_neither() -> None:
    script = Script().started()
    trade_id = script.opened(leg(PUT, "buy"))
    assert refused(script, PUT) == "claimed"
    seen(script, at_venue(PUT, "1.5"))
    answer = adopt(script, PUT, "1")
    assert answer.code == "exceeds_position"
    assert trade_id in answer.detail
    assert "0.5" in answer.remedy
    assert adopt(script).quantity == D("0.5")


def test_what_the_venue_does_not_hold_is_not_adopted() -> None:
    assert refused(seen(Script().started())) == "no_position"


def test_a_position_seen_once_or_a_venue_not_compared_is_refused_for_the_moment() -> None:
    script = Script().started()
    script.wait(4_000)
    script.snapshot(positions=[at_venue(PUT, "3")])
    assert refused(script) == "not_ready"
    seen(script, at_venue(PUT, "3"))
    script.restarted()
    answer = adopt(script)
    assert (answer.code, script.rows(TradeAdopted)) == ("not_ready", [])


def test_while_an_order_of_the_desk_is_live_in_the_symbol_nothing_is_adopted() -> None:
    script = seen(Script().started(), at_venue(PUT, "3"))
    script.open(leg(PUT, "buy"))
    assert refused(script) == "not_ready"


def test_what_could_not_be_closed_again_is_not_adopted() -> None:
    script = seen(Script().started(), at_venue(PUT, "3"), at_venue("BTCUSD-28SEP26-70000-P", "1"))
    assert refused(script, "BTCUSD-28SEP26-70000-P") == "unknown_instrument"
    assert refused(script, PUT, "0.015") == "bad_quantity"
    assert refused(script, PUT, "-1") == "bad_quantity"
    assert refused(script, strategy="../etc") == "bad_strategy"
    assert refused(seen(Script().started(), at_venue(PUT, "3", "0")), PUT) == "no_entry_price"
    late = Script(begins_ns=EXPIRY_NS - 901_000 * MS).started()
    assert refused(seen(late, at_venue(PUT, "3"))) == "not_tradable"


def test_on_a_full_disk_nothing_is_adopted() -> None:
    script = seen(Script().started(), at_venue(CALL, "3"))
    script.on(JournalSpace(level="memory", reason="full"))
    assert refused(script, CALL) == "disk_full"


def test_the_strategys_own_intents_are_numbered_as_before() -> None:
    script = seen(Script().started(), at_venue(PUT, "3"))
    adopt(script, strategy="demo")
    script.wait(3_000)
    trade_id = script.open(leg(CALL, "buy"), ordinal=0)
    assert script.trade(trade_id).ordinal == 0
