"""What market data pays per push, beside the parts that it cannot do without.

    python -m bench.marketdata [--json] [--quick]

1,000 options in ten expiries. In immediate mode each index price and each push of an expiry brings one chain: core
and frame, beside copying the matrix, all Greeks and encoding the message alone. The comparison with the venue is our
implied volatilities of mark, bid and ask and our Greeks, beside the solver and the Greeks alone. A pushed order book
of 100 levels a side goes from the venue's bytes to a frame, beside decoding and encoding the same bytes alone. Ours
and the floors run alternately; figures are medians over the rounds, after one round that is not counted.
"""

import gc
import sys
from collections.abc import Callable
from decimal import Decimal
from statistics import median
from time import perf_counter

import msgspec
import numpy as np

from bench.harness import Run, bench_main
from bench.rows import Row, row
from services.marketdata.books import Books
from services.marketdata.columns import F8
from services.marketdata.config import MarketdataConfig
from services.marketdata.core import MarketdataCore
from services.marketdata.effects import InstrumentsLoaded
from shared.bus.frames import Header, encode_frame
from shared.messages.market import CHAIN_COLUMNS, ChainSnapshot, Instrument
from shared.messages.on_demand import LeaseBooks, OrderBook
from shared.messages.steps import Publish, Step, Tick
from shared.options import black76
from shared.options.chain import matrix_bytes
from shared.options.implied_vol import implied_vol
from shared.options.symbols import NS_PER_DAY, years_to_expiry
from shared.venues.coincall.parse_on_demand import parse_book_frame
from shared.venues.coincall.wire import BookFrame, decode
from shared.venues.ports import ChainPush, IndexPush, OptionQuoteRow

NOW_NS = 1_768_212_000_000_000_000  # 2026-01-12T10:00:00Z
EXPIRIES, STRIKES = 10, 50
INDEX_USD = 100_000.0
ROUNDS, CALLS = 7, 200
SYMBOL = "BTCUSD-27FEB26-100000-C"
HEADER = Header(publisher="marketdata", epoch=1, sequence=1, message_id="m", cause_id="", published_ns=NOW_NS)


def listed() -> tuple[Instrument, ...]:
    options = []
    for number in range(1, EXPIRIES + 1):
        expiry_ns = NOW_NS + 7 * number * NS_PER_DAY
        for strike in range(75_000, 75_000 + 1_000 * STRIKES, 1_000):
            options += [
                Instrument(
                    symbol=f"BTCUSD-{number}-{strike}-{kind}",
                    underlying="BTCUSD",
                    option_type="C" if kind == "C" else "P",
                    strike=Decimal(strike),
                    expiry_ns=expiry_ns,
                    last_trade_ns=expiry_ns,
                    tick_size=Decimal("0.1"),
                    lot_size=Decimal("0.01"),
                    min_quantity=Decimal("0.01"),
                    max_quantity=Decimal(100),
                )
                for kind in ("C", "P")
            ]
    return tuple(options)


def pushes(options: tuple[Instrument, ...]) -> list[ChainPush]:
    """The chain of each expiry, priced at 50 %."""
    found = []
    for expiry_ns in sorted({option.expiry_ns for option in options}):
        rows = []
        years = years_to_expiry(NOW_NS, expiry_ns)
        for option in (each for each in options if each.expiry_ns == expiry_ns):
            mark = float(black76.price(INDEX_USD, float(option.strike), years, 0.5, option.option_type == "C"))
            values = dict.fromkeys(CHAIN_COLUMNS, 1.0) | {
                "bid": mark * 0.99,
                "ask": mark * 1.01,
                "mark": mark,
                "mark_iv": 0.5,
                "forward": INDEX_USD,
            }
            rows.append(OptionQuoteRow(symbol=option.symbol, **values))
        found.append(ChainPush(underlying="BTCUSD", expiry_ns=expiry_ns, venue_ns=1, rows=tuple(rows)))
    return found


def loaded(config: MarketdataConfig, options: tuple[Instrument, ...]) -> MarketdataCore:
    core = MarketdataCore(config)
    core.handle(InstrumentsLoaded(underlying="BTCUSD", instruments=options), NOW_NS)
    for push in pushes(options):
        core.handle(push, NOW_NS)
    return core


def framed(step: Step) -> list[bytes]:
    return [encode_frame(each.topic, HEADER, each.message) for each in step.effects if isinstance(each, Publish)]


def immediate_chain(options: tuple[Instrument, ...]) -> Callable[[int], object]:
    core = loaded(MarketdataConfig(immediate=True), options)

    def work(call: int) -> object:
        push = IndexPush(underlying="BTCUSD", price=INDEX_USD + call % 7, venue_ns=call)
        frames = framed(core.handle(push, NOW_NS + call))
        assert len(frames) == 2, "the index and the chain"
        return frames

    return work


