"""Adoption: a position that was opened by hand becomes a trade, which is closed like any other."""

from __future__ import annotations

from decimal import Decimal

from services.execution import rows
from services.execution.checks import CheckView
from services.execution.records import ZERO
from services.execution.workspace import MS
from shared.ids import next_trade_number, trade_id
from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.reconciliation import AdoptPosition, PositionAdopted
from shared.messages.trades import ExecutionParams, Grant, GrantLeg, LegOrder, OpenTrade, Refusal
from shared.options.chain import snap_quantity
from shared.options.instruments import instrument_kind
from shared.strategy.config import STRATEGY_NAME

_LOOKED_WITHIN = 3
"""The position must have been seen within so many regular comparisons."""


def adopt(order: AdoptPosition, view: CheckView) -> PositionAdopted | Refusal:
    """Journal a trade that holds what the venue holds beyond our trades, or say why not."""
    refusal = _refusal(order, view)
    if refusal is not None:
        return refusal
    free = view.positions.foreign.get(order.symbol, ZERO)
    quantity = abs(free) if order.quantity is None else order.quantity
    instrument, entry_price = view.work.market.instrument(order.symbol), view.positions.average_price(order.symbol)
    assert instrument is not None
    assert entry_price is not None
    return _record(order, "buy" if free > 0 else "sell", quantity, entry_price, instrument, view)


def _refusal(order: AdoptPosition, view: CheckView) -> Refusal | None:
    if not STRATEGY_NAME.fullmatch(order.strategy):
        return Refusal(
            code="bad_strategy",
            detail="strategy must be letters, digits and '_', begin with a letter, 64 at most",
            remedy="name the strategy that the trade shall count for",
        )
    if view.work.space.level != "disk":
        return Refusal(
            code="disk_full",
            detail=f"nothing is adopted on a full disk: {view.work.space.reason}",
            remedy="free space; adopting is allowed again by itself",
        )
    return _unseen(order.symbol, view) or _unheld(order, view) or _unfit(order, view)


def _unseen(symbol: str, view: CheckView) -> Refusal | None:
    """Why the venue's position is not known well enough to be claimed."""
    work = view.work
    oldest_ns = work.now_ns - _LOOKED_WITHIN * work.config.reconcile_interval_ms * MS
    if not view.schedule.synced or view.schedule.looked_ns < oldest_ns:
        detail = "the venue was not compared lately"
    elif any(work.book.orders[number].symbol == symbol for number in work.book.unsettled):
        detail = f"an order of the desk is live in {symbol[:64]}"
    elif symbol in view.positions.undecided:
        detail = f"the venue's position in {symbol[:64]} is looked at again"
    else:
        return None
    return Refusal(code="not_ready", detail=detail, remedy="repeat in a few seconds: voldesk reconcile --now")


def _unheld(order: AdoptPosition, view: CheckView) -> Refusal | None:
    """Why there is nothing to claim, or less than is asked for."""
    symbol = order.symbol[:64]
    if instrument_kind(order.symbol) == "spot":
        return Refusal(
            code="no_position",
            detail=f"{symbol} is spot: coins that no trade bought are the account's own, and no position",
            remedy="buy them in a trade, or hedge them with the perpetual",
        )
    free = view.positions.foreign.get(order.symbol, ZERO)
    holders = ", ".join(
        f"{trade.trade_id} holds {leg.sign * leg.held_quantity:f}"
        for trade in view.work.book.active_trades()
        for leg in trade.legs
        if leg.symbol == order.symbol and leg.held_quantity > 0
    )
    if not free and not holders:
        return Refusal(
            code="no_position",
            detail=f"the venue holds no {symbol}",
            remedy="see what it holds: voldesk reconcile --now",
        )
    if not free:
        return Refusal(
            code="claimed",
            detail=f"all that the venue holds of {symbol} belongs to trades: {holders}",
            remedy="nothing is left to adopt; see voldesk trades --open",
        )
    if order.quantity is not None and order.quantity > abs(free):
        held = f"; {holders}" if holders else ""
        return Refusal(
            code="exceeds_position",
            detail=f"{order.quantity:f} is more than the {free:f} of {symbol} that belong to no trade{held}",
            remedy=f"adopt at most {abs(free):f}",
        )
    return None


def _unfit(order: AdoptPosition, view: CheckView) -> Refusal | None:
    """Why a trade that held this could not be closed again."""
    symbol = order.symbol[:64]
    instrument = view.work.market.instrument(order.symbol)
    if instrument is None:
        return Refusal(
            code="unknown_instrument",
            detail=f"market data does not list {symbol}",
            remedy="add its underlying to [desk] underlyings, or wait until the list was read",
        )
    if view.work.now_ns >= instrument.last_trade_ns:
        return Refusal(
            code="not_tradable",
            detail=f"{symbol} does not trade any more",
            remedy="it settles at its expiry by itself",
        )
    quantity = abs(view.positions.foreign[order.symbol]) if order.quantity is None else order.quantity
    if quantity < instrument.min_quantity or snap_quantity(quantity, instrument.lot_size) != quantity:
        return Refusal(
            code="bad_quantity",
            detail=f"{quantity:f} is no multiple of the lot {instrument.lot_size} or below {instrument.min_quantity}",
            remedy="give --quantity as such a multiple",
        )
    if not view.positions.average_price(order.symbol):
        return Refusal(
            code="no_entry_price",
            detail=f"the venue tells no average price of {symbol}",
            remedy="close it at the venue by hand",
        )
    return None


def _record(
    order: AdoptPosition, side: Side, quantity: Decimal, entry_price: Decimal, instrument: Instrument, view: CheckView
) -> PositionAdopted:
    work = view.work
    number = next_trade_number(work.book.last_trade_number, work.now_ns)
    name = trade_id(number)
    grant = Grant(
        grant_id=f"adopted-{name}",
        intent_id=f"adopted-{name}",
        account_id=work.account_id,
        legs=(GrantLeg(symbol=order.symbol, side=side, max_quantity=quantity, worst_price=entry_price),),
        deadline_ns=work.now_ns,
        halt_epoch=work.book.halt_epoch,
        issued_ns=work.now_ns,
        margin_usd=0.0,
        max_loss_usd=None,
    )
    # Ordinal 0 and an intent id of its own: the strategy's intents are numbered as if this trade were not there.
    request = OpenTrade(
        intent_id=grant.intent_id,
        account_id=work.account_id,
        strategy=order.strategy,
        ordinal=0,
        legs=(LegOrder(symbol=order.symbol, side=side, quantity=quantity),),
        execution_mode="limit",
        execution_params=ExecutionParams(),
        policy="best_effort",
        exit_conditions=(),
        hard_deadline_ns=None,
        max_loss_usd=None,
        if_host_silent="hold",
        host_silent_after_s=0.0,
        valid_until_ns=work.now_ns,
        grant=grant,
        if_broken=work.config.if_broken,
    )
    work.record(
        rows.TradeAdopted(
            trade_id=name,
            trade_number=number,
            request=request,
            instrument=instrument,
            entry_price=entry_price,
            adopted_by=order.requested_by[:200],
        )
    )
    view.positions.adopted(order.symbol, quantity if side == "buy" else -quantity)
    return PositionAdopted(trade_id=name, symbol=order.symbol, side=side, quantity=quantity, entry_price=entry_price)
