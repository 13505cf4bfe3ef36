"""What an operator can do from the dashboard: what is asked before it, what goes over the bus, what is said of it.

Each action has an id that was made with its confirmation: sent twice, it acts once, and the audit has one line.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import get_args

import msgspec

from services.monitor.flattening import left_out
from services.monitor.web.desk import WebDesk
from services.monitor.web.guard import Visitor
from services.monitor.web.store import AuditLine
from services.monitor.web.texts import leg_text, signed_text
from services.monitor.web.trading import open_trades, trade_rows
from shared.bus import Bus
from shared.host_requests import asked_of, together
from shared.messages.alerts import AcknowledgeAlert, AlertAcknowledgement
from shared.messages.base import Message
from shared.messages.control import HaltsAnswered, LiftHalts, RaiseHalt, StrategyCommand, StrategyCommandDone
from shared.messages.reconciliation import AdoptPosition, PositionAdopted
from shared.messages.risk import BreakersReset, ResetBreaker
from shared.messages.steps import ReplyReceived, RequestTimedOut, SendRequest
from shared.messages.trades import CancelAccepted, CancelOrders, CloseAccepted, CloseTrade, HaltLevel, Refusal
from shared.views import price_text

Fields = Mapping[str, str]

_DEADLINE_MS = 5_000
_ID = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
_TEXT_MAX = 200
_PENDING = "no answer yet"


class BadRequest(ValueError):
    """A field is missing or says nothing that can be done; the text names it."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A field that the confirmation asks for. choices: (value, text), none for free text."""

    name: str
    label: str
    value: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = True


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an action. done False: refused, or not known."""

    done: bool
    text: str


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do.

    needs: fields that say what it is about. question: in words, given the fields. about: what is known of that now,
    "" for nothing. request: the message, given the fields and who asks; raises BadRequest. moves_money: in LIVE the
    account's name is typed, as at the command line; always_typed: in every mode. may_halt: also for tokens that can
    only stop things. back: the page it belongs to.
    """

    name: str
    title: str
    verb: str
    service: str
    question: Callable[[Fields], str]
    request: Callable[[Fields, str], Message]
    needs: tuple[str, ...] = ()
    asks: Callable[[WebDesk, Fields], tuple[Asked, ...]] = lambda _desk, _fields: ()
    about: Callable[[WebDesk, Fields], str] = lambda _desk, _fields: ""
    moves_money: bool = False
    always_typed: bool = False
    may_halt: bool = False
    dangerous: bool = False
    back: str = "/"


def must_type(action: Action, desk: WebDesk) -> bool:
    """Whether the account's name must be typed to confirm."""
    return action.always_typed or (action.moves_money and desk.header.mode == "LIVE")


def is_allowed(action: Action, visitor: Visitor) -> bool:
    return visitor.may_operate or (action.may_halt and visitor.may_halt)


class Performer:
    """Carries actions out over the bus, each id once."""

    def __init__(self, desk: WebDesk, bus: Bus) -> None:
        self._desk = desk
        self._bus = bus
        self._running: dict[str, asyncio.Future[Outcome]] = {}

    async def perform(self, action: Action, fields: Fields, action_id: str, who: str, address: str) -> Outcome:
        """Do it, or say what came of it when this id was done before. Raises BadRequest."""
        if not _ID.match(action_id):
            raise BadRequest("the action has no id: load the page again")
        if must_type(action, self._desk) and fields.get("typed", "").strip() != self._desk.header.account_id:
            raise BadRequest(f"type the account's name, {self._desk.header.account_id}, to confirm")
        message = action.request(fields, f"web:{who}")
        detail = detail_of(action, fields)
        line = AuditLine(
            action_id=action_id, at_ns=self._desk.now_ns(), who=who, address=address, what=action.name, detail=detail
        )
        known = self._desk.store.begin(line)
        if known is not None and (known.what, known.detail, known.who) != (line.what, line.detail, line.who):
            raise BadRequest("this id was used for something else: load the page again")
        if known is not None and known.outcome:
            return Outcome(done=not known.outcome.startswith(("refused", "unknown")), text=known.outcome)
        running = self._running.get(action_id)
        if running is None:
            running = self._running[action_id] = asyncio.get_running_loop().create_future()
            self._send(action, message, action_id, running)
        return await asyncio.shield(running)

    def _send(self, action: Action, message: Message, action_id: str, running: asyncio.Future[Outcome]) -> None:
        asked = asked_of(action.service, message, self._desk.strategy_hosts)
        answers: dict[str, Message | None] = {}

        def deliver(service: str, answer: ReplyReceived | RequestTimedOut) -> None:
            answers[service] = answer.message if isinstance(answer, ReplyReceived) else None
            if len(answers) < len(asked):
                return
            self._running.pop(action_id, None)
            silent = [each for each, found in answers.items() if found is None]
            if silent:
                text = (
                    f"unknown: {', '.join(silent)} did not answer within {_DEADLINE_MS / 1000:g} s; what was asked "
                    "may still take effect, so look before you repeat it"
                )
                outcome = Outcome(done=False, text=text)
            else:
                outcome = outcome_of(together([each for each in answers.values() if each is not None]))
            self._desk.store.end(action_id, outcome.text, self._desk.now_ns())
            if not running.done():
                running.set_result(outcome)

        for service in asked:
            request_id = f"web.{action_id}" if len(asked) == 1 else f"web.{action_id}.{service}"
            self._bus.send_request(SendRequest(service, message, request_id, _DEADLINE_MS), partial(deliver, service))


