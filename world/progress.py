"""What is known already of a long run: one line per seed on disk, so that an interrupted run goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from world.simulate import Verdict

_DIRTY = "dirty"


class Done(msgspec.Struct, frozen=True):
    """One seed that was run, and the processor's seconds that it took."""

    verdict: Verdict
    cpu_s: float


class KeptProgress:
    """Of one version: what another one showed says nothing of this. A version whose name says that files are changed
    beside it is none, and nothing is kept of it."""

    def __init__(self, directory: Path, version: str) -> None:
        self.path = (
            None if not version or version.endswith(_DIRTY) else directory / f"{version.replace('/', '_')}.jsonl"
        )
        self._file: IO[bytes] | None = None

    def load(self, seeds: range) -> dict[int, Done]:
        """The seeds of this run that are done. A line that was being written when the run ended is not there."""
        return {one.verdict.seed: one for one in self._lines() if one.verdict.seed in seeds}

    def _lines(self) -> Iterator[Done]:
        if self.path is None or not self.path.exists():
            return
        decoder = msgspec.json.Decoder(Done)
        for line in self.path.read_bytes().splitlines():
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError:
                continue

    def keep(self, done: Done) -> None:
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
            # a line that was cut off must not swallow the next one
            self._file.write(b"\n")
        self._file.write(msgspec.json.encode(done) + b"\n")
        self._file.flush()
