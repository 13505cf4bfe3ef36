"""The code of docs/schedules.md does what the page says."""

from __future__ import annotations

import doctest
from typing import Any

from tests.docs.pages import blocks, page


def test_the_code_of_the_page_runs_and_gives_what_it_shows() -> None:
    namespace: dict[str, Any] = {}
    examples = [block for block in blocks(page("schedules.md")) if block.language == "python"]
    assert len(examples) == 2
    for block in examples:
        if not block.code.startswith(">>>"):
            exec(compile(block.code, "docs/schedules.md", "exec"), namespace)
            continue
        example = doctest.DocTestParser().get_doctest(block.code, namespace, "schedules.md", None, block.line)
        said: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append, clear_globs=False)
        assert not said, "".join(said)
