"""Symbols are the venue's text; expiry, last trade and time left follow from them."""

import calendar
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.options import (
    OptionSymbol,
    OptionType,
    SymbolError,
    dte,
    format_option_symbol,
    parse_option_symbol,
    years_to_expiry,
)

HOUR_NS = 3_600 * 1_000_000_000
DAY_NS = 24 * HOUR_NS

bases = st.from_regex(r"[A-Z0-9]{1,8}", fullmatch=True)
dates = st.dates(date(2000, 1, 1), date(2099, 12, 31))
strikes = st.decimals(Decimal("0.0001"), Decimal(10_000_000), allow_nan=False, places=4) | st.integers(1, 10**9).map(
    Decimal
)
option_types: st.SearchStrategy[OptionType] = st.sampled_from(["C", "P"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BTCUSD-6JUN23-24000-C", OptionSymbol("BTC", date(2023, 6, 6), Decimal(24000), "C")),
        ("ETHUSD-13SEP24-2200-P", OptionSymbol("ETH", date(2024, 9, 13), Decimal(2200), "P")),
        ("KASUSD-31MAY24-0.1250-C", OptionSymbol("KAS", date(2024, 5, 31), Decimal("0.1250"), "C")),
        ("SOLUSD-13DEC24-1925.00-P", OptionSymbol("SOL", date(2024, 12, 13), Decimal("1925.00"), "P")),
        ("1000USDUSD-29FEB24-1-C", OptionSymbol("1000USD", date(2024, 2, 29), Decimal(1), "C")),
    ],
)
def test_a_venue_symbol_is_read_and_written_back_digit_for_digit(text: str, expected: OptionSymbol) -> None:
    parsed = parse_option_symbol(text)
    assert parsed == expected
    assert parsed.symbol == text


def test_a_zero_padded_day_is_accepted_and_written_without_the_zero() -> None:
    assert parse_option_symbol("BTCUSD-03APR26-100000-C").symbol == "BTCUSD-3APR26-100000-C"


@settings(deadline=None)
@given(bases, dates, strikes, option_types)
def test_any_option_survives_being_written_and_read(
    base: str, expiry_date: date, strike: Decimal, option_type: OptionType
) -> None:
    text = format_option_symbol(base, expiry_date, strike, option_type)
    parsed = parse_option_symbol(text)
    assert parsed == OptionSymbol(base, expiry_date, strike, option_type)
    assert parsed.symbol == text
    assert str(parsed.strike) == format(strike, "f")


@settings(deadline=None)
@given(dates)
def test_the_month_is_the_english_one(expiry_date: date) -> None:
    english = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    assert english[expiry_date.month - 1] in format_option_symbol("BTC", expiry_date, Decimal(1), "C")


def test_a_strike_in_scientific_notation_is_written_plainly() -> None:
    assert format_option_symbol("BTC", date(2026, 1, 2), Decimal("1E+5"), "C") == "BTCUSD-2JAN26-100000-C"
    assert format_option_symbol("KAS", date(2026, 1, 2), Decimal("1E-7"), "P") == "KASUSD-2JAN26-0.0000001-P"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 1 parts"),
        ("BTCUSD", "has 1 parts"),
        ("BTCUSD-6JUN23-24000", "has 3 parts"),
        ("BTCUSD-6JUN23-24000-C-X", "has 5 parts"),
        ("BTC-6JUN23-24000-C", "index 'BTC' must end in USD"),
        ("USD-6JUN23-24000-C", "base '' must be upper case"),
        ("btcUSD-6JUN23-24000-C", "base 'btc' must be upper case"),
        ("BTCUSD-6JUN2023-24000-C", "expiry '6JUN2023' must be day, month, 2-digit year"),
        ("BTCUSD-6jun23-24000-C", "expiry '6jun23' must be day, month, 2-digit year"),
        ("BTCUSD-٦JUN23-24000-C", "must be day, month, 2-digit year"),
        ("BTCUSD-6JUX23-24000-C", "month 'JUX' must be one of JAN, FEB"),
        ("BTCUSD-31FEB24-24000-C", "FEB 24 has no day 31"),
        ("BTCUSD-0JAN24-24000-C", "JAN 24 has no day 0"),
        ("BTCUSD-6JUN23-24k-C", "strike '24k' must be a plain number"),
        ("BTCUSD-6JUN23-1e5-C", "strike '1e5' must be a plain number"),
        ("BTCUSD-6JUN23--C", "strike '' must be a plain number"),
        ("BTCUSD-6JUN23-0.00-C", "strike 0.00 must be a finite number above 0"),
        ("BTCUSD-6JUN23-24000-X", "option type 'X' must be C or P"),
        ("BTCUSD-6JUN23-24000-C\n", "option type 'C\\n' must be C or P"),
    ],
)
def test_a_text_that_is_no_option_is_refused_with_the_part_that_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(SymbolError) as refusal:
        parse_option_symbol(text)
    assert reason in str(refusal.value)
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (OptionSymbol("btc", date(2023, 6, 6), Decimal(1), "C"), "base 'btc'"),
        (OptionSymbol("BTC", date(1999, 6, 6), Decimal(1), "C"), "must be in 2000..2099"),
        (OptionSymbol("BTC", date(2100, 6, 6), Decimal(1), "C"), "must be in 2000..2099"),
        (OptionSymbol("BTC", date(2023, 6, 6), Decimal(-1), "C"), "strike -1"),
        (OptionSymbol("BTC", date(2023, 6, 6), Decimal("NaN"), "C"), "strike NaN"),
        (OptionSymbol("BTC", date(2023, 6, 6), Decimal(1), "X"), "option type 'X'"),  # type: ignore[arg-type]
    ],
)
def test_fields_that_cannot_be_read_back_are_not_written(option: OptionSymbol, reason: str) -> None:
    with pytest.raises(SymbolError, match=reason):
        _ = option.symbol


