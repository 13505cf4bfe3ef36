"""The whole desk with somebody's own position at the venue: found, adopted once, closed, and nothing is left."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.exchange import model as ex
from services.execution.rows import DifferenceFound, TradeAdopted
from shared.messages.reconciliation import (
    AdoptPosition,
    DifferenceList,
    ForeignPosition,
    ListDifferences,
    PositionAdopted,
)
from shared.messages.trades import CloseTrade, Refusal
from world.desk import Desk
from world.engine import Engine
from world.faults import SECOND, Faults
from world.scenario import small_exchange
from world.simulate import START_NS

pytestmark = pytest.mark.simulation

CRASHING = Faults(crash_per_minute=2.0, answer_lost=0.2, read_fails=0.2, stream_drop_per_minute=2.0)


def buy_by_hand(desk: Desk, quantity: str) -> str:
    """Somebody buys the first option whose best offer is large enough for all of it; its symbol."""
    chain = desk.venue.exchange.chain("BTCUSD")
    assert chain is not None
    row = next(index for index, size in enumerate(chain.ask_size) if size >= float(quantity))
    desk.venue.by_somebody(
        ex.PlaceOrder(
            symbol=chain.symbols[row],
            side=ex.Side.BUY,
            quantity=Decimal(quantity),
            price=Decimal(repr(float(chain.ask[row]))),
            order_type=ex.OrderType.LIMIT,
            time_in_force="IOC",
            client_order_id=None,
            reduce_only=False,
        )
    )
    assert held(desk) == {chain.symbols[row]: Decimal(quantity)}
    return str(chain.symbols[row])


def held(desk: Desk) -> dict[str, Decimal]:
    return {position.symbol: position.quantity for position in desk.venue.positions()}


def run_for(desk: Desk, seconds: int) -> None:
    desk.engine.run_until(desk.engine.now_ns + seconds * SECOND)


@pytest.mark.parametrize("faults", [Faults.none(), CRASHING], ids=["calm", "crashing"])
def test_a_position_opened_by_hand_is_left_alone_adopted_once_and_closed_like_any_other(faults: Faults) -> None:
    desk = Desk(Engine(START_NS, 5), faults, (), small_exchange(5))
    run_for(desk, 20)
    symbol = buy_by_hand(desk, "0.5")
    for attempt in range(20):
        desk.operate_at(desk.engine.now_ns, "execution", ListDifferences(compare=True), f"compare-{attempt}")
        run_for(desk, 5)
        if desk.book.differences:
            break
    (known,) = [each for each in desk.book.differences.values() if isinstance(each.difference, ForeignPosition)]
    assert (known.difference.symbol, known.difference.quantity, known.stands) == (symbol, Decimal("0.5"), True)
    assert held(desk) == {symbol: Decimal("0.5")}

    adopted: list[PositionAdopted] = []
    for attempt in range(20):
        request = AdoptPosition(symbol=symbol, quantity=None, strategy="byhand", requested_by="operator")
        answers = desk.operate_at(desk.engine.now_ns, "execution", request, f"adopt-{attempt}")
        run_for(desk, 5)
        adopted += [answer for answer in answers if isinstance(answer, PositionAdopted)]
        if any(isinstance(row.row, TradeAdopted) for row in desk.nodes["execution"].journal.entries):
            break
        assert all(isinstance(answer, Refusal) and answer.code == "not_ready" for answer in answers)
    (trade,) = desk.book.trades.values()
    assert (trade.request.strategy, trade.legs[0].held_quantity) == ("byhand", Decimal("0.5"))
    again = desk.operate_at(desk.engine.now_ns, "execution", request, f"adopt-{attempt}")
    other = desk.operate_at(desk.engine.now_ns, "execution", request, "adopt-other")
    run_for(desk, 10)
    given = [answer for answer in [*adopted, *again] if isinstance(answer, PositionAdopted)]
    assert all(answer.trade_id == trade.trade_id for answer in given)
    assert all(isinstance(answer, Refusal) and answer.code in ("claimed", "not_ready") for answer in other)
    assert len(desk.book.trades) == 1

    for attempt in range(20):
        close = CloseTrade(trade_id=trade.trade_id, reason="enough", requested_by="operator")
        desk.operate_at(desk.engine.now_ns, "execution", close, f"close-{attempt}")
        run_for(desk, 10)
        if desk.book.trades[trade.trade_id].is_final:
            break
    ended = desk.book.trades[trade.trade_id]
    assert ended.state == "CLOSED"
    assert held(desk) == {}
    assert ended.legs[0].closed_quantity == Decimal("0.5")
    assert desk.fold() == desk.book


def test_a_comparison_asked_for_by_the_operator_tells_of_the_position_within_seconds() -> None:
    desk = Desk(Engine(START_NS, 6), Faults.none(), (), small_exchange(6))
    run_for(desk, 20)
    symbol = buy_by_hand(desk, "0.1")
    desk.operate_at(desk.engine.now_ns, "execution", ListDifferences(compare=True), "compare")
    run_for(desk, 8)
    answers = desk.operate_at(desk.engine.now_ns, "execution", ListDifferences(), "list")
    run_for(desk, 1)
    (answer,) = answers
    assert isinstance(answer, DifferenceList)
    assert [each.difference.symbol for each in answer.differences] == [symbol]
    rows = [entry.row for entry in desk.nodes["execution"].journal.entries]
    assert sum(isinstance(row, DifferenceFound) for row in rows) == 1
