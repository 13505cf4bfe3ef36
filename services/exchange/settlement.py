"""Expiry: the settlement price and what each position pays. Source: the venue's contract specification."""

from decimal import Decimal

from services.exchange.config import FeeConfig
from services.exchange.fees import delivery_fee
from services.exchange.listing import is_daily
from services.exchange.market import IndexPath
from services.exchange.model import Exercise, Instrument, Side

WINDOW_NS = 30 * 60 * 1_000_000_000
SUSPENDED_BEFORE_EXPIRY_NS = 15 * 60 * 1_000_000_000


def settlement_price(path: IndexPath, expiry_step: int, step_ns: int) -> Decimal:
    """Arithmetic mean of the index over the 30 minutes before expiry, or over what the market lived of them."""
    return path.mean_price(expiry_step - WINDOW_NS // step_ns, expiry_step)


def intrinsic(option: Instrument, settlement: Decimal) -> Decimal:
    """Pay-off of one unit, USD, at least 0."""
    distance = settlement - option.strike if option.is_call else option.strike - settlement
    return max(distance, Decimal(0))


def exercise(
    fees: FeeConfig,
    option: Instrument,
    *,
    exercise_id: int,
    account_id: str,
    position: Decimal,
    average_price: Decimal,
    settlement: Decimal,
) -> Exercise:
    """Settle one signed position. What expires worthless is recorded too, with flows of 0."""
    pay_off = intrinsic(option, settlement)
    quantity = abs(position)
    return Exercise(
        exercise_id=exercise_id,
        account_id=account_id,
        symbol=option.symbol,
        side=Side.BUY if position > 0 else Side.SELL,
        quantity=quantity,
        strike=option.strike,
        settlement_price=settlement,
        open_cash_flow=-position * average_price,
        settlement_cash_flow=position * pay_off,
        fee=delivery_fee(fees, quantity, settlement, pay_off, is_daily=is_daily(option.expiry_ns)),
        at_ns=option.expiry_ns,
    )
