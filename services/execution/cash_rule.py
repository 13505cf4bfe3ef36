"""What the cash rule decides on one reading of the account and the market. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from services.execution.cash_config import CashConfig
from services.execution.records import ZERO
from shared.messages.cash import CashCode
from shared.messages.contracts import SpotSpec
from shared.options.chain import snap_price, snap_quantity, snap_up

_HUNDRED = Decimal(100)
_CENT = Decimal("0.01")
Level = tuple[Decimal, Decimal]
"""Price and size."""


class Holding(msgspec.Struct, frozen=True):
    """Of one asset: what there is of it, and the part that no order claims."""

    cash: Decimal
    free: Decimal


class CashSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One reading. Without `spec` the market was not asked for, or has no such pair; bids and asks best first.

    claimed: coins that open sales at the venue claim, whoever placed them. traded: coins that trades hold or are
    buying, which are not the account's to sell.
    """

    usdt: Decimal
    asset: Holding
    claimed: Decimal = ZERO
    traded: Decimal = ZERO
    spec: SpotSpec | None = None
    index: Decimal | None = None
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()


class Wait(msgspec.Struct, frozen=True):
    """Nothing is sold, and why."""

    code: CashCode
    detail: str


class Sell(msgspec.Struct, frozen=True, kw_only=True):
    """Sell so many coins at this price or better. reserved_usd: what that counts against the cap."""

    quantity: Decimal
    price: Decimal
    reserved_usd: Decimal
    detail: str


def free_of(config: CashConfig, seen: CashSeen) -> Decimal:
    """Coins that may be sold: of those that no order claims, by either of the venue's two accounts of that, what is
    above `keep` and no trade's. What another order sells is gone, and `keep` must be left all the same."""
    unclaimed = min(seen.asset.free, seen.asset.cash - seen.claimed)
    return max(ZERO, unclaimed - seen.traded - config.keep)


def decide(config: CashConfig, seen: CashSeen, used_usd: Decimal) -> Sell | Wait:
    """What to sell now, if anything. used_usd: what counts against the cap already.

    The price is bound by the higher of index and middle of the book, so that neither a wrong index nor an empty book
    alone lets it go cheaply. The quantity is the least of what is wanted, what is free, what the cap leaves, and what
    the book takes within the bound, rounded down to the lot.
    """
    if seen.usdt >= config.minimum_usdt:
        return Wait("enough", f"{seen.usdt:f} USDT, the minimum is {config.minimum_usdt:f}")
    spec = seen.spec
    if spec is None:
        return Wait("no_pair", f"the venue lists no {config.symbol} that can be traded")
    if not seen.index or not seen.bids or not seen.asks:
        missing = [
            name for name, there in (("index", seen.index), ("bids", seen.bids), ("asks", seen.asks)) if not there
        ]
        return Wait("no_price", f"{config.symbol} has no {', no '.join(missing)}")
    bid, ask = seen.bids[0][0], seen.asks[0][0]
    fair = max(seen.index, (bid + ask) / 2)
    floor = snap_price(fair * (1 - Decimal(str(config.max_slippage_pct)) / _HUNDRED), spec.tick_size, up=True)
    if bid < floor:
        return Wait(
            "price_too_low", f"bid {bid:f} is below {floor:f}, {config.max_slippage_pct:g} % under {fair:.2f}"
        )
    dearest = max(seen.index, ask)
    missing_usdt = config.target - seen.usdt
    wanted = missing_usdt / (bid * (1 - Decimal(str(config.fee_rate))))
    least = max(snap_up(config.min_sale_usd / bid, spec.lot_size), spec.min_quantity)
    bounds: tuple[tuple[CashCode, Decimal], ...] = (
        ("nothing_free", free_of(config, seen)),
        ("cap_reached", max(ZERO, config.cap_usd - used_usd) / dearest),
        ("book_thin", _depth(seen.bids, floor)),
        ("too_small", spec.max_quantity),
    )
    code, bound = min(bounds, key=lambda each: each[1])
    quantity = snap_quantity(min(max(wanted, least), bound), spec.lot_size)
    if quantity < least:
        return Wait(code, _too_little(code, config, bound, least, used_usd, seen.traded))
    reserved_usd = (quantity * dearest).quantize(_CENT, "ROUND_CEILING")
    if used_usd + reserved_usd > config.cap_usd:
        quantity = max(ZERO, quantity - spec.lot_size)
        reserved_usd = (quantity * dearest).quantize(_CENT, "ROUND_CEILING")
        if quantity < least:
            return Wait("cap_reached", _too_little("cap_reached", config, quantity, least, used_usd, seen.traded))
    quantity = Decimal(format(quantity.normalize(), "f"))
    detail = (
        f"{seen.usdt:f} USDT are below {config.minimum_usdt:f}: {quantity:f} {config.asset} at {floor:f} or better; "
        f"index {seen.index:f}, bid {bid:f}"
    )
    return Sell(quantity=quantity, price=floor, reserved_usd=reserved_usd, detail=detail)


def _depth(bids: Iterable[Level], floor: Decimal) -> Decimal:
    """What the book takes at this price or better."""
    return sum((size for price, size in bids if price >= floor), ZERO)


def _too_little(
    code: CashCode, config: CashConfig, bound: Decimal, least: Decimal, used_usd: Decimal, traded: Decimal
) -> str:
    wanted = f"the smallest sale is {least:f} {config.asset}"
    match code:
        case "nothing_free":
            kept = f"{config.keep:f} are kept" + (f", {traded:f} are trades'" if traded else "")
            return f"{bound:f} {config.asset} are free to be sold, {kept}; {wanted}"
        case "cap_reached":
            return f"{used_usd:f} of {config.cap_usd:f} USD were sold within 24 hours; {wanted}"
        case "book_thin":
            return f"the book takes {bound:f} {config.asset} within {config.max_slippage_pct:g} %; {wanted}"
        case _:
            return f"one order of {config.symbol} sells {bound:f} at most; {wanted}"
