"""The configuration reference is made from the structs and explains every key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import msgspec
import pytest

from tests.docs.configuration_page import SECTIONS, configuration_page, keys_of, subsections_of
from tests.docs.pages import ROOT, page


def sections(name: str, struct: type[msgspec.Struct]) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    yield name, struct
    for inner_name, inner, _ in subsections_of(struct):
        yield from sections(f"{name}.{inner_name}", inner)


def test_the_page_is_made_from_the_structs_of_today() -> None:
    assert page("configuration.md") == configuration_page(), (
        "run: python -m tests.docs.configuration_page > docs/configuration.md"
    )


@pytest.mark.parametrize(("name", "struct"), SECTIONS, ids=[name for name, _ in SECTIONS])
def test_every_key_is_explained_in_the_docstring_of_its_struct(name: str, struct: type[msgspec.Struct]) -> None:
    silent = [
        f"[{section}] {key.name}"
        for section, kind in sections(name, struct)
        for key in keys_of(kind)
        if len(key.meaning) < 3
    ]
    assert silent == []


def test_every_key_of_the_shipped_file_commented_or_not_is_on_the_page() -> None:
    lines = (ROOT / "voldesk.toml").read_text().splitlines()
    text = "\n".join(line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in lines)
    shipped = tomllib.loads(text)
    known = {
        section: {key.name for key in keys_of(kind)} | {inner.partition(".")[0] for inner, *_ in subsections_of(kind)}
        for section, kind in SECTIONS
    }
    unknown = [
        f"[{section}] {key}"
        for section, keys in shipped.items()
        if section != "ports"
        for key in keys
        if key not in known[section]
    ]
    assert unknown == []
