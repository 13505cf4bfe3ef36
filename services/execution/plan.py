"""What an execution plan is: the seam behind which each mode works the opening and the close of a trade.

A plan decides from what is known now: the folded trade, its orders and the market. It keeps nothing, so it is
rebuilt by a restart as it was, and no order of events can surprise it. It advises; `lifecycle` carries out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from services.execution.records import Leg, Order, Trade
from services.execution.rfq_rows import QuotesJudged
from services.execution.rows import CloseRequested, Row
from services.execution.workspace import MS, SECOND, Workspace, backoff_ns, earliest
from shared.messages.base import Side
from shared.messages.market import Instrument
from shared.messages.rfq import RfqLeg, VenueQuote
from shared.options.chain import snap_quantity

if TYPE_CHECKING:
    from services.execution.reduction import Reduction

NO_MORE_MONEY = 10529
"""The venue's code: not enough margin."""


class Place(msgspec.Struct, frozen=True):
    """Send one order for a leg. `side`: on which side, where that does not follow from the state of the trade.
    `retry_of`: in place of this order, which the venue ended unasked."""

    leg_index: int
    quantity: Decimal
    price: Decimal
    why: str
    post_only: bool = False
    label: str = ""
    side: Side | None = None
    retry_of: int | None = None


class Withdraw(msgspec.Struct, frozen=True):
    """Cancel a working order."""

    client_order_id: int
    why: str


class Amend(msgspec.Struct, frozen=True):
    """Move a working order to another price."""

    client_order_id: int
    price: Decimal
    why: str


class Record(msgspec.Struct, frozen=True):
    """Write down how the plan got on, where the trade and its orders do not say it. The plan is then asked again."""

    row: Row


class AskForQuotes(msgspec.Struct, frozen=True):
    """Send a request for quote, once. `legs` in the request's sides."""

    purpose: Literal["open", "close"]
    legs: tuple[RfqLeg, ...]
    notional_usd: float


class TakeQuote(msgspec.Struct, frozen=True):
    """Accept this quote on our request, once. `judged`: what decided."""

    rfq_id: str
    quote: VenueQuote
    judged: QuotesJudged


Action = Place | Withdraw | Amend | Record | AskForQuotes | TakeQuote
Outcome = Literal["going", "complete", "given_up"]


class Advice(msgspec.Struct):
    """What to do now, when to look again, and whether the plan has come to its end."""

    actions: list[Action] = msgspec.field(default_factory=list)
    wake_ns: int | None = None
    waiting: str = ""
    outcome: Outcome = "going"
    reason: str = ""

    def wake(self, *wakes: int | None) -> None:
        self.wake_ns = earliest(self.wake_ns, *wakes)

    def wait(self, reason: str, *wakes: int | None) -> None:
        """Nothing can be done for a leg; the first reason is shown with the trade."""
        self.waiting = self.waiting or reason
        self.wake(*wakes)


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """What an opening plan asks of everything around it.

    unwinds: what was filled is undone once the grant is void; otherwise it stays a position of the trade.
    reduces: its orders may also reduce what the trade holds, again and again; these belong to the opening and
    are withdrawn with it.
    rests_unseen: its orders may rest while the venue is not known, or its private stream is down.
    """

    unwinds: bool = True
    reduces: bool = False
    rests_unseen: bool = True


class OpeningPlan(Protocol):
    """Works a trade from PENDING_OPEN to the end of its opening."""

    manner: Manner

    def advise(self, trade: Trade, work: Workspace) -> Advice: ...


class ClosingPlan(Protocol):
    """Works an ordinary close from the begin of CLOSING. It ends by closing the trade ("complete"), or hands over by
    recording a `FellBack`, to "limit" for the staircase: that one alone may give a close up."""

    def advise(self, trade: Trade, reduction: Reduction) -> Advice: ...


def pause_after_ns(work: Workspace, orders: list[Order]) -> int:
    """When the next order of a leg may be sent, after `orders` (all of its orders, oldest first)."""
    if not orders:
        return 0
    config = work.config
    refused = 0
    for order in reversed(orders):
        if order.state not in ("REFUSED", "NEVER_PLACED"):
            break
        refused += 1
    last = orders[-1]
    if refused:
        return last.state_ns + backoff_ns(config.attempt_interval_ms, config.refusal_pause_max_ms, refused - 1)
    return last.created_ns + config.attempt_interval_ms * MS


def reprice(trade: Trade, order: Order, price: Decimal, step: str) -> Amend | Withdraw:
    """How a working order comes to another price: moved where it is, if the trade's parameters say so, the venue can
    (spot it cannot) and no amendment of it was in vain; else it is withdrawn, and the next goes out when it is seen
    to be gone."""
    can_move = not trade.legs[order.leg_index].instrument.is_spot and not order.amend_failed
    if can_move and trade.request.execution_params.requote_by == "amend":
        return Amend(order.client_order_id, price, step)
    return Withdraw(order.client_order_id, f"to be replaced at {price}")


def slice_of(quantity: Decimal, instrument: Instrument) -> Decimal:
    """What one order takes of a quantity: in lots, no more than the venue allows, and leaving no rest that is below
    the minimum order. 0 when the quantity itself is below a lot."""
    piece = snap_quantity(min(quantity, instrument.max_quantity), instrument.lot_size)
    if 0 < quantity - piece < instrument.min_quantity:
        shorter = snap_quantity(quantity - instrument.min_quantity, instrument.lot_size)
        return shorter if shorter >= instrument.min_quantity else piece
    return piece


def of_this_slice(orders: Sequence[Order]) -> list[Order]:
    """The orders since the last one that was filled whole: a quantity above the venue's maximum is worked slice by
    slice, and each has its own rounds and phases."""
    done = max((number for number, order in enumerate(orders) if order.state == "FILLED"), default=-1)
    return list(orders[done + 1 :])


def prices_shown(orders: Sequence[Order]) -> int:
    """How many prices these orders were asked to rest at."""
    return sum(1 + order.amends for order in orders)


def refused_for_good(leg: Leg, orders: list[Order], refusals_max: int) -> str:
    """Why the venue will not take another order of this leg (`orders`: its own, oldest first); "" while it may."""
    refused = 0
    for order in reversed(orders):
        if order.state != "REFUSED":
            break
        if order.refusal_kind == "auth" or order.refusal_code == NO_MORE_MONEY:
            return f"{leg.symbol} refused: {order.reason}"
        refused += order.refusal_kind == "rejected"
    if refused >= refusals_max:
        return f"{leg.symbol} refused {refused} times, last: {orders[-1].reason}"
    return ""


def final_look(trade: Trade, reason: str, work: Workspace, advice: Advice) -> None:
    """Give an opening up only when no late fill has come for a while: it would have to be undone."""
    if trade.last_order_ns:
        look_ns = trade.last_order_ns + math.ceil(trade.request.execution_params.final_look_s * SECOND)
        if work.now_ns < look_ns:
            advice.wait("a final look for late fills", look_ns)
            return
    advice.outcome, advice.reason = "given_up", reason


def flat_close(trade: Trade, reason: str) -> CloseRequested:
    """Closes a trade that holds nothing any more."""
    return CloseRequested(trade_id=trade.trade_id, reason=reason, requested_by="execution", purpose="close")
