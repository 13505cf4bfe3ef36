"""Trades: the intents that open and close them, and what execution says of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Message, Side
from shared.messages.conditions import ExitCondition
from shared.messages.costs import ModeChoice, OpeningCost
from shared.messages.quality import PhaseQuality
from shared.messages.rfq import RfqParams
from shared.messages.smart import ChunkProgress, SmartParams

TradeState = Literal[
    "PENDING_OPEN",
    "OPENING",
    "OPEN",
    "PARTIALLY_OPEN",
    "PENDING_CLOSE",
    "CLOSING",
    "UNWINDING",
    "BROKEN",
    "SETTLING",
    "SETTLED",
    "CLOSED",
    "FAILED",
]
FINAL_TRADE_STATES: frozenset[str] = frozenset({"CLOSED", "SETTLED", "FAILED"})

OrderState = Literal[
    "SENDING", "WORKING", "CANCELLING", "UNKNOWN", "FILLED", "CANCELLED", "REFUSED", "NEVER_PLACED", "EXPIRED"
]
FINAL_ORDER_STATES: frozenset[str] = frozenset({"FILLED", "CANCELLED", "REFUSED", "NEVER_PLACED", "EXPIRED"})

Purpose = Literal["open", "close", "unwind", "flatten"]
ExecutionMode = Literal["auto", "limit", "rfq", "smart", "quoting"]
Policy = Literal["atomic", "best_effort"]
IfBroken = Literal["hold", "close"]
"""What is done with what is left of a trade that lost a leg from outside."""

Pricing = Literal["aggressive", "mid", "passive", "top_of_book", "mark", "fair"]
HaltLevel = Literal["no_new_trades", "cancel_all", "flatten"]


class LegOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of a structure: trade `quantity` (> 0, in base coin) of `symbol` in direction `side` to open it."""

    symbol: str
    side: Side
    quantity: Decimal


class LimitPhase(msgspec.Struct, frozen=True, kw_only=True):
    """One phase of the limit plan.

    pricing: where the price is put: `aggressive` is mid moved `buffer_pct` per cent towards the other side; `mid`;
    `passive` and `top_of_book` the own side's best; `mark`; `fair` is mark inside the spread, else mid, else the one
    side that is there, moved `fair_aggression` of the way to the other side (0 = fair, 1 = the other side's best).
    duration_s: how long the phase lasts; reprice_interval_s: how long one price rests before it is moved.
    """

    pricing: Pricing = "aggressive"
    duration_s: float = 30.0
    reprice_interval_s: float = 10.0
    buffer_pct: float = 2.0
    fair_aggression: float = 0.0


class ExecutionParams(msgspec.Struct, frozen=True, kw_only=True):
    """How a limit plan works a trade.

    phases: one after the other; the last one is repeated until `max_requote_rounds` prices were shown for a leg.
    fill_timeout_s: with max_requote_rounds it bounds a plan whose phases are used up.
    max_requote_rounds: how many prices are shown for a leg at most. max_close_premium_pct: how far past mark a close
    may cross, in per cent of it. final_look_s: how long a plan waits for a late fill before it gives up.
    min_price_pct_of_fair, min_floor_price_usd: an opening sale asks for no less than this share of the fair price, in
    per cent, and for no less than this price per unit, whatever the phase says.
    max_unwind_cost_usd, max_unwind_s: what undoing a failed opening may cost before fees, and how long it may take,
    None for the desk's `close_patience_ms`. Past either the trade is BROKEN and alarmed; past the cost it waits for a
    person, or until it costs less.
    scale_to_filled: when a leg ends with a part of it filled, the others are scaled to that ratio, in lots, and the
    opening goes on, in chunks with the one that it is at; where that cannot be, the policy decides. A block trade is
    whole or not at all.
    requote_by: how an order comes to another price: `replace` cancels it and waits until it is seen to be gone,
    `amend` moves it where it is, and replaces it once an amendment was in vain. docs/decisions/execution-profiles.md
    says why it is the first by default.
    profile: the name of the execution profile that these come from, "" for none.
    """

    phases: tuple[LimitPhase, ...] = (LimitPhase(),)
    fill_timeout_s: float = 30.0
    max_requote_rounds: int = 10
    max_close_premium_pct: float = 25.0
    final_look_s: float = 2.0
    min_price_pct_of_fair: float | None = None
    min_floor_price_usd: Decimal | None = None
    max_unwind_cost_usd: float | None = None
    max_unwind_s: float | None = None
    scale_to_filled: bool = False
    requote_by: Literal["replace", "amend"] = "replace"
    profile: str = ""

    @property
    def patience_s(self) -> float:
        """How long a leg is worked at most: its phases, or as long as all its rounds take. An order whose price did
        not move is left where it is, and uses up rounds all the same."""
        interval_s = self.phases[-1].reprice_interval_s if self.phases else 0.0
        rounds_s = max(sum(phase.duration_s for phase in self.phases), interval_s * self.max_requote_rounds)
        return min(rounds_s, self.fill_timeout_s * self.max_requote_rounds)


