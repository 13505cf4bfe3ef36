"""Millions of options per second for Greeks and implied volatility, one thread, beside a peer in the same run.

    python -m bench.options [--json] [--rounds 7]

Greeks are set against the same formulas in plain numpy without blocks or handling of limits, implied volatility
against a loop over QuantLib's ImpliedStdDev at accuracy 1e-12. Chains of 600 and 1,000 come from many different
sets, because a repeated one flatters everybody: the branch predictor learns it. Ours and the peer run
alternately; the figures are medians over the rounds, after one round that is not counted.
"""

import argparse
import gc
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import QuantLib as ql
from scipy.special import ndtr

from shared.options import greeks, implied_vol, price
from shared.options.black76 import BoolArray, FloatArray

FORWARD_USD = 50_000.0
OPTIONS_PER_ROUND = 100_000
OPTIONS_PER_ROUND_QUANTLIB = 20_000
SIZES = (600, 1_000, 100_000)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    forward: FloatArray
    strike: FloatArray
    years: FloatArray
    vol: FloatArray
    is_call: BoolArray
    price: FloatArray


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ratio` is ours over the peer, above 1 is faster."""

    what: str
    options: int
    us_per_batch: float
    million_per_second: float
    peer: str
    peer_million_per_second: float
    ratio: float


def make_batch(rng: np.random.Generator, options: int) -> Batch:
    """Log-moneyness ±0.5, 7 to 365 days, volatility 0.3 to 1.0, calls and puts."""
    forward = np.full(options, FORWARD_USD)
    strike = forward * np.exp(rng.uniform(-0.5, 0.5, options))
    years = rng.uniform(7, 365, options) / 365
    vol = rng.uniform(0.3, 1.0, options)
    is_call = rng.random(options) < 0.5
    return Batch(forward, strike, years, vol, is_call, price(forward, strike, years, vol, is_call))


def our_greeks(batch: Batch) -> object:
    return greeks(batch.forward, batch.strike, batch.years, batch.vol, batch.is_call)


def plain_numpy_greeks(batch: Batch) -> object:
    f, k, t, v = batch.forward, batch.strike, batch.years, batch.vol
    sign = np.where(batch.is_call, 1.0, -1.0)
    root_t = np.sqrt(t)
    deviation = v * root_t
    d1 = np.log(f / k) / deviation + 0.5 * deviation
    d2 = d1 - deviation
    n1, n2 = ndtr(sign * d1), ndtr(sign * d2)
    density = np.exp(-0.5 * d1 * d1) * 0.3989422804014327
    return (
        sign * (f * n1 - k * n2),
        sign * n1,
        density / (f * deviation),
        f * density * root_t / 100,
        -f * density * v / (2 * root_t) / 365,
        sign * k * t * n2 / 100,
    )


def our_implied_vol(batch: Batch) -> object:
    return implied_vol(batch.price, batch.forward, batch.strike, batch.years, batch.is_call)


def quantlib_implied_vol(batch: Batch) -> object:
    found = []
    columns = (batch.price, batch.forward, batch.strike, batch.years, batch.is_call)
    for value, f, k, t, is_call in zip(*(column.tolist() for column in columns), strict=True):
        option_type = ql.Option.Call if is_call else ql.Option.Put
        try:
            found.append(
                ql.blackFormulaImpliedStdDev(option_type, k, f, value, 1.0, 0.0, ql.nullDouble(), 1e-12, 100) / t**0.5
            )
        except RuntimeError:
            found.append(float("nan"))
    return found


def seconds_per_option(solve: Callable[[Batch], object], batches: list[Batch]) -> float:
    begin = perf_counter()
    for batch in batches:
        solve(batch)
    return (perf_counter() - begin) / sum(batch.strike.size for batch in batches)


def compare(
    what: str,
    options: int,
    ours: Callable[[Batch], object],
    peer_name: str,
    peer: Callable[[Batch], object],
    peer_options: int,
    rounds: int,
) -> Figure:
    rng = np.random.default_rng(options)
    batches = [make_batch(rng, options) for _ in range(max(1, OPTIONS_PER_ROUND // options))]
    peer_batches = batches[: max(1, peer_options // options)]
    times = [(seconds_per_option(ours, batches), seconds_per_option(peer, peer_batches)) for _ in range(rounds + 1)][
        1:
    ]
    our_seconds, peer_seconds = median(t[0] for t in times), median(t[1] for t in times)
    return Figure(
        what,
        options,
        round(our_seconds * options * 1e6, 1),
        round(1e-6 / our_seconds, 3),
        peer_name,
        round(1e-6 / peer_seconds, 3),
        round(peer_seconds / our_seconds, 2),
    )


def measure(rounds: int) -> list[Figure]:
    gc.disable()
    figures = [
        compare("greeks", n, our_greeks, "plain numpy", plain_numpy_greeks, OPTIONS_PER_ROUND, rounds) for n in SIZES
    ]
    figures += [
        compare(
            "implied vol",
            n,
            our_implied_vol,
            "QuantLib loop",
            quantlib_implied_vol,
            OPTIONS_PER_ROUND_QUANTLIB,
            rounds,
        )
        for n in SIZES
    ]
    return figures


def table(figures: list[Figure]) -> str:
    lines = [f"{'what':<12}{'options':>9}{'µs':>10}{'M/s':>8}   {'peer':<14}{'M/s':>8}{'ratio':>8}"]
    lines += [
        f"{f.what:<12}{f.options:>9,}{f.us_per_batch:>10,.1f}{f.million_per_second:>8.2f}   "
        f"{f.peer:<14}{f.peer_million_per_second:>8.2f}{f.ratio:>8.2f}"
        for f in figures
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print a JSON array instead of the table")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds (default 7)")
    arguments = parser.parse_args()
    figures = measure(arguments.rounds)
    rows: list[dict[str, Any]] = [asdict(figure) for figure in figures]
    print(json.dumps(rows, indent=2) if arguments.json else table(figures))


if __name__ == "__main__":
    main()
