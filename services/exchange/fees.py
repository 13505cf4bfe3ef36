"""Fees, exact. Source: the venue's fee schedule (trade fee and delivery fee, both capped by premium)."""

from decimal import Decimal

from services.exchange.config import FeeConfig


def trade_fee(config: FeeConfig, quantity: Decimal, price: Decimal, index: Decimal, *, is_taker: bool) -> Decimal:
    """min(quantity * index * rate, quantity * price * 12.5 %), USD; `price` is the premium per unit."""
    rate = config.taker if is_taker else config.maker
    return _capped(config, quantity, price, index, rate)


def contract_rate(config: FeeConfig, *, is_spot: bool, is_taker: bool) -> Decimal:
    """Rate of a trade in futures or spot, a fraction of price times quantity."""
    if is_spot:
        return config.spot_taker if is_taker else config.spot_maker
    return config.futures_taker if is_taker else config.futures_maker


def block_rate(config: FeeConfig, *, is_taker: bool) -> Decimal:
    """Rate of a block trade, a fraction of the index."""
    return config.block_taker if is_taker else config.block_maker


def block_fee(config: FeeConfig, quantity: Decimal, price: Decimal, index: Decimal, *, is_taker: bool) -> Decimal:
    """The fee of one charged leg of a block trade, USD, capped as `trade_fee`."""
    return _capped(config, quantity, price, index, block_rate(config, is_taker=is_taker))


def _capped(config: FeeConfig, quantity: Decimal, price: Decimal, index: Decimal, rate: Decimal) -> Decimal:
    return min(quantity * index * rate, quantity * price * config.premium_cap)


def delivery_fee(
    config: FeeConfig, quantity: Decimal, settlement: Decimal, intrinsic: Decimal, *, is_daily: bool
) -> Decimal:
    """min(quantity * settlement * 0.015 %, quantity * intrinsic * 12.5 %), USD.

    `intrinsic` is the pay-off per unit, 0 out of the money, where nothing is due. Daily options pay none.
    """
    if is_daily:
        return Decimal(0)
    return min(quantity * settlement * config.delivery, quantity * intrinsic * config.premium_cap)
