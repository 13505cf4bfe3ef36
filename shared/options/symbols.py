"""Option symbols, expiry instants and time to expiry.

The symbol is the venue's: `<BASE>USD-<D><MMM><YY>-<strike>-<C|P>`, day without a leading zero, month in upper
case English, strike digits as the venue wrote them (`KASUSD-31MAY24-0.1250-C`). Options expire at 08:00:00 UTC
and stop trading 15 minutes before.
"""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Literal, cast, overload

import msgspec
import numpy as np
import numpy.typing as npt

OptionType = Literal["C", "P"]

NS_PER_DAY = 86_400 * 1_000_000_000
NS_PER_YEAR = 365 * NS_PER_DAY
EXPIRY_TIME_OF_DAY_NS = 8 * 3_600 * 1_000_000_000
LAST_TRADE_BEFORE_EXPIRY_NS = 15 * 60 * 1_000_000_000

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH_NUMBER = {name: number for number, name in enumerate(_MONTHS, start=1)}
_EXAMPLE = "BTCUSD-6JUN23-24000-C"

_BASE = re.compile(r"[A-Z0-9]+", re.ASCII)
_EXPIRY = re.compile(r"(\d{1,2})([A-Z]{3})(\d{2})", re.ASCII)
_STRIKE = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


class SymbolError(ValueError):
    """A text or a set of fields that is no option symbol; the message names the part and what is expected."""


class OptionSymbol(msgspec.Struct, frozen=True):
    """One listed option, USD-quoted.

    Built from parts by hand it is not checked: `parse_option_symbol` and `format_option_symbol` check.
    `strike` keeps the digits it was given, so `symbol` gives the venue's own text back.
    """

    base: str
    expiry_date: date
    strike: Decimal
    option_type: OptionType

    @property
    def symbol(self) -> str:
        """The venue's text. Raises SymbolError if the fields are not those of an option."""
        return format_option_symbol(self.base, self.expiry_date, self.strike, self.option_type)

    @property
    def index(self) -> str:
        """The venue's name of the underlying index, `BTCUSD`."""
        return f"{self.base}USD"

    @property
    def expiry_ns(self) -> int:
        """Settlement instant: 08:00:00 UTC on the expiry date, UTC nanoseconds."""
        midnight = datetime(self.expiry_date.year, self.expiry_date.month, self.expiry_date.day, tzinfo=UTC)
        return int(midnight.timestamp()) * 1_000_000_000 + EXPIRY_TIME_OF_DAY_NS

    @property
    def last_trade_ns(self) -> int:
        """The venue takes no orders from this instant on, UTC nanoseconds."""
        return self.expiry_ns - LAST_TRADE_BEFORE_EXPIRY_NS

    @property
    def is_call(self) -> bool:
        return self.option_type == "C"


@lru_cache(maxsize=8_192)
def parse_option_symbol(text: str) -> OptionSymbol:
    """Read a venue symbol. A zero-padded day is accepted and leaves no trace in `symbol`.

    Raises SymbolError naming the part that is wrong and what is expected there.
    """
    parts = text.split("-")
    if len(parts) != 4:
        raise SymbolError(
            f"option symbol {text!r}: has {len(parts)} parts separated by '-', expected 4 as in {_EXAMPLE}"
        )
    index, expiry, strike, option_type = parts
    if not index.endswith("USD"):
        raise SymbolError(f"option symbol {text!r}: index {index!r} must end in USD as in {_EXAMPLE}")
    if option_type not in ("C", "P"):
        raise SymbolError(f"option symbol {text!r}: option type {option_type!r} must be C or P")
    if not _STRIKE.fullmatch(strike):
        raise SymbolError(f"option symbol {text!r}: strike {strike!r} must be a plain number like 24000 or 0.1250")
    try:
        base = _checked_base(index.removesuffix("USD"))
        expiry_date = _parse_expiry(expiry)
        amount = _checked_strike(Decimal(strike))
    except SymbolError as error:
        raise SymbolError(f"option symbol {text!r}: {error}") from None
    return OptionSymbol(base, expiry_date, amount, cast(OptionType, option_type))


def format_option_symbol(base: str, expiry_date: date, strike: Decimal, option_type: OptionType) -> str:
    """The venue's text of an option: `BTCUSD-6JUN23-24000-C`; the strike's digits are written as they are held.

    Raises SymbolError naming the field if the text could not be read back as the same option.
    """
    if option_type not in ("C", "P"):
        raise SymbolError(f"option type {option_type!r} must be C or P")
    if not 2000 <= expiry_date.year <= 2099:
        raise SymbolError(
            f"expiry date {expiry_date.isoformat()} must be in 2000..2099: the symbol has a 2-digit year"
        )
    day = f"{expiry_date.day}{_MONTHS[expiry_date.month - 1]}{expiry_date.year % 100:02d}"
    return f"{_checked_base(base)}USD-{day}-{_checked_strike(strike):f}-{option_type}"


@overload
def years_to_expiry(now_ns: int, expiry_ns: int) -> float: ...
@overload
def years_to_expiry(now_ns: int, expiry_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]: ...
def years_to_expiry(now_ns: int, expiry_ns: int | npt.NDArray[np.int64]) -> float | npt.NDArray[np.float64]:
    """Time to expiry in years, act/365, never below 0. `expiry_ns` (int or any shape) gives its own shape back."""
    if isinstance(expiry_ns, np.ndarray):
        years: npt.NDArray[np.float64] = np.maximum(expiry_ns - np.int64(now_ns), 0) / NS_PER_YEAR
        return years
    return max(expiry_ns - now_ns, 0) / NS_PER_YEAR


def dte(now_ns: int, expiry_ns: int) -> int:
    """Days to expiry: whole days of 24 h left, rounded down; 0 in the last 24 h, negative once expired.

    An option with exactly 24 h left has DTE 1; at the instant of expiry it has 0.
    """
    return (expiry_ns - now_ns) // NS_PER_DAY


def _checked_base(base: str) -> str:
    if not _BASE.fullmatch(base):
        raise SymbolError(f"base {base!r} must be upper case letters and digits such as BTC")
    return base


def _checked_strike(strike: Decimal) -> Decimal:
    if not (strike.is_finite() and strike > 0):
        raise SymbolError(f"strike {strike} must be a finite number above 0")
    return strike


def _parse_expiry(text: str) -> date:
    match = _EXPIRY.fullmatch(text)
    if match is None:
        raise SymbolError(f"expiry {text!r} must be day, month, 2-digit year as in 6JUN23")
    day, month, year = match.groups()
    if month not in _MONTH_NUMBER:
        raise SymbolError(f"expiry {text!r}: month {month!r} must be one of {', '.join(_MONTHS)}")
    try:
        return date(2000 + int(year), _MONTH_NUMBER[month], int(day))
    except ValueError:
        raise SymbolError(f"expiry {text!r}: {month} {year} has no day {day}") from None
