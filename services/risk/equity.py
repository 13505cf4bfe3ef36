"""What a fall of equity is measured from: its peak, and the first equity of the day. Transfers move both."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from services.risk.config import RiskConfig
from services.risk.inputs import TransferSeen
from services.risk.rows import CapitalMoved, PeakEquityRaised, Row, TradingDayStarted

_DAY_NS = 86_400 * 1_000_000_000
_PEAK_STEP = Decimal("0.0001")
"""The peak is journalled in steps of this share of itself: a rising account must not write a row per poll."""
_TRANSFERS_REMEMBERED = 1_000

Emit = Callable[[Row], None]


class EquityMarks:
    """Durable: all of it, folded from rows. `peak_usd` and `day_start_usd` are None before the first read."""

    def __init__(self, config: RiskConfig) -> None:
        self._config = config
        self.peak_usd: Decimal | None = None
        self.day_start_usd: Decimal | None = None
        self._day: int | None = None
        self._transfers: dict[str, None] = {}

    def apply(self, row: PeakEquityRaised | TradingDayStarted | CapitalMoved) -> None:
        match row:
            case PeakEquityRaised(equity_usd=equity):
                self.peak_usd = equity
            case TradingDayStarted(day=day, equity_usd=equity):
                self._day, self.day_start_usd = day, equity
            case CapitalMoved(transfer_id=transfer_id, amount_usd=amount):
                self._transfers[transfer_id] = None
                if len(self._transfers) > _TRANSFERS_REMEMBERED:
                    del self._transfers[next(iter(self._transfers))]
                self.peak_usd = None if self.peak_usd is None else self.peak_usd + amount
                self.day_start_usd = None if self.day_start_usd is None else self.day_start_usd + amount

    def on_read(self, equity: Decimal, earlier: Decimal | None, now_ns: int, emit: Emit) -> None:
        """Note a new day and a new peak: by two reads in a row that agree, against one wrong figure.

        Until then the day before is judged on. Only an account that was never read is taken at its first word.
        """
        day = now_ns // _DAY_NS
        if self._day is None or (day > self._day and earlier is not None and self._agree(equity, earlier)):
            emit(TradingDayStarted(day=day, equity_usd=equity))
        if self.peak_usd is None:
            emit(PeakEquityRaised(equity_usd=equity))
        elif earlier is not None and (confirmed := min(equity, earlier)) > self.peak_usd * (1 + _PEAK_STEP):
            emit(PeakEquityRaised(equity_usd=confirmed))

    def on_transfer(self, seen: TransferSeen, emit: Emit) -> None:
        """Money was paid in or out: neither a gain nor a loss. The same transfer counts once."""
        if seen.transfer_id not in self._transfers:
            emit(CapitalMoved(transfer_id=seen.transfer_id, amount_usd=seen.amount_usd))

    def _agree(self, equity: Decimal, earlier: Decimal) -> bool:
        """Whether two reads differ by less than half of what a day may lose."""
        return abs(equity - earlier) * 200 <= Decimal(str(self._config.max_daily_loss_pct)) * abs(earlier)
