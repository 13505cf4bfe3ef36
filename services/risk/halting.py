"""Asks execution for a halt when a limit of the account is broken, until it is known to be in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from services.risk.breaches import Measure
from services.risk.config import RiskConfig
from services.risk.rows import BreachEnded, BreachFound, BreachHalted, Row
from shared.messages.base import Message
from shared.messages.control import HaltsAnswered, RaiseHalt
from shared.messages.steps import RaiseAlert, ReplyReceived, RequestTimedOut, SendRequest
from shared.messages.system import Severity
from shared.messages.trades import HaltLevel, Refusal

_MS = 1_000_000
Emit = Callable[[Row], None]


class _Breach(msgspec.Struct):
    """A broken limit. `retry_ns` None: the request is on its way."""

    request_id: str
    detail: str
    level: HaltLevel
    since_ns: int
    halted: bool = False
    attempt: int = 0
    retry_ns: int | None = None


class Halting:
    """Durable: the breaches and whether their halts are in force, folded from rows."""

    def __init__(self, config: RiskConfig, account_id: str) -> None:
        self._config = config
        self._account_id = account_id
        self._breaches: dict[str, _Breach] = {}
        self._reads_broken: Counter[str] = Counter()

    @property
    def broken(self) -> tuple[str, ...]:
        """The codes of what is broken now."""
        return tuple(self._breaches)

    def since_ns(self, code: str) -> int | None:
        """When it broke; None while it is whole."""
        breach = self._breaches.get(code)
        return None if breach is None else breach.since_ns

    def apply(self, row: BreachFound | BreachHalted | BreachEnded, at_ns: int) -> None:
        match row:
            case BreachFound(code=code, request_id=request_id, detail=detail, level=level):
                self._breaches[code] = _Breach(request_id, detail, level, at_ns)
            case BreachHalted(code=code):
                self._breaches[code].halted = True
                self._breaches[code].retry_ns = None
            case BreachEnded(code=code):
                del self._breaches[code]

    def start(self) -> list[Any]:
        """Ask again for halts that nobody is known to have set."""
        return [self._request(breach) for breach in self._breaches.values() if not breach.halted]

    def next_deadline_ns(self) -> int | None:
        return min((b.retry_ns for b in self._breaches.values() if b.retry_ns is not None), default=None)

    def on_time(self, now_ns: int) -> list[Any]:
        due = [b for b in self._breaches.values() if b.retry_ns is not None and b.retry_ns <= now_ns]
        return [self._request(breach) for breach in due]

    def judge(self, measure: Measure, now_ns: int, emit: Emit) -> list[Any]:
        """A read of the account showed this figure."""
        code = measure.code
        self._reads_broken[code] = self._reads_broken[code] + 1 if measure.broken else 0
        if code in self._breaches:
            return self.end(code, f"{code} is inside its limit again", emit) if measure.over else []
        if self._reads_broken[code] >= self._config.breach_polls:
            return self.find(code, measure.detail, self._config.breach_halt_level, now_ns, emit)
        return []

    def find(self, code: str, detail: str, level: HaltLevel, now_ns: int, emit: Emit) -> list[Any]:
        request_id = f"risk-halt-{self._account_id}-{code}-{now_ns}"
        emit(BreachFound(code=code, request_id=request_id, detail=detail, level=level))
        return [self._alert(code, detail, resolved=False), self._request(self._breaches[code])]

    def end(self, code: str, text: str, emit: Emit) -> list[Any]:
        """It is whole again; the halt stays until a person lifts it."""
        emit(BreachEnded(code=code))
        return [self._alert(code, text, resolved=True)]

    def on_answer(self, reply: ReplyReceived | RequestTimedOut, now_ns: int, emit: Emit) -> list[Any]:
        effects: list[Any] = []
        found = [(c, b) for c, b in self._breaches.items() if not b.halted and _attempt_id(b) == reply.request_id]
        for code, breach in found:
            message: Message | None = reply.message if isinstance(reply, ReplyReceived) else None
            if isinstance(message, HaltsAnswered):
                emit(BreachHalted(code=code))
                continue
            breach.retry_ns = now_ns + self._config.halt_retry_ms * _MS
            if message is not None:
                # The same id would be given the same answer for ever.
                breach.attempt += 1
                reason = message.detail if isinstance(message, Refusal) else type(message).__name__
                effects.append(self._alert(code, f"execution refused to halt: {reason}", resolved=False))
        return effects

    def _request(self, breach: _Breach) -> SendRequest:
        breach.retry_ns = None
        message = RaiseHalt(level=breach.level, reason=breach.detail, requested_by="risk")
        return SendRequest("execution", message, _attempt_id(breach))

    def _alert(self, code: str, text: str, *, resolved: bool) -> RaiseAlert:
        severity: Severity = "info" if resolved else "critical"
        return RaiseAlert(code=code, severity=severity, subject=self._account_id, text=text, resolved=resolved)


def _attempt_id(breach: _Breach) -> str:
    return breach.request_id if breach.attempt == 0 else f"{breach.request_id}-{breach.attempt}"
