"""Grants for dated futures: as for perpetuals, and what their expiry does to the loss of a structure."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.risk.positions import expiry_of
from shared.messages.control import RequestGrant
from shared.messages.trades import LegOrder
from shared.options.instruments import future_expiry_ns
from tests.unit.dated_futures import chain_with_futures, with_futures
from tests.unit.risk.desk import (
    CALL_110,
    EXPIRY,
    INDEX,
    LISTED,
    PUT_90,
    START,
    Script,
    ask,
    chain,
    leg,
    limits,
    position,
)

BEFORE, QUARTER = "BTCUSD-13MAR26", "BTCUSD-26JUN26"
LISTING = with_futures(LISTED, BEFORE, QUARTER)
BUY, SELL = (leg(QUARTER, side, "0.1") for side in ("buy", "sell"))


class FutureScript(Script):
    """A market with the perpetual at the index and two futures a little above."""

    def market(self, at_s: float = 0.0, **changes: object) -> Script:
        self.hear(LISTING, at_s)
        plain = chain(START + int(at_s * 1e9), **changes)  # type: ignore[arg-type]
        marks = {BEFORE: INDEX * 1.001, QUARTER: INDEX * 1.02}
        self.hear(chain_with_futures(plain, LISTING, marks, INDEX), at_s)
        return self


def _ask(*legs: LegOrder, max_loss_usd: float | None = 500.0, intent_id: str = "s-1") -> RequestGrant:
    return ask(intent_id, legs, max_loss_usd=max_loss_usd)


def test_the_options_expire_between_the_two_futures() -> None:
    assert future_expiry_ns(BEFORE) < EXPIRY < future_expiry_ns(QUARTER)


@pytest.mark.parametrize(("one", "worst"), [(BUY, 102_510.0), (SELL, 101_490.0)])
def test_a_grant_allows_half_a_per_cent_past_its_own_mark_and_counts_a_tenth_as_margin(
    one: LegOrder, worst: float
) -> None:
    grant = FutureScript().ready().granted(_ask(one))
    (allowed,) = grant.legs
    assert allowed.worst_price == Decimal(str(worst))
    highest = max(worst, 1.02 * INDEX)
    assert grant.margin_usd == pytest.approx(0.1 * (0.1 * highest + 510.0 + 0.0006 * highest))


def test_its_delta_notional_and_stress_are_those_of_a_coin() -> None:
    refused = FutureScript(limits(max_delta_usd=9_999.0)).ready().refused(_ask(BUY))
    assert (refused.code, refused.value) == ("delta_limit", pytest.approx(10_000.0))
    refused = FutureScript(limits(max_order_notional_usd=10_199.0)).ready().refused(_ask(BUY))
    assert (refused.code, refused.value) == ("order_notional", pytest.approx(10_200.0))
    for pct, code in ((1.9, "stressed_loss"), (2.1, None)):
        spot, vol = (-20.0, 0.0, 20.0), (-50.0, 0.0, 50.0)
        changed = limits(max_stressed_loss_pct=pct, stress_spot_pct=spot, stress_vol_pct=vol)
        assert getattr(FutureScript(changed).ready().answer(_ask(BUY)), "code", None) == code


def test_selling_it_against_a_long_perpetual_brings_delta_back() -> None:
    FutureScript(limits(max_delta_usd=5_000.0)).ready(positions=(position("BTCUSD", "0.1"),)).granted(_ask(SELL))


def test_two_expiries_have_no_bound_between_them() -> None:
    script = FutureScript(limits(allow_unbounded_loss=False)).ready()
    carry = (leg("BTCUSD", "buy", "0.1"), SELL)
    assert script.refused(_ask(*carry, max_loss_usd=None)).code == "unbounded_loss"
    assert script.granted(_ask(*carry, intent_id="s-2")).max_loss_usd == 500.0


@pytest.mark.parametrize(("option", "one"), [(PUT_90, BUY), (CALL_110, SELL)])
def test_an_option_bounds_one_that_outlives_it_and_one_that_it_outlives(option: str, one: LegOrder) -> None:
    for symbol in (QUARTER, BEFORE):
        future = leg(symbol, one.side, "0.1")
        grant = FutureScript().ready().granted(_ask(leg(option, "buy", "0.1"), future, max_loss_usd=None))
        assert grant.max_loss_usd is not None
        assert 900.0 < grant.max_loss_usd < 3_000.0


def test_a_future_covers_no_short_option_that_outlives_it() -> None:
    collar = [leg(PUT_90, "buy", "0.1"), leg(CALL_110, "sell", "0.1")]
    for symbol, bounded in ((QUARTER, True), (BEFORE, False)):
        asked = _ask(*collar, leg(symbol, "buy", "0.1"), max_loss_usd=None)
        assert (FutureScript().ready().granted(asked).max_loss_usd is not None) == bounded


def test_one_without_a_price_is_unknown_and_others_are_granted() -> None:
    script = Script().ready()
    script.hear(LISTING, 0.0)
    script.hear(chain_with_futures(chain(START), LISTING, {QUARTER: INDEX}), 0.0)
    assert script.refused(_ask(leg(BEFORE, "buy", "0.1"))).code == "unknown_instrument"
    script.granted(_ask(BUY, intent_id="s-2"))


def test_in_its_last_hour_it_is_refused_as_an_option_is() -> None:
    script = FutureScript(limits(min_time_to_last_trade_ms=20 * 86_400_000)).ready()
    assert script.refused(_ask(leg(BEFORE, "buy", "0.1"))).code == "last_trade"
    script.granted(_ask(BUY, intent_id="s-2"))


@pytest.mark.parametrize("symbol", ["BTCUSD-6MAR26", "BTCUSD-06MAR26", "BTCUSDT-6MAR26", "BTCUSD-6MAR26-100000-C"])
def test_what_expires_together_is_one_concentration_whatever_form_the_venue_gives_the_future(symbol: str) -> None:
    assert expiry_of(symbol) == "BTCUSD-6MAR26"
    assert [expiry_of(each) for each in ("BTCUSD", "BTCUSDT")] == ["BTCUSD", "BTCUSDT"]
