"""What explains an alert: every kind has its row; a spell counts for its causes, its service and its time."""

from __future__ import annotations

import msgspec

from shared.messages.alert_kinds import ALERT_KINDS
from soak.causes import CAUSES, EXPLAINED, AlertSeen, Cause, Spell, judge, open_matters, share_on, stays_on


def seen(code: str, at_s: float, *, subject: str = "risk", resolved: bool = False, notice: bool = False) -> AlertSeen:
    return AlertSeen(
        at_s=at_s,
        code=code,
        severity="warning",
        subject=subject,
        text="",
        service="monitor",
        resolved=resolved,
        is_notice=notice,
    )


def spell(cause: Cause, began_s: float, ended_s: float, subject: str = "") -> Spell:
    return Spell(cause=cause, began_s=began_s, ended_s=ended_s, subject=subject)


def whys(alerts: list[AlertSeen], *spells: Spell) -> list[str]:
    return [judged.why for judged in judge(alerts, spells)]


def test_every_kind_of_alert_has_its_row_and_no_other() -> None:
    assert set(EXPLAINED) == set(ALERT_KINDS)
    assert {cause for why in EXPLAINED.values() for cause in why.causes} <= set(CAUSES)


def test_an_alert_before_during_and_long_after_a_spell() -> None:
    alerts = [seen("venue_unreadable", at_s) for at_s in (99.0, 100.0, 170.0, 191.0)]
    assert whys(alerts, spell("venue", 100, 130)) == ["", "venue", "venue", ""]


def test_a_spell_of_another_cause_explains_nothing() -> None:
    assert whys([seen("disk_full", 110)], spell("venue", 100, 130)) == [""]


def test_a_service_that_is_down_is_explained_by_its_own_kill_and_by_no_other() -> None:
    alerts = [seen("service_down", 105), seen("service_restarted", 106, subject="risk 176", notice=True)]
    assert whys(alerts, spell("killed", 100, 105, "execution")) == ["", ""]
    assert whys(alerts, spell("killed", 100, 105, "risk")) == ["killed risk", "killed risk"]
    assert whys(alerts[:1], spell("machine", 100, 105)) == ["machine"]


def test_some_alerts_are_of_trading_and_some_nothing_explains() -> None:
    every = [spell(cause, 0, 1_000) for cause in CAUSES]
    assert whys([seen("trade_opened", 10), seen("naked_leg", 10), seen("core_failed", 10)], *every) == [
        "trading",
        "",
        "",
    ]


def test_an_opening_that_the_market_left_behind_is_trading_and_another_failure_is_not() -> None:
    alerts = [
        msgspec.structs.replace(seen("trade_failed", 10), text=f"trade t1 of s has failed: {reason}")
        for reason in ("X not filled in 10 attempts across the spread", "order 7 was refused")
    ]
    assert whys(alerts) == ["trading", ""]


def test_ends_of_alerts_need_no_explanation() -> None:
    assert judge([seen("venue_unreadable", 10, resolved=True)], []) == []


def test_what_is_open_is_what_was_raised_last_and_not_ended() -> None:
    log = [
        seen("feed_stale", 1),
        seen("venue_auth", 2),
        seen("feed_stale", 3, resolved=True),
        seen("feed_stale", 4),
        seen("trade_failed", 5, notice=True),
        seen("venue_auth", 6, resolved=True),
    ]
    assert [(alert.code, alert.at_s) for alert in open_matters(log)] == [("feed_stale", 4)]


def test_the_share_with_a_spell_counts_overlaps_once_and_nothing_past_the_end() -> None:
    spells = [spell("venue", 10, 20), spell("stream", 15, 30), spell("killed", 90, 95)]
    assert share_on(spells, 100, 0) == 0.25
    assert share_on(spells, 100, 10) == 0.4


def test_what_counts_over_half_an_hour_is_still_on_soon_after_and_no_sign_of_disorder() -> None:
    assert [stays_on(seen(code, 10)) for code in ("fetches_failing", "service_down")] == [True, False]