def detail_of(action: Action, fields: Fields) -> str:
    """The fields that say what it is about, for the audit."""
    named = [fields.get(name, "")[:_TEXT_MAX] for name in (*action.needs, "level", "reason", "strategy", "quantity")]
    return " ".join(dict.fromkeys(text for text in named if text))


def outcome_of(answer: Message) -> Outcome:
    """An answer in a sentence."""
    match answer:
        case HaltsAnswered(state=state):
            levels = ", ".join(halt.level for halt in state.halts)
            return Outcome(done=True, text=f"in force: {levels}" if levels else "no halt is in force")
        case CloseAccepted(trade_id=trade_id, state=trade_state):
            return Outcome(done=True, text=f"{trade_id} is {trade_state}")
        case CancelAccepted(client_order_ids=numbers):
            return Outcome(done=True, text=f"cancelling {len(numbers)} order{'' if len(numbers) == 1 else 's'}")
        case StrategyCommandDone(strategies=names):
            return Outcome(done=True, text=f"told {', '.join(names) or 'nobody'}")
        case AlertAcknowledgement(alert=alert):
            return Outcome(done=True, text=f"{alert.code} is acknowledged by {alert.acknowledged_by or 'nobody'}")
        case BreakersReset(breakers=breakers):
            left = ", ".join(f"{each.name} {each.subject}".strip() for each in breakers if each.state != "closed")
            return Outcome(done=True, text=f"done; not closed: {left}" if left else "every circuit breaker is closed")
        case PositionAdopted() as adopted:
            held = f"{adopted.side} {adopted.quantity:f} {adopted.symbol} at {price_text(adopted.entry_price)}"
            return Outcome(done=True, text=f"trade {adopted.trade_id} holds {held}")
        case Refusal(code=code, detail=detail, remedy=remedy):
            return Outcome(done=False, text=f"refused: {detail} ({code})" + (f"; {remedy}" if remedy else ""))
        case other:
            return Outcome(done=False, text=f"unknown: the answer was {type(other).__name__}")


def _need(fields: Fields, name: str) -> str:
    value = fields.get(name, "").strip()
    if not value or len(value) > _TEXT_MAX:
        raise BadRequest(f"{name} is missing" if not value else f"{name} is too long")
    return value


def _halt(fields: Fields, who: str) -> Message:
    level = next((each for each in get_args(HaltLevel) if each == fields.get("level")), None)
    if level is None or level == "flatten":
        raise BadRequest("level must be no_new_trades or cancel_all; flatten is an action of its own")
    return RaiseHalt(level=level, reason=_reason(fields), requested_by=who)


def _reason(fields: Fields) -> str:
    return fields.get("reason", "").strip()[:_TEXT_MAX] or "from the dashboard"


def _order(fields: Fields) -> int:
    text = _need(fields, "order")
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise BadRequest("order is no client order id")
    return int(text)


