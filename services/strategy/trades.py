"""What execution's events say of each strategy's trades. Volatile: execution replays it."""

from __future__ import annotations

from collections.abc import Iterator

from shared.messages.trades import TradeUpdate
from shared.strategy.views import TradeHistory
from shared.strategy.wording import DAY_NS, MINUTE_NS


class _Record:
    """One strategy's trades. `counted`: the trading day of each trade of today and yesterday that counts."""

    def __init__(self) -> None:
        self.open: dict[str, TradeUpdate] = {}
        self.counted: dict[str, int] = {}
        self.last_closed_ns: int | None = None
        self.last_loss_ns: int | None = None
        self.last_ordinal = 0
        self.last_created_ns: int | None = None


class TradeBook:
    """Trades by strategy, with the counts on which gates stand."""

    def __init__(self, account_id: str, day_boundary_minute: int) -> None:
        self._account_id = account_id
        self._boundary_ns = day_boundary_minute * MINUTE_NS
        self._records: dict[str, _Record] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._forgotten_day = 0

    def trading_day(self, at_ns: int) -> int:
        """Number of the trading day, counted from the configured minute of the UTC day."""
        return (at_ns - self._boundary_ns) // DAY_NS

    def apply(self, update: TradeUpdate, epoch: int) -> bool:
        """Take the newest state of a trade; False for one of another account and for one that is out of date."""
        if update.account_id != self._account_id:
            return False
        seen_epoch, seen_ns = self._seen.get(update.trade_id, (epoch, 0))
        if seen_epoch == epoch and update.updated_ns < seen_ns:
            return False
        self._seen[update.trade_id] = (epoch, update.updated_ns)
        record = self._records.setdefault(update.strategy, _Record())
        record.last_ordinal = max(record.last_ordinal, update.ordinal)
        record.last_created_ns = max(record.last_created_ns or 0, update.created_ns)
        if update.is_final:
            record.open.pop(update.trade_id, None)
            closed_ns = update.updated_ns if update.closed_ns is None else update.closed_ns
            record.last_closed_ns = max(record.last_closed_ns or 0, closed_ns)
            if update.net_realized_usd < 0:
                record.last_loss_ns = max(record.last_loss_ns or 0, closed_ns)
        else:
            record.open[update.trade_id] = update
        day = self.trading_day(update.created_ns)
        if not update.is_final or any(leg.filled_quantity > 0 for leg in update.legs):
            record.counted[update.trade_id] = day
        else:
            record.counted.pop(update.trade_id, None)
        self._forget(self.trading_day(update.updated_ns))
        return True

    def _forget(self, today: int) -> None:
        """Once a day: drop what no count needs any more."""
        if today <= self._forgotten_day:
            return
        self._forgotten_day = today
        still_open = {trade.trade_id for trade in self.open_trades()}
        for record in self._records.values():
            record.counted = {
                trade_id: day
                for trade_id, day in record.counted.items()
                if day >= today - 1 or trade_id in still_open
            }
        self._seen = {
            trade_id: seen
            for trade_id, seen in self._seen.items()
            if self.trading_day(seen[1]) >= today - 1 or trade_id in still_open
        }

    def keep_only(self, epoch: int) -> list[TradeUpdate]:
        """After a replay in `epoch`: forget the open trades that it did not tell of, and return them."""
        gone = [
            trade
            for record in self._records.values()
            for trade in record.open.values()
            if self._seen[trade.trade_id][0] != epoch
        ]
        for trade in gone:
            del self._records[trade.strategy].open[trade.trade_id]
        return gone

    def forget(self, strategy: str) -> None:
        """Drop what is known of a strategy."""
        record = self._records.pop(strategy, None)
        for trade_id in () if record is None else {*record.open, *record.counted}:
            self._seen.pop(trade_id, None)

    def open_trades(self, strategy: str | None = None) -> Iterator[TradeUpdate]:
        """Trades that are not final, of one strategy or of all."""
        if strategy is None:
            for record in self._records.values():
                yield from record.open.values()
        elif strategy in self._records:
            yield from self._records[strategy].open.values()

    def open_count(self, strategy: str) -> int:
        """How many trades of a strategy are not final."""
        record = self._records.get(strategy)
        return 0 if record is None else len(record.open)

    def open_trade(self, trade_id: str) -> TradeUpdate | None:
        return next((trade for trade in self.open_trades() if trade.trade_id == trade_id), None)

    def history(self, strategy: str, ordinal_used: int, now_ns: int) -> TradeHistory:
        """The counts of a strategy. `ordinal_used`: the highest ordinal known to have had its outcome."""
        record = self._records.get(strategy) or _Record()
        today = self.trading_day(now_ns)
        return TradeHistory(
            open_trades=len(record.open),
            trades_today=list(record.counted.values()).count(today),
            last_closed_ns=record.last_closed_ns,
            last_loss_ns=record.last_loss_ns,
            next_ordinal=max(record.last_ordinal, ordinal_used) + 1,
            last_created_ns=record.last_created_ns,
        )
