"""The cash rule on the whole desk: what it sells is judged by the venue, and each promise is seen to be broken."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import pytest

from services.execution.cash_rows import CashSaleMoved, CashSaleRequested
from shared.messages.contracts import ContractOrder
from shared.messages.steps import Entry
from tests.simulation.test_world import run_until
from world.cash_audit import sale_violations, sending_violations, unkept_minimum, unknown_sales, untrue_sales
from world.cash_scenario import cash_rule
from world.desk import DESK_NUMBER, Desk
from world.directed import DIRECTED
from world.engine import Engine
from world.faults import SECOND, Faults
from world.simulate import simulate, violations_at_rest
from world.violations import Violation

pytestmark = pytest.mark.simulation
_SEED = 3


@cache
def sold_desk() -> Desk:
    """A desk without strategies whose USDT were short once, and that sold for it."""
    scenario = cash_rule(_SEED)
    desk = Desk(Engine(scenario.start_ns, _SEED), Faults.none(), (), scenario.exchange, scenario.execution)
    desk.engine.run_until(scenario.start_ns + 20 * SECOND)
    desk.venue.exchange.withdraw(desk.venue.account_id, Decimal(5_000), desk.engine.now_ns)
    run_until(desk, lambda: any(sale.is_final for sale in desk.book.cash.sales.values()))
    desk.engine.run_until(desk.engine.now_ns + 20 * SECOND)
    return desk


def rows(desk: Desk) -> list[Entry]:
    return list(desk.nodes["execution"].journal.entries)


def changed(entries: list[Entry], kind: type[Any], **values: Any) -> list[Entry]:
    return [
        msgspec.structs.replace(entry, row=msgspec.structs.replace(entry.row, **values))
        if isinstance(entry.row, kind)
        else entry
        for entry in entries
    ]


def a_sale_without_a_row(_: Desk) -> Iterable[Violation]:
    row = next(entry.row for entry in rows(sold_desk()) if isinstance(entry.row, CashSaleRequested))
    order = ContractOrder(
        client_order_id=row.client_order_id, symbol=row.symbol, side="sell", quantity=row.quantity, price=row.price
    )
    assert list(sending_violations(order, rows(sold_desk()), 0)) == []
    assert len(list(sending_violations(order, rows(sold_desk()), 1))) == 1
    larger = msgspec.structs.replace(order, quantity=2 * order.quantity)
    assert len(list(sending_violations(larger, rows(sold_desk()), 0))) == 1
    return sending_violations(order, (), 0)


def a_smaller_cap(_: Desk) -> Iterable[Violation]:
    desk = sold_desk()
    config = desk.execution_config.cash
    assert list(sale_violations(desk.venue, rows(desk), config, DESK_NUMBER)) == []
    dearer = changed(rows(desk), CashSaleRequested, price=Decimal(1_000_000))
    assert "below its 1000000" in str(next(sale_violations(desk.venue, dearer, config, DESK_NUMBER)))
    kept = msgspec.structs.replace(config, keep=Decimal("0.999"))
    assert "are to be kept" in str(next(sale_violations(desk.venue, rows(desk), kept, DESK_NUMBER)))
    return sale_violations(desk.venue, rows(desk), msgspec.structs.replace(config, cap_usd=Decimal(100)), DESK_NUMBER)


def a_sale_that_sold_more(_: Desk) -> Iterable[Violation]:
    desk = sold_desk()
    book = copy.deepcopy(desk.book)
    next(iter(book.cash.sales.values())).fee_usd = None
    assert any("the venue took" in violation.text for violation in unknown_sales(desk.venue, book, _rule(desk)))
    next(iter(book.cash.sales.values())).filled_quantity += 1
    return unknown_sales(desk.venue, book, _rule(desk))


def a_minimum_that_is_not_there(_: Desk) -> Iterable[Violation]:
    desk = sold_desk()
    return unkept_minimum(
        desk.venue, msgspec.structs.replace(_rule(desk), minimum_usdt=Decimal(10**6), target_usdt=Decimal(0))
    )


def _rule(desk: Desk) -> Any:
    return desk.execution_config.cash


def test_what_was_sold_restores_the_minimum_and_every_promise_is_kept() -> None:
    desk = sold_desk()
    (sale, *_) = desk.book.cash.sales.values()
    assert sale.filled_quantity > 0
    assert desk.venue.exchange.account_summary(desk.venue.account_id).cash >= _rule(desk).minimum_usdt
    assert {violation.invariant for violation in violations_at_rest(desk)} == {"trades_again"}, "nothing trades here"


def test_a_sale_that_counts_as_refused_and_traded_is_caught() -> None:
    desk = sold_desk()
    assert list(untrue_sales(rows(desk), desk.venue)) == []
    refused = changed(rows(desk), CashSaleMoved, state="REFUSED")
    assert "counted as REFUSED" in str(next(untrue_sales(refused, desk.venue)))


def test_an_offer_by_hand_claims_coins_that_the_desk_sees_claimed() -> None:
    scenario = cash_rule(_SEED)
    desk = Desk(Engine(scenario.start_ns, _SEED), Faults.none(), (), scenario.exchange, scenario.execution)
    desk.engine.run_until(scenario.start_ns + 5 * SECOND)
    desk.venue.cash.rest_foreign("BTCUSDT", Decimal("0.5"))
    seen: list[Any] = []
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    desk.nodes["execution"].on_batch = lambda items, now_ns: seen.extend(items)
    desk.engine.run_until(desk.engine.now_ns + 5 * SECOND)
    read = next(item for item in seen if type(item).__name__ == "CashRead")
    assert read.seen.claimed == Decimal("0.5")
    desk.venue.cash.withdraw_foreign()
    assert desk.venue.exchange.spot.open_orders(desk.venue.account_id) == []


def test_under_faults_sales_are_made_and_every_promise_is_kept() -> None:
    directed = DIRECTED["cash_rule"]
    verdict = simulate(0, directed.faults, directed.scenario(0))
    assert verdict.violations == ()
    assert "cash sale moved" in verdict.reached.rows
