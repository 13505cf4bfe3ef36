"""Perpetuals, dated futures and spot: which exist, their marks, their makers' quotes, the public tape.

All of it is a pure function of seed, symbol and step, as with options. The perpetual's premium over the index moves
linearly between values drawn for each full hour; a dated future stands at the forward of its expiry, spot at the
index. Quotes are those of `ladder.py` around the mark.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from services.exchange.accounts import ID_EPOCH_MS, ID_SEQUENCE_BITS
from services.exchange.config import BaseConfig, FuturesConfig, SpotConfig
from services.exchange.klines import NS, Period, bar_starts, next_bar_start
from services.exchange.ladder import Tops, consume, draw, ladder, level_factors, quote_tops, still_consumed, uniform
from services.exchange.listing import (
    date_of,
    friday_expiries,
    month_end_expiries,
    option_id,
    quarter_end_expiries,
)
from services.exchange.market import NS_PER_YEAR, stream_key
from services.exchange.model import F8, I8, KLine, Level, MarketTrade, Side
from services.exchange.quotes import BaseMarket, Consumed
from services.exchange.surface import MIN_YEARS, forward
from services.exchange.switches import Switches
from shared.options.instruments import InstrumentKind, base_of, format_future_symbol

HOUR_NS = 3_600 * NS
FUNDING_PERIOD_NS = 8 * HOUR_NS
INTEREST_RATE = 0.0001
INTEREST_BOUND = 0.0005
RATE_STEP = Decimal("0.00000001")
SAMPLES_PER_BAR = 60
_PREMIUM, _PRINT, _SIZE = range(11, 14)


def next_funding_time(after_ns: int) -> int:
    """The first 00:00, 08:00 or 16:00 UTC strictly after `after_ns`."""
    return (after_ns // FUNDING_PERIOD_NS + 1) * FUNDING_PERIOD_NS


@dataclass(frozen=True, slots=True)
class Contract:
    """A perpetual, a dated future or a pair of spot; `expiry_ns` of dated futures."""

    contract_id: int
    symbol: str
    kind: InstrumentKind
    base: str
    expiry_ns: int | None
    config: FuturesConfig | SpotConfig

    @property
    def tick_size(self) -> Decimal:
        return self.config.tick_size

    @property
    def min_quantity(self) -> Decimal:
        return self.config.min_quantity

    @property
    def futures(self) -> FuturesConfig:
        assert isinstance(self.config, FuturesConfig), self.symbol
        return self.config


class ContractMarket:
    """The contracts of one base at the step of its option market, which moves it."""

    def __init__(self, market: BaseMarket, seed: int, origin_ns: int, step_ns: int, switches: Switches) -> None:
        self._switches = switches
        self._market = market
        self._seed = seed
        self._origin_ns = origin_ns
        self._step_ns = step_ns
        base, config = market.config.base, market.config
        self._standing = (
            _contract(f"{base}USD", "perpetual", config, None),
            _contract(f"{base}USDT", "spot", config, None),
        )
        self._by_symbol: dict[str, Contract] = {}
        self._tops: tuple[int, dict[str, Tops]] = (-1, {})
        self._keys: dict[str, int] = {}
        self._days: dict[str, tuple[int, Sequence[KLine]]] = {}
        self.roll(origin_ns)

    @property
    def step(self) -> int:
        return self._market.step

    @property
    def index_price(self) -> Decimal:
        return self._market.index_price

    @property
    def contracts(self) -> Sequence[Contract]:
        """The perpetual, spot, then dated futures by expiry."""
        return tuple(self._by_symbol.values())

    def roll(self, at_ns: int) -> list[str]:
        """List the dated futures of an instant; the symbols that have gone."""
        config = self._market.config
        by_month = self._switches.dated_cycle == "months_and_quarters"
        near = month_end_expiries(at_ns) if by_month else friday_expiries(at_ns)
        dated = {
            *near[: config.futures.months],
            *quarter_end_expiries(at_ns)[: config.futures.quarters],
        }
        futures = [
            _contract(_dated_symbol(config.base, expiry_ns, self._switches), "future", config, expiry_ns)
            for expiry_ns in sorted(dated)
        ]
        before = set(self._by_symbol)
        self._by_symbol = {contract.symbol: contract for contract in (*self._standing, *futures)}
        return sorted(before - self._by_symbol.keys())

    def contract(self, symbol: str) -> Contract | None:
        return self._by_symbol.get(symbol)

    def mark(self, contract: Contract, step: int | None = None) -> Decimal:
        """The mark at a step (the current one), USD on the tick."""
        at = np.array([self.step if step is None else step], dtype=np.int64)
        return self._on_tick(contract, float(self._marks(contract, at)[0]))

    def index_at(self, step: int) -> Decimal:
        return self._market.path.exact_price(step)

    def premium(self, at_ns: int) -> float:
        """The perpetual's premium over the index, a fraction."""
        return float(self._premiums(np.array([at_ns], dtype=np.int64))[0])

    def funding_rate(self, end_ns: int) -> Decimal:
        """The rate of the funding at `end_ns`, from the premium of the eight hours before it:
        clamp(mean + clamp(0.01 % - mean, 0.05 %), bound). Source: the venue's contract specification."""
        hours = np.arange(end_ns - FUNDING_PERIOD_NS, end_ns + 1, HOUR_NS, dtype=np.int64)
        values = self._premiums(hours)
        mean = float((values[:-1] + values[1:]).mean() / 2.0)
        bound = self._market.config.futures.funding_bound_pct / 100.0
        rate = mean + min(max(INTEREST_RATE - mean, -INTEREST_BOUND), INTEREST_BOUND)
        return Decimal(repr(min(max(rate, -bound), bound))).quantize(RATE_STEP)

    def makers(self, symbol: str, side: Side, consumed: Consumed) -> list[Level]:
        """One side of the makers' ladder, best first; empty for a contract that is not listed."""
        contract = self._by_symbol.get(symbol)
        if contract is None:
            return []
        config = contract.config.ladder
        factors = level_factors(config, self._key(symbol), side, self.step // config.requote_steps)
        levels = consume(
            ladder(config, self._top(contract), 0, side, factors), self.missing_lots(symbol, side, consumed)
        )
        return [Level(ticks * contract.tick_size, lots * contract.min_quantity) for ticks, lots in levels]

    def top_price(self, symbol: str, side: Side) -> Decimal | None:
        """The makers' best price of one side before consumption."""
        contract = self._by_symbol.get(symbol)
        if contract is None:
            return None
        tops = self._top(contract)
        ticks = int((tops.bid_ticks if side is Side.BUY else tops.ask_ticks)[0])
        return ticks * contract.tick_size if ticks else None

    def missing_lots(self, symbol: str, side: Side, consumed: Consumed) -> int:
        """Lots of that side that were consumed and are not back yet."""
        entry = consumed.get((symbol, side))
        contract = self._by_symbol.get(symbol)
        if entry is None or contract is None:
            return 0
        return still_consumed(*entry, self.step, contract.config.ladder.replenish_steps)

    def lot_of(self, symbol: str) -> Decimal:
        return self._by_symbol[symbol].min_quantity

    def prints(self, contract: Contract, first_step: int, end_step: int) -> list[MarketTrade]:
        """What the public tape printed in [first_step, end_step), by time."""
        every = self._print_every(contract)
        steps = np.arange(max(-(-first_step // every), 0), -(-end_step // every), dtype=np.int64) * every
        if not len(steps):
            return []
        prices, lots, buys = self._printed(contract, steps)
        return [
            MarketTrade(
                self._print_id(step),
                contract.symbol,
                Side.BUY if buy else Side.SELL,
                self._on_tick(contract, price),
                lot * contract.min_quantity,
                self._origin_ns + step * self._step_ns,
            )
            for step, price, lot, buy in zip(
                steps.tolist(), prices.tolist(), lots.tolist(), buys.tolist(), strict=True
            )
        ]

    def newest_prints(self, contract: Contract, count: int) -> list[MarketTrade]:
        """The last trades of the tape, by time."""
        every = self._print_every(contract)
        return self.prints(contract, self.step - count * every, self.step + 1)[-count:]

    def klines(self, contract: Contract, period: Period, first_ns: int, end_ns: int, count: int) -> list[KLine]:
        """Bars of the tape that start within [first_ns, end_ns], the newest `count`; extremes and volume are those of
        at most 60 trades of a bar, evenly chosen, the volume scaled to all."""
        every = self._print_every(contract)
        bars = []
        for start_ns in bar_starts(first_ns, end_ns, period, count):
            first = max(-(-(start_ns - self._origin_ns) // self._step_ns), 0)
            end = min(-(-(next_bar_start(start_ns, period) - self._origin_ns) // self._step_ns), self.step + 1)
            numbers = np.arange(-(-first // every), -(-end // every), dtype=np.int64)
            if not len(numbers):
                continue
            chosen = np.unique(np.linspace(0, len(numbers) - 1, SAMPLES_PER_BAR).astype(np.int64))
            prices, lots, _ = self._printed(contract, numbers[chosen] * every)
            volume = round(int(lots.sum()) * len(numbers) / len(chosen)) * contract.min_quantity
            low, high = float(prices.min()), float(prices.max())
            o, h, lo, c = (self._on_tick(contract, float(each)) for each in (prices[0], high, low, prices[-1]))
            bars.append(KLine(contract.symbol, period, start_ns, o, h, lo, c, volume))
        return bars

    def day_bars(self, contract: Contract) -> Sequence[KLine]:
        """The hours of the last day, looked at once a minute."""
        minute = self._market.at_ns // (60 * NS)
        kept = self._days.get(contract.symbol)
        if kept is None or kept[0] != minute:
            bars = self.klines(contract, "h1", self._market.at_ns - 24 * HOUR_NS, self._market.at_ns, 25)
            kept = self._days[contract.symbol] = (minute, bars)
        return kept[1]

    def _print_every(self, contract: Contract) -> int:
        return max(contract.config.trade_every_s * NS // self._step_ns, 1)

    def _print_id(self, step: int) -> int:
        at_ms = (self._origin_ns + step * self._step_ns) // 1_000_000
        return ((at_ms - ID_EPOCH_MS) << ID_SEQUENCE_BITS) | (1 << (ID_SEQUENCE_BITS - 1))

    def _printed(self, contract: Contract, steps: I8) -> tuple[F8, I8, I8]:
        """Price, lots and whether the taker bought, of the trades at some steps."""
        keys = np.full(len(steps), self._key(contract.symbol), dtype=np.uint64)
        buys: I8 = (uniform(keys, _PRINT, steps) < 0.5).astype(np.int64)
        half = contract.config.ladder.half_spread_min_pct / 100.0
        prices = self._marks(contract, steps) * (1.0 + np.where(buys, half, -half))
        lots: I8 = np.maximum(
            np.rint(contract.config.ladder.level_lots * 0.2 * uniform(keys, _SIZE, steps)), 1.0
        ).astype(np.int64)
        return prices, lots, buys

    def _marks(self, contract: Contract, steps: I8) -> F8:
        index, _ = self._market.path.at_steps(steps)
        at_ns = self._origin_ns + steps * self._step_ns
        if contract.kind == "perpetual":
            return np.asarray(index * (1.0 + self._premiums(at_ns)), dtype=np.float64)
        if contract.expiry_ns is None:
            return index
        years = np.maximum((contract.expiry_ns - at_ns) / NS_PER_YEAR, MIN_YEARS)
        return np.asarray(forward(self._market.config.surface, index, years), dtype=np.float64)

    def _premiums(self, at_ns: I8) -> F8:
        key = self._key(f"{self._market.config.base}USD")
        hours, into = at_ns // HOUR_NS, (at_ns % HOUR_NS) / HOUR_NS
        keys = np.full(len(at_ns), key, dtype=np.uint64)
        before, after = uniform(keys, _PREMIUM, hours), uniform(keys, _PREMIUM, hours + 1)
        share = before * (1.0 - into) + after * into
        return np.asarray((share - 0.5) * 2.0 * self._market.config.futures.premium_pct / 100.0, dtype=np.float64)

    def _top(self, contract: Contract) -> Tops:
        if self._tops[0] != self.step:
            self._tops = (self.step, {})
        found = self._tops[1].get(contract.symbol)
        if found is None:
            config, one = contract.config.ladder, np.ones(1)
            keys = np.array([self._key(contract.symbol)], dtype=np.uint64)
            draws = draw(config, keys, self.step // config.requote_steps)
            mark = self._marks(contract, np.array([self.step], dtype=np.int64))
            found = quote_tops(config, draws, mark, one * 0.5, one * 0.0, float(contract.tick_size))
            self._tops[1][contract.symbol] = found
        return found

    def _key(self, symbol: str) -> int:
        key = self._keys.get(symbol)
        if key is None:
            key = self._keys[symbol] = stream_key(self._seed, symbol)
        return key

    def _on_tick(self, contract: Contract, price: float) -> Decimal:
        tick = contract.tick_size
        ticks = (Decimal(repr(price)) / tick).to_integral_value("ROUND_HALF_EVEN")
        return Decimal(format(max(ticks, Decimal(1)) * tick, "f"))


class Contracts:
    """All contracts by symbol."""

    def __init__(self, markets: Mapping[str, ContractMarket]) -> None:
        self._markets = markets

    def find(self, symbol: str) -> tuple[ContractMarket, Contract] | None:
        """A listed contract and its market."""
        market = self._markets.get(base_of(symbol))
        contract = None if market is None else market.contract(symbol)
        return None if market is None or contract is None else (market, contract)

    def need(self, symbol: str) -> tuple[ContractMarket, Contract]:
        found = self.find(symbol)
        assert found is not None, f"{symbol} is held or ordered but not listed"
        return found

    def of_kind(self, *kinds: InstrumentKind) -> Iterable[tuple[ContractMarket, Contract]]:
        for market in self._markets.values():
            for contract in market.contracts:
                if contract.kind in kinds:
                    yield market, contract

    def roll(self, at_ns: int) -> list[str]:
        return [symbol for market in self._markets.values() for symbol in market.roll(at_ns)]


def _dated_symbol(base: str, expiry_ns: int, switches: Switches) -> str:
    day = date_of(expiry_ns)
    symbol = format_future_symbol(base, day)
    match switches.dated_symbol:
        case "padded":
            return symbol.replace("-", "-0") if day.day < 10 else symbol
        case "usdt":
            return symbol.replace("USD-", "USDT-")
        case "plain":
            return symbol


def _contract(symbol: str, kind: InstrumentKind, config: BaseConfig, expiry_ns: int | None) -> Contract:
    section = config.spot if kind == "spot" else config.futures
    return Contract(option_id(symbol) % 10**9, symbol, kind, config.base, expiry_ns, section)
