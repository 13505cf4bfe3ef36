"""What execution remembers of one trade, leg, order, execution or intent: the records of which its book is made."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from services.execution.quality import TradeTally
from services.execution.rows import ClosePurpose
from shared.messages.base import Side
from shared.messages.costs import ModeChoice, OpeningCost
from shared.messages.market import Instrument
from shared.messages.trades import (
    FINAL_ORDER_STATES,
    FINAL_TRADE_STATES,
    ExecutionMode,
    GrantLeg,
    OpenTrade,
    OrderState,
    Purpose,
    Refusal,
    StoryLine,
    TradeState,
)
from shared.messages.venue import RefusalKind
from shared.options.chain import snap_up
from shared.strategy.evaluate import clock_exit_ns

NOTHING_TO_REDUCE = 10536
"""The venue's code for a reduce-only order without a position."""

ZERO = Decimal(0)
_SECOND = 1_000_000_000
_MOVES_KEPT_NS = 40 * 86_400 * _SECOND
"""A desk may be down for weeks, and is told of all payments when it is back."""


class Order(msgspec.Struct, kw_only=True):
    """One order. `state_ns` is when its state last changed; `unknown_ns` when its outcome became unknown.

    `priced_ns`: when it was last asked to rest at a price. `amend_price`: where an amendment, sent at `amend_ns`,
    moves it; None when none is on its way. `amends` counts those asked for; `amend_failed`: one was in vain.
    `sighted_quantity`: the most that the venue said is filled. `assumed_quantity`: the floor of a `FillAssumed`,
    recorded at `assumed_ns`.
    `cancel_asked`: its cancel was asked for at least once. `label`: what a quoting strategy calls it; `wish_ns`: when
    that asked for it; `tries`: how often it was placed again since.
    `trigger_price`: of a stop order, which was triggered at `triggered_ns`, 0 before; `at_market`: it has no limit
    then, and its price is its trigger.
    `quote_id`: it stands for a leg of this accepted quote, the venue knows it by an id of its own alone; else "".
    """

    client_order_id: int
    trade_id: str
    leg_index: int
    purpose: Purpose
    attempt: int
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    created_ns: int
    state: OrderState
    reason: str
    state_ns: int
    updated_ns: int
    unknown_ns: int
    priced_ns: int
    amend_price: Decimal | None = None
    amend_ns: int = 0
    amends: int = 0
    amend_failed: bool = False
    venue_order_id: int | None = None
    earlier_venue_ids: tuple[int, ...] = ()
    fills_quantity: Decimal = ZERO
    fills_cash: Decimal = ZERO
    sighted_quantity: Decimal = ZERO
    assumed_quantity: Decimal = ZERO
    assumed_price: Decimal = ZERO
    assumed_ns: int = 0
    refusal_kind: RefusalKind | None = None
    refusal_code: int | None = None
    quote_id: str = ""
    post_only: bool = False
    label: str = ""
    wish_ns: int = 0
    tries: int = 0
    cancel_asked: bool = False
    trigger_price: Decimal | None = None
    at_market: bool = False
    triggered_ns: int = 0

    @property
    def is_waiting(self) -> bool:
        """A stop order whose trigger was not reached, for all that is known."""
        waits = self.trigger_price is not None and not self.triggered_ns
        return waits and not self.filled_quantity and not self.is_final

    @property
    def is_protective(self) -> bool:
        """A stop order that reduces what its trade holds."""
        return self.trigger_price is not None and self.purpose != "open"

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_ORDER_STATES

    @property
    def is_amending(self) -> bool:
        """An amendment is on its way, and the venue was not seen yet to rest at one price or the other."""
        return self.amend_price is not None and not self.is_final

    @property
    def filled_quantity(self) -> Decimal:
        return max(self.fills_quantity, self.assumed_quantity)

    @property
    def filled_cash(self) -> Decimal:
        """Σ price × quantity over what is filled, in USD."""
        return self.fills_cash + max(ZERO, self.assumed_quantity - self.fills_quantity) * self.assumed_price

    @property
    def open_quantity(self) -> Decimal:
        """What it may still fill."""
        return ZERO if self.is_settled else max(self.quantity - self.filled_quantity, ZERO)

    @property
    def wish_key(self) -> str:
        """Orders of one leg, side and label are tries of the same thing."""
        return f"{self.leg_index}/{self.side}/{self.label}"

    @property
    def is_settled(self) -> bool:
        """Final, and every execution that the venue spoke of is known: nothing more will come of it."""
        return self.is_final and self.filled_quantity >= self.sighted_quantity


