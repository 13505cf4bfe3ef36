"""K-lines: periods of the venue, and bars made of trades. Pure.

Bars of minutes, hours and days are whole periods since 1970-01-01 00:00 UTC, weeks begin on Monday, months and
quarters on their first day. A bar is made of pieces: single trades of the tape, and minutes of clients' trades.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, get_args

import numpy as np

from services.exchange.model import I8, KLine, MarketTrade

Period = Literal["m1", "m5", "m15", "m30", "h1", "h4", "d1", "w1", "mn1", "quarter"]
PERIODS: tuple[Period, ...] = get_args(Period)
BARS_MAX = 1_000
"""At most so many bars are told at once: the newest ones."""

NS = 1_000_000_000
MINUTE_NS = 60 * NS
DAY_NS = 86_400 * NS
_FIXED_NS: dict[Period, int] = {
    "m1": MINUTE_NS,
    "m5": 5 * MINUTE_NS,
    "m15": 15 * MINUTE_NS,
    "m30": 30 * MINUTE_NS,
    "h1": 60 * MINUTE_NS,
    "h4": 240 * MINUTE_NS,
    "d1": DAY_NS,
}
_MONTHS: dict[Period, int] = {"mn1": 1, "quarter": 3}
# 1970-01-01 was a Thursday.
_MONDAY_SHIFT_DAYS = 3


def period_of(text: str) -> Period | None:
    """The period that a client names, in whatever case."""
    return next((period for period in PERIODS if period == text.lower()), None)


def bar_start(at_ns: int, period: Period) -> int:
    """Start of the bar that holds the instant."""
    if period in _FIXED_NS:
        return at_ns // _FIXED_NS[period] * _FIXED_NS[period]
    if period == "w1":
        day = at_ns // DAY_NS
        return ((day + _MONDAY_SHIFT_DAYS) // 7 * 7 - _MONDAY_SHIFT_DAYS) * DAY_NS
    at, months = datetime.fromtimestamp(at_ns // NS, UTC), _MONTHS[period]
    return _month_start(at.year * 12 + (at.month - 1) // months * months)


def next_bar_start(start_ns: int, period: Period) -> int:
    """Start of the bar after the one that starts at `start_ns`."""
    if period in _FIXED_NS:
        return start_ns + _FIXED_NS[period]
    if period == "w1":
        return start_ns + 7 * DAY_NS
    at = datetime.fromtimestamp(start_ns // NS, UTC)
    return _month_start(at.year * 12 + at.month - 1 + _MONTHS[period])


def _month_start(months: int) -> int:
    """`months` counts from year 0."""
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * NS


def bar_starts(first_ns: int, end_ns: int, period: Period, count: int) -> list[int]:
    """Starts within [first_ns, end_ns], ascending, the newest `count` of them."""
    starts: list[int] = []
    start = bar_start(end_ns, period)
    while start >= first_ns and len(starts) < count:
        starts.append(start)
        start = bar_start(start - 1, period)
    return starts[::-1]


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Stretches of trading, arrays (n,): none is longer than a minute and none crosses the start of one. Prices in
    ticks, quantities in lots; a single trade is a piece with four equal prices and two equal times."""

    first_ns: I8
    last_ns: I8
    open: I8
    high: I8
    low: I8
    close: I8
    lots: I8


@dataclass(frozen=True, slots=True)
class Scale:
    """What ticks and lots are, and whose bars are made."""

    symbol: str
    period: Period
    tick_size: Decimal
    lot_size: Decimal


def make_bars(scale: Scale, starts: Sequence[int], end_ns: int, pieces: Pieces) -> list[KLine]:
    """The bars that start at `starts` and have pieces; those from `end_ns` on are left out. Oldest first."""
    if not starts:
        return []
    bar = np.searchsorted(np.array(starts, dtype=np.int64), pieces.first_ns, side="right") - 1
    used = np.nonzero((bar >= 0) & (pieces.first_ns < end_ns))[0]
    used = used[np.lexsort((pieces.first_ns[used], bar[used]))]
    if not len(used):
        return []
    bar = bar[used]
    heads = np.nonzero(np.diff(bar, prepend=-1))[0]
    high = np.maximum.reduceat(pieces.high[used], heads)
    low = np.minimum.reduceat(pieces.low[used], heads)
    lots = np.add.reduceat(pieces.lots[used], heads)
    ends = np.append(heads[1:], len(used))
    result = []
    for number, (head, end) in enumerate(zip(heads.tolist(), ends.tolist(), strict=True)):
        of_bar = used[head:end]
        # Pieces of one minute may overlap: the one that ended last, not the one that began last, has the close.
        last = of_bar[len(of_bar) - 1 - int(np.argmax(pieces.last_ns[of_bar][::-1]))]
        result.append(
            KLine(
                symbol=scale.symbol,
                period=scale.period,
                start_ns=starts[int(bar[head])],
                open=int(pieces.open[used[head]]) * scale.tick_size,
                high=int(high[number]) * scale.tick_size,
                low=int(low[number]) * scale.tick_size,
                close=int(pieces.close[last]) * scale.tick_size,
                volume=int(lots[number]) * scale.lot_size,
            )
        )
    return result


def filled(bars: Sequence[KLine], starts: Sequence[int], before: KLine | None) -> list[KLine]:
    """One bar per start: where nothing traded, a flat one at the close before it; none until there is one."""
    known = {bar.start_ns: bar for bar in bars}
    result: list[KLine] = []
    close = None if before is None else before.close
    for start_ns in starts:
        bar = known.get(start_ns)
        if bar is None and close is not None:
            template = bars[0] if bars else before
            assert template is not None
            bar = KLine(
                symbol=template.symbol,
                period=template.period,
                start_ns=start_ns,
                open=close,
                high=close,
                low=close,
                close=close,
                volume=Decimal(0),
            )
        if bar is not None:
            result.append(bar)
            close = bar.close
    return result


def extended(bar: KLine | None, trade: MarketTrade, period: Period) -> KLine:
    """The bar with one more trade, or the next bar, which begins with it; a flat bar without trades begins anew."""
    start_ns = bar_start(trade.at_ns, period)
    if bar is None or bar.start_ns < start_ns or not bar.volume:
        price = trade.price
        return KLine(trade.symbol, period, start_ns, price, price, price, price, trade.quantity)
    return KLine(
        symbol=bar.symbol,
        period=bar.period,
        start_ns=bar.start_ns,
        open=bar.open,
        high=max(bar.high, trade.price),
        low=min(bar.low, trade.price),
        close=trade.price,
        volume=bar.volume + trade.quantity,
    )
