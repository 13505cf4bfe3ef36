"""The monitor: what is missing or wrong is told once, and its end is told too."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from services.monitor import answers
from services.monitor.config import MonitorConfig
from services.monitor.effects import AlertRecord, AlertsRestored, Observed
from services.monitor.ended import DAY_NS, made_by
from services.monitor.summary import daily_summary
from services.monitor.web.trading import closed_today_usd
from shared.messages.control import GrantRefused
from shared.messages.market import IndexPrice
from shared.messages.steps import Entry, LoopStalled
from shared.messages.trades import TradeState, TradeUpdate
from tests.unit.monitor.desk import (
    SECOND,
    START,
    SYMBOL,
    Script,
    account,
    alert,
    halts,
    heartbeat,
    strategy,
    summary,
    trade,
)

SERVICES = MonitorConfig().services
INDEX = IndexPrice(underlying="BTCUSD", price=1.0, venue_ns=0, received_ns=0)
INDEX_TOPIC = "md.BTCUSD.index"


def test_a_service_that_falls_silent_is_down_once_and_its_return_is_told() -> None:
    script = Script()
    script.beat(0)
    assert script.tick(3) == []
    script.beat(3, "marketdata", "execution", "strategy")
    (down,) = script.tick(4)
    assert (down.code, down.severity, down.subject) == ("service_down", "critical", "risk")
    script.beat(5, "marketdata", "execution", "strategy")
    assert script.tick(6) == []
    for second in range(7, 37):
        assert script.hear(heartbeat("risk"), second) == [], "it may be gone again at once"
        script.on(LoopStalled(1), second)
    assert summary(script.hear(heartbeat("risk"), 37)) == [("service_down", "risk", True)]
    assert script.hear(heartbeat("risk"), 38) == []


def test_a_service_that_dies_again_and_again_is_down_once_until_a_start_lasts() -> None:
    script = Script(MonitorConfig(services=()))
    written: list[AlertRecord] = []
    for epoch in range(1, 20):
        begun_s = epoch * 20
        for second in range(begun_s, begun_s + 10):
            written += script.hear(heartbeat("risk", epoch=epoch, started_s=begun_s, beat_s=second), second)
            written += script.tick(second)
        for second in range(begun_s + 10, begun_s + 20):
            written += script.tick(second)
    assert [each.resolved for each in written if each.code == "service_down"] == [False]
    assert len([each for each in written if each.code == "service_restarted"]) <= 1
    for second in range(400, 430):
        assert script.hear(heartbeat("risk", epoch=20, started_s=400, beat_s=second), second) == []
    assert summary(script.hear(heartbeat("risk", epoch=20, started_s=400, beat_s=430), 430)) == [
        ("service_down", "risk", True)
    ]


def test_a_service_that_is_back_too_soon_to_be_missed_but_does_not_last_is_down_too() -> None:
    script = Script(MonitorConfig(services=()))
    written: list[AlertRecord] = []
    for epoch in range(1, 20):
        written += script.hear(heartbeat("risk", epoch=epoch, started_s=epoch * 2, beat_s=epoch * 2 + 1), epoch * 2)
        written += script.tick(epoch * 2)
    (notice, down) = written
    assert (notice.code, down.code, down.severity) == ("service_restarted", "service_down", "critical")
    assert "again and again (start 3)" in down.text


def test_a_service_never_heard_is_down_after_the_grace_of_the_start() -> None:
    script = Script()
    assert script.tick(15) == []
    assert [record.subject for record in script.tick(16.1)] == list(SERVICES)
    assert {view.is_down for view in script.core.status(START).services} == {True}


def test_a_service_that_was_not_expected_is_watched_once_it_was_heard() -> None:
    script = Script(MonitorConfig(services=()))
    script.hear(heartbeat("recorder"))
    assert summary(script.tick(4)) == [("service_down", "recorder", False)]


def test_the_monitor_does_not_watch_itself() -> None:
    script = Script(MonitorConfig(services=()))
    script.hear(heartbeat("monitor"))
    assert script.tick(100) == []


def test_a_service_that_stays_unready_is_worth_a_warning_until_it_is_ready() -> None:
    script = Script(MonitorConfig(services=()))
    for second in range(16):
        script.hear(heartbeat("risk", ready=False, detail="no account"), second)
        assert script.tick(second) == [], second
    script.hear(heartbeat("risk", ready=False, detail="no account"), 16)
    (warning,) = script.tick(16.6)
    assert warning.code == "service_not_ready"
    assert warning.text.endswith("no account")
    assert script.tick(17.6) == []
    assert summary(script.hear(heartbeat("risk"), 18)) == [("service_not_ready", "risk", True)]


def test_a_new_start_of_a_service_is_a_notice() -> None:
    script = Script()
    script.hear(heartbeat("risk", beat_s=60), 60)
    second, third = heartbeat("risk", epoch=2, started_s=61, beat_s=91), heartbeat("risk", epoch=3, started_s=92)
    assert summary(script.hear(second, 91)) == [("service_restarted", "risk 2", False)]
    assert summary(script.hear(third, 92)) == [("service_restarted", "risk 3", False)]


def test_a_silent_feed_is_told_and_its_return_too() -> None:
    script = Script(MonitorConfig(services=()))
    script.hear(INDEX, 0, INDEX_TOPIC)
    assert script.tick(5) == []
    assert summary(script.tick(6.1)) == [("feed_stale", INDEX_TOPIC, False)]
    assert script.core.status(START).silent_feeds == (INDEX_TOPIC,)
    assert script.tick(7.2) == []
    script.hear(INDEX, 8, INDEX_TOPIC)
    assert summary(script.tick(8.3)) == [("feed_stale", INDEX_TOPIC, True)]
    assert script.core.status(START).silent_feeds == ()


def test_after_a_stall_of_our_own_nobody_is_called_silent() -> None:
    script = Script()
    script.beat(0)
    script.hear(INDEX, 0, INDEX_TOPIC)
    assert script.on(LoopStalled(60), 60) == []
    assert script.tick(60) == []


def test_the_check_is_due_once_a_second() -> None:
    script = Script()
    assert script.core.next_deadline_ns() == START + 1_000_000_000
    script.tick(1)
    assert script.core.next_deadline_ns() == START + 2_000_000_000


def test_an_alert_is_written_once_until_it_gets_worse_or_ends() -> None:
    script = Script()
    assert len(script.hear(alert(at_s=0))) == 1
    assert script.hear(alert(at_s=0)) == []
    assert script.hear(alert(at_s=1)) == []
    (worse,) = script.hear(alert(at_s=2, severity="critical"))
    assert worse.severity == "critical"
    (matter,) = script.core.status(START).alerts
    assert (matter.count, matter.is_open) == (3, True)
    assert summary(script.hear(alert(at_s=3, resolved=True))) == [("code", "subject", True)]
    assert script.hear(alert(at_s=4, resolved=True)) == []
    assert not script.core.status(START).alerts[0].is_open
    assert summary(script.hear(alert(at_s=5))) == [("code", "subject", False)]
    assert script.core.status(START).alerts[0].count == 1


def test_an_end_without_a_beginning_is_not_written() -> None:
    assert Script().hear(alert(resolved=True)) == []


def test_our_own_alerts_coming_back_from_the_bus_are_not_written_again() -> None:
    script = Script()
    assert script.hear(msgspec.structs.replace(alert(), service="monitor")) == []


def test_alerts_written_before_a_restart_are_not_written_again_but_their_end_is() -> None:
    script = Script()
    known = AlertRecord(
        code="code", severity="warning", subject="subject", text="", service="risk", raised_ns=START, is_notice=False
    )
    assert script.on(AlertsRestored((known,))) == []
    assert script.hear(alert(at_s=0)) == []
    assert summary(script.hear(alert(at_s=1, resolved=True))) == [("code", "subject", True)]


def test_only_the_newest_alerts_are_kept_but_every_open_one() -> None:
    script = Script(MonitorConfig(keep_alerts=3))
    script.hear(alert("open"))
    for number in range(5):
        script.hear(alert(f"note-{number}", number + 1, severity="info"))
    kept = [matter.record.code for matter in script.core.status(START).alerts]
    assert kept == ["note-4", "note-3", "open"]


@pytest.mark.parametrize(
    ("state", "code", "severity"),
    [
        ("OPEN", "trade_opened", "info"),
        ("PARTIALLY_OPEN", "trade_opened", "warning"),
        ("CLOSED", "trade_closed", "info"),
        ("SETTLED", "trade_closed", "info"),
        ("FAILED", "trade_failed", "warning"),
        ("BROKEN", "trade_broken", "critical"),
    ],
)
def test_what_becomes_of_a_trade_is_told_once(state: str, code: str, severity: str) -> None:
    script = Script()
    assert script.hear(trade("OPENING")) == []
    (record,) = script.hear(trade(state, 1))  # type: ignore[arg-type]
    assert (record.code, record.severity, record.subject) == (code, severity, "t1")
    assert script.hear(trade(state, 1)) == []  # type: ignore[arg-type]


def _feeless(trade_id: str = "t1", at_s: float = 1, state: TradeState = "CLOSED") -> TradeUpdate:
    return msgspec.structs.replace(
        trade(state, at_s, trade_id=trade_id), fees_usd=Decimal("0.60"), fees_complete=False
    )


def test_the_notice_of_a_close_waits_for_its_fees() -> None:
    script = Script()
    assert script.hear(_feeless(), 1) == []
    assert script.hear(_feeless(at_s=2), 2) == []
    (record,) = script.hear(trade("CLOSED", 3), 3)
    assert "is CLOSED: +11.25 USD, which is +12.50 less fees 1.25 (" in record.text
    assert script.hear(trade("CLOSED", 3), 4) == []
    assert [told.code for told in script.tick(60) if told.code == "trade_closed"] == []


def test_fees_that_do_not_come_are_named_as_what_they_are_so_far() -> None:
    script = Script()
    script.hear(_feeless(), 1)
    script.hear(_feeless(at_s=20), 20)
    assert [told.code for told in script.tick(30) if told.code == "trade_closed"] == []
    (record,) = [told for told in script.tick(32) if told.code == "trade_closed"]
    assert "is CLOSED: +11.90 USD, which is +12.50 less fees 0.60 so far (" in record.text
    assert script.hear(trade("CLOSED", 40), 40) == []


def test_a_notice_says_first_what_was_made_in_all_and_of_an_opening_what_was_paid_for_it() -> None:
    script = Script()
    opened = msgspec.structs.replace(trade("OPEN", 1), entry_premium_usd=Decimal("-1325.25"))
    (record,) = script.hear(opened, 1)
    assert record.text.endswith(f"is OPEN: sell 0.1 {SYMBOL}; premium received 1,325.25 USD")
    closed = msgspec.structs.replace(
        trade("CLOSED", 2),
        realized_pnl_usd=Decimal("1.8543"),
        fees_usd=Decimal("29.9734515"),
        funding_usd=Decimal("0.0421"),
    )
    (record,) = script.hear(closed, 2)
    assert "is CLOSED: -28.16 USD, which is +1.85 less fees 29.97, funding 0.04 (" in record.text


def test_a_closed_trade_that_breaks_while_its_fees_are_awaited_is_not_told_as_closed() -> None:
    script = Script()
    script.hear(_feeless(), 1)
    assert [told.code for told in script.hear(trade("BROKEN", 2), 2)] == ["trade_broken"]
    assert "trade_closed" not in [told.code for told in script.tick(60)]


def test_a_trade_that_is_forgotten_while_its_fees_are_awaited_is_not_told() -> None:
    script = Script(MonitorConfig(keep_trades=1))
    script.hear(_feeless("t1", 1), 1)
    script.hear(trade("CLOSED", 2, trade_id="t2"), 2)
    assert "trade_closed" not in [told.code for told in script.tick(60)]


def test_a_broken_trade_that_is_repaired_ends_its_alert() -> None:
    script = Script()
    script.hear(trade("BROKEN"))
    assert summary(script.hear(trade("CLOSED", 1), 1)) == [
        ("trade_broken", "t1", True),
        ("trade_closed", "t1", False),
    ]


def test_trades_replayed_at_our_start_are_told_only_while_they_are_news() -> None:
    script = Script()
    assert script.hear(trade("CLOSED", 0, trade_id="t1"), 3_601) == []
    assert len(script.hear(trade("CLOSED", 10, trade_id="t2"), 3_601)) == 1


def test_a_notice_written_before_our_restart_is_not_written_again() -> None:
    script = Script()
    (written,) = script.hear(trade("CLOSED", 1))
    again = Script()
    again.on(AlertsRestored((written,)))
    assert again.hear(trade("CLOSED", 1), 60) == []


def test_old_final_trades_are_forgotten_and_open_ones_stay() -> None:
    script = Script(MonitorConfig(keep_trades=2))
    script.hear(trade("OPEN", 0, trade_id="t0"))
    for number in range(1, 6):
        script.hear(trade("CLOSED", number, trade_id=f"t{number}"))
    assert {shown.trade_id for shown in script.core.status(START).trades} == {"t0", "t4", "t5"}


def test_what_a_day_made_counts_trades_that_are_shown_no_more() -> None:
    script = Script(MonitorConfig(keep_trades=2))
    script.hear(account())
    for number in range(1, 6):
        trade_id = f"t{number}"
        ended = msgspec.structs.replace(trade("CLOSED", number, trade_id=trade_id), closed_ns=START + number * SECOND)
        script.hear(ended, number)
    unfilled = msgspec.structs.replace(
        trade("FAILED", 6, trade_id="t6"),
        opened_ns=None,
        closed_ns=START + 6 * SECOND,
        realized_pnl_usd=Decimal(0),
        fees_usd=Decimal(0),
    )
    script.hear(unfilled, 6)
    status = script.core.status(START + 10 * SECOND)
    assert len(status.trades) == 2
    assert "today +56.25 (5), fees 6.25" in answers.pnl(status)
    assert "24 h: 5 opened, 5 closed, which made +56.25 after fees 6.25" in daily_summary(status, None)
    assert closed_today_usd(status) == Decimal("56.25")

    # one of them is told of again, with a fee that came late
    late = msgspec.structs.replace(
        trade("CLOSED", 8, trade_id="t1"), closed_ns=START + SECOND, fees_usd=Decimal("2.25")
    )
    script.hear(late, 8)
    assert closed_today_usd(script.core.status(START + 10 * SECOND)) == Decimal("55.25")

    later = script.core.status(START + 86_403 * SECOND)
    assert made_by(later.ended_since(later.now_ns - DAY_NS)).count == 3, "those of more than a day ago count no more"


def test_a_halt_is_told_until_it_is_lifted() -> None:
    script = Script()
    (record,) = script.hear(halts("flatten"))
    assert (record.code, record.severity) == ("halted", "critical")
    assert "flatten by operator" in record.text
    assert summary(script.hear(halts(), 1)) == [("halted", "main", True)]
    assert script.hear(halts(), 2) == []


def test_a_failed_strategy_is_told_until_it_runs_again() -> None:
    script = Script()
    (record,) = script.hear(strategy("failed", "ZeroDivisionError"))
    assert record.text.endswith("ZeroDivisionError")
    assert summary(script.hear(strategy(), 1)) == [("strategy_failed", "short_strangle", True)]


def test_the_newest_of_everything_is_shown() -> None:
    script = Script(MonitorConfig(keep_refusals=1))
    for intent in ("s-1", "s-2"):
        script.hear(GrantRefused(intent_id=intent, strategy="s", code="delta_limit", detail=""), 1)
    script.hear(account())
    script.hear(strategy())
    shown = script.core.status(START)
    assert [refusal.refused.intent_id for refusal in shown.refusals] == ["s-2"]
    assert shown.account == account()
    assert shown.strategies == (strategy(),)


def test_another_account_is_not_ours_to_show() -> None:
    script = Script()
    assert script.hear(msgspec.structs.replace(trade("BROKEN"), account_id="other")) == []
    assert script.core.status(START).trades == ()


def test_what_is_not_for_the_monitor_is_ignored_and_a_row_is_our_own_bug() -> None:
    script = Script()
    assert script.on(object()) == []
    assert script.hear(INDEX, topic="nobody.declared.this.topic") == []
    with pytest.raises(AssertionError, match="no row of the outbox"):
        script.core.apply(Entry(START, "", "row"))


def test_what_a_service_told_before_its_restart_and_not_again_is_over_and_told_the_next_time() -> None:
    script = Script()
    script.hear(alert("disk_full", 1, severity="critical"), 1)
    script.hear(alert("limit_broken", 1, severity="critical"), 1)
    assert script.hear(heartbeat("execution", epoch=2, started_s=10, beat_s=191), 191) == [], "another service"
    script.hear(heartbeat("risk", epoch=2, started_s=10), 10)
    still = script.hear(heartbeat("risk", epoch=2, started_s=10, beat_s=189), 189)
    assert summary(still) == [], "it has time to tell it again"
    ended = script.hear(heartbeat("risk", epoch=2, started_s=10, beat_s=190), 190)
    assert summary(ended) == [("disk_full", "subject", True)]
    assert script.hear(heartbeat("risk", epoch=2, started_s=10, beat_s=191), 191) == []
    anew = script.hear(alert("disk_full", 200, severity="critical"), 200)
    assert summary(anew) == [("disk_full", "subject", False)]


def test_what_a_service_tells_again_after_its_restart_goes_on() -> None:
    script = Script()
    script.hear(alert("disk_full", 1, severity="critical"), 1)
    script.hear(heartbeat("risk", epoch=2, started_s=10), 10)
    assert script.hear(alert("disk_full", 11, severity="critical"), 11) == []
    assert script.hear(heartbeat("risk", epoch=2, started_s=10, beat_s=200), 200) == []


def test_what_the_monitor_itself_failed_on_is_told_like_that_of_any_service() -> None:
    script = Script()
    failed = Observed(code="core_failed", subject="monitor", text="an input was dropped")
    (record,) = script.on(failed, 1)
    assert (record.severity, record.service, record.is_notice) == ("critical", "monitor", True)
    assert script.on(failed, 2) == [], "counted only"


def test_trades_that_execution_tells_of_again_are_told_once_however_few_are_remembered() -> None:
    script = Script(MonitorConfig(keep_trades=2, keep_alerts=4))
    ended = [trade("CLOSED", 10.0 * number, trade_id=f"t{number}") for number in range(1, 41)]
    for number, each in enumerate(ended, 1):
        script.hear(heartbeat("execution", beat_s=10.0 * number), 10.0 * number)
        assert [told.code for told in script.hear(each, 10.0 * number)] == ["trade_closed"]
    # execution is killed, closes t41 when it is back, and tells of all of them in a new epoch
    missed = trade("CLOSED", 402, trade_id="t41")
    for each in (*ended, missed):
        script.hear(heartbeat("execution", epoch=2, beat_s=405), 405)
        assert [told.subject for told in script.hear(each, 405)] == (["t41"] if each is missed else [])
    assert [told.subject for told in script.hear(trade("CLOSED", 406, trade_id="t42"), 406)] == ["t42"]


def test_a_monitor_that_was_dead_is_told_of_what_ended_meanwhile_and_not_of_what_it_had_told() -> None:
    first = Script(MonitorConfig(keep_alerts=4))
    ended = [trade("CLOSED", 10.0 * number, trade_id=f"t{number}") for number in range(1, 21)]
    written = [record for number, each in enumerate(ended, 1) for record in first.hear(each, 10.0 * number)]
    second = Script(MonitorConfig(keep_alerts=4), before=written[-4:], synced=False)
    missed = [trade("CLOSED", 230 - number, trade_id=f"m{number}") for number in range(3)]
    heard = [record.subject for each in (*ended, *missed) for record in second.hear(each, 300)]
    assert heard == ["m0", "m1", "m2"]


def test_a_stream_that_brings_nothing_is_told_although_its_service_publishes_and_ends_when_it_says_so() -> None:
    script = Script()
    silent = {"BTCUSD": ("27MAR26", "index")}
    script.beat(1)
    (told,) = script.hear(heartbeat("marketdata", silent=silent), 2)
    assert (told.code, told.subject, told.severity) == ("feed_stale", "marketdata/BTCUSD", "warning")
    assert told.text == "streams of BTCUSD bring nothing, it comes by REST alone: 27MAR26, index"
    assert script.core.status(START).silent_feeds == ("marketdata/BTCUSD",)
    # told once, also where it is more or less of them, and no other service ends it
    assert script.hear(heartbeat("marketdata", silent={"BTCUSD": ("27MAR26",)}), 3) == []
    assert script.hear(heartbeat("risk"), 3) == []
    assert script.hear(heartbeat("marketdata", ready=False, detail="starting"), 4) == []
    (over,) = script.hear(heartbeat("marketdata"), 5)
    assert (over.code, over.subject, over.resolved) == ("feed_stale", "marketdata/BTCUSD", True)
    assert script.core.status(START).silent_feeds == ()


def test_a_stream_that_was_silent_before_a_restart_of_the_monitor_ends_when_it_is_not_any_more() -> None:
    (told,) = Script().hear(heartbeat("marketdata", silent={"BTCUSD": ("index",)}), 2)
    script = Script(before=[told])
    assert script.hear(heartbeat("marketdata", silent={"BTCUSD": ("index",)}), 3) == []
    assert summary(script.hear(heartbeat("marketdata"), 4)) == [("feed_stale", "marketdata/BTCUSD", True)]
