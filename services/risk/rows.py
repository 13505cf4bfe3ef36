"""What risk journals: the facts that must survive its restart."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.messages.control import GrantGiven
from shared.messages.risk import BreakerState, MarginLevel
from shared.messages.steps import Reply
from shared.messages.trades import Grant, HaltLevel


class Row(msgspec.Struct, frozen=True, kw_only=True, tag_field="row"):
    """A fact of the risk journal."""


class PeakEquityRaised(Row, frozen=True, kw_only=True, tag="peak_equity_raised.1"):
    equity_usd: Decimal


class TradingDayStarted(Row, frozen=True, kw_only=True, tag="trading_day_started.1"):
    """The first equity of a UTC day. `day` counts days since 1970-01-01."""

    day: int
    equity_usd: Decimal


class CapitalMoved(Row, frozen=True, kw_only=True, tag="capital_moved.1"):
    """A deposit (> 0) or withdrawal (< 0): peak and day-start equity move with it, in the proportion in which equity
    does. equity_before_usd: None in rows of a version that moved them by the amount."""

    transfer_id: str
    amount_usd: Decimal
    equity_before_usd: Decimal | None = None


class MarkSetAnew(Row, frozen=True, kw_only=True, tag="mark_set_anew.1"):
    """A person accepted what was lost: falls are measured from this equity. name: drawdown (the peak) or daily_loss
    (the first equity of the day)."""

    name: str
    equity_usd: Decimal
    from_usd: Decimal
    by: str


class GrantIssued(Row, frozen=True, kw_only=True, tag="grant_issued.1"):
    grant: Grant


class BreachFound(Row, frozen=True, kw_only=True, tag="breach_found.1"):
    """An account limit was broken; a halt of `level` is asked for under `request_id` until execution has answered."""

    code: str
    request_id: str
    detail: str
    level: HaltLevel = "no_new_trades"


class BreachHalted(Row, frozen=True, kw_only=True, tag="breach_halted.1"):
    """Execution answered: the halt of this breach is in force since this epoch of its halts."""

    code: str
    halt_epoch: int = 0


class BreachLifted(Row, frozen=True, kw_only=True, tag="breach_lifted.1"):
    """A person lifted the halt while the limit was still broken, by this figure: it is watched anew."""

    code: str
    value_pct: float


class BreachEnded(Row, frozen=True, kw_only=True, tag="breach_ended.1"):
    code: str


class TradeJudged(Row, frozen=True, kw_only=True, tag="trade_judged.1"):
    """A trade ended with this result after fees; counted once in the losses in a row."""

    trade_id: str
    strategy: str
    net_pnl_usd: Decimal


class OpeningJudged(Row, frozen=True, kw_only=True, tag="opening_judged.1"):
    """An opening cost so much more than expected, in per cent of the equity of that moment; < 0: less."""

    trade_id: str
    over_pct: float


class BreakerMoved(Row, frozen=True, kw_only=True, tag="breaker_moved.1"):
    """A circuit breaker changed its state. `subject`: a strategy, "" for the account."""

    name: str
    subject: str
    state: BreakerState
    reason: str


class MarginLevelMoved(Row, frozen=True, kw_only=True, tag="margin_level_moved.1"):
    """The margin guard is at another level from now on."""

    level: MarginLevel
    utilisation_pct: float


RiskRow = (
    PeakEquityRaised
    | TradingDayStarted
    | CapitalMoved
    | MarkSetAnew
    | GrantIssued
    | BreachFound
    | BreachHalted
    | BreachLifted
    | BreachEnded
    | TradeJudged
    | OpeningJudged
    | BreakerMoved
    | MarginLevelMoved
)


def may_go_unwritten(effect: object) -> bool:
    """Whether an effect may be carried out while its row waits for space on a full disk: never a grant."""
    return not (isinstance(effect, Reply) and isinstance(effect.message, GrantGiven))
