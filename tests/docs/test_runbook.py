"""Every alert that the code can raise is in the catalogue, and every kind of the catalogue has its entry."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from shared.messages.alert_kinds import ALERT_KINDS, ENDED_BY_A_PERSON
from tests.docs.pages import ROOT, page

_SERVICES = ("marketdata", "risk", "execution", "strategy", "monitor")
_RAISERS = {
    "RaiseAlert": 0,
    "AlertRecord": 0,
    "Finding": 0,
    "Held": 0,
    "alert": 0,
    "resolve": 0,
    "_alert": 0,
    "_breach_alert": 0,
    "_tell": 1,
    "_notice": 1,
    "_end": 1,
}
"""What raises or ends an alert, and at which position its code stands where it is not given as `code=`."""

_CODE = re.compile(r"[a-z]+(_[a-z]+)*")
_PARTS = ("Means", "The desk", "Check", "Do")


def raised() -> Iterator[tuple[str, str]]:
    """(code, where) of each code that stands in a call which raises or ends an alert."""
    folders = [*(ROOT / "services" / name for name in _SERVICES), ROOT / "shared"]
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (code := _code_of(node, path)):
                yield code, f"{path.relative_to(ROOT)}:{node.lineno}"


def _code_of(call: ast.Call, path: Path) -> str | None:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in _RAISERS or (name == "_end" and "monitor" not in path.parts):
        return None
    named = [word.value for word in call.keywords if word.arg == "code"]
    given = named or call.args[_RAISERS[name] :][:1]
    if given and isinstance(given[0], ast.Constant) and _CODE.fullmatch(str(given[0].value)):
        return str(given[0].value)
    return None


def entries() -> dict[str, str]:
    found = re.split(r"^### (\w+)$", page("runbook.md"), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def rules() -> dict[str, tuple[str, str]]:
    """(severity, runbook) of each alerting rule of Prometheus, by name."""
    text = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    found = re.split(r"^ +- alert: (\w+)$", text, flags=re.MULTILINE)
    return {
        name: (re.findall(r"severity: (\w+)", rule)[0], re.findall(r"runbook: (\S+)", rule)[0])
        for name, rule in zip(found[1::2], found[2::2], strict=True)
    }


def lacking(entry: str) -> list[str]:
    return [part for part in _PARTS if not re.search(rf"^- \*\*{part}\*\*: (.+)$", entry, re.MULTILINE)]


def test_every_code_that_is_raised_is_in_the_catalogue() -> None:
    found = dict(raised())
    assert len(found) > 30, "the calls that raise alerts are not found any more"
    unknown = {code: where for code, where in found.items() if code not in ALERT_KINDS}
    assert not unknown, f"add to shared/messages/alert_kinds.py, and an entry to docs/runbook.md: {unknown}"


def test_every_kind_is_raised_somewhere() -> None:
    catalogue = ROOT / "shared" / "messages" / "alert_kinds.py"
    folders = (ROOT / "services", ROOT / "shared")
    texts = [path.read_text() for folder in folders for path in folder.rglob("*.py") if path != catalogue]
    code = "\n".join(texts)
    assert [kind for kind in ALERT_KINDS if f'"{kind}"' not in code] == []
    assert ALERT_KINDS.keys() >= ENDED_BY_A_PERSON


def test_every_kind_has_an_entry_with_all_its_parts_and_no_entry_is_of_nothing() -> None:
    found = {code: entry for code, entry in entries().items() if code not in rules()}
    assert list(found) == list(ALERT_KINDS), "docs/runbook.md has one entry per kind, in the catalogue's order"
    for code, entry in found.items():
        kind = ALERT_KINDS[code]
        assert f"{kind.title}: {kind.severity}, " in entry, f"title and severity of {code} are those of the catalogue"
        ends = "notice" if kind.is_notice else "acknowledged" if code in ENDED_BY_A_PERSON else "by itself"
        assert ends in entry.split("\n- ")[0], f"how {code} ends"
        assert lacking(entry) == [], code


def test_every_rule_of_prometheus_has_an_entry_with_all_its_parts() -> None:
    found = {code: entry for code, entry in entries().items() if code not in ALERT_KINDS}
    assert list(found) == list(rules()), "docs/runbook.md has one entry per rule, in the order of the rules"
    for name, entry in found.items():
        severity, runbook = rules()[name]
        assert f": {severity}, ends by itself." in entry, f"the severity of {name} is that of the rule"
        assert runbook == f"docs/runbook.md#{name.lower()}", f"{name} leads to its entry"
        assert lacking(entry) == [], name


def test_commands_and_keys_that_the_runbook_names_exist() -> None:
    commands = {path.stem.replace("_", "-") for path in (ROOT / "voldesk" / "commands").glob("*.py")}
    named = set(re.findall(r"`voldesk ([a-z-]+)", page("runbook.md")))
    assert named <= commands, named - commands
