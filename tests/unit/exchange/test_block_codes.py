"""Block trades between two accounts by code."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from services.exchange.core import ExchangeCore
from services.exchange.model import Rejection
from services.exchange.rfq_model import BlockOffer, BlockTrade, BlockTradeEvent, OfferLeg, Role
from tests.unit.exchange.harness import SECOND_NS, A, B, D
from tests.unit.exchange.rfq_harness import BUY, SELL, RfqVenue
from tests.unit.exchange.test_properties import through_the_wire


def legs_of(desk: RfqVenue, quantity: str = "0.5") -> tuple[OfferLeg, ...]:
    first, second = desk.spread(quantity)
    return (OfferLeg(first.symbol, BUY, D(quantity), D(2500)), OfferLeg(second.symbol, SELL, D(quantity), D(1600)))


def offer(desk: RfqVenue, legs: tuple[OfferLeg, ...], role: Role = "TAKER", account_id: str = A) -> Any:
    return desk.do(desk.core.rfq.offer_block(account_id, role, legs, desk.now_ns))


def accept(desk: RfqVenue, offer_id: int, role: Role = "MAKER", account_id: str = B) -> Any:
    return desk.do(desk.core.rfq.accept_offer(account_id, role, offer_id, desk.now_ns))


def code_of(result: Any) -> int:
    assert isinstance(result, Rejection), result
    return result.code


@pytest.mark.parametrize(("role", "other"), [("TAKER", "MAKER"), ("MAKER", "TAKER")])
def test_who_offers_has_the_legs_as_offered_and_who_accepts_the_opposite(role: Role, other: Role) -> None:
    desk = RfqVenue(dealers=())
    legs = legs_of(desk)
    offered = offer(desk, legs, role)
    block = accept(desk, offered.offer_id, other)
    assert isinstance(block, BlockTrade)
    assert [desk.position(A, leg.symbol) for leg in legs] == [D("0.5"), D("-0.5")]
    assert [desk.position(B, leg.symbol) for leg in legs] == [D("-0.5"), D("0.5")]
    assert (block.role_of(A), block.role_of(B)) == (role, other)
    assert (block.block_id, block.request_id, block.quote_id) == (offered.offer_id, None, None)
    assert {fill.is_taker for fill in desk.fills(A)} == {role == "TAKER"}
    assert [type(event) for event in desk.last_events].count(BlockTradeEvent) == 1
    assert code_of(accept(desk, offered.offer_id, other)) == 10592
    desk.assert_books_balance()
    assert ExchangeCore.restore(desk.config, desk.started_ns, through_the_wire(desk.rows)).state == desk.core.state


def test_a_code_can_be_used_while_it_lives_by_the_other_role_of_another_account() -> None:
    desk = RfqVenue(dealers=())
    offered = offer(desk, legs_of(desk))
    assert code_of(accept(desk, offered.offer_id, "TAKER")) == 10571
    assert code_of(accept(desk, offered.offer_id, account_id=A)) == 10001
    assert code_of(accept(desk, offered.offer_id + 1)) == 10592
    desk.wait(300 * SECOND_NS)
    assert code_of(accept(desk, offered.offer_id)) == 10592
    assert not desk.fills(A)
    offer(desk, legs_of(desk))
    assert offered.offer_id not in desk.core.state.rfq.offers


def test_neither_side_trades_what_one_of_them_cannot_afford() -> None:
    desk = RfqVenue(dealers=())
    desk.do(desk.core.withdraw(B, D(999_000), desk.now_ns))
    offered = offer(desk, legs_of(desk, "20"))
    assert code_of(accept(desk, offered.offer_id)) == 10529
    poor = offer(desk, legs_of(desk, "20"), account_id=B)
    assert code_of(accept(desk, poor.offer_id, account_id=A)) == 10529
    assert not desk.fills(A)
    assert not desk.fills(B)


def test_what_is_wrong_with_an_offer_has_its_code() -> None:
    desk = RfqVenue(dealers=())
    first, second = legs_of(desk)
    refused = {
        "no legs": (),
        "an unknown option": (replace(first, symbol="BTCUSD-1JAN26-1-C"),),
        "one option twice": (first, replace(second, symbol=first.symbol)),
        "below the minimum": (replace(first, quantity=D("0.001")),),
        "off the tick": (replace(first, price=D("2500.05")),),
        "no price": (replace(first, price=D(0)),),
        "too many legs": tuple(replace(first, symbol=f"X{number}") for number in range(21)),
    }
    assert {name: code_of(offer(desk, legs)) for name, legs in refused.items()} == {
        "no legs": 10570,
        "an unknown option": 10574,
        "one option twice": 10573,
        "below the minimum": 10558,
        "off the tick": 10573,
        "no price": 10573,
        "too many legs": 10572,
    }


def test_codes_of_one_account_are_bounded() -> None:
    desk = RfqVenue(dealers=())
    for _ in range(desk.config.rfq.active_requests_max):
        assert isinstance(offer(desk, legs_of(desk)), BlockOffer)
    assert code_of(offer(desk, legs_of(desk))) == 10552
