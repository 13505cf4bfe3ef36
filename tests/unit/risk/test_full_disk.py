"""Risk on a full disk: no grant, and the account is watched as before."""

from __future__ import annotations

from services.risk.rows import may_go_unwritten
from shared.messages.control import GrantGiven, GrantRefused
from shared.messages.space import ON_DISK, JournalSpace
from shared.messages.steps import RaiseAlert, Reply
from tests.unit.risk.desk import Script, ask

FULL = JournalSpace(level="reserve", reason="/run/j cannot be written (full): free space on its disk")


def test_on_a_full_disk_nothing_is_granted_and_everything_again_once_there_is_space() -> None:
    script = Script().ready()
    (alert,) = script.on(FULL).effects
    assert isinstance(alert, RaiseAlert)
    assert (alert.code, alert.severity, alert.subject) == ("disk_full", "critical", "risk")
    refusal = script.refused(ask())
    assert (refusal.code, refusal.detail) == ("disk_full", f"nothing is granted on a full disk: {FULL.reason}")
    (over,) = script.on(ON_DISK).effects
    assert over.resolved
    script.granted(ask())


def test_a_grant_never_goes_out_before_its_row_is_written_and_a_refusal_may() -> None:
    refusal = GrantRefused(intent_id="s-1", strategy="s", code="disk_full", detail="full")
    grant = GrantGiven(grant=Script().ready().granted(ask()))
    assert [may_go_unwritten(Reply("r", message)) for message in (refusal, grant)] == [True, False]
