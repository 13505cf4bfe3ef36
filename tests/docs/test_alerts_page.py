"""The page on alerts: its sections of voldesk.toml are taken as they stand."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from services.monitor.config import MonitorConfig
from tests.docs.pages import Block, blocks, page

SECTIONS = blocks(page("alerts.md"), "toml")


@pytest.mark.parametrize("block", SECTIONS, ids=lambda block: f"line {block.line}")
def test_each_example_is_a_section_of_the_monitor(block: Block) -> None:
    (name, section), *others = tomllib.loads(block.code).items()
    assert (name, others) == ("monitor", [])
    config = msgspec.convert(section, MonitorConfig)
    assert config.telegram.users, "both examples list who is answered"


def test_the_channel_of_the_example_is_told_by_the_default_route() -> None:
    config = msgspec.convert(tomllib.loads(SECTIONS[0].code)["monitor"], MonitorConfig)
    (name,) = config.routes["default"].channels
    assert config.channels[name].chat_id == config.telegram.users[0].id
