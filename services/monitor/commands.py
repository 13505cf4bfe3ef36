"""What people write to the desk, and what follows: who may what, confirmation codes, an answer or a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import msgspec

from services.monitor import answers
from services.monitor.alert_config import TelegramSection, TelegramUser
from services.monitor.effects import Acknowledge
from services.monitor.flattening import left_out
from services.monitor.views import Status
from shared.ledger.pnl import DAY_NS, Days, since_ns_of
from shared.messages.base import Message
from shared.messages.control import LiftHalts, RaiseHalt, StrategyCommand
from shared.messages.trades import CloseTrade, HaltLevel, TellTrade

_SECOND = 1_000_000_000
_WRONG_CODES_MAX = 3
_SAFER = frozenset({"halt", "pause", "ack"})
_SAFER_AGE_S = 3_600.0
"""What makes the desk safer is done though the bot could not be asked for it for long: that is when it is needed."""

_CHART_DAYS_MAX = 731
ChartKind = Literal["all", "equity", "pnl"]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wrote. `update_id` names it for ever; `code` is a fresh one, in case a code is needed."""

    update_id: int
    chat_id: int
    user_id: int
    text: str
    sent_ns: int
    code: str


class Say(msgspec.Struct, frozen=True):
    text: str


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a service and tell what it answered. `what`: in words. changes: it is an action, to be audited."""

    service: str
    message: Message
    what: str
    changes: bool = True


class Do(msgspec.Struct, frozen=True, kw_only=True):
    """Hand this to the monitor's own core."""

    item: Acknowledge
    what: str


class Draw(msgspec.Struct, frozen=True, kw_only=True):
    kind: ChartKind
    days: float


class TellPnl(msgspec.Struct, frozen=True, kw_only=True):
    """Tell what was made since then, from the history. span: as it was written."""

    since_ns: int
    span: str


class Stranger(msgspec.Struct, frozen=True):
    """Nobody who is listed: no answer, and a person is told."""

    who: str


Response = Say | Ask | Do | Draw | TellPnl | Stranger


class _Pending(msgspec.Struct):
    """An action that waits for its code."""

    ask: Ask
    code: str
    until_ns: int
    wrong: int = 0


class _Speaker(msgspec.Struct, frozen=True):
    name: str
    may_operate: bool

    @property
    def by(self) -> str:
        """As it is written into journals."""
        return f"telegram:{self.name}"


