"""What risk journals: the facts that must survive its restart."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.messages.control import GrantGiven
from shared.messages.steps import Reply
from shared.messages.trades import Grant


class Row(msgspec.Struct, frozen=True, kw_only=True, tag_field="row"):
    """A fact of the risk journal."""


class PeakEquityRaised(Row, frozen=True, kw_only=True, tag="peak_equity_raised.1"):
    equity_usd: Decimal


class TradingDayStarted(Row, frozen=True, kw_only=True, tag="trading_day_started.1"):
    """The first equity of a UTC day. `day` counts days since 1970-01-01."""

    day: int
    equity_usd: Decimal


class CapitalMoved(Row, frozen=True, kw_only=True, tag="capital_moved.1"):
    """A deposit (> 0) or withdrawal (< 0): peak and day-start equity move with it."""

    transfer_id: str
    amount_usd: Decimal


class GrantIssued(Row, frozen=True, kw_only=True, tag="grant_issued.1"):
    grant: Grant


class BreachFound(Row, frozen=True, kw_only=True, tag="breach_found.1"):
    """An account limit was broken; a halt is asked for under `request_id` until execution has answered."""

    code: str
    request_id: str
    detail: str


class BreachHalted(Row, frozen=True, kw_only=True, tag="breach_halted.1"):
    """Execution answered: the halt of this breach is in force."""

    code: str


class BreachEnded(Row, frozen=True, kw_only=True, tag="breach_ended.1"):
    code: str


RiskRow = PeakEquityRaised | TradingDayStarted | CapitalMoved | GrantIssued | BreachFound | BreachHalted | BreachEnded


def may_go_unwritten(effect: object) -> bool:
    """Whether an effect may be carried out while its row waits for space on a full disk: never a grant."""
    return not (isinstance(effect, Reply) and isinstance(effect.message, GrantGiven))
