"""Options mathematics: symbols, Black-76 prices and Greeks, implied volatility. Arrays in, arrays out.

Units, signs and day count are in docs/conventions.md. `black76` and `implied_vol` are imported from their own
modules.
"""

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
    "OptionSymbol",
    "OptionType",
    "SymbolError",
    "dte",
    "format_option_symbol",
    "parse_option_symbol",
    "years_to_expiry",
]
