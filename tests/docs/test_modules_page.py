"""The module reference is made from the docstrings, and every module has one."""

from __future__ import annotations

import pytest

from tests.docs.modules_page import first_sentence, modules, modules_page
from tests.docs.pages import page


def test_the_page_is_made_from_the_modules_of_today() -> None:
    assert page("modules.md") == modules_page(), "run: python -m tests.docs.modules_page > docs/modules.md"


def test_every_module_says_what_it_is() -> None:
    assert [str(module.path) for module in modules() if not module.sentence] == []


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        (None, ""),
        ("One. Two.", "One."),
        ("Ends at 08:00 UTC\nevery day. Then more.", "Ends at 08:00 UTC every day."),
        ("See voldesk.toml for it.", "See voldesk.toml for it."),
        ("a | b", "a \\| b"),
    ],
)
def test_the_first_sentence_is_taken_whole(docstring: str | None, sentence: str) -> None:
    assert first_sentence(docstring) == sentence