class Fill(msgspec.Struct):
    """One execution, as it is needed to recognise it again and to complete its fee."""

    client_order_id: int
    trade_id: str
    fee_usd: Decimal | None
    venue_ns: int


class DirectFill(msgspec.Struct):
    """How much of an execution of a direct flatten is booked to legs, with its fee."""

    quantity: Decimal
    fee_usd: Decimal
    at_ns: int


class Leg(msgspec.Struct, kw_only=True):
    """One leg, summed from the fills of the trade's own orders. Cash is Σ price × quantity in USD.

    `outside_quantity`: of what is closed, by no order of the trade. `priceless_quantity`: of that, at a price nobody
    knows, left out of P&L. `opening_quantity`, `closing_quantity`: what orders of the trade may still fill.
    `overfilled_quantity`: what was told to be filled beyond `quantity`; `keep_quantity`: what it is to hold since it
    was to be reduced, None if it never was; `trimmed_quantity`, `trimmed_cash`: what of either was closed while the
    trade was open. `moves`: of a perpetual, by how much what is held changed and when, by the venue's clock.
    `fee_coins`: of spot, what the venue kept of the coins that were bought as its fee, which is in the trade's fees;
    `left_quantity`: what was too little to be sold.
    """

    symbol: str
    side: Side
    quantity: Decimal
    instrument: Instrument
    opened_quantity: Decimal = ZERO
    opened_cash: Decimal = ZERO
    closed_quantity: Decimal = ZERO
    closed_cash: Decimal = ZERO
    opening_quantity: Decimal = ZERO
    closing_quantity: Decimal = ZERO
    outside_quantity: Decimal = ZERO
    priceless_quantity: Decimal = ZERO
    settled_quantity: Decimal = ZERO
    overfilled_quantity: Decimal = ZERO
    keep_quantity: Decimal | None = None
    trimmed_quantity: Decimal = ZERO
    trimmed_cash: Decimal = ZERO
    last_fill_ns: int = 0
    moves: list[tuple[int, Decimal]] = msgspec.field(default_factory=list)
    fee_coins: Decimal = ZERO
    left_quantity: Decimal = ZERO

    @property
    def fee_quantity(self) -> Decimal:
        """What the venue kept of coins as its fee, in whole lots: what that leaves of the last one cannot be sold,
        and is the account's and not the trade's."""
        return snap_up(self.fee_coins, self.instrument.lot_size) if self.fee_coins else ZERO

    @property
    def held_quantity(self) -> Decimal:
        return self.opened_quantity - self.closed_quantity - self.fee_quantity - self.left_quantity

    @property
    def closable_quantity(self) -> Decimal:
        """What there was to close of it since it was opened, without what was too much."""
        return self.opened_quantity - self.fee_quantity - self.trimmed_quantity

    @property
    def target_quantity(self) -> Decimal:
        """What the trade is to hold of it at most."""
        return self.quantity if self.keep_quantity is None else min(self.quantity, self.keep_quantity)

    @property
    def surplus_quantity(self) -> Decimal:
        """What is held beyond what the trade is to hold."""
        return max(self.held_quantity - self.target_quantity, ZERO)

    @property
    def taken_quantity(self) -> Decimal:
        """What is closed of what the trade is to hold, and not of what was too much."""
        too_much = max(self.opened_quantity - self.target_quantity, ZERO)
        return self.closed_quantity - min(self.trimmed_quantity, too_much)

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    @property
    def open_price(self) -> Decimal | None:
        return self.opened_cash / self.opened_quantity if self.opened_quantity else None

    @property
    def close_price(self) -> Decimal | None:
        priced = self.closed_quantity - self.priceless_quantity
        return self.closed_cash / priced if priced else None

    def moved(self, at_ns: int, change: Decimal) -> None:
        """What is held of a perpetual changed; what lies long back is kept as one sum."""
        if not self.instrument.is_perpetual:
            return
        self.moves.append((at_ns, change))
        old_ns = at_ns - _MOVES_KEPT_NS
        old = [each for each in self.moves if each[0] < old_ns]
        if len(old) > 1:
            summed = (max(moment for moment, _ in old), sum((each for _, each in old), ZERO))
            self.moves = [summed, *(each for each in self.moves if each[0] >= old_ns)]

    def held_at(self, at_ns: int) -> Decimal:
        """What was held of a perpetual at an instant of the last weeks, by executions that are known, ≥ 0."""
        return sum((change for moment, change in self.moves if moment <= at_ns), ZERO)

    @property
    def realized_pnl_usd(self) -> Decimal:
        priced = self.closed_quantity - self.priceless_quantity
        if not priced or not self.opened_quantity:
            return ZERO
        return self.sign * (self.closed_cash - self.opened_cash * priced / self.opened_quantity)


