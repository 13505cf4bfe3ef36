"""docs/soak.md: the rules, and the newest figures of both halves as they were printed."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "soak.md"


def with_part(text: str, part: str, figures: str) -> str:
    """The page with the figures of one part, "desk" or "world". Raises ValueError without its marks."""
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page has no marks {begin} and {end}")
    return f"{before}{begin}\n{figures}\n{end}{after}"


def write_part(part: str, figures: str) -> None:
    PAGE.write_text(with_part(PAGE.read_text(), part, figures))
