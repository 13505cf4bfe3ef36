"""Expiries, strikes and ids of listed options."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from services.exchange.config import BTC, ETH, ExchangeConfig, ListingConfig
from services.exchange.core import ExchangeCore
from services.exchange.listing import is_daily, listed_expiries, option_id, strike_grid
from services.exchange.model import InstrumentsEvent
from shared.options import parse_option_symbol
from tests.unit.exchange.harness import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, T0, D, Venue, small_config, with_base

FULL = BTC.listing


def text(expiry_ns: int) -> str:
    return datetime.fromtimestamp(expiry_ns // SECOND_NS, UTC).strftime("%d %b %y %H:%M")


def test_days_weeks_months_and_quarters_are_listed_once_each() -> None:
    assert [text(expiry) for expiry in listed_expiries(FULL, T0)] == [
        "13 Jan 26 08:00",
        "14 Jan 26 08:00",
        "15 Jan 26 08:00",
        "16 Jan 26 08:00",
        "23 Jan 26 08:00",
        "30 Jan 26 08:00",
        "27 Feb 26 08:00",
        "27 Mar 26 08:00",
        "26 Jun 26 08:00",
        "25 Sep 26 08:00",
        "25 Dec 26 08:00",
    ]


@given(at_ns=st.integers(T0, T0 + 3_000 * DAY_NS))
@settings(max_examples=200)
def test_every_expiry_is_later_at_eight_and_longer_ones_on_fridays(at_ns: int) -> None:
    expiries = listed_expiries(FULL, at_ns)
    assert list(expiries) == sorted(set(expiries))
    assert all(expiry > at_ns and expiry % DAY_NS == 8 * HOUR_NS for expiry in expiries)
    assert all(not is_daily(expiry) for expiry in expiries[3:])
    assert sum(expiry <= at_ns + 3 * DAY_NS for expiry in expiries) == 3
    assert expiries[-1] > at_ns + 270 * DAY_NS


def test_the_shipped_configuration_lists_a_market_of_real_size() -> None:
    core = ExchangeCore(ExchangeConfig(), T0)
    assert len(core.instruments("BTC")) >= 600
    assert len(core.instruments("ETH")) >= 450
    for option in core.instruments("ETH"):
        parsed = parse_option_symbol(option.symbol)
        assert parsed.symbol == option.symbol
        assert parsed.expiry_ns == option.expiry_ns
        assert parsed.strike == option.strike
        assert option.tick_size == ETH.tick_size
        assert option.listed_ns == T0


def test_strikes_lie_on_the_grid_around_the_index() -> None:
    strikes = strike_grid(FULL, 100_230.0, DAY_NS, wings=3)
    assert D(100_000) in strikes
    assert all(strike % 500 == 0 and strike > 0 for strike in strikes)
    assert min(strikes) < 90_000 < 110_000 < max(strikes)


def test_far_strikes_below_zero_are_left_out() -> None:
    config = ListingConfig(strike_steps=(D(1), D(1), D(1), D(1)))
    assert min(strike_grid(config, 3.0, DAY_NS, wings=5)) == 1


def test_ids_follow_from_the_symbol_and_have_nineteen_digits() -> None:
    options = ExchangeCore(ExchangeConfig(), T0).instruments("BTC")
    again = ExchangeCore(ExchangeConfig(seed=99), T0).instruments("BTC")
    assert [o.option_id for o in options] == [o.option_id for o in again]
    assert len({o.option_id for o in options}) == len(options)
    assert all(len(str(o.option_id)) == 19 and o.option_id < 2**62 for o in options)
    assert option_id(options[0].symbol) == options[0].option_id


def test_a_day_later_the_first_expiry_is_gone_and_a_new_one_listed() -> None:
    venue = Venue()
    before = {option.expiry_ns for option in venue.core.instruments("BTC")}
    events = venue.wait(22 * HOUR_NS)
    after = {option.expiry_ns for option in venue.core.instruments("BTC")}
    assert InstrumentsEvent("BTC") in events
    assert min(before) not in after
    assert len(after) == len(before)
    assert {o.listed_ns for o in venue.core.instruments("BTC") if o.expiry_ns == min(after)} == {min(before)}


def test_after_a_large_move_strikes_are_added_and_none_removed() -> None:
    venue = Venue()
    weekly = {o.symbol for o in venue.core.instruments("BTC") if o.expiry_ns > T0 + 2 * DAY_NS}
    venue.jump(30.0)
    venue.wait(23 * HOUR_NS)
    now = {o.symbol for o in venue.core.instruments("BTC")}
    assert weekly < now
    assert any(o.strike == 130_000 for o in venue.core.instruments("BTC"))


def test_a_configured_extra_expiry_is_there_and_settles() -> None:
    listing = ListingConfig(
        dailies=1, weeklies=0, monthlies=0, quarterlies=0, strike_steps=(D(1_000),) * 4, extra_expiry_minutes=20
    )
    venue = Venue(with_base(small_config(), listing=listing))
    extra = T0 + 20 * MINUTE_NS
    assert extra in {option.expiry_ns for option in venue.core.instruments("BTC")}
    venue.wait(20 * MINUTE_NS)
    assert extra not in {option.expiry_ns for option in venue.core.instruments("BTC")}
    assert [price.expiry_ns for price in venue.core.delivery_prices("BTC")] == [extra]


def test_an_expiry_listed_at_run_time_on_a_taken_date_has_symbols_of_its_own() -> None:
    venue = Venue(started_ns=T0 - 6 * HOUR_NS)
    known = {option.symbol for option in venue.core.instruments("BTC")}
    extra = venue.now_ns + 20 * MINUTE_NS
    outcome = venue.core.list_expiry("BTC", extra, venue.now_ns)
    venue.keep(outcome.rows, outcome.events)
    new = [option for option in venue.core.instruments("BTC") if option.expiry_ns == extra]
    assert new
    assert not known & {option.symbol for option in new}
    assert {option.strike % 1_000 for option in new} == {Decimal(500)}
    assert ExchangeCore.restore(venue.config, venue.started_ns, venue.rows).instruments(
        "BTC"
    ) == venue.core.instruments("BTC")


def test_an_expiry_in_the_past_or_listed_already_is_refused() -> None:
    venue = Venue()
    known = venue.core.instruments("BTC")[0].expiry_ns
    for expiry in (venue.now_ns, known, venue.now_ns + HOUR_NS + 1):
        assert venue.core.list_expiry("BTC", expiry, venue.now_ns).result.code == 10573  # type: ignore[union-attr]
    assert venue.core.list_expiry("DOGE", known + DAY_NS, venue.now_ns).result.code == 10579  # type: ignore[union-attr]
