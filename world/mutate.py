"""`python -m world.mutate`: does the simulation find a mistake? Each mutant runs in a fresh process, seed after seed:
drawn ones first, and those of its directed scenario when it has one and few drawn ones have not found it.

A mutant is a change of the source that is made while the module is imported; no file is touched. One whose source is
no longer there is an error, and so is one that is not found.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from world.mutant import Edit, Mutant
from world.mutants import MUTANTS
from world.violations import PROMISES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "simulation-mutants.md"
ENOUGH_SEEDS = 80
"""A mistake that so many seeds do not find is hardly found at all: a promise or a fault is missing."""
_BEFORE_SCENARIO = 3
"""So many drawn seeds are tried before the directed scenario of a mistake."""
DRAWN = "drawn"
_TIMEOUT_S = 1_800
_NOT_RUN, _UNDECIDED = "| | not run", "| | not run to its end"


class Catch(msgspec.Struct, frozen=True):
    """What became of a mutant. seed: None when none of `seeds` found it. caught_by: a promise, or what else did.
    scenario: where, `DRAWN` or a directed one.
    """

    mutant: str
    seed: int | None
    caught_by: str
    text: str
    seconds: float
    seeds: int = 0
    scenario: str = ""


class DoesNotApply(Exception):
    """The source that a mutant changes is not there, or there more than once."""


def patched(edits: Sequence[Edit], source: str, path: str) -> str:
    """The source of `path` with the edits of that path made. Raises DoesNotApply."""
    for edit in edits:
        if edit.path == path:
            if source.count(edit.old) != 1:
                raise DoesNotApply(f"{path} has {source.count(edit.old)} times: {edit.old.strip().splitlines()[0]}")
            source = source.replace(edit.old, edit.new)
    return source


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the changed source; the cache of compiled files is neither read nor written."""

    def __init__(self, fullname: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(fullname, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        path = Path(self.get_filename(fullname))
        source = patched(self._edits, path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
        compiled: CodeType = compile(source, str(path), "exec", dont_inherit=True)
        return compiled


class _Finder(MetaPathFinder):
    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits = edits
        self._modules = {edit.path.removesuffix(".py").replace("/", ".") for edit in edits}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._modules:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert spec is not None, fullname
        assert spec.origin is not None, fullname
        return importlib.util.spec_from_file_location(
            fullname, spec.origin, loader=_Loader(fullname, spec.origin, self._edits)
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m world.mutate",
        description="Make deliberate mistakes in the desk and see that the simulation finds each of them.",
        epilog="example: python -m world.mutate --only resend_on_timeout    the page: python -m world.mutate --write",
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="MUTANT", help="these mutants and no others")
    parser.add_argument("--seeds", type=int, default=ENOUGH_SEEDS, help="at most so many seeds (default 80)")
    parser.add_argument(
        "--directed", action="store_true", help="only the directed scenario of each mistake that has one"
    )
    parser.add_argument("--processes", type=int, default=2, help="mutants that run at the same time (default 2)")
    parser.add_argument("--json", action="store_true", help="one JSON object per mutant on standard output")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--child", metavar="MUTANT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return _run_child(arguments.child, arguments.seeds, directed=arguments.directed)
    unknown = set(arguments.only) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutant: {', '.join(sorted(unknown))}; there are {', '.join(m.name for m in MUTANTS)}")
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    mutants = [by_name[name] for name in arguments.only or by_name]
    if arguments.directed:
        mutants = [mutant for mutant in mutants if mutant.scenario]
    for mutant in mutants:
        check_applies(mutant)
    catches = _run_all(mutants, arguments)
    if arguments.write:
        before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        PAGE.write_text(page(catches, before), encoding="utf-8")
    if not arguments.json:
        Console().print(_table(catches))
    return 1 if any(catch.seed is None for catch in catches) else 0


def check_applies(mutant: Mutant) -> None:
    """Raises DoesNotApply unless every edit fits the source as it is now."""
    for path in dict.fromkeys(edit.path for edit in mutant.edits):
        try:
            patched(mutant.edits, (ROOT / path).read_text(encoding="utf-8"), path)
        except DoesNotApply as error:
            raise DoesNotApply(f"{mutant.name}: {error}") from None


def _run_all(mutants: Sequence[Mutant], arguments: Any) -> list[Catch]:
    console = Console(stderr=True)
    catches: list[Catch] = []
    with ThreadPoolExecutor(arguments.processes) as pool, Progress(console=console) as progress:
        task = progress.add_task("mutants", total=len(mutants))
        for catch in pool.map(lambda one: _in_fresh_process(one, arguments), mutants):
            catches.append(catch)
            progress.advance(task)
            if catch.seed is None:
                progress.console.print(f"{catch.mutant} is not found: {catch.text}", style="red", highlight=False)
            if arguments.json:
                sys.stdout.write(msgspec.json.encode(catch).decode() + "\n")
    return catches


def _in_fresh_process(mutant: Mutant, arguments: Any) -> Catch:
    command = [sys.executable, "-m", "world.mutate", "--child", mutant.name, "--seeds", str(arguments.seeds)]
    command += ["--directed"] if arguments.directed else []
    began = time.perf_counter()
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Catch(mutant.name, None, "", f"not decided within {_TIMEOUT_S} s", time.perf_counter() - began)
    if done.returncode != 0:
        raise RuntimeError(f"{mutant.name} did not run: {done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Catch)


def _run_child(name: str, seeds: int, *, directed: bool) -> int:
    """In the fresh process: change the source on its way in, then simulate until something is broken."""
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    check_applies(mutant)
    sys.meta_path.insert(0, _Finder(mutant.edits))
    from world.directed import DIRECTED
    from world.simulate import simulate

    began = time.perf_counter()
    runs = list(_runs(mutant, seeds, directed=directed))
    catch = Catch(name, None, "", f"no promise was broken in {len(runs)} seeds", 0.0, len(runs))
    for where, seed in runs:
        one = DIRECTED.get(where)
        try:
            verdict = simulate(seed) if one is None else simulate(seed, one.faults, one.scenario(seed))
        except AssertionError as error:
            catch = Catch(name, seed, "an assertion of the core", str(error).split("\n", 1)[0], 0.0, scenario=where)
            break
        if verdict.violations:
            first = verdict.violations[0]
            catch = Catch(name, seed, first.invariant, first.text, 0.0, scenario=where)
            break
    catch = msgspec.structs.replace(catch, seconds=round(time.perf_counter() - began, 1))
    sys.stdout.write(msgspec.json.encode(catch).decode() + "\n")
    return 0


def _runs(mutant: Mutant, seeds: int, *, directed: bool) -> Iterator[tuple[str, int]]:
    """Where a mistake is looked for, and with which seeds."""
    if not mutant.scenario:
        yield from ((DRAWN, seed) for seed in range(seeds))
        return
    before = 0 if directed else min(seeds, _BEFORE_SCENARIO)
    yield from ((DRAWN, seed) for seed in range(before))
    yield from ((mutant.scenario, seed) for seed in range(seeds - before))


def page(catches: Sequence[Catch], before: str) -> str:
    """The table as a page. `before`: the page as it is, whose rows stay for mutants that were not run now."""
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", before, flags=re.MULTILINE))
    for catch in catches:
        by = f"`{catch.caught_by}`" if catch.caught_by in PROMISES else catch.caught_by
        if catch.seed is not None:
            rows[catch.mutant] = f"{by} | {catch.scenario} | {catch.seed}"
        else:
            rows[catch.mutant] = f"| | not found in {catch.seeds} seeds" if catch.seeds else _UNDECIDED
    outcomes = [rows.get(mutant.name, _NOT_RUN) for mutant in MUTANTS]
    found = sum(outcome[-1].isdigit() for outcome in outcomes)
    missed = sum("not found" in outcome for outcome in outcomes)
    lines = [
        "# Mistakes that the simulation finds",
        "",
        "Written by `make simulate-mutants`. Each mistake is made on purpose in the source of the desk, in a process",
        f"of its own, and the simulation runs until a promise is broken: {ENOUGH_SEEDS} drawn seeds, or, where a",
        f"directed scenario is made for the mistake, the first {_BEFORE_SCENARIO} of them and then that.",
        f"{found} of {len(MUTANTS)} are found, {missed} are not found in the seeds given, and "
        f"{len(MUTANTS) - found - missed} were not run.",
        "What the promises say, and what the scenarios are: [simulation.md](simulation.md).",
        "",
        "| mistake | what it does | found by | in | at seed |",
        "|---|---|---|---|---:|",
        *(f"| `{mutant.name}` | {mutant.what} | {rows.get(mutant.name, _NOT_RUN)} |" for mutant in MUTANTS),
    ]
    return "\n".join(lines) + "\n"


def _table(catches: Sequence[Catch]) -> Table:
    table = Table(title="mistakes made on purpose")
    for heading in ("mistake", "found by", "in", "seed", "seconds", "what was seen"):
        table.add_column(heading, justify="right" if heading in ("seed", "seconds") else "left")
    for catch in catches:
        seed = "not found" if catch.seed is None else str(catch.seed)
        table.add_row(catch.mutant, catch.caught_by, catch.scenario, seed, f"{catch.seconds:.1f}", catch.text)
    return table


if __name__ == "__main__":
    sys.exit(main())
