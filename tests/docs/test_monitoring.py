"""Rules of Prometheus name metrics and labels that exist."""

from __future__ import annotations

import re

from shared.metrics import COMMON_LABELS, PREFIX
from tests.docs.metrics_page import SECTIONS, families
from tests.docs.pages import ROOT

RULES = ROOT / "deploy" / "prometheus"
_NAME = re.compile(rf"[a-z]*:?{PREFIX}[a-z0-9_]+[a-z0-9:_]*")
_TARGET_LABELS = {"job", "instance", "desk", "service", "mode", "account"}


def catalogue() -> dict[str, set[str]]:
    """The labels of every sample of docs/metrics.md by its name, those of histograms too."""
    known: dict[str, set[str]] = {}
    for section in SECTIONS:
        for family in families(section):
            labels = {*family.labels, *COMMON_LABELS}
            if family.kind == "histogram":
                known |= {f"{family.name}_sum": labels, f"{family.name}_count": labels}
                known[f"{family.name}_bucket"] = {*labels, "le"}
            else:
                known[family.name] = labels
    return known


def recorded() -> set[str]:
    return set(re.findall(r"- record: (\S+)", (RULES / "recording.yml").read_text()))


def unknown_in(query: str) -> list[str]:
    """Metrics that nobody serves or records, and labels in a selector that their metric has not."""
    known, ours = catalogue(), recorded()
    wrong = [name for name in _NAME.findall(query) if name not in known and name not in ours]
    for name, selector in re.findall(r"([a-z_:]+)\{([^}]*)\}", query):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        wrong += [f"{name}{{{label}}}" for label in labels - known.get(name, labels) - _TARGET_LABELS]
    if not any(name in ours for name in _NAME.findall(query)):
        has = _TARGET_LABELS.union(*(known.get(name, set()) for name in _NAME.findall(query)))
        kept = {label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", query) for label in labels.split(",")}
        wrong += [f"by ({label})" for label in sorted(kept - has)]
    return wrong


def expressions(file: str) -> list[str]:
    """The `expr` of each rule, those over several lines too."""
    text = (RULES / file).read_text()
    found = re.findall(r"^( +)expr: (?:>-\n((?:\1  .*\n)+)|(.+)\n)", text, re.MULTILINE)
    assert len(found) == text.count("expr:")
    return [" ".join((folded or single).split()) for _, folded, single in found]


def test_rules_name_metrics_and_labels_that_exist() -> None:
    for file in ("recording.yml", "alerts.yml"):
        assert len(expressions(file)) > 5
        assert {query: unknown_in(query) for query in expressions(file) if unknown_in(query)} == {}


def test_what_does_not_exist_is_found() -> None:
    assert unknown_in('voldesk_no_such_total{a="b"} + voldesk_ready') == ["voldesk_no_such_total"]
    assert unknown_in('rate(voldesk_orders{no_such="1"}[5m])') == ["voldesk_orders{no_such}"]
    assert unknown_in("account:voldesk_no_such:ratio") == ["account:voldesk_no_such:ratio"]
    assert unknown_in("sum by (underlying) (voldesk_orders)") == ["by (underlying)"]
    assert unknown_in('voldesk_orders{state="UNKNOWN", service=~"x"}') == []
