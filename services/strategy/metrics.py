"""What a strategy host measures beside what every service does: signals by strategy, and from tick to intent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from services.strategy.slot import Slot
from shared.messages.control import RequestGrant, StrategyStatus
from shared.messages.steps import Entry, Publish, SendRequest
from shared.messages.trades import OpenTrade
from shared.metrics import Metrics

STATES = ("running", "paused", "stopping", "stopped", "failed")


class Host(Protocol):
    """What is read of the core's host."""

    @property
    def performed_ns(self) -> int: ...

    def cause_of(self, cause_id: str) -> tuple[str, int]: ...


class StrategyMetrics:
    """An observer of the host. `slots` reads the core's strategies, whose counts begin anew with the core."""

    def __init__(self, metrics: Metrics, host: Host, slots: Callable[[], Mapping[str, Slot]]) -> None:
        self._host = host
        self._slots = slots
        self._begun: dict[str, tuple[str, str, int]] = {}
        self._newest: dict[str, StrategyStatus] = {}
        read = metrics.read
        read(
            "counter",
            "voldesk_signals_generated_total",
            "Wishes of a strategy to open something",
            ("strategy",),
            lambda: {name: slot.signals_generated for name, slot in slots().items()},
        )
        read(
            "counter",
            "voldesk_signals_executed_total",
            "Signals that opened a trade",
            ("strategy",),
            lambda: {name: slot.signals_executed for name, slot in slots().items()},
        )
        read(
            "counter",
            "voldesk_signals_refused_total",
            "Signals that were refused, by the code of the refusal: entry_closed is the host itself, the others are "
            "of risk and execution",
            ("strategy", "reason"),
            lambda: self._outcomes("refused"),
        )
        read(
            "counter",
            "voldesk_signals_reported_total",
            "Signals that were only reported, by why: dry_run",
            ("strategy", "reason"),
            lambda: self._outcomes("reported"),
        )
        self._state = metrics.table(
            "voldesk_strategy_state", "1 for the state the strategy is in, 0 for the others", "strategy", "state"
        )
        self._gate = metrics.table(
            "voldesk_strategy_gate_open",
            "1 when this condition for opening holds, else 0; the reason is in `voldesk strategies`",
            "strategy",
            "gate",
        )
        self._open_trades = metrics.table(
            "voldesk_strategy_open_trades", "Trades of the strategy that are not final", "strategy"
        )
        self._tick_to_intent = metrics.histograms(
            "voldesk_tick_to_intent_seconds",
            "Until a strategy's intent left, by stage: grant_asked (risk is asked), intent_sent (risk has granted, "
            "execution is asked). From the publishing of the message that caused it, which trigger names (chain, "
            "index_price, trade ...); of a timer from when it was due",
            "trigger",
            "stage",
        )

    hears = frozenset[type]({RequestGrant, OpenTrade, StrategyStatus})

    def committed(self, entries: Sequence[Entry]) -> None:
        pass

    def performed(self, effect: Any, cause_id: str) -> None:
        match effect:
            case SendRequest(message=RequestGrant(strategy=strategy, intent_id=intent_id)):
                self._asked(strategy, intent_id, effect.request_id, cause_id)
            case SendRequest(message=OpenTrade(strategy=strategy, intent_id=intent_id)):
                self._sent(strategy, intent_id)
            case Publish(message=StrategyStatus() as status):
                self._newest[status.strategy] = status
                self._show()

    def words(self) -> dict[str, object]:
        """For the health line."""
        slots = self._slots().values()
        return {
            "strategies": len(self._newest),
            "running": sum(status.state == "running" for status in self._newest.values()),
            "open_trades": sum(status.open_trades for status in self._newest.values()),
            "signals": sum(slot.signals_generated for slot in slots),
            "signals_executed": sum(slot.signals_executed for slot in slots),
        }

    def _asked(self, strategy: str, intent_id: str, request_id: str, cause_id: str) -> None:
        """A repeated question is the same intent: only the first one tells how fast we were."""
        begun = self._begun.get(strategy)
        if begun is not None and begun[0] == request_id:
            return
        trigger, since_ns = self._host.cause_of(cause_id)
        if since_ns:
            self._begun[strategy] = (request_id, trigger, since_ns)
            self._tick_to_intent(trigger, "grant_asked").observe((self._host.performed_ns - since_ns) / 1e9)

    def _sent(self, strategy: str, intent_id: str) -> None:
        request_id, trigger, since_ns = self._begun.get(strategy, ("", "", 0))
        if since_ns and request_id.startswith(f"{intent_id}/"):
            self._begun[strategy] = (request_id, trigger, 0)
            self._tick_to_intent(trigger, "intent_sent").observe((self._host.performed_ns - since_ns) / 1e9)

    def _outcomes(self, kind: str) -> dict[tuple[str, str], float]:
        return {
            (name, code): count
            for name, slot in self._slots().items()
            for (ended, code), count in tuple(slot.outcomes.items())
            if ended == kind
        }

    def _show(self) -> None:
        rows = self._newest.values()
        self._state.show({(row.strategy, state): float(row.state == state) for row in rows for state in STATES})
        self._gate.show({(row.strategy, gate.name): float(gate.open) for row in rows for gate in row.gates})
        self._open_trades.show({row.strategy: row.open_trades for row in rows})
