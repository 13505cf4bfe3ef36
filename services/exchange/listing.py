"""Which options exist: expiries at 08:00 UTC, strikes on a grid around the index, ids derived from symbols.

Every day at 08:00 UTC what expired goes, missing expiries are listed, and strikes are added around the index (the
wings only when the expiry is new); listed strikes stay until they expire. The list is therefore a function of
configuration, start and path of the index.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from services.exchange.config import BaseConfig, ListingConfig
from services.exchange.ladder import U8
from services.exchange.market import stream_key
from services.exchange.model import F8, I8, Instrument
from shared.options import format_option_symbol

NS_PER_DAY = 86_400 * 1_000_000_000
EXPIRY_OF_DAY_NS = NS_PER_DAY // 3
FRIDAY = 4
FRIDAYS = 53
WING_GROWTH = 1.3
# Strike spacing widens beyond these times to expiry.
GROUP_LIMITS_NS = (3 * NS_PER_DAY, 35 * NS_PER_DAY, 123 * NS_PER_DAY)
_FIRST_OPTION_ID = 10**18
# Of the finest strike step: where the strikes of the first, second ... expiry of one date lie between its grid.
_SHIFTS = (Decimal(0), Decimal("0.5"), Decimal("0.25"), Decimal("0.75"))


def next_expiry_time(after_ns: int) -> int:
    """The first 08:00 UTC strictly after `after_ns`."""
    return (after_ns - EXPIRY_OF_DAY_NS) // NS_PER_DAY * NS_PER_DAY + NS_PER_DAY + EXPIRY_OF_DAY_NS


def is_daily(expiry_ns: int) -> bool:
    """Weeklies and longer expire on Fridays; every other expiry is a daily."""
    return date_of(expiry_ns).weekday() != FRIDAY


def listed_expiries(config: ListingConfig, at_ns: int) -> tuple[int, ...]:
    """Regular expiries that are listed at `at_ns`, ascending; all strictly later."""
    first = next_expiry_time(at_ns)
    result = {first + day * NS_PER_DAY for day in range(config.dailies)}
    result.update(friday_expiries(at_ns)[: config.weeklies])
    result.update(month_end_expiries(at_ns)[: config.monthlies])
    result.update(quarter_end_expiries(at_ns)[: config.quarterlies])
    return tuple(sorted(result))


def friday_expiries(at_ns: int) -> list[int]:
    """08:00 UTC of the next Fridays of about a year, strictly after `at_ns`, ascending."""
    first = next_expiry_time(at_ns)
    friday = first + (FRIDAY - date_of(first).weekday()) % 7 * NS_PER_DAY
    return [friday + week * 7 * NS_PER_DAY for week in range(FRIDAYS)]


def month_end_expiries(at_ns: int) -> list[int]:
    """08:00 UTC of the last Friday of each of the next two years' months, strictly after `at_ns`, ascending."""
    first = next_expiry_time(at_ns)
    return [expiry for expiry in _last_fridays(date_of(first)) if expiry >= first]


def quarter_end_expiries(at_ns: int) -> list[int]:
    """Those of `month_end_expiries` that end a quarter."""
    return [expiry for expiry in month_end_expiries(at_ns) if date_of(expiry).month % 3 == 0]


def strike_grid(config: ListingConfig, index: float, until_expiry_ns: int, wings: int) -> tuple[Decimal, ...]:
    """Strikes to list around `index` with so many further ones on each side, ascending, all above 0."""
    group = sum(until_expiry_ns > limit for limit in GROUP_LIMITS_NS)
    step, dense = config.strike_steps[group], config.strikes_per_side[group]
    distances = [
        *range(dense + 1),
        *(round(dense * WING_GROWTH**wing) + wing for wing in range(1, wings + 1)),
    ]
    centre = max(round(index / float(step)), 1)
    steps = {centre + sign * distance for distance in distances for sign in (1, -1)}
    return tuple(_plain(number * step) for number in sorted(steps) if number > 0)


def option_id(symbol: str) -> int:
    """A 19-digit id below 2^62 that follows from the symbol."""
    digest = hashlib.blake2b(symbol.encode(), digest_size=8).digest()
    return _FIRST_OPTION_ID + int.from_bytes(digest, "little") % (2**62 - _FIRST_OPTION_ID)


