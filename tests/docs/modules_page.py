"""docs/modules.md, made from the docstrings of the code.

After a change of one: ``python -m tests.docs.modules_page > docs/modules.md``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import ROOT

TREES = ("shared", "services", "voldesk", "strategies", "world", "bench", "soak")

_INTRODUCTION = """# Modules

What is in which file: every module with the first sentence of its docstring, and its public classes and functions
with theirs. [architecture.md](architecture.md) says how they work together. A test fails when this page is out of
date; renew it with `python -m tests.docs.modules_page > docs/modules.md`.
"""


class Item(NamedTuple):
    """A public class or function of a module."""

    name: str
    sentence: str


class Module(NamedTuple):
    path: Path
    sentence: str
    items: tuple[Item, ...]


def modules() -> Iterator[Module]:
    """Every module in the order of the page; packages' `__init__` and `__main__` only where they say something."""
    for tree in TREES:
        for path in sorted((ROOT / tree).rglob("*.py"), key=lambda path: (path.parent.as_posix(), path.name)):
            parsed = ast.parse(path.read_text())
            items = tuple(
                Item(node.name, first_sentence(ast.get_docstring(node)))
                for node in parsed.body
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                and not node.name.startswith("_")
            )
            sentence = first_sentence(ast.get_docstring(parsed))
            if sentence or items:
                yield Module(path.relative_to(ROOT), sentence, items)


def first_sentence(docstring: str | None) -> str:
    """Up to the first full stop of the first paragraph, on one line, safe inside Markdown."""
    text = " ".join((docstring or "").partition("\n\n")[0].split())
    match = re.search(r"^.*?\.(?=\s|$)", text)
    return (match[0] if match else text).replace("|", "\\|").replace("<", "&lt;")


def modules_page() -> str:
    """The whole page as Markdown."""
    lines = [_INTRODUCTION]
    folder = None
    for module in modules():
        if module.path.parent != folder:
            folder = module.path.parent
            lines += [f"## {folder}/", ""]
        lines += [f"**`{module.path.name}`** {module.sentence}", ""]
        lines += [f"- `{item.name}` {item.sentence}".rstrip() for item in module.items]
        if module.items:
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(modules_page())
