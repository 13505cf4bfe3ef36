"""Millions of options per second for Greeks and implied volatility, one thread, beside a peer in the same run.

    python -m bench.options [--json] [--quick]

Greeks are set against the same formulas in plain numpy without blocks or handling of limits, implied volatility
against a loop over QuantLib's ImpliedStdDev at accuracy 1e-12. Chains of 600 and 1,000 come from many different
sets, because a repeated one flatters everybody: the branch predictor learns it. Ours and the peer run
alternately; the figures are medians over the rounds, after one round that is not counted.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
import QuantLib as ql
from scipy.special import ndtr

from bench.harness import Run, bench_main
from bench.rows import Row, row
from shared.options.black76 import BoolArray, FloatArray, greeks, price
from shared.options.implied_vol import implied_vol

FORWARD_USD = 50_000.0
OPTIONS_PER_ROUND = 100_000
OPTIONS_PER_ROUND_QUANTLIB = 20_000
ROUNDS = 7
SIZES = (600, 1_000, 100_000)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    forward: FloatArray
    strike: FloatArray
    years: FloatArray
    vol: FloatArray
    is_call: BoolArray
    price: FloatArray


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
    name: str,
    options: int,
    ours: Callable[[Batch], object],
    peer_name: str,
    peer: Callable[[Batch], object],
    peer_options: int,
    run: Run,
) -> Row:
    rng = np.random.default_rng(options)
    batches = [make_batch(rng, options) for _ in range(max(1, OPTIONS_PER_ROUND // options))]
    peer_batches = batches[: max(1, peer_options // options)]
    times = [
        (seconds_per_option(ours, batches), seconds_per_option(peer, peer_batches))
        for _ in run.rounds(ROUNDS + 1, name, quick=2)
    ][1:]
    our_seconds, peer_seconds = median(t[0] for t in times), median(t[1] for t in times)
    return row(name, 1e-6 / our_seconds, "M options/s", beside=peer_name, beside_value=1e-6 / peer_seconds)


def measure(run: Run) -> list[Row]:
    gc.disable()
    rows = [
        compare(f"Greeks of {n:,}", n, our_greeks, "plain numpy", plain_numpy_greeks, OPTIONS_PER_ROUND, run)
        for n in SIZES
    ]
    rows += [
        compare(
            f"implied volatility of {n:,}",
            n,
            our_implied_vol,
            "QuantLib loop",
            quantlib_implied_vol,
            OPTIONS_PER_ROUND_QUANTLIB,
            run,
        )
        for n in SIZES
    ]
    return rows


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))
