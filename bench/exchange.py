"""What one step of the simulated market costs, beside the mathematics that it cannot do without.

    python -m bench.exchange [--json] [--rounds 7]

The shipped BTC market. A chain is marks, Greeks, makers' best quotes and the implied volatilities of bid and ask of
every option; its floor is one call for the Greeks and two for the volatilities of the same options. An order is
placed and cancelled in the core alone; its floor is a bare SQLite commit of the rows of each. Ours and the floors run
alternately; figures are medians over the rounds, after one round that is not counted.
"""

import argparse
import gc
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from bench.floors import BareCommits
from services.exchange.config import BTC, AccountConfig, ExchangeConfig
from services.exchange.core import ExchangeCore
from services.exchange.model import Accepted, CancelOrder, Chain, PlaceOrder, Side
from shared.options import greeks, implied_vol, years_to_expiry

STARTED_NS = 1_768_212_000_000_000_000  # 2026-01-12T10:00:00Z
ACCOUNT = "bench"
STEPS = 40
ORDERS = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table, µs each. `ratio` is ours over the floor."""

    what: str
    ours_us: float
    floor: str
    floor_us: float
    ratio: float


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


def measure(rounds: int, floor: BareCommits) -> list[Figure]:
    gc.disable()
    market = Market()
    market.step()
    options = len(market.chain().symbols)
    trade = place_and_cancel(market)
    commits = bare_commits(floor, trade())
    chains, mathematics, plain, trades, syncs = [], [], [], [], []
    for _ in range(rounds + 1):
        chains.append(us_per_call(market.chain, market.step, STEPS))
        mathematics.append(us_per_call(only_mathematics(market.chain()), lambda: None, STEPS))
        plain.append(us_per_call(only_greeks(market.chain()), lambda: None, STEPS))
        trades.append(us_per_call(trade, lambda: None, ORDERS))
        syncs.append(us_per_call(commits, lambda: None, ORDERS))
    return [
        figure(f"chain of {options:,} options", chains, "Greeks and two volatilities", mathematics),
        figure(f"chain of {options:,} options", chains, "Greeks alone", plain),
        figure("order placed and cancelled", trades, "two commits of its rows", syncs),
    ]


def figure(what: str, ours: list[float], floor_name: str, floor: list[float]) -> Figure:
    ours_us, floor_us = median(ours[1:]), median(floor[1:])
    return Figure(what, round(ours_us, 1), floor_name, round(floor_us, 1), round(ours_us / floor_us, 2))


def table(figures: list[Figure]) -> str:
    lines = [f"{'what':<28}{'ours µs':>10}   {'floor':<28}{'floor µs':>10}{'ratio':>8}"]
    lines += [f"{f.what:<28}{f.ours_us:>10,.1f}   {f.floor:<28}{f.floor_us:>10,.1f}{f.ratio:>8.2f}" for f in figures]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print a JSON array instead of the table")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds (default 7)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        floor = BareCommits(Path(directory) / "floor.sqlite3")
        figures = measure(arguments.rounds, floor)
        floor.close()
    rows: list[dict[str, Any]] = [asdict(figure) for figure in figures]
    print(json.dumps(rows, indent=2) if arguments.json else table(figures))


if __name__ == "__main__":
    main()
