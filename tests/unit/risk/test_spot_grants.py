"""Grants for coins of spot: paid for in USDT, with no margin, a delta of one, and no more to lose than they cost."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.risk.margin import StructureLeg, worst_loss
from services.risk.margin_models import margins_of
from shared.messages.account import AccountSnapshot
from shared.messages.steps import Publish, StreamSynced
from shared.messages.trades import Grant, LegOrder, TradeUpdate
from tests.unit.perpetuals import chain_with, with_perpetual
from tests.unit.risk.desk import (
    CALL_110,
    INDEX,
    LISTED,
    PUT_90,
    SECOND,
    START,
    Script,
    account,
    ask,
    chain,
    leg,
    limits,
    polled,
    trade,
)
from tests.unit.spot_pairs import chain_with_pair, with_pair

LISTING = with_pair(with_perpetual(LISTED))
COINS = leg("BTCUSDT", "buy", "0.1")
WORST = 100_500.0
"""Half a per cent past the middle of the book."""

COST = 0.1 * WORST
FEE = 0.1 * 0.001 * WORST


class SpotScript(Script):
    """A market whose lists and chains have the pair and the perpetual beside the options."""

    def market(self, at_s: float = 0.0, **changes: object) -> Script:
        self.hear(LISTING, at_s)
        plain = chain(START + int(at_s * SECOND), **changes)  # type: ignore[arg-type]
        with_future = chain_with(plain, LISTING, INDEX)
        self.hear(chain_with_pair(with_future, LISTING, INDEX - 10, INDEX + 10), at_s)
        return self

    def funded(self, usdt: str, equity: str = "1000000", at_s: float = 0.0) -> Script:
        """An account with so many USDT among what it is worth."""
        read = polled(START + int(at_s * SECOND), account(equity))
        told = msgspec.structs.replace(read.account, balances={"USDT": Decimal(usdt)})
        self.told = self.on(msgspec.structs.replace(read, account=told), at_s)
        return self

    def shown(self) -> AccountSnapshot:
        published = [each.message for each in self.told.effects if isinstance(each, Publish)]
        (found,) = [each for each in published if isinstance(each, AccountSnapshot)]
        return found


def _script(**changes: Any) -> SpotScript:
    script = SpotScript(limits(max_underlying_notional_pct=1e6, max_expiry_notional_pct=1e6, **changes))
    script.ready()
    script.funded("1000000")
    return script


def _ask(*legs: LegOrder, intent_id: str = "s-1", max_loss_usd: float | None = None) -> Any:
    return ask(intent_id, legs, max_loss_usd=max_loss_usd)


def _held(grant: Grant, filled: str, fee: str, *, closed: str = "0", state: Any = "OPEN") -> TradeUpdate:
    """A trade that bought coins at 100,000."""
    update = trade(grant, START, state=state, grant_open=False)
    first = msgspec.structs.replace(
        update.legs[0],
        filled_quantity=Decimal(filled),
        closed_quantity=Decimal(closed),
        fee_quantity=Decimal(fee),
        open_price=Decimal(100_000),
    )
    return msgspec.structs.replace(update, legs=(first, *update.legs[1:]))


def test_coins_tie_up_what_they_cost_with_the_fee_and_can_lose_no_more() -> None:
    grant = _script().granted(_ask(COINS))
    (allowed,) = grant.legs
    assert (allowed.symbol, allowed.worst_price) == ("BTCUSDT", Decimal(100_500))
    assert grant.margin_usd == pytest.approx(COST + FEE)
    assert grant.max_loss_usd == pytest.approx(COST + FEE)


def test_coins_bound_the_loss_of_a_call_that_is_sold() -> None:
    script = _script(allow_unbounded_loss=False)
    grant = script.granted(_ask(COINS, leg(CALL_110, "sell", "0.1")))
    premium = 0.1 * float(grant.legs[1].worst_price)
    assert grant.max_loss_usd is not None
    assert COST - premium < grant.max_loss_usd < COST - premium + 2 * FEE
    assert script.refused(_ask(leg(CALL_110, "sell", "0.1"), intent_id="s-2")).code == "unbounded_loss"


@pytest.mark.parametrize(
    ("legs", "loss"),
    [
        ([(0.1, 100_000.0, "spot")], 10_000.0),
        ([(0.1, 100_000.0, "spot"), (-0.1, 100_200.0, "perpetual")], 0.0),
        ([(0.1, 100_000.0, "spot"), (-0.2, 100_200.0, "perpetual")], math.inf),
        ([(0.1, 100_000.0, "perpetual")], math.inf),
    ],
)
def test_coins_lose_what_they_cost_and_cover_a_future_that_is_sold(legs: Any, loss: float) -> None:
    structure = [
        StructureLeg(
            quantity=quantity,
            worst_price=price,
            index=INDEX,
            strike=0.0,
            mark=INDEX,
            is_call=True,
            expiry_ns=2**62,
            kind=kind,
        )
        for quantity, price, kind in legs
    ]
    assert worst_loss(structure) == pytest.approx(loss)


def test_no_two_grants_spend_the_same_usdt() -> None:
    script = _script()
    script.funded("15000")
    script.granted(_ask(COINS))
    refused = script.refused(_ask(COINS, intent_id="s-2"))
    assert (refused.code, refused.limit) == ("cash", 15_000.0)
    assert refused.value == pytest.approx(2 * COST)
    options = script.granted(_ask(leg(CALL_110, "buy", "2"), intent_id="s-4"))
    refused = script.refused(_ask(leg("BTCUSDT", "buy", "0.01"), intent_id="s-5"))
    premium = 2 * float(options.legs[0].worst_price)
    assert (refused.code, refused.value) == ("cash", pytest.approx(COST + premium + COST / 10))
    script.granted(_ask(leg(PUT_90, "buy", "0.1"), intent_id="s-3"))


@pytest.mark.parametrize(
    ("legs", "code", "says"),
    [
        ((leg("BTCUSDT", "sell", "0.1"),), "bad_structure", "did not buy"),
        ((leg("ETHUSDT", "buy", "0.1"),), "unknown_instrument", "[desk] spot = true"),
        ((leg("BTCUSDT", "buy", "0.0001"),), "order_quantity", "at least 0.0002"),
    ],
)
def test_what_cannot_be_bought_is_refused(legs: tuple[LegOrder, ...], code: str, says: str) -> None:
    refused = _script().refused(_ask(*legs))
    assert refused.code == code
    assert says in refused.detail


@pytest.mark.parametrize("mode", ["rfq", "quoting"])
def test_coins_are_not_bought_by_quotes(mode: Any) -> None:
    refused = _script().refused(msgspec.structs.replace(_ask(COINS), execution_mode=mode))
    assert refused.code == "bad_structure"
    assert f"not traded in mode {mode}" in refused.detail


def test_a_wide_book_does_not_carry_the_worst_price_away_from_the_index() -> None:
    script = _script()
    plain = chain_with(chain(START), LISTING, INDEX)
    script.hear(chain_with_pair(plain, LISTING, INDEX - 10, INDEX * 1.2))
    refused = script.refused(_ask(COINS))
    assert (refused.code, refused.limit) == ("price_collar", INDEX * 1.01)


def test_coins_that_trades_hold_are_positions_with_a_delta_and_those_of_the_account_are_not() -> None:
    script = _script()
    grant = script.granted(_ask(COINS))
    script.hear(_held(grant, "0.1", "0.0001"), publisher="execution")
    script.funded("990000")
    (coins,) = script.shown().positions
    assert (coins.symbol, coins.underlying, coins.quantity) == ("BTCUSDT", "BTCUSD", Decimal("0.0999"))
    assert (coins.average_price, coins.mark, coins.unrealized_pnl_usd) == (Decimal(100_000), INDEX, pytest.approx(0))
    assert script.shown().greeks["BTCUSD"].delta == pytest.approx(0.0999)
    assert script.shown().greeks_complete
    script.hear(_held(grant, "0.1", "0.0001", closed="0.0999", state="CLOSED"), publisher="execution")
    script.funded("1000000")
    assert script.shown().positions == ()


def test_a_new_execution_tells_of_the_coins_anew() -> None:
    script = _script()
    grant = script.granted(_ask(COINS))
    script.hear(_held(grant, "0.1", "0.0001"), publisher="execution")
    script.hear(_held(grant, "0.1", "0.0001"), publisher="execution", epoch=2)
    script.epoch = 2
    script.funded("990000")
    assert [each.quantity for each in script.shown().positions] == [Decimal("0.0999")]
    script.hear(trade(grant, START), publisher="execution", epoch=3)
    script.funded("990000")
    assert script.shown().positions == ()


def test_what_was_told_of_coins_stays_until_a_new_execution_has_told_of_all_its_trades() -> None:
    script = _script()
    grant = script.granted(_ask(COINS))
    script.hear(_held(grant, "0.1", "0.0001"), publisher="execution")
    other = msgspec.structs.replace(_held(grant, "0.2", "0.0002"), trade_id="t2")
    script.hear(other, publisher="execution", epoch=2)
    script.funded("990000")
    assert [each.quantity for each in script.shown().positions] == [Decimal("0.2997")]
    script.on(StreamSynced("execution", 2))
    script.funded("990000")
    assert [each.quantity for each in script.shown().positions] == [Decimal("0.1998")]


def test_greeks_are_not_complete_before_execution_has_told_once_which_coins_trades_hold() -> None:
    script = SpotScript()
    script.market()
    script.funded("1000000")
    assert not script.shown().greeks_complete
    script.on(StreamSynced("execution", 1))
    script.funded("1000000")
    assert script.shown().greeks_complete


def test_coins_need_no_margin_by_any_model() -> None:
    script = _script()
    found = margins_of(script.config, script.core._market, {"BTCUSDT": 5.0}, START)
    assert {name: margin.initial for name, margin in found.items()} == {"standard": 0.0, "portfolio": 0.0}


def test_the_option_alone_is_granted_on_the_same_chain() -> None:
    _script().granted(_ask(leg(CALL_110, "sell", "0.1"), max_loss_usd=500.0))
