"""How a strategy's ended trades did: win rate, average, expectancy, drawdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from shared.ledger.records import LedgerTrade
from shared.views import plain

_ZERO = Decimal(0)
_HOUR_NS = 3_600 * 1_000_000_000


class TradeStats(msgspec.Struct, frozen=True, kw_only=True):
    """Of trades that ended and had a fill. Amounts in USD, net: realised less fees and funding.

    trades = wins (net > 0) + losses (net < 0) + flat. win_rate_pct: wins / trades × 100. average_usd: Σ net / trades.
    average_win_usd > 0, average_loss_usd < 0. profit_factor: Σ of wins / |Σ of losses|.
    expectancy_r: (win rate × average win + loss rate × average loss) / |average loss|, what a trade makes for each
    dollar that a losing one loses. max_drawdown_usd ≥ 0: the deepest fall of the running sum of net P&L, in the order
    of closing, below its highest point so far, which begins at 0. losses_in_a_row: the longest run of losses.
    held_hours: from opening to closing, on average. unfilled: trades that ended without a fill, in none of the above.
    fees_missing: trades whose fees the venue has not told in full. None where there is nothing to divide by.
    """

    strategy: str
    trades: int
    wins: int
    losses: int
    win_rate_pct: float | None
    net_usd: Decimal
    average_usd: float | None
    average_win_usd: float | None
    average_loss_usd: float | None
    best_usd: Decimal | None
    worst_usd: Decimal | None
    profit_factor: float | None
    expectancy_r: float | None
    max_drawdown_usd: Decimal
    losses_in_a_row: int
    held_hours: float | None
    unfilled: int
    fees_missing: int


def stats_of(strategy: str, trades: Iterable[LedgerTrade]) -> TradeStats:
    """The figures of these trades, whatever their strategy; those that have not ended are left out."""
    ended = sorted((each for each in trades if each.closed_ns is not None), key=lambda each: each.closed_ns or 0)
    counted = [each for each in ended if each.was_filled]
    nets = [each.net_pnl_usd for each in counted]
    wins = [net for net in nets if net > 0]
    losses = [net for net in nets if net < 0]
    average, average_loss = _mean(nets), _mean(losses)
    held = [
        (each.closed_ns - each.opened_ns) / _HOUR_NS
        for each in counted
        if each.closed_ns is not None and each.opened_ns is not None
    ]
    return TradeStats(
        strategy=strategy,
        trades=len(nets),
        wins=len(wins),
        losses=len(losses),
        win_rate_pct=100 * len(wins) / len(nets) if nets else None,
        net_usd=sum(nets, _ZERO),
        average_usd=average,
        average_win_usd=_mean(wins),
        average_loss_usd=average_loss,
        best_usd=max(nets, default=None),
        worst_usd=min(nets, default=None),
        profit_factor=float(sum(wins, _ZERO) / -sum(losses, _ZERO)) if losses else None,
        expectancy_r=None if average is None or average_loss is None else average / -average_loss,
        max_drawdown_usd=_deepest_fall(nets),
        losses_in_a_row=_longest_run_of_losses(nets),
        held_hours=sum(held) / len(held) if held else None,
        unfilled=len(ended) - len(counted),
        fees_missing=sum(not each.fees_complete for each in counted),
    )


def stats_by_strategy(trades: Iterable[LedgerTrade]) -> list[TradeStats]:
    """One for each strategy that ended a trade, by name."""
    groups: dict[str, list[LedgerTrade]] = {}
    for trade in trades:
        if trade.closed_ns is not None:
            groups.setdefault(trade.strategy, []).append(trade)
    return [stats_of(name, members) for name, members in sorted(groups.items())]


def stats_json(stats: TradeStats) -> dict[str, Any]:
    """With stable keys; amounts of the books as text, averages and ratios as numbers."""
    fields = msgspec.structs.asdict(stats)
    return {name: plain(value) if isinstance(value, Decimal) else value for name, value in fields.items()}


def _mean(values: Sequence[Decimal]) -> float | None:
    return float(sum(values, _ZERO) / len(values)) if values else None


def _deepest_fall(nets: Iterable[Decimal]) -> Decimal:
    total = peak = deepest = _ZERO
    for net in nets:
        total += net
        peak = max(peak, total)
        deepest = max(deepest, peak - total)
    return deepest


def _longest_run_of_losses(nets: Iterable[Decimal]) -> int:
    longest = run = 0
    for net in nets:
        run = run + 1 if net < 0 else 0
        longest = max(longest, run)
    return longest
