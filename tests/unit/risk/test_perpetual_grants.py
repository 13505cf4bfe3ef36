"""Grants for perpetuals: what they use of margin and limits, how far they may trade, and what bounds their loss."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.risk.market import DELTA_ONE
from shared.messages.account import AccountSnapshot
from shared.messages.control import RequestGrant
from shared.messages.steps import Publish
from shared.messages.trades import LegOrder
from tests.unit.perpetuals import chain_with, with_perpetual
from tests.unit.risk.desk import (
    CALL_110,
    INDEX,
    LISTED,
    PUT_90,
    START,
    Script,
    account,
    ask,
    chain,
    leg,
    limits,
    position,
    trade,
)

LISTING = with_perpetual(LISTED)
BUY, SELL = (leg("BTCUSD", side, "0.1") for side in ("buy", "sell"))


class PerpetualScript(Script):
    """A market with a perpetual at the index."""

    mark = INDEX

    def market(self, at_s: float = 0.0, **changes: Any) -> Script:
        self.hear(LISTING, at_s)
        self.hear(chain_with(chain(START + int(at_s * 1e9), **changes), LISTING, self.mark), at_s)
        return self


def _ask(*legs: LegOrder, max_loss_usd: float | None = 500.0, intent_id: str = "s-1") -> RequestGrant:
    return ask(intent_id, legs, max_loss_usd=max_loss_usd)


@pytest.mark.parametrize(("one", "worst"), [(BUY, "100500"), (SELL, "99500")])
def test_a_grant_allows_half_a_per_cent_past_mark_and_counts_a_tenth_as_margin(one: LegOrder, worst: str) -> None:
    grant = PerpetualScript().ready().granted(_ask(one))
    (allowed,) = grant.legs
    assert (allowed.max_quantity, allowed.worst_price) == (Decimal("0.1"), Decimal(worst))
    highest = max(float(worst), INDEX)
    # margin of the value, what opening at the worst price loses at once, and the fee
    assert grant.margin_usd == pytest.approx(0.1 * (0.1 * highest + 500.0 + 0.0006 * highest))


@pytest.mark.parametrize("one", [BUY, SELL])
def test_long_or_short_alone_it_needs_a_declared_loss_where_losses_must_have_a_bound(one: LegOrder) -> None:
    script = PerpetualScript(limits(allow_unbounded_loss=False)).ready()
    assert script.refused(_ask(one, max_loss_usd=None)).code == "unbounded_loss"
    assert script.granted(_ask(one)).max_loss_usd == 500.0


def test_one_whose_price_is_old_is_refused_and_options_beside_it_are_granted() -> None:
    script = PerpetualScript().ready()
    snapshot = chain_with(chain(START), LISTING, INDEX)
    assert snapshot.perpetual is not None
    old = msgspec.structs.replace(snapshot.perpetual, received_ns=START - int(5.1e9))
    script.hear(msgspec.structs.replace(snapshot, perpetual=old), 0.0)
    refused = script.refused(_ask(BUY))
    assert (refused.code, refused.value, refused.limit) == ("stale_market", pytest.approx(5_100), 5_000)
    assert "BTCUSD" in refused.detail
    script.granted(_ask(leg(CALL_110, "buy", "0.1"), intent_id="s-2"))


def test_its_delta_is_one_a_coin_and_counts_while_the_grant_is_out() -> None:
    script = PerpetualScript(limits(max_delta_usd=15_000.0)).ready()
    script.granted(_ask(SELL))
    refused = script.refused(_ask(SELL, intent_id="s-2"))
    assert (refused.code, refused.value) == ("delta_limit", pytest.approx(20_000.0))


def test_selling_it_against_a_long_one_brings_delta_back() -> None:
    script = PerpetualScript(limits(max_delta_usd=5_000.0)).ready(positions=(position("BTCUSD", "0.1"),))
    script.granted(_ask(SELL))


def test_its_stress_is_linear_in_spot_and_knows_no_volatility() -> None:
    # spot falls by 20 % at worst: a long tenth of a coin loses 2,000 of 100,000
    for pct, code in ((1.9, "stressed_loss"), (2.1, None)):
        script = PerpetualScript(
            limits(max_stressed_loss_pct=pct, stress_spot_pct=(-20.0, 0.0, 20.0), stress_vol_pct=(-50.0, 0.0, 50.0))
        ).ready()
        answer = script.answer(_ask(BUY))
        assert getattr(answer, "code", None) == code


def test_its_notional_is_its_mark_times_quantity() -> None:
    refused = PerpetualScript(limits(max_order_notional_usd=9_999.0)).ready().refused(_ask(BUY))
    assert (refused.code, refused.value) == ("order_notional", pytest.approx(10_000.0))


def test_a_put_bounds_a_long_one_and_a_call_a_short_one() -> None:
    fees = 0.1 * 0.0006 * 100_500.0
    for option, one, loss in ((PUT_90, BUY, 0.1 * 10_500.0), (CALL_110, SELL, 0.1 * 10_500.0)):
        grant = PerpetualScript().ready().granted(_ask(leg(option, "buy", "0.1"), one, max_loss_usd=None))
        bought, _ = grant.legs
        paid = 0.1 * float(bought.worst_price)
        fee = 0.1 * min(0.0004 * INDEX, 0.125 * float(bought.worst_price))
        assert grant.max_loss_usd == pytest.approx(loss + paid + fee + fees, abs=0.1)


def test_a_call_sold_against_a_long_one_leaves_the_way_down_open() -> None:
    grant = PerpetualScript().ready().granted(_ask(leg(CALL_110, "sell", "0.1"), BUY, max_loss_usd=None))
    assert grant.max_loss_usd is None


def test_without_prices_of_it_nothing_is_granted_and_options_go_on() -> None:
    script = Script().ready()
    assert script.refused(_ask(BUY)).code == "unknown_instrument"
    script.granted(ask("s-2"))


def test_a_position_in_it_has_our_greeks() -> None:
    script = PerpetualScript().ready(positions=(position("BTCUSD", "-0.4"),))
    step = script.poll(1.0, positions=(position("BTCUSD", "-0.4"),))
    (shown,) = [e.message for e in step.effects if isinstance(e, Publish) and isinstance(e.message, AccountSnapshot)]
    greeks = shown.greeks["BTCUSD"]
    assert greeks.delta == pytest.approx(-0.4 * DELTA_ONE[0])
    assert (greeks.gamma, greeks.vega, greeks.theta) == (0.0, 0.0, 0.0)


def _hedge(side: str, quantity: str, ordinal: int = 1) -> RequestGrant:
    request = _ask(leg("BTCUSD", side, quantity), max_loss_usd=None, intent_id=f"s.hedge-{ordinal}")
    return msgspec.structs.replace(request, strategy="s.hedge")


TIGHT = limits(max_trade_risk_pct=1.0, max_total_risk_pct=2.0, allow_unbounded_loss=False)


def test_a_hedge_that_takes_away_delta_is_granted_whatever_it_ties_up() -> None:
    script = PerpetualScript(TIGHT).ready(positions=(position(CALL_110, "-2"),))
    granted = script.granted(_hedge("buy", "0.5"))
    assert granted.margin_usd > 0.02 * 100_000
    assert script.refused(_ask(leg("BTCUSD", "buy", "0.4"), max_loss_usd=None)).code == "unbounded_loss"


@pytest.mark.parametrize(("side", "quantity"), [("sell", "0.5"), ("buy", "1.5")], ids=["adds to it", "turns it over"])
def test_a_hedge_that_leaves_more_delta_than_there_is_has_the_limits_of_any_trade(side: str, quantity: str) -> None:
    held = (position(CALL_110, "-2"),)
    assert PerpetualScript(TIGHT).ready(positions=held).refused(_hedge(side, quantity)).code == "unbounded_loss"
    tight = msgspec.structs.replace(TIGHT, allow_unbounded_loss=True)
    refused = PerpetualScript(tight).ready(positions=held).refused(_hedge(side, quantity))
    assert refused.code == "trade_risk"
    loose = msgspec.structs.replace(tight, max_trade_risk_pct=50.0)
    assert PerpetualScript(loose).ready(positions=held).refused(_hedge(side, quantity)).code == "total_risk"


def test_hedges_that_are_granted_and_not_filled_yet_count_before_the_next_one() -> None:
    script = PerpetualScript(TIGHT).ready(positions=(position(CALL_110, "-2"),))
    script.granted(_hedge("buy", "0.5", 1))
    assert script.refused(_hedge("buy", "0.6", 2)).code == "unbounded_loss"
    script.granted(_hedge("buy", "0.1", 2))


def test_a_short_option_structure_that_was_granted_can_be_hedged_to_its_whole_delta() -> None:
    config = limits(max_trade_risk_pct=2.0, max_total_risk_pct=4.0)
    held = (position(CALL_110, "-1"), position(PUT_90, "-1"), position("BTCUSD", "-0.2"))
    script = PerpetualScript(config).ready(positions=held)
    delta = told_delta(script)
    assert abs(delta) > 0.2
    script.granted(_hedge("buy" if delta < 0 else "sell", f"{abs(delta):.2f}"))


def told_delta(script: Script) -> float:
    shown = script.core.account
    assert shown is not None
    return shown.greeks["BTCUSD"].delta


def test_while_the_breaker_of_losses_is_open_only_a_hedge_that_takes_away_delta_is_granted() -> None:
    held = (position(CALL_110, "-2"),)
    script = PerpetualScript(limits(max_consecutive_losses=1)).ready(positions=held)
    lost = trade(script.granted(ask("s-1")), START, state="CLOSED", grant_open=False)
    legs = tuple(msgspec.structs.replace(each, filled_quantity=Decimal("0.1")) for each in lost.legs)
    script.hear(msgspec.structs.replace(lost, legs=legs, realized_pnl_usd=Decimal(-1)), 1.0, "execution")
    script.market(3.0).poll(3.0, positions=held)
    assert script.refused(ask("s-2"), 3.0).code == "consecutive_losses"
    assert script.refused(_hedge("sell", "0.1"), 3.0).code == "consecutive_losses"
    script.granted(_hedge("buy", "0.1"), 3.0)


def _hedged_ask(coins: float, ordinal: int = 1) -> RequestGrant:
    legs = (leg(CALL_110, "sell", "0.1"), leg(PUT_90, "sell", "0.1"))
    return msgspec.structs.replace(_ask(*legs, intent_id=f"s-{ordinal}"), hedge_coins=coins)


def test_a_trade_is_not_opened_where_its_hedge_at_its_largest_could_not_be_margined() -> None:
    needed = PerpetualScript().ready().granted(_hedged_ask(0.0)).margin_usd
    # 0.1 coins of the perpetual tie up 1,000 USD
    script = PerpetualScript().ready(figures=account(available=f"{needed + 990:.2f}"))
    refused = script.refused(_hedged_ask(0.1))
    assert (refused.code, refused.limit) == ("hedge_margin", pytest.approx(needed + 990, abs=0.01))
    assert "0.1 coins at most" in refused.detail
    script.granted(_hedged_ask(0.0))
    PerpetualScript().ready(figures=account(available=f"{needed + 1_010:.2f}")).granted(_hedged_ask(0.1))


def test_nor_where_it_would_use_more_of_the_equity_than_is_allowed_or_be_too_large_a_position() -> None:
    tight = limits(max_margin_utilisation_pct=3.0)
    assert PerpetualScript(tight).ready().refused(_hedged_ask(0.1)).code == "hedge_margin"
    PerpetualScript(tight).ready().granted(_hedged_ask(0.0))
    small = limits(max_position_quantity=Decimal("0.15"))
    held = (position("BTCUSD", "-0.1"),)
    assert PerpetualScript(small).ready(positions=held).refused(_hedged_ask(0.1)).code == "hedge_position"
    PerpetualScript(small).ready().granted(_hedged_ask(0.1))


@pytest.mark.parametrize(("held", "grants"), [("-0.1", False), ("0.1", True)])
def test_the_position_that_a_hedge_could_make_knows_on_which_side_it_would_be(held: str, grants: bool) -> None:
    script = PerpetualScript(limits(max_position_quantity=Decimal("0.15")))
    script.ready(positions=(position("BTCUSD", held),))
    selling = msgspec.structs.replace(_hedged_ask(0.1), hedge_least_coins=-0.1)
    answer = script.answer(selling)
    assert getattr(answer, "code", None) == (None if grants else "hedge_position")
