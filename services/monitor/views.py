"""What the monitor knows, as it shows it."""

from __future__ import annotations

import msgspec

from services.monitor.alerts import Matter
from services.monitor.ended import EndedTrade, ended_of
from shared.messages.account import AccountSnapshot
from shared.messages.alerts import ChannelView
from shared.messages.control import GrantRefused, HaltState, StrategyStatus
from shared.messages.reconciliation import Foreign, ReconciliationReport
from shared.messages.risk import RiskLimits
from shared.messages.system import Heartbeat
from shared.messages.trades import TradeUpdate


class ServiceView(msgspec.Struct, kw_only=True):
    """One service. `heartbeat` None: never heard. `not_ready_since_ns` None: ready.

    up_since_ns: this process is heard without a break since then. ready_since_ns: the heartbeat, by its own time,
    since which this process says without a break that it is ready; None while it is not. short_runs: processes before
    it, in a row, that ended soon after their start.
    """

    name: str
    heartbeat: Heartbeat | None
    heard_ns: int
    is_down: bool = False
    up_since_ns: int = 0
    short_runs: int = 0
    not_ready_since_ns: int | None = None
    ready_since_ns: int | None = None

    @property
    def ready_for_ns(self) -> int:
        """For how long this process has been heard to be ready without a break; 0 while it is not, or is silent."""
        if self.heartbeat is None or self.ready_since_ns is None or self.is_down:
            return 0
        return self.heartbeat.beat_ns - self.ready_since_ns


class RefusedIntent(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that risk refused."""

    refused: GrantRefused
    received_ns: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the status page shows, at `now_ns`. Trades and alerts newest first.

    reconciled: the newest comparison with the venue; None before one was heard. tells_somebody: whether any route
    leads to a channel, so that alerts reach people who do not look. forgotten: what ended within the last 24 hours
    and is no more among `trades`.
    """

    now_ns: int
    account_id: str
    services: tuple[ServiceView, ...]
    account: AccountSnapshot | None
    halts: HaltState | None
    trades: tuple[TradeUpdate, ...]
    strategies: tuple[StrategyStatus, ...]
    alerts: tuple[Matter, ...]
    refusals: tuple[RefusedIntent, ...]
    silent_feeds: tuple[str, ...]
    channels: tuple[ChannelView, ...] = ()
    limits: RiskLimits | None = None
    reconciled: ReconciliationReport | None = None
    tells_somebody: bool = False
    forgotten: tuple[EndedTrade, ...] = ()

    def ended_since(self, since_ns: int) -> list[EndedTrade]:
        """Every trade that has ended since then, at most 24 hours ago."""
        known = (ended_of(trade) for trade in self.trades if trade.is_final)
        return [each for each in (*known, *self.forgotten) if each.ended_ns >= since_ns]

    def opened_since(self, since_ns: int) -> int:
        """How many trades were opened since then, at most 24 hours ago."""
        opened_ns = [*(each.opened_ns for each in self.trades), *(each.opened_ns for each in self.forgotten)]
        return sum((each or 0) >= since_ns for each in opened_ns)

    @property
    def foreign(self) -> tuple[Foreign, ...]:
        """What the venue held that is no trade's, as far as is known."""
        found = () if self.reconciled is None else self.reconciled.differences
        return tuple(each for each in found if isinstance(each, Foreign))

    @property
    def is_flattening(self) -> bool:
        """Whether a halt that closes everything is in force."""
        return self.halts is not None and any(halt.level == "flatten" for halt in self.halts.halts)
