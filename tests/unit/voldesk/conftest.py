from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.voldesk.peers import Peers

CONFIG = """
[desk]
name = "unit"
account_id = "acc1"
venue = "sim"
underlyings = ["BTCUSD"]
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a valid voldesk.toml that the command line uses; `home / "run"` is the run directory.

    For every test, so that none asks the desk that may run in the working directory.
    """
    path = Path(tempfile.mkdtemp(prefix="vd-"))
    (path / "voldesk.toml").write_text(CONFIG)
    for name in list(os.environ):
        if name.startswith(("COINCALL_", "VOLDESK_", "TRADING_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VOLDESK_CONFIG", str(path / "voldesk.toml"))
    monkeypatch.setenv("VOLDESK_RUN_DIR", str(path / "run"))
    monkeypatch.setenv("COLUMNS", "80")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def peers(home: Path) -> Iterator[Peers]:
    """Services that answer on real sockets what the test tells them to."""
    with Peers() as running:
        yield running