class GrantLeg(msgspec.Struct, frozen=True, kw_only=True):
    """What a grant allows on one leg: up to `max_quantity`, at `worst_price` (USD per unit) or better."""

    symbol: str
    side: Side
    max_quantity: Decimal
    worst_price: Decimal


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Risk's permission for one intent, as an envelope. `signature` is HMAC-SHA256 over all other fields.

    `margin_usd` and `delta` (per underlying) count as used until execution reports the grant consumed or released.
    """

    grant_id: str
    intent_id: str
    account_id: str
    legs: tuple[GrantLeg, ...]
    deadline_ns: int
    halt_epoch: int
    issued_ns: int
    margin_usd: float
    max_loss_usd: float | None
    signature: str = ""


class OpenTrade(Message, frozen=True, kw_only=True, tag="open_trade.1"):
    """Open one structure. The same `intent_id` opens at most one trade, whatever else the message says.

    intent_id: "<strategy>-<ordinal>", the ordinal counted by execution. valid_until_ns: refused after.
    hard_deadline_ns, max_loss_usd (on mark) and if_host_silent are enforced by execution itself, and so are the exits
    by the clock (max_hold, time_exit, utc_datetime_exit; counted from the opening), deadline_grace_s after they are
    due.
    entry_reasons: the gates that were open when the intent was made, each with its reason, for the trade's story.
    rfq: how it is traded by request for quote, for execution_mode "rfq" (and "auto" where it chooses that).
    smart: how it is traded in chunks, for execution_mode "smart" (and "auto" where it chooses that).
    decision_prices: the mid of each leg on which the strategy decided, None where there was none.
    if_broken: what becomes of the rest when a leg is liquidated, expires or is closed from outside. None: as
    [execution] if_broken says when it is accepted.
    rolled_from: the trade, ended, whose place it takes in a chain of rolls; "" for none. A trade is rolled once.
    price_limits: no leg is opened at a worse price than this (USD per unit, in the order of the legs), whatever the
    grant allows; empty for none.
    hedge_of: the trade whose delta this one hedges: execution closes it when that one has ended, and counts it in the
    maximum loss of that one. "" for a trade of its own.
    hedge_least_coins, hedge_most_coins: the least and the most of the perpetual that its own delta hedge may come to
    hold, short < 0: refused where that would net against what another trade holds, hedges of single trades left out.
    """

    intent_id: str
    account_id: str
    strategy: str
    ordinal: int
    legs: tuple[LegOrder, ...]
    execution_mode: ExecutionMode
    execution_params: ExecutionParams
    policy: Policy
    exit_conditions: tuple[ExitCondition, ...]
    hard_deadline_ns: int | None
    max_loss_usd: float | None
    if_host_silent: Literal["hold", "close"]
    host_silent_after_s: float
    valid_until_ns: int
    grant: Grant
    deadline_grace_s: float = 30.0
    entry_reasons: tuple[str, ...] = ()
    rfq: RfqParams = RfqParams()
    smart: SmartParams = SmartParams()
    decision_prices: tuple[float | None, ...] = ()
    if_broken: IfBroken | None = None
    rolled_from: str = ""
    price_limits: tuple[Decimal, ...] = ()
    hedge_of: str = ""
    hedge_least_coins: float = 0.0
    hedge_most_coins: float = 0.0


class TradeAccepted(Message, frozen=True, kw_only=True, tag="trade_accepted.1"):
    """The intent opened (or had already opened) this trade."""

    intent_id: str
    trade_id: str


class CloseTrade(Message, frozen=True, kw_only=True, tag="close_trade.1"):
    """Close what the trade still holds. Closing a trade that is closing or final is answered with its state; a close
    that is stretched over time is hurried by who asks again, unless that is a strategy."""

    trade_id: str
    reason: str
    requested_by: str


class CloseAccepted(Message, frozen=True, kw_only=True, tag="close_accepted.1"):
    trade_id: str
    state: TradeState


class CancelOrders(Message, frozen=True, kw_only=True, tag="cancel_orders.1"):
    """Cancel working orders: those that are all of what is given (one order, of a trade, a symbol, a strategy); all
    of ours when nothing is given. keeps_stops: not stop orders that reduce, which protect what is held."""

    client_order_id: int | None = None
    trade_id: str | None = None
    symbol: str | None = None
    strategy: str | None = None
    requested_by: str
    keeps_stops: bool = False


class CancelAccepted(Message, frozen=True, kw_only=True, tag="cancel_accepted.1"):
    client_order_ids: tuple[int, ...]


class Refusal(Message, frozen=True, kw_only=True, tag="refusal.1"):
    """The answer "no": a stable code, what it is about, and what can be done. Any request may be answered so.

    against: of `would_net`, the trade that stands in the way, "" where it is none or another reason."""

    code: str
    detail: str
    remedy: str = ""
    against: str = ""


def unknown_request(service: str, message: Message) -> Refusal:
    """The answer to a request that `service` has no answer to."""
    return Refusal(
        code="unknown_request",
        detail=f"{service} does not answer {type(message).__name__}",
        remedy="see the message catalogue for who does",
    )


RETRYABLE_REFUSALS: frozenset[str] = frozenset({"not_ready", "market_stale", "disk_full"})
"""Refusals of `OpenTrade` that speak of the moment: not the intent's outcome, it may be sent again until
`valid_until_ns`. Any other code is the outcome of the intent for ever: go on with the next ordinal."""


class IntentRefused(Message, frozen=True, kw_only=True, tag="intent_refused.1"):
    """Execution has refused an intent for good: under this id no trade will ever be opened, whatever is sent later.

    Not published for what speaks of the moment (`RETRYABLE_REFUSALS`), nor for what is refused unread. against: as of
    `Refusal`.
    """

    intent_id: str
    account_id: str
    code: str
    detail: str
    at_ns: int
    against: str = ""

    @property
    def key(self) -> str:
        return self.intent_id


class LegStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A leg as execution knows it from the trade's own fills. Prices are weighted averages, USD per unit.

    keep_quantity: what it is to hold since it was to be reduced, None if it never was. fee_quantity: of coins that
    were bought, what the venue kept as its fee, in whole lots, and what was left as too little to be sold.
    """

    symbol: str
    side: Side
    quantity: Decimal
    filled_quantity: Decimal
    closed_quantity: Decimal
    open_price: Decimal | None
    close_price: Decimal | None
    keep_quantity: Decimal | None = None
    fee_quantity: Decimal = Decimal(0)

    @property
    def held_quantity(self) -> Decimal:
        """What the trade still holds of this leg, ≥ 0, in the direction of `side`."""
        return self.filled_quantity - self.closed_quantity - self.fee_quantity


