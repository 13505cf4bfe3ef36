"""Chains, accounts and trades for the strategy tests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec
import numpy as np

from shared.messages.account import AccountSnapshot, Position, PositionGreeks
from shared.messages.conditions import ExitCondition
from shared.messages.market import ChainSnapshot, Instrument, InstrumentList
from shared.messages.trades import Grant, GrantLeg, LegOrder, LegStatus, TradeState, TradeUpdate
from shared.options.black76 import greeks, price
from shared.options.chain import ChainView, OptionList, list_id_of, pack_columns
from shared.options.symbols import (
    LAST_TRADE_BEFORE_EXPIRY_NS,
    OptionType,
    format_option_symbol,
    years_to_expiry,
)

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
ACCOUNT_ID = "paper"


def at(text: str) -> int:
    """UTC nanoseconds of an ISO time: at("2026-03-04T12:00")."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * SECOND


NOON = at("2026-03-04T12:00")
"""A Wednesday."""

STRIKES = tuple(range(80_000, 121_000, 1_000))
DAYS = (1, 2, 8, 22)
KINDS: tuple[OptionType, ...] = ("C", "P")


def instruments(
    now_ns: int = NOON, days: Sequence[int] = DAYS, strikes: Sequence[int] = STRIKES
) -> tuple[Instrument, ...]:
    """Calls and puts on BTC that expire at 08:00 UTC this many dates from `now_ns`."""
    today = dt.datetime.fromtimestamp(now_ns / SECOND, dt.UTC).date()
    return tuple(
        _option(today + dt.timedelta(days=day), strike, kind) for day in days for strike in strikes for kind in KINDS
    )


def _option(date: dt.date, strike: int, kind: OptionType) -> Instrument:
    expiry_ns = at(f"{date.isoformat()}T08:00")
    return Instrument(
        symbol=format_option_symbol("BTC", date, Decimal(strike), kind),
        underlying="BTCUSD",
        option_type=kind,
        strike=Decimal(strike),
        expiry_ns=expiry_ns,
        last_trade_ns=expiry_ns - LAST_TRADE_BEFORE_EXPIRY_NS,
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.01"),
        min_quantity=Decimal("0.01"),
        max_quantity=Decimal(100),
    )


def listing(listed: tuple[Instrument, ...]) -> InstrumentList:
    return InstrumentList(underlying="BTCUSD", list_id=list_id_of(listed), instruments=listed)


def snapshot(
    listed: tuple[Instrument, ...],
    now_ns: int = NOON,
    *,
    index: float = 100_000.0,
    missing: Mapping[str, Sequence[str]] | None = None,
    received_ns: int | None = None,
) -> ChainSnapshot:
    """Black-76 at 50 % volatility around `index`. missing: column -> symbols whose value is NaN ("*" = all)."""
    strikes = np.array([float(item.strike) for item in listed])
    years = years_to_expiry(now_ns, np.array([item.expiry_ns for item in listed], dtype=np.int64))
    is_call = np.array([item.option_type == "C" for item in listed])
    forward = np.full(len(listed), index)
    vol = np.full(len(listed), 0.5)
    marks = price(forward, strikes, years, vol, is_call)
    sensitivities = greeks(forward, strikes, years, vol, is_call)
    columns = {
        "mark": marks,
        "mark_iv": vol,
        "forward": forward,
        "bid": marks * 0.98,
        "ask": marks * 1.02,
        "delta": sensitivities.delta,
        "gamma": sensitivities.gamma,
        "vega": sensitivities.vega,
        "theta": sensitivities.theta,
    }
    for name, symbols in (missing or {}).items():
        columns[name] = np.array(
            [
                np.nan if "*" in symbols or item.symbol in symbols else value
                for item, value in zip(listed, columns[name], strict=True)
            ]
        )
    received = now_ns if received_ns is None else received_ns
    return ChainSnapshot(
        underlying="BTCUSD",
        list_id=list_id_of(listed),
        venue_ns=received,
        received_ns=received,
        index_price=index,
        index_received_ns=received,
        matrix=pack_columns(columns, len(listed)),
    )


def chain(
    now_ns: int = NOON,
    *,
    index: float = 100_000.0,
    days: Sequence[int] = DAYS,
    missing: Mapping[str, Sequence[str]] | None = None,
    received_ns: int | None = None,
) -> ChainView:
    listed = instruments(now_ns, days)
    taken = snapshot(listed, now_ns, index=index, missing=missing, received_ns=received_ns)
    return ChainView(taken, OptionList(listing(listed)))


