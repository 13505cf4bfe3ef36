"""The leverage of contracts at the venue: what is configured is applied and looked at, what a person asks is done.

The venue takes a change only in a contract in which the account has neither position nor orders. A change that was
asked for and not answered is looked for, never asked for again: the leverage that the venue shows is the outcome.
"""

from __future__ import annotations

import msgspec

from services.execution import rows
from services.execution.comparisons import ComparisonSchedule
from services.execution.effects import ReadLeverage, SetLeverage
from services.execution.positions import PositionWitness
from services.execution.workspace import MS, SECOND, Workspace, earliest
from shared.messages.contracts import (
    LeverageRead,
    LeverageReadFailed,
    LeverageRefused,
    LeverageSet,
    LeverageUnknown,
)
from shared.messages.leverage import ChangeLeverage, GetLeverage, LeverageChanged, LeverageList, LeverageStatus
from shared.messages.steps import Reply
from shared.messages.trades import Refusal
from shared.options.instruments import instrument_kind

LEVERAGE_MAX = 125
SYMBOLS_MAX = 50
_CHECK_NS = 600 * SECOND
_RETRY_NS = 10 * SECOND
_ANSWER_NS = 10 * SECOND
"""A read that has not come back by then is lost, and its question is answered without it."""

_CONFIGURATION = "configuration"


class _Reading(msgspec.Struct):
    """What is known of a contract. `due_ns`: when it is read next; `asked_ns`: of the read that is on its way."""

    status: LeverageStatus | None = None
    due_ns: int = 0
    asked_ns: int | None = None
    applied_ns: int | None = None


class _Question(msgspec.Struct, frozen=True):
    symbols: tuple[str, ...]
    asked_ns: int