def only_the_chain(options: tuple[Instrument, ...]) -> Callable[[int], object]:
    """One copy of the matrix, all Greeks, one message."""
    forward, strikes, years, vol, is_call, matrix = arrays(options)

    def work(call: int) -> object:
        shown = matrix.copy()
        ours = black76.greeks(forward, strikes, years, vol, is_call)
        shown[8:13] = ours.delta, ours.gamma, ours.vega, ours.theta, ours.rho
        chain = ChainSnapshot(
            underlying="BTCUSD",
            list_id="l",
            venue_ns=call,
            received_ns=call,
            index_price=INDEX_USD,
            index_received_ns=call,
            matrix=matrix_bytes(shown),
        )
        return encode_frame("md.BTCUSD.chain", HEADER, chain)

    return work


def arrays(
    options: tuple[Instrument, ...],
) -> tuple[F8, F8, F8, F8, "np.ndarray[tuple[int], np.dtype[np.bool_]]", F8]:
    """Forward, strikes, years, volatility, whether a call, and a matrix of a chain."""
    count = len(options)
    strikes = np.array([float(option.strike) for option in options])
    years = years_to_expiry(NOW_NS, np.array([option.expiry_ns for option in options], dtype=np.int64))
    is_call = np.array([option.option_type == "C" for option in options])
    return (
        np.full(count, INDEX_USD),
        strikes,
        years,
        np.full(count, 0.5),
        is_call,
        np.full((len(CHAIN_COLUMNS), count), 1.0),
    )


def comparison(options: tuple[Instrument, ...]) -> Callable[[int], object]:
    """Ticks that are due for nothing but the comparison."""
    config = MarketdataConfig(
        comparison_interval_ms=100, publish_interval_ms=60_000, expiry_age_max_ms=10**9, own_greeks=False
    )
    core = loaded(config, options)
    core.handle(IndexPush(underlying="BTCUSD", price=INDEX_USD, venue_ns=1), NOW_NS)

    def work(call: int) -> object:
        frames = framed(core.handle(Tick(), NOW_NS + call * 100_000_000))
        assert frames, "the comparison"
        return frames

    return work


def only_the_solver(options: tuple[Instrument, ...]) -> Callable[[int], object]:
    forward, strikes, years, vol, is_call, _ = arrays(options)
    mark = black76.price(forward, strikes, years, vol, is_call)
    prices = np.stack([mark, mark * 0.99, mark * 1.01])
    return lambda _call: (
        implied_vol(prices, forward, strikes, years, is_call),
        black76.greeks(forward, strikes, years, vol, is_call),
    )


def pushed_book() -> bytes:
    def side(first: Decimal, step: Decimal) -> list[dict[str, str]]:
        return [{"pr": f"{first + step * level}", "sz": f"{Decimal(level + 1) / 100}"} for level in range(100)]

    tick = Decimal("0.5")
    book = {"s": SYMBOL, "asks": side(Decimal(2_500), tick), "bids": side(Decimal(2_490), -tick), "ts": 1}
    return msgspec.json.encode(book)


def book_to_frame() -> Callable[[int], object]:
    books, data = Books(MarketdataConfig()), pushed_book()
    ask = LeaseBooks(consumer="bench", symbols=(SYMBOL,), lease_ms=60_000)
    books.lease(Step(), "r", ask, lambda _symbol: None, NOW_NS)

    def work(call: int) -> object:
        books.on_push(step := Step(), parse_book_frame(data, 1), NOW_NS + call)
        frames = framed(step)
        assert len(frames) == 1
        return frames

    return work


def only_decode_and_encode() -> Callable[[int], object]:
    data, levels = pushed_book(), np.full((2, 100), 1.0).tobytes()

    def work(call: int) -> object:
        decode(BookFrame, data)
        book = OrderBook(
            symbol=SYMBOL,
            underlying="BTCUSD",
            venue_ns=1,
            received_ns=call,
            source="stream",
            missing="",
            bids=levels,
            asks=levels,
        )
        return encode_frame(f"book.BTCUSD.{SYMBOL}", HEADER, book)

    return work


def us_per_call(work: Callable[[int], object], first: int, calls: int) -> float:
    begin = perf_counter()
    for call in range(first, first + calls):
        work(call)
    return (perf_counter() - begin) / calls * 1e6


def compare(name: str, ours: Callable[[int], object], beside: str, floor: Callable[[int], object], run: Run) -> Row:
    calls = 20 if run.quick else CALLS
    times = [
        (us_per_call(ours, 1 + number * calls, calls), us_per_call(floor, 1 + number * calls, calls))
        for number in run.rounds(ROUNDS + 1, name, quick=2)
    ][1:]
    return row(name, median(t[0] for t in times), "µs", beside=beside, beside_value=median(t[1] for t in times))


def measure(run: Run) -> list[Row]:
    gc.disable()
    options = listed()
    assert len(options) == 1_000
    return [
        compare(
            "an index price to a chain of 1,000, immediate",
            immediate_chain(options),
            "copy, Greeks, encode",
            only_the_chain(options),
            run,
        ),
        compare(
            "1,000 options compared with the venue's",
            comparison(options),
            "solver and Greeks",
            only_the_solver(options),
            run,
        ),
        compare(
            "a pushed book of 2 x 100 levels",
            book_to_frame(),
            "decode, encode",
            only_decode_and_encode(),
            run,
        ),
    ]


if __name__ == "__main__":
    sys.exit(bench_main(__doc__, measure))
