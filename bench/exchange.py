"""What one step of the simulated market costs, beside the mathematics that it cannot do without.

    python -m bench.exchange [--json] [--quick]

The shipped BTC market. A chain is marks, Greeks, makers' best quotes and the implied volatilities of bid and ask of
every option; its floor is one call for the Greeks and two for the volatilities of the same options. An order is
placed and cancelled in the core alone; its floor is a bare SQLite commit of the rows of each. Ours and the floors run
alternately; figures are medians over the rounds, after one round that is not counted.
"""

import gc
import sys
import tempfile
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median
from time import perf_counter

import msgspec
import numpy as np

from bench.floors import BareCommits
from bench.harness import Run, bench_main
from bench.rows import Row, row
from services.exchange.config import BTC, AccountConfig, ExchangeConfig
from services.exchange.core import ExchangeCore
from services.exchange.model import Accepted, CancelOrder, Chain, PlaceOrder, Side
from shared.options import years_to_expiry
from shared.options.black76 import greeks
from shared.options.implied_vol import implied_vol

STARTED_NS = 1_768_212_000_000_000_000  # 2026-01-12T10:00:00Z
ACCOUNT = "bench"
ROUNDS = 7
STEPS = 40
ORDERS = 100


class Market:
    """An exchange whose time moves on by one step before each measured piece of work."""

    def __init__(self) -> None:
        account = AccountConfig(account_id=ACCOUNT, initial_balance_usd=Decimal(10_000_000))
        config = ExchangeConfig(seed=1, bases=(BTC,), accounts=(account,))
        self._step_ns = config.step_ms * 1_000_000
        self.core = ExchangeCore(config, STARTED_NS)
        self.now_ns = STARTED_NS

    def step(self) -> None:
        self.now_ns += self._step_ns
        self.core.advance(self.now_ns)

    def chain(self) -> Chain:
        chain = self.core.chain("BTCUSD")
        assert chain is not None
        return chain


def us_per_call(work: Callable[[], object], before: Callable[[], object], calls: int) -> float:
    total = 0.0
    for _ in range(calls):
        before()
        begin = perf_counter()
        work()
        total += perf_counter() - begin
    return total / calls * 1e6


def only_mathematics(chain: Chain) -> Callable[[], object]:
    """Greeks and both volatilities of the options of a chain, from numbers that are ready."""
    years = years_to_expiry(chain.at_ns, chain.expiry_ns)

    def work() -> object:
        values = greeks(chain.underlying, chain.strike, years, chain.mark_iv, chain.is_call)
        quotes = [
            implied_vol(np.where(side > 0, side, np.nan), chain.underlying, chain.strike, years, chain.is_call)
            for side in (chain.bid, chain.ask)
        ]
        return values, quotes

    return work


def only_greeks(chain: Chain) -> Callable[[], object]:
    years = years_to_expiry(chain.at_ns, chain.expiry_ns)
    return lambda: greeks(chain.underlying, chain.strike, years, chain.mark_iv, chain.is_call)


def place_and_cancel(market: Market) -> Callable[[], Sequence[object]]:
    """An order below the best bid, which rests, and its cancel: two commands; the rows of both are returned."""
    chain = market.chain()
    row = int(np.argmin(np.abs(chain.strike - float(chain.index_price))))
    option = chain.instruments[row]
    price = snap_price(Decimal(repr(0.9 * float(chain.bid[row]))), option.tick_size)
    order = PlaceOrder(symbol=option.symbol, side=Side.BUY, quantity=Decimal("0.1"), price=price)

    def work() -> Sequence[object]:
        placed = market.core.place(ACCOUNT, order, market.now_ns)
        assert isinstance(placed.result, Accepted), placed.result
        cancel = CancelOrder(order_id=placed.result.order_id)
        return [*placed.rows, *market.core.cancel(ACCOUNT, cancel, market.now_ns).rows]

    return work


def snap_price(price: Decimal, tick_size: Decimal) -> Decimal:
    return price // tick_size * tick_size


def bare_commits(floor: BareCommits, rows: Sequence[object]) -> Callable[[], object]:
    """What a durable exchange waits for anyhow: the rows of the order and those of its cancel, each on the disk."""
    encoded = [msgspec.msgpack.encode(row) for row in rows]

    def work() -> None:
        floor.commit(encoded[:-1])
        floor.commit(encoded[-1:])

    return work


def measure(run: Run) -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        floor = BareCommits(Path(directory) / "floor.sqlite3")
        rows = measure_beside(floor, run)
        floor.close()
    return rows


def measure_beside(floor: BareCommits, run: Run) -> list[Row]:
    gc.disable()
    market = Market()
    market.step()
    options = len(market.chain().symbols)
    trade = place_and_cancel(market)
    commits = bare_commits(floor, trade())
    chains, mathematics, plain, trades, syncs = [], [], [], [], []
    for _ in run.rounds(ROUNDS + 1, "exchange", quick=2):
        chains.append(us_per_call(market.chain, market.step, STEPS))
        mathematics.append(us_per_call(only_mathematics(market.chain()), lambda: None, STEPS))
        plain.append(us_per_call(only_greeks(market.chain()), lambda: None, STEPS))
        trades.append(us_per_call(trade, lambda: None, ORDERS))
        syncs.append(us_per_call(commits, lambda: None, ORDERS))
    return [
        figure(f"simulated chain of {options:,} options", chains, "Greeks and two volatilities", mathematics),
        figure(f"simulated chain of {options:,} options", chains, "Greeks alone", plain),
        figure("order placed and cancelled", trades, "two commits of its rows", syncs),
    ]


def figure(name: str, ours: list[float], beside: str, floor: list[float]) -> Row:
    return row(name, median(ours[1:]), "µs", beside=beside, beside_value=median(floor[1:]))


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))
