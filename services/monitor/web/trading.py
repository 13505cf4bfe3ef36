"""Trades, positions and the account as rows with live figures. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from services.monitor.ended import made_by
from services.monitor.views import Status
from shared.messages.account import AccountSnapshot, PositionGreeks
from shared.messages.trades import LegStatus, TradeUpdate
from shared.views import pnl_before_fees_usd

_DAY_NS = 86_400_000_000_000


class LegRow(msgspec.Struct, frozen=True, kw_only=True):
    """A leg with its mark and what it is worth. greeks: of what is held, None when they are not known."""

    leg: LegStatus
    mark: float | None
    pnl_usd: float | None
    greeks: PositionGreeks | None


class TradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """A trade with live figures. pnl_usd: before fees, None while a mark is missing; net_usd: after fees and funding
    so far."""

    trade: TradeUpdate
    legs: tuple[LegRow, ...]
    pnl_usd: float | None
    net_usd: float | None
    greeks: PositionGreeks | None


class AccountFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The account's margin as shares of equity, 0 = none used."""

    initial_share: float
    maintenance_share: float
    drawdown_share: float


def marks_of(account: AccountSnapshot | None) -> dict[str, float]:
    """The mark of every position that has one, USD per unit."""
    positions = () if account is None else account.positions
    return {position.symbol: position.mark for position in positions if position.mark is not None}


def unit_greeks(account: AccountSnapshot | None) -> dict[str, PositionGreeks]:
    """Greeks of one unit held long of every symbol that is held."""
    positions = () if account is None else account.positions
    return {
        position.symbol: _times(position.greeks, 1 / float(position.quantity))
        for position in positions
        if position.greeks is not None and position.quantity
    }


def trade_rows(trades: Iterable[TradeUpdate], account: AccountSnapshot | None) -> list[TradeRow]:
    marks, units = marks_of(account), unit_greeks(account)
    return [trade_row(trade, marks, units) for trade in trades]


def trade_row(trade: TradeUpdate, marks: Mapping[str, float], units: Mapping[str, PositionGreeks]) -> TradeRow:
    pnl = pnl_before_fees_usd(trade, marks)
    legs = tuple(_leg_row(leg, marks, units) for leg in trade.legs)
    known = [row.greeks for row in legs if row.leg.held_quantity]
    whole = [greeks for greeks in known if greeks is not None]
    return TradeRow(
        trade=trade,
        legs=legs,
        pnl_usd=pnl,
        net_usd=None if pnl is None else pnl - float(trade.fees_usd + trade.funding_usd),
        greeks=sum_greeks(whole) if whole and len(whole) == len(known) else None,
    )


def open_trades(status: Status) -> list[TradeUpdate]:
    return [trade for trade in status.trades if not trade.is_final]


def closed_today_usd(status: Status) -> Decimal:
    """Realised P&L after fees and funding of the trades that ended since 00:00 UTC."""
    begin_ns = status.now_ns - status.now_ns % _DAY_NS
    return made_by(status.ended_since(begin_ns)).net_usd


def change_today_usd(account: AccountSnapshot) -> float | None:
    """Change of equity since 00:00 UTC without what was paid in or out; None before risk knows how it began."""
    return None if account.day_start_usd is None else float(account.equity_usd - account.day_start_usd)


def account_figures(account: AccountSnapshot) -> AccountFigures:
    equity = float(account.equity_usd)
    peak = float(account.peak_equity_usd)
    return AccountFigures(
        initial_share=float(account.initial_margin_usd) / equity if equity > 0 else 1.0,
        maintenance_share=float(account.maintenance_margin_usd) / equity if equity > 0 else 1.0,
        drawdown_share=max(peak - equity, 0.0) / peak if peak > 0 else 0.0,
    )


def sum_greeks(parts: Iterable[PositionGreeks]) -> PositionGreeks:
    total = [0.0] * 5
    for part in parts:
        total = [have + more for have, more in zip(total, msgspec.structs.astuple(part), strict=True)]
    return PositionGreeks(*total)


def _leg_row(leg: LegStatus, marks: Mapping[str, float], units: Mapping[str, PositionGreeks]) -> LegRow:
    sign = 1 if leg.side == "buy" else -1
    held = float(leg.held_quantity) * sign
    mark, unit = marks.get(leg.symbol), units.get(leg.symbol)
    pnl: float | None = None
    if leg.open_price is not None:
        pnl = 0.0
        if leg.closed_quantity and leg.close_price is not None:
            pnl += float((leg.close_price - leg.open_price) * leg.closed_quantity) * sign
        if held:
            pnl = None if mark is None else pnl + held * (mark - float(leg.open_price))
    return LegRow(leg=leg, mark=mark, pnl_usd=pnl, greeks=None if unit is None or not held else _times(unit, held))


def _times(greeks: PositionGreeks, factor: float) -> PositionGreeks:
    return PositionGreeks(*(value * factor for value in msgspec.structs.astuple(greeks)))
