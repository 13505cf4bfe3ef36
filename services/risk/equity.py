"""What a fall of equity is measured from: its peak, and the first equity of the day.

Transfers move both in the proportion in which they move equity, so that a fall in per cent is the same before and
after (time-weighted return, as funds report it): by the amount alone, a withdrawal would make a small fall a large
one, and a deposit hide a large one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from services.risk.config import RiskConfig
from services.risk.inputs import TransferSeen
from services.risk.rows import CapitalMoved, MarkSetAnew, PeakEquityRaised, Row, TradingDayStarted

_DAY_NS = 86_400 * 1_000_000_000
_PEAK_STEP = Decimal("0.0001")
"""The peak is journalled in steps of this share of itself: a rising account must not write a row per poll."""
_TRANSFERS_REMEMBERED = 1_000
_CENT = Decimal("0.01")

Emit = Callable[[Row], None]


class EquityMarks:
    """Durable: all of it, folded from rows. `peak_usd` and `day_start_usd` are None before the first read."""

    def __init__(self, config: RiskConfig) -> None:
        self._config = config
        self.peak_usd: Decimal | None = None
        self.day_start_usd: Decimal | None = None
        self._day: int | None = None
        self._transfers: dict[str, None] = {}
        # volatile: transfers that were seen since the newest read of the account, and its equity
        self._pending: dict[str, Decimal] = {}
        self._read_usd: Decimal | None = None

    @property
    def transfers(self) -> frozenset[str]:
        """The newest transfers that were noted."""
        return frozenset(self._transfers)

    def apply(self, row: PeakEquityRaised | TradingDayStarted | CapitalMoved | MarkSetAnew) -> None:
        match row:
            case MarkSetAnew(name="drawdown", equity_usd=equity):
                self.peak_usd = equity
            case MarkSetAnew(equity_usd=equity):
                self.day_start_usd = equity
            case PeakEquityRaised(equity_usd=equity):
                self.peak_usd = equity
            case TradingDayStarted(day=day, equity_usd=equity):
                self._day, self.day_start_usd = day, equity
            case CapitalMoved(transfer_id=transfer_id, amount_usd=amount, equity_before_usd=before):
                self._transfers[transfer_id] = None
                if len(self._transfers) > _TRANSFERS_REMEMBERED:
                    del self._transfers[next(iter(self._transfers))]
                self.peak_usd = _moved(self.peak_usd, amount, before)
                self.day_start_usd = _moved(self.day_start_usd, amount, before)

    def on_read(self, equity: Decimal, earlier: Decimal | None, now_ns: int, emit: Emit) -> None:
        """Note a new day and a new peak: by two reads in a row that agree, against one wrong figure.

        Until then the day before is judged on. Only an account that was never read is taken at its first word.
        """
        self._take_pending(equity, emit)
        day = now_ns // _DAY_NS
        if self._day is None or (day > self._day and earlier is not None and self._agree(equity, earlier)):
            emit(TradingDayStarted(day=day, equity_usd=equity))
        if self.peak_usd is None:
            emit(PeakEquityRaised(equity_usd=equity))
        elif earlier is not None and (confirmed := min(equity, earlier)) > self.peak_usd * (1 + _PEAK_STEP):
            emit(PeakEquityRaised(equity_usd=confirmed))

    def on_transfer(self, seen: TransferSeen, emit: Emit) -> None:
        """Money was paid in or out: neither a gain nor a loss. The same transfer counts once.

        What moved while nobody read the account waits for the first read, which says what equity it moved.
        """
        if seen.transfer_id in self._transfers or seen.transfer_id in self._pending:
            return
        if self._read_usd is None:
            self._pending[seen.transfer_id] = seen.amount_usd
        else:
            self._note(seen.transfer_id, seen.amount_usd, self._read_usd, emit)
            self._read_usd += seen.amount_usd

    def set_anew(self, name: str, by: str, emit: Emit) -> bool:
        """Measure falls from the newest equity on; False before the first read."""
        mark = self.peak_usd if name == "drawdown" else self.day_start_usd
        if self._read_usd is None or mark is None:
            return False
        emit(MarkSetAnew(name=name, equity_usd=self._read_usd, from_usd=mark, by=by))
        return True

    def _take_pending(self, equity: Decimal, emit: Emit) -> None:
        before = equity - sum(self._pending.values())
        for transfer_id, amount in self._pending.items():
            self._note(transfer_id, amount, before, emit)
            before += amount
        self._pending.clear()
        self._read_usd = equity

    def _note(self, transfer_id: str, amount_usd: Decimal, before_usd: Decimal, emit: Emit) -> None:
        emit(CapitalMoved(transfer_id=transfer_id, amount_usd=amount_usd, equity_before_usd=before_usd))

    def _agree(self, equity: Decimal, earlier: Decimal) -> bool:
        """Whether two reads differ by less than half of what a day may lose."""
        return abs(equity - earlier) * 200 <= Decimal(str(self._config.max_daily_loss_pct)) * abs(earlier)


def _moved(mark: Decimal | None, amount: Decimal, before: Decimal | None) -> Decimal | None:
    """The mark after a transfer; by the amount where there was no equity, or is none left, to take a share of."""
    if mark is None:
        return None
    if before is None or before <= 0 or before + amount <= 0:
        return mark + amount
    return (mark * (before + amount) / before).quantize(_CENT)
