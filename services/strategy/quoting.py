"""A strategy's own orders on their way to execution, and back what was refused of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.strategy.config import StrategyHostConfig
from shared.messages.quoting import ChangeOrders, OrdersChanged
from shared.messages.steps import ReplyReceived, RequestTimedOut, SendRequest
from shared.messages.trades import CancelOrders, Refusal, TradeUpdate
from shared.strategy.protocol import IntentOutcome, WorkOrders

MS = 1_000_000
QUOTING_STATES = ("PENDING_OPEN", "OPENING")


class _Asked(msgspec.Struct, frozen=True):
    strategy: str
    trade_id: str


class OrderDesk:
    """Sends order requests and turns their answers into outcomes. What rests is execution's to know: after a restart
    of the host an answer is lost, and the orders are seen as every strategy sees them, by their events."""

    def __init__(self, config: StrategyHostConfig) -> None:
        self._config = config
        self._asked: dict[str, _Asked] = {}
        self._count = 0

    def send(self, strategy: str, intent: WorkOrders, now_ns: int) -> SendRequest:
        """Ask execution for what the intent says."""
        change = ChangeOrders(
            trade_id=intent.trade_id,
            strategy=strategy,
            valid_until_ns=now_ns + self._config.intent_valid_ms * MS,
            place=tuple(intent.place),
            amend=tuple(intent.amend),
            cancel=tuple(intent.cancel),
        )
        return self._send(strategy, intent.trade_id, change, now_ns)

    def withdraw(self, trades: Sequence[TradeUpdate], reason: str, now_ns: int) -> list[SendRequest]:
        """End the quoting of these trades: nobody is there to move their orders."""
        return [
            self._send(
                trade.strategy,
                trade.trade_id,
                CancelOrders(trade_id=trade.trade_id, requested_by=f"strategy {trade.strategy}: {reason}"[:200]),
                now_ns,
            )
            for trade in trades
            if trade.execution_mode == "quoting" and trade.state in QUOTING_STATES
        ]

    def on_answer(self, answer: ReplyReceived | RequestTimedOut) -> tuple[str, list[IntentOutcome]] | None:
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
