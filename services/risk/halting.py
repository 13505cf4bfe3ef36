"""Asks execution for a halt when a limit of the account is broken, until it is known to be in force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from services.risk.breaches import Measure
from services.risk.config import RiskConfig
from services.risk.rows import BreachEnded, BreachFound, BreachHalted, BreachLifted, Row
from shared.messages.base import Message
from shared.messages.control import BY_JOURNAL, HaltsAnswered, HaltState, RaiseHalt
from shared.messages.steps import RaiseAlert, ReplyReceived, RequestTimedOut, SendRequest
from shared.messages.system import Severity
from shared.messages.trades import HaltLevel, Refusal

_MS = 1_000_000
_INSIDE_AGAIN = 0.98
"""A limit whose halt a person lifted is whole again below this share of it; the next fall to it halts."""

_WORSE_BY = 0.1
"""Still broken, it halts again when its figure has grown by this share of the limit since the halt was lifted."""
_BY_RISK = "risk"
_LAG_NS = 20_000 * _MS
"""What execution publishes may lag behind its answer, but not by so much."""
Emit = Callable[[Row], None]
Fate = Literal["stands", "lifted", "lost"]
"""What became of the halt of a breach: a person lifted it, or execution's journal lost it, and nobody did."""


class _Breach(msgspec.Struct):
    """A broken limit. `retry_ns` None: the request is on its way. `lifted_pct`: its figure when a person lifted the
    halt, None before. `behind_ns`: since when execution tells an epoch before that of the halt."""

    request_id: str
    detail: str
    level: HaltLevel
    since_ns: int
    halted: bool = False
    halt_epoch: int = 0
    lifted_pct: float | None = None
    attempt: int = 0
    retry_ns: int | None = None
    behind_ns: int | None = None


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

    def apply(self, row: BreachFound | BreachHalted | BreachLifted | BreachEnded, at_ns: int) -> None:
        match row:
            case BreachFound(code=code, request_id=request_id, detail=detail, level=level):
                self._breaches[code] = _Breach(request_id, detail, level, at_ns)
            case BreachHalted(code=code, halt_epoch=epoch):
                breach = self._breaches[code]
                breach.halted, breach.halt_epoch, breach.retry_ns = True, epoch, None
            case BreachLifted(code=code, value_pct=value):
                self._breaches[code].lifted_pct = value
            case BreachEnded(code=code):
                del self._breaches[code]

    def start(self) -> list[Any]:
        """Ask again for halts that nobody is known to have set."""
        return [self._request(breach) for breach in self._breaches.values() if not breach.halted]

    def next_deadline_ns(self) -> int | None:
        if not self._breaches:
            return None
        return min((b.retry_ns for b in self._breaches.values() if b.retry_ns is not None), default=None)

    def on_time(self, now_ns: int) -> list[Any]:
        due = [b for b in self._breaches.values() if b.retry_ns is not None and b.retry_ns <= now_ns]
        return [self._request(breach) for breach in due]

    def judge(self, measure: Measure, now_ns: int, emit: Emit, halts: HaltState | None) -> list[Any]:
        """A read of the account showed this figure. halts: those in force, None while execution has not told."""
        code = measure.code
        breach = self._breaches.get(code)
        if breach is None or breach.lifted_pct is None:
            self._count(code, measure.broken)
        if breach is None:
            return self._find(measure, now_ns, emit) if self._is_sure(code) else []
        if breach.lifted_pct is not None:
            return self._judge_anew(measure, breach.lifted_pct, now_ns, emit)
        if measure.over:
            return self.end(code, f"{code} is inside its limit again", emit)
        fate = self.fate(code, halts, now_ns)
        if fate == "lost":
            emit(BreachEnded(code=code))
            return self._find(measure, now_ns, emit)
        if fate == "lifted":
            emit(BreachLifted(code=code, value_pct=measure.value))
            self._reads_broken[code] = 0
            again = measure.value + measure.limit * _WORSE_BY
            text = f"the halt was lifted at {measure.value:.2f} %: the next one comes at {again:.2f} %"
            return [self._alert(code, f"{text}, or at the limit once it has been inside", resolved=True)]
        return []

    def _judge_anew(self, measure: Measure, lifted_pct: float, now_ns: int, emit: Emit) -> list[Any]:
        """A limit is broken and a person let the desk go on all the same: not without end."""
        code = measure.code
        if measure.value < measure.limit * _INSIDE_AGAIN:
            self._count(code, False)
            emit(BreachEnded(code=code))
            return []
        self._count(code, measure.value >= lifted_pct + measure.limit * _WORSE_BY)
        if not self._is_sure(code):
            return []
        emit(BreachEnded(code=code))
        return self._find(measure, now_ns, emit)

    def fate(self, code: str, halts: HaltState | None, now_ns: int) -> Fate:
        """What became of the halt of a breach. halts: those in force, None while execution has not told."""
        breach = self._breaches.get(code)
        if breach is None or not breach.halted or halts is None:
            return "stands"
        if halts.halt_epoch < breach.halt_epoch:
            # An older copy of its journal was put in place, or a new one was begun on purpose.
            breach.behind_ns = now_ns if breach.behind_ns is None else breach.behind_ns
            return "lost" if now_ns >= breach.behind_ns + _LAG_NS else "stands"
        breach.behind_ns = None
        lost_rows = any(halt.raised_by == BY_JOURNAL for halt in halts.halts)
        ours = any(halt.level == breach.level and halt.raised_by == _BY_RISK for halt in halts.halts)
        if lost_rows and not ours and halts.halt_epoch > breach.halt_epoch:
            return "lost"
        return "stands" if any(halt.level == breach.level for halt in halts.halts) else "lifted"

    def _count(self, code: str, broken: bool) -> None:
        self._reads_broken[code] = self._reads_broken[code] + 1 if broken else 0

    def _is_sure(self, code: str) -> bool:
        return self._reads_broken[code] >= self._config.breach_polls

    def _find(self, measure: Measure, now_ns: int, emit: Emit) -> list[Any]:
        return self.find(measure.code, measure.detail, self._config.breach_halt_level, now_ns, emit)

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
                emit(BreachHalted(code=code, halt_epoch=message.state.halt_epoch))
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
        message = RaiseHalt(level=breach.level, reason=breach.detail, requested_by=_BY_RISK)
        return SendRequest("execution", message, _attempt_id(breach))

    def _alert(self, code: str, text: str, *, resolved: bool) -> RaiseAlert:
        severity: Severity = "info" if resolved else "critical"
        return RaiseAlert(code=code, severity=severity, subject=self._account_id, text=text, resolved=resolved)


def _attempt_id(breach: _Breach) -> str:
    return breach.request_id if breach.attempt == 0 else f"{breach.request_id}-{breach.attempt}"
