"""Exits: looks at the conditions that travel with each open trade, and has it closed until it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from services.strategy.answers import Answer
from services.strategy.config import StrategyHostConfig
from services.strategy.gates import GateBook, names_of
from shared.messages.conditions import ExitCondition, HostFunction
from shared.messages.control import TradeExits
from shared.messages.steps import RaiseAlert, ReplyReceived, SendRequest
from shared.messages.trades import CloseAccepted, CloseTrade, TradeUpdate
from shared.strategy.condition_functions import ExitFunction, parts_of
from shared.strategy.evaluate import evaluate_exit
from shared.strategy.views import SECOND_NS, ExitView, Verdict

MS = 1_000_000
_HELD_STATES = frozenset({"OPEN", "PARTIALLY_OPEN"})


class _Watch:
    """One open trade. `reason` is set once it must be closed, and stays."""

    def __init__(self, now_ns: int) -> None:
        self.looked_ns: int | None = None
        self.gates = GateBook()
        self.seeing_ns = now_ns
        self.alarmed = False
        self.reason: str | None = None
        self.request: SendRequest | None = None
        self.asking = False
        self.accepted = False
        self.due_ns = 0

    @property
    def shown(self) -> str:
        return "; ".join(gate.reason for gate in self.gates.gates)


def is_held(trade: TradeUpdate) -> bool:
    """Whether its exits are looked at: it is held, whole or in part, or broken and held as it was declared."""
    return trade.state in _HELD_STATES or (trade.state == "BROKEN" and trade.if_broken == "hold")


class ExitDesk:
    """Watches the open trades. Volatile: after a restart the conditions are simply looked at again."""

    def __init__(self, config: StrategyHostConfig) -> None:
        self._config = config
        self._watches: dict[str, _Watch] = {}

    def keep_only(self, trade_ids: set[str]) -> list[RaiseAlert]:
        """Forget trades that have left OPEN: nobody waits for their exits any more."""
        if self._watches.keys() <= trade_ids:
            return []
        gone = {trade_id: self._watches.pop(trade_id) for trade_id in sorted(set(self._watches) - trade_ids)}
        return [
            _blind_no_more(trade_id, f"trade {trade_id} is not held any more: no exit of it is looked at")
            for trade_id, watch in gone.items()
            if watch.alarmed
        ]

    def want_closed(self, trade_id: str, reason: str, now_ns: int) -> None:
        """Close this trade, whatever its conditions say. The first reason stays."""
        watch = self._watches.setdefault(trade_id, _Watch(now_ns))
        if watch.reason is None:
            watch.reason = reason

    def is_due(self, trade_id: str, now_ns: int) -> bool:
        """Whether `look` would ask its conditions now."""
        watch = self._watches.get(trade_id)
        if watch is None or watch.looked_ns is None:
            return True
        return watch.reason is None and now_ns >= watch.looked_ns + self._config.exit_interval_min_ms * MS

    def look(
        self,
        view: ExitView,
        functions: Mapping[str, ExitFunction],
        now_ns: int,
        failed: Callable[[Exception], None],
    ) -> list[RaiseAlert]:
        """Ask each condition of a trade, at a bounded rate. `failed` is told when a host function raises."""
        trade = view.trade
        watch = self._watches.setdefault(trade.trade_id, _Watch(now_ns))
        gap_ns = self._config.exit_interval_min_ms * MS
        if watch.reason is not None or (watch.looked_ns is not None and now_ns < watch.looked_ns + gap_ns):
            return []
        watch.looked_ns = now_ns
        verdicts: list[Verdict] = []
        for name, condition in zip(names_of(trade.exit_conditions), trade.exit_conditions, strict=True):
            verdict = answer_of(condition, view, functions, now_ns, failed)
            watch.gates.set(name, is_open=verdict.open, reason=verdict.reason, now_ns=now_ns)
            if verdict.open:
                watch.reason = verdict.reason
                return self._seeing(watch, trade, now_ns)
            verdicts.append(verdict)
        if any(verdict.waiting for verdict in verdicts):
            return self._blind(watch, trade, now_ns)
        return self._seeing(watch, trade, now_ns)

    def put_off(self, trade: TradeUpdate, reason: str, now_ns: int) -> None:
        """Its conditions are not looked at now."""
        watch = self._watches.setdefault(trade.trade_id, _Watch(now_ns))
        watch.looked_ns = watch.seeing_ns = now_ns
        watch.gates.set("exit_schedule", is_open=False, reason=reason, now_ns=now_ns)

    def is_closing(self, trade_id: str) -> bool:
        """Whether an exit, or somebody, wants it closed."""
        watch = self._watches.get(trade_id)
        return watch is not None and watch.reason is not None

    def release(self, trade_id: str) -> None:
        """It need not be closed after all: its conditions are looked at anew."""
        self._watches.pop(trade_id, None)

    def note(self, trade_id: str, name: str, reason: str, now_ns: int) -> None:
        """Show something beside its conditions."""
        watch = self._watches.setdefault(trade_id, _Watch(now_ns))
        watch.gates.set(name, is_open=False, reason=reason, now_ns=now_ns)

    def closes_due(self, trades: Mapping[str, TradeUpdate], now_ns: int) -> list[tuple[SendRequest, CloseTrade]]:
        """The close requests to send now, for trades that must be closed and have not left OPEN."""
        requests = []
        for trade_id, watch in self._watches.items():
            if watch.reason is None or watch.asking or now_ns < watch.due_ns or trade_id not in trades:
                continue
            if watch.accepted and trades[trade_id].state == "BROKEN":
                # execution closes it without leaving that state: there is nothing to ask, and no reason to wake
                watch.due_ns = now_ns + self._config.close_repeat_ms * MS
                continue
            close = CloseTrade(
                trade_id=trade_id, reason=watch.reason, requested_by=f"strategy {trades[trade_id].strategy}"
            )
            if watch.request is None:
                watch.request = SendRequest(
                    service="execution",
                    message=close,
                    request_id=f"{trade_id}/close/{now_ns}",
                    deadline_ms=self._config.close_deadline_ms,
                )
            watch.asking = True
            requests.append((watch.request, close))
        return requests

    def on_answer(self, answer: Answer, now_ns: int) -> Sequence[SendRequest] | None:
        """See `Asker`. Execution took the close, or refused it: if the trade stays open, ask anew. None came: ask
        again with the same id."""
        watch = self._asked(answer.request_id)
        if watch is None:
            return None
        if isinstance(answer, ReplyReceived):
            watch.request = None
            watch.accepted = isinstance(answer.message, CloseAccepted)
        watch.asking = False
        watch.due_ns = now_ns + self._config.close_repeat_ms * MS
        return ()

    def reason_of(self, trade_id: str) -> str:
        """Why the trade is still open, or why it is being closed."""
        watch = self._watches.get(trade_id)
        if watch is None:
            return ""
        return watch.shown if watch.reason is None else f"closing: {watch.reason}"

    def shown(self, trade: TradeUpdate) -> TradeExits:
        """Each condition of the trade with its last answer; none before the first look."""
        watch = self._watches.get(trade.trade_id)
        return TradeExits(
            trade_id=trade.trade_id,
            state=trade.state,
            closing="" if watch is None else watch.reason or "",
            conditions=() if watch is None else watch.gates.gates,
            hard_deadline_ns=trade.hard_deadline_ns,
        )

    def next_deadline_ns(self, *, may_close: bool) -> int | None:
        """When `look` or, if closes may be sent, `closes_due` has something to do."""
        interval_ns = self._config.exit_interval_ms * MS
        due = [
            watch.due_ns if watch.reason is not None else (watch.looked_ns or 0) + interval_ns
            for watch in self._watches.values()
            if watch.reason is None or (may_close and not watch.asking)
        ]
        return min(due, default=None)

    def _asked(self, request_id: str) -> _Watch | None:
        for watch in self._watches.values():
            if watch.request is not None and watch.request.request_id == request_id:
                return watch
        return None

    def _blind(self, watch: _Watch, trade: TradeUpdate, now_ns: int) -> list[RaiseAlert]:
        blind_s = (now_ns - watch.seeing_ns) / SECOND_NS
        if watch.alarmed or blind_s < self._config.exit_blind_alert_s:
            return []
        watch.alarmed = True
        text = f"an exit of trade {trade.trade_id} of {trade.strategy} cannot be judged: {watch.shown}"
        return [RaiseAlert(code="exit_blind", severity="warning", subject=trade.trade_id, text=text)]

    def _seeing(self, watch: _Watch, trade: TradeUpdate, now_ns: int) -> list[RaiseAlert]:
        watch.seeing_ns = now_ns
        if not watch.alarmed:
            return []
        watch.alarmed = False
        text = f"the exits of trade {trade.trade_id} of {trade.strategy} can be judged again"
        return [_blind_no_more(trade.trade_id, text)]


def _blind_no_more(trade_id: str, text: str) -> RaiseAlert:
    return RaiseAlert(code="exit_blind", severity="info", subject=trade_id, text=text, resolved=True)


def answer_of(
    condition: ExitCondition,
    view: ExitView,
    functions: Mapping[str, ExitFunction],
    now_ns: int,
    failed: Callable[[Exception], None],
) -> Verdict:
    """What a condition says of a trade. `failed` is told when a function of a strategy raises, also one within a
    combinator."""
    asked = [part.name for part in parts_of((condition,)) if isinstance(part, HostFunction)] if functions else []
    if not asked:
        return evaluate_exit(condition, view, now_ns)
    try:
        return evaluate_exit(condition, view, now_ns, functions)
    except Exception as error:
        failed(error)
        return Verdict.wait(f"{' or '.join(f'{name}()' for name in asked)} failed")
