"""What is public about trades: the tape's and the clients' together, as lists, k-lines and figures of the day."""

from collections import OrderedDict
from collections.abc import Collection, Sequence

import numpy as np

from services.exchange.accounts import ID_EPOCH_MS, ID_SEQUENCE_BITS, ExchangeState
from services.exchange.klines import Period, Pieces, Scale, bar_start, bar_starts, filled, make_bars, next_bar_start
from services.exchange.listing import NS_PER_DAY
from services.exchange.model import KLine, MarketTrade, Side
from services.exchange.quotes import BaseMarket
from services.exchange.tape import Prints
from services.exchange.valuation import Valuation

NS_PER_MS = 1_000_000
TAPE_ID_BIT = 1 << (ID_SEQUENCE_BITS - 1)
KEPT_DAYS = 512
"""Days of single options whose trades are kept in memory: a past day never changes."""


class PublicTrades:
    """Reads the tapes and the clients' trades at the current step; changes neither."""

    def __init__(self, state: ExchangeState, valuation: Valuation, origin_ns: int, step_ns: int) -> None:
        self._state = state
        self._valuation = valuation
        self._origin_ns = origin_ns
        self._step_ns = step_ns
        self._days: OrderedDict[tuple[str, int], Prints] = OrderedDict()

    def newest(self, symbol: str, count: int) -> Sequence[MarketTrade]:
        """The last public trades of a listed option, newest first: those of this UTC day and the day before."""
        found = self._valuation.option(symbol)
        if found is None:
            return ()
        market, option, quote = found
        first_ns = max(option.listed_ns, (market.at_ns // NS_PER_DAY - 1) * NS_PER_DAY)
        prints = market.tape.newest(quote.row, market.step + 1, self._step_of(first_ns), count)
        trades = [*self._trades(market, prints), *self._state.trades.get(symbol, ())]
        trades.sort(key=lambda trade: (trade.at_ns, trade.trade_id))
        return tuple(trades[: -count - 1 : -1])

    def printed(self, market: BaseMarket, symbols: Collection[str], after_step: int) -> Sequence[MarketTrade]:
        """What the tape printed in some options after a step until the current one, in order."""
        rows = [row for symbol in symbols if (row := market.listing.row(symbol)) is not None]
        return self._trades(
            market, market.tape.prints(np.array(rows, dtype=np.int64), after_step + 1, market.step + 1)
        )

    def klines(
        self, symbol: str, period: Period, first_ns: int, end_ns: int, count: int, *, fill: bool
    ) -> Sequence[KLine] | None:
        """Bars that start within [first_ns, end_ns], the newest `count`, oldest first; None when not listed.

        `fill` puts flat bars at the last close where nothing traded. The last bar is still growing.
        """
        found = self._valuation.option(symbol)
        if found is None:
            return None
        market, option, _ = found
        now_ns = market.at_ns + self._step_ns
        starts = bar_starts(
            max(first_ns, bar_start(option.listed_ns, period)), min(end_ns, now_ns - 1), period, count
        )
        if not starts:
            return []
        scale = Scale(symbol, period, option.tick_size, option.min_quantity)
        until_ns = min(next_bar_start(starts[-1], period), now_ns)
        bars = make_bars(scale, starts, until_ns, self._pieces(market, symbol, starts[0], until_ns))
        if not fill:
            return bars
        earlier: Sequence[KLine] = []
        if starts[0] > option.listed_ns:
            before = self._pieces(market, symbol, option.listed_ns, starts[0])
            earlier = make_bars(scale, [option.listed_ns], starts[0], before)
        return filled(bars, starts, earlier[-1] if earlier else None)

    def _pieces(self, market: BaseMarket, symbol: str, first_ns: int, end_ns: int) -> Pieces:
        """All that traded within [first_ns, end_ns): whole minutes of clients, single trades of the tape."""
        parts = [
            self._prints_of_day(market, symbol, day)
            for day in range(first_ns // NS_PER_DAY, -(-end_ns // NS_PER_DAY))
        ]
        steps = np.concatenate([part.step for part in parts])
        ticks = np.concatenate([part.ticks for part in parts])
        lots = np.concatenate([part.lots for part in parts])
        at_ns = self._origin_ns + steps * self._step_ns
        base = market.config
        minutes = [
            (
                minute.first_ns,
                minute.last_ns,
                *(int(price / base.tick_size) for price in (minute.open, minute.high, minute.low, minute.close)),
                int(minute.quantity / base.min_quantity),
            )
            for minute in self._state.minutes.get(symbol, ())
        ]
        own = np.array(minutes, dtype=np.int64).reshape(-1, 7).T
        tape = (at_ns, at_ns, ticks, ticks, ticks, ticks, lots)
        columns = [np.concatenate(pair) for pair in zip(tape, own, strict=True)]
        inside = (columns[0] >= first_ns) & (columns[0] < end_ns)
        return Pieces(*(column[inside] for column in columns))

    def _prints_of_day(self, market: BaseMarket, symbol: str, day: int) -> Prints:
        """The tape of one option in one UTC day until now; kept once the day is past."""
        kept = self._days.get((symbol, day))
        if kept is not None:
            self._days.move_to_end((symbol, day))
            return kept
        row = market.listing.row(symbol)
        assert row is not None, symbol
        first, end = self._step_of(day * NS_PER_DAY), self._step_of((day + 1) * NS_PER_DAY)
        prints = market.tape.prints(np.array([row], dtype=np.int64), first, min(end, market.step + 1))
        if end <= market.step:
            self._days[symbol, day] = prints
            if len(self._days) > KEPT_DAYS:
                self._days.popitem(last=False)
        return prints

    def _trades(self, market: BaseMarket, prints: Prints) -> list[MarketTrade]:
        """Prints with their ids: above those of client's trades of the same millisecond, and never equal to one."""
        base, symbols = market.config, market.listing.symbols
        columns = (prints.row, prints.step, prints.ticks, prints.lots, prints.side_is_buy, prints.low_bits)
        trades = []
        for row, step, ticks, lots, is_buy, low_bits in zip(*(column.tolist() for column in columns), strict=True):
            at_ns = self._origin_ns + step * self._step_ns
            trade_id = (at_ns // NS_PER_MS - ID_EPOCH_MS) << ID_SEQUENCE_BITS | TAPE_ID_BIT | low_bits
            side = Side.BUY if is_buy else Side.SELL
            trades.append(
                MarketTrade(trade_id, symbols[row], side, ticks * base.tick_size, lots * base.min_quantity, at_ns)
            )
        return trades

    def _step_of(self, at_ns: int) -> int:
        return max(at_ns - self._origin_ns, 0) // self._step_ns
