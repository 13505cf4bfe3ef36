"""The pages of lessons and of bad days name tests that exist, one or more for each row, and say why where there is
none."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import ROOT, page

COVERED, _, NOT_COVERED = page("lessons.md").partition("## Not covered yet")
BAD_DAYS = page("bad-days.md")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows(text: str) -> list[list[str]]:
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return [row for row in cells if row[0] not in ("seen in", "what happens")]


def functions(path: str) -> set[str]:
    """The test functions of a file, those in classes too."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED.findall(COVERED + BAD_DAYS)}))
def test_every_test_named_on_the_pages_exists(path: str) -> None:
    named = {name for file, name in NAMED.findall(COVERED + BAD_DAYS) if file == path}
    assert named <= functions(path), (
        "a test was renamed or removed: say in docs/lessons.md or docs/bad-days.md what covers its row now"
    )


def test_every_bad_day_says_what_the_desk_does_what_the_operator_does_and_its_test() -> None:
    days = rows(BAD_DAYS)
    assert len(days) > 25
    assert [row for row in days if len(row) != 4 or not all(row) or not NAMED.search(row[3])] == []


def test_every_lesson_has_a_test_and_what_has_none_says_why() -> None:
    lessons = rows(COVERED)
    assert len(lessons) > 50
    assert [row for row in lessons if len(row) != 4 or not NAMED.search(row[3])] == []
    assert [row for row in rows(NOT_COVERED) if len(row) != 3 or not row[2]] == []
