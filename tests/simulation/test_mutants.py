"""Mistakes made on purpose: each fits the source as it is, is made in a process of its own, and leaves no trace."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from world.mutant import Edit, Mutant
from world.mutants import MUTANTS
from world.mutate import ROOT, Catch, DoesNotApply, check_applies, page, patched

pytestmark = pytest.mark.simulation


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_fits_the_source_as_it_is(mutant: Mutant) -> None:
    check_applies(mutant)


def test_a_mistake_whose_source_has_changed_is_an_error_that_names_it() -> None:
    gone = Mutant("gone", "drill", (Edit("shared/ids.py", "a line that nobody wrote", ""),))
    with pytest.raises(DoesNotApply, match=r"gone: shared/ids\.py has 0 times: a line that nobody wrote"):
        check_applies(gone)
    with pytest.raises(DoesNotApply, match="has 2 times"):
        patched([Edit("a.py", "x", "y")], "x = x", "a.py")


def test_an_order_that_is_sent_again_is_found_in_a_process_of_its_own_and_the_source_stays_as_it_is() -> None:
    before = Path(ROOT, "services/execution/core.py").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "world.mutate", "--json", "--only", "resend_on_timeout", "--seeds", "6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    catch = msgspec.json.decode(done.stdout, type=Catch)
    assert catch.caught_by == "sent_once"
    assert Path(ROOT, "services/execution/core.py").read_bytes() == before


def test_the_page_names_what_found_each_mistake_and_keeps_what_was_found_before() -> None:
    one, two = MUTANTS[:2]
    first = page([Catch(one.name, 3, "sent_once", "order 1 was sent 2 times", 1.0, scenario="drawn")], "")
    assert f"| `{one.name}` | {one.what} | `sent_once` | drawn | 3 |" in first
    assert f"| `{two.name}` | {two.what} | | | not run |" in first
    second = page([Catch(two.name, None, "", "no promise was broken in 40 seeds", 1.0, 40)], first)
    assert f"| `{one.name}` | {one.what} | `sent_once` | drawn | 3 |" in second
    assert f"| `{two.name}` | {two.what} | | | not found in 40 seeds |" in second
    assert f"1 of {len(MUTANTS)} are found, 1 are not found in the seeds given, and {len(MUTANTS) - 2} were" in second
    third = page([Catch(two.name, None, "", "not decided within 900 s", 900.0)], second)
    assert f"| `{two.name}` | {two.what} | | | not run to its end |" in third


def test_every_mistake_of_the_table_was_run_and_found() -> None:
    table = Path(ROOT, "docs/simulation-mutants.md").read_text()
    outcomes = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", table, flags=re.MULTILINE))
    assert set(outcomes) == {mutant.name for mutant in MUTANTS}, "not run: make simulate-mutants"
    missed = {name for name, outcome in outcomes.items() if not re.fullmatch(r"[^|]+ \| \w+ \| \d+", outcome)}
    assert missed == set(), "a promise, a fault or a directed scenario is missing"
    assert f"\n{len(MUTANTS)} of {len(MUTANTS)} are found, 0 are not found" in table
