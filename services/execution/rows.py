"""What execution writes to its journal: decisions and facts. The state of execution is the fold of these."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from services.execution.cash_rows import CashRow
from services.execution.inquiry_rows import InquiryRow
from services.execution.rfq_rows import RfqRow
from shared.messages.base import Side
from shared.messages.control import DirectOrder, HaltsAnswered
from shared.messages.costs import ModeChoice, OpeningCost
from shared.messages.leverage import LeverageChanged
from shared.messages.market import Instrument
from shared.messages.quoting import OrdersChanged
from shared.messages.reconciliation import Difference, PositionAdopted
from shared.messages.reducing import ReductionAccepted
from shared.messages.trades import (
    CancelAccepted,
    CloseAccepted,
    ExecutionMode,
    HaltLevel,
    OpenTrade,
    OrderState,
    Purpose,
    Refusal,
    TradeAccepted,
    TradeState,
)
from shared.messages.venue import RefusalKind, VenueFill

Answer = (
    TradeAccepted
    | CloseAccepted
    | ReductionAccepted
    | CancelAccepted
    | HaltsAnswered
    | PositionAdopted
    | OrdersChanged
    | LeverageChanged
    | Refusal
)
ClosePurpose = Literal["close", "unwind", "flatten"]


class RequestAnswered(msgspec.Struct, frozen=True, tag="request_answered"):
    """A request that changes something was answered so; the same id gets this answer again, and nothing more."""

    request_id: str
    answer: Answer


class LeverageAsked(msgspec.Struct, frozen=True, kw_only=True, tag="leverage_asked"):
    """The venue is about to be asked for this leverage of a contract, once, by a person or as it is configured. Its
    outcome is the answer to the request."""

    request_id: str
    symbol: str
    leverage: int
    requested_by: str


class IntentRefused(msgspec.Struct, frozen=True, kw_only=True, tag="intent_refused"):
    """The outcome of this intent is a refusal, for ever."""

    intent_id: str
    strategy: str
    ordinal: int
    refusal: Refusal


class TradeRequested(msgspec.Struct, frozen=True, kw_only=True, tag="trade_requested"):
    """The intent opens this trade. `instruments` (one per leg) make the trade closable without market data. `choice`:
    why by this mode, and what each was expected to cost."""

    trade_id: str
    trade_number: int
    request: OpenTrade
    execution_mode: ExecutionMode
    instruments: tuple[Instrument, ...]
    choice: ModeChoice | None = None


class TradeAdopted(msgspec.Struct, frozen=True, kw_only=True, tag="trade_adopted"):
    """A position that was opened by hand is this trade from now on, OPEN and whole, at the venue's average price.

    `request` is what an intent would have said; its grant reserves nothing.
    """

    trade_id: str
    trade_number: int
    request: OpenTrade
    instrument: Instrument
    entry_price: Decimal
    adopted_by: str


class TradeMoved(msgspec.Struct, frozen=True, kw_only=True, tag="trade_moved"):
    """The trade changed its state."""

    trade_id: str
    state: TradeState
    reason: str


class OpeningStopped(msgspec.Struct, frozen=True, kw_only=True, tag="opening_stopped"):
    """No more opening orders for this trade. `void`: what was filled must be unwound whatever the policy says."""

    trade_id: str
    reason: str
    void: bool


class OpeningScaled(msgspec.Struct, frozen=True, kw_only=True, tag="opening_scaled"):
    """The opening goes on with these quantities, one per leg, because a leg ended with a part of it filled."""

    trade_id: str
    quantities: tuple[Decimal, ...]
    reason: str


class LegOverfilled(msgspec.Struct, frozen=True, kw_only=True, tag="leg_overfilled"):
    """An opening that is over filled `quantity` more of the leg than the trade was to hold: an order that was
    believed gone traded after another had taken its place. An atomic trade has it reduced, best effort keeps it."""

    trade_id: str
    leg_index: int
    quantity: Decimal
    done: Literal["reducing", "kept"]


class ReductionWanted(msgspec.Struct, frozen=True, kw_only=True, tag="reduction_wanted"):
    """An open trade of one leg is to hold no more than `keep` from now on: the rest of it is closed."""

    trade_id: str
    keep: Decimal
    reason: str
    requested_by: str


class CloseRequested(msgspec.Struct, frozen=True, kw_only=True, tag="close_requested"):
    """Somebody, or a rule of the trade, wants it closed. The first one counts; a flatten overrides a close."""

    trade_id: str
    reason: str
    requested_by: str
    purpose: ClosePurpose


class CloseHurried(msgspec.Struct, frozen=True, kw_only=True, tag="close_hurried"):
    """A close that was stretched over time is worked at once from now on."""

    trade_id: str
    reason: str
    requested_by: str


class CloseJoined(msgspec.Struct, frozen=True, kw_only=True, tag="close_joined"):
    """Somebody else wants a trade closed whose close was asked for before: nothing is opened in its place."""

    trade_id: str
    reason: str
    requested_by: str


class OpeningMeasured(msgspec.Struct, frozen=True, kw_only=True, tag="opening_measured"):
    """The opening is over, and this is what it cost against what was expected."""

    trade_id: str
    cost: OpeningCost


class FellBack(msgspec.Struct, frozen=True, kw_only=True, tag="fell_back"):
    """The mode that worked the opening or the close of this trade leaves the rest of it to another `mode`; a close
    that falls back to "limit" goes up the staircase."""

    trade_id: str
    purpose: Literal["open", "close"]
    mode: ExecutionMode
    reason: str
    code: str = ""


class SpreadCrossed(msgspec.Struct, frozen=True, kw_only=True, tag="spread_crossed"):
    """Quoting did not fill this leg of a chunk (counted from 0): from now on its orders take the other side."""

    trade_id: str
    purpose: Literal["open", "close"]
    chunk: int
    leg_index: int
    reason: str


class ChunkEnded(msgspec.Struct, frozen=True, kw_only=True, tag="chunk_ended"):
    """A smart plan is done with a chunk (counted from 0) of an opening or a close; one that is not `complete` is the
    last that it works."""

    trade_id: str
    purpose: Literal["open", "close"]
    chunk: int
    planned: int
    complete: bool
    reason: str


class LegQuote(msgspec.Struct, frozen=True, array_like=True):
    """The market of one leg; what the book or the chain did not have is None. USD per unit."""

    bid: float | None
    ask: float | None
    mark: float | None
    delta: float | None

    @property
    def mid(self) -> float | None:
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


class MarketNoted(msgspec.Struct, frozen=True, kw_only=True, tag="market_noted"):
    """The market of every leg when the trade was accepted ("open"), when its close began ("close"), or when an
    execution left its legs out of proportion ("fill"). A quote is None where no fresh one was known."""

    trade_id: str
    moment: Literal["open", "close", "fill"]
    quotes: tuple[LegQuote | None, ...]


class OrderRequested(msgspec.Struct, frozen=True, kw_only=True, tag="order_requested"):
    """This order is about to be sent, once. Written before it is.

    quote_id: it stands for one leg of the quote that is about to be accepted, and is itself never sent.
    label: what a quoting strategy calls it. retry_of: it takes the place of this one, which the venue ended unasked.
    trigger_price, at_market: of a stop order; without a limit its price is its trigger.
    adopted: found at the venue; it takes the place of what was known under its id, which ended unfilled long ago.
    forgets_before_ns: memory lets go of the trade's orders that ended unfilled before this. None: of none.
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
    why: str
    adopted: bool = False
    quote_id: str = ""
    post_only: bool = False
    label: str = ""
    retry_of: int | None = None
    forgets_before_ns: int | None = None
    trigger_price: Decimal | None = None
    at_market: bool = False


