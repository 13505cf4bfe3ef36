"""What must hold before a strategy opens, each with its answer, the reason, and since when it is so."""

from __future__ import annotations

from collections.abc import Sequence

from shared.messages.control import Gate


class GateBook:
    """Gates by name, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}

    def set(self, name: str, *, is_open: bool, reason: str, now_ns: int) -> None:
        """Record an answer; `since_ns` changes only when the gate opens or closes."""
        earlier = self._gates.get(name)
        since_ns = earlier.since_ns if earlier is not None and earlier.open == is_open else now_ns
        self._gates[name] = Gate(name=name, open=is_open, reason=reason, since_ns=since_ns)

    @property
    def gates(self) -> tuple[Gate, ...]:
        return tuple(self._gates.values())


def first_closed(gates: Sequence[Gate]) -> Gate | None:
    return next((gate for gate in gates if not gate.open), None)
