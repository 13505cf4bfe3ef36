"""100,000 options at once, one thread: price with five Greeks, and implied volatility, beside two libraries.

    python -m bench.options [--json] [--quick]

py_vollib_vectorized works in an environment of its own (bench/peers.py), on the same options, after a round that is
not counted and in which numba compiles. QuantLib is a loop over BlackCalculator, and over ImpliedStdDev at accuracy
1e-12, on a fifth of them. All work in turn; time is CPU time, and figures are medians over the rounds. Where results
should agree, the largest difference is told: its Greeks are finite differences, so only price, delta and volatility
can agree closely; rho is left out, because py_vollib holds the forward fixed and we hold spot fixed.
"""

import gc
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import QuantLib as ql

from bench.harness import Run, bench_main
from bench.peers import PeerMissing, py_vollib
from bench.rows import Row, ratio_at_least, row
from bench.workers import Worker
from shared.options.black76 import BoolArray, FloatArray, greeks, price
from shared.options.implied_vol import implied_vol

ROUNDS = 9
OPTIONS = 100_000
FORWARD_USD = 50_000.0
PY_VOLLIB = "py_vollib_vectorized"
UNIT = "M options/s"
AGREE = ("price", "delta", "gamma", "vega", "theta")
Seconds = dict[str, list[float]]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    forward: FloatArray
    strike: FloatArray
    years: FloatArray
    vol: FloatArray
    is_call: BoolArray
    price: FloatArray

    def first(self, count: int) -> "Batch":
        return Batch(*(getattr(self, field.name)[:count] for field in fields(self)))

    def save(self, directory: Path) -> None:
        for field in fields(self):
            np.save(directory / f"{field.name}.npy", getattr(self, field.name))


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


def our_implied_vol(batch: Batch) -> object:
    return implied_vol(batch.price, batch.forward, batch.strike, batch.years, batch.is_call)


def quantlib_greeks(batch: Batch) -> object:
    found = []
    columns = (batch.forward, batch.strike, batch.years, batch.vol, batch.is_call)
    for f, k, t, v, is_call in zip(*(column.tolist() for column in columns), strict=True):
        payoff = ql.PlainVanillaPayoff(ql.Option.Call if is_call else ql.Option.Put, k)
        black = ql.BlackCalculator(payoff, f, v * t**0.5)
        found.append(
            (
                black.value(),
                black.deltaForward(),
                black.gammaForward(),
                black.vega(t),
                black.theta(f, t),
                black.rho(t),
            )
        )
    return found


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


def per_option(work: Callable[[Batch], object], batch: Batch) -> float:
    begun = process_time()
    work(batch)
    return (process_time() - begun) / batch.strike.size


def disagreements(batch: Batch, directory: Path) -> tuple[str, str]:
    """The largest differences from the peer: price and Greeks as a share of their largest value, and volatilities."""
    ours = greeks(batch.forward, batch.strike, batch.years, batch.vol, batch.is_call)
    told = []
    for name in AGREE:
        mine, theirs = getattr(ours, name), np.load(directory / f"peer_{name}.npy")
        told.append(f"{name} {np.nanmax(np.abs(mine - theirs)) / np.abs(mine).max():.0e}")
    solved = implied_vol(batch.price, batch.forward, batch.strike, batch.years, batch.is_call)
    vols = np.load(directory / "peer_implied_vol.npy")
    both = solved.ok & np.isfinite(vols) & (vols > 0.0)
    difference = np.abs(solved.vol - vols)[both]
    off = np.abs(solved.vol - batch.vol)[solved.ok].max()
    return (
        f"largest difference from {PY_VOLLIB}, as a share of the largest value: " + ", ".join(told),
        f"both solve {both.sum():,} of {both.size:,}; largest difference from {PY_VOLLIB} {difference.max():.0e}, "
        f"ours from the volatility that made the prices {off:.0e}",
    )


def measure(run: Run, start_peer: Callable[[], Worker] = py_vollib, options: int = OPTIONS) -> list[Row]:
    gc.disable()
    batch = make_batch(np.random.default_rng(1), options)
    loop_batch = batch.first(options // (50 if run.quick else 5))
    works: dict[str, Callable[[], float]] = {
        "our greeks": lambda: per_option(our_greeks, batch),
        "quantlib greeks": lambda: per_option(quantlib_greeks, loop_batch),
        "our implied_vol": lambda: per_option(our_implied_vol, batch),
        "quantlib implied_vol": lambda: per_option(quantlib_implied_vol, loop_batch),
    }
    with tempfile.TemporaryDirectory(prefix="vd-bench-") as name:
        directory = Path(name)
        try:
            peer = start_peer()
        except PeerMissing as error:
            return rows_of(options, timed(works, run), f"{PY_VOLLIB} (not measured: {error})", ("", ""))
        with closing(peer):
            batch.save(directory)
            peer.ask("load", str(directory))
            for what in ("greeks", "implied_vol"):
                works[f"py_vollib {what}"] = lambda what=what: peer.ask(what) / options  # type: ignore[misc]
            seconds = timed(works, run)
            peer.ask("save")
        return rows_of(options, seconds, PY_VOLLIB, disagreements(batch, directory))


def timed(works: dict[str, Callable[[], float]], run: Run) -> Seconds:
    """Seconds per option of each, in turn; the first round is not counted."""
    seconds: Seconds = {name: [] for name in works}
    for _ in run.rounds(ROUNDS + 1, "options", quick=2):
        for name, work in works.items():
            seconds[name].append(work())
    return {name: taken[1:] for name, taken in seconds.items()}


def rows_of(options: int, seconds: Seconds, peer: str, notes: tuple[str, str]) -> list[Row]:
    def rate(name: str) -> float | None:
        return 1e-6 / median(seconds[name]) if name in seconds else None

    made = []
    for what, key, at_least, note in (
        (f"price and five Greeks of {options:,}", "greeks", 15, notes[0]),
        (f"implied volatility of {options:,}", "implied_vol", 3, notes[1]),
    ):
        ours = rate(f"our {key}")
        made += [
            row(
                what,
                ours,
                UNIT,
                beside=peer,
                beside_value=rate(f"py_vollib {key}"),
                target=ratio_at_least(at_least),
                note=note,
            ),
            row(what, ours, UNIT, beside="QuantLib loop", beside_value=rate(f"quantlib {key}")),
        ]
    return made


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))