class Close(msgspec.Struct, frozen=True):
    """Why and how the trade is to be closed. hurried: it may not be stretched over time any more. joined: who else
    wanted it closed since, and why; "" for nobody, the first one counts. cash_before, priceless_before: what its legs
    had as closed cash, and as closed at a price nobody knows, when its close was first asked for."""

    reason: str
    requested_by: str
    purpose: ClosePurpose
    at_ns: int
    hurried: bool = False
    joined: str = ""
    cash_before: tuple[Decimal, ...] = ()
    priceless_before: Decimal = ZERO

    @property
    def is_urgent(self) -> bool:
        """Whether it is worked as fast as its plan can: what execution or risk closes always is."""
        return self.hurried or self.purpose != "close" or self.requested_by in ("execution", "risk")


class Stop(msgspec.Struct, frozen=True):
    """Why no more opening orders go out."""

    reason: str
    void: bool


class Fallback(msgspec.Struct, frozen=True):
    """From `at_ns` on `mode` works the opening or the close."""

    purpose: Literal["open", "close"]
    mode: ExecutionMode
    reason: str
    at_ns: int


class ChunkEnd(msgspec.Struct, frozen=True):
    """A chunk that a smart plan is done with."""

    purpose: Literal["open", "close"]
    number: int
    complete: bool
    reason: str
    at_ns: int


class Roll(msgspec.Struct, frozen=True, kw_only=True):
    """A trade's place in a chain of rolls. `earlier_pnl_usd`: of the trades before it, with what came late."""

    chain_id: str
    number: int
    earlier_pnl_usd: Decimal


