"""The page of metrics is made from what the services declare, and names follow Prometheus."""

import re
from pathlib import Path

from shared.metrics import COMMON_LABELS, PREFIX
from tests.docs.metrics_page import SECTIONS, SERVICES, families, families_of, metrics_page
from tests.docs.pages import page

_NAME = re.compile(rf"^{PREFIX}[a-z][a-z0-9_]*[a-z0-9]$")
_WRONG_UNIT = re.compile(r"_(ms|us|ns|milliseconds|minutes|hours|pct|percent|kb|mb)(_|$)")


def test_the_page_is_made_from_the_metrics_of_today() -> None:
    assert page("metrics.md") == metrics_page(), "run: python -m tests.docs.metrics_page > docs/metrics.md"


def test_names_follow_prometheus_and_no_own_label_hides_a_common_one() -> None:
    for section in SECTIONS:
        for family in families(section):
            assert _NAME.match(family.name), family.name
            assert not _WRONG_UNIT.search(family.name), family.name
            assert (family.kind == "counter") == family.name.endswith("_total"), family.name
            assert not set(family.labels) & set(COMMON_LABELS), family.name
            assert family.documentation, family.name


def test_a_service_declares_no_name_twice() -> None:
    for service in SERVICES:
        names = [family.name for section in SECTIONS if service in section.services for family in families(section)]
        assert len(names) == len(set(names)) == len(families_of(service))


def test_each_metric_that_the_introduction_names_exists() -> None:
    known = {family.name for section in SECTIONS for family in families(section)}
    introduction = metrics_page().partition("## Every service")[0]
    named = {name.removesuffix("_bucket") for name in re.findall(rf"{PREFIX}[a-z_]+", introduction)}
    assert len(named) > 10
    assert named <= known


def test_each_label_that_a_query_of_the_page_names_is_one_of_its_metric() -> None:
    known = {family.name: family for section in SECTIONS for family in families(section)}
    introduction = metrics_page().partition("## Every service")[0]
    selectors = re.findall(rf"({PREFIX}[a-z_]+)\{{([^}}]*)\}}", introduction)
    assert selectors
    for name, selector in selectors:
        labels = re.findall(r"(\w+)!?=", selector)
        assert labels
        assert set(labels) <= {*known[name.removesuffix("_bucket")].labels, *COMMON_LABELS}, name


def test_every_metric_of_ours_is_read_in_a_test() -> None:
    """By its name in the tests of what it measures; those of the process and its garbage are the library's."""
    tests = Path(__file__).parents[1]
    folders = [tests / "unit", tests / "integration", tests / "e2e"]
    paths = sorted(path for folder in folders for path in folder.rglob("*.py") if path.parent.name != "deploy")
    texts = "\n".join(path.read_text() for path in paths)
    ours = {family.name.removeprefix(PREFIX) for section in SECTIONS for family in families(section)}
    ours = {name for name in ours if not name.startswith(("process_", "python_"))}
    short = {name: name.removeprefix("bus_").removeprefix("exchange_") for name in ours}
    assert len(ours) > 100
    assert [name for name in sorted(ours) if not re.search(rf"\b(voldesk_{name}|{name}|{short[name]})", texts)] == []