class OrderMoved(msgspec.Struct, frozen=True, kw_only=True, tag="order_moved"):
    """The order changed its state. `refusal_*` only for a refusal by the venue; `venue_order_id` where the venue told
    it with that."""

    client_order_id: int
    state: OrderState
    reason: str
    refusal_kind: RefusalKind | None = None
    refusal_code: int | None = None
    venue_order_id: int | None = None


class OrderSighted(msgspec.Struct, frozen=True, kw_only=True, tag="order_sighted"):
    """The venue named the order's id or shows it under a new one, or says that more of it is filled than before."""

    client_order_id: int
    venue_order_id: int
    filled_quantity: Decimal


class StopTriggered(msgspec.Struct, frozen=True, kw_only=True, tag="stop_triggered"):
    """The venue's price reached the trigger of this stop order: it is in the book."""

    client_order_id: int


class AmendRequested(msgspec.Struct, frozen=True, kw_only=True, tag="amend_requested"):
    """The order is about to be moved to this price at the venue, once. Written before that is sent."""

    client_order_id: int
    price: Decimal
    why: str


class OrderRepriced(msgspec.Struct, frozen=True, kw_only=True, tag="order_repriced"):
    """The venue shows the order at this price: the amendment took effect, or somebody else moved it."""

    client_order_id: int
    price: Decimal
    reason: str


