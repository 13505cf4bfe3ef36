"""Single orders of a strategy that quotes: it opens a trade in the mode "quoting" and works its orders itself."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from shared.messages.base import Message, Side

ORDERS_PER_CHANGE = 40
"""Most orders that one request places, amends or cancels, of each: one of the venue's batches, and no more than leave
in time where each is a call of its own."""


class OrderToPlace(msgspec.Struct, frozen=True, kw_only=True):
    """An order of a quoting trade.

    label: the strategy's own name for it, up to 32 characters; it comes back with the order's events, and orders of
    one label are tries of the same thing. side: the leg's own side opens, inside the grant; the other side reduces
    what the trade holds of that leg, never more. post_only: never takes; one that would have crossed is placed again
    behind the touch a bounded number of times, if it has a label.

    trigger_price: makes it a stop order of a perpetual or a dated future (`stop_limit`, `stop_market`): it waits at
    the venue, and is an order at `price` once the venue's price is there, above the mark for one that buys, below it
    for one that sells. post_only says nothing of it. at_market: it then takes what there is; only for one that
    reduces, and `price` is its trigger. One that reduces protects: it rests on when the strategy, its host or the
    desk is gone, and goes with the trade, by name, or with a halt that cancels all.
    """

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    post_only: bool = True
    label: str = ""
    trigger_price: Decimal | None = None
    at_market: bool = False

    @classmethod
    def stop_limit(
        cls, symbol: str, side: Side, quantity: Decimal, *, trigger_price: Decimal, price: Decimal, label: str = ""
    ) -> OrderToPlace:
        """A limit order at `price` once the trigger is reached."""
        return cls(
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=price,
            post_only=False,
            label=label,
            trigger_price=trigger_price,
        )

    @classmethod
    def stop_market(
        cls, symbol: str, side: Side, quantity: Decimal, *, trigger_price: Decimal, label: str = ""
    ) -> OrderToPlace:
        """Takes what there is once the trigger is reached; it only reduces."""
        return cls(
            symbol=symbol,
            side=side,
            quantity=quantity,
            price=trigger_price,
            post_only=False,
            label=label,
            trigger_price=trigger_price,
            at_market=True,
        )


class OrderToAmend(msgspec.Struct, frozen=True, kw_only=True):
    """Move a working order to another price; its quantity stays. Of a stop order that is its limit: its trigger
    cannot be moved, and one without a limit is cancelled and placed anew."""

    client_order_id: int
    price: Decimal


class ChangeOrders(Message, frozen=True, kw_only=True, tag="change_orders.3"):
    """Place, amend and cancel orders of one quoting trade; each is judged by itself, none twice.

    Cancels go first, then amendments, then what is placed. valid_until_ns: what opens or amends is refused after.
    cancel_all: every order of the trade; cancel_symbols: every order of it on these; those on their way too, once
    they have arrived. keeps_stops: of these not stop orders that reduce, which protect what is held.
    """

    trade_id: str
    strategy: str
    valid_until_ns: int
    place: tuple[OrderToPlace, ...] = ()
    amend: tuple[OrderToAmend, ...] = ()
    cancel: tuple[int, ...] = ()
    cancel_all: bool = False
    cancel_symbols: tuple[str, ...] = ()
    keeps_stops: bool = False


class OrderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one part of a `ChangeOrders`: it is on its way, or refused with a code and why.

    client_order_ids: one; several where the quantity was above the venue's largest order and was split; of
    `cancel_all` and of each of `cancel_symbols`, which come after those of `cancel`, all that are cancelled.
    """

    label: str = ""
    client_order_ids: tuple[int, ...] = ()
    code: str = ""
    detail: str = ""


class OrdersChanged(Message, frozen=True, kw_only=True, tag="orders_changed.1"):
    """The answers in the order in which they were asked for. What the venue says of each comes as `OrderUpdate`."""

    trade_id: str
    placed: tuple[OrderAnswer, ...] = ()
    amended: tuple[OrderAnswer, ...] = ()
    cancelled: tuple[OrderAnswer, ...] = ()

    @property
    def taken(self) -> bool:
        """Whether anything that was asked for is on its way."""
        return any(not each.code for each in (*self.cancelled, *self.amended, *self.placed))

    @property
    def refused(self) -> tuple[OrderAnswer, ...]:
        return tuple(each for each in (*self.cancelled, *self.amended, *self.placed) if each.code)
