"""Marks, Greeks and makers' quotes of one base at the current step, computed when asked and kept for the step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from services.exchange.config import BaseConfig
from services.exchange.ladder import (
    Draws,
    Tops,
    consume,
    draw,
    ladder,
    level_factors,
    open_interest_lots,
    quote_tops,
    still_consumed,
)
from services.exchange.listing import Listing
from services.exchange.market import NS_PER_YEAR, IndexPath
from services.exchange.model import F8, I8, Level, Side
from services.exchange.surface import MIN_YEARS, forward, vol
from services.exchange.tape import DayFigures, Tape, TapeDay
from shared.options import years_to_expiry
from shared.options.black76 import greeks
from shared.options.implied_vol import implied_vol
from shared.weakly import weakly

_ALL_AT_ONCE = 200
"""Up to so many options are computed together whichever is asked for: a few of them take as long."""

_ALL = slice(None)
Consumed = Mapping[tuple[str, Side], tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Values of n options at one step, arrays (n,); Greeks as in `shared.options.black76.Greeks`."""

    underlying: F8
    mark: F8
    mark_iv: F8
    delta: F8
    gamma: F8
    vega: F8
    theta: F8
    rho: F8
    tops: Tops


@dataclass(frozen=True, slots=True)
class Quote:
    """One option at the current step."""

    row: int
    index_price: Decimal
    underlying: float
    years: float
    mark: float
    mark_iv: float
    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


