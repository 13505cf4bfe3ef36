"""Every check says no with its own code, the figure and the limit, and yes on the other side of the limit."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.risk.checks import CHECKS, GATES
from services.risk.config import RiskConfig
from services.risk.market import MarketView, OptionFacts
from services.risk.situation import worst_price
from shared.messages.base import Side
from shared.messages.market import CHAIN_COLUMNS
from shared.messages.steps import StreamSynced
from shared.options.chain import matrix_bytes
from tests.unit.risk.desk import (
    CALL_100,
    CALL_110,
    CALL_120,
    EXPIRY,
    LISTED,
    PUT_90,
    PUT_100,
    SECOND,
    START,
    STRANGLE,
    Script,
    account,
    ask,
    chain,
    leg,
    limits,
    position,
)


def test_a_check_stands_once_in_its_list() -> None:
    assert len({*GATES, *CHECKS}) == len(GATES) + len(CHECKS)


def test_nothing_is_granted_before_execution_has_replayed() -> None:
    script = Script()
    script.market().poll()
    assert script.refused(ask()).detail == "execution has not replayed its trades yet"


def test_nothing_is_granted_before_the_account_was_read() -> None:
    script = Script().market()
    script.on(StreamSynced("execution", 1))
    assert script.refused(ask()).detail == "the account has not been read yet"


def test_an_intent_is_refused_from_the_instant_it_is_valid_until() -> None:
    script = Script().ready()
    script.granted(ask("s-1", valid_until_ns=START + 1))
    assert script.refused(ask("s-2", valid_until_ns=START)).code == "intent_expired"


def test_an_account_older_than_tolerated_is_stale() -> None:
    script = Script().ready().market(10)
    script.granted(ask("s-1"), 10)
    script.market(10.1)
    refused = script.refused(ask("s-2"), 10.1)
    assert (refused.code, refused.value, refused.limit) == ("stale_account", 10_100, 10_000)


def test_a_chain_older_than_tolerated_is_stale() -> None:
    script = Script().ready()
    script.poll(5)
    script.granted(ask("s-1"), 5)
    assert script.refused(ask("s-2"), 5.1).code == "stale_market"


def test_a_fresh_chain_with_an_old_index_is_stale() -> None:
    script = Script().ready()
    script.poll(60)
    frozen = msgspec.structs.replace(chain(START + 60 * SECOND), index_received_ns=START)
    script.hear(frozen, 60)
    refused = script.refused(ask(), 60)
    assert (refused.code, refused.detail) == ("stale_market", "BTCUSD is 60.0 s old")
    script.hear(chain(START + 60 * SECOND), 60)
    script.granted(ask(), 60)


def test_a_chain_without_an_index_is_stale_until_one_with_an_index_comes() -> None:
    script = Script().ready()
    silent = msgspec.structs.replace(chain(START + SECOND), index_price=float("nan"))
    script.hear(silent, 1)
    refused = script.refused(ask(), 1)
    assert (refused.code, refused.detail) == ("stale_market", "BTCUSD has no index")
    script.hear(chain(START + 2 * SECOND), 2)
    script.granted(ask(), 2)


def test_a_chain_of_an_unknown_list_says_nothing() -> None:
    script = Script().ready()
    script.hear(msgspec.structs.replace(chain(START + 20 * SECOND), list_id="unknown"), 20)
    script.poll(20)
    assert script.refused(ask(), 20).code == "stale_market"


def test_old_lists_are_forgotten_and_the_newest_stay() -> None:
    market = MarketView(age_max_ns=SECOND)
    for number in range(10):
        market.on_list(msgspec.structs.replace(LISTED, list_id=str(number)))
    market.on_chain(msgspec.structs.replace(chain(START), list_id="0"))
    assert market.option(CALL_110) is None
    market.on_chain(msgspec.structs.replace(chain(START), list_id="9"))
    assert market.option(CALL_110) is not None


def test_an_unlisted_symbol_is_named() -> None:
    refused = Script().ready().refused(ask(legs=(leg("BTCUSD-27MAR26-1-C", "buy", "0.1"),)))
    assert (refused.code, refused.detail) == ("unknown_instrument", "not in the chain: BTCUSD-27MAR26-1-C")


def test_an_option_about_to_stop_trading_is_refused() -> None:
    script = Script()
    at_s = (EXPIRY - START) / SECOND - 900 - 119
    script.ready(at_s)
    assert script.refused(ask(valid_until_ns=EXPIRY), at_s).code == "last_trade"


@pytest.mark.parametrize("column", ["mark", "delta", "gamma", "vega", "theta", "rho"])
def test_a_missing_mark_or_greek_is_never_zero(column: str) -> None:
    script = Script().ready()
    script.market(1, missing={column: (CALL_110,)})
    assert script.refused(ask(), 1).code == "no_mark"


@pytest.mark.parametrize(
    "legs",
    [
        (),
        tuple(leg(f"BTCUSD-27MAR26-{n}-C", "buy", "1") for n in range(9)),
        (leg(CALL_110, "buy", "1"), leg(CALL_110, "sell", "1")),
        (leg(CALL_110, "buy", "0"),),
        (leg(CALL_110, "buy", "-1"),),
        (leg(CALL_110, "buy", "NaN"),),
    ],
    ids=["no legs", "too many legs", "one symbol twice", "zero", "negative", "not a number"],
)
def test_a_structure_that_makes_no_sense_is_refused(legs: tuple[object, ...]) -> None:
    assert Script().ready().refused(ask(legs=legs)).code == "bad_structure"  # type: ignore[arg-type]


@pytest.mark.parametrize("quantity", ["0.001", "0.015", "50.01"])
def test_a_quantity_below_the_minimum_off_the_lot_or_above_the_limit_is_refused(quantity: str) -> None:
    assert Script().ready().refused(ask(legs=(leg(CALL_110, "buy", quantity),))).code == "order_quantity"


LIMITS = [
    ("order_notional", {"max_order_notional_usd": 10_999.0}, {"max_order_notional_usd": 11_000.0}),
    ("position_limit", {"max_position_quantity": Decimal("0.09")}, {"max_position_quantity": Decimal("0.1")}),
    ("delta_limit", {"max_delta_usd": 2_000.0}, {"max_delta_usd": 10_000.0}),
    ("gamma_limit", {"max_gamma_usd": 100.0}, {"max_gamma_usd": 10_000.0}),
    ("vega_limit", {"max_vega_usd": 1.0}, {"max_vega_usd": 100.0}),
    ("theta_limit", {"max_theta_usd": 1.0}, {"max_theta_usd": 100.0}),
    ("margin_utilisation", {"max_margin_utilisation_pct": 0.1}, {"max_margin_utilisation_pct": 2.0}),
    ("trade_risk", {"max_trade_risk_pct": 0.1}, {"max_trade_risk_pct": 2.0}),
    ("total_risk", {"max_total_risk_pct": 0.1}, {"max_total_risk_pct": 2.0}),
    ("underlying_concentration", {"max_underlying_notional_pct": 9.9}, {"max_underlying_notional_pct": 10.0}),
    ("expiry_concentration", {"max_expiry_notional_pct": 9.9}, {"max_expiry_notional_pct": 10.0}),
]


@pytest.mark.parametrize(("code", "tight", "wide"), LIMITS, ids=[code for code, _, _ in LIMITS])
def test_each_limit_refuses_above_it_and_allows_below(
    code: str, tight: dict[str, object], wide: dict[str, object]
) -> None:
    refused = Script(limits(**tight)).ready().refused(ask())
    assert refused.code == code
    assert refused.value is not None
    assert refused.limit == pytest.approx(float(str(*tight.values())))
    assert refused.limit is not None
    assert refused.value > refused.limit
    Script(limits(**wide)).ready().granted(ask())


def test_a_trade_that_brings_the_portfolio_back_towards_its_limit_is_allowed() -> None:
    script = Script(limits(max_delta_usd=10_000.0))
    script.ready(positions=(position(CALL_100, "0.5"),))
    assert script.refused(ask("more")).code == "delta_limit"
    script.granted(ask("less", (leg(CALL_110, "sell", "0.1"),)))


def test_positions_of_one_option_count_with_outstanding_grants_in_the_worst_direction() -> None:
    script = Script(limits(max_position_quantity=Decimal("0.3")))
    script.ready(positions=(position(CALL_110, "0.1"),))
    script.granted(ask("s-1"))
    script.granted(ask("s-2", (leg(CALL_110, "sell", "0.1"),)))
    script.granted(ask("s-3"))
    assert script.refused(ask("s-4")).value == 0.4


def test_outstanding_sales_give_no_room_to_buy_past_the_limit_of_positions() -> None:
    script = Script(limits(max_position_quantity=Decimal("0.4")))
    script.ready(positions=(position(CALL_110, "0.3"),))
    script.granted(ask("s-1", (leg(CALL_110, "sell", "0.3"),)))
    script.poll()
    script.granted(ask("s-2", (leg(CALL_110, "buy", "0.1"),)))
    assert script.refused(ask("s-3", (leg(CALL_110, "buy", "0.4"),))).value == 0.5


def test_what_is_held_gives_no_room_on_the_other_side_as_it_may_be_closed_already() -> None:
    script = Script(limits(max_position_quantity=Decimal("0.4")))
    script.ready(positions=(position(CALL_110, "-0.3"),))
    script.granted(ask("s-1", (leg(CALL_110, "buy", "0.3"),)))
    assert script.refused(ask("s-2", (leg(CALL_110, "buy", "0.3"),))).value == 0.6


def test_outstanding_sales_give_no_room_to_buy_past_the_limit_of_a_greek() -> None:
    a_tenth = Script(limits(max_delta_usd=1.0)).ready().refused(ask("probe", (leg(CALL_110, "buy", "0.1"),))).value
    assert a_tenth is not None
    script = Script(limits(max_delta_usd=4.5 * a_tenth))
    script.ready(positions=(position(CALL_110, "0.4"),))
    for number in (1, 2):
        script.granted(ask(f"s-{number}", (leg(CALL_110, "sell", "0.3"),)))
    script.poll()
    assert script.refused(ask("s-3", (leg(CALL_110, "buy", "0.5"),))).value == pytest.approx(5 * a_tenth, rel=0.01)


def test_a_position_without_greeks_makes_the_portfolio_limits_wait() -> None:
    script = Script().ready(positions=(position("BTCUSD-1JAN26-50000-C", "1"),))
    assert script.refused(ask()).code == "greeks_unknown"


def test_an_outstanding_grant_without_greeks_makes_the_portfolio_limits_wait() -> None:
    script = Script().ready()
    script.granted(ask("s-1"))
    script.market(1, missing={"vega": (CALL_110,)})
    assert script.refused(ask("s-2", (leg(CALL_120, "buy", "0.1"),)), 1).code == "greeks_unknown"


def test_margin_counts_what_other_grants_have_reserved() -> None:
    script = Script().ready(figures=account("100000", available="4000"))
    first = script.granted(ask("s-1", STRANGLE))
    assert 2_000 < first.margin_usd < 4_000
    refused = script.refused(ask("s-2", STRANGLE))
    assert (refused.code, refused.limit) == ("margin", 4_000)
    assert refused.value == pytest.approx(2 * first.margin_usd)


def test_no_equity_no_grant() -> None:
    assert Script().ready(figures=account("0")).refused(ask()).code == "no_equity"


def test_an_unbounded_loss_needs_a_declared_maximum_where_the_configuration_says_so() -> None:
    strict = limits(allow_unbounded_loss=False)
    assert Script(strict).ready().refused(ask(legs=STRANGLE)).code == "unbounded_loss"
    grant = Script(strict).ready().granted(ask(legs=STRANGLE, max_loss_usd=500.0))
    assert grant.max_loss_usd == 500.0
    assert Script().ready().granted(ask(legs=STRANGLE)).max_loss_usd is None


def test_a_structure_that_is_bounded_is_judged_by_its_own_bound_whatever_it_declares() -> None:
    grant = Script().ready().granted(ask(max_loss_usd=1.0))
    premium = float(grant.legs[0].worst_price) * 0.1
    assert grant.max_loss_usd == pytest.approx(premium + 4.0)


def test_trades_and_unused_grants_count_as_open_trades() -> None:
    script = Script(limits(max_open_trades=2)).ready()
    script.granted(ask("s-1"))
    script.granted(ask("s-2"))
    refused = script.refused(ask("s-3"))
    assert (refused.code, refused.value, refused.limit) == ("open_trades", 3, 2)


def test_grants_per_minute_are_counted_across_a_restart() -> None:
    script = Script(limits(max_grants_per_minute=2)).ready()
    script.granted(ask("s-1"), 0)
    script.granted(ask("s-2"), 1)
    script.restart(2)
    script.ready(2)
    assert script.refused(ask("s-3"), 2).code == "grant_rate"
    script.market(60.5).poll(60.5)
    script.granted(ask("s-3"), 60.5)


def test_a_book_far_from_the_mark_is_outside_the_collar() -> None:
    script = Script(limits(collar_pct=0.5, collar_index_pct=0.0, collar_ticks=0)).ready()
    for side in ("buy", "sell"):
        script.granted(ask(f"near-{side}", (leg(CALL_110, side, "0.1"),)))
    wide = msgspec.structs.replace(chain(START), matrix=_with_book(bid=9_000.0, ask=9_100.0))
    script.hear(wide)
    assert script.refused(ask("far-buy")).code == "price_collar"
    script.hear(msgspec.structs.replace(chain(START), matrix=_with_book(bid=1.0, ask=2.0)))
    assert script.refused(ask("far-sell", (leg(CALL_110, "sell", "0.1"),))).code == "price_collar"


def test_a_leg_without_a_book_is_priced_from_its_mark() -> None:
    script = Script().ready()
    script.market(1, missing={"bid": (CALL_110,), "ask": (CALL_110,)})
    script.granted(ask(), 1)


def test_an_option_below_one_tick_cannot_be_bought() -> None:
    script = Script(limits(collar_index_pct=0.0, collar_ticks=0)).ready()
    script.hear(msgspec.structs.replace(chain(START), matrix=_with_book(mark=0.2)))
    assert script.refused(ask()).code == "price_collar"


def _with_book(**values: float) -> memoryview:
    """The chain at START with other values in the row of CALL_110."""
    matrix = np.frombuffer(chain(START).matrix).reshape(len(CHAIN_COLUMNS), -1).copy()
    column = [option.symbol for option in LISTED.instruments].index(CALL_110)
    for name, value in values.items():
        matrix[CHAIN_COLUMNS.index(name), column] = value
    return matrix_bytes(matrix)


@given(
    mark=st.floats(0.01, 50_000),
    index=st.floats(1_000, 200_000),
    delta=st.floats(-1, 1),
    side=st.sampled_from(["buy", "sell"]),
)
def test_the_worst_price_is_on_the_tick_inside_collar_and_venue_band(
    mark: float, index: float, delta: float, side: Side
) -> None:
    config = RiskConfig()
    market = MarketView(age_max_ns=SECOND)
    market.on_list(LISTED)
    market.on_chain(chain(START))
    listed = market.option(CALL_110)
    assert listed is not None
    greeks = (delta, *listed.greeks[1:])
    facts = OptionFacts(instrument=listed.instrument, index=index, bid=mark, ask=mark, mark=mark, greeks=greeks)
    price = worst_price(config, side, facts)
    collar = max(0.2 * mark, 0.001 * index, 5.0)
    reach = index * max(1.0, 4 * abs(delta))
    if price is None:
        assert side == "buy"
        return
    assert price % 1 == 0
    assert price >= 1
    if side == "buy":
        assert float(price) <= min(mark + collar, mark + 0.05 * reach) + 1e-6
    else:
        assert float(price) >= max(1.0, mark - collar, mark - 0.01 * reach) - 1e-6


def test_a_leg_of_another_option_leaves_the_position_limit_alone() -> None:
    script = Script(limits(max_position_quantity=Decimal("0.1"))).ready(positions=(position(PUT_100, "0.1"),))
    script.granted(ask("s-1", (leg(PUT_90, "buy", "0.1"),)))


@pytest.mark.parametrize("declared", [-5.0, float("nan"), float("inf"), float("-inf")])
def test_a_declared_loss_that_bounds_nothing_is_refused(declared: float) -> None:
    refused = Script().ready().refused(ask(legs=STRANGLE, max_loss_usd=declared))
    assert (refused.code, "max_loss_usd" in refused.detail) == ("bad_structure", True)


def test_what_is_published_of_a_refused_request_is_short() -> None:
    legs = (leg("X" * 60_000, "buy", "1"),)
    refused = Script().ready().refused(ask("i" * 60_000, legs))
    assert (refused.code, len(refused.intent_id)) == ("unknown_instrument", 200)
    assert len(refused.detail) <= 500