class RetryDropped(msgspec.Struct, frozen=True, kw_only=True, tag="retry_dropped"):
    """A post-only order that the venue ended unasked is not tried again: it was cancelled while it waited."""

    client_order_id: int
    reason: str


class CancelAwaited(msgspec.Struct, frozen=True, kw_only=True, tag="cancel_awaited"):
    """The order is cancelled as soon as it can be: when that was asked for it was on its way to the venue."""

    client_order_id: int
    reason: str


class AmendFailed(msgspec.Struct, frozen=True, kw_only=True, tag="amend_failed"):
    """The amendment did not take effect: refused, or the venue shows the old price after its validity."""

    client_order_id: int
    reason: str


class FillSeen(msgspec.Struct, frozen=True, kw_only=True, tag="fill_seen"):
    """An execution of our order, whichever way it was learned; once per `fill.venue_trade_id`."""

    client_order_id: int
    fill: VenueFill


class FeeLearned(msgspec.Struct, frozen=True, kw_only=True, tag="fee_learned"):
    """The fee of a fill that was reported without one; `fee_coins` as in `VenueFill`."""

    venue_trade_id: int
    fee_usd: Decimal
    fee_coins: Decimal = Decimal(0)


class FillAssumed(msgspec.Struct, frozen=True, kw_only=True, tag="fill_assumed"):
    """The venue says that this much is filled and does not give the executions: it counts as at least this much.

    A floor and not an addition: when the executions do come, nothing is counted twice.
    """

    client_order_id: int
    filled_quantity: Decimal
    average_price: Decimal


class LegClosedOutside(msgspec.Struct, frozen=True, kw_only=True, tag="leg_closed_outside"):
    """The venue's position no longer holds this quantity of the leg, and no order of the trade closed it.

    `price`: mark when it was found (USD per unit); None when there was none, then no P&L is booked for it.
    `venue_trade_id`: the execution of a direct flatten that closed it, then price and fee are that execution's.
    """

    trade_id: str
    leg_index: int
    quantity: Decimal
    price: Decimal | None
    reason: str
    fee_usd: Decimal = Decimal(0)
    venue_trade_id: int | None = None


class DirectFlattenFound(msgspec.Struct, frozen=True, kw_only=True, tag="direct_flatten_found"):
    """The record of a direct flatten was read: these orders were sent from the venue's side, by whom and why."""

    run_id: str
    raised_by: str
    reason: str
    orders: tuple[DirectOrder, ...]


class CoinsLeft(msgspec.Struct, frozen=True, kw_only=True, tag="coins_left"):
    """What the trade still held of a coin is below the smallest order: it stays the account's. No P&L is booked
    for it, as if it had been sold at its cost."""

    trade_id: str
    leg_index: int
    quantity: Decimal
    reason: str


