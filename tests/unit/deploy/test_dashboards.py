"""The dashboards for Grafana: files of today, in the form of its model, with queries of what exists."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import msgspec
import pytest
import yaml

from deploy.grafana.__main__ import FOLDER, files
from deploy.grafana.panels import WHERE, dashboard, lines
from tests.docs.test_monitoring import unknown_in
from tests.unit.deploy.dashboard_model import Dashboard, Panel
from tests.unit.deploy.tools import DEPLOY

PATHS = sorted(FOLDER.glob("*.json"))


def read(path: Path) -> Dashboard:
    return msgspec.json.decode(path.read_bytes(), type=Dashboard)


def test_the_files_are_made_from_the_source_of_today() -> None:
    committed = {path.name: path.read_text() for path in PATHS}
    assert committed == files(), "run: python -m deploy.grafana"


def test_there_is_one_dashboard_for_each_side_of_the_desk() -> None:
    titles = {read(path).title.removeprefix("voldesk · ") for path in PATHS}
    assert titles == {
        "Overview",
        "Trading & P&L",
        "Risk & Margin",
        "Greeks",
        "Execution quality",
        "Market data",
        "Bus & latency",
        "Services",
        "Strategy",
    }
    assert len({read(path).uid for path in PATHS}) == len(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_dashboard_has_the_form_of_the_model_and_its_panels_do_not_overlap(path: Path) -> None:
    board = read(path)
    assert [panel.id for panel in board.panels] == list(range(1, len(board.panels) + 1))
    assert len({panel.title for panel in board.panels}) == len(board.panels)
    for panel in board.panels:
        assert panel.gridPos.x + panel.gridPos.w <= 24, panel.title
        assert [target.refId for target in panel.targets] == list("ABCDEF"[: len(panel.targets)])
        bounds = [step.value for step in panel.fieldConfig.defaults.thresholds.steps]
        assert bounds[0] is None
        assert bounds[1:] == sorted(bounds[1:]), panel.title
    for one, other in itertools.combinations(board.panels, 2):
        assert not overlap(one, other), (one.title, other.title)


def overlap(one: Panel, other: Panel) -> bool:
    a, b = one.gridPos, other.gridPos
    return a.x < b.x + b.w and b.x < a.x + a.w and a.y < b.y + b.h and b.y < a.y + a.h


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_queries_name_what_exists_obey_the_variables_and_legends_name_labels_that_are_left(path: Path) -> None:
    board = read(path)
    assert [variable.name for variable in board.templating.rows] == ["mode", "account"]
    for panel in board.panels:
        for target in panel.targets:
            where = f"{panel.title}: {target.expr}"
            assert unknown_in(target.expr) == [], where
            assert target.expr.count("{") == target.expr.count(WHERE), where
            assert set(re.findall(r"\$\w+", target.expr)) <= {"$mode", "$account", "$__rate_interval"}, where
            kept = re.search(r"by \(([^)]*)\)", target.expr)
            named = set(re.findall(r"\{\{(\w+)\}\}", target.legendFormat))
            if kept:
                assert named <= set(kept[1].split(", ")), where


def test_a_wrong_field_a_wrong_unit_and_an_empty_legend_are_refused() -> None:
    good = dashboard("x", "voldesk · X", (lines("t", "s", ("voldesk_ready", "{{service}}")),))
    text = json.dumps(good)
    msgspec.json.decode(text, type=Dashboard)
    for wrong in (
        text.replace('"graphTooltip"', '"graphTolltip"'),
        text.replace('"unit": "s"', '"unit": "sec"'),
        text.replace('"{{service}}"', '""'),
        text.replace('"schemaVersion": 39', '"schemaVersion": "39"'),
    ):
        assert wrong != text
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(wrong, type=Dashboard)


def test_the_provisioned_data_source_is_the_one_of_the_panels_and_scrapes_as_often() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "voldesk.yml").read_text())
    (source,) = sources["datasources"]
    assert (source["uid"], source["type"]) == ("voldesk", "prometheus")
    configured = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == configured["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "voldesk.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"]
