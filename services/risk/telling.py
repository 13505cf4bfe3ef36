"""What risk granted and refused, and what it found wrong with the account, as lines of the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.risk import rows
from shared.log_lines import Level, Told
from shared.messages.control import GrantRefused
from shared.messages.steps import Publish

_BREAKER_LEVELS: dict[str, Level] = {"open": "warning"}
_MARGIN_LEVELS: dict[str, Level] = {
    "warn": "warning",
    "no_new_trades": "warning",
    "reduce": "error",
    "flatten": "critical",
}


class RiskNarrator:
    hears = frozenset[type]({GrantRefused})

    def told(self, what: Any) -> Iterable[Told]:
        match what:
            case Publish(message=GrantRefused() as refused):
                names = {"strategy": refused.strategy, "intent_id": refused.intent_id}
                why = {"code": refused.code, "detail": refused.detail, "value": refused.value, "limit": refused.limit}
                yield Told("execution", "grant refused", {**names, **why})
            case rows.GrantIssued(grant=grant):
                names = {"intent_id": grant.intent_id, "strategy": grant.intent_id.rpartition("-")[0]}
                room = {"margin_usd": grant.margin_usd, "max_loss_usd": grant.max_loss_usd}
                legs = ", ".join(
                    f"{leg.side} {leg.max_quantity} {leg.symbol} at {leg.worst_price} or better" for leg in grant.legs
                )
                yield Told("execution", "grant given", {**names, "grant_id": grant.grant_id, "legs": legs, **room})
            case rows.BreachFound():
                found = {"code": what.code, "detail": what.detail, "halt_level": what.level}
                yield Told("execution", "limit broken", {**found, "request_id": what.request_id}, "error")
            case rows.BreachHalted(code=code):
                yield Told("execution", "limit halted the desk", {"code": code}, "warning")
            case rows.BreachLifted(code=code, value_pct=value):
                let = {"code": code, "pct": round(value, 2)}
                yield Told("execution", "halt of a limit lifted by a person", let, "warning")
            case rows.MarkSetAnew():
                marks = {"name": what.name, "equity_usd": what.equity_usd, "from_usd": what.from_usd, "by": what.by}
                yield Told("execution", "loss accepted by a person", marks, "warning")
            case rows.BreachEnded(code=code):
                yield Told("execution", "limit whole again", {"code": code})
            case rows.BreakerMoved():
                moved = {"name": what.name, "strategy": what.subject, "state": what.state, "reason": what.reason}
                yield Told("execution", "breaker moved", moved, _BREAKER_LEVELS.get(what.state, "info"))
            case rows.MarginLevelMoved():
                at = {"margin_level": what.level, "utilisation_pct": round(what.utilisation_pct, 2)}
                yield Told("execution", "margin level moved", at, _MARGIN_LEVELS.get(what.level, "info"))
            case rows.TradeJudged():
                judged = {"trade_id": what.trade_id, "strategy": what.strategy, "net_pnl_usd": what.net_pnl_usd}
                yield Told("execution", "trade judged", judged)
            case rows.CapitalMoved():
                yield Told(
                    "execution", "capital moved", {"transfer_id": what.transfer_id, "amount_usd": what.amount_usd}
                )
            case rows.TradingDayStarted():
                yield Told("execution", "trading day started", {"equity_usd": what.equity_usd})
