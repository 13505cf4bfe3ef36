"""A strategy's own orders on their way to execution, and back what was refused of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from services.strategy.answers import Answer
from services.strategy.config import StrategyHostConfig
from shared.messages.quoting import ChangeOrders, OrdersChanged
from shared.messages.steps import RequestTimedOut, SendRequest
from shared.messages.trades import CancelOrders, Refusal, TradeUpdate
from shared.strategy.protocol import IntentOutcome, WorkOrders

MS = 1_000_000
QUOTING_STATES = ("PENDING_OPEN", "OPENING")


class _Asked(msgspec.Struct, frozen=True):
    strategy: str
    trade_id: str


def is_quoting(trade: TradeUpdate) -> bool:
    return trade.execution_mode == "quoting" and trade.state in QUOTING_STATES


class OrderDesk:
    """Sends order requests and turns their answers into outcomes. What rests is execution's to know: after a restart
    of the host an answer is lost, and the orders are seen as every strategy sees them, by their events."""

    def __init__(self, config: StrategyHostConfig) -> None:
        self._config = config
        self._asked: dict[str, _Asked] = {}
        self._count = 0
        self._stop_ns: dict[str, int] = {}

    def send(self, strategy: str, intent: WorkOrders, now_ns: int) -> SendRequest:
        """Ask execution for what the intent says."""
        change = ChangeOrders(
            trade_id=intent.trade_id,
            strategy=strategy,
            valid_until_ns=now_ns + self._config.intent_valid_ms * MS,
            place=tuple(intent.place),
            amend=tuple(intent.amend),
            cancel=tuple(intent.cancel),
            cancel_all=intent.cancel_all,
            cancel_symbols=tuple(intent.cancel_symbols),
            keeps_stops=intent.keeps_stops,
        )
        return self._send(strategy, intent.trade_id, change, now_ns)

    def stops_due(
        self, trades: Iterable[TradeUpdate], state_of: Callable[[str], str], now_ns: int
    ) -> list[SendRequest]:
        """End the quoting of those whose strategy does not move their orders: it is paused, stopped, has failed or is
        gone. Asked again until they are seen to have ended, for a request may be lost."""
        abandoned = {
            trade.trade_id: (trade.strategy, state)
            for trade in trades
            if is_quoting(trade) and (state := state_of(trade.strategy)) != "running"
        }
        if not abandoned and not self._stop_ns:
            return []
        self._stop_ns = {trade_id: due_ns for trade_id, due_ns in self._stop_ns.items() if trade_id in abandoned}
        requests = []
        for trade_id, (strategy, state) in abandoned.items():
            if now_ns >= self._stop_ns.get(trade_id, 0):
                self._stop_ns[trade_id] = now_ns + self._config.close_repeat_ms * MS
                by = f"strategy {strategy}, which is {state}"
                cancel = CancelOrders(trade_id=trade_id, requested_by=by, keeps_stops=True)
                requests.append(self._send(strategy, trade_id, cancel, now_ns))
        return requests

    def next_deadline_ns(self) -> int | None:
        return min(self._stop_ns.values(), default=None)

    def on_answer(self, answer: Answer) -> tuple[str, list[IntentOutcome]] | None:
        """The strategy that asked and what it must hear: refusals, or that nobody answered. None if nobody asked."""
        asked = self._asked.pop(answer.request_id, None)
        if asked is None:
            return None
        if isinstance(answer, RequestTimedOut):
            reason = "execution did not answer: what was asked may have happened, the orders' events tell"
            return asked.strategy, [_refused(asked, "no_answer", reason)]
        match answer.message:
            case OrdersChanged() as changed:
                outcomes = [
                    _refused(asked, each.code, f"{each.label}: {each.detail}" if each.label else each.detail)
                    for each in changed.refused
                ]
            case Refusal(code=code, detail=detail):
                outcomes = [_refused(asked, code, detail)]
            case _:
                outcomes = []
        return asked.strategy, outcomes

    def _send(self, strategy: str, trade_id: str, message: ChangeOrders | CancelOrders, now_ns: int) -> SendRequest:
        self._count += 1
        request_id = f"{trade_id}/orders/{now_ns}/{self._count}"
        self._asked[request_id] = _Asked(strategy, trade_id)
        return SendRequest("execution", message, request_id, self._config.open_deadline_ms)


def _refused(asked: _Asked, code: str, reason: str) -> IntentOutcome:
    return IntentOutcome(kind="refused", code=code, reason=reason, trade_id=asked.trade_id, refused_by="execution")
