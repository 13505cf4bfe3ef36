"""Answers the conditions that remember something from one look to the next."""

from __future__ import annotations

from collections.abc import Callable

from shared.messages.conditions import AnyCondition, ForAtLeast, IvChange, TrailingProfit
from shared.options.instruments import instrument_kind
from shared.strategy.evaluate_exit_structure import net_pnl
from shared.strategy.recall import Recall, key_of
from shared.strategy.views import ExitView, Verdict
from shared.strategy.wording import HOUR_NS, duration_text

SECOND_NS = 1_000_000_000
_PEAK_STEP = 0.005
"""A new peak is remembered when it is higher by this share: each one is a row of the journal."""


def for_at_least(
    condition: ForAtLeast, recall: Recall, answer: Callable[[AnyCondition], Verdict], now_ns: int
) -> Verdict:
    """Whether the part has said yes at every look for so long. What waits neither counts nor begins anew."""
    key = key_of(condition)
    verdict = answer(condition.condition)
    if verdict.waiting:
        return verdict
    if not verdict.open:
        recall.note(key, None)
        return Verdict(False, verdict.reason)
    since_ns = recall.get(key)
    if since_ns is None:
        recall.note(key, float(now_ns))
        since_ns = float(now_ns)
    held_s = max(now_ns - since_ns, 0.0) / SECOND_NS
    wanted = duration_text(condition.seconds * SECOND_NS / HOUR_NS)
    reason = f"{verdict.reason}; for {duration_text(held_s * SECOND_NS / HOUR_NS)} of {wanted}"
    return Verdict(held_s >= condition.seconds, reason)


def trailing_profit(condition: TrailingProfit, view: ExitView, now_ns: int) -> Verdict:
    """Whether a profit that was once large enough has given back its share."""
    start = condition.start_usd
    if condition.start_pct is not None:
        premium = abs(float(view.trade.entry_premium_usd))
        if premium == 0:
            return Verdict.wait("the entry premium is 0, so a percentage of it says nothing: use start_usd=")
        start = condition.start_pct / 100 * premium
    if start is None:
        return Verdict.wait("the condition names neither start_pct nor start_usd")
    pnl = net_pnl(view, condition.price, now_ns)
    if isinstance(pnl, str):
        return Verdict.wait(pnl)
    key = key_of(condition)
    peak = view.recall.get(key)
    if pnl >= start and (peak is None or pnl > peak * (1 + _PEAK_STEP)):
        view.recall.note(key, pnl)
        peak = pnl
    if peak is None:
        return Verdict(False, f"P&L {pnl:.2f} USD, trails from {start:.2f} USD on")
    bound = peak * (1 - condition.giveback_pct / 100)
    return Verdict(pnl <= bound, f"P&L {pnl:.2f} USD, was {peak:.2f} USD, closes at {bound:.2f} USD")


def iv_change(condition: IvChange, view: ExitView, now_ns: int) -> Verdict:
    """Whether the volatility of the legs has changed so much since the first look at the open trade."""
    vols = []
    for index, leg in enumerate(view.trade.legs):
        if leg.held_quantity > 0 and instrument_kind(leg.symbol) == "option":
            vol = view.leg_value(index, "mark_iv", now_ns)
            if isinstance(vol, str):
                return Verdict.wait(vol)
            vols.append(vol)
    if not vols:
        return Verdict(False, "no option is held")
    now_points = sum(vols) / len(vols) * 100
    key = key_of(condition)
    then_points = view.recall.get(key)
    if then_points is None:
        view.recall.note(key, now_points)
        then_points = now_points
    change = now_points - then_points
    risen = condition.up_points is not None and change >= condition.up_points
    fallen = condition.down_points is not None and change <= -condition.down_points
    bounds = [
        f"{sign}{points:g}"
        for sign, points in (("+", condition.up_points), ("-", condition.down_points))
        if points is not None
    ]
    reason = f"iv of the legs {now_points:.1f} %, at opening {then_points:.1f} %: {change:+.1f} points"
    return Verdict(risen or fallen, f"{reason}, closes at {' or '.join(bounds)}")