class RollLink(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a trade in a chain of rolls.

    chain_id: the chain's first trade. number: 1 for the first successor. rolled_from: the trade whose place it took.
    earlier_pnl_usd: realised P&L of all trades of the chain before it, their fees and funding deducted.
    """

    chain_id: str
    number: int
    rolled_from: str
    earlier_pnl_usd: Decimal


class TradeUpdate(Message, frozen=True, kw_only=True, tag="trade.1"):
    """The whole state of one trade, published on every change.

    realized_pnl_usd: of what was closed, before fees; fees_usd: all fees so far (> 0 = paid); fees_complete: the fee
    of every execution so far is in it.
    entry_premium_usd: Σ over opening fills of options of price × quantity, paid > 0, received < 0.
    hard_deadline_ns: when execution closes the trade by itself at the latest, None: never by the clock; exits that
    count from the opening are in it once the trade is open.
    grant_open: the grant still reserves room at risk (not consumed, released or void).
    choice: why it is opened by this mode, and what each was expected to cost. opening_cost: what the opening did
    cost, once it is over and its fees are known.
    opening_chunks, closing_chunks: how far a smart plan came with the opening and with the close, if it had them.
    funding_usd: of perpetuals so far, paid > 0. hedge_of: the trade that it hedges, "" for none.
    if_broken: what is done with the rest when it loses a leg from outside; None: as the desk's setting says.
    roll: its place in a chain of rolls, None for a trade that is no successor. rolled_to: the trade that took its
    place, "" for none. close_reason: why its close was asked for, "" while it was not. close_joined: who else wanted
    it closed since, and why; "" for nobody. close_cost_usd: what was closed since did cost before fees, paid > 0;
    None while no close was asked for, or if a price is not known. close_by: who asked for the close, the first one.
    ended_hedges_usd: what trades that hedged it and have ended made, after fees and funding; all those that ended at
    ended_hedges_ns or before are in it.
    """

    trade_id: str
    account_id: str
    strategy: str
    ordinal: int
    intent_id: str
    state: TradeState
    reason: str
    legs: tuple[LegStatus, ...]
    execution_mode: ExecutionMode
    policy: Policy
    exit_conditions: tuple[ExitCondition, ...]
    hard_deadline_ns: int | None
    created_ns: int
    opened_ns: int | None
    closed_ns: int | None
    updated_ns: int
    realized_pnl_usd: Decimal
    fees_usd: Decimal
    entry_premium_usd: Decimal
    grant: Grant
    grant_open: bool
    fees_complete: bool = True
    choice: ModeChoice | None = None
    opening_cost: OpeningCost | None = None
    opening_chunks: ChunkProgress | None = None
    closing_chunks: ChunkProgress | None = None
    if_broken: IfBroken | None = None
    funding_usd: Decimal = Decimal(0)
    roll: RollLink | None = None
    rolled_to: str = ""
    close_reason: str = ""
    hedge_of: str = ""
    close_joined: str = ""
    close_cost_usd: Decimal | None = None
    close_by: str = ""
    ended_hedges_usd: Decimal = Decimal(0)
    ended_hedges_ns: int = 0

    @property
    def key(self) -> str:
        return self.trade_id

    @property
    def net_realized_usd(self) -> Decimal:
        """What was realised, after fees and funding so far."""
        return self.realized_pnl_usd - self.fees_usd - self.funding_usd

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_TRADE_STATES

    @property
    def chain_pnl_usd(self) -> Decimal:
        """Realised P&L of its chain of rolls up to and with this trade, fees and funding deducted; without a chain
        its own."""
        earlier_usd = Decimal(0) if self.roll is None else self.roll.earlier_pnl_usd
        return earlier_usd + self.realized_pnl_usd - self.fees_usd - self.funding_usd


class OrderUpdate(Message, frozen=True, kw_only=True, tag="order.1"):
    """The whole state of one order, published on every change.

    amend_price: where an amendment that is on its way moves it, None when none is. amends: how many were asked for.
    label: what a quoting strategy calls it. trigger_price: of a stop order; `waits` until the venue's price is there.
    at_market: it has no limit then, and `price` is its trigger.
    """

    client_order_id: int
    venue_order_id: int | None
    account_id: str
    trade_id: str
    leg_index: int
    purpose: Purpose
    attempt: int
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    filled_quantity: Decimal
    average_price: Decimal | None
    state: OrderState
    reason: str
    reduce_only: bool
    created_ns: int
    updated_ns: int
    amend_price: Decimal | None = None
    amends: int = 0
    post_only: bool = False
    label: str = ""
    trigger_price: Decimal | None = None
    at_market: bool = False
    waits: bool = False

    @property
    def key(self) -> str:
        return str(self.client_order_id)


class OrderFilled(Message, frozen=True, kw_only=True, tag="order_filled.2"):
    """The venue reported one execution; the newest message of a `venue_trade_id` counts.

    fee_usd: > 0 = paid, None while the venue has not told it; the message is published again once it has.
    """

    client_order_id: int
    venue_trade_id: int
    account_id: str
    trade_id: str
    leg_index: int
    purpose: Purpose
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee_usd: Decimal | None
    is_taker: bool
    venue_ns: int

    @property
    def key(self) -> str:
        return str(self.venue_trade_id)


class ListTrades(Message, frozen=True, kw_only=True, tag="list_trades.1"):
    """Ask execution for its trades, newest first."""

    include_final: bool = True
    limit: int = 500


class TradeList(Message, frozen=True, kw_only=True, tag="trade_list.1"):
    trades: tuple[TradeUpdate, ...]


class ListOrders(Message, frozen=True, kw_only=True, tag="list_orders.1"):
    """Ask execution for its orders, newest first."""

    trade_id: str | None = None
    include_final: bool = False
    limit: int = 500


class OrderList(Message, frozen=True, kw_only=True, tag="order_list.1"):
    orders: tuple[OrderUpdate, ...]


class TellTrade(Message, frozen=True, kw_only=True, tag="tell_trade.1"):
    """Ask execution for the story of one trade: what was decided and what happened, in order."""

    trade_id: str


class StoryLine(msgspec.Struct, frozen=True):
    at_ns: int
    kind: str
    text: str
    cause_id: str


class TradeStory(Message, frozen=True, kw_only=True, tag="trade_story.1"):
    """`quality`: how well the opening and the close were executed, each when something traded in it."""

    trade: TradeUpdate
    orders: tuple[OrderUpdate, ...]
    lines: tuple[StoryLine, ...]
    quality: tuple[PhaseQuality, ...] = ()
