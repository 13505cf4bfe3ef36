"""What a strategy host writes to its journal: what it was told, and what of their intents and trades is settled."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, get_args

import msgspec

from shared.messages.trades import Grant, TradeUpdate
from shared.strategy.protocol import OpenStructure

Action = Literal["pause", "resume", "stop", "run_once"]
ACTIONS: tuple[Action, ...] = get_args(Action)
RUNS: tuple[Action, ...] = ("resume", "run_once")
"""After these a strategy may open."""


class StrategyTold(msgspec.Struct, frozen=True, kw_only=True, tag="strategy_told"):
    """Somebody paused, resumed or stopped a strategy, or let it run for one trade: until the next `OrdinalUsed`.

    closed: its trade that this person closed, where that is what paused it.
    """

    strategy: str
    action: Action
    requested_by: str
    closed: str = ""


class OrdinalUsed(msgspec.Struct, frozen=True, kw_only=True, tag="ordinal_used"):
    """The intent of this ordinal has its outcome at execution: the next one is asked with a higher ordinal.

    Only a memory of execution's answers, which need not reach back for ever; execution remains the judge.
    """

    strategy: str
    ordinal: int


class OrdinalLeft(msgspec.Struct, frozen=True, kw_only=True, tag="ordinal_left"):
    """The intent of this ordinal was given up, and no trade of it can come any more; but risk keeps room for its legs
    for a while, and would refuse others under its id. The next one is asked with a higher ordinal."""

    strategy: str
    ordinal: int


class TradesFollowed(msgspec.Struct, frozen=True, kw_only=True, tag="trades_followed"):
    """From now on the strategy is told of each of its trades that ends."""

    strategy: str


class ClosingTold(msgspec.Struct, frozen=True, kw_only=True, tag="closing_told"):
    """The strategy was told that its trade of this ordinal has ended."""

    strategy: str
    ordinal: int


class DryTradeMoved(msgspec.Struct, frozen=True, kw_only=True, tag="dry_trade_moved"):
    """A trade of a dry run was opened, has ended, has paid or received funding, or, of a hedge, was reduced. Of all
    but funding its strategy is told with this row. funded_ns: the last funding that is in the trade, 0 for none."""

    strategy: str
    trade: TradeUpdate
    funded_ns: int = 0


class ConditionRemembered(msgspec.Struct, frozen=True, kw_only=True, tag="condition_remembered"):
    """A condition of a trade's exits, or with trade_id "" of the strategy's entries, remembers a number; None: no
    more."""

    strategy: str
    trade_id: str
    key: str
    value: float | None


class ConditionForgot(msgspec.Struct, frozen=True, kw_only=True, tag="condition_forgot"):
    """The trade has ended: what its conditions remembered is of no use any more."""

    strategy: str
    trade_id: str


class IvSampled(msgspec.Struct, frozen=True, kw_only=True, tag="iv_sampled"):
    """The implied volatility at the money of `underlying`, `days` ahead, a fraction: one an hour, while a condition
    ranks it."""

    underlying: str
    days: float
    at_ns: int
    vol: float


class ActionFired(msgspec.Struct, frozen=True, kw_only=True, tag="action_fired"):
    """A firing of a scheduled action was carried out, or (done = False) left out: none up to it will be again."""

    strategy: str
    action: str
    firing_ns: int
    done: bool


class RollBegun(msgspec.Struct, frozen=True, kw_only=True, tag="roll_begun"):
    """Risk has granted the successor of a trade, which is closed from now on: written before the close is asked for.

    ordinal: the successor's intent; structure: what it is. reason: of the close. open_by_ns: when the trade has not
    ended by then, nothing is opened in its place. made_ns: when the intent was made.
    """

    strategy: str
    trade_id: str
    ordinal: int
    structure: OpenStructure
    net_limit_usd: float
    grant: Grant
    reason: str
    open_by_ns: int
    made_ns: int
    decision_prices: tuple[float | None, ...]


class RollOpening(msgspec.Struct, frozen=True, kw_only=True, tag="roll_opening"):
    """The trade has ended, the net limit can be kept: its successor is asked for, at no worse than these prices."""

    strategy: str
    trade_id: str
    close_cost_usd: Decimal
    price_limits: tuple[Decimal, ...]


class RollEnded(msgspec.Struct, frozen=True, kw_only=True, tag="roll_ended"):
    """rolled: the successor is open. flat: nothing took the trade's place. kept: it was not closed after all. broken:
    the successor was never whole, and something of it is or was held."""

    strategy: str
    trade_id: str
    outcome: Literal["rolled", "flat", "kept", "broken"]
    reason: str
    successor: str = ""


class HedgingPaused(msgspec.Struct, frozen=True, kw_only=True, tag="hedging_paused"):
    """The hedge of a trade is left as it is: a person closed the trade `hedge` of it, or, where it is "", said so."""

    strategy: str
    trade_id: str
    requested_by: str
    hedge: str = ""


class HedgingResumed(msgspec.Struct, frozen=True, kw_only=True, tag="hedging_resumed"):
    """The hedge of a trade is adjusted again, or the trade has ended."""

    strategy: str
    trade_id: str
    requested_by: str


class StrategyTaken(msgspec.Struct, frozen=True, kw_only=True, tag="strategy_taken"):
    """This host runs the strategy from now on, which another one ran: what was known of it here is forgotten, and the
    rows of it that follow are what the other one had written."""

    strategy: str
    from_host: str


Row = (
    StrategyTold
    | OrdinalUsed
    | OrdinalLeft
    | TradesFollowed
    | ClosingTold
    | DryTradeMoved
    | ConditionRemembered
    | ConditionForgot
    | ActionFired
    | IvSampled
    | RollBegun
    | RollOpening
    | RollEnded
    | HedgingPaused
    | HedgingResumed
    | StrategyTaken
)


def may_go_unwritten(effect: object) -> bool:
    """Every effect may be carried out while a row waits for space on a full disk: what opens was decided before, and
    is execution's to refuse."""
    return True
