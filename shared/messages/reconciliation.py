"""The venue against the journal: what a comparison found, what was done about it, and positions opened by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from shared.messages.base import Message, Side
from shared.messages.trades import OrderState

Done = Literal["taken_over", "queried", "cancelled", "booked", "closing", "waiting", "left_alone"]
"""What was done about a difference: counted as ours, asked of the venue again, cancelled there, booked against the
trade that lost it; what is left is being closed, or waits for the operator; or nothing, as it is not the desk's."""


class DifferenceBase(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all differences have in common; `detail` is a sentence for a person."""

    symbol: str
    done: Done
    detail: str

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def subject(self) -> str:
        """What it is about: the same subject found again is the same difference."""
        return self.symbol

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.subject}"

    @property
    def trade(self) -> str | None:
        """The id of the trade concerned."""
        trade_id = getattr(self, "trade_id", None)
        return None if trade_id is None else str(trade_id)


class MissedFill(DifferenceBase, frozen=True, kw_only=True, tag="missed_fill"):
    """An execution of ours that no stream told of."""

    trade_id: str
    client_order_id: int
    venue_trade_id: int
    quantity: Decimal
    price: Decimal

    @property
    def subject(self) -> str:
        return str(self.venue_trade_id)


class LostOrder(DifferenceBase, frozen=True, kw_only=True, tag="lost_order"):
    """An order that is ours by its id and missing in the journal. `trade_id` None: of no trade that is known."""

    trade_id: str | None
    client_order_id: int
    venue_order_id: int
    side: Side
    quantity: Decimal
    price: Decimal

    @property
    def subject(self) -> str:
        return str(self.client_order_id)


class VanishedOrder(DifferenceBase, frozen=True, kw_only=True, tag="vanished_order"):
    """An order that may still trade by the journal and is in no list of the venue."""

    trade_id: str
    client_order_id: int
    quantity: Decimal
    state: OrderState

    @property
    def subject(self) -> str:
        return str(self.client_order_id)


class StateMismatch(DifferenceBase, frozen=True, kw_only=True, tag="state_mismatch"):
    """An order that is final in the journal (`state`) and open at the venue."""

    trade_id: str
    client_order_id: int
    quantity: Decimal
    state: OrderState

    @property
    def subject(self) -> str:
        return str(self.client_order_id)


class ForeignOrder(DifferenceBase, frozen=True, kw_only=True, tag="foreign_order"):
    """An open order that is not the desk's. It stands until it is gone."""

    venue_order_id: int
    side: Side
    quantity: Decimal
    price: Decimal

    @property
    def subject(self) -> str:
        return str(self.venue_order_id)


class ForeignPosition(DifferenceBase, frozen=True, kw_only=True, tag="foreign_position"):
    """What the venue holds beyond our trades: `quantity`, signed, short < 0. It stands until it is gone or adopted.

    held_quantity: what our trades hold of the symbol, signed. average_price: the venue's, of the whole position.
    """

    quantity: Decimal
    held_quantity: Decimal
    average_price: Decimal


class QuantityMismatch(DifferenceBase, frozen=True, kw_only=True, tag="quantity_mismatch"):
    """The venue holds less than our trades: `quantity` > 0 of this trade is gone by no order of its own.

    held_quantity, venue_quantity: of the symbol, signed, before the loss was booked. price: at which it was booked,
    None when nobody knows one.
    """

    trade_id: str
    quantity: Decimal
    held_quantity: Decimal
    venue_quantity: Decimal
    price: Decimal | None

    @property
    def subject(self) -> str:
        return f"{self.trade_id}/{self.symbol}"


class BrokenStructure(DifferenceBase, frozen=True, kw_only=True, tag="broken_structure"):
    """A trade that lost all or a part of a leg (`symbol`) from outside and still holds something."""

    trade_id: str

    @property
    def subject(self) -> str:
        return self.trade_id


Difference = (
    MissedFill
    | LostOrder
    | VanishedOrder
    | StateMismatch
    | ForeignOrder
    | ForeignPosition
    | QuantityMismatch
    | BrokenStructure
)
Foreign = ForeignOrder | ForeignPosition
"""What stands: it is no trade's, and execution never touches it."""


class FoundDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A difference, when and by which comparison it was found. `ended_ns`: since when a foreign order or position is
    gone or adopted, None while it stands; the others stand for their moment and never end."""

    difference: Difference
    found_ns: int
    trigger: str
    ended_ns: int | None = None

    @property
    def stands(self) -> bool:
        return self.ended_ns is None and isinstance(self.difference, Foreign)


class ReconciliationReport(Message, frozen=True, kw_only=True, tag="reconciliation.2"):
    """The differences between the venue and the journal that one reconciliation found; empty = they agree.

    What stands (foreign orders and positions) is told each time.
    """

    account_id: str
    trigger: str
    at_ns: int
    differences: tuple[Difference, ...]

    @property
    def key(self) -> str:
        return self.account_id


class ListDifferences(Message, frozen=True, kw_only=True, tag="list_differences.1"):
    """Ask execution for what its comparisons with the venue found, newest first; `compare`: and to compare soon."""

    compare: bool = False


class DifferenceList(Message, frozen=True, kw_only=True, tag="difference_list.1"):
    """What comparisons found, newest first; remembered over restarts, the newest few hundred.

    at_ns: when it was answered. compared_ns: when the newest comparison that was made had been asked for, by the same
    clock, 0 for none since the start.
    unconfirmed: symbols whose position disagreed once; a second look a little later decides.
    """

    differences: tuple[FoundDifference, ...]
    at_ns: int
    compared_ns: int
    unconfirmed: tuple[str, ...]

    @property
    def foreign(self) -> tuple[Foreign, ...]:
        """What the venue holds that is no trade's, newest first."""
        stands = (found.difference for found in self.differences if found.stands)
        return tuple(each for each in stands if isinstance(each, Foreign))


class AdoptPosition(Message, frozen=True, kw_only=True, tag="adopt_position.1"):
    """Make a trade of `strategy` that holds what the venue holds of `symbol` beyond our trades.

    quantity: > 0, in base coin; None for all of it. The entry price is the venue's average price.
    """

    symbol: str
    quantity: Decimal | None
    strategy: str
    requested_by: str


class PositionAdopted(Message, frozen=True, kw_only=True, tag="position_adopted.1"):
    """The trade that holds the position now, and is closed like any other."""

    trade_id: str
    symbol: str
    side: Side
    quantity: Decimal
    entry_price: Decimal
