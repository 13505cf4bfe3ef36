"""Each check of execution's decisions passes a calm run and catches the same run with one thing made wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.execution.config import ExecutionConfig
from services.execution.rows import (
    HaltRaised,
    HaltsLifted,
    OpeningScaled,
    OrderRequested,
    TradeMoved,
    TradeRequested,
)
from shared.messages.steps import Entry, Inbound
from shared.messages.trades import TradeUpdate
from tests.simulation.test_world import calm_desk, run_until
from world.audit import Witness, decision_violations, flip_violations, silent_changes
from world.desk import DESK_NUMBER, Desk
from world.faults import SECOND
from world.simulate import decided_wrongly

pytestmark = pytest.mark.simulation
CONFIG = ExecutionConfig()


@pytest.fixture(scope="module")
def desk() -> Desk:
    """A calm desk in which two trades on one symbol were opened, and at least one was closed."""
    made = calm_desk()
    run_until(made, lambda: sum(trade.state == "CLOSED" for trade in made.book.trades.values()) >= 2, limit_s=300)
    return made


def entries(desk: Desk) -> list[Entry]:
    return list(desk.nodes["execution"].journal.entries)


def judged(rows: list[Entry], witness: Witness) -> str:
    return "\n".join(map(str, decision_violations(rows, CONFIG, witness)))


def first(rows: list[Entry], wanted: Callable[[Any], bool]) -> int:
    return next(number for number, entry in enumerate(rows) if wanted(entry.row))


def is_order(purpose: str) -> Callable[[Any], bool]:
    return lambda row: isinstance(row, OrderRequested) and row.purpose == purpose


def test_a_calm_run_breaks_nothing(desk: Desk) -> None:
    assert decided_wrongly(desk) == []


def test_an_opening_order_after_its_grants_deadline_is_caught(desk: Desk) -> None:
    rows = entries(desk)
    place = first(rows, lambda row: isinstance(row, TradeRequested))
    request = rows[place].row.request
    grant = msgspec.structs.replace(request.grant, deadline_ns=rows[place].at_ns - SECOND)
    row = msgspec.structs.replace(rows[place].row, request=msgspec.structs.replace(request, grant=grant))
    rows[place] = Entry(rows[place].at_ns, "", row)
    assert "1000 ms after its grant's deadline" in judged(rows, desk.witness)


def test_an_opening_order_under_a_halt_and_one_under_an_older_halt_epoch_are_caught(desk: Desk) -> None:
    rows = entries(desk)
    place = first(rows, is_order("open"))
    halt = Entry(rows[place].at_ns, "", HaltRaised(level="no_new_trades", reason="drill", raised_by="operator"))
    assert "was sent under the halt 'drill'" in judged([*rows[:place], halt, *rows[place:]], desk.witness)
    lifted = Entry(rows[place].at_ns, "", HaltsLifted(lifted_by="operator"))
    judgement = judged([*rows[:place], halt, lifted, *rows[place:]], desk.witness)
    assert "was sent under halt epoch 0 of 1" in judgement
    assert "drill" not in judgement


def test_an_opening_order_with_risk_silent_is_caught(desk: Desk) -> None:
    rows = entries(desk)
    at_ns = rows[first(rows, is_order("open"))].at_ns
    deaf = Witness()
    deaf.on_start(at_ns - 4 * SECOND)
    assert "with risk silent for 4000 ms" in judged(rows, deaf)


def with_chain(desk: Desk, at_ns: int, received_ns: int) -> Witness:
    """A witness that saw execution take a list and a chain at `at_ns`, a second after it started."""
    lists = [frame.message for frame in desk.bus.published if frame.topic == "md.BTCUSD.instruments"]
    chain = desk.nodes["execution"].core._work.market._chains["BTCUSD"].snapshot
    witness = Witness()
    witness.on_start(at_ns - SECOND)
    for message in (lists[-1], msgspec.structs.replace(chain, received_ns=received_ns)):
        witness.on_batch([Inbound("md", message, "", "marketdata", 1)], at_ns)
    return witness


def test_an_opening_order_on_an_old_chain_is_caught(desk: Desk) -> None:
    rows = entries(desk)
    at_ns = rows[first(rows, is_order("open"))].at_ns
    witness = with_chain(desk, at_ns - SECOND, received_ns=at_ns - 6 * SECOND)
    assert "was priced on a chain 6000 ms old" in judged(rows, witness)


def test_prices_from_before_a_restart_do_not_count(desk: Desk) -> None:
    rows = entries(desk)
    at_ns = rows[first(rows, is_order("open"))].at_ns
    witness = with_chain(desk, at_ns - SECOND, received_ns=at_ns - SECOND)
    assert "was priced on a chain" not in judged([entry for entry in rows if entry.at_ns <= at_ns], witness)
    witness.on_start(at_ns)
    assert "was priced on a chain" in judged([entry for entry in rows if entry.at_ns <= at_ns], witness)


def test_an_opening_order_larger_than_what_the_trade_lacks_is_caught(desk: Desk) -> None:
    rows = entries(desk)
    place = first(rows, is_order("open"))
    row = rows[place].row
    rows[place] = Entry(rows[place].at_ns, "", msgspec.structs.replace(row, quantity=2 * row.quantity))
    assert f"order {row.client_order_id} opens {2 * row.quantity} {row.symbol}" in judged(rows, desk.witness)


def test_a_trade_that_is_scaled_askew_or_below_what_it_holds_is_caught(desk: Desk) -> None:
    rows = entries(desk)
    opened = first(rows, lambda row: isinstance(row, TradeMoved) and row.state == "OPEN")
    trade_id = rows[opened].row.trade_id
    place = first(rows, lambda row: isinstance(row, TradeRequested) and row.trade_id == trade_id)
    whole = [leg.quantity for leg in rows[place].row.request.legs]

    def scaled(at: int, *quantities: object) -> str:
        row = OpeningScaled(trade_id=trade_id, quantities=quantities, reason="drill")  # type: ignore[arg-type]
        return judged([*rows[:at], Entry(rows[at].at_ns, "", row), *rows[at:]], desk.witness)

    assert "of another leg" not in scaled(place + 1, *(quantity / 2 for quantity in whole))
    assert "of another leg" in scaled(place + 1, whole[0] / 2, *whole[1:])
    assert f"of which {whole[0]} is open" in scaled(opened, *(quantity / 2 for quantity in whole))


def test_a_close_larger_than_what_the_trade_holds_is_caught(desk: Desk) -> None:
    rows = entries(desk)
    place = first(rows, is_order("close"))
    row = msgspec.structs.replace(rows[place].row, quantity=rows[place].row.quantity * 2)
    rows[place] = Entry(rows[place].at_ns, "", row)
    assert f"closes {row.quantity} beside 0 at work" in judged(rows[: place + 1], desk.witness)


def test_a_second_close_beside_one_at_work_is_caught(desk: Desk) -> None:
    rows = entries(desk)
    place = first(rows, is_order("close"))
    again = msgspec.structs.replace(rows[place].row, client_order_id=1, attempt=rows[place].row.attempt + 1)
    judgement = judged([*rows[: place + 1], Entry(rows[place].at_ns, "", again)], desk.witness)
    assert f"order 1 closes {again.quantity} beside {again.quantity} at work" in judgement


def test_a_position_turned_over_at_the_venue_is_caught(desk: Desk) -> None:
    fills = list(desk.venue.exchange.fills(desk.venue.account_id))
    assert list(flip_violations(fills, DESK_NUMBER)) == []
    doubled = [
        msgspec.structs.replace(fill, quantity=fill.quantity * (2 if fill.fill_id == fills[-1].fill_id else 1))
        for fill in fills
    ]
    assert "more than it held" in "\n".join(map(str, flip_violations(doubled, DESK_NUMBER)))


def test_two_trades_on_opposite_sides_of_one_symbol_are_caught(desk: Desk) -> None:
    rows = entries(desk)
    alpha, beta = (
        first(rows, lambda row, name=name: isinstance(row, TradeRequested) and row.request.strategy == name)  # type: ignore[misc]
        for name in ("alpha", "beta")
    )
    request = rows[beta].row.request
    assert request.legs[0].symbol == rows[alpha].row.request.legs[0].symbol
    legs = tuple(msgspec.structs.replace(leg, side="sell") for leg in request.legs)
    row = msgspec.structs.replace(rows[beta].row, request=msgspec.structs.replace(request, legs=legs))
    rows[beta] = Entry(rows[beta].at_ns, "", row)
    assert "the venue nets them" in judged(rows, desk.witness)


def test_a_change_of_state_without_a_reason_is_caught(desk: Desk) -> None:
    rows = entries(desk)
    place = first(rows, lambda row: isinstance(row, TradeMoved) and row.state == "OPEN")
    rows[place] = Entry(rows[place].at_ns, "", msgspec.structs.replace(rows[place].row, reason=""))
    assert "became OPEN without a reason" in judged(rows, desk.witness)
    told = [
        msgspec.structs.replace(frame, message=msgspec.structs.replace(frame.message, reason=""))
        if isinstance(frame.message, TradeUpdate)
        else frame
        for frame in desk.bus.published
    ]
    assert "without a reason" in "\n".join(map(str, silent_changes(told)))
