"""What risk and marketdata tell a dashboard: limits, the stress grid, the chain of the positions of the desk."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import numpy as np

from shared.bus import Bus
from shared.messages.base import Message
from shared.messages.market import ChainSnapshot, IndexPrice, Instrument, InstrumentList
from shared.messages.risk import (
    BreakerStatus,
    GetRisk,
    LimitUse,
    MarginGuard,
    MarginModel,
    PositionStress,
    RiskAnswer,
    RiskLimits,
    StressGrid,
    UnderlyingStress,
)
from shared.options import black76
from shared.options.chain import list_id_of, pack_columns
from shared.options.symbols import NS_PER_YEAR, parse_option_symbol
from tests.unit.monitor.desk import ACCOUNT, SECOND, START, SYMBOL

FORWARD, VOL = 105_000.0, 0.6
_HOUR_NS = 3_600 * SECOND

LIMITS = RiskLimits(
    account_id=ACCOUNT,
    received_ns=START,
    grants_refused="halted: no_new_trades",
    limits=(
        LimitUse(name="total_risk", scope="account", subject="", value=17.0, limit=20.0, unit="%"),
        LimitUse(
            name="strategy_open_trades", scope="strategy", subject="short_strangle", value=1, limit=2, unit="trades"
        ),
        LimitUse(name="expiry_risk", scope="expiry", subject="27MAR26", value=3.0, limit=0.0, unit="%"),
        LimitUse(name="order_notional", scope="order", subject="", value=None, limit=2_000_000.0, unit="USD"),
    ),
    breakers=(
        BreakerStatus(
            name="consecutive_losses",
            subject="short_strangle",
            state="open",
            since_ns=START,
            reason="4 losses in a row",
            value=4.0,
            limit=4.0,
            unit="losses",
            half_open_ns=START + _HOUR_NS,
        ),
        BreakerStatus(
            name="drawdown",
            subject="",
            state="closed",
            since_ns=0,
            reason="",
            value=1.5,
            limit=25.0,
            unit="%",
            halts=True,
        ),
    ),
    margin_guard=MarginGuard(
        utilisation_pct=63.0,
        level="no_new_trades",
        since_ns=START,
        thresholds_pct={"warn": 50.0, "no_new_trades": 60.0, "reduce": 75.0, "flatten": 90.0},
        acts_up_to="flatten",
        next_step="from 75 % on: close t1 of short_strangle, which frees about 1,200 USD",
    ),
    margin_models=(
        MarginModel(model="standard", figure="initial", model_usd=3100.0, venue_usd=3012.25, error_pct=2.91),
        MarginModel(model="portfolio", figure="initial", model_usd=None, venue_usd=3012.25, error_pct=None),
    ),
)
_PNL_USD = ((-900.0, 10.0, -400.0), (-1500.0, -200.0, -700.0))
STRESS = StressGrid(
    account_id=ACCOUNT,
    received_ns=START,
    days=1.0,
    spot_pct=(-10.0, 0.0, 10.0),
    vol_pct=(0.0, 50.0),
    pnl_usd=_PNL_USD,
    underlyings=(
        UnderlyingStress(
            underlying="BTCUSD", pnl_usd=_PNL_USD, worst_usd=-1500.0, worst_spot_pct=-10.0, worst_vol_pct=50.0
        ),
    ),
    positions=(PositionStress(symbol=SYMBOL, underlying="BTCUSD", pnl_usd=-1500.0),),
    stressed_loss_usd=1500.0,
    limit_usd=2500.0,
    complete=True,
)


def risk(message: Message) -> Message | None:
    """What risk answers to the questions of the pages."""
    return RiskAnswer(limits=LIMITS, stress=STRESS) if isinstance(message, GetRisk) else None


def silent(_: Message) -> None:
    """A service that is asked nothing."""
    return


def _option(symbol: str) -> Instrument:
    parsed = parse_option_symbol(symbol)
    return Instrument(
        symbol=symbol,
        underlying="BTCUSD",
        option_type="C" if parsed.is_call else "P",
        strike=parsed.strike,
        expiry_ns=parsed.expiry_ns,
        last_trade_ns=parsed.expiry_ns,
        tick_size=Decimal("0.1"),
        lot_size=Decimal("0.01"),
        min_quantity=Decimal("0.01"),
        max_quantity=Decimal(100),
    )


def market() -> tuple[tuple[str, Message], ...]:
    """(topic, message) of one expiry around the option that the desk holds: Black-76 at one volatility."""
    strikes = range(90_000, 125_000, 5_000)
    options = tuple(_option(f"BTCUSD-27MAR26-{strike}-{kind}") for strike in strikes for kind in "CP")
    strike = np.array([float(option.strike) for option in options])
    years = np.array([(option.expiry_ns - START) / NS_PER_YEAR for option in options])
    values = black76.greeks(FORWARD, strike, years, VOL, np.array([option.option_type == "C" for option in options]))
    columns = {
        "bid": np.floor(values.price),
        "ask": np.ceil(values.price),
        "mark": values.price,
        "mark_iv": np.full(len(options), VOL),
        "delta": values.delta,
        "forward": np.full(len(options), FORWARD),
    }
    list_id = list_id_of(options)
    chain = ChainSnapshot(
        underlying="BTCUSD",
        list_id=list_id,
        venue_ns=START,
        received_ns=START,
        index_price=FORWARD,
        index_received_ns=START,
        matrix=pack_columns(columns, len(options)),
    )
    index = IndexPrice(underlying="BTCUSD", price=FORWARD, venue_ns=START, received_ns=START)
    return (
        ("md.BTCUSD.instruments", InstrumentList(underlying="BTCUSD", list_id=list_id, instruments=options)),
        ("md.BTCUSD.chain", chain),
        ("md.BTCUSD.index", index),
    )


async def publish_market(bus: Bus) -> None:
    """As marketdata does: the list once, chain and index again and again, until it is cancelled."""
    listed, *live = market()
    bus.publish(*listed)
    while True:
        for each in live:
            bus.publish(*each)
        await asyncio.sleep(0.2)