class LegSettled(msgspec.Struct, frozen=True, kw_only=True, tag="leg_settled"):
    """The leg expired and the venue settled it. `cash_flow_usd` > 0 was received, of a future signed quantity ×
    settlement price; `fee_usd` is the delivery fee."""

    trade_id: str
    leg_index: int
    quantity: Decimal
    settlement_price: Decimal
    cash_flow_usd: Decimal
    fee_usd: Decimal
    venue_ns: int


class FundingBooked(msgspec.Struct, frozen=True, kw_only=True, tag="funding_booked"):
    """The trade's share of one funding payment for the perpetual that it held; `received_usd` < 0 was paid.
    `quantity` > 0 is what it held then, `rate` the venue's."""

    trade_id: str
    leg_index: int
    payment_id: int
    quantity: Decimal
    rate: Decimal
    received_usd: Decimal
    venue_ns: int


class AttemptsSkipped(msgspec.Struct, frozen=True, kw_only=True, tag="attempts_skipped"):
    """Orders of this trade may have been sent of which no row speaks: so many ids of each leg and purpose that
    reduces are left out, so that none is ever used twice."""

    trade_id: str
    count: int
    reason: str


class EndedForgotten(msgspec.Struct, frozen=True, kw_only=True, tag="ended_forgotten"):
    """Memory lets go of trades and intents that ended before `before_ns`, and of how well trades were executed that
    began before `quality_before_ns`."""

    before_ns: int
    quality_before_ns: int


class TradeNumbersSkipped(msgspec.Struct, frozen=True, kw_only=True, tag="trade_numbers_skipped"):
    """Trades may have been opened of which no row speaks: numbers up to this one are left out, so that no order id is
    ever used twice."""

    last_trade_number: int
    reason: str


class HaltEpochCarried(msgspec.Struct, frozen=True, kw_only=True, tag="halt_epoch_carried"):
    """Halts may have been raised of which no row speaks: the halt epoch goes on from here, past every one that was
    told, so that no grant of before is valid again and risk sees that its halts are gone."""

    halt_epoch: int
    reason: str


class HaltRaised(msgspec.Struct, frozen=True, kw_only=True, tag="halt_raised"):
    """A halt is in force from now on; raises the halt epoch."""

    level: HaltLevel
    reason: str
    raised_by: str


class DifferenceFound(msgspec.Struct, frozen=True, kw_only=True, tag="difference_found"):
    """A comparison with the venue found this; what was done about it are rows of their own."""

    difference: Difference
    trigger: str


class VenueCompared(msgspec.Struct, frozen=True, tag="venue_compared"):
    """Orders and fills were compared with the venue as it was asked at `asked_ns`. Written every few minutes alone:
    the next process begins there."""

    asked_ns: int


class DifferencesEnded(msgspec.Struct, frozen=True, kw_only=True, tag="differences_ended"):
    """Foreign orders or positions, by the names of their differences, are gone or adopted."""

    names: tuple[str, ...]


class HaltsLifted(msgspec.Struct, frozen=True, kw_only=True, tag="halts_lifted"):
    lifted_by: str


Row = (
    RequestAnswered
    | LeverageAsked
    | IntentRefused
    | TradeRequested
    | TradeAdopted
    | TradeMoved
    | OpeningStopped
    | OpeningScaled
    | LegOverfilled
    | ReductionWanted
    | CloseRequested
    | CloseHurried
    | CloseJoined
    | OpeningMeasured
    | FellBack
    | SpreadCrossed
    | ChunkEnded
    | MarketNoted
    | OrderRequested
    | OrderMoved
    | OrderSighted
    | StopTriggered
    | AmendRequested
    | OrderRepriced
    | AmendFailed
    | RetryDropped
    | CancelAwaited
    | FillSeen
    | FeeLearned
    | FillAssumed
    | LegClosedOutside
    | CoinsLeft
    | LegSettled
    | FundingBooked
    | AttemptsSkipped
    | DifferenceFound
    | DifferencesEnded
    | VenueCompared
    | RfqRow
    | InquiryRow
    | CashRow
    | EndedForgotten
    | TradeNumbersSkipped
    | HaltEpochCarried
    | DirectFlattenFound
    | HaltRaised
    | HaltsLifted
)
