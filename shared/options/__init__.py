"""Options mathematics: symbols, Black-76 prices and Greeks, implied volatility. Arrays in, arrays out.

Units, signs and day count are in docs/conventions.md.
"""

from shared.options.black76 import Greeks, greeks, price
from shared.options.implied_vol import IvResult, implied_vol
from shared.options.symbols import (
    OptionSymbol,
    OptionType,
    SymbolError,
    dte,
    format_option_symbol,
    parse_option_symbol,
    years_to_expiry,
)

__all__ = [
    "Greeks",
    "IvResult",
    "OptionSymbol",
    "OptionType",
    "SymbolError",
    "dte",
    "format_option_symbol",
    "greeks",
    "implied_vol",
    "parse_option_symbol",
    "price",
    "years_to_expiry",
]
