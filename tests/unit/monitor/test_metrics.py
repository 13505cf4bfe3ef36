"""Who is up and what is wrong, by the status of a real core."""

from __future__ import annotations

from services.monitor.config import MonitorConfig
from services.monitor.effects import Delivered
from services.monitor.history.store import Made
from services.monitor.metrics import MonitorMetrics
from shared.messages.steps import Inbound, Tick
from shared.metrics import Metrics
from tests.unit.monitor.desk import START, Script, alert
from tests.unit.monitor.test_dispatch import Wire
from tests.unit.shared.test_metrics import scraped

SECOND = 1_000_000_000


class Watched(Script):
    def __init__(self) -> None:
        super().__init__()
        self.families = Metrics("risk", "paper", "main")
        self.metrics = MonitorMetrics(self.families)
        self.made_by_strategy: dict[str, Made] = {}

    def take(self, item: object, at_s: float) -> None:
        now_ns = START + int(at_s * SECOND)
        for effect in self.core.handle(item, now_ns).effects:
            self.metrics.performed(effect, "")
        self.metrics.watch(self.core.status(now_ns), self.made_by_strategy)

    def shown(self, name: str) -> dict[tuple[str, ...], float]:
        return {tuple(value for _, value in labels): count for labels, count in scraped(self.families, name).items()}


def test_what_each_strategy_made_is_shown_as_the_history_has_it() -> None:
    desk = Watched()
    desk.made_by_strategy = {"straddle": Made(12.5, 4.0, -1.5), "": Made(-3.0, 2.0, 0.0)}
    desk.take(Tick(), 1.5)
    assert desk.shown("voldesk_net_pnl_usd") == {("straddle",): 12.5, ("earlier trades",): -3.0}
    assert desk.shown("voldesk_paid_fees_usd") == {("straddle",): 4.0, ("earlier trades",): 2.0}
    assert desk.shown("voldesk_paid_funding_usd") == {("straddle",): -1.5, ("earlier trades",): 0.0}


def test_a_service_that_falls_silent_is_down_and_an_alert_is_open() -> None:
    desk = Watched()
    services = MonitorConfig().services
    desk.beat(1)
    desk.take(Tick(), 1.5)
    assert desk.shown("voldesk_service_up") == {(name,): 1 for name in services}
    assert desk.shown("voldesk_service_ready") == {(name,): 1 for name in services}
    others = [name for name in services if name != "risk"]
    for at_s in range(2, 30):
        desk.beat(at_s, *others)
        desk.take(Tick(), at_s + 0.5)
    assert desk.shown("voldesk_service_up") == {(name,): float(name != "risk") for name in services}
    assert desk.shown("voldesk_service_ready")["risk",] == 0
    assert desk.shown("voldesk_alerts_open")["critical",] == 1
    assert desk.shown("voldesk_alerts_total")["critical",] == 1
    assert desk.metrics.words()["alerts_open"] == 1
    for at_s in range(30, 61):
        desk.beat(at_s)
        desk.take(Tick(), at_s + 0.5)
    assert desk.shown("voldesk_service_up") == {(name,): 1 for name in services}
    assert desk.shown("voldesk_alerts_open")["critical",] == 0


def test_messages_to_people_are_counted_by_what_became_of_them_and_what_waits_is_shown() -> None:
    desk, wire = Watched(), Wire(alive=("mail",))
    wire.hear(alert("code", 1), 1)
    wire.fail(wire.sent[0], 1)
    desk.metrics.committed(wire.journal)
    desk.metrics.watch(wire.core.status(START + SECOND), {})
    assert desk.shown("voldesk_alert_messages_total") == {("formed",): 1, ("failed",): 1}
    assert desk.shown("voldesk_alerts_waiting") == {("phone",): 1, ("mail",): 0}
    assert desk.shown("voldesk_alert_channel_failing") == {("phone",): 1, ("mail",): 0}
    told = len(wire.journal)
    wire.run(2, 3)
    wire.on(Delivered(message_id=wire.sent[-1].message_id), 3)
    desk.metrics.committed(wire.journal[told:])
    desk.metrics.watch(wire.core.status(START + 3 * SECOND), {})
    assert desk.shown("voldesk_alert_messages_total") == {("formed",): 1, ("failed",): 1, ("delivered",): 1}
    assert desk.shown("voldesk_alerts_waiting") == {("phone",): 0, ("mail",): 0}


def test_alerts_of_others_are_counted_by_severity_once_and_when_they_are_over() -> None:
    desk = Watched()
    for told in (alert("a", 1), alert("a", 2), alert("b", 3, severity="critical"), alert("a", 4, resolved=True)):
        desk.take(Inbound("sys.risk.alert", told, "", "risk", 1), 5)
    assert desk.shown("voldesk_alerts_total") == {("warning",): 1, ("critical",): 1, ("resolved",): 1}
    assert desk.shown("voldesk_alerts_open") == {("info",): 0, ("warning",): 0, ("critical",): 1}
