"""One matter that goes on in stages: each is told, although it was open, critical and acknowledged before."""

from __future__ import annotations

import msgspec
import pytest

from services.monitor.alert_config import Channel, KindRule, Route
from services.monitor.effects import Acknowledge
from shared.messages.control import Halt, HaltState
from shared.messages.steps import RaiseAlert, RequestTimedOut, SendRequest, Step, Tick
from shared.messages.system import Alert
from tests.unit.monitor.desk import ACCOUNT, SECOND, START, alert, halts
from tests.unit.monitor.test_dispatch import Wire, config
from tests.unit.risk.desk import PUT_90
from tests.unit.risk.desk import START as RISK_START
from tests.unit.risk.desk import Script as RiskScript
from tests.unit.risk.test_margin_guard import config as risk_config
from tests.unit.risk.test_margin_guard import read, short


class MarginWire:
    """A core of risk whose alerts a core of the monitor hears; what the phone got since it was last asked."""

    def __init__(self, **limits: object) -> None:
        # one channel that groups nothing: each message is an alert
        phone = Channel(via="telegram", chat_id=1, group_s=0.0, per_minute=60)
        routes = {"default": Route(channels=("phone",))}
        self.wire = Wire(config(channels={"phone": phone}, routes=routes))
        self.risk = RiskScript(risk_config(**limits)).ready()
        self.asked: list[SendRequest] = []
        self._seen = 0

    def read(self, at_s: float, used_pct: float) -> list[str]:
        """Two reads of the account, a second apart, that show this utilisation."""
        for each_s in (at_s, at_s + 1):
            self._hear(read(self.risk, each_s, used_pct), each_s)
        return self.told(at_s + 3)

    def wait(self, at_s: float) -> list[str]:
        self._hear(self.risk.on(Tick(), at_s), at_s)
        return self.told(at_s + 3)

    def acknowledge(self, at_s: float) -> None:
        (matter,) = [each for each in self.wire.core.status(START).alerts if each.record.code == "margin_level"]
        self.wire.on(Acknowledge(alert_id=matter.alert_id, by="anna"), at_s)

    def told(self, at_s: float) -> list[str]:
        self.wire.run(at_s - 1, at_s)
        texts = self.wire.texts("phone")
        new, self._seen = texts[self._seen :], len(texts)
        return [line for text in new for line in text.splitlines()[1:-1]]

    def _hear(self, step: Step, at_s: float) -> None:
        self.asked += [effect for effect in step.effects if isinstance(effect, SendRequest)]
        for effect in step.effects:
            if isinstance(effect, RaiseAlert):
                fields = {name: getattr(effect, name) for name in effect.__struct_fields__}
                heard = msgspec.convert(
                    fields | {"service": "risk", "account_id": ACCOUNT, "mode": "paper", "raised_ns": _ns(at_s)},
                    Alert,
                )
                self.wire.hear(heard, at_s)


def _ns(at_s: float) -> int:
    return START + round(at_s * SECOND)


def test_every_level_of_the_margin_guard_and_every_plan_reaches_the_phone_although_it_was_acknowledged() -> None:
    assert RISK_START == START
    desk = MarginWire()
    first, second = short(desk.risk, "a", PUT_90, "0.4"), short(desk.risk, "b", PUT_90, "0.2")
    (text,) = desk.read(1, 55)
    assert text.startswith("Warning · Margin guard: maintenance margin is 55.0 % of equity: level warn")
    (text,) = desk.read(11, 66)
    assert text.startswith("CRITICAL · Margin guard: maintenance margin is 66.0 % of equity: level no_new_trades")
    desk.acknowledge(15)
    (text,) = desk.read(21, 81)
    assert f"level reduce; in 15 s the guard will close {first.trade_id}" in text
    desk.acknowledge(25)
    assert desk.read(30, 81) == [], "the same plan"
    (text,) = desk.wait(38)
    assert f"closing {first.trade_id}" in text
    desk.risk.on(RequestTimedOut(desk.asked[-1].request_id), 42)
    (text,) = desk.read(43, 81)
    assert f"in 15 s the guard will close {first.trade_id}" in text, "in vain, so it is planned anew"
    desk.risk.hear(msgspec.structs.replace(first, state="CLOSED"), 45, "execution")
    (text,) = desk.read(46, 82)
    assert f"82.0 % of equity: level reduce; in 15 s the guard will close {second.trade_id}" in text
    (text,) = desk.read(51, 92)
    assert "level flatten; in 15 s the guard will halt at level flatten" in text
    desk.acknowledge(55)
    (text,) = desk.read(56, 84)
    assert "level reduce; in 15 s the guard will close" in text, "easier, and acts otherwise"
    assert desk.read(66, 10)[-1].startswith("Over · Margin guard")


