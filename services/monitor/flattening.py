"""What a flatten closes and what it leaves: in words, for the phone and the dashboard."""

from __future__ import annotations

from services.monitor.views import Status
from shared.views import clock_text, foreign_text

_NAMED_MAX = 5
_REMEDY = (
    "voldesk adopt SYMBOL --strategy NAME makes a trade of a position, which a flatten closes; "
    "voldesk flatten --direct --force cancels and closes everything at the venue"
)


def left_out(now: Status) -> str:
    """What a flatten would not touch and what helps; "" when the newest comparison found nothing of the kind."""
    return f"Not closed by this, as it is no trade's: {_named(now)}. {_REMEDY}." if now.foreign else ""


def flatten_progress(now: Status) -> str:
    """How far a flatten that is in force has come; "" while none is."""
    if not now.is_flattening:
        return ""
    count = sum(not trade.is_final for trade in now.trades)
    if count:
        closing = f"not flat: {count} trade{'' if count == 1 else 's'} still open"
        return f"{closing}. {left_out(now)}".rstrip()
    if now.reconciled is None:
        return "no trade is open; whether the venue holds more is not known before a comparison was heard"
    when = f"by the comparison at {clock_text(now.reconciled.at_ns)} UTC"
    if now.foreign:
        return f"NOT FLAT: no trade is open, and {when} the venue holds what is no trade's: {_named(now)}. {_REMEDY}."
    return f"flat: no trade is open, and {when} the venue holds nothing that is no trade's"


def _named(now: Status) -> str:
    more = f" and {len(now.foreign) - _NAMED_MAX} more" if len(now.foreign) > _NAMED_MAX else ""
    return ", ".join(map(foreign_text, now.foreign[:_NAMED_MAX])) + more