class Commands:
    """Holds the actions that wait for their codes, one per chat and person; a restart forgets them, which is safe.

    heading: with mode and account, in each question for a code. days: the desk's trading days.
    """

    def __init__(self, section: TelegramSection, *, heading: str, days: Days = Days()) -> None:
        self._section = section
        self._days = days
        self._heading = heading
        self._users: Mapping[int, TelegramUser] = {user.id: user for user in section.users}
        self._pending: dict[tuple[int, int], _Pending] = {}
        self._table: dict[str, tuple[bool, Callable[[_Speaker, Said, list[str], Status], Response]]] = {
            "start": (False, _help),
            "help": (False, _help),
            "status": (False, lambda *a: Say(answers.status(a[3]))),
            "pnl": (False, self._pnl),
            "positions": (False, lambda *a: Say(answers.positions(a[3]))),
            "trades": (False, lambda *a: Say(answers.trades(a[3]))),
            "trade": (False, _trade),
            "strategies": (False, lambda *a: Say(answers.strategies(a[3]))),
            "risk": (False, lambda *a: Say(answers.risk(a[3]))),
            "why": (False, _why),
            "chart": (False, _chart),
            "alerts": (False, lambda *a: Say(answers.alerts(a[3]))),
            "ack": (True, _ack),
            "pause": (True, _pause),
            "halt": (True, _halt),
            "resume": (True, self._resume),
            "close": (True, self._close),
            "flatten": (True, self._flatten),
            "confirm": (True, self._confirm),
            "cancel": (True, self._cancel),
        }

    def handle(self, said: Said, status: Status) -> Response:
        """The one thing that follows."""
        speaker = self._speaker(said)
        if isinstance(speaker, Stranger):
            return speaker
        words = said.text.split()
        name = words[0].lower().removeprefix("/").partition("@")[0] if words else "help"
        age_s = (status.now_ns - said.sent_ns) / _SECOND
        limit_s = self._section.command_age_s
        if age_s > (max(limit_s, _SAFER_AGE_S) if name in _SAFER else limit_s):
            return Say(
                f"not done: {said.text[:40]!r} was written {age_s:.0f} s ago. Write it again if you still mean it."
            )
        if not words:
            return _help(speaker, said, [], status)
        if not words[0].startswith("/") and words[0].isdigit():
            name, words = "confirm", ["/confirm", words[0]]
        known = self._table.get(name)
        if known is None:
            return Say(f"{words[0][:40]} is not known. /help lists what is.")
        needs_operator, make = known
        if needs_operator and not speaker.may_operate:
            return Say(f'{speaker.name} may look and not operate: [[monitor.telegram.users]] says role = "view".')
        return make(speaker, said, words[1:], status)

    def _speaker(self, said: Said) -> _Speaker | Stranger:
        user = self._users.get(said.user_id)
        chat = self._users.get(said.chat_id)
        if user is None or chat is None:
            where = "" if said.chat_id == said.user_id else f" in chat {said.chat_id}"
            return Stranger(f"user {said.user_id}{where}")
        return _Speaker(user.name, user.role == "operate" and chat.role == "operate")

    def _pnl(self, speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
        if not words:
            return Say(answers.pnl(status))
        span = "".join(words).lower()
        try:
            since_ns = since_ns_of(f"{span}d" if span.isdecimal() else span, status.now_ns, self._days)
        except ValueError:
            return Say(f"{' '.join(words)[:40]!r} is no span: /pnl, or /pnl 7 d, 12 h, 2 w, today, all, 2026-11-27")
        if since_ns >= status.now_ns:
            return Say(f"{' '.join(words)[:40]} has not begun yet")
        return TellPnl(since_ns=since_ns, span=" ".join(words).lower())

    # Actions that need a code

    def _resume(self, speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
        if len(words) != 1:
            return Say("/resume STRATEGY, /resume all, or /resume desk to lift every halt")
        if words[0].lower() == "desk":
            if status.halts is not None and not status.halts.halts:
                return Say("no halt is in force")
            ask = Ask(service="execution", message=LiftHalts(requested_by=speaker.by), what="lift every halt")
            return self._needs_code(said, ask, status)
        return _on_strategy("resume", words[0], speaker, status, lambda ask: self._needs_code(said, ask, status))

    def _close(self, speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
        if len(words) != 1:
            return Say("/close TRADE; /trades lists them")
        trade = next((each for each in status.trades if each.trade_id == words[0]), None)
        if trade is None or trade.is_final:
            state = "not known" if trade is None else trade.state
            return Say(f"trade {words[0][:40]} is {state}. Open: {answers.open_ids(status)}")
        message = CloseTrade(trade_id=trade.trade_id, reason=speaker.by, requested_by=speaker.by)
        what = f"close trade {trade.trade_id} of {trade.strategy}: {answers.legs(trade)}"
        return self._needs_code(said, Ask(service="execution", message=message, what=what), status)

    def _flatten(self, speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
        reason = " ".join(words) or f"flatten by {speaker.by}"
        message = RaiseHalt(level="flatten", reason=reason, requested_by=speaker.by)
        count = sum(not trade.is_final for trade in status.trades)
        what = f"FLATTEN: halt, cancel the desk's orders, close every trade ({count} open)"
        if outside := left_out(status):
            what = f"{what}. {outside}"
        return self._needs_code(said, Ask(service="execution", message=message, what=what), status)

    def _needs_code(self, said: Said, ask: Ask, status: Status) -> Response:
        until_ns = status.now_ns + round(self._section.code_s * _SECOND)
        self._pending[said.chat_id, said.user_id] = _Pending(ask, said.code, until_ns)
        return Say(f"{ask.what}?\nAnswer {said.code} within {self._section.code_s:.0f} s, or /cancel.")

    def _confirm(self, speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
        key = (said.chat_id, said.user_id)
        pending = self._pending.get(key)
        if pending is None:
            return Say("nothing waits for a code; nothing was done")
        if status.now_ns > pending.until_ns:
            del self._pending[key]
            return Say(f"the code has expired; not done: {pending.ask.what}")
        if words != [pending.code]:
            pending.wrong += 1
            if pending.wrong >= _WRONG_CODES_MAX:
                del self._pending[key]
                return Say(f"wrong code for the third time; not done: {pending.ask.what}")
            return Say("wrong code; nothing was done")
        del self._pending[key]
        return pending.ask

    def _cancel(self, speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
        pending = self._pending.pop((said.chat_id, said.user_id), None)
        return Say("nothing waits for a code" if pending is None else f"not done: {pending.ask.what}")


# The rest needs none: it looks, or makes the desk safer.


def _help(speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
    return Say(answers.help_text(speaker.may_operate))


def _trade(speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
    if len(words) != 1:
        return Say("/trade TRADE; /trades lists them")
    trade = next((each for each in status.trades if each.trade_id == words[0]), None)
    if trade is not None:
        return Say(answers.trade(trade, status))
    return Ask(service="execution", message=TellTrade(trade_id=words[0][:64]), what="the story", changes=False)


def _why(speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
    if len(words) > 1:
        return Say("/why, /why STRATEGY or /why TRADE")
    if words and any(trade.trade_id == words[0] for trade in status.trades):
        return Ask(service="execution", message=TellTrade(trade_id=words[0]), what="the story", changes=False)
    return Say(answers.why(status, words[0] if words else ""))


def _chart(speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
    kind: ChartKind = "all"
    rest = []
    for word in words:
        if (named := next((each for each in get_args(ChartKind) if each == word), None)) is not None:
            kind = named
        else:
            rest.append(word.lower())
    span = "".join(rest) or "1d"
    try:
        since_ns = since_ns_of(f"{span}d" if span.isdecimal() else span, status.now_ns)
    except ValueError:
        since_ns = 0
    days = (status.now_ns - since_ns) / DAY_NS
    if not 1 / 24 <= days <= _CHART_DAYS_MAX:
        return Say("/chart [equity|pnl] [SPAN], such as /chart pnl 30 d; an hour to two years")
    return Draw(kind=kind, days=days)


def _ack(speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
    if len(words) != 1:
        return Say("/ack ID, as the alert shows it; /alerts lists them")
    alert_id = words[0].lstrip("#").lower()
    matter = next((each for each in status.alerts if alert_id in (each.alert_id, each.held_id)), None)
    if matter is None or not (matter.is_open or matter.held_id):
        return Say(f"no open alert has the id {alert_id[:20]}; /alerts lists them")
    return Do(item=Acknowledge(alert_id=alert_id, by=speaker.by), what=f"acknowledge {answers.alert_line(matter)}")


def _pause(speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
    if len(words) != 1:
        return Say("/pause STRATEGY or /pause all")
    return _on_strategy("pause", words[0], speaker, status, lambda ask: ask)


def _halt(speaker: _Speaker, said: Said, words: list[str], status: Status) -> Response:
    level: HaltLevel = "no_new_trades"
    first = words[0].lower() if words else ""
    if first == "flatten":
        return Say("closing everything is /flatten, which asks for a code")
    if [word.lower() for word in words[:2]] == ["cancel", "all"]:
        level, words = "cancel_all", words[2:]
    elif first in ("no_new_trades", "cancel_all"):
        level, words = "cancel_all" if first == "cancel_all" else "no_new_trades", words[1:]
    reason = " ".join(words) or speaker.by
    message = RaiseHalt(level=level, reason=reason, requested_by=speaker.by)
    return Ask(service="execution", message=message, what=f"halt at {level}")


def _on_strategy(
    action: str, name: str, speaker: _Speaker, status: Status, then: Callable[[Ask], Response]
) -> Response:
    names = [each.strategy for each in status.strategies]
    name = "all" if name.lower() == "all" else name
    if name != "all" and name not in names:
        return Say(f"there is no strategy {name[:40]}; there are {', '.join(names) or 'none'}")
    target = "*" if name == "all" else name
    message = StrategyCommand(action=action, strategy=target, requested_by=speaker.by)
    return then(Ask(service="strategy", message=message, what=f"{action} {name}"))
