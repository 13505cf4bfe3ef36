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
        if leg.quantity - _expected_fee(leg.quantity, instrument, work) < instrument.min_quantity:
            return Refusal(
                code="below_minimum",
                detail=f"of {leg.quantity} {leg.symbol} the fee, which is taken in coins, leaves less than the "
                f"minimum {instrument.min_quantity}: it could not be sold again",
                remedy=f"trade more than {instrument.min_quantity}",
            )
    return None


def sellable(trade: Trade, leg: Leg, work: Workspace) -> Decimal:
    """What of held coins may be sold, in lots. Of purchases of which the venue has not told all executions, or not
    the fee of one, as much as the fee is expected to be stays: to sell it would sell coins of somebody else."""
    book = work.book
    feeless = {book.fills[number].client_order_id for number in book.feeless}
    unknown = ZERO
    for order in book.orders_of(trade):
        if order.purpose == "open" and order.symbol == leg.symbol:
            told = ZERO if order.client_order_id in feeless else order.fills_quantity
            unknown += order.filled_quantity - told
    if unknown <= 0:
        return leg.held_quantity
    return leg.held_quantity - _expected_fee(unknown, leg.instrument, work)


def _expected_fee(quantity: Decimal, instrument: Instrument, work: Workspace) -> Decimal:
    """Of a purchase, in coins and whole lots."""
    return snap_up(quantity * Decimal(str(work.config.spot_fee_rate)), instrument.lot_size)