class Listing:
    """The listed options of one base, sorted by expiry, strike, call before put; rows of the arrays (n,)."""

    def __init__(self, config: BaseConfig, seed: int) -> None:
        self._config = config
        self._seed = seed
        self._by_symbol: dict[str, Instrument] = {}
        self.version = 0
        self._freeze(())

    def roll(self, at_ns: int, index: float, extra_expiries: Iterable[int]) -> None:
        """Drop what expired at or before `at_ns`, list what is missing around `index`."""
        kept = {symbol: option for symbol, option in self._by_symbol.items() if option.expiry_ns > at_ns}
        regular = listed_expiries(self._config.listing, at_ns)
        extra = tuple(expiry for expiry in extra_expiries if expiry > at_ns and expiry not in regular)
        known = {option.expiry_ns for option in kept.values()}
        for expiry in regular:
            wings = 0 if expiry in known else self._config.listing.wing_strikes
            self._list(kept, expiry, strike_grid(self._config.listing, index, expiry - at_ns, wings), at_ns)
        listed = Counter(date_of(expiry) for expiry in {*regular, *known})
        for expiry in extra:
            if expiry in known:
                continue
            strikes = strike_grid(self._config.listing, index, expiry - at_ns, self._config.listing.wing_strikes)
            # A symbol holds only a date: on a date that is taken, other strikes keep symbols apart.
            shift = self._config.listing.strike_steps[0] * _SHIFTS[listed[date_of(expiry)] % len(_SHIFTS)]
            strikes = tuple(_plain(strike + shift) for strike in strikes)
            listed[date_of(expiry)] += 1
            self._list(kept, expiry, strikes, at_ns)
        if kept != self._by_symbol:
            self._by_symbol = kept
            self.version += 1
            self._freeze(kept.values())

    def has_room(self, expiry_ns: int) -> bool:
        """Whether a further expiry of that date would have symbols of its own."""
        return sum(date_of(expiry) == date_of(expiry_ns) for expiry in self.expiries()) < len(_SHIFTS)

    def row(self, symbol: str) -> int | None:
        """Position of an option in the arrays."""
        return self._row_of.get(symbol)

    def expiries(self) -> tuple[int, ...]:
        """Listed expiries, ascending."""
        return tuple(self.expiry_grid.tolist())

    def _list(self, into: dict[str, Instrument], expiry_ns: int, strikes: Iterable[Decimal], at_ns: int) -> None:
        config = self._config
        for strike in strikes:
            for option_type in ("C", "P"):
                symbol = format_option_symbol(config.base, date_of(expiry_ns), strike, option_type)
                if symbol not in into:
                    into[symbol] = Instrument(
                        option_id=option_id(symbol),
                        symbol=symbol,
                        base=config.base,
                        index=f"{config.base}USD",
                        strike=strike,
                        option_type=option_type,
                        expiry_ns=expiry_ns,
                        listed_ns=at_ns,
                        tick_size=config.tick_size,
                        min_quantity=config.min_quantity,
                    )

    def _freeze(self, options: Iterable[Instrument]) -> None:
        """Build the arrays that quoting works on."""
        self.instruments: tuple[Instrument, ...] = tuple(
            sorted(options, key=lambda option: (option.expiry_ns, option.strike, option.option_type))
        )
        self.symbols = tuple(option.symbol for option in self.instruments)
        self._row_of = {symbol: row for row, symbol in enumerate(self.symbols)}
        self.strike: F8 = np.array([float(option.strike) for option in self.instruments])
        self.log_strike: F8 = np.log(self.strike)
        self.expiry_ns: I8 = np.array([option.expiry_ns for option in self.instruments], dtype=np.int64)
        self.listed_ns: I8 = np.array([option.listed_ns for option in self.instruments], dtype=np.int64)
        self.is_call: NDArray[np.bool_] = np.array([option.is_call for option in self.instruments], dtype=np.bool_)
        self.keys: U8 = np.array([stream_key(self._seed, symbol) for symbol in self.symbols], dtype=np.uint64)
        self.expiry_grid: I8
        self.expiry_of: NDArray[np.intp]
        self.expiry_grid, self.expiry_of = np.unique(self.expiry_ns, return_inverse=True)
        for array in (self.strike, self.log_strike, self.expiry_ns, self.listed_ns, self.is_call, self.keys):
            array.setflags(write=False)


def _last_fridays(since: date) -> list[int]:
    """08:00 UTC of the last Friday of each of the next 27 months from that of `since` on."""
    result = []
    for number in range(since.year * 12 + since.month - 1, since.year * 12 + since.month + 26):
        after = date((number + 1) // 12, (number + 1) % 12 + 1, 1)
        last_day = after - timedelta(days=1)
        friday = last_day - timedelta(days=(last_day.weekday() - FRIDAY) % 7)
        midnight = datetime(friday.year, friday.month, friday.day, tzinfo=UTC)
        result.append(int(midnight.timestamp()) * 1_000_000_000 + EXPIRY_OF_DAY_NS)
    return result


def date_of(at_ns: int) -> date:
    """The day of an instant, UTC."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).date()


def _plain(number: Decimal) -> Decimal:
    return Decimal(format(number.normalize(), "f"))
