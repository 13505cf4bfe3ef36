"""A record is judged by its rules: each of them broken alone is told, and a run that kept them all passes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from soak.causes import AlertSeen, Spell
from soak.memory import ProcessSample
from soak.page import with_part
from soak.record import Complaint, FileSample, Record, read_record
from soak.report import result_of, section

HOUR_S = 3_600.0
KILL = Spell(cause="killed", began_s=1_000, ended_s=1_005, subject="risk")


def samples(service: str, *, mb_per_hour: float = 0.0, descriptors_per_hour: float = 0.0) -> list[ProcessSample]:
    return [
        ProcessSample(
            at_s=60.0 * minute,
            service=service,
            pid=1,
            age_s=60.0 * minute,
            pss_mb=50.0,
            own_mb=30 + mb_per_hour * minute / 60,
            cpu_s=0.6 * minute,
            descriptors=20 + int(descriptors_per_hour * minute / 60),
            threads=4,
        )
        for minute in range(121)
    ]


def recorded(*taken: ProcessSample, **fields: object) -> Record:
    record = Record(version="v", began="then", seed=1, machine="2 CPUs", seconds=2 * HOUR_S, ended_s=2 * HOUR_S)
    record.samples = list(taken) or samples("risk")
    record.spells = [KILL]
    record.files = [FileSample(at_s=0, sizes_mb={"logs/risk": 0.1}, rows={"risk": 5})]
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def alert(code: str, at_s: float) -> AlertSeen:
    return AlertSeen(at_s=at_s, code=code, severity="critical", subject="risk", text="t", service="monitor")


def complaint(at_s: float, level: str, text: str = "odd") -> Complaint:
    return Complaint(at_s=at_s, service="risk", level=level, text=text)


def test_a_run_that_kept_every_rule_passes_and_tells_its_figures(tmp_path: Path) -> None:
    record = recorded(alerts=[alert("service_down", 1_003)], complaints=[complaint(1_010, "error")])
    record.write(tmp_path / "runs" / "record.json")
    result = result_of(read_record(tmp_path / "runs" / "record.json"))
    assert result.failures == ()
    assert (result.services[0].slope_mb_per_hour, result.services[0].cpu_pct) == (0.0, 1.0)
    figures = section(result)
    assert "**every rule held**" in figures
    assert "| `service_down` | 1 | 0 | killed risk 1 |" in figures
    assert json.loads(figures.partition("```json\n")[2].removesuffix("\n```"))["seed"] == 1


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (recorded(*samples("risk", mb_per_hour=7)), "risk grows by 7 MB an hour"),
        (recorded(*samples("risk", descriptors_per_hour=5)), "risk has 29 descriptors, 23 after the warm-up"),
        (recorded(alerts=[alert("service_down", 3_000)]), "unexplained at 50.0 min: service_down of risk: t"),
        (recorded(broken=["t1 is still OPEN"]), "t1 is still OPEN"),
        (recorded(complaints=[complaint(3_000, "error")]), "logged in calm at 50.0 min: risk: error: odd"),
        (recorded(complaints=[complaint(1_010, "warning")] * 31), "logged in a loop: risk: warning: odd"),
    ],
)
def test_each_broken_rule_is_told(record: Record, told: str) -> None:
    assert result_of(record).failures == (told,)


def test_warnings_in_calm_and_growth_up_to_the_bound_are_no_failure() -> None:
    record = recorded(*samples("risk", mb_per_hour=5.9), complaints=[complaint(3_000, "warning")])
    assert result_of(record).failures == ()


def test_what_execution_keeps_of_ended_trades_is_taken_off_its_growth() -> None:
    record = recorded(*samples("execution", mb_per_hour=9), final_trades_mb=8.0)
    (service,) = result_of(record).services
    assert (service.slope_mb_per_hour, service.taken_off_mb_per_hour) == (5.0, 4.0)


def test_the_page_takes_one_part_and_leaves_the_rest() -> None:
    text = "a\n<!-- desk -->\nold\n<!-- end of desk -->\nb\n<!-- world -->\n<!-- end of world -->\n"
    assert with_part(text, "desk", "new") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no marks"):
        with_part("nothing", "desk", "new")
