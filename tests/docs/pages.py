"""Pages of docs/ and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One block of code. `line` is the line of its first line of code in the page."""

    language: str
    code: str
    line: int


def page(name: str) -> str:
    return (DOCS / name).read_text()


def blocks(text: str, language: str | None = None) -> list[Block]:
    """The blocks of a page in order, of one language or of all."""
    found = [
        Block(match["language"], match["code"], text[: match.start("code")].count("\n") + 1)
        for match in _BLOCK.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]
