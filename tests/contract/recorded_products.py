"""The recorded form of futures and spot, built from the venue's documentation: `recorded/*.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.contract.payloads import RecordedAnswer, RecordedFrames
from tests.contract.shapes import Leave, read_json

PRODUCTS = ("futures", "spot")


def _leave(row: dict[str, Any]) -> Leave:
    return Leave(**{name: frozenset(row.get(name, ())) for name in Leave.__struct_fields__})


class Recorded:
    """Answers and frames of one product."""

    def __init__(self, name: str) -> None:
        read = read_json((Path(__file__).parent / "recorded" / f"{name}.json").read_bytes())
        self.answers = {
            endpoint: RecordedAnswer(answer=row["answer"], leave=_leave(row))
            for endpoint, row in read["answers"].items()
        }
        self.frames = {
            channel: RecordedFrames(
                frames=row["frames"] if "frames" in row else {"": row["frame"]},
                by=row.get("by", ""),
                leave=_leave(row),
            )
            for channel, row in read["frames"].items()
        }
