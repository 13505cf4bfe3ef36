"""What fills of futures and spot, funding and delivery move between an account, the makers and the fees."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from services.exchange.model import Delivery, Fill, FundingPayment, Side
from shared.options.instruments import base_of

if TYPE_CHECKING:
    from services.exchange.accounts import Account, ExchangeState

ZERO = Decimal(0)


def book_spot(state: ExchangeState, account: Account, fill: Fill, *, against_client: bool) -> Decimal:
    """Exchange coin and USDT; the fee comes out of what is received. Realises no P&L: coins have no entry price."""
    coin, buys = base_of(fill.symbol), fill.side is Side.BUY
    moved, paid = fill.side.sign * fill.quantity, fill.side.sign * fill.quantity * fill.price
    account.cash -= paid
    change = moved
    if buys:
        change -= fill.fee
        state.fees_in_coin[coin] = state.fees_in_coin.get(coin, ZERO) + fill.fee
    else:
        account.cash -= fill.fee
        state.fees_collected += fill.fee
    held = account.assets.get(coin, ZERO) + change
    account.assets[coin] = held
    if not held:
        del account.assets[coin]
    if not against_client:
        state.makers_cash += paid
        state.makers_assets[coin] = state.makers_assets.get(coin, ZERO) - moved
    return ZERO


def book_futures(state: ExchangeState, account: Account, fill: Fill, realised: Decimal) -> None:
    """A future moves no cash but its fee and what it realises, which the makers' side of the market pays."""
    account.cash += realised - fill.fee
    state.makers_cash -= realised
    state.fees_collected += fill.fee


def pay_funding(state: ExchangeState, payment: FundingPayment) -> None:
    account = state.accounts[payment.account_id]
    account.cash += payment.amount
    state.makers_cash -= payment.amount
    account.funding.append(payment)


def deliver(state: ExchangeState, delivery: Delivery) -> None:
    """End a dated future's position at its settlement price."""
    account = state.accounts[delivery.account_id]
    account.cash += delivery.pnl - delivery.fee
    state.makers_cash -= delivery.pnl
    state.fees_collected += delivery.fee
    account.deliveries.append(delivery)
    holding = account.holdings.pop(delivery.symbol)
    holding.quantity = ZERO
    holding.realised_pnl += delivery.pnl
    holding.updated_ns = delivery.at_ns
