"""Delivery of alerts: who is told, together with what, how often, and what a restart or a dead channel changes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from services.monitor.alert_config import Channel, KindRule, Route
from services.monitor.config import MonitorConfig
from services.monitor.core import MonitorCore
from services.monitor.effects import (
    Acknowledge,
    AlertRecord,
    AlertsRestored,
    AppendAlert,
    Deliver,
    Delivered,
    DeliveryFailed,
)
from shared.messages.alerts import AcknowledgeAlert, AlertAcknowledgement, AlertList, ListAlerts
from shared.messages.base import Message
from shared.messages.control import HaltState
from shared.messages.steps import Entry, Inbound, Reply, Request, Step, Tick
from shared.messages.trades import Refusal
from tests.unit.monitor.desk import ACCOUNT, SECOND, START, alert, halts

PHONE = Channel(via="telegram", chat_id=1, group_s=5.0, per_minute=3)
MAIL = Channel(via="notify", min_severity="warning", group_s=0.0, per_minute=60)


def config(**changes: object) -> MonitorConfig:
    fields: dict[str, object] = {
        "services": (),
        "summary_utc": "",
        "channels": {"phone": PHONE, "mail": MAIL},
        "routes": {"default": Route(channels=("phone",), fallback=("mail",), remind_after_s=900)},
    }
    return MonitorConfig(**{**fields, **changes})  # type: ignore[arg-type]


class Wire:
    """A core, its journal, and what left for each channel; `alive` channels confirm at once."""

    def __init__(self, settings: MonitorConfig | None = None, *, alive: Iterable[str] = ("phone", "mail")) -> None:
        self.settings = settings or config()
        self.journal: list[Entry] = []
        self.written: list[AlertRecord] = []
        self.sent: list[Deliver] = []
        self.alive = set(alive)
        self.answers: list[Message] = []
        self.core = self._core()
        self._take(self.core.start(START), START)

    def _core(self) -> MonitorCore:
        return MonitorCore(self.settings, account_id=ACCOUNT, heading="paper · main")

    def restart(self, at_s: float, *, alerts_lost: int = 0) -> None:
        """Die and come back with the journal and the alert file, of which the newest lines may be missing."""
        self.core = self._core()
        self.core.handle(AlertsRestored(tuple(self.written[: len(self.written) - alerts_lost])), _ns(at_s))
        for entry in self.journal:
            self.core.apply(entry)
        self._take(self.core.start(_ns(at_s)), _ns(at_s))

    def on(self, item: object, at_s: float) -> None:
        self._take(self.core.handle(item, _ns(at_s)), _ns(at_s))

    def hear(self, message: Message, at_s: float) -> None:
        self.on(Inbound("", message, "", "x", 1), at_s)

    def run(self, from_s: float, to_s: float) -> None:
        for second in range(int(from_s), int(to_s) + 1):
            self.on(Tick(), second)

    def fail(self, message: Deliver, at_s: float, *, retry_after_s: float | None = None, final: bool = False) -> None:
        failure = DeliveryFailed(
            message_id=message.message_id, reason="away", retry_after_s=retry_after_s, is_final=final
        )
        self.on(failure, at_s)

    def texts(self, channel: str) -> list[str]:
        return [each.text for each in self.sent if each.channel == channel]

    def _take(self, step: Step, now_ns: int) -> None:
        self.journal += step.rows
        for effect in step.effects:
            match effect:
                case AppendAlert(record=record):
                    self.written.append(record)
                case Deliver():
                    self.sent.append(effect)
                    if effect.channel in self.alive:
                        self._take(self.core.handle(Delivered(message_id=effect.message_id), now_ns), now_ns)
                case Reply(message=message):
                    self.answers.append(message)


def _ns(at_s: float) -> int:
    return START + round(at_s * SECOND)


def test_an_alert_is_told_at_once_with_mode_account_and_its_ids_and_once_only() -> None:
    wire = Wire()
    wire.hear(alert("venue_unreadable", 1, severity="critical"), 1)
    wire.hear(alert("venue_unreadable", 2, severity="critical"), 2)
    (text,) = wire.texts("phone")
    heading, line, message_id = text.splitlines()
    alert_id = wire.core.status(START).alerts[0].alert_id
    assert heading == "paper · main"
    assert line == f"CRITICAL · Venue unreadable: venue_unreadable at 1 #{alert_id}"
    assert message_id == wire.sent[0].message_id
    assert wire.texts("mail") == []


def test_its_end_is_told_where_its_beginning_was_told() -> None:
    wire = Wire()
    wire.hear(alert("venue_unreadable", 1, severity="critical"), 1)
    wire.hear(alert("venue_unreadable", 9, severity="info", resolved=True), 9)
    wire.run(9, 20)
    assert [text.splitlines()[1].split(":")[0] for text in wire.texts("phone")] == [
        "CRITICAL · Venue unreadable",
        "Over · Venue unreadable",
    ]


def test_what_comes_soon_after_a_message_goes_together_in_the_next_and_critical_ones_first() -> None:
    wire = Wire()
    for number in range(6):
        wire.hear(alert(f"code{number}", 1), 1)
    assert len(wire.sent) == 1
    wire.run(2, 5)
    assert len(wire.sent) == 1
    wire.hear(alert("disk_full", 5, severity="critical"), 5.5)
    assert len(wire.sent) == 2
    lines = wire.texts("phone")[1].splitlines()
    assert lines[0] == "paper · main · 6 alerts"
    assert lines[1].startswith("CRITICAL · Disk full")
    assert len(lines) == 8


def test_a_flood_is_cut_to_the_messages_per_minute_and_nothing_of_it_is_lost() -> None:
    wire = Wire()
    for second in range(60):
        wire.hear(alert(f"code{second}", second), second)
        wire.on(Tick(), second)
    assert len(wire.sent) == PHONE.per_minute
    wire.run(60, 130)
    told = "\n".join(wire.texts("phone"))
    assert all(f"code{second} at" in told for second in range(60))


def test_what_must_last_is_not_told_when_it_is_over_before_and_neither_is_its_end() -> None:
    wire = Wire(config(kinds={"feed_stale": KindRule(after_s=30)}))
    wire.hear(alert("feed_stale", 1), 1)
    wire.run(1, 20)
    wire.hear(alert("feed_stale", 20, resolved=True), 20)
    wire.run(20, 60)
    assert wire.sent == []
    wire.hear(alert("feed_stale", 61), 61)
    wire.run(61, 95)
    assert len(wire.sent) == 1


def test_a_kind_may_have_another_severity_route_and_text_or_be_mute() -> None:
    kinds = {
        "foreign_position": KindRule(severity="critical", route="desk", text="{subject} is not ours ({service})"),
        "trade_opened": KindRule(mute=True),
    }
    routes = {"default": Route(channels=("phone",)), "desk": Route(channels=("mail",))}
    wire = Wire(config(kinds=kinds, routes=routes))
    wire.hear(alert("foreign_position", 1), 1)
    wire.hear(alert("trade_opened", 0, severity="info"), 1)
    assert wire.texts("phone") == []
    (text,) = wire.texts("mail")
    assert "CRITICAL · Foreign position: subject is not ours (risk) #" in text
    assert wire.core.status(START).alerts[0].record.severity == "critical"


def test_a_channel_takes_nothing_below_its_severity() -> None:
    wire = Wire(config(routes={"default": Route(channels=("phone", "mail"))}))
    wire.hear(alert("dry_run_signal", 1, severity="info"), 1)
    assert (len(wire.texts("phone")), len(wire.texts("mail"))) == (1, 0)


def test_a_message_that_failed_comes_again_with_its_id_later_and_later() -> None:
    wire = Wire(alive=())
    wire.hear(alert("code", 1), 1)
    (first,) = wire.sent
    at_s, gaps = 1.0, []
    for _ in range(6):
        wire.fail(wire.sent[-1], at_s)
        count, begun_s = len(wire.texts("phone")), at_s
        while len(wire.texts("phone")) == count:
            at_s += 1
            wire.on(Tick(), at_s)
        gaps.append(at_s - begun_s)
    assert gaps == [1, 2, 4, 8, 16, 32]
    assert {each.message_id for each in wire.sent if each.channel == "phone"} == {first.message_id}


def test_a_critical_alert_behind_a_message_that_fails_has_it_tried_at_once_and_from_the_shortest_pause_on() -> None:
    wire = Wire(config(channels={"phone": PHONE}, routes={"default": Route(channels=("phone",))}), alive=())
    wire.hear(alert("code", 1), 1)
    at_s = 1
    for _ in range(9):
        wire.fail(wire.sent[-1], at_s)
        count = len(wire.sent)
        while len(wire.sent) == count:
            at_s += 1
            wire.on(Tick(), at_s)
    wire.fail(wire.sent[-1], at_s)
    wire.hear(alert("warned", at_s + 5), at_s + 5)
    wire.run(at_s + 5, at_s + 20)
    count = len(wire.sent)
    wire.hear(alert("order_unresolved", at_s + 21, severity="critical"), at_s + 21)
    assert len(wire.sent) == count + 1
    wire.fail(wire.sent[-1], at_s + 22)
    wire.run(at_s + 22, at_s + 23)
    assert len(wire.sent) == count + 2, "a second later, not 300"
    wire.fail(wire.sent[-1], at_s + 23)
    wire.run(at_s + 23, at_s + 24)
    assert len(wire.sent) == count + 2, "then two: it is one reset for one critical alert"
    wire.run(at_s + 25, at_s + 25)
    assert len(wire.sent) == count + 3
    wire.alive.add("phone")
    wire.on(Delivered(message_id=wire.sent[-1].message_id), at_s + 26)
    wire.run(at_s + 26, at_s + 27)
    assert "order_unresolved" in wire.texts("phone")[-1]


def test_a_critical_alert_does_not_come_earlier_than_the_other_side_has_said() -> None:
    wire = Wire(config(channels={"phone": PHONE}, routes={"default": Route(channels=("phone",))}), alive=())
    wire.hear(alert("code", 1), 1)
    wire.fail(wire.sent[0], 1, retry_after_s=60)
    wire.hear(alert("order_unresolved", 5, severity="critical"), 5)
    wire.run(5, 60)
    assert len(wire.sent) == 1
    wire.run(61, 61)
    assert len(wire.sent) == 2


def test_the_other_sides_word_on_when_to_come_again_is_kept() -> None:
    wire = Wire(alive=())
    wire.hear(alert("code", 1), 1)
    wire.fail(wire.sent[0], 1, retry_after_s=7)
    wire.run(2, 7)
    assert len(wire.sent) == 1
    wire.run(8, 8)
    assert len(wire.sent) == 2


def test_a_dead_channel_is_an_alert_by_the_other_way_which_gets_what_was_stuck_too() -> None:
    wire = Wire(alive=("mail",))
    wire.hear(alert("code", 1), 1)
    wire.fail(wire.sent[0], 1, final=True)
    told = "\n".join(wire.texts("mail"))
    assert "CRITICAL · Alerts not delivered: channel phone does not take alerts: away" in told
    assert "code at 1 (by another way: phone does not take alerts)" in told
    wire.hear(alert("later", 2), 2)
    assert "later at 2 (by another way" in wire.texts("mail")[-1]
    assert "Alerts not delivered" not in "".join(wire.texts("phone"))


@pytest.mark.parametrize("route", [Route(channels=("phone",), escalate_to=("mail",)), Route(channels=("phone",))])
def test_a_dead_channel_without_a_fallback_is_told_by_whatever_other_way_there_is(route: Route) -> None:
    wire = Wire(config(routes={"default": route}), alive=("mail",))
    wire.hear(alert("code", 1), 1)
    wire.fail(wire.sent[0], 1, final=True)
    (told,) = wire.texts("mail")
    assert "CRITICAL · Alerts not delivered: channel phone does not take alerts: away" in told
    assert "code at 1" not in told, "only a fallback gets the rest"


def test_a_channel_that_comes_back_tells_what_it_could_not_and_its_alert_ends() -> None:
    wire = Wire(alive=("mail",))
    wire.hear(alert("code", 1), 1)
    for second in range(1, 60):
        wire.on(Tick(), second)
        if any(each.channel == "phone" for each in wire.sent):
            wire.fail(wire.sent[0], second)
    assert wire.core.status(_ns(60)).channels[0].failing_since_ns is not None
    wire.alive.add("phone")
    wire.hear(alert("later", 60), 60)
    wire.run(60, 400)
    assert "later at 60" in wire.texts("phone")[-1]
    assert "Over · Alerts not delivered" in wire.texts("mail")[-1]
    assert wire.core.status(_ns(400)).channels[0].waiting == 0


def test_a_message_has_the_severity_of_the_worst_that_it_tells_to_have_begun() -> None:
    wire = Wire(alive=("mail",))
    wire.hear(alert("one", 1, severity="critical"), 1)
    wire.fail(wire.sent[0], 1)
    wire.run(2, 2)
    wire.restart(3)
    assert [each.severity for each in wire.sent] == ["critical"] * len(wire.sent), (
        "a repetition and one after a restart"
    )
    wire.alive.add("phone")
    wire.on(Delivered(message_id=wire.sent[0].message_id), 4)
    wire.hear(alert("two", 5), 5)
    wire.hear(alert("one", 6, severity="info", resolved=True), 6)
    wire.run(6, 20)
    assert wire.sent[-1].severity == "warning"
    wire.hear(alert("two", 30, severity="info", resolved=True), 30)
    wire.run(30, 60)
    assert "Over" in wire.sent[-1].text
    assert wire.sent[-1].severity == "info"


def test_a_failure_that_a_retry_mends_is_no_alert() -> None:
    wire = Wire(alive=())
    wire.hear(alert("code", 1), 1)
    wire.fail(wire.sent[0], 1)
    wire.run(2, 2)
    wire.on(Delivered(message_id=wire.sent[0].message_id), 3)
    wire.run(3, 40)
    assert [record.code for record in wire.written] == ["code"]


def test_a_restart_sends_again_what_was_not_confirmed_and_nothing_else() -> None:
    wire = Wire(alive=())
    wire.hear(alert("code", 1), 1)
    wire.hear(alert("other", 2), 2)
    (first,) = wire.sent
    wire.restart(3)
    assert [each.message_id for each in wire.sent] == [first.message_id] * 2
    wire.alive.add("phone")
    wire.on(Delivered(message_id=first.message_id), 4)
    wire.restart(5)
    wire.run(5, 20)
    assert len(wire.sent) == 3
    assert "other at 2" in wire.sent[2].text
    wire.restart(21)
    wire.run(21, 60)
    assert len(wire.sent) == 3


def test_a_death_between_journal_and_alert_file_does_not_tell_twice() -> None:
    wire = Wire(alive=())
    wire.hear(halts("no_new_trades"), 1)
    (first,) = wire.sent
    wire.restart(2, alerts_lost=1)
    wire.hear(halts("no_new_trades"), 3)
    wire.on(Delivered(message_id=first.message_id), 4)
    wire.run(4, 30)
    assert {each.message_id for each in wire.sent} == {first.message_id}
    assert wire.core.status(_ns(30)).alerts[0].first_ns == _ns(1)


def test_a_critical_alert_that_nobody_acknowledges_is_told_again_and_escalated_ever_more_slowly() -> None:
    routes = {"default": Route(channels=("phone",), escalate_to=("mail",), remind_after_s=60)}
    wire = Wire(config(routes=routes))
    wire.hear(halts("no_new_trades"), 0)
    wire.run(1, 59)
    assert len(wire.sent) == 1
    wire.run(60, 62)
    assert len(wire.texts("mail")) == 1
    assert "open for 1 min and not acknowledged" in wire.texts("phone")[1]
    wire.run(63, 400)
    assert len(wire.texts("phone")) == 3
    wire.on(Acknowledge(alert_id=wire.core.status(START).alerts[0].alert_id, by="anna"), 401)
    wire.restart(402)
    wire.run(402, 2_000)
    assert len(wire.texts("phone")) == 3
    assert wire.core.status(START).alerts[0].acknowledged_by == "anna"


def test_what_no_service_sees_the_end_of_ends_when_it_is_acknowledged() -> None:
    wire = Wire()
    wire.hear(alert("order_vanished", 1, severity="critical"), 1)
    alert_id = wire.core.status(START).alerts[0].alert_id
    wire.on(Request("r1", AcknowledgeAlert(alert_id=alert_id, requested_by="cli:anna"), "c"), 9)
    (answer,) = wire.answers
    assert isinstance(answer, AlertAcknowledgement)
    assert (answer.alert.acknowledged_by, answer.alert.is_open) == ("cli:anna", False)
    assert "seen to by cli:anna" in wire.texts("phone")[-1]


def test_alerts_are_listed_open_ones_alone_or_all_and_an_unknown_id_is_refused() -> None:
    wire = Wire()
    wire.hear(alert("clock_off", 1), 1)
    wire.hear(alert("disk_full", 1), 1)
    wire.hear(alert("disk_full", 2, resolved=True), 2)
    wire.on(Request("r1", ListAlerts(), "c"), 3)
    wire.on(Request("r2", ListAlerts(include_ended=True), "c"), 3)
    wire.on(Request("r3", AcknowledgeAlert(alert_id="nosuch", requested_by="x"), "c"), 3)
    wire.on(Request("r4", HaltState(account_id="main", halt_epoch=0, halts=()), "c"), 3)
    first, second, third, fourth = wire.answers
    assert isinstance(first, AlertList)
    assert [each.code for each in first.alerts] == ["clock_off"]
    assert isinstance(second, AlertList)
    assert [each.code for each in second.alerts] == ["disk_full", "clock_off"]
    assert [each.name for each in second.channels] == ["phone", "mail"]
    assert isinstance(third, Refusal)
    assert isinstance(fourth, Refusal)


def test_a_channel_that_is_configured_no_more_keeps_nothing_waiting() -> None:
    wire = Wire(alive=())
    wire.hear(alert("code", 1), 1)
    wire.hear(alert("other", 1), 1)
    wire.settings = config(channels={"mail": MAIL}, routes={"default": Route(channels=("mail",))})
    wire.restart(2)
    assert list(wire.core._dispatch.outbox.pending()) == []


def test_a_notice_of_the_same_matter_is_told_again_only_after_a_while() -> None:
    wire = Wire()
    for second in (1, 300, 900):
        wire.hear(alert("core_failed", second, severity="critical"), second)
    assert [record.text for record in wire.written] == ["core_failed at 1", "core_failed at 900"]
    wire.run(901, 3_000)
    assert len(wire.texts("phone")) == 2


def test_texts_stay_within_what_a_phone_takes() -> None:
    wire = Wire()
    wire.hear(alert("first", 1), 1)
    for number in range(40):
        long = alert(f"code{number}", 2)
        wire.hear(type(long)(**{**{f: getattr(long, f) for f in long.__struct_fields__}, "text": "x" * 5_000}), 2)
    wire.run(2, 200)
    assert max(len(text) for text in wire.texts("phone")) < 4_096
    assert sum(text.count("x…") for text in wire.texts("phone")) == 40


def test_a_notice_that_is_handed_over_again_hours_later_is_not_told() -> None:
    wire = Wire()
    wire.hear(alert("core_failed", 1, severity="critical"), 10_000)
    assert wire.sent == []


def test_a_restart_tries_at_once_what_a_person_had_to_mend_and_keeps_to_a_limit_that_was_told() -> None:
    mended, limited = Wire(alive=()), Wire(alive=())
    for wire in (mended, limited):
        wire.hear(alert("code", 1), 1)
    mended.fail(mended.sent[0], 1, final=True)
    limited.fail(limited.sent[0], 1, retry_after_s=60)
    for wire in (mended, limited):
        wire.restart(5)
        wire.run(5, 20)
    assert (len(mended.texts("phone")), len(limited.texts("phone"))) == (2, 1)