class BaseMarket:
    """The market of one base. `move_to` sets the step; everything else answers for it."""

    def __init__(self, config: BaseConfig, path: IndexPath, listing: Listing, origin_ns: int, step_ns: int) -> None:
        """Step 0 is at `origin_ns`."""
        self.config = config
        self.path = path
        self.listing = listing
        self._tick = float(config.tick_size)
        self._tick_ratio = config.tick_size.as_integer_ratio()
        self._lot_ratio = config.min_quantity.as_integer_ratio()
        self._open_marks: tuple[tuple[int, int], F8] | None = None
        self._interest: tuple[int, F8] | None = None
        self._drawn: tuple[tuple[int, int], Draws] | None = None
        self._level_factors: tuple[int, dict[tuple[int, Side], F8]] = (0, {})
        self._origin_ns = origin_ns
        self._step_ns = step_ns
        self.tape = Tape(config.tape, listing, path, weakly(self.tops_at), origin_ns, step_ns)
        self._tape_day = TapeDay(self.tape, listing, path, origin_ns, step_ns)
        self.move_to(0, 0)

    def move_to(self, step: int, at_ns: int) -> None:
        """Set the current step and its time."""
        self.step = step
        self.at_ns = at_ns
        self.index = self.path.price(step)
        self.forget()

    def forget(self) -> None:
        """Drop what was computed for the step: the list of options changed."""
        self._full: Columns | None = None
        self._quotes: dict[str, Quote] = {}
        self._singles: dict[str, tuple[int, Columns, int]] = {}
        self._ladders: dict[tuple[str, Side], list[tuple[int, int]]] = {}
        """Before consumption."""

        self._implied: dict[tuple[str, Decimal], float | None] = {}

    @property
    def index_price(self) -> Decimal:
        return self.path.exact_price(self.step)

    def columns(self) -> Columns:
        """All listed options, rows as in the listing."""
        if self._full is None:
            self._full = self._compute(_ALL, self.step, self.at_ns)
        return self._full

    def prepare(self, symbols: Sequence[str]) -> None:
        """Compute several options in one go, before they are asked for one by one."""
        if self._full is not None:
            return
        if len(self.listing.instruments) <= _ALL_AT_ONCE:
            self.columns()
            return
        missing = {
            symbol: row
            for symbol in symbols
            if symbol not in self._singles and (row := self.listing.row(symbol)) is not None
        }
        if missing:
            rows = np.fromiter(missing.values(), dtype=np.int64)
            columns = self._compute(rows, self.step, self.at_ns)
            for position, (symbol, row) in enumerate(missing.items()):
                self._singles[symbol] = (position, columns, row)

    def quote(self, symbol: str) -> Quote | None:
        """One option; None when it is not listed."""
        known = self._quotes.get(symbol)
        if known is not None:
            return known
        found = self._find(symbol)
        if found is None:
            return None
        at, columns, row = found
        quote = self._quotes[symbol] = Quote(
            row=row,
            index_price=self.index_price,
            underlying=float(columns.underlying[at]),
            years=years_to_expiry(self.at_ns, int(self.listing.expiry_ns[row])),
            mark=float(columns.mark[at]),
            mark_iv=float(columns.mark_iv[at]),
            delta=float(columns.delta[at]),
            gamma=float(columns.gamma[at]),
            vega=float(columns.vega[at]),
            theta=float(columns.theta[at]),
            rho=float(columns.rho[at]),
        )
        return quote

    def makers(self, symbol: str, side: Side, consumed: Consumed) -> list[Level]:
        """One side of the makers' ladder, best first; empty for an unlisted option."""
        lot = self.config.min_quantity
        tick = self.config.tick_size
        return [Level(ticks * tick, lots * lot) for ticks, lots in self._ladder(symbol, side, consumed)]

    def top_price(self, symbol: str, side: Side) -> Decimal | None:
        """The makers' best price of one side before consumption, so never worse than the real one."""
        found = self._find(symbol)
        if found is None:
            return None
        at, columns, _ = found
        ticks = int((columns.tops.bid_ticks if side is Side.BUY else columns.tops.ask_ticks)[at])
        return ticks * self.config.tick_size if ticks else None

    def tops_at(self, rows: I8, steps: I8) -> Tops:
        """The makers' best quotes of some rows, each at its own step, before consumption; arrays (n,)."""
        listing, surface = self.listing, self.config.surface
        index, level = self.path.at_steps(steps)
        at_ns = self._origin_ns + steps * self._step_ns
        years = np.maximum((listing.expiry_ns[rows] - at_ns) / NS_PER_YEAR, MIN_YEARS)
        underlying = forward(surface, index, years)
        mark_iv = vol(surface, level, listing.log_strike[rows] - np.log(underlying), years)
        values = greeks(underlying, listing.strike[rows], years, mark_iv, listing.is_call[rows])
        draws = draw(self.config.ladder, listing.keys[rows], steps // self.config.ladder.requote_steps)
        mark = np.maximum(values.price, 0.0)
        return quote_tops(self.config.ladder, draws, mark, values.delta, values.vega, self._tick)

    def has_moved(self, since_ns: int, pct: float) -> bool:
        """Whether the index is more than so many per cent from where it was at the step of an earlier instant."""
        before = self.path.price(max(since_ns - self._origin_ns, 0) // self._step_ns)
        return abs(self.index / before - 1.0) * 100.0 > pct

    def time_of(self, step: int) -> int:
        """UTC nanoseconds of a step."""
        return self._origin_ns + step * self._step_ns

    def tape_day(self) -> DayFigures:
        """What the public tape printed this UTC day until the current step, rows as in the listing."""
        return self._tape_day.at(self.step)

    def tape_volume_and_last(self) -> tuple[F8, F8]:
        """Traded quantity today and last price (NaN without one) of the tape, all options; fresh arrays."""
        day = self.tape_day()
        return self._sizes(day.lots), np.where(day.last_step >= 0, self._prices(day.last_ticks), np.nan)

    def missing_lots(self, symbol: str, side: Side, consumed: Consumed) -> int:
        """Lots of that side that were consumed and are not back yet."""
        entry = consumed.get((symbol, side))
        if entry is None:
            return 0
        return still_consumed(*entry, self.step, self.config.ladder.replenish_steps)

    def lot_of(self, symbol: str) -> Decimal:
        """Step of quantities of an option of this base, which all have the same."""
        return self.config.min_quantity

    def best_of_chain(self, consumed: Consumed) -> tuple[F8, F8, F8, F8]:
        """Makers' bid, ask, bid size and ask size of all options, 0 where empty; fresh arrays."""
        tops = self.columns().tops
        bid, ask = tops.bid_ticks.copy(), tops.ask_ticks.copy()
        bid_lots, ask_lots = tops.bid_lots.copy(), tops.ask_lots.copy()
        for symbol, side in consumed:
            row = self.listing.row(symbol)
            if row is None or not self.missing_lots(symbol, side, consumed):
                continue
            left = self._ladder(symbol, side, consumed)
            ticks, lots = left[0] if left else (0, 0)
            if side is Side.BUY:
                bid[row], bid_lots[row] = ticks, lots
            else:
                ask[row], ask_lots[row] = ticks, lots
        return self._prices(bid), self._prices(ask), self._sizes(bid_lots), self._sizes(ask_lots)

    def implied(self, prices: F8) -> F8:
        """Volatilities of prices of the listed options, shape (..., n); NaN where there is none or the price is 0."""
        listing, columns = self.listing, self.columns()
        years = years_to_expiry(self.at_ns, listing.expiry_ns)
        result = implied_vol(
            np.where(prices > 0, prices, np.nan), columns.underlying, listing.strike, years, listing.is_call
        )
        return np.where(result.ok, result.vol, np.nan)

    def implied_of(self, symbol: str, price: Decimal) -> float | None:
        """Volatility of one price; None where none gives it. Of one step it is solved once for a price, at which
        many orders may rest."""
        quote = self.quote(symbol)
        if quote is None:
            return None
        key = symbol, price
        if key not in self._implied:
            listing, row = self.listing, quote.row
            result = implied_vol(
                float(price), quote.underlying, listing.strike[row], quote.years, listing.is_call[row]
            )
            self._implied[key] = float(result.vol) if bool(result.ok) else None
        return self._implied[key]

    def open_marks(self, first_step: int, first_ns: int) -> F8:
        """Marks of all options at an earlier step, such as 00:00 UTC; kept until step or list change."""
        key = (first_step, self.listing.version)
        if self._open_marks is None or self._open_marks[0] != key:
            self._open_marks = (key, self._compute(_ALL, first_step, first_ns).mark)
        return self._open_marks[1]

    def open_interest(self) -> F8:
        """Open interest of others, base coins, all options."""
        if self._interest is None or self._interest[0] != self.listing.version:
            lots = open_interest_lots(self.config.ladder, self.listing.keys)
            self._interest = (self.listing.version, self._sizes(lots))
        return self._interest[1]

    def _find(self, symbol: str) -> tuple[int, Columns, int] | None:
        """Position in, columns of and row in the listing of one option."""
        row = self.listing.row(symbol)
        if row is None:
            return None
        if self._full is None and symbol not in self._singles:
            self.prepare((symbol,))
        return self._singles[symbol] if self._full is None else (row, self._full, row)

    def _ladder(self, symbol: str, side: Side, consumed: Consumed) -> list[tuple[int, int]]:
        levels = self._ladders.get((symbol, side))
        if levels is None:
            found = self._find(symbol)
            if found is None:
                return []
            at, columns, row = found
            factors = self._factors(int(self.listing.keys[row]), side)
            levels = self._ladders[symbol, side] = ladder(self.config.ladder, columns.tops, at, side, factors)
        return consume(levels, self.missing_lots(symbol, side, consumed))

    def _compute(self, rows: I8 | slice, step: int, at_ns: int) -> Columns:
        """Values of some rows of the listing. Elements do not depend on which others are computed with them."""
        listing, surface = self.listing, self.config.surface
        index = self.index if step == self.step else self.path.price(step)
        strike, is_call, group = listing.strike[rows], listing.is_call[rows], listing.expiry_of[rows]
        years = np.maximum(years_to_expiry(at_ns, listing.expiry_grid), MIN_YEARS)
        forwards = forward(surface, index, years)
        underlying = forwards[group]
        log_moneyness = listing.log_strike[rows] - np.log(forwards)[group]
        mark_iv = vol(surface, self.path.level(step), log_moneyness, years[group])
        values = greeks(underlying, strike, years[group], mark_iv, is_call)
        mark = np.maximum(values.price, 0.0)
        draws = self._draws(step // self.config.ladder.requote_steps).of(rows)
        tops = quote_tops(self.config.ladder, draws, mark, values.delta, values.vega, self._tick)
        return Columns(
            underlying=underlying,
            mark=mark,
            mark_iv=mark_iv,
            delta=values.delta,
            gamma=values.gamma,
            vega=values.vega,
            theta=values.theta,
            rho=values.rho,
            tops=tops,
        )

    def _draws(self, epoch: int) -> Draws:
        """The random part of all options' quotes, drawn once per epoch and list."""
        key = (epoch, self.listing.version)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = (key, draw(self.config.ladder, self.listing.keys, epoch))
        return self._drawn[1]

    def _factors(self, key: int, side: Side) -> F8:
        """The random part of one side's sizes, drawn once per epoch."""
        config = self.config.ladder
        epoch = self.step // config.requote_steps
        if self._level_factors[0] != epoch:
            self._level_factors = (epoch, {})
        drawn = self._level_factors[1]
        found = drawn.get((key, side))
        if found is None:
            found = drawn[key, side] = level_factors(config, key, side, epoch)
        return found

    def _prices(self, ticks: I8) -> F8:
        """Ticks as the nearest floats of their exact decimals, so that their repr is the price."""
        numerator, denominator = self._tick_ratio
        result: F8 = (ticks * numerator) / float(denominator)
        return result

    def _sizes(self, lots: I8) -> F8:
        numerator, denominator = self._lot_ratio
        result: F8 = (lots * numerator) / float(denominator)
        return result