class Trade(msgspec.Struct, kw_only=True):
    """One trade. `state_ns` is when it entered its state, `scaled_ns` when its legs were last made smaller, and
    `scaled_chunk` in which chunk of its opening (counted from 0) that was.
    `overfilled_ns`: when it was last told that a leg was filled beyond its quantity; `reduced_ns`: when it was last
    to be reduced.

    `crossings`: since when a leg of a chunk crosses the spread, by "<purpose>/<chunk>/<leg>".
    funding_usd: of perpetuals, paid > 0. hedges: trades that hedge it; forgotten_hedges_usd: what those made, before
    fees, that are remembered no more, forgotten_hedge_fees_usd their fees, forgotten_hedges_ns when the last of them
    ended.
    order_ids: orders that are remembered, oldest first. Of these `live` may still trade, or their executions are not
    all known; `untold`: of these not every execution was told; `unfilled`: ended with nothing filled; `turned_away`:
    labelled post-only ones of them that the venue ended unasked a moment ago. last_order_ns: when an order was last
    asked for or changed its state. feeless: executions whose fee is not known. roll: its place in a chain of rolls,
    if it is a successor; rolled_to: its own successor, "" for none. wishes: by `Order.wish_key`, when the
    strategy last asked for such an order. forgot_ns: when unfilled orders were last let go of.
    """

    trade_id: str
    number: int
    request: OpenTrade
    mode: ExecutionMode
    state: TradeState
    reason: str
    legs: list[Leg]
    created_ns: int
    state_ns: int
    updated_ns: int
    opened_ns: int | None = None
    closed_ns: int | None = None
    scaled_ns: int = 0
    scaled_chunk: int = 0
    overfilled_ns: int = 0
    reduced_ns: int = 0
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    hedges: list[str] = msgspec.field(default_factory=list)
    forgotten_hedges_usd: Decimal = ZERO
    forgotten_hedge_fees_usd: Decimal = ZERO
    forgotten_hedges_ns: int = 0
    opening_fees_usd: Decimal = ZERO
    choice: ModeChoice | None = None
    opening_cost: OpeningCost | None = None
    close: Close | None = None
    stop: Stop | None = None
    roll: Roll | None = None
    rolled_to: str = ""
    fallbacks: list[Fallback] = msgspec.field(default_factory=list)
    chunks: list[ChunkEnd] = msgspec.field(default_factory=list)
    crossings: dict[str, int] = msgspec.field(default_factory=dict)
    order_ids: list[int] = msgspec.field(default_factory=list)
    live: dict[int, None] = msgspec.field(default_factory=dict)
    untold: dict[int, None] = msgspec.field(default_factory=dict)
    unfilled: dict[int, None] = msgspec.field(default_factory=dict)
    turned_away: dict[int, None] = msgspec.field(default_factory=dict)
    wishes: dict[str, int] = msgspec.field(default_factory=dict)
    last_order_ns: int = 0
    feeless: int = 0
    forgot_ns: int = 0
    attempts: dict[str, int] = msgspec.field(default_factory=dict)
    story: list[StoryLine] = msgspec.field(default_factory=list)
    tally: TradeTally = msgspec.field(default_factory=TradeTally)

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_TRADE_STATES

    @property
    def is_flat(self) -> bool:
        return all(leg.held_quantity <= 0 for leg in self.legs)

    @property
    def was_filled(self) -> bool:
        return any(leg.opened_quantity > 0 for leg in self.legs)

    @property
    def entry_premium_usd(self) -> Decimal:
        """What the opening paid for options, received < 0; a future has no premium."""
        options = (leg for leg in self.legs if leg.instrument.is_option)
        return sum((leg.sign * leg.opened_cash for leg in options), ZERO)

    @property
    def fees_are_complete(self) -> bool:
        """Whether every execution that is known of its orders is in its fees."""
        return not self.feeless and not self.untold

    @property
    def by_strategy(self) -> bool:
        """Whether the strategy works the orders, each by itself: there is no structure to be whole."""
        return self.mode == "quoting"

    @property
    def hard_deadline_ns(self) -> int | None:
        """When it is closed whatever its host does: as declared, or a grace after its first exit by the clock."""
        declared_ns = self.request.hard_deadline_ns
        symbols = [leg.symbol for leg in self.request.legs]
        due_ns = clock_exit_ns(self.request.exit_conditions, self.opened_ns, symbols)
        if due_ns is None:
            return declared_ns
        enforced_ns = due_ns + round(self.request.deadline_grace_s * _SECOND)
        return enforced_ns if declared_ns is None else min(enforced_ns, declared_ns)

    @property
    def opening_mode(self) -> ExecutionMode:
        """The mode that works the opening now."""
        return next((each.mode for each in reversed(self.fallbacks) if each.purpose == "open"), self.mode)

    @property
    def opening_since_ns(self) -> int:
        """Since when that mode has had it."""
        return next((each.at_ns for each in reversed(self.fallbacks) if each.purpose == "open"), self.created_ns)

    @property
    def closing_mode(self) -> ExecutionMode:
        """The mode that works the close now, if it is an ordinary one."""
        return next((each.mode for each in reversed(self.fallbacks) if each.purpose == "close"), self.mode)

    @property
    def stairs_since_ns(self) -> int:
        """Since when the staircase has had the trade, if it has it: what was sent before was not its own."""
        if self.state != "CLOSING":
            return self.state_ns
        return max((each.at_ns for each in self.fallbacks if each.purpose == "close"), default=self.state_ns)

    def granted(self, leg: Leg) -> GrantLeg:
        """What risk granted of this leg, within the trade's own limit of its price."""
        request, symbol, side = self.request, leg.symbol, leg.side
        for part in request.grant.legs:
            if part.symbol == symbol and part.side == side:
                break
        else:
            raise ValueError(f"{self.trade_id} has no grant for {side} {symbol}")
        if not request.price_limits:
            return part
        limits = zip(request.legs, request.price_limits, strict=False)
        limit = next((limit for order, limit in limits if order.symbol == leg.symbol), None)
        if limit is None:
            return part
        better = min if leg.side == "buy" else max
        return msgspec.structs.replace(part, worst_price=better(part.worst_price, limit))

    def reduces_surplus(self, order: Order) -> bool:
        """Whether the order undoes what is too much of a trade that was open: a failed opening is undone whole."""
        return order.purpose == "unwind" and self.opened_ns is not None

    def next_attempt(self, leg_index: int, purpose: Purpose) -> int:
        return self.attempts.get(f"{leg_index}/{purpose}", 0)


class Intent(msgspec.Struct, frozen=True):
    """What became of an intent: a trade, or a refusal."""

    trade_id: str | None
    refusal: Refusal | None
    at_ns: int
