"""Grants, halts and the operator's requests."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.account import AccountSnapshot
from shared.messages.base import Message, Side
from shared.messages.trades import ExecutionMode, Grant, HaltLevel, IfBroken, LegOrder, TradeUpdate

OnShutdown = Literal["leave", "leave_all", "cancel", "flatten"]
"""What a stop of execution does first about resting orders and open trades."""


class RequestGrant(Message, frozen=True, kw_only=True, tag="request_grant.1"):
    """Ask risk for room to open one structure. The same `intent_id` with the same legs is one reservation.

    opening_s: how long the opening may take from now on, until execution has it included; the grant lasts as long,
    within risk's bounds. hedge_coins: the most of
    the perpetual that its delta hedge may come to hold, 0 where it is not hedged: granted only if there is room for
    that too. hedge_least_coins, hedge_most_coins: the bounds of it, short < 0; both 0 where only the most
    either way is known.
    """

    intent_id: str
    account_id: str
    strategy: str
    legs: tuple[LegOrder, ...]
    execution_mode: ExecutionMode
    max_loss_usd: float | None
    valid_until_ns: int
    opening_s: float = 0.0
    hedge_coins: float = 0.0
    hedge_least_coins: float = 0.0
    hedge_most_coins: float = 0.0


class GrantGiven(Message, frozen=True, kw_only=True, tag="grant_given.1"):
    grant: Grant


INTENT_REFUSED = "intent_refused"
"""Risk's code for an intent that execution has refused for good: it can only be asked again under another ordinal."""


class GrantRefused(Message, frozen=True, kw_only=True, tag="grant_refused.1"):
    """Risk's "no". `code` is the check that failed, with the figure that broke it and the limit."""

    intent_id: str
    strategy: str
    code: str
    detail: str
    value: float | None = None
    limit: float | None = None


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    level: HaltLevel
    reason: str
    raised_by: str
    raised_ns: int


BY_JOURNAL = "journal"
"""Who raises a halt because rows are missing in execution's journal."""


class HaltState(Message, frozen=True, kw_only=True, tag="halt_state.1"):
    """The halts in force. `halt_epoch` rises with each halt and voids every grant of another epoch; where rows of
    execution's journal are missing it leaps ahead, to the milliseconds of the clock."""

    account_id: str
    halt_epoch: int
    halts: tuple[Halt, ...]

    @property
    def key(self) -> str:
        return self.account_id


class RaiseHalt(Message, frozen=True, kw_only=True, tag="raise_halt.1"):
    """Stop, at a level: each does what the one before it does, and more.

    no_new_trades: nothing opens; opening orders and quotes are withdrawn, half-open trades unwind. cancel_all: every
    request for quote is withdrawn too, and none is asked; closes go on by orders; the venue is compared at once, so
    that orders of ours which no trade knows are withdrawn as well. flatten: every trade is closed.
    """

    level: HaltLevel
    reason: str
    requested_by: str


FLATTEN_DIRECT = "flatten --direct"
"""Who raises a halt, and closes trades, that were flattened at the venue without execution."""


class FlattenLatch(msgspec.Struct, frozen=True, kw_only=True):
    """A flatten was begun at the venue without execution: halt before anything is placed. No message: it comes from
    a file (`shared.latch`). The same `latch_id` halts once, also after the halt was lifted."""

    latch_id: str
    raised_by: str
    reason: str


class DirectOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that a direct flatten announced in its record, before it sent it at `at_ns`. venue_order_id: None
    where no answer was written down."""

    client_order_id: int
    symbol: str
    side: Side
    quantity: Decimal
    at_ns: int
    venue_order_id: int | None = None


class DirectFlattenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one run of a direct flatten says that it did. No message: it comes from a file (`flatten_record`)."""

    run_id: str
    raised_by: str
    reason: str
    orders: tuple[DirectOrder, ...]


class LiftHalts(Message, frozen=True, kw_only=True, tag="lift_halts.1"):
    """Lift all halts in force. Only for the operator."""

    requested_by: str


class HaltsAnswered(Message, frozen=True, kw_only=True, tag="halts_answered.1"):
    state: HaltState


class GetAccount(Message, frozen=True, kw_only=True, tag="get_account.1"):
    """Ask risk for the newest account snapshot."""