def _adopt(fields: Fields, who: str) -> Message:
    text = fields.get("quantity", "").strip()
    quantity: Decimal | None = None
    if text:
        try:
            quantity = Decimal(text)
        except InvalidOperation:
            quantity = Decimal(0)
        if not quantity.is_finite() or quantity <= 0 or len(text) > 30:
            raise BadRequest("quantity must be a number above 0, in coins, such as 0.5; or leave it empty for all")
    symbol, strategy = _need(fields, "symbol"), _need(fields, "strategy")
    return AdoptPosition(symbol=symbol, quantity=quantity, strategy=strategy, requested_by=who)


def _strategy(action: str) -> Callable[[Fields, str], Message]:
    return lambda fields, who: StrategyCommand(action=action, strategy=_need(fields, "strategy"), requested_by=who)


def _name_of(fields: Fields) -> str:
    strategy = fields.get("strategy", "")
    return "every strategy" if strategy == "*" else strategy


def _ask_reason(_desk: WebDesk, fields: Fields) -> tuple[Asked, ...]:
    return (
        Asked(name="reason", label="Reason, kept in the journal", value=fields.get("reason", ""), required=False),
    )


def _ask_level(desk: WebDesk, fields: Fields) -> tuple[Asked, ...]:
    levels = (
        ("no_new_trades", "no new trades: opening orders and quotes go, half-open trades unwind"),
        ("cancel_all", "cancel all: every request for quote goes too, closes go on by orders"),
    )
    value = fields.get("level", "no_new_trades")
    return (Asked(name="level", label="Level", value=value, choices=levels), *_ask_reason(desk, fields))


def _ask_adoption(desk: WebDesk, fields: Fields) -> tuple[Asked, ...]:
    names = tuple((each.strategy, each.strategy) for each in desk.status().strategies)
    # none is chosen before somebody does: what is adopted counts as that strategy's from then on
    choices = (("", "choose a strategy"), *names) if names else ()
    return (
        Asked(
            name="strategy", label="Whose trade it is from then on", value=fields.get("strategy", ""), choices=choices
        ),
        Asked(name="quantity", label="Quantity, empty for all", value=fields.get("quantity", ""), required=False),
    )


def _about_trade(desk: WebDesk, fields: Fields) -> str:
    """What it holds and what that is worth."""
    status = desk.status()
    trade = next((each for each in status.trades if each.trade_id == fields.get("trade")), None)
    if trade is None:
        return ""
    (row,) = trade_rows([trade], status.account)
    held = [leg_text(each.leg, each.leg.held_quantity) for each in row.legs if each.leg.held_quantity]
    worth = (
        "a mark is missing"
        if row.net_usd is None
        else f"{signed_text(row.net_usd)} USD after fees and funding so far"
    )
    return f"{trade.strategy}, {trade.state}: {', '.join(held) or 'nothing is held'}; {worth}."


