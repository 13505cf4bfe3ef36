"""`python -m soak desk --hours 2`: a real desk under faults; `python -m soak world --hours 48`: in the World."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from shared.clock import wall_ns
from soak.desk import DeskSoak
from soak.page import write_part
from soak.record import read_record
from soak.report import result_of, section
from soak.world import WorldRecord, WorldSoak
from soak.world_report import world_result_of, world_section

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "run" / "soak"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m soak",
        description="Leave a desk alone under faults: memory is flat, each alert explained, the books are right.",
        epilog="example: python -m soak desk --hours 0.1",
    )
    halves = parser.add_subparsers(dest="half", required=True)
    desk = halves.add_parser("desk", help="a real desk with four strategies", epilog="example: soak desk --hours 2")
    desk.add_argument("--hours", type=float, default=2.0, help="how long faults come (default 2)")
    world = halves.add_parser("world", help="on a virtual clock", epilog="example: soak world --hours 48")
    world.add_argument("--hours", type=float, default=48.0, help="virtual hours, two at least (default 48)")
    world.add_argument("--cooldown", type=int, default=400, help="seconds from one trade of a strategy to the next")
    for half, each in (("desk", desk), ("world", world)):
        each.add_argument("--seed", type=int, default=1, help="of the schedule of faults (default 1)")
        each.add_argument("--record", type=Path, default=RECORDS / f"{half}.json", help="where the run is kept")
        each.add_argument("--again", action="store_true", help="judge the record of an earlier run; run nothing")
        each.add_argument("--write", action="store_true", help="put the figures into docs/soak.md")
        each.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    told = _desk(arguments) if arguments.half == "desk" else _world(arguments)
    return _tell(*told, arguments)


def _desk(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    if not arguments.again:
        DeskSoak(arguments.hours * 3_600, arguments.seed, _version(), _machine(), arguments.record, _say).run()
    result = result_of(read_record(arguments.record))
    return section(result), result.failures


def _world(arguments: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    path: Path = arguments.record
    if not arguments.again:
        began = f"{datetime.fromtimestamp(wall_ns() / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
        blank = WorldRecord(version=_version(), began=began, machine=_machine(), seed=arguments.seed)
        record = WorldSoak(arguments.hours, arguments.seed, arguments.cooldown, blank, _say).run()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(record))
    result = world_result_of(msgspec.json.decode(path.read_bytes(), type=WorldRecord))
    return world_section(result), result.failures


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _version() -> str:
    """What git calls this version."""
    command = ["git", "describe", "--tags", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    return f"{os.cpu_count()} CPUs {platform.machine()}, Python {platform.python_version()}"


def _tell(figures: str, failures: tuple[str, ...], arguments: argparse.Namespace) -> int:
    if arguments.write:
        write_part(arguments.half, figures)
    text, _, as_json = figures.partition("\n```json\n")
    print(as_json.removesuffix("\n```") if arguments.json else text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
