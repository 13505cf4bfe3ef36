"""A small market, an account and a script around a RiskCore."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from services.risk.config import RiskConfig
from services.risk.core import RiskCore
from services.risk.inputs import AccountPolled
from shared.messages.control import GrantGiven, GrantRefused, Halt, HaltState, RequestGrant
from shared.messages.market import ChainSnapshot, Instrument, InstrumentList
from shared.messages.steps import Inbound, Reply, Request, Step, StreamSynced
from shared.messages.trades import Grant, LegOrder, LegStatus, TradeState, TradeUpdate
from shared.messages.venue import VenueAccount, VenuePosition
from shared.options import black76
from shared.options.chain import list_id_of, pack_columns

SECOND = 1_000_000_000
START = 1_772_000_000 * SECOND
EXPIRY = START + 30 * 86_400 * SECOND
FAR_EXPIRY = START + 60 * 86_400 * SECOND
INDEX = 100_000.0
VOL = 0.6
KEY = b"k" * 32
ACCOUNT = "main"
STRIKES = (80_000, 90_000, 100_000, 110_000, 120_000)


def option(strike: int, option_type: str, expiry_ns: int = EXPIRY, underlying: str = "BTCUSD") -> Instrument:
    day = "27MAR26" if expiry_ns == EXPIRY else "26APR26"
    return msgspec.convert(
        [
            f"{underlying}-{day}-{strike}-{option_type}",
            underlying,
            option_type,
            str(strike),
            expiry_ns,
            expiry_ns - 900 * SECOND,
            "1",
            "0.01",
            "0.01",
            "1000",
        ],
        Instrument,
    )


OPTIONS = tuple(
    option(strike, kind, expiry) for expiry in (EXPIRY, FAR_EXPIRY) for strike in STRIKES for kind in "CP"
)
LISTED = InstrumentList(underlying="BTCUSD", list_id=list_id_of(OPTIONS), instruments=OPTIONS)
CALL_110, PUT_90, CALL_120, PUT_80, CALL_100, PUT_100 = (
    f"BTCUSD-27MAR26-{name}" for name in ("110000-C", "90000-P", "120000-C", "80000-P", "100000-C", "100000-P")
)


def chain(at_ns: int, *, index: float = INDEX, missing: Mapping[str, tuple[str, ...]] | None = None) -> ChainSnapshot:
    """Black-76 at 60 % volatility, two per cent wide; `missing` maps a column to the symbols without a value."""
    strikes = np.array([float(instrument.strike) for instrument in OPTIONS])
    years = np.array([(instrument.expiry_ns - at_ns) / (365 * 86_400 * SECOND) for instrument in OPTIONS])
    is_call = np.array([instrument.option_type == "C" for instrument in OPTIONS])
    values = black76.greeks(index, strikes, years, VOL, is_call)
    columns = {
        "mark": values.price,
        "bid": np.floor(values.price * 0.99),
        "ask": np.ceil(values.price * 1.01),
        "delta": values.delta,
        "gamma": values.gamma,
        "vega": values.vega,
        "theta": values.theta,
        "rho": values.rho,
        "mark_iv": np.full(len(OPTIONS), VOL),
        "forward": np.full(len(OPTIONS), index),
    }
    for name, symbols in (missing or {}).items():
        for row, instrument in enumerate(OPTIONS):
            if instrument.symbol in symbols:
                columns[name][row] = np.nan
    return ChainSnapshot(
        underlying="BTCUSD",
        list_id=LISTED.list_id,
        venue_ns=at_ns,
        received_ns=at_ns,
        index_price=index,
        index_received_ns=at_ns,
        matrix=pack_columns(columns, len(OPTIONS)),
    )


def leg(symbol: str, side: str, quantity: str) -> LegOrder:
    return msgspec.convert({"symbol": symbol, "side": side, "quantity": quantity}, LegOrder)


STRANGLE = (leg(CALL_110, "sell", "0.1"), leg(PUT_90, "sell", "0.1"))
LONG_CALL = (leg(CALL_110, "buy", "0.1"),)


def ask(
    intent_id: str = "s-1",
    legs: tuple[LegOrder, ...] = LONG_CALL,
    *,
    max_loss_usd: float | None = None,
    valid_until_ns: int = START + 3_600 * SECOND,
    account_id: str = ACCOUNT,
) -> RequestGrant:
    return RequestGrant(
        intent_id=intent_id,
        account_id=account_id,
        strategy="s",
        legs=legs,
        execution_mode="limit",
        max_loss_usd=max_loss_usd,
        valid_until_ns=valid_until_ns,
    )


def account(equity: str = "100000", available: str | None = None, initial_margin: str = "0") -> VenueAccount:
    return VenueAccount(
        equity_usd=Decimal(equity),
        available_margin_usd=Decimal(available if available is not None else equity),
        initial_margin_usd=Decimal(initial_margin),
        maintenance_margin_usd=Decimal(0),
        unrealized_pnl_usd=Decimal(0),
    )


def position(symbol: str, quantity: str) -> VenuePosition:
    return VenuePosition(
        symbol=symbol, quantity=Decimal(quantity), average_price=Decimal(100), mark=100.0, unrealized_pnl_usd=0.0
    )


def polled(
    at_ns: int, figures: VenueAccount | None = None, positions: tuple[VenuePosition, ...] = ()
) -> AccountPolled:
    return AccountPolled(asked_ns=at_ns, received_ns=at_ns, account=figures or account(), positions=positions)


def trade(
    grant: Grant, at_ns: int, *, state: TradeState = "OPENING", grant_open: bool = True, trade_id: str = "t1"
) -> TradeUpdate:
    return TradeUpdate(
        trade_id=trade_id,
        account_id=ACCOUNT,
        strategy="s",
        ordinal=1,
        intent_id=grant.intent_id,
        state=state,
        reason="",
        legs=tuple(
            LegStatus(
                symbol=granted.symbol,
                side=granted.side,
                quantity=granted.max_quantity,
                filled_quantity=Decimal(0),
                closed_quantity=Decimal(0),
                open_price=None,
                close_price=None,
            )
            for granted in grant.legs
        ),
        execution_mode="limit",
        policy="atomic",
        exit_conditions=(),
        hard_deadline_ns=None,
        created_ns=at_ns,
        opened_ns=None,
        closed_ns=None,
        updated_ns=at_ns,
        realized_pnl_usd=Decimal(0),
        fees_usd=Decimal(0),
        entry_premium_usd=Decimal(0),
        grant=grant,
        grant_open=grant_open,
    )


WIDE = RiskConfig(
    grant_ttl_ms=120_000,
    max_delta_usd=500_000.0,
    max_gamma_usd=250_000.0,
    max_vega_usd=25_000.0,
    max_theta_usd=25_000.0,
    max_trade_risk_pct=20,
    max_total_risk_pct=100,
    max_open_trades=50,
    max_drawdown_pct=30,
)
"""Limits that the other tests do not meet."""


def limits(**changes: Any) -> RiskConfig:
    """WIDE with some other limits."""
    return msgspec.structs.replace(WIDE, **changes)


class Script:
    """One RiskCore with its journal; the time of an input is in seconds after START."""

    def __init__(self, config: RiskConfig | None = None) -> None:
        self.config = config or WIDE
        self.core = self._new_core()
        self.rows: list[Any] = []
        self.epoch = 1

    def _new_core(self) -> RiskCore:
        return RiskCore(self.config, account_id=ACCOUNT, grant_key=KEY)

    def on(self, item: Any, at_s: float = 0.0) -> Step:
        step = self.core.handle(item, START + int(at_s * SECOND))
        self.rows += step.rows
        return step

    def hear(self, message: Any, at_s: float = 0.0, publisher: str = "marketdata", epoch: int | None = None) -> Step:
        return self.on(Inbound("", message, "", publisher, self.epoch if epoch is None else epoch), at_s)

    def market(self, at_s: float = 0.0, **changes: Any) -> Script:
        self.hear(LISTED, at_s)
        self.hear(chain(START + int(at_s * SECOND), **changes), at_s)
        return self

    def poll(
        self, at_s: float = 0.0, figures: VenueAccount | None = None, positions: tuple[VenuePosition, ...] = ()
    ) -> Step:
        return self.on(polled(START + int(at_s * SECOND), figures, positions), at_s)

    def ready(self, at_s: float = 0.0, **changes: Any) -> Script:
        """Market, account and execution's replay are there."""
        self.market(at_s)
        self.on(StreamSynced("execution", self.epoch), at_s)
        self.poll(at_s, **changes)
        return self

    def answer(self, request: RequestGrant, at_s: float = 0.0) -> Grant | GrantRefused:
        step = self.on(Request(f"r-{request.intent_id}", request, "strategy"), at_s)
        reply = step.effects[0]
        assert isinstance(reply, Reply)
        if isinstance(reply.message, GrantGiven):
            return reply.message.grant
        assert isinstance(reply.message, GrantRefused)
        return reply.message

    def granted(self, request: RequestGrant, at_s: float = 0.0) -> Grant:
        answer = self.answer(request, at_s)
        assert isinstance(answer, Grant), answer
        return answer

    def refused(self, request: RequestGrant, at_s: float = 0.0) -> GrantRefused:
        answer = self.answer(request, at_s)
        assert isinstance(answer, GrantRefused), answer
        return answer

    def restart(self, at_s: float = 0.0) -> Step:
        """Kill the core: only its journal survives."""
        self.core = self._new_core()
        for entry in self.rows:
            self.core.apply(entry)
        return self.core.start(START + int(at_s * SECOND))


def halt_state(epoch: int, *levels: str, raised_by: str = "operator") -> HaltState:
    halts = tuple(
        msgspec.convert({"level": level, "reason": "test", "raised_by": raised_by, "raised_ns": START}, Halt)
        for level in levels
    )
    return HaltState(account_id=ACCOUNT, halt_epoch=epoch, halts=halts)
