"""Parts of trades that are to be taken back: asked of execution until it has taken each, shown until it is told."""

from __future__ import annotations

from decimal import Decimal

from services.strategy.answers import Answer
from services.strategy.config import StrategyHostConfig
from shared.messages.reducing import ReduceTrade, ReductionAccepted
from shared.messages.steps import ReplyReceived, SendRequest
from shared.messages.trades import TradeUpdate

_MS = 1_000_000


class _Asked:
    """due_ns: when it is asked again, or, once it was answered, when it counts no more though nothing shows it."""

    def __init__(self, request: SendRequest, keep: Decimal) -> None:
        self.request = request
        self.keep = keep
        self.is_answered = False
        self.due_ns: int | None = None


class Reductions:
    """Volatile: what execution has taken it does, whoever lives; what it has not is simply decided anew."""

    def __init__(self, config: StrategyHostConfig) -> None:
        self._config = config
        self._asked: dict[str, _Asked] = {}

    def ask(self, trade: TradeUpdate, keep: Decimal, reason: str, now_ns: int) -> SendRequest:
        """Have a trade of one leg hold no more than `keep`."""
        message = ReduceTrade(
            trade_id=trade.trade_id, keep=keep, reason=reason, requested_by=f"strategy {trade.strategy}"
        )
        request = SendRequest(
            service="execution",
            message=message,
            request_id=f"{trade.trade_id}/reduce/{now_ns}",
            deadline_ms=self._config.close_deadline_ms,
        )
        self._asked[trade.trade_id] = _Asked(request, keep)
        return request

    def on_trade(self, trade: TradeUpdate) -> None:
        """Once a trade shows it, or is not open any more, there is nothing left to ask."""
        asked = self._asked.get(trade.trade_id)
        if asked is None:
            return
        kept = trade.legs[0].keep_quantity
        if trade.is_final or trade.close_reason or (kept is not None and kept <= asked.keep):
            del self._asked[trade.trade_id]

    def shown(self, trade: TradeUpdate) -> str | None:
        """What of a trade is on its way back, None for nothing."""
        asked, leg = self._asked.get(trade.trade_id), trade.legs[0]
        if asked is not None:
            return f"{trade.trade_id} is to be reduced to {asked.keep}"
        if leg.keep_quantity is not None and leg.held_quantity > leg.keep_quantity:
            return f"{trade.trade_id} is being reduced to {leg.keep_quantity}"
        return None

    def on_answer(self, answer: Answer, now_ns: int) -> bool:
        """Taken, refused, or not answered in time: then it is asked again with its id. False if it is not ours."""
        for trade_id, asked in self._asked.items():
            if asked.request.request_id != answer.request_id:
                continue
            asked.due_ns = now_ns + self._config.close_repeat_ms * _MS
            if isinstance(answer, ReplyReceived):
                asked.is_answered = True
                if not isinstance(answer.message, ReductionAccepted):
                    del self._asked[trade_id]
            return True
        return False

    def due(self, now_ns: int) -> list[SendRequest]:
        """What to ask again now."""
        requests: list[SendRequest] = []
        for trade_id, asked in tuple(self._asked.items()):
            if asked.due_ns is None or now_ns < asked.due_ns:
                continue
            if asked.is_answered:
                del self._asked[trade_id]
                continue
            asked.due_ns = None
            requests.append(asked.request)
        return requests

    def next_deadline_ns(self) -> int | None:
        return min((asked.due_ns for asked in self._asked.values() if asked.due_ns is not None), default=None)
