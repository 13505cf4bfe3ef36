"""Which cause explains which alert: a table of every kind, and the spell of a fault that an alert belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from shared.messages.alert_kinds import ENDED_BY_A_PERSON

Cause = Literal[
    "start",
    "killed",
    "stopped",
    "venue",
    "stream",
    "frozen",
    "dealers",
    "refused",
    "bus",
    "disk",
    "clock",
    "operator",
    "machine",
]
CAUSES: dict[Cause, str] = {
    "start": "the desk starts",
    "killed": "a process is killed and starts anew",
    "stopped": "a process stands still for seconds and goes on",
    "venue": "the venue does not answer, answers late or with an error, or refuses for its limits",
    "stream": "the venue's streams are cut, refused or silent",
    "frozen": "option prices stand still",
    "dealers": "no maker answers a request for quote, or too late",
    "refused": "the venue refuses orders",
    "bus": "messages between services are lost, late or doubled",
    "disk": "the disk of a journal is full, or a write is torn",
    "clock": "the wall clock is set",
    "operator": "a person halts, closes or cancels",
    "machine": "the machine itself stood still for a second or more: the soak's own clock says so",
}


class Spell(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was on, in seconds since the run began. subject: the service, "" where it is none."""

    cause: Cause
    began_s: float
    ended_s: float
    subject: str = ""
    what: str = ""


class AlertSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One record of the monitor's alert log."""

    at_s: float
    code: str
    severity: str
    subject: str
    text: str
    service: str
    resolved: bool = False
    is_notice: bool = False


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """What may explain a kind of alert.

    causes: any of these that was on, or over for no more than `grace_s`. by_trading: trading itself explains it, with
    no fault at all; by_trading_texts: the same for an alert whose text has
    some of these words. own_service: only where the
    alert is of the service that the cause befell.
    """

    causes: tuple[Cause, ...] = ()
    grace_s: float = 60.0
    by_trading: bool = False
    by_trading_texts: tuple[str, ...] = ()
    own_service: bool = False


def _why(*causes: Cause, grace_s: float = 60.0, own_service: bool = False) -> Why:
    return Why(causes=causes, grace_s=grace_s, own_service=own_service)


_TRADING = Why(by_trading=True)
_NEVER = Why()
_PROCESS: tuple[Cause, ...] = ("start", "killed", "stopped", "machine")
_VENUE: tuple[Cause, ...] = ("venue", "stream", "machine")
_ALL: tuple[Cause, ...] = (*_PROCESS, "venue", "stream", "frozen", "dealers", "refused", "bus", "disk", "clock")

EXPLAINED: dict[str, Why] = {
    # what trading does by itself
    "trade_opened": _TRADING,
    "trade_closed": _TRADING,
    "daily_summary": _TRADING,
    "short_expiring": _TRADING,
    "dry_run_signal": _NEVER,
    # an opening or a close in trouble: whatever kept orders from being worked; or the market left the price behind
    # beyond which the opening must not go, and it was unwound; or quotes that nobody took in time
    "trade_failed": Why(
        causes=(*_ALL, "operator"), grace_s=90, by_trading_texts=(" not filled ", "hard deadline passed")
    ),
    "trade_broken": _why(*_ALL, "operator", grace_s=300),
    "trade_overfilled": _why(*_ALL, grace_s=300),
    "surplus_not_reduced": _why(*_ALL, grace_s=300),
    # nothing rolls or is hedged in a soak
    "hedge_off": _NEVER,
    # no future is traded in a soak
    "leverage_mismatch": _NEVER,
    # the cash rule is off in a soak
    "cash_sold": _NEVER,
    "cash_low": _NEVER,
    "funding_unexplained": _NEVER,
    "roll_ended_flat": _NEVER,
    "roll_given_up": _NEVER,
    "exit_blind": _why(*_PROCESS, "venue", "stream", "frozen", "bus", "clock"),
    "close_unpriced": _why(*_PROCESS, "venue", "stream", "frozen", "bus", "clock"),
    "close_beyond_bound": _why("frozen", "venue", "stream", "stopped", "killed", "bus"),
    "settlement_missing": _why("venue", "killed", grace_s=1_800),
    "rfq_no_quotes": _why("dealers", "venue", "stream", "killed", "stopped", "machine"),
    # outcomes that the venue did not tell
    "order_unresolved": _why(*_PROCESS, *_VENUE, grace_s=120),
    "accept_unresolved": _why(*_PROCESS, *_VENUE, grace_s=120),
    "order_vanished": _why("venue", "stream", "disk", grace_s=120),
    "order_resurrected": _why("venue", "stream", "disk", grace_s=120),
    "reconciliation_differences": _why(*_PROCESS, *_VENUE, "disk", grace_s=120),
    "rejections_high": _why("venue", "refused", "clock", grace_s=900),
    "countdown_fired": _why(*_PROCESS, *_VENUE),
    "countdown_not_renewed": _why(*_PROCESS, *_VENUE),
    "countdown_refused": _NEVER,
    # what only lost rows or somebody else on the account can make
    "order_unknown_to_journal": _why("disk", grace_s=120),
    "foreign_position": _why("disk", grace_s=120),
    "trade_vanished": _why("disk", grace_s=120),
    "leg_closed_outside": _NEVER,
    "position_missing": _NEVER,
    "order_mismatch": _NEVER,
    "block_trade_foreign": _NEVER,
    "block_trade_mismatch": _NEVER,
    "naked_leg": _NEVER,
    # the account: limits are wide in a soak
    "margin_high": _NEVER,
    "drawdown_high": _NEVER,
    "drawdown": _NEVER,
    "daily_loss": _NEVER,
    "breaker_open": _NEVER,
    "margin_level": _NEVER,
    "margin_reducing": _NEVER,
    "margin_guard": _NEVER,
    "account_unreachable": _why(*_VENUE, "start"),
    # halts and strategies
    "halted": _why("operator", "disk"),
    "trade_without_host": _why(*_PROCESS, "bus"),
    "risk_silent": _why(*_PROCESS, "bus"),
    "strategy_failed": _NEVER,
    "strategy_load_failed": _NEVER,
    "strategy_reloaded": _why("operator"),
    "schedule_missed": _why(*_PROCESS, "clock"),
    "strategy_not_reloaded": _NEVER,
    # services
    "service_down": _why(*_PROCESS, "bus", own_service=True),
    "service_not_ready": _why(*_PROCESS, *_VENUE, "disk"),
    "service_restarted": _why("killed", "disk", grace_s=120, own_service=True),
    "core_failed": _NEVER,
    "shutdown_incomplete": _NEVER,
    # market data and the venue
    "feed_stale": _why(*_PROCESS, *_VENUE, "frozen", "bus", "clock"),
    "market_data_stale": _why(*_PROCESS, *_VENUE, "frozen", "clock"),
    "market_stream_down": _why(*_PROCESS, *_VENUE),
    "book_frozen": _why("frozen", "stream", "machine"),
    "venue_unreadable": _why(*_VENUE),
    "venue_unreachable": _why(*_VENUE, "frozen"),
    "fetches_failing": _why(*_VENUE, "frozen"),
    "venue_auth": _NEVER,
    "clock_off": _why("clock", "venue", "machine"),
    # disk and journals
    "disk_full": _why("disk"),
    "journal_in_memory": _why("disk"),
    "journal_incomplete": _why("disk", "killed"),
    "journal_damaged": _NEVER,
    "snapshot_unusable": _NEVER,
    "history_not_written": _why("disk"),
    "history_damaged": _NEVER,
    "logs_not_written": _why("disk"),
    # the alerts themselves
    "delivery_failed": _NEVER,
    "telegram_down": _NEVER,
    "telegram_refused": _NEVER,
    "dashboard_down": _NEVER,
}
"""By kind. One that is in no spell of its causes is unexplained; without causes every one is."""


