"""The strategy host on a full disk: its gate closes, exits go on, and lost rows pause what ran."""

from __future__ import annotations

from services.strategy.rows import StrategyTold
from shared.messages.control import RequestGrant
from shared.messages.space import ON_DISK, JournalSpace
from tests.unit.strategy.dialogue import Dialogue
from tests.unit.strategy.test_host_entry import straddler

FULL = JournalSpace(level="reserve", reason="/run/j cannot be written (full): free space on its disk")


def test_a_full_disk_closes_a_gate_that_names_the_remedy_and_opens_by_itself() -> None:
    desk = Dialogue(straddler())
    desk.put(FULL)
    desk.ready()
    desk.wait(20)
    assert desk.count(RequestGrant) == 0
    assert (desk.gate("disk").open, desk.gate("disk").reason) == (False, f"the disk is full: {FULL.reason}")
    assert [(alert.code, alert.resolved) for alert in desk.alerts] == [("disk_full", False)]
    desk.put(ON_DISK)
    desk.wait(6)
    assert desk.count(RequestGrant) == 1
    assert desk.alerts[-1].resolved


def test_where_rows_are_missing_every_strategy_is_paused_as_a_pause_may_be_among_them() -> None:
    desk = Dialogue(straddler())
    desk.put(JournalSpace(level="disk", unwritten="the disk was full"))
    told = StrategyTold(strategy="straddler", action="pause", requested_by="journal")
    assert [entry.row for entry in desk.journal] == [told]
    desk.restart()
    desk.ready()
    desk.wait(20)
    assert desk.count(RequestGrant) == 0
    assert desk.gate("state").reason == "paused by journal"
    desk.command("resume")
    desk.wait(6)
    assert desk.count(RequestGrant) == 1