def test_an_option_expires_at_eight_utc_and_stops_trading_a_quarter_of_an_hour_before() -> None:
    option = parse_option_symbol("BTCUSD-6JUN23-24000-C")
    assert option.expiry_ns == int(datetime(2023, 6, 6, 8, tzinfo=UTC).timestamp()) * 10**9
    assert option.last_trade_ns == int(datetime(2023, 6, 6, 7, 45, tzinfo=UTC).timestamp()) * 10**9
    assert option.index == "BTCUSD"
    assert option.is_call
    assert not parse_option_symbol("BTCUSD-6JUN23-24000-P").is_call


@settings(deadline=None)
@given(dates)
def test_the_expiry_instant_is_that_of_the_calendar(expiry_date: date) -> None:
    expected_s = calendar.timegm((expiry_date.year, expiry_date.month, expiry_date.day, 8, 0, 0))
    assert OptionSymbol("BTC", expiry_date, Decimal(1), "C").expiry_ns == expected_s * 10**9


@pytest.mark.parametrize(
    ("left_ns", "expected"),
    [
        (3 * DAY_NS, 3),
        (DAY_NS + 1, 1),
        (DAY_NS, 1),
        (DAY_NS - 1, 0),
        (10 * 60 * 10**9, 0),
        (0, 0),
        (-1, -1),
    ],
)
def test_dte_counts_whole_days_left_and_is_zero_in_the_last_one(left_ns: int, expected: int) -> None:
    expiry_ns = parse_option_symbol("BTCUSD-6JUN23-24000-C").expiry_ns
    assert dte(expiry_ns - left_ns, expiry_ns) == expected


def test_years_to_expiry_is_actual_days_over_365_and_never_negative() -> None:
    expiry_ns = parse_option_symbol("BTCUSD-6JUN23-24000-C").expiry_ns
    assert years_to_expiry(expiry_ns - 365 * DAY_NS, expiry_ns) == 1.0
    assert years_to_expiry(expiry_ns - 12 * HOUR_NS, expiry_ns) == 0.5 / 365
    assert years_to_expiry(expiry_ns, expiry_ns) == 0.0
    assert years_to_expiry(expiry_ns + DAY_NS, expiry_ns) == 0.0


def test_years_to_expiry_of_an_array_is_that_of_its_elements() -> None:
    now_ns = parse_option_symbol("BTCUSD-6JUN23-24000-C").expiry_ns
    expiries_ns = np.array([[now_ns - DAY_NS, now_ns], [now_ns + 1, now_ns + 73 * DAY_NS]], dtype=np.int64)
    years = years_to_expiry(now_ns, expiries_ns)
    assert years.shape == (2, 2)
    assert years.tolist() == [[years_to_expiry(now_ns, int(e)) for e in row] for row in expiries_ns]
    assert years[1, 1] == 0.2