class AccountAnswer(Message, frozen=True, kw_only=True, tag="account_answer.1"):
    account: AccountSnapshot | None


class StrategyCommand(Message, frozen=True, kw_only=True, tag="strategy_command.1"):
    """Tell a strategy ("*" = all of the host) to `pause`, `resume`, `stop` or `run_once`: open one trade, then pause.

    Exits of open trades go on while paused. One intent that execution has answered ends a `run_once`.
    """

    action: str
    strategy: str
    requested_by: str


class StrategyCommandDone(Message, frozen=True, kw_only=True, tag="strategy_command_done.1"):
    strategies: tuple[str, ...]


class RollTrade(Message, frozen=True, kw_only=True, tag="roll_trade.1"):
    """Roll an open trade now, as its strategy's `roll` says but whether or not its conditions hold: within its net
    limit, as long as its `within_seconds`. A host that is restarted before the close begins forgets it."""

    trade_id: str
    requested_by: str


class RollWanted(Message, frozen=True, kw_only=True, tag="roll_wanted.1"):
    """The trade is rolled as soon as nothing stands against it, until `until_ns`. net_limit_usd: what it may cost."""

    trade_id: str
    strategy: str
    net_limit_usd: float
    until_ns: int


class SteerHedge(Message, frozen=True, kw_only=True, tag="steer_hedge.1"):
    """`pause` the delta hedge of an open trade: it is left as it is, whatever delta does; or `resume` it, also after
    a close of a hedge by hand has paused it. Survives restarts, and ends with the trade."""

    trade_id: str
    action: str
    requested_by: str


class HedgeSteered(Message, frozen=True, kw_only=True, tag="hedge_steered.1"):
    trade_id: str
    strategy: str
    is_paused: bool


class ListStrategies(Message, frozen=True, kw_only=True, tag="list_strategies.1"):
    pass


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold before a strategy opens, with the answer and the reason."""

    name: str
    open: bool
    reason: str
    since_ns: int


class TradeExits(msgspec.Struct, frozen=True, kw_only=True):
    """The exits of one open trade as its host last judged them.

    conditions: one gate per exit condition, in the order in which they are asked; `open` means close the trade.
    closing: why it is being closed, "" while it is not. hard_deadline_ns: when execution closes it by itself.
    """

    trade_id: str
    state: str
    closing: str
    conditions: tuple[Gate, ...]
    hard_deadline_ns: int | None = None


class DryRunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the trades of a dry run would have come to, USD. net_usd: of those that ended, after fees and funding.
    open_pnl_usd: of those that are open, on mark, after both so far; None while a mark is missing. funding_usd: of
    all of them so far, paid > 0."""

    open: int
    closed: int
    net_usd: Decimal
    open_pnl_usd: float | None
    funding_usd: Decimal = Decimal(0)


class ListDryTrades(Message, frozen=True, kw_only=True, tag="list_dry_trades.1"):
    """Ask a host for the trades that this strategy would have made."""

    strategy: str


class DryTradeList(Message, frozen=True, kw_only=True, tag="dry_trade_list.1"):
    """The newest that have ended, oldest first, then those that are open."""

    trades: tuple[TradeUpdate, ...]


class StrategyStatus(Message, frozen=True, kw_only=True, tag="strategy_status.1"):
    """One strategy as its host sees it. state: running, paused, stopping, stopped, failed.

    gates: what must hold before it opens a trade. exits: of each of its open trades. if_broken: what it declares for
    trades that lose a leg from outside; None for the desk's setting, or where its code decides for each.
    parameters: those of its instance in voldesk.toml, as text. dry_run: None when it made no trade of a dry run.
    """

    strategy: str
    state: str
    reason: str
    gates: tuple[Gate, ...]
    trades_today: int
    open_trades: int
    next_ordinal: int
    last_closed_ns: int | None
    signals_generated: int
    signals_executed: int
    updated_ns: int
    exits: tuple[TradeExits, ...] = ()
    if_broken: IfBroken | None = None
    parameters: str = ""
    dry_run: DryRunResult | None = None

    @property
    def key(self) -> str:
        return self.strategy


class StrategyList(Message, frozen=True, kw_only=True, tag="strategy_list.1"):
    strategies: tuple[StrategyStatus, ...]
