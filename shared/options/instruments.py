"""What a symbol of the venue names: an option, a perpetual, a dated future or a pair of spot."""

import re
from datetime import UTC, date, datetime
from typing import Literal

from shared.options.symbols import LAST_TRADE_BEFORE_EXPIRY_NS, parse_option_symbol

InstrumentKind = Literal["option", "perpetual", "future", "spot"]

EXPIRY_HOUR = 8
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FUTURE = re.compile(r"([A-Z0-9]+)USDT?-(\d{1,2})([A-Z]{3})(\d{2})")


def instrument_kind(symbol: str) -> InstrumentKind:
    """`BTCUSDT` is spot, `BTCUSD` the perpetual, `BTCUSD-26JUN26` a dated future (the venue does not document its
    form: `BTCUSDT-26JUN26` and a padded day are read too); all else is an option.

    Looks at the form alone: whether the instrument is listed is the venue's to say.
    """
    match symbol.count("-"):
        case 0:
            return "spot" if symbol.endswith("USDT") else "perpetual"
        case 1:
            return "future"
        case _:
            return "option"


def base_of(symbol: str) -> str:
    """The coin that a symbol is about: BTC of `BTCUSDT`, `BTCUSD` and everything that begins with one of them and a
    dash."""
    return symbol.partition("-")[0].removesuffix("USDT").removesuffix("USD")


def underlying_of(symbol: str) -> str:
    """The index that a symbol belongs to: BTCUSD of `BTCUSDT`, `BTCUSD` and what `base_of` reads."""
    return f"{base_of(symbol)}USD"


def format_future_symbol(base: str, expiry_date: date) -> str:
    """The venue's text of a dated future, day without a leading zero: `BTCUSD-6JUN26`."""
    return f"{base}USD-{expiry_date.day}{_MONTHS[expiry_date.month - 1]}{expiry_date.year % 100:02d}"


def future_expiry_ns(symbol: str) -> int:
    """08:00 UTC of a dated future's day, UTC nanoseconds. Raises ValueError for a symbol of another form."""
    match = _FUTURE.fullmatch(symbol)
    if match is None or match[3] not in _MONTHS:
        raise ValueError(f"{symbol!r} is no dated future such as BTCUSD-26JUN26")
    day = datetime(2000 + int(match[4]), _MONTHS.index(match[3]) + 1, int(match[2]), EXPIRY_HOUR, tzinfo=UTC)
    return int(day.timestamp()) * 1_000_000_000


def expiry_and_last_trade_ns(symbol: str) -> tuple[int, int] | None:
    """When an option or a dated future expires, and from when on the venue takes no more orders in it, UTC ns; None
    for what does not expire. Of futures the venue does not document the latter: that of options is taken."""
    try:
        if instrument_kind(symbol) == "future":
            expiry_ns = future_expiry_ns(symbol)
            return expiry_ns, expiry_ns - LAST_TRADE_BEFORE_EXPIRY_NS
        option = parse_option_symbol(symbol)
    except ValueError:
        return None
    return option.expiry_ns, option.last_trade_ns