def _about_all(desk: WebDesk, _fields: Fields) -> str:
    status = desk.status()
    trades = len(open_trades(status))
    positions = "positions not known" if status.account is None else f"{len(status.account.positions)} positions"
    return f"Open now: {trades} trade{'' if trades == 1 else 's'}, {positions}. {left_out(status)}".rstrip()


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action(
            name="halt",
            title="Halt trading",
            verb="Halt",
            service="execution",
            question=lambda _: "Stop trading at once? It stays halted over restarts until it is lifted.",
            request=_halt,
            asks=_ask_level,
            may_halt=True,
            dangerous=True,
        ),
        Action(
            name="resume",
            title="Lift all halts",
            verb="Lift and trade again",
            service="execution",
            question=lambda _: "Lift every halt in force, so that strategies may open trades again?",
            request=lambda _, who: LiftHalts(requested_by=who),
            moves_money=True,
        ),
        Action(
            name="flatten",
            title="Flatten",
            verb="Close every trade",
            service="execution",
            question=lambda _: (
                "Cancel the desk's orders, close every open trade, and stay halted until it is lifted?"
            ),
            request=lambda fields, who: RaiseHalt(level="flatten", reason=_reason(fields), requested_by=who),
            asks=_ask_reason,
            about=_about_all,
            moves_money=True,
            always_typed=True,
            dangerous=True,
            back="/trades",
        ),
        Action(
            name="close",
            title="Close a trade",
            verb="Close it",
            service="execution",
            needs=("trade",),
            question=lambda fields: f"Close what trade {fields.get('trade', '')} still holds?",
            request=lambda fields, who: CloseTrade(
                trade_id=_need(fields, "trade"), reason=f"operator: {_reason(fields)}", requested_by=who
            ),
            about=_about_trade,
            moves_money=True,
            dangerous=True,
            back="/trades",
        ),
        Action(
            name="cancel-order",
            title="Cancel an order",
            verb="Cancel it",
            service="execution",
            needs=("order",),
            question=lambda fields: f"Cancel order {fields.get('order', '')}? The trade decides what follows.",
            request=lambda fields, who: CancelOrders(client_order_id=_order(fields), requested_by=who),
            moves_money=True,
            back="/orders",
        ),
        Action(
            name="cancel-trade-orders",
            title="Cancel a trade's orders",
            verb="Cancel them",
            service="execution",
            needs=("trade",),
            question=lambda fields: (
                f"Cancel the working orders of trade {fields.get('trade', '')}? The trade decides "
                "what follows: an opening that is cancelled is unwound or kept as its policy says."
            ),
            request=lambda fields, who: CancelOrders(trade_id=_need(fields, "trade"), requested_by=who),
            about=_about_trade,
            moves_money=True,
            back="/trades",
        ),
        Action(
            name="cancel-all",
            title="Cancel all orders",
            verb="Cancel all",
            service="execution",
            question=lambda _: (
                "Cancel all working orders of this desk? Trades decide what follows; a halt stops them."
            ),
            request=lambda _, who: CancelOrders(requested_by=who),
            moves_money=True,
            dangerous=True,
            back="/orders",
        ),
        Action(
            name="adopt",
            title="Adopt a position",
            verb="Adopt it",
            service="execution",
            needs=("symbol",),
            question=lambda fields: (
                f"Make a trade of what the venue holds of {fields.get('symbol', '')} beyond the "
                "desk's trades? It has no exit conditions: it is held until it is closed, flattened or expires."
            ),
            request=_adopt,
            asks=_ask_adoption,
            moves_money=True,
            back="/positions",
        ),
        Action(
            name="reset-breaker",
            title="Close a circuit breaker",
            verb="Close it",
            service="risk",
            needs=("breaker", "subject"),
            question=lambda fields: (
                f"Close circuit breaker {fields.get('breaker', '')} {fields.get('subject', '')}, "
                "so that trades may be opened again?"
            ),
            request=lambda fields, who: ResetBreaker(
                name=_need(fields, "breaker"), subject=fields.get("subject", "")[:_TEXT_MAX], requested_by=who
            ),
            moves_money=True,
            back="/risk",
        ),
        Action(
            name="acknowledge",
            title="Acknowledge an alert",
            verb="I see to it",
            service="monitor",
            needs=("alert",),
            question=lambda fields: f"Say that you see to alert {fields.get('alert', '')}? It is not told again.",
            request=lambda fields, who: AcknowledgeAlert(alert_id=_need(fields, "alert"), requested_by=who),
            back="/alerts",
        ),
        Action(
            name="pause",
            title="Pause",
            verb="Pause",
            service="strategy",
            needs=("strategy",),
            question=lambda fields: f"Pause {_name_of(fields)}? Nothing new is opened; exits of open trades go on.",
            request=_strategy("pause"),
            may_halt=True,
            back="/strategies",
        ),
        Action(
            name="run-once",
            title="Run once",
            verb="Run once",
            service="strategy",
            needs=("strategy",),
            question=lambda fields: (
                f"Let {_name_of(fields)} open one trade when its gates allow it, and pause it again after that?"
            ),
            request=_strategy("run_once"),
            moves_money=True,
            back="/strategies",
        ),
        Action(
            name="resume-strategy",
            title="Resume",
            verb="Resume",
            service="strategy",
            needs=("strategy",),
            question=lambda fields: f"Let {_name_of(fields)} open trades again?",
            request=_strategy("resume"),
            moves_money=True,
            back="/strategies",
        ),
    )
}
