"""What must hold of a leg of spot before its trade is opened: that it is bought, and can be sold again; and how many
of its coins are sold while not every execution is told."""

from __future__ import annotations

from decimal import Decimal

from services.execution.records import ZERO, Leg, Trade
from services.execution.workspace import Workspace
from shared.messages.market import Instrument
from shared.messages.trades import OpenTrade, Refusal
from shared.options.chain import snap_up


def spot_refusal(intent: OpenTrade, work: Workspace) -> Refusal | None:
    """Coins are bought to be held and sold again: there is nothing to sell that was not bought, and the venue has
    neither reduce-only orders nor amendments of them, which quoting needs."""
    for leg in intent.legs:
        instrument = work.market.instrument(leg.symbol)
        if instrument is None or not instrument.is_spot:
            continue
        if leg.side == "sell":
            return Refusal(
                code="bad_legs",
                detail=f"{leg.symbol} is spot: coins that the trade did not buy are not sold",
                remedy="sell the perpetual of its underlying",
            )
        if intent.execution_mode == "quoting":
            return Refusal(
                code="bad_params",
                detail=f'{leg.symbol} is spot, which is not quoted: execution_mode "quoting"',
                remedy='use execution_mode "limit" or "smart"',
            )
        if _left_of(leg.quantity, instrument, work) < instrument.min_quantity:
            return Refusal(
                code="below_minimum",
                detail=f"of {leg.quantity} {leg.symbol} the fee, which is taken in coins, leaves less than the "
                f"minimum {instrument.min_quantity}: it could not be sold again",
                remedy=f"trade more than {instrument.min_quantity}",
            )
    return None


def sellable(trade: Trade, leg: Leg, work: Workspace) -> Decimal:
    """What of held coins may be sold, in lots. Of purchases whose executions the venue has not told, the fee is not
    known: as much as is expected of it stays, for to sell it would sell coins that are not the trade's."""
    untold = sum(
        (
            order.filled_quantity - order.fills_quantity
            for order in (work.book.orders[number] for number in trade.untold)
            if order.purpose == "open" and order.symbol == leg.symbol
        ),
        ZERO,
    )
    if untold <= 0:
        return leg.held_quantity
    return leg.held_quantity - snap_up(untold * Decimal(str(work.config.spot_fee_rate)), leg.instrument.lot_size)


def _left_of(quantity: Decimal, instrument: Instrument, work: Workspace) -> Decimal:
    fee_coins = quantity * Decimal(str(work.config.spot_fee_rate))
    return quantity - snap_up(fee_coins, instrument.lot_size)
