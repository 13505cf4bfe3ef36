"""Futures as the desk lists them, beside options."""

from decimal import Decimal

from shared.messages.contracts import FuturesSpec
from shared.messages.market import NEVER_NS, Instrument
from shared.options.instruments import expiry_and_last_trade_ns


def listed_future(symbol: str, of: FuturesSpec) -> Instrument:
    """A perpetual or a dated future, with the steps and bounds of its underlying's futures."""
    expiry_ns, last_trade_ns = expiry_and_last_trade_ns(symbol) or (NEVER_NS, NEVER_NS)
    return Instrument(
        symbol=symbol,
        underlying=of.underlying,
        option_type="C",
        strike=Decimal(0),
        expiry_ns=expiry_ns,
        last_trade_ns=last_trade_ns,
        tick_size=of.tick_size,
        lot_size=of.lot_size,
        min_quantity=of.min_quantity,
        max_quantity=of.max_quantity,
    )
