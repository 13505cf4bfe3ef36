"""What a command says of a stop is heard once, and only what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.shutdown import announce, take_announced


def test_what_was_announced_is_taken_once(tmp_path: Path) -> None:
    assert take_announced(tmp_path) is None
    announce(tmp_path, "cancel")
    announce(tmp_path, "flatten")
    assert (take_announced(tmp_path), take_announced(tmp_path)) == ("flatten", None)


@pytest.mark.parametrize("said", [b"", b"sell everything", b"\xff\xfe"])
def test_what_cannot_be_understood_is_as_good_as_nothing(tmp_path: Path, said: bytes) -> None:
    announce(tmp_path, "leave")
    (path,) = tmp_path.iterdir()
    path.write_bytes(said)
    assert take_announced(tmp_path) is None


def test_a_stop_does_not_fail_of_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    announce(tmp_path / "gone", "cancel")
    assert take_announced(tmp_path / "gone") is None