class Judged(msgspec.Struct, frozen=True):
    """An alert that began or got worse, and why; `why` is "" for one that nothing explains."""

    alert: AlertSeen
    why: str


def judge(alerts: Iterable[AlertSeen], spells: Sequence[Spell]) -> list[Judged]:
    """Why each alert was raised. Ends of alerts are left out. Of several spells the one that began last counts."""
    return [Judged(alert, _reason(alert, spells)) for alert in alerts if not alert.resolved]


def _reason(alert: AlertSeen, spells: Sequence[Spell]) -> str:
    why = EXPLAINED.get(alert.code, _NEVER)
    if why.by_trading or any(words in alert.text for words in why.by_trading_texts):
        return "trading"
    fits = [
        spell
        for spell in spells
        if spell.cause in why.causes
        and spell.began_s <= alert.at_s <= spell.ended_s + why.grace_s
        and (not why.own_service or spell.subject in ("", _service_of(alert)))
    ]
    if not fits:
        return ""
    newest = max(fits, key=lambda spell: spell.began_s)
    return f"{newest.cause} {newest.subject}".strip()


def _service_of(alert: AlertSeen) -> str:
    """The subject names it first: "risk", or "risk 1763640000000" for one start of it."""
    return alert.subject.partition(" ")[0]


def open_matters(alerts: Iterable[AlertSeen]) -> list[AlertSeen]:
    """What was raised and has not ended by the last record, oldest first."""
    newest: dict[tuple[str, str], AlertSeen] = {}
    for alert in alerts:
        if not alert.is_notice:
            newest.pop((alert.code, alert.subject), None)
            newest[alert.code, alert.subject] = alert
    return [alert for alert in newest.values() if not alert.resolved and alert.severity != "info"]


_STAYS_ON = frozenset({"fetches_failing"})
"""Kinds that count over half an hour: they are still on when the faults have been over for minutes."""


def waits_for_a_person(alert: AlertSeen) -> bool:
    """Whether only somebody's acknowledgement ends it."""
    return alert.code in ENDED_BY_A_PERSON


def stays_on(alert: AlertSeen) -> bool:
    """Whether its kind is on for long after its cause, by its rule."""
    return alert.code in _STAYS_ON


def share_on(spells: Iterable[Spell], seconds: float, grace_s: float) -> float:
    """The share of the run in which some spell was on or over for no more than `grace_s`: the smaller it is, the
    more it says that an alert fell into it."""
    covered, until_s = 0.0, 0.0
    for began_s, ended_s in sorted((spell.began_s, spell.ended_s + grace_s) for spell in spells):
        begun_s = max(began_s, until_s, 0.0)
        ended_s = min(ended_s, seconds)
        if ended_s > begun_s:
            covered += ended_s - begun_s
            until_s = ended_s
    return covered / seconds if seconds else 0.0
