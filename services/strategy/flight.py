"""One intent on its way: grant from risk, then execution, until its outcome is known.

An unanswered request is repeated with its id, for as long as it takes: the answer, or the trade's own event, is the
only thing that tells. What bounds the intent is `valid_until_ns`, after which execution does not accept it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from services.strategy.config import StrategyHostConfig
from shared.ids import intent_id
from shared.messages.base import Message
from shared.messages.control import INTENT_REFUSED, GrantGiven, GrantRefused, RequestGrant
from shared.messages.steps import ReplyReceived, SendRequest
from shared.messages.trades import (
    RETRYABLE_REFUSALS,
    Grant,
    OpenTrade,
    Refusal,
    TellTrade,
    TradeAccepted,
    TradeStory,
    TradeUpdate,
)
from shared.strategy.protocol import IntentOutcome, OpenStructure

MS = 1_000_000
SECOND_NS = 1_000 * MS
ORDINAL_KNOWN = "intent_known"
"""Execution's refusal of an ordinal below one that it has seen."""

LIMITS_OF_SIZE = frozenset(
    {
        "order_quantity",
        "order_notional",
        "strategy_order_notional",
        "position_limit",
        "underlying_concentration",
        "expiry_concentration",
        "delta_limit",
        "underlying_delta",
        "margin",
        "margin_utilisation",
        "trade_risk",
        "strategy_trade_risk",
        "total_risk",
        "strategy_total_risk",
        "stressed_loss",
    }
)
"""Risk's refusals that less of the same may pass."""

Stage = Literal["granting", "closing", "opening", "accepted"]
"""closing: only of a roll, while the trade whose place it takes is being closed."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The flight is over. ordinal_used: ordinals up to this one are not asked again; is_decided: because they have
    their outcome at execution, and not only because risk keeps room for these legs under the last one's id.

    room: of what was asked for, the share that the limit which risk named leaves room for at most; None: no limit
    that less would keep.
    """

    outcome: IntentOutcome
    ordinal_used: int | None
    is_decided: bool = True
    trade: TradeUpdate | None = None
    room: float | None = None


