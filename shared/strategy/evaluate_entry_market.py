"""Answers the entry conditions that look at the market, at events and at the strategy's losses."""

from __future__ import annotations

from typing import assert_never

from shared.messages.conditions import AwayFromEvents, CooldownAfterLoss, IvLevel
from shared.strategy.views import EntryView, Verdict
from shared.strategy.wording import HOUR_NS, duration_text, range_text

MarketEntry = IvLevel | AwayFromEvents | CooldownAfterLoss


def market_entry(condition: MarketEntry, view: EntryView, now_ns: int) -> Verdict:
    """May a trade be opened as far as this condition goes?"""
    match condition:
        case IvLevel():
            return _iv_level(condition, view, now_ns)
        case AwayFromEvents():
            return _away_from_events(condition, now_ns)
        case CooldownAfterLoss(hours=hours):
            lost_ns = view.history.last_loss_ns
            if lost_ns is None:
                return Verdict(True, "no loss is known")
            ago = (now_ns - lost_ns) / HOUR_NS
            return Verdict(
                ago >= hours, f"the last loss was {duration_text(ago)} ago, {duration_text(hours)} must pass"
            )
        case _:
            assert_never(condition)


def _iv_level(condition: IvLevel, view: EntryView, now_ns: int) -> Verdict:
    chain = view.fresh_chain(condition.underlying, now_ns)
    if isinstance(chain, str):
        return Verdict.wait(chain)
    vol = chain.atm_iv(condition.days, now_ns)
    if vol is None:
        return Verdict.wait(f"no implied volatility of {condition.underlying}")
    pct = vol * 100
    inside = (condition.min_pct is None or pct >= condition.min_pct) and (
        condition.max_pct is None or pct <= condition.max_pct
    )
    wanted = range_text(condition.min_pct, condition.max_pct)
    return Verdict(
        inside, f"iv of {condition.underlying} in {condition.days:g} days is {pct:.1f} %, wanted {wanted} %"
    )


def _away_from_events(condition: AwayFromEvents, now_ns: int) -> Verdict:
    nearest_h = None
    for at_ns in condition.at_ns:
        left_h = (at_ns - now_ns) / HOUR_NS
        if -condition.after_hours < left_h < condition.before_hours:
            when = f"is in {duration_text(left_h)}" if left_h > 0 else f"was {duration_text(-left_h)} ago"
            around = f"{duration_text(condition.before_hours)} before to {duration_text(condition.after_hours)} after"
            return Verdict(False, f"an event {when}; closed from {around}")
        if left_h > 0:
            nearest_h = left_h if nearest_h is None else min(nearest_h, left_h)
    return Verdict(
        True, "no event ahead" if nearest_h is None else f"the next event is in {duration_text(nearest_h)}"
    )
