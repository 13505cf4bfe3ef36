"""How finely and for how long the history is kept: the section [monitor.history] of voldesk.toml."""

from __future__ import annotations

from typing import Annotated

import msgspec

from services.monitor.history.series import Level

_Days = Annotated[float, msgspec.Meta(gt=0, le=36_500)]


class HistoryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resolution and retention. Each level is kept for its own time; a longer one has wider buckets.

    sample_s: how often figures are sampled, and the width of the finest buckets.
    fine_days, minute_days, quarter_hour_days: how long the finest buckets, those of a minute and those of 15 minutes
    are kept; trades are kept by the minute and by the quarter of an hour.
    gap_s: between two samples further apart nothing is attributed to Greeks, and a plot is not drawn through.
    account_age_max_s: an account read longer ago is not sampled.
    """

    sample_s: Annotated[int, msgspec.Meta(ge=1, le=60)] = 10
    fine_days: _Days = 1.0
    minute_days: _Days = 31.0
    quarter_hour_days: _Days = 731.0
    gap_s: Annotated[int, msgspec.Meta(ge=30, le=86_400)] = 300
    account_age_max_s: Annotated[int, msgspec.Meta(ge=5, le=3_600)] = 30

    def __post_init__(self) -> None:
        if not self.fine_days <= self.minute_days <= self.quarter_hour_days:
            raise ValueError(
                "fine_days, minute_days and quarter_hour_days must not fall: what is wider is kept longer"
            )
        if 60 % self.sample_s:
            raise ValueError("sample_s must divide 60, so that buckets of a minute are whole")

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest to the widest."""
        day_s = 86_400
        return (
            Level(self.sample_s, round(self.fine_days * day_s)),
            Level(60, round(self.minute_days * day_s)),
            Level(900, round(self.quarter_hour_days * day_s)),
        )