class LeverageDesk:
    """Volatile but for the changes that were asked for, which are rows: a restart reads everything anew."""

    def __init__(self, work: Workspace, schedule: ComparisonSchedule, positions: PositionWitness) -> None:
        self._work = work
        self._schedule = schedule
        self._positions = positions
        self._readings: dict[str, _Reading] = {}
        self._questions: dict[str, _Question] = {}
        self._unknown_ns: dict[str, int] = {}
        """Changes, by request, of which no outcome is known, and since when."""

    def begin(self) -> None:
        """Read all that is configured; what was being changed when the last process died is unknown."""
        self._readings = {symbol: _Reading() for symbol in self._work.config.leverage}
        for request_id, row in self._work.book.leverage_asked.items():
            self._unknown_ns[request_id] = self._work.now_ns
            self._readings.setdefault(row.symbol, _Reading())

    def ask(self, request_id: str, question: GetLeverage) -> None:
        """Answer once each of these was read, or could not be."""
        symbols = question.symbols or tuple(self._work.config.leverage)
        wrong = next((symbol for symbol in symbols if not _is_future(symbol)), None)
        if wrong is not None or len(symbols) > SYMBOLS_MAX:
            refusal = _not_a_future(wrong) if wrong is not None else _too_many()
            self._work.send(Reply(request_id, refusal))
            return
        self._questions[request_id] = _Question(symbols, self._work.now_ns)
        for symbol in symbols:
            self._readings.setdefault(symbol, _Reading()).due_ns = 0

    def change(self, request_id: str, change: ChangeLeverage) -> None:
        """Ask the venue for it, once; the answer follows its outcome."""
        if request_id in self._work.book.leverage_asked:
            return
        refusal = self._refusal(change)
        if refusal is not None:
            self._work.record(rows.RequestAnswered(request_id, refusal))
            self._work.send(Reply(request_id, refusal))
            return
        self._send(request_id, change.symbol, change.leverage, change.requested_by[:100])

    def _send(self, request_id: str, symbol: str, leverage: int, requested_by: str) -> None:
        self._readings.setdefault(symbol, _Reading())
        self._work.record(
            rows.LeverageAsked(request_id=request_id, symbol=symbol, leverage=leverage, requested_by=requested_by)
        )
        self._work.send(SetLeverage(symbol, leverage))

    def _refusal(self, change: ChangeLeverage) -> Refusal | None:
        """Why this is not asked of the venue; None when it is."""
        work, symbol = self._work, change.symbol[:64]
        if not _is_future(symbol):
            return _not_a_future(symbol)
        if not 1 <= change.leverage <= LEVERAGE_MAX:
            return Refusal(
                code="bad_leverage",
                detail=f"leverage {change.leverage} of {symbol} must be 1 to {LEVERAGE_MAX}",
                remedy="correct it",
            )
        configured = work.config.leverage.get(symbol)
        if configured not in (None, change.leverage):
            return Refusal(
                code="configured",
                detail=f"[execution.leverage] says {symbol} = {configured}, and that would be applied again",
                remedy="change it there, then: voldesk restart execution",
            )
        code, detail = self._hindrance(symbol)
        if not code:
            return None
        remedy = f"close what is held and cancel what rests in {symbol} first" if code == "in_use" else "try again"
        return Refusal(code=code, detail=detail, remedy=remedy)

    def _hindrance(self, symbol: str) -> tuple[str, str]:
        """Why the leverage cannot be changed now, as code and detail; two empty texts when it can."""
        work, book = self._work, self._work.book
        if any(row.symbol == symbol for row in book.leverage_asked.values()):
            return "busy", f"a change of the leverage of {symbol} is on its way"
        if not self._schedule.synced or work.is_winding_down:
            return "not_ready", "the account is not compared with the venue, or execution is about to stop"
        if work.space.level != "disk":
            return "disk_full", f"nothing is sent on a full disk: {work.space.reason}"
        rests = any(book.orders[number].symbol == symbol for number in book.unsettled)
        held = book.net_quantity(symbol) or self._positions.foreign.get(symbol)
        if rests or held:
            what = "orders rest" if rests else f"{held} is held"
            return "in_use", f"{what} in {symbol}: the venue changes leverage only without position and orders"
        return "", ""

    def take(self, item: LeverageSet | LeverageRefused | LeverageUnknown | LeverageRead | LeverageReadFailed) -> None:
        """What came of a change or of a read."""
        reading = self._readings.setdefault(item.symbol, _Reading())
        match item:
            case LeverageRead():
                self._seen(item, reading)
            case LeverageReadFailed(reason=reason):
                reading.asked_ns, reading.due_ns = None, self._work.now_ns + _RETRY_NS
                reading.status = self._status(item.symbol, None, reason)
            case LeverageSet():
                self._end(item.symbol, LeverageChanged(symbol=item.symbol, leverage=item.leverage))
                reading.due_ns = 0
            case LeverageRefused(symbol=symbol, code=code, text=text, kind=kind):
                detail = f"the venue refuses the leverage of {symbol} with {code}: {text}"
                remedy = f"see what it is: voldesk leverage {symbol}"
                self._end(symbol, Refusal(code="leverage_refused", detail=detail, remedy=remedy))
                if kind == "throttled":
                    # it was not for the contract: soon again
                    reading.applied_ns, reading.due_ns = None, self._work.now_ns + _RETRY_NS
                else:
                    reading.due_ns = 0
            case LeverageUnknown():
                for request_id, row in self._work.book.leverage_asked.items():
                    if row.symbol == item.symbol:
                        self._unknown_ns[request_id] = self._work.now_ns
                reading.due_ns = 0

    def _seen(self, seen: LeverageRead, reading: _Reading) -> None:
        work = self._work
        reading.asked_ns, reading.due_ns = None, work.now_ns + _CHECK_NS
        reading.status = self._status(seen.symbol, seen.leverage, "")
        for request_id, row in tuple(work.book.leverage_asked.items()):
            unknown_ns = self._unknown_ns.get(request_id)
            if row.symbol != seen.symbol or unknown_ns is None:
                continue
            counts_ns = unknown_ns + (work.config.order_validity_ms + work.config.evidence_margin_ms) * MS
            if seen.leverage == row.leverage:
                self._end(seen.symbol, LeverageChanged(symbol=seen.symbol, leverage=seen.leverage))
            elif seen.asked_ns >= counts_ns:
                detail = f"the venue did not answer the change, and shows {seen.leverage} for {seen.symbol}"
                remedy = f"ask again: voldesk leverage {seen.symbol} {row.leverage}"
                self._end(seen.symbol, Refusal(code="leverage_unchanged", detail=detail, remedy=remedy))
            else:
                reading.due_ns = counts_ns
        self._compare(seen.symbol, seen.leverage, reading)

    def _compare(self, symbol: str, leverage: int, reading: _Reading) -> None:
        """Apply what is configured where the venue has something else, and tell where that cannot be."""
        work = self._work
        configured = work.config.leverage.get(symbol)
        if configured is None:
            return
        if leverage == configured:
            reading.applied_ns = None
            work.resolve("leverage_mismatch", symbol, f"{symbol} has the leverage {leverage}, as configured")
            return
        code, detail = self._hindrance(symbol)
        if code in ("busy", "not_ready"):
            reading.due_ns = min(reading.due_ns, work.now_ns + _RETRY_NS)
            return
        if not code and (reading.applied_ns is None or work.now_ns - reading.applied_ns >= _CHECK_NS):
            reading.applied_ns = work.now_ns
            self._send(f"leverage {symbol} {work.now_ns}", symbol, configured, _CONFIGURATION)
            return
        why = detail or "the venue did not take the change"
        text = f"{symbol} has the leverage {leverage} at the venue, and [execution.leverage] says {configured}: {why}"
        work.alert("leverage_mismatch", "warning", symbol, text)

    def look(self) -> int | None:
        """Read what is due and answer what can be answered; returns when to look again."""
        work = self._work
        wakes: list[int] = []
        for symbol, reading in self._readings.items():
            if reading.asked_ns is not None and work.now_ns >= reading.asked_ns + _ANSWER_NS:
                reading.asked_ns = None
                reading.due_ns = max(reading.due_ns, work.now_ns + _RETRY_NS)
                reading.status = self._status(symbol, None, "the venue did not answer")
            if reading.asked_ns is not None:
                wakes.append(reading.asked_ns + _ANSWER_NS)
            elif work.now_ns >= reading.due_ns:
                reading.asked_ns = work.now_ns
                work.send(ReadLeverage(symbol))
                wakes.append(work.now_ns + _ANSWER_NS)
            elif self._is_wanted(symbol):
                wakes.append(reading.due_ns)
        for request_id, question in tuple(self._questions.items()):
            self._answer(request_id, question)
        asked_for = {symbol for question in self._questions.values() for symbol in question.symbols}
        for symbol in [*self._readings]:
            is_idle = self._readings[symbol].asked_ns is None and symbol not in asked_for
            if is_idle and not self._is_wanted(symbol):
                del self._readings[symbol]
        return earliest(*wakes)

    def _is_wanted(self, symbol: str) -> bool:
        """Whether it is looked at again and again: what somebody asked for once is not."""
        pending = (row.symbol for row in self._work.book.leverage_asked.values())
        return symbol in self._work.config.leverage or symbol in pending

    def _answer(self, request_id: str, question: _Question) -> None:
        """Once each was read since, or could not be."""
        found = []
        for symbol in question.symbols:
            status = self._readings[symbol].status
            if status is None or status.read_ns < question.asked_ns:
                return
            found.append(status)
        del self._questions[request_id]
        self._work.send(Reply(request_id, LeverageList(account_id=self._work.account_id, leverages=tuple(found))))

    def _status(self, symbol: str, leverage: int | None, detail: str) -> LeverageStatus:
        return LeverageStatus(
            symbol=symbol,
            leverage=leverage,
            configured=self._work.config.leverage.get(symbol),
            read_ns=self._work.now_ns,
            detail=detail,
        )

    def _end(self, symbol: str, answer: LeverageChanged | Refusal) -> None:
        """The change of this contract that is on its way has its outcome."""
        for request_id, row in tuple(self._work.book.leverage_asked.items()):
            if row.symbol == symbol:
                self._unknown_ns.pop(request_id, None)
                self._work.record(rows.RequestAnswered(request_id, answer))
                if row.requested_by != _CONFIGURATION:
                    self._work.send(Reply(request_id, answer))


def _is_future(symbol: str) -> bool:
    return instrument_kind(symbol) in ("perpetual", "future")


def _not_a_future(symbol: str) -> Refusal:
    detail = f"{symbol[:64]} is neither a perpetual nor a dated future"
    return Refusal(code="no_leverage", detail=detail, remedy="name one, such as BTCUSD")


def _too_many() -> Refusal:
    return Refusal(code="too_many", detail=f"more than {SYMBOLS_MAX} contracts", remedy="ask in parts")
