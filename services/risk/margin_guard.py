"""Watches how near the account is to liquidation, and sheds margin before the venue does it.

Levels by maintenance margin / equity, with hysteresis; each read of the account counts once. What it will do is shown
`margin_notice_s` before it does it, and what it would do at the next level is shown always. Reducing closes one trade
at a time: the one whose end frees most, by the standard model (margin.py), with the hedges that end with it.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import Any

import msgspec

from services.risk.config import RiskConfig
from services.risk.halting import Emit, Halting
from services.risk.margin_models import standard_margin
from services.risk.market import MarketView
from services.risk.rows import MarginLevelMoved
from services.risk.situation import Violation
from services.risk.states import MARGIN_LEVELS
from shared.messages.account import AccountSnapshot
from shared.messages.control import HaltState
from shared.messages.risk import MarginGuard, MarginLevel
from shared.messages.steps import RaiseAlert, ReplyReceived, RequestTimedOut, SendRequest
from shared.messages.system import Severity
from shared.messages.trades import CloseAccepted, CloseTrade, LegStatus, TradeUpdate

CODE = "margin_guard"
_SECOND = 1_000_000_000
_CLOSE_PATIENCE_NS = 60 * _SECOND
"""A trade that is still open so long after its close was asked for makes room for the next one."""

_CLOSABLE = ("OPENING", "OPEN", "PARTIALLY_OPEN")


class _Plan(msgspec.Struct, frozen=True):
    """What will be done at `due_ns`: close `trade_id`, flatten where it is ""."""

    trade_id: str
    text: str
    due_ns: int


class _Asked(msgspec.Struct, frozen=True):
    trade_id: str
    request_id: str
    asked_ns: int


class MarginGuardian:
    """Durable: the level, folded from rows. Volatile: trades, the plan, and what was asked for."""

    def __init__(self, config: RiskConfig, account_id: str, market: MarketView) -> None:
        self._config = config
        self._account_id = account_id
        self._market = market
        self._thresholds: dict[MarginLevel, float] = {
            "warn": config.margin_warn_pct,
            "no_new_trades": config.margin_no_new_trades_pct,
            "reduce": config.margin_reduce_pct,
            "flatten": config.margin_flatten_pct,
        }
        self._level: MarginLevel = "normal"
        self._since_ns = 0
        self._targets: deque[int] = deque(maxlen=config.breach_polls)
        self._utilisation_pct: float | None = None
        self._read_ns = 0
        self._trades: dict[str, TradeUpdate] = {}
        self._plan: _Plan | None = None
        self._asked: _Asked | None = None

    def apply(self, row: MarginLevelMoved, at_ns: int) -> None:
        self._level, self._since_ns = row.level, at_ns

    def on_trade(self, update: TradeUpdate) -> None:
        if update.is_final:
            self._trades.pop(update.trade_id, None)
        else:
            self._trades[update.trade_id] = update

    def forget_trades(self) -> None:
        self._trades.clear()

    def next_deadline_ns(self) -> int | None:
        return None if self._plan is None else self._plan.due_ns

    def on_account(
        self,
        account: AccountSnapshot,
        halting: Halting,
        now_ns: int,
        emit: Emit,
        *,
        trades_known: bool,
        halts: HaltState | None,
    ) -> list[Any]:
        """A read of the account: find the level, and plan what it asks for.

        trades_known: execution has told of all trades, so that the one to close can be chosen. halts: those in force,
        None while execution has not told: where a person lifts the guard's halt, or execution's journal loses it,
        while the last level holds, its notice is given again.
        """
        self._read_ns = now_ns
        self._utilisation_pct = utilisation_pct(account)
        self._targets.append(self._target(self._utilisation_pct))
        effects: list[Any] = []
        if (fate := halting.fate(CODE, halts, now_ns)) != "stands":
            effects += halting.end(CODE, f"its halt was {fate}: the margin guard watches anew", emit)
        before, after = MARGIN_LEVELS.index(self._level), self._confirmed()
        if after != before:
            emit(MarginLevelMoved(level=MARGIN_LEVELS[after], utilisation_pct=self._utilisation_pct))
            if self._plan is not None and after < before:
                self._plan = None
        planned = self._plan
        if self._is_asked_for_now(now_ns):
            self._make_plan(halting, now_ns, trades_known)
        if after != before or (self._plan is not None and self._plan is not planned):
            effects.append(self._alert())
        if self._level != "flatten" and CODE in halting.broken:
            effects += halting.end(CODE, "the margin guard is below its last level again", emit)
        return effects

    def on_time(self, halting: Halting, now_ns: int, emit: Emit) -> list[Any]:
        """Do what was planned, once it is due and still asked for."""
        plan = self._plan
        if plan is None or now_ns < plan.due_ns:
            return []
        self._plan = None
        if not self._is_asked_for_now(now_ns):
            return []
        reason = f"margin guard: maintenance margin is {self._utilisation_pct or 0.0:.1f} % of equity"
        if not plan.trade_id:
            return [] if CODE in halting.broken else halting.find(CODE, reason, "flatten", now_ns, emit)
        request_id = f"risk-close-{plan.trade_id}-{now_ns}"
        self._asked = _Asked(plan.trade_id, request_id, now_ns)
        text = f"{reason}: closing {plan.trade_id}"
        return [
            SendRequest(
                "execution", CloseTrade(trade_id=plan.trade_id, reason=reason, requested_by="risk"), request_id
            ),
            RaiseAlert(code="margin_reducing", severity="warning", subject=plan.trade_id, text=text, resolved=False),
        ]

    def on_answer(self, reply: ReplyReceived | RequestTimedOut) -> bool:
        """Whether it was an answer to a close that was asked for. One in vain is planned anew."""
        if self._asked is None or reply.request_id != self._asked.request_id:
            return False
        if not (isinstance(reply, ReplyReceived) and isinstance(reply.message, CloseAccepted)):
            self._asked = None
        return True

    def refusal(self) -> Violation | None:
        """Why nothing is granted now."""
        if not self._at_least("no_new_trades") or not self._acts("no_new_trades"):
            return None
        used = self._utilisation_pct
        detail = f"maintenance margin is near equity: level {self._level}"
        return Violation(CODE, detail, used, self._thresholds["no_new_trades"])

    def status(self) -> MarginGuard:
        plan = self._plan
        return MarginGuard(
            utilisation_pct=self._utilisation_pct,
            level=self._level,
            since_ns=self._since_ns,
            thresholds_pct={str(level): threshold for level, threshold in self._thresholds.items()},
            acts_up_to=self._config.margin_acts_up_to,
            planned="" if plan is None else plan.text,
            planned_ns=None if plan is None else plan.due_ns,
            next_step=self._next_step(),
        )

    # Inside

    def _target(self, used_pct: float) -> int:
        """The level that one read asks for: up at a threshold, down only below it by the hysteresis."""
        current = MARGIN_LEVELS.index(self._level)
        reached = sum(used_pct >= threshold for threshold in self._thresholds.values())
        kept = sum(
            used_pct > threshold - self._config.margin_hysteresis_pct for threshold in self._thresholds.values()
        )
        return max(reached, min(current, kept))

    def _confirmed(self) -> int:
        """The level that all of the newest reads ask for at least, or at most."""
        current = MARGIN_LEVELS.index(self._level)
        if len(self._targets) < self._config.breach_polls:
            return current
        return min(self._targets) if min(self._targets) > current else min(current, max(self._targets))

    def _is_asked_for_now(self, now_ns: int) -> bool:
        """Whether a fresh read, and not the first, asks for the level, which may be from before a restart."""
        fresh = now_ns - self._read_ns <= self._config.account_age_max_ms * 1_000_000
        known = len(self._targets) >= self._config.breach_polls
        return fresh and known and self._targets[-1] >= MARGIN_LEVELS.index(self._level)

    def _make_plan(self, halting: Halting, now_ns: int, trades_known: bool) -> None:
        due_ns = now_ns + self._config.margin_notice_s * _SECOND
        if self._level == "flatten" and self._acts("flatten"):
            if CODE not in halting.broken and (self._plan is None or self._plan.trade_id):
                self._plan = _Plan("", "halt at level flatten: cancel every order and close every trade", due_ns)
            return
        wants = self._at_least("reduce") and self._acts("reduce")
        if not wants or not trades_known or self._is_waiting(now_ns):
            return
        if self._plan is not None and (not self._plan.trade_id or self._plan.trade_id not in self._trades):
            self._plan = None
        if self._plan is None and (found := self._most_freeing()) is not None:
            trade, freed = found
            self._plan = _Plan(trade.trade_id, f"close {_described(trade, freed)}", due_ns)

    def _is_waiting(self, now_ns: int) -> bool:
        """Whether a trade that was to be closed is still open, and not for long."""
        asked = self._asked
        if asked is None or asked.trade_id not in self._trades:
            self._asked = None
            return False
        return now_ns < asked.asked_ns + _CLOSE_PATIENCE_NS

    def _most_freeing(self) -> tuple[TradeUpdate, float] | None:
        best: tuple[TradeUpdate, float] | None = None
        closable = {trade.trade_id: trade for trade in self._trades.values() if trade.state in _CLOSABLE}
        hedges: dict[str, list[TradeUpdate]] = defaultdict(list)
        for trade in closable.values():
            hedges[trade.hedge_of].append(trade)
        for trade in closable.values():
            if trade.hedge_of in closable:
                continue  # it ends with what it hedges, which would else stand without it
            held = [leg for each in (trade, *hedges.get(trade.trade_id, ())) for leg in each.legs]
            freed = sum(self._maintenance_usd(leg) for leg in held)
            if math.isfinite(freed) and freed > 0 and (best is None or freed > best[1]):
                best = (trade, freed)
        return best

    def _maintenance_usd(self, leg: LegStatus) -> float:
        """What it ties up: a short option, and a future on either side; NaN where it is not known now."""
        if not leg.held_quantity:
            return 0.0
        quantity = float(leg.held_quantity) * (1 if leg.side == "buy" else -1)
        return standard_margin(self._config, self._market, {leg.symbol: quantity}).maintenance

    def _next_step(self) -> str:
        """What would be done at the next level."""
        above = MARGIN_LEVELS[MARGIN_LEVELS.index(self._level) + 1 :]
        if not above:
            return ""
        level = above[0]
        if level != "warn" and not self._acts(level):
            return f"from {self._thresholds[level]:g} % on: tell, as `margin_acts_up_to` says, and do nothing"
        match level:
            case "warn":
                what = "tell"
            case "no_new_trades":
                what = "grant nothing"
            case "reduce":
                found = self._most_freeing()
                what = "close a trade; none frees margin now" if found is None else f"close {_described(*found)}"
            case _:
                what = "halt at level flatten: cancel every order and close every trade"
        return f"from {self._thresholds[level]:g} % on: {what}"

    def _at_least(self, level: MarginLevel) -> bool:
        return MARGIN_LEVELS.index(self._level) >= MARGIN_LEVELS.index(level)

    def _acts(self, level: MarginLevel) -> bool:
        return MARGIN_LEVELS.index(level) <= MARGIN_LEVELS.index(self._config.margin_acts_up_to)

    def _alert(self) -> RaiseAlert:
        normal = self._level == "normal"
        severity: Severity = "info" if normal else "warning" if self._level == "warn" else "critical"
        text = f"maintenance margin is {self._utilisation_pct or 0.0:.1f} % of equity: level {self._level}"
        stage = "" if normal else str(self._level)
        if self._plan is not None:
            text += f"; in {self._config.margin_notice_s} s the guard will {self._plan.text}"
            stage += f", {self._plan.trade_id or 'all'} at {self._plan.due_ns}"
        return RaiseAlert(
            code="margin_level", severity=severity, subject=self._account_id, text=text, resolved=normal, stage=stage
        )


def utilisation_pct(account: AccountSnapshot) -> float:
    """Maintenance margin / equity × 100; with no equity left 0 without margin, else without bound."""
    margin, equity = float(account.maintenance_margin_usd), float(account.equity_usd)
    if margin <= 0:
        return 0.0
    return margin / equity * 100 if equity > 0 else math.inf


def _described(trade: TradeUpdate, freed: float) -> str:
    return f"{trade.trade_id} of {trade.strategy}, which frees about {freed:,.0f} USD of maintenance margin"
