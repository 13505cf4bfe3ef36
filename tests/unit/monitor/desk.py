"""Messages of a small desk and a script around a MonitorCore."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from services.monitor.config import MonitorConfig
from services.monitor.core import MonitorCore
from services.monitor.effects import AlertRecord, AlertsRestored, AppendAlert
from shared.messages.account import AccountSnapshot, Position, PositionGreeks
from shared.messages.base import Message
from shared.messages.control import Gate, Halt, HaltState, StrategyStatus
from shared.messages.reconciliation import Difference, ForeignOrder, ForeignPosition, ReconciliationReport
from shared.messages.steps import Inbound, RaiseAlert, Step, StreamSynced, Tick
from shared.messages.system import Alert, Heartbeat, Severity
from shared.messages.trades import Grant, LegStatus, TradeState, TradeUpdate
from shared.strategy_hosts import StrategyHosts

SECOND = 1_000_000_000
START = 1_772_000_000 * SECOND
ACCOUNT = "main"
SYMBOL = "BTCUSD-27MAR26-110000-C"


def heartbeat(
    service: str,
    *,
    epoch: int = 1,
    ready: bool = True,
    detail: str = "",
    started_s: float = 0.0,
    beat_s: float | None = None,
    silent: dict[str, tuple[str, ...]] | None = None,
) -> Heartbeat:
    return Heartbeat(
        service=service,
        account_id=ACCOUNT,
        mode="paper",
        venue="sim",
        pid=4321,
        epoch=epoch,
        started_ns=START + int(started_s * SECOND),
        beat_ns=START + int((started_s if beat_s is None else beat_s) * SECOND),
        starts=epoch,
        ready=ready,
        detail=detail,
        event_sequences={},
        silent_streams=silent or {},
    )


def trade(state: TradeState, at_s: float = 0.0, *, trade_id: str = "t1", reason: str = "") -> TradeUpdate:
    at_ns = START + int(at_s * SECOND)
    grant = Grant(
        grant_id="g",
        intent_id="short_strangle-1",
        account_id=ACCOUNT,
        legs=(),
        deadline_ns=0,
        halt_epoch=0,
        issued_ns=0,
        margin_usd=0.0,
        max_loss_usd=None,
    )
    leg = LegStatus(
        symbol=SYMBOL,
        side="sell",
        quantity=Decimal("0.1"),
        filled_quantity=Decimal("0.1"),
        closed_quantity=Decimal(0),
        open_price=Decimal(3250),
        close_price=None,
    )
    return TradeUpdate(
        trade_id=trade_id,
        account_id=ACCOUNT,
        strategy="short_strangle",
        ordinal=1,
        intent_id="short_strangle-1",
        state=state,
        reason=reason,
        legs=(leg,),
        execution_mode="limit",
        policy="atomic",
        exit_conditions=(),
        hard_deadline_ns=None,
        created_ns=START,
        opened_ns=at_ns,
        closed_ns=None,
        updated_ns=at_ns,
        realized_pnl_usd=Decimal("12.50"),
        fees_usd=Decimal("1.25"),
        entry_premium_usd=Decimal(-325),
        grant=grant,
        grant_open=False,
    )


def account() -> AccountSnapshot:
    greeks = PositionGreeks(delta=-0.0312, gamma=-0.000002, vega=-11.2, theta=7.5, rho=-1.1)
    return AccountSnapshot(
        account_id=ACCOUNT,
        received_ns=START,
        equity_usd=Decimal("100012.50"),
        available_margin_usd=Decimal("97000.25"),
        initial_margin_usd=Decimal("3012.25"),
        maintenance_margin_usd=Decimal("1500.00"),
        unrealized_pnl_usd=Decimal("12.50"),
        positions=(
            Position(
                symbol=SYMBOL,
                underlying="BTCUSD",
                quantity=Decimal("-0.1"),
                average_price=Decimal(3250),
                mark=3125.0,
                unrealized_pnl_usd=12.5,
                greeks=greeks,
                venue_delta=-0.0311,
            ),
            Position(
                symbol="BTCUSD-27MAR26-90000-P",
                underlying="BTCUSD",
                quantity=Decimal("-0.1"),
                average_price=Decimal(2800),
                mark=None,
                unrealized_pnl_usd=None,
                greeks=None,
            ),
        ),
        greeks={"BTCUSD": greeks},
        greeks_complete=False,
        peak_equity_usd=Decimal("100100.00"),
        balances={"USDT": Decimal("97512.25"), "BTC": Decimal("0.025")},
    )


def strategy(state: str = "running", reason: str = "") -> StrategyStatus:
    return StrategyStatus(
        strategy="short_strangle",
        state=state,
        reason=reason,
        gates=(
            Gate(name="cooldown", open=True, reason="over", since_ns=START),
            Gate(name="time_window", open=False, reason="open from 09:00 to 17:00 UTC", since_ns=START),
        ),
        trades_today=1,
        open_trades=1,
        next_ordinal=2,
        last_closed_ns=None,
        signals_generated=1,
        signals_executed=1,
        updated_ns=START,
    )


def halts(*levels: Any, epoch: int = 1) -> HaltState:
    return HaltState(
        account_id=ACCOUNT,
        halt_epoch=epoch,
        halts=tuple(
            Halt(level=level, reason="<b>lost the feed</b>", raised_by="operator", raised_ns=START)
            for level in levels
        ),
    )


def foreign_position() -> ForeignPosition:
    return ForeignPosition(
        symbol=SYMBOL,
        done="left_alone",
        detail="held beyond our trades",
        quantity=Decimal("-0.3"),
        held_quantity=Decimal(0),
        average_price=Decimal(500),
    )


def foreign_order() -> ForeignOrder:
    return ForeignOrder(
        symbol=SYMBOL,
        done="left_alone",
        detail="order 77",
        venue_order_id=77,
        side="buy",
        quantity=Decimal("0.2"),
        price=Decimal(410),
    )


def compared(*found: Difference) -> ReconciliationReport:
    """A comparison with the venue, made at START."""
    return ReconciliationReport(account_id=ACCOUNT, trigger="minute", at_ns=START, differences=found)


def alert(code: str = "code", at_s: float = 0.0, *, severity: Severity = "warning", resolved: bool = False) -> Alert:
    return Alert(
        code=code,
        severity=severity,
        subject="subject",
        text=f"{code} at {at_s}",
        service="risk",
        account_id=ACCOUNT,
        mode="paper",
        raised_ns=START + int(at_s * SECOND),
        resolved=resolved,
    )


class Script:
    """One MonitorCore, started at START; times are seconds after it.

    before: the alerts written before its start. synced: it has heard all that execution has to say.
    """

    def __init__(
        self,
        config: MonitorConfig | None = None,
        *,
        before: Sequence[AlertRecord] = (),
        synced: bool = True,
        hosts: StrategyHosts = StrategyHosts(),
    ) -> None:
        self.core = MonitorCore(config or MonitorConfig(), account_id=ACCOUNT, hosts=hosts)
        self.core.handle(AlertsRestored(tuple(before)), START)
        self.core.start(START)
        if synced:
            self.sync(0)

    def sync(self, at_s: float) -> None:
        self.on(StreamSynced("execution", 1), at_s)

    def on(self, item: Any, at_s: float = 0.0) -> list[AlertRecord]:
        """Hand over one input; the alerts that were written because of it."""
        return told(self.core.handle(item, START + int(at_s * SECOND)))

    def hear(self, message: Message, at_s: float = 0.0, topic: str = "") -> list[AlertRecord]:
        return self.on(Inbound(topic, message, "", "x", 1), at_s)

    def beat(self, at_s: float, *services: str) -> None:
        for service in services or MonitorConfig().services:
            self.hear(heartbeat(service), at_s)

    def tick(self, at_s: float) -> list[AlertRecord]:
        return self.on(Tick(), at_s)


def told(step: Step) -> list[AlertRecord]:
    """The alerts written by a step; each of our own is raised on the bus too."""
    records = [effect.record for effect in step.effects if isinstance(effect, AppendAlert)]
    raised = [(effect.code, effect.subject) for effect in step.effects if isinstance(effect, RaiseAlert)]
    assert raised == [(record.code, record.subject) for record in records if record.service == "monitor"]
    return records


def summary(records: list[AlertRecord]) -> list[tuple[str, str, bool]]:
    return [(record.code, record.subject, record.resolved) for record in records]
