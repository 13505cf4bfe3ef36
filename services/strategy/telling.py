"""Why strategies acted or did not, as lines of the log: gates when they open or close, intents and their outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services.strategy.rows import HedgingPaused, HedgingResumed, RollBegun, RollEnded, StrategyTold
from services.strategy.slot import Slot
from shared.log_lines import Told
from shared.messages.control import RequestGrant, StrategyStatus
from shared.messages.quoting import ChangeOrders
from shared.messages.reducing import ReduceTrade
from shared.messages.steps import SendRequest
from shared.messages.trades import CloseTrade, OpenTrade
from shared.strategy.protocol import IntentOutcome

_TOLD_OTHERWISE = frozenset({"intent", "risk_refusal", "execution_refusal"})
"""Gates that an intent on its way closes: its own lines say it."""

_ASKERS_REMEMBERED = 1_000


class StrategyNarrator:
    """`slots` reads the core's strategies. Remembers what it said last, so that only what is new is said."""

    hears = frozenset[type]({RequestGrant, OpenTrade, CloseTrade, ReduceTrade, ChangeOrders, StrategyStatus})

    def __init__(self, slots: Callable[[], Mapping[str, Slot]]) -> None:
        self._slots = slots
        self._gates: dict[str, dict[str, bool]] = {}
        self._states: dict[str, str] = {}
        self._asked: dict[str, str] = {}
        self._in_flight: dict[str, str] = {}
        self._outcomes: dict[str, tuple[str, str, str]] = {}

    def told(self, what: Any) -> Iterable[Told]:
        match what:
            case StrategyTold():
                fields = {"strategy": what.strategy, "action": what.action, "requested_by": what.requested_by}
                yield Told("strategy", "strategy told", fields | ({"closed": what.closed} if what.closed else {}))
            case RollBegun():
                names = {"strategy": what.strategy, "trade_id": what.trade_id}
                yield Told(
                    "strategy", "roll begun", {**names, "reason": what.reason, "net_limit_usd": what.net_limit_usd}
                )
            case RollEnded():
                names = {"strategy": what.strategy, "trade_id": what.trade_id, "successor": what.successor}
                yield Told("strategy", f"roll ended: {what.outcome}", {**names, "reason": what.reason})
            case HedgingPaused() | HedgingResumed():
                names = {"strategy": what.strategy, "trade_id": what.trade_id, "requested_by": what.requested_by}
                paused = isinstance(what, HedgingPaused)
                hedge = {"hedge": what.hedge} if isinstance(what, HedgingPaused) and what.hedge else {}
                yield Told("strategy", f"hedging {'paused' if paused else 'resumed'}", {**names, **hedge})
            case SendRequest():
                yield from self._sent(what)
            case _ if isinstance(status := getattr(what, "message", None), StrategyStatus):
                yield from self._state(status)
                yield from self._gates_of(status)
                yield from self._outcome(status.strategy)

    def _sent(self, request: SendRequest) -> Iterable[Told]:
        """A request that is repeated with its id is told once."""
        match request.message:
            case RequestGrant() as ask:
                if self._is_repeated(ask.strategy, request.request_id):
                    return
                self._in_flight[ask.strategy] = ask.intent_id
                legs = ", ".join(f"{leg.side} {leg.quantity} {leg.symbol}" for leg in ask.legs)
                names = {"strategy": ask.strategy, "intent_id": ask.intent_id, "request_id": request.request_id}
                asked = {"legs": legs, "execution_mode": ask.execution_mode, "max_loss_usd": ask.max_loss_usd}
                yield Told("strategy", "intent made", {**names, **asked})
            case OpenTrade() as intent:
                if self._is_repeated(intent.strategy, request.request_id):
                    return
                names = {"strategy": intent.strategy, "intent_id": intent.intent_id, "request_id": request.request_id}
                reasons = "; ".join(intent.entry_reasons)
                yield Told("strategy", "intent sent", {**names, "grant_id": intent.grant.grant_id, "gates": reasons})
            case CloseTrade() as close:
                if self._is_repeated(close.trade_id, request.request_id):
                    return
                names = {"trade_id": close.trade_id, "strategy": close.requested_by.removeprefix("strategy ")}
                yield Told(
                    "strategy", "close asked", {**names, "reason": close.reason, "request_id": request.request_id}
                )
            case ReduceTrade() as less:
                if self._is_repeated(less.trade_id, request.request_id):
                    return
                names = {"trade_id": less.trade_id, "strategy": less.requested_by.removeprefix("strategy ")}
                asked = {"keep": str(less.keep), "reason": less.reason, "request_id": request.request_id}
                yield Told("strategy", "reduction asked", {**names, **asked})
            case ChangeOrders() as change:
                fields = {"trade_id": change.trade_id, "request_id": request.request_id, "place": len(change.place)}
                fields |= {"amend": len(change.amend), "cancel": len(change.cancel)}
                yield Told("strategy", "orders changed", fields, "debug")

    def _is_repeated(self, asker: str, request_id: str) -> bool:
        if self._asked.get(asker) == request_id:
            return True
        self._asked[asker] = request_id
        if len(self._asked) > _ASKERS_REMEMBERED:
            del self._asked[next(iter(self._asked))]
        return False

    def _state(self, status: StrategyStatus) -> Iterable[Told]:
        if self._states.get(status.strategy) == status.state:
            return
        self._states[status.strategy] = status.state
        fields = {"strategy": status.strategy, "state": status.state, "reason": status.reason}
        yield Told("strategy", "strategy state", fields, "error" if status.state == "failed" else "info")

    def _gates_of(self, status: StrategyStatus) -> Iterable[Told]:
        """Of a gate that is new only that it is closed is told."""
        known = self._gates.setdefault(status.strategy, {})
        for gate in status.gates:
            was_open, known[gate.name] = known.get(gate.name, True), gate.open
            if was_open == gate.open or gate.name in _TOLD_OTHERWISE:
                continue
            fields = {"strategy": status.strategy, "gate": gate.name, "reason": gate.reason}
            yield Told("strategy", "gate opened" if gate.open else "gate closed", fields)

    def _outcome(self, strategy: str) -> Iterable[Told]:
        slot = self._slots().get(strategy)
        outcome = None if slot is None else slot.last_outcome
        if outcome is None:
            return
        said = (outcome.kind, outcome.code, outcome.reason)
        intent_id = self._in_flight.get(strategy) if slot is not None and slot.flight is None else None
        if intent_id is None and self._outcomes.get(strategy) == said:
            return
        self._in_flight.pop(strategy, None)
        self._outcomes[strategy] = said
        yield Told("strategy", f"intent {outcome.kind}", _of_outcome(strategy, intent_id, outcome))


def _of_outcome(strategy: str, intent_id: str | None, outcome: IntentOutcome) -> dict[str, object]:
    return {
        "strategy": strategy,
        "intent_id": intent_id,
        "trade_id": outcome.trade_id,
        "code": outcome.code,
        "refused_by": outcome.refused_by,
        "reason": outcome.reason,
    }
