"""Durations and ranges as the reasons of conditions put them."""

from __future__ import annotations

import datetime as dt

MINUTE_NS = 60 * 1_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS


def utc_text(at_ns: int) -> str:
    """ "2026-03-06 09:30:00 UTC"."""
    return f"{dt.datetime.fromtimestamp(at_ns // 1_000_000_000, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration_text(hours: float) -> str:
    """ "40 s", "12.5 min", "3.0 h", "12.0 d"."""
    if hours < 1 / 30:
        return f"{hours * 3_600:.0f} s"
    if hours < 2:
        return f"{hours * 60:.1f} min"
    return f"{hours:.1f} h" if hours < 100 else f"{hours / 24:.1f} d"


def left_text(left_ns: int) -> str:
    """ "in 3.0 h", or "which has passed"."""
    return "which has passed" if left_ns <= 0 else f"in {duration_text(left_ns / HOUR_NS)}"


def range_text(low: float | None, high: float | None) -> str:
    """ "40 to 80", "at least 40", "at most 80"."""
    if low is None:
        return f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