def account(
    now_ns: int = NOON,
    *,
    equity: str = "10000",
    available: str = "8000",
    initial_margin: str = "2000",
    delta: Mapping[str, float] | None = None,
    complete: bool = True,
    holding: Mapping[str, str] | None = None,
) -> AccountSnapshot:
    positions = tuple(
        Position(
            symbol=symbol,
            underlying="BTCUSD",
            quantity=Decimal(quantity),
            average_price=Decimal(1),
            mark=1.0,
            unrealized_pnl_usd=0.0,
            greeks=None,
        )
        for symbol, quantity in (holding or {}).items()
    )
    return AccountSnapshot(
        account_id=ACCOUNT_ID,
        received_ns=now_ns,
        asked_ns=now_ns,
        equity_usd=Decimal(equity),
        available_margin_usd=Decimal(available),
        initial_margin_usd=Decimal(initial_margin),
        maintenance_margin_usd=Decimal(1000),
        unrealized_pnl_usd=Decimal(0),
        positions=positions,
        greeks={name: PositionGreeks(delta=value) for name, value in (delta or {}).items()},
        greeks_complete=complete,
        peak_equity_usd=Decimal(equity),
    )


def grant(legs: Sequence[LegOrder], intent_id: str, now_ns: int = NOON) -> Grant:
    return Grant(
        grant_id=f"g-{intent_id}",
        intent_id=intent_id,
        account_id=ACCOUNT_ID,
        legs=tuple(
            GrantLeg(symbol=leg.symbol, side=leg.side, max_quantity=leg.quantity, worst_price=Decimal(1))
            for leg in legs
        ),
        deadline_ns=now_ns + 60 * SECOND,
        halt_epoch=0,
        issued_ns=now_ns,
        margin_usd=100.0,
        max_loss_usd=None,
    )


def leg(
    symbol: str,
    side: str = "buy",
    quantity: str = "0.1",
    open_price: str | None = "1000",
    *,
    filled: str | None = None,
    closed: str = "0",
) -> LegStatus:
    return LegStatus(
        symbol=symbol,
        side="buy" if side == "buy" else "sell",
        quantity=Decimal(quantity),
        filled_quantity=Decimal(quantity if filled is None else filled),
        closed_quantity=Decimal(closed),
        open_price=None if open_price is None else Decimal(open_price),
        close_price=None,
    )


def trade(
    state: TradeState = "OPEN",
    *,
    strategy: str = "straddler",
    ordinal: int = 1,
    legs: Sequence[LegStatus] = (),
    exits: Sequence[ExitCondition] = (),
    created_ns: int = NOON,
    opened_ns: int | None = NOON,
    closed_ns: int | None = None,
    updated_ns: int | None = None,
    premium: str = "200",
    realized: str = "0",
    fees: str = "0",
    account_id: str = ACCOUNT_ID,
    trade_id: str = "",
) -> TradeUpdate:
    orders = [LegOrder(symbol=item.symbol, side=item.side, quantity=item.quantity) for item in legs]
    intent_id = f"{strategy}-{ordinal}"
    return TradeUpdate(
        trade_id=trade_id or f"t{1000 + ordinal}",
        account_id=account_id,
        strategy=strategy,
        ordinal=ordinal,
        intent_id=intent_id,
        state=state,
        reason="",
        legs=tuple(legs),
        execution_mode="limit",
        policy="atomic",
        exit_conditions=tuple(exits),
        hard_deadline_ns=None,
        created_ns=created_ns,
        opened_ns=opened_ns,
        closed_ns=closed_ns,
        updated_ns=updated_ns or closed_ns or opened_ns or created_ns,
        realized_pnl_usd=Decimal(realized),
        fees_usd=Decimal(fees),
        entry_premium_usd=Decimal(premium),
        grant=grant(orders, intent_id),
        grant_open=False,
    )


def moved(update: TradeUpdate, state: TradeState, now_ns: int) -> TradeUpdate:
    """The same trade, later."""
    closed_ns = now_ns if state in ("CLOSED", "FAILED", "SETTLED") else None
    return msgspec.structs.replace(update, state=state, updated_ns=now_ns, closed_ns=closed_ns)