class Flight:
    """The way of one intent. Each method returns what to send, or how it ended, or None when it goes on waiting."""

    def __init__(
        self,
        intent: OpenStructure,
        *,
        strategy: str,
        ordinal: int,
        account_id: str,
        config: StrategyHostConfig,
        now_ns: int,
        entry_reasons: tuple[str, ...] = (),
        decision_prices: tuple[float | None, ...] = (),
    ) -> None:
        self._intent = intent
        self._entry_reasons = entry_reasons
        self._decision_prices = decision_prices
        self._strategy = strategy
        self._account_id = account_id
        self._config = config
        self._made_ns = now_ns
        self._valid_until_ns = now_ns + config.intent_valid_ms * MS
        self._grant: Grant | None = None
        self._trade_id = ""
        self._request: SendRequest | None = None
        self._repeats = 0
        self._attempt = 0
        self._rolled_from = ""
        self._price_limits: tuple[Decimal, ...] = ()
        self._longer_s = 0.0
        self._given_up: Ended | None = None
        self.ordinal = ordinal
        self.intent_id = intent_id(strategy, ordinal)
        self.stage: Stage = "granting"
        self.due_ns: int | None = None

    @property
    def reason(self) -> str:
        """What is waited for, in words."""
        waiting_for = {
            "granting": "risk's grant",
            "closing": f"the close of trade {self._rolled_from}",
            "opening": "execution's answer",
            "accepted": f"the first event of trade {self._trade_id}",
        }
        repeated = f", asked {self._repeats + 1} times" if self._repeats else ""
        return f"intent {self.intent_id} waits for {waiting_for[self.stage]}{repeated}"

    def owns(self, request_id: str) -> bool:
        return self._request is not None and self._request.request_id == request_id

    def start(self) -> SendRequest:
        """Ask risk for room."""
        return self._ask(
            "risk",
            RequestGrant(
                intent_id=self.intent_id,
                account_id=self._account_id,
                strategy=self._strategy,
                legs=self._intent.legs,
                execution_mode=self._intent.execution_mode,
                max_loss_usd=self._intent.max_loss_usd,
                valid_until_ns=self._valid_until_ns,
                opening_s=self._intent.opening_s + self._longer_s + self._config.intent_valid_ms / 1_000,
                hedge_coins=self._intent.hedge_coins,
                hedge_least_coins=self._intent.hedge_range[0],
                hedge_most_coins=self._intent.hedge_range[1],
            ),
            f"{self.intent_id}/grant/{self._made_ns}",
            self._config.grant_deadline_ms,
        )

    def on_reply(self, reply: ReplyReceived, now_ns: int) -> SendRequest | Ended | None:
        """An answer to the request in flight. One that does not belong to the question counts as none."""
        answer = reply.message
        match self.stage, answer:
            case "granting", GrantGiven(grant=grant):
                return self._on_grant(grant, now_ns)
            case "granting", GrantRefused(code=code, detail=detail):
                used = self.ordinal if code == INTENT_REFUSED else None
                refused = _refused("risk", code, f"risk: {detail}", ordinal_used=used)
                return msgspec.structs.replace(refused, room=_room(answer))
            case "granting", Refusal(code=code, detail=detail):
                return _refused("risk", code, f"risk: {detail}", ordinal_used=None)
            case "opening", TradeAccepted(trade_id=trade_id):
                self.stage = "accepted"
                self._trade_id = trade_id
                self._repeats = 0
                self._request = None
                self.due_ns = now_ns + self._config.accepted_wait_ms * MS
                return None
            case "opening", Refusal():
                return self._on_open_refused(answer, now_ns)
            case "accepted", TradeStory(trade=trade):
                return self.on_trade(trade)
            case "accepted", Refusal(code=code, detail=detail):
                return _refused("execution", code, f"execution: {detail}", ordinal_used=self.ordinal)
            case _:
                self.on_timeout(now_ns)
                return None

    def on_timeout(self, now_ns: int) -> None:
        """No answer in time: what was asked may have happened. Ask again later, with the same id."""
        pause_ms = min(self._config.repeat_max_ms, 250 * 2 ** min(self._repeats, 16))
        self._repeats += 1
        self.due_ns = now_ns + pause_ms * MS

    def on_due(self, now_ns: int) -> SendRequest | Ended | None:
        """`due_ns` has come: ask again, or ask for a trade that was accepted and never seen."""
        self.due_ns = None
        if self.stage == "granting" and now_ns >= self._valid_until_ns:
            return _refused("risk", "risk_silent", "risk did not answer", ordinal_used=None)
        if self._given_up is not None:
            return self._given_up
        if self._request is not None:
            return self._request
        if self.stage == "opening":
            return self._ask_to_open()
        return self._ask(
            "execution",
            TellTrade(trade_id=self._trade_id),
            f"{self.intent_id}/tell/{now_ns}",
            self._config.open_deadline_ms,
        )

    def on_trade(self, trade: TradeUpdate) -> Ended | None:
        """An event of a trade: the outcome, if it is this intent's."""
        if trade.intent_id != self.intent_id:
            return None
        if trade.is_final and trade.created_ns < self._made_ns:
            refused = _refused(
                "execution",
                ORDINAL_KNOWN,
                f"trade {trade.trade_id} had this ordinal before",
                ordinal_used=self.ordinal,
            )
            return msgspec.structs.replace(refused, trade=trade)
        opened = IntentOutcome(kind="opened", code="", reason=f"trade {trade.trade_id}", trade_id=trade.trade_id)
        return Ended(outcome=opened, ordinal_used=self.ordinal, trade=trade)

    def _on_grant(self, grant: Grant, now_ns: int) -> SendRequest | Ended | None:
        asked = {(leg.symbol, leg.side): leg.quantity for leg in self._intent.legs}
        allowed = {(leg.symbol, leg.side): leg.max_quantity for leg in grant.legs}
        covers = all(allowed.get(leg, 0) >= quantity for leg, quantity in asked.items())
        if grant.intent_id != self.intent_id or not covers:
            return self._left("risk", "grant_differs", "risk granted something else than was asked for")
        if now_ns >= self._valid_until_ns:
            return self._left("risk", "too_late", "the grant came after the intent had expired")
        self._grant = grant
        return self._granted(now_ns)

    def _granted(self, now_ns: int) -> SendRequest | None:
        """There is room: go on."""
        self.stage = "opening"
        return self._ask_to_open()

    def _ask_to_open(self) -> SendRequest:
        intent, grant = self._intent, self._grant
        assert grant is not None, "an intent is sent to execution only with its grant"
        message = OpenTrade(
            intent_id=self.intent_id,
            account_id=self._account_id,
            strategy=self._strategy,
            ordinal=self.ordinal,
            legs=intent.legs,
            execution_mode=intent.execution_mode,
            execution_params=intent.execution_params,
            smart=intent.smart,
            rfq=intent.rfq,
            policy=intent.policy,
            exit_conditions=intent.exit_conditions,
            hard_deadline_ns=intent.hard_deadline_ns,
            deadline_grace_s=self._config.deadline_grace_s,
            max_loss_usd=intent.max_loss_usd,
            if_host_silent=intent.if_host_silent,
            host_silent_after_s=intent.host_silent_after_s,
            if_broken=intent.if_broken,
            hedge_of=intent.hedge_of,
            hedge_least_coins=intent.hedge_range[0],
            hedge_most_coins=intent.hedge_range[1],
            valid_until_ns=self._valid_until_ns,
            grant=grant,
            entry_reasons=self._entry_reasons,
            decision_prices=self._decision_prices,
            rolled_from=self._rolled_from,
            price_limits=self._price_limits,
        )
        request_id = f"{self.intent_id}/open/{self._made_ns}/{self._attempt}"
        return self._ask("execution", message, request_id, self._config.open_deadline_ms)

    def _on_open_refused(self, refusal: Refusal, now_ns: int) -> Ended | None:
        reason = f"execution: {refusal.detail}" + (f" ({refusal.remedy})" if refusal.remedy else "")
        if refusal.code == ORDINAL_KNOWN:
            # some higher ordinal was used and its trade is no longer told of: doubling finds a free one in few steps
            return _refused("execution", refusal.code, reason, ordinal_used=2 * self.ordinal - 1)
        if refusal.code not in RETRYABLE_REFUSALS:
            return _refused("execution", refusal.code, reason, ordinal_used=self.ordinal)
        due_ns = now_ns + SECOND_NS * 2 ** min(self._attempt, 6)
        self._request = None
        if due_ns >= self._valid_until_ns:
            # a request that was late on its way may be accepted until then: only after it is the next one another
            self._given_up = self._left("execution", refusal.code, reason)
            self.due_ns = self._valid_until_ns
            return None
        self._attempt += 1
        self.due_ns = due_ns
        return None

    def _left(self, by: Literal["risk", "execution"], code: str, reason: str) -> Ended:
        """Given up with risk's grant in hand."""
        return msgspec.structs.replace(_refused(by, code, reason, ordinal_used=self.ordinal), is_decided=False)

    def _ask(self, service: str, message: Message, request_id: str, deadline_ms: int) -> SendRequest:
        self._repeats = 0
        self.due_ns = None
        self._request = SendRequest(service=service, message=message, request_id=request_id, deadline_ms=deadline_ms)
        return self._request


def _refused(by: Literal["risk", "execution"], code: str, reason: str, *, ordinal_used: int | None) -> Ended:
    outcome = IntentOutcome(kind="refused", code=code, reason=reason, refused_by=by)
    return Ended(outcome=outcome, ordinal_used=ordinal_used)


def _room(refused: GrantRefused) -> float | None:
    """See `Ended`."""
    if refused.code not in LIMITS_OF_SIZE or refused.value is None or refused.limit is None:
        return None
    return refused.limit / refused.value if 0 < refused.limit < refused.value else None
