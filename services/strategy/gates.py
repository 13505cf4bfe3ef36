"""What must hold before a strategy opens, each with its answer, the reason, and since when it is so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from shared.messages.conditions import EntryCondition, ExitCondition, HostFunction
from shared.messages.control import Gate, StrategyStatus, TradeExits
from shared.strategy.protocol import IntentOutcome

OPEN_GATES = {
    "state": "running",
    "execution": "heard, ready, events replayed",
    "risk": "heard and ready",
    "halts": "none in force",
    "intent": "none in flight",
    "disk": "has room",
}
"""What is said of each gate of the host while it is open."""


class GateBook:
    """Gates by name, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}

    def set(self, name: str, *, is_open: bool, reason: str, now_ns: int) -> None:
        """Record an answer; `since_ns` changes only when the gate opens or closes."""
        earlier = self._gates.get(name)
        if earlier is not None and earlier.open == is_open and earlier.reason == reason:
            return
        since_ns = earlier.since_ns if earlier is not None and earlier.open == is_open else now_ns
        self._gates[name] = Gate(name=name, open=is_open, reason=reason, since_ns=since_ns)

    @property
    def gates(self) -> tuple[Gate, ...]:
        return tuple(self._gates.values())


class Refusals:
    """What risk and execution said to the last intents in a row. Volatile: a restart forgets it."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, int, str]] = {}
        self._gates = GateBook()

    def on_outcome(self, outcome: IntentOutcome, now_ns: int) -> None:
        """Count a refusal; whoever let an intent pass refuses no more."""
        if outcome.kind != "refused":
            self._said.clear()
        elif outcome.refused_by:
            if outcome.refused_by == "execution":
                self._said.pop("risk", None)
            count, _, _ = self._said.get(outcome.refused_by, (0, 0, ""))
            self._said[outcome.refused_by] = (count + 1, now_ns, outcome.reason)

    def shown(self, closed: str, now_ns: int) -> tuple[Gate, ...]:
        """The gates risk_refusal and execution_refusal. `closed`: the gate for which nothing is asked now, or ""."""
        for service in ("risk", "execution"):
            name = f"{service}_refusal"
            if service not in self._said:
                self._gates.set(name, is_open=True, reason="nothing was refused", now_ns=now_ns)
                continue
            count, at_ns, reason = self._said[service]
            ago_s = (now_ns - at_ns) / 1_000_000_000
            shown = f"refused {count}× in a row, last {ago_s:.0f} s ago: {reason}"
            if closed:
                shown = f"not asked while {closed} is closed; {shown}"
            self._gates.set(name, is_open=bool(closed), reason=shown, now_ns=now_ns)
        return self._gates.gates


def names_of(conditions: Sequence[EntryCondition | ExitCondition]) -> list[str]:
    """The kind of each condition, or its function's name; a number is added from the second of a name on."""
    counts: Counter[str] = Counter()
    names = []
    for condition in conditions:
        kind = condition.name if isinstance(condition, HostFunction) else str(condition.__struct_config__.tag)
        counts[kind] += 1
        names.append(kind if counts[kind] == 1 else f"{kind}#{counts[kind]}")
    return names


def first_closed(gates: Sequence[Gate]) -> Gate | None:
    return next((gate for gate in gates if not gate.open), None)


def essence(status: StrategyStatus) -> object:
    """What of a status is worth publishing at once: two that differ in wording and time alone are equal in it."""
    exits = [(_essence_of_exits(trade), without_reasons(trade.conditions)) for trade in status.exits]
    return _essence_of_status(status), without_reasons(status.gates), exits


def _fields_but(kind: type[msgspec.Struct], *left_out: str) -> Callable[[Any], Any]:
    return attrgetter(*(name for name in kind.__struct_fields__ if name not in left_out))


_essence_of_status = _fields_but(StrategyStatus, "gates", "exits", "reason", "updated_ns")
_essence_of_exits = _fields_but(TradeExits, "conditions")
_essence_of_gate = _fields_but(Gate, "reason")


def without_reasons(gates: Sequence[Gate]) -> list[object]:
    """What of gates does not change with every second."""
    return [_essence_of_gate(gate) for gate in gates]
