"""A chain of 1,000 options: through the bus's codec into a view of its columns, and all its Greeks.

    python -m bench.chain [--json] [--quick]

The codec is the real one: snapshot to frame, frame to snapshot, view, one column; the matrix is in the cache, as it
is when it has just been made or received. Its floor is two copies of the matrix, into the frame and out of it. Greeks
and volatilities are of chains laid out as venues list them: expiry by expiry, strike by strike, call and put, each
with its own smile. The floor of Greeks is plain numpy without handling of limits. Many different chains are used,
because a repeated one flatters everybody: the branch predictor learns it. Ours and the floor work in turn; time is
CPU time of the one thread; figures are medians over the rounds, after one that is not counted.
"""

import gc
import sys
from collections.abc import Callable
from decimal import Decimal
from statistics import median
from time import process_time

import numpy as np
from scipy.special import ndtr

from bench.harness import Run, bench_main
from bench.options import FORWARD_USD, Batch, our_greeks, our_implied_vol, quantlib_implied_vol
from bench.rows import Row, at_most, row
from shared.bus.frames import encode_array, open_array, split_frame, topic_prefix
from shared.messages.market import CHAIN_COLUMNS, ChainSnapshot, Instrument, InstrumentList
from shared.options.black76 import FloatArray, price
from shared.options.chain import ChainView, OptionList, list_id_of, matrix_bytes

ROUNDS = 21
OPTIONS = 1_000
EXPIRIES, STRIKES = 10, 50
CHAINS = 100
REPEATS = 300
QUANTLIB_CHAINS = 2
PREFIX = topic_prefix("md.BTCUSD.chain")
EXPIRY_NS = 1_790_000_000_000_000_000


def instrument_list() -> InstrumentList:
    instruments = tuple(
        Instrument(
            f"BTCUSD-28AUG26-{strike}-C",
            "BTCUSD",
            "C",
            Decimal(strike),
            EXPIRY_NS,
            EXPIRY_NS,
            Decimal("0.1"),
            Decimal("0.01"),
            Decimal("0.01"),
            Decimal(100),
        )
        for strike in range(1_000, 1_000 * (OPTIONS + 1), 1_000)
    )
    return InstrumentList(underlying="BTCUSD", list_id=list_id_of(instruments), instruments=instruments)


def snapshot_of(instruments: InstrumentList) -> ChainSnapshot:
    return ChainSnapshot(
        underlying="BTCUSD",
        list_id=instruments.list_id,
        venue_ns=1,
        received_ns=1,
        index_price=50_000.0,
        index_received_ns=1,
        matrix=matrix_bytes(np.random.default_rng(1).random((len(CHAIN_COLUMNS), OPTIONS))),
    )


def encoded(snapshot: ChainSnapshot) -> bytearray:
    return encode_array(PREFIX, snapshot, "marketdata", 1, 1, "marketdata.1.1", "", 1)


def decoded(frame: bytes, listed: OptionList) -> FloatArray:
    _, array = split_frame(frame)
    body = open_array(array).body
    assert isinstance(body, ChainSnapshot)
    return ChainView(body, listed).column("mark")


def seconds_each(work: Callable[[], object]) -> float:
    begun = process_time()
    for _ in range(REPEATS):
        work()
    return (process_time() - begun) / REPEATS


def make_chain(rng: np.random.Generator) -> Batch:
    """Ten expiries from a day to a year, 50 strikes each, call and put: 1,000 options with a smile of their own."""
    days = np.geomspace(1, 365, EXPIRIES) * rng.uniform(0.9, 1.1, EXPIRIES)
    years = np.repeat(days / 365, OPTIONS // EXPIRIES)
    moneyness = np.tile(np.repeat(np.linspace(-0.5, 0.5, STRIKES), 2), EXPIRIES)
    width = 0.2 + np.sqrt(years)
    forward = FORWARD_USD * rng.uniform(0.9, 1.1) * np.exp(0.03 * years)
    strike = forward * np.exp(moneyness * width)
    vol = rng.uniform(0.4, 0.8) + rng.uniform(-0.1, 0.1) * moneyness + rng.uniform(0.2, 0.6) * moneyness**2
    is_call = np.tile([True, False], OPTIONS // 2)
    return Batch(forward, strike, years, vol, is_call, price(forward, strike, years, vol, is_call))


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


def seconds_per_batch(work: Callable[[Batch], object], batches: list[Batch]) -> float:
    begun = process_time()
    for batch in batches:
        work(batch)
    return (process_time() - begun) / len(batches)


def measure(run: Run) -> list[Row]:
    gc.disable()
    instruments = instrument_list()
    snapshot = snapshot_of(instruments)
    listed = OptionList(instruments)
    frame, matrix = bytes(encoded(snapshot)), snapshot.matrix
    rng = np.random.default_rng(OPTIONS)
    batches = [make_chain(rng) for _ in range(CHAINS)]
    few = batches[:QUANTLIB_CHAINS]
    works: dict[str, Callable[[], float]] = {
        "encode": lambda: seconds_each(lambda: encoded(snapshot)),
        "decode": lambda: seconds_each(lambda: decoded(frame, listed)),
        "copy": lambda: seconds_each(lambda: bytes(matrix)),
        "greeks": lambda: seconds_per_batch(our_greeks, batches),
        "plain greeks": lambda: seconds_per_batch(plain_numpy_greeks, batches),
        "implied vol": lambda: seconds_per_batch(our_implied_vol, batches),
        "quantlib": lambda: seconds_per_batch(quantlib_implied_vol, few),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in run.rounds(ROUNDS + 1, "chain", quick=4):
        for name, work in works.items():
            taken[name].append(work())
    us = {name: median(seconds[1:]) * 1e6 for name, seconds in taken.items()}
    chain = f"chain of {OPTIONS:,}"
    return [
        row(
            f"{chain}: encode and decode",
            us["encode"] + us["decode"],
            "µs",
            beside="two copies of its matrix",
            beside_value=2 * us["copy"],
            target=at_most(10),
            note=f"encode {us['encode']:.1f} µs, decode and view {us['decode']:.1f} µs",
        ),
        row(
            f"{chain}: price and five Greeks",
            us["greeks"],
            "µs",
            beside="plain numpy",
            beside_value=us["plain greeks"],
            target=at_most(60),
        ),
        row(
            f"{chain}: implied volatility",
            us["implied vol"],
            "µs",
            beside="QuantLib loop",
            beside_value=us["quantlib"],
        ),
    ]


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))
