"""Answers the entry conditions that look at events and at the strategy's losses."""

from __future__ import annotations

from typing import assert_never

from shared.messages.conditions import AwayFromEvents, CooldownAfterLoss, DaysToEvent
from shared.strategy.views import EntryView, Verdict
from shared.strategy.wording import DAY_NS, HOUR_NS, duration_text, range_text

EventEntry = AwayFromEvents | DaysToEvent | CooldownAfterLoss


def event_entry(condition: EventEntry, view: EntryView, now_ns: int) -> Verdict:
    """May a trade be opened as far as this condition goes?"""
    match condition:
        case AwayFromEvents():
            return _away_from_events(condition, now_ns)
        case DaysToEvent():
            return _days_to_event(condition, now_ns)
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


def _days_to_event(condition: DaysToEvent, now_ns: int) -> Verdict:
    ahead = [at_ns for at_ns in condition.at_ns if at_ns > now_ns]
    if not ahead:
        return Verdict(False, "no event is ahead")
    days = (min(ahead) - now_ns) / DAY_NS
    low, high = condition.min_days, condition.max_days
    inside = (low is None or days >= low) and (high is None or days <= high)
    return Verdict(inside, f"the next event is in {days:.2f} days, wanted {range_text(low, high)}")