def test_a_guard_that_may_only_refuse_still_tells_each_level() -> None:
    desk = MarginWire(margin_acts_up_to="no_new_trades")
    levels = [desk.read(at_s, used_pct) for at_s, used_pct in ((1, 66), (11, 81), (21, 92))]
    assert [text.split("level ")[1].split(" ")[0] for (text,) in levels] == ["no_new_trades", "reduce", "flatten"]


def test_a_second_halt_is_told_and_the_same_state_heard_again_is_not() -> None:
    wire = Wire()
    wire.hear(halts("no_new_trades"), 1)
    (matter,) = wire.core.status(START).alerts
    wire.on(Acknowledge(alert_id=matter.alert_id, by="anna"), 2)
    more = Halt(level="flatten", reason="enough", raised_by="ben", raised_ns=_ns(60))
    both = HaltState(account_id=ACCOUNT, halt_epoch=2, halts=(*halts("no_new_trades").halts, more))
    wire.hear(both, 60)
    wire.hear(both, 70)
    wire.run(71, 80)
    first, second = wire.texts("phone")
    assert "flatten by ben: enough" not in first
    assert "flatten by ben: enough" in second
    (matter,) = wire.core.status(START).alerts
    assert matter.acknowledged_by == ""


@pytest.mark.parametrize("alerts_lost", [0, 1])
def test_what_was_acknowledged_before_it_went_further_is_not_after_a_restart_and_is_told_once(
    alerts_lost: int,
) -> None:
    wire = Wire()
    wire.hear(staged("reduce", 1), 1)
    (matter,) = wire.core.status(START).alerts
    wire.on(Acknowledge(alert_id=matter.alert_id, by="anna"), 2)
    wire.restart(3)
    assert wire.core.status(START).alerts[0].acknowledged_by == "anna"
    wire.hear(staged("flatten", 10), 10)
    wire.restart(11, alerts_lost=alerts_lost)
    wire.hear(staged("flatten", 10), 12)
    wire.run(12, 30)
    assert wire.core.status(START).alerts[0].acknowledged_by == ""
    assert [text.splitlines()[1].split(": ")[1].split(" #")[0] for text in wire.texts("phone")] == [
        "margin_level at 1",
        "margin_level at 10",
    ]


def test_a_stage_that_is_reached_a_second_time_is_told_a_second_time_and_the_next_reminder_counts_from_there() -> (
    None
):
    wire = Wire(config(routes={"default": Route(channels=("phone",), remind_after_s=60)}))
    for at_s, stage in ((1, "flatten"), (20, "reduce"), (40, "flatten")):
        wire.hear(staged(stage, at_s), at_s)
        wire.run(at_s + 1, at_s + 10)
    wire.run(51, 99)
    assert [text.count("not acknowledged") for text in wire.texts("phone")] == [0, 0, 0]
    wire.run(100, 110)
    assert [text.count("not acknowledged") for text in wire.texts("phone")] == [0, 0, 0, 1]


@pytest.mark.parametrize("after_s", [0.0, 300.0])
def test_a_further_stage_of_what_was_told_does_not_wait_to_have_lasted(after_s: float) -> None:
    wire = Wire(config(kinds={"margin_level": KindRule(after_s=after_s)}))
    wire.hear(staged("reduce", 1), 1)
    wire.run(2, 310)
    assert len(wire.texts("phone")) == 1
    wire.hear(staged("flatten", 320), 320)
    assert len(wire.texts("phone")) == 2


def staged(stage: str, at_s: float) -> Alert:
    return msgspec.structs.replace(alert("margin_level", at_s, severity="critical"), stage=stage)
