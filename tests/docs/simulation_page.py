"""docs/simulation.md, made from the faults, the promises and the directed scenarios of the simulation.

After a change of them: ``python -m tests.docs.simulation_page > docs/simulation.md``.
"""

from __future__ import annotations

import sys

from world.directed import DIRECTED
from world.faults import FAULTS, UNDRAWN, Faults
from world.violations import PROMISES

_INTRODUCTION = """# The simulation

`make simulate SEEDS=200` runs the whole desk two hundred times in one process each, on a virtual clock: the cores
of marketdata, risk, execution, strategy and monitor, the runner and the journal's rules, the frames and sequences
of the bus, and the simulated exchange. They are the same modules that run live; `world/` stands in for sockets,
clocks, processes and disks, and one seed decides everything in it.

A run has two halves. While faults are on, **safety** is checked: what must hold at every moment. Then the faults
stop, nothing new is opened, and everything must come to its end (**liveness**); when it has, the books of the desk
and of the venue are compared to the last decimal. What execution decided is judged once more row by row, by what
its process knew when it wrote the row.

```
make simulate SEEDS=200                   # as CI does
make simulate SEEDS=1 FIRST_SEED=17       # one seed again: the same run to the last order
make simulate-nightly SEEDS=10000         # many, with the result in simulation-nightly.md
make simulate-mutants                     # does it find mistakes? the table is simulation-mutants.md
```

A run of 200 seeds takes two to three minutes of two free cores. It ends with how many trades each mode and policy
opened and how they ended, the rows of execution's journal that no seed wrote, and the faults that none had.

A nightly run keeps each seed's result in `build/simulation/`, by the version that it runs: the same command on the
same version goes on where an interrupted run ended (Ctrl-C, or `MINUTES=60` for so long at the most), and nothing is
kept while files are changed beside that version. Its page has every count.

With `--json` each seed has a `digest`: of every row that was written, every frame that was published and every fill
of the venue. A change that is meant to change nothing leaves it as it is:

```
python -m world --seeds 20 --json | jq -r .digest    # before and after
```

When a promise is broken, the run prints the promise, what was seen, the mix of faults, the story of the trade
concerned event by event, and the line that runs that seed again. Where what was seen names no trade, as a sum of
fees, it is the trades of which the venue has other figures, those of the symbol, intent or strategy that is named,
or the ones that something happened to last, and a line says so; three at the most. A seed that found a bug of the
desk becomes a test.

Last run over many seeds: [simulation-nightly.md](simulation-nightly.md). Mistakes that were made on purpose, and
which promise found each: [simulation-mutants.md](simulation-mutants.md).

## What a seed draws

- **Scenario.** About half of the seeds trade three plain strategies, two of them with the same legs, so that two
  trades hold one symbol. The others trade four of a menu that is in its own way (a long and a short of one
  structure, a condor, a calendar), in thin books, with jumps of the price, at times with tight limits of risk,
  with an operator who closes, cancels, halts, flattens and repeats himself, and with somebody else on the account
  who closes positions by hand, cancels orders and trades for himself. In one in twenty two of the strategies ask for
  more than the books hold, in chunks, and are content with what there is. One in fifty holds its trades over an
  expiry, and three in a hundred trade coins of spot, beside a cash rule or somebody who sells coins by
  hand.
- **The venue's habits** where its documentation leaves them open (`drawn_switches`).
- **Faults.** Each is off in about half of the seeds; where it is on, its size varies by an order of magnitude, so
  that some seeds have one extreme fault and others a bit of everything. Those that are marked so below are drawn by
  no seed.

## Faults

*Calm* is what a day without faults has. A name in `_per_minute` is a rate, one in `_ms` an extent, any other a
chance per occasion.

| fault | what happens | calm |
|---|---|---:|
"""

_UNDRAWN = "; in directed scenarios alone"

_PROMISES = """
Halts in the middle of a trade, closes and cancels come from the operator; partial fills from thin books; price
gaps from the market's jumps; foreign orders and hand closes from the intruder; expiry from its scenario.

## Promises

Each has a test in `tests/simulation/test_invariants.py` that breaks it and sees that it is reported.

| promise | what it says |
|---|---|
"""

_DIRECTED = """
## Directed scenarios

Some mistakes need a situation that drawn seeds hardly ever meet. Each of these short runs makes one likely;
without a mistake it keeps every promise too: `python -m world --scenario fleeting_halts --seeds 10`.

| scenario | what is made likely |
|---|---|
"""

_LIMITS = """
## What it does not show

- Sockets, files and processes: the simulation replaces them. The tests of the stack kill real processes.
- Mistakes in what the simulated exchange believes of the venue: the contract tests compare the two.
- That a journal's file survives a torn write: here nothing of the batch survives, as SQLite promises; the tests of
  the store cut real files.
- Funding and the delivery of dated futures in drawn seeds: the directed scenarios `perpetuals` and `dated_futures`
  run over them, and there the same promises hold.
- Mistakes that nobody thought of: the table shows that those in it are found, and not that all are.
"""


def simulation_page() -> str:
    """The whole page as Markdown."""
    calm = Faults.none()
    faults = "".join(
        f"| `{name}` | {what}{_UNDRAWN if name in UNDRAWN else ''} | {getattr(calm, name):g} |\n"
        for name, what in FAULTS.items()
    )
    promises = "".join(f"| `{name}` | {what} |\n" for name, what in PROMISES.items())
    directed = "".join(f"| `{name}` | {one.what} |\n" for name, one in DIRECTED.items())
    return _INTRODUCTION + faults + _PROMISES + promises + _DIRECTED + directed + _LIMITS


if __name__ == "__main__":
    sys.stdout.write(simulation_page())
