"""Two virtual hours of the soak: it trades, is befallen by faults, comes to rest, and tells what it saw."""

from __future__ import annotations

import pytest

from soak.world import WorldRecord, WorldSoak
from soak.world_report import world_result_of, world_section

pytestmark = [pytest.mark.simulation, pytest.mark.long]


def test_two_hours_with_an_expiry_and_bursts_keep_every_promise_and_explain_every_alert() -> None:
    lines: list[str] = []
    blank = WorldRecord(version="v", began="then", machine="this", seed=3)
    record = WorldSoak(2.0, 3, 300, blank, lines.append).run()
    result = world_result_of(record)
    assert result.failures == ()
    assert sum(times for what, times in result.trades.items() if what.endswith("CLOSED")) > 0
    assert any(what.endswith("SETTLED") for what in result.trades), "trades were held over the expiry"
    assert set(result.modes) >= {"limit", "smart", "rfq"}
    assert any(spell.what.startswith("burst") for spell in record.spells)
    assert any(each.causes.keys() - {"trading"} for each in result.alerts), "some alert was of a fault"
    assert len(lines) == 1
    assert "virtual hours" in world_section(result)
